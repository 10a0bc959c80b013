"""The options of an evaluation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from molvae.chem.alerts import Filter, load_filters
from molvae.chem.properties import PROPERTIES
from molvae.errors import ConfigError
from molvae.evaluate.sources import Source
from molvae.targets import Target, parse_target, require_once

__all__ = ["ColumnTarget", "Options"]

MIN_REPLICATES = 100  # the ends of an interval from fewer are mostly chance
MAX_REPLICATES = 100_000  # all of them are in memory


@dataclass(frozen=True)
class ColumnTarget:
    """A target whose value is in a column, one per molecule: ``logp=@wanted``."""

    name: str
    column: str

    @property
    def text(self) -> str:
        """As it is typed on the command line."""
        return f"{self.name}=@{self.column}"


@dataclass(frozen=True)
class Options:
    """How to evaluate; the defaults are those of the command line.

    ``targets``: texts such as ``logp=2:3`` or ``logp=@COLUMN``, the value requested for each row.
    One that names a column of the generated files which is not a built-in property is checked on
    that column. ``filters_from``: folder with the pattern files of MOSES. ``chemnet``: compute FCD
    if its weights are installed. ``sample``: describe at most that many valid molecules, 0 for all.
    ``replicates`` of the bootstrap, 0 for no intervals. ``draw``: molecules prepared for the
    drawings of a page. ``workers``: processes, 0 or 1 to use only this one. ``scheduler``: address
    of a running Dask scheduler, whose workers are used instead.
    """

    targets: Sequence[str] = ()
    filters_from: str | Path | None = None
    chemnet: bool = True
    guacamol: bool = False
    sample: int = 30_000  # MOSES' own sample size; pairs grow with its square
    replicates: int = 500
    seed: int = 0
    device: str = "auto"
    draw: int = 0
    workers: int | None = None
    scheduler: str | None = None

    def __post_init__(self) -> None:
        """Reject sizes that make no sense."""
        if self.sample < 0:
            raise ConfigError(f"sample: got {self.sample}, expected 0 (all molecules) or more")
        if self.replicates and not MIN_REPLICATES <= self.replicates <= MAX_REPLICATES:
            raise ConfigError(
                f"bootstrap: got {self.replicates} draws, expected 0 (no intervals) or "
                f"{MIN_REPLICATES} to {MAX_REPLICATES:,}"
            )

    @cached_property
    def parsed_targets(self) -> tuple[Target | ColumnTarget, ...]:
        """The targets, each property at most once."""
        targets = tuple(map(_parse_target, self.targets))
        require_once((target.name, target.text) for target in targets)
        return targets

    @cached_property
    def filters(self) -> Filter | None:
        """MOSES' filters, read from their folder."""
        return None if self.filters_from is None else load_filters(self.filters_from)

    @property
    def value_columns(self) -> list[str]:
        """Columns whose values are compared with a target: those that RDKit cannot compute."""
        return [t.name for t in self.parsed_targets if t.name not in PROPERTIES]

    @property
    def target_columns(self) -> list[str]:
        """Columns that hold the requested values."""
        return [t.column for t in self.parsed_targets if isinstance(t, ColumnTarget)]

    def check(self, sources: Sequence[Source]) -> None:
        """Read the targets and filters, and find their columns, before any work starts."""
        for source in sources:
            source.check_columns(self.value_columns, self.target_columns)
        _ = self.filters


def _parse_target(text: str) -> Target | ColumnTarget:
    by_row = re.fullmatch(r"([^\s=](?:[^=]*[^\s=])?)=@(.+)", text.strip())
    return parse_target(text) if by_row is None else ColumnTarget(by_row[1], by_row[2])
