"""A mapping of limited size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

__all__ = ["Recent"]

_T = TypeVar("_T")


class Recent(Generic[_T]):
    """Values by text, of which the most recently kept ones stay."""

    def __init__(self, limit: int) -> None:
        """``limit``: the largest number of values."""
        self._limit = limit
        self._values: dict[str, _T] = {}

    def __len__(self) -> int:
        """The number of values."""
        return len(self._values)

    def of(self, texts: Iterable[str]) -> dict[str, _T]:
        """The values of those texts that have one; they do not become more recent."""
        values = self._values
        return {text: values[text] for text in texts if text in values}

    def keep(self, values: Mapping[str, _T]) -> None:
        """Add values, or make those that are there the most recent ones."""
        for text in values:
            self._values.pop(text, None)
        self._values.update(values)
        while len(self._values) > self._limit:
            del self._values[next(iter(self._values))]
