"""Which packages' plugins a process uses, and their versions."""

from importlib.metadata import version

from molvae.runtime import plugins


class Entry:
    """An entry point of the package click."""

    name, value = "score", "click:echo"

    class dist:
        name, version = "click", "8.0"

    @staticmethod
    def load():
        return abs


def test_packages_of_used_plugins_are_known(monkeypatch):
    monkeypatch.setattr(plugins, "_used", set())
    monkeypatch.setattr(plugins, "_entries", lambda kind: {"score": [Entry]})
    assert plugins.plugin_names("objective") == ("score",)
    assert plugins.used_packages() == []  # a name alone is no use
    plugins.load_plugin.cache_clear()
    assert plugins.load_plugin("objective", "score") is abs
    plugins.load_plugin.cache_clear()
    assert plugins.used_packages() == ["click"]
    assert plugins.versions_of(["click", "no-such-package"]) == {
        "click": version("click"), "no-such-package": "",
    }  # fmt: skip
