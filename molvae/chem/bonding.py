"""What the selfies library makes of symbols and atoms, remembered for the bonding limits in force.

The limits are global to that library. Tables of the limits used last are kept, so that models with
different limits can take turns.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import selfies

__all__ = ["table_of"]

T = TypeVar("T")


class _Table(dict[str, Any]):
    """Text → its value, computed at the first look-up."""

    def __init__(self, compute: Callable[[str], Any]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, text: str) -> Any:
        value = self[text] = self._compute(text)
        return value


def table_of(compute: Callable[[str], T]) -> dict[str, T]:
    """The table of a function's values under the bonding limits in force.

    >>> table_of(len)["[C]"]
    3
    """
    return _table(compute, tuple(selfies.get_semantic_constraints().items()))


@functools.lru_cache(maxsize=16)
def _table(compute: Callable[[str], Any], limits: tuple[tuple[str, int], ...]) -> dict[str, Any]:
    return _Table(compute)
