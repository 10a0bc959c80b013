"""What installed packages add to molvae: objects behind entry points of the groups ``molvae.*``.

A package names them in its ``pyproject.toml``:

```toml
[project.entry-points."molvae.properties"]
nitrogens = "my_package:NITROGENS"
```

Nothing is imported before a name is used. Worker processes find them in the same way.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from molvae.errors import ConfigError, FileError

__all__ = [
    "Kind",
    "import_foreign",
    "load_plugin",
    "plugin_names",
    "plugin_package",
    "used_packages",
    "versions_of",
]

T = TypeVar("T")
Kind = Literal["objective", "property", "metric", "engine"]
GROUPS: Mapping[Kind, str] = MappingProxyType(
    {
        "objective": "molvae.objectives",
        "property": "molvae.properties",
        "metric": "molvae.metrics",
        "engine": "molvae.engines",
    }
)


@functools.cache
def _entries(kind: Kind) -> dict[str, list[EntryPoint]]:
    """The entry points of a kind by name; the same one may be found twice on the path."""
    points: dict[str, list[EntryPoint]] = {}
    for entry in sorted(entry_points(group=GROUPS[kind]), key=lambda entry: entry.name):
        points.setdefault(entry.name, []).append(entry)
    return points


def plugin_names(kind: Kind) -> tuple[str, ...]:
    """Names that installed packages offer, in alphabetical order."""
    return tuple(_entries(kind))


def plugin_package(kind: Kind, name: str) -> str:
    """Name and version of the package that offers a plugin, which then counts as used."""
    distribution = _entries(kind)[name][0].dist
    if distribution is None:
        return ""
    _used.add(distribution.name)
    return f"{distribution.name} {distribution.version}"


_used: set[str] = set()


def used_packages() -> list[str]:
    """Packages whose plugins this process has used, in alphabetical order."""
    return sorted(_used)


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Versions of installed packages by name; empty where one is missing."""
    versions = dict.fromkeys(packages, "")
    for name in versions:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


@functools.cache
def load_plugin(kind: Kind, name: str) -> Any:
    """The object that an installed package offers under this name.

    Raises:
        ConfigError: several packages offer it, or none.
        FileError: the package cannot be imported.
    """
    entries = _entries(kind).get(name, [])
    if len(entries) != 1:
        offers = ", ".join(entry.value for entry in entries) or "is its package installed here?"
        raise ConfigError(
            f"{kind} '{name}': {len(entries)} packages offer it ({offers}); expected one"
        )
    plugin_package(kind, name)
    return import_foreign(entries[0].load, f"{kind} '{name}' ({entries[0].value})")


def import_foreign(load: Callable[[], T], what: str) -> T:
    """Import code of the user, which may print or fail; ``what`` names it in the error.

    Raises:
        FileError: the import fails.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for results
            return load()
    except BaseException as error:
        if _is_stop(error):
            raise
        raise FileError(f"{what} fails on import: {error!r}") from error


def _is_stop(error: BaseException) -> bool:
    """Whether an error of foreign code is a Ctrl-C of the user; workers get none."""
    here = multiprocessing.parent_process() is None
    return here and isinstance(error, KeyboardInterrupt)
