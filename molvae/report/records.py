"""The content of a page: plain records, filled by the verbs, drawn by :mod:`molvae.report.page`.

Texts are plain text; they are escaped when the page is written. In charts, values that are not
finite are left out, and so are missing ones (None).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Calibration",
    "Card",
    "Cell",
    "Curve",
    "Histogram",
    "LatentMap",
    "Mark",
    "Page",
    "Row",
    "Series",
    "Table",
]

Mark = Literal["", "better", "worse"]


@dataclass(frozen=True)
class Cell:
    """One entry of a table: the value, in small print its base, and a remark.

    ``mark`` prints "better" or "worse" beside the value, in words and in color.
    """

    value: str
    detail: str = ""
    note: str = ""
    mark: Mark = ""


@dataclass(frozen=True)
class Row:
    """A row of a table; ``definition`` says what ``name`` means and is listed on the page."""

    name: str
    cells: Sequence[Cell]
    definition: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells under ``columns``; ``head`` is the heading of the names.

    With one column, details and notes get a second column, headed ``detail_head``. With
    several, they are below the values, and a narrow screen scrolls within the table.
    """

    columns: Sequence[str]
    rows: Sequence[Row]
    caption: str = ""
    head: str = "Metric"
    detail_head: str = "Out of"

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(
                    f"row {row.name!r} has {len(row.cells)} cells for {len(self.columns)} columns"
                )


@dataclass(frozen=True)
class Histogram:
    """Values of one property in one or several ``sets``, each (name, values).

    ``reference`` holds the values of the page's reference set, where there is one. ``request``
    marks (low, high), which are equal for one value and infinite where there is no end.
    ``figures`` replaces the mean ± sd of a set or of the reference in the legend, by its name, and
    under ``requested`` says what the mark is.
    """

    name: str
    description: str
    unit: str
    sets: Sequence[tuple[str, NDArray[np.float64]]]
    reference: NDArray[np.float64] | None = None
    integer: bool = False
    note: str = ""
    request: tuple[float, float] | None = None
    figures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Series:
    """One line of a curve; None is a gap. The name decides the color, on the whole page."""

    name: str
    y: Sequence[float | None]


@dataclass(frozen=True)
class Curve:
    """A metric against a size, such as the number of molecules; each series is as long as ``x``.

    ``log_x`` asks for a logarithmic axis; with an ``x`` of zero or less it is linear.
    """

    name: str
    description: str
    x: Sequence[float]
    series: Sequence[Series]
    x_label: str = "molecules"
    log_x: bool = True
    note: str = ""

    def __post_init__(self) -> None:
        for line in self.series:
            if len(line.y) != len(self.x):
                raise ValueError(
                    f"series {line.name!r} has {len(line.y)} values for {len(self.x)} of x"
                )


@dataclass(frozen=True)
class Calibration:
    """Requested values of one property against the mean of what was obtained.

    ``spread`` is the standard deviation of the ``n`` obtained values. A mean of NaN stands for a
    request that gave no molecule.
    """

    name: str
    unit: str
    requested: Sequence[float]
    obtained: Sequence[float]
    spread: Sequence[float | None]
    n: Sequence[int]
    note: str = ""

    def __post_init__(self) -> None:
        sizes = {len(self.requested), len(self.obtained), len(self.spread), len(self.n)}
        if len(sizes) > 1:
            raise ValueError(f"calibration {self.name!r}: sequences of lengths {sorted(sizes)}")


@dataclass(frozen=True)
class LatentMap:
    """Molecules as ``points`` (N, 2), colored by ``values`` (N,), where NaN is unknown.

    Every point costs about eleven bytes; 2,000 are plenty.
    """

    name: str
    unit: str
    points: NDArray[np.float64]
    values: NDArray[np.float64]
    x_label: str
    y_label: str
    note: str = ""

    def __post_init__(self) -> None:
        if self.points.shape != (len(self.values), 2):
            raise ValueError(
                f"map {self.name!r}: points {self.points.shape} for {len(self.values)} values"
            )


@dataclass(frozen=True)
class Card:
    """A molecule to draw, its numbers, and the molecule it is compared with where there is one.

    ``relation`` says what that is; empty, it is its nearest training molecule. Cards are
    drawn together with those of the same ``group``, the sample they come from. ``row`` finds the
    molecule in its file: 1 is the first below the header.
    """

    smiles: str
    values: Mapping[str, float]
    similarity: float | None = None  # Tanimoto, to the other molecule
    neighbor: str = ""  # that molecule, as SMILES
    group: str = ""
    relation: str = ""
    row: int | None = None


@dataclass(frozen=True)
class Page:
    """All sections of the page, in order; empty ones are left out.

    ``remarks`` has a sentence for below a section's heading, by the section's key in
    :data:`molvae.report.page.SECTIONS`. ``refused`` counts what was left out, by reason.
    ``headings`` replaces the heading of a section, by the same key. ``definitions`` adds to those
    of the rows.
    """

    title: str
    summary: str
    table: Table | None = None
    comparison: Table | None = None
    targets: Table | None = None
    calibrations: Sequence[Calibration] = ()
    histograms: Sequence[Histogram] = ()
    reference: str = "reference"  # what the reference set of histograms and curves is called
    curves: Sequence[Curve] = ()
    maps: Sequence[LatentMap] = ()
    model: Table | None = None
    refused: Table | None = None
    cards: Sequence[Card] = ()
    remarks: Mapping[str, str] = field(default_factory=dict)
    headings: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    definitions: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
