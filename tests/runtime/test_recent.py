"""A mapping of limited size."""

from molvae.runtime.recent import Recent


def test_the_most_recently_kept_values_stay():
    recent = Recent[int](3)
    recent.keep({"a": 1, "b": 2, "c": 3})
    recent.keep({"a": 1})
    recent.keep({"d": 4})
    assert recent.of("abcd") == {"a": 1, "c": 3, "d": 4}
    assert len(recent) == 3
    recent.keep({"e": 5, "f": 6, "g": 7, "h": 8})
    assert recent.of("abcdefgh") == {"f": 6, "g": 7, "h": 8}
