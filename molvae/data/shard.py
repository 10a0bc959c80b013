"""Shards: several jobs that share the work on the same input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from molvae.errors import ConfigError

__all__ = ["Shard"]


@dataclass(frozen=True)
class Shard:
    """One of several jobs that share the work on the same input: the ``index``-th of ``count``."""

    index: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            last = max(self.count, 1)
            raise ConfigError(
                f"shard: got {self.index}/{self.count}, expected 1/{last} to {last}/{last}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """``i/n``, counted from 1."""
        index, _, count = text.partition("/")
        try:
            return cls(int(index), int(count))
        except ValueError:
            raise ConfigError(f"shard: got '{text}', expected i/n, for example 1/3") from None

    def owns(self, number: int) -> bool:
        """Whether a chunk, counted from 0, is this job's."""
        return number % self.count == self.index - 1
