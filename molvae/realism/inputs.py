"""Inputs of the realism critic: facts of many molecules as arrays, and as sparse rows.

Many :class:`~molvae.chem.realism_features.Facts` are a :class:`FactTable`, from which
:class:`InputDefinition` makes the sparse inputs of the critic:

- log(1 + count) of the 2,048-bin Morgan count fingerprint of radius 2 (Rogers & Hahn 2010),
- one-hot bins of the exact mass and of small integers such as the size of the largest ring.

Shapes: ``N`` molecules, ``S`` stored fingerprint entries of all of them, ``F`` integer facts,
``D`` inputs.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from molvae.chem.realism_features import FACTS, FINGERPRINT_SIZE, RADIUS, Facts, Outline
from molvae.errors import ModelFolderError

__all__ = ["FactTable", "InputDefinition", "SparseRows"]

VERSION = 1
MASS_STEPS = 20  # bins between the outer quantiles of the training molecules' mass
OUTER = 0.001  # share of the training molecules on either side of those bins
MOST_EDGES = 512  # of the mass; a file with more is damaged
LARGEST_COUNT = 64  # every integer fact is clipped here, whatever the training molecules have


class SparseRows(NamedTuple):
    """A sparse matrix (N, D) in compressed rows; the last entries of a row are its bins."""

    offsets: NDArray[np.int64]  # (N + 1,)
    columns: NDArray[np.int64]
    values: NDArray[np.float64]
    width: int  # D


@dataclass(frozen=True)
class FactTable:
    """The facts of N molecules that the critic needs, as arrays that pickle well."""

    offsets: NDArray[np.int64]  # (N + 1,) into bins and counts
    bins: NDArray[np.uint16]  # (S,)
    counts: NDArray[np.uint16]  # (S,)
    integers: NDArray[np.uint8]  # (N, F), clipped at LARGEST_COUNT
    mass: NDArray[np.float64]  # (N,) Da
    identity: NDArray[np.uint64]  # (N,)

    @classmethod
    def of(cls, facts: Sequence[Facts]) -> FactTable:
        """The table of some molecules, in order."""
        sizes = [0, *(len(molecule.bins) for molecule in facts)]
        integers = np.asarray([molecule.integers for molecule in facts], dtype=np.int64)
        none = [np.empty(0, dtype=np.int64)]
        return cls(
            offsets=np.cumsum(sizes, dtype=np.int64),
            bins=np.concatenate([molecule.bins for molecule in facts] or none).astype(np.uint16),
            counts=np.concatenate([molecule.counts for molecule in facts] or none).astype(
                np.uint16
            ),
            integers=np.minimum(integers.reshape(-1, len(FACTS)), LARGEST_COUNT).astype(np.uint8),
            mass=np.asarray([molecule.mass for molecule in facts], dtype=np.float64),
            identity=np.asarray([molecule.identity for molecule in facts], dtype=np.uint64),
        )

    @classmethod
    def joined(cls, tables: Iterable[FactTable]) -> FactTable:
        """One table of all molecules, in order."""
        parts = list(tables) or [cls.of([])]
        starts = np.cumsum([0, *(len(part.bins) for part in parts)])
        offsets = [part.offsets[1:] + start for part, start in zip(parts, starts[:-1], strict=True)]
        return cls(
            offsets=np.concatenate([np.zeros(1, dtype=np.int64), *offsets]),
            bins=np.concatenate([part.bins for part in parts]),
            counts=np.concatenate([part.counts for part in parts]),
            integers=np.concatenate([part.integers for part in parts]),
            mass=np.concatenate([part.mass for part in parts]),
            identity=np.concatenate([part.identity for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.mass)


@dataclass(frozen=True)
class InputDefinition:
    """The column of each input.

    First the fingerprint, then one bin per interval of the mass, then one bin per value of each
    integer fact; values above the largest share its bin.
    """

    mass_edges: tuple[float, ...]  # ascending, Da
    largest: tuple[int, ...]  # (F,) largest value of each fact with a separate bin
    version: int = VERSION

    @classmethod
    def of(cls, table: FactTable) -> InputDefinition:
        """Bins for the training molecules.

        The mass edges are equal steps between the outer quantiles, and the ends, so that a hard
        limit such as MOSES' 250 to 350 Da gets an edge. The last bin of a fact holds
        no training molecule.
        """
        if not len(table):
            raise ValueError("got no molecules, expected at least one to choose bins for")
        low, high = np.quantile(table.mass, [OUTER, 1 - OUTER])
        steps = np.linspace(low, high, MASS_STEPS + 1)
        # The ends are pushed outward, so that the extreme molecules are inside.
        ends = [np.floor(table.mass.min()), np.ceil(table.mass.max())]
        edges = np.unique(np.round([*steps, *ends], 3))
        largest = np.minimum(table.integers.max(axis=0).astype(np.int64) + 1, LARGEST_COUNT)
        return cls(tuple(edges.tolist()), tuple(largest.tolist()))

    def refined(self, other: InputDefinition) -> InputDefinition:
        """Bins of which those of both definitions are unions."""
        edges = sorted({*self.mass_edges, *other.mass_edges})
        largest = tuple(max(pair) for pair in zip(self.largest, other.largest, strict=True))
        return InputDefinition(tuple(edges), largest)

    def origins(self, coarse: InputDefinition) -> NDArray[np.int64]:
        """For each column (D,) the column of a coarser definition whose bin contains it."""
        middles = _inside(np.asarray(self.mass_edges))
        start = FINGERPRINT_SIZE
        parts = [
            np.arange(start),
            start + np.searchsorted(coarse.mass_edges, middles, side="right"),
        ]
        for top, coarse_top, first in zip(
            self.largest, coarse.largest, coarse._starts.tolist(), strict=True
        ):
            parts.append(first + np.minimum(np.arange(top + 1), coarse_top))
        return np.concatenate(parts).astype(np.int64)

    @functools.cached_property
    def width(self) -> int:
        """Number of inputs D."""
        return FINGERPRINT_SIZE + len(self.mass_edges) + 1 + sum(self.largest) + len(self.largest)

    @functools.cached_property
    def _starts(self) -> NDArray[np.int64]:
        """First column of each integer fact, (F,)."""
        sizes = np.asarray(self.largest, dtype=np.int64) + 1
        first = FINGERPRINT_SIZE + len(self.mass_edges) + 1
        return np.asarray(first + np.cumsum(sizes) - sizes)

    @functools.cached_property
    def _edges(self) -> NDArray[np.float64]:
        return np.asarray(self.mass_edges, dtype=np.float64)

    @functools.cached_property
    def _tops(self) -> NDArray[np.int64]:
        return np.asarray(self.largest, dtype=np.int64)

    def rows(self, table: FactTable) -> SparseRows:
        """Inputs of N molecules as a sparse matrix (N, D)."""
        n, more = len(table), 1 + len(FACTS)
        mass = FINGERPRINT_SIZE + np.searchsorted(self._edges, table.mass, side="right")
        integers = self._starts + np.minimum(table.integers.astype(np.int64), self._tops)
        hot = np.column_stack([mass, integers])  # (N, 1 + F)
        sizes = np.diff(table.offsets)
        offsets = np.concatenate([[0], np.cumsum(sizes + more)])
        columns = np.empty(int(offsets[-1]), dtype=np.int64)
        values = np.ones(len(columns))
        is_hot = np.zeros(len(columns), dtype=np.bool_)
        is_hot[(offsets[1:, None] - more + np.arange(more)).reshape(-1)] = True
        columns[is_hot] = hot.reshape(-1)
        columns[~is_hot] = table.bins
        values[~is_hot] = np.log1p(table.counts.astype(np.float64))
        return SparseRows(offsets, columns, values, self.width) if n else _empty(self.width)

    def score(self, facts: Facts | Outline, weights: NDArray[np.float64]) -> float:
        """The product of the inputs of one molecule with weights (D,), without an intercept."""
        integers = np.minimum(np.asarray(facts.integers), self._tops)
        mass = FINGERPRINT_SIZE + int(np.searchsorted(self._edges, facts.mass, side="right"))
        total = weights[facts.bins] @ np.log1p(facts.counts)
        return float(total + weights[mass] + weights[self._starts + integers].sum())

    def to_json(self) -> dict[str, Any]:
        """Plain data from which :meth:`from_json` makes the same definition."""
        return {
            "version": self.version,
            "fingerprint": {"kind": "Morgan counts", "radius": RADIUS, "size": FINGERPRINT_SIZE},
            "mass_edges": list(self.mass_edges),
            "facts": dict(zip(FACTS, self.largest, strict=True)),
            "inputs": self.width,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> InputDefinition:
        """The definition that :meth:`to_json` described.

        Raises:
            ModelFolderError: the definition has another version or is not one.
        """
        try:
            version = data["version"]
            if version != VERSION:
                raise ModelFolderError(
                    f"realism inputs: version is {version!r}, this molvae reads {VERSION}; train "
                    "or fit again, or use the molvae that wrote the model"
                )
            facts = dict(data["facts"])
            edges = [float(edge) for edge in data["mass_edges"]]
            largest = [int(facts[name]) for name in FACTS]
            sound = (
                tuple(facts) == FACTS
                and data["fingerprint"]["size"] == FINGERPRINT_SIZE
                and data["fingerprint"]["radius"] == RADIUS
                and 1 <= len(edges) <= MOST_EDGES
                and all(low < high for low, high in itertools.pairwise(edges))
                and bool(np.isfinite(edges).all())
                and all(0 <= top <= LARGEST_COUNT for top in largest)
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ModelFolderError(f"realism inputs: not a definition ({error!r})") from None
        if not sound:
            raise ModelFolderError(
                "realism inputs: expected a Morgan fingerprint of radius "
                f"{RADIUS} and size {FINGERPRINT_SIZE}, ascending mass_edges and one largest value "
                f"from 0 to {LARGEST_COUNT} for each of {', '.join(FACTS)}; the file is damaged or "
                "from another program"
            )
        return cls(tuple(edges), tuple(largest))


def _inside(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """A value inside each of the intervals that edges (E,) cut, (E + 1,)."""
    middles = (edges[:-1] + edges[1:]) / 2
    return np.concatenate([edges[:1] - 1.0, middles, edges[-1:] + 1.0])


def _empty(width: int) -> SparseRows:
    return SparseRows(np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0), width)
