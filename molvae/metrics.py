"""Sets of molecules → numbers, by the definitions of MOSES (Polykovskiy et al. 2020).

`docs/metrics.md` has every formula with its source. Molecules are described once
(:func:`describe`: parsed, canonicalised, fingerprinted, cut into fragments) and every metric reads
that description. A metric that cannot be computed has the value None and says why.

Shapes: ``N`` molecules, ``P`` properties; fingerprints are packed, 8 bits in a byte.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.conditions import Target, hit
from molvae.errors import InputError
from molvae.properties import compute

__all__ = [
    "Control",
    "Metric",
    "MoleculeSet",
    "Wanted",
    "control",
    "cosine",
    "describe",
    "fragment_similarity",
    "internal_diversity",
    "merge",
    "nearest_similarity",
    "novelty",
    "scaffold_similarity",
    "unique",
    "valid",
    "wasserstein",
]

FINGERPRINT_BYTES = 128  # Morgan, radius 2, 1024 bits
_ROWS, _COLUMNS = 512, 2048  # pairs compared at a time: 4 MB of float32, about a CPU's cache


@dataclass(frozen=True)
class Metric:
    """A number with what it was computed from.

    ``value`` is None where it cannot be computed and ``note`` then says why. Ratios carry
    ``numerator`` and ``denominator``; ``n`` is how many molecules went in.
    """

    value: float | None
    n: int
    numerator: float | None = None
    denominator: float | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data; parts that do not apply are left out, ``value`` and ``n`` never."""
        return {k: v for k, v in asdict(self).items() if k in ("value", "n") or v not in (None, "")}


def _ratio(numerator: int, denominator: int, nothing: str, note: str = "") -> Metric:
    if denominator == 0:
        return Metric(None, 0, numerator, denominator, nothing)
    return Metric(numerator / denominator, denominator, numerator, denominator, note)


NO_VALID = "no valid molecule"


@dataclass(frozen=True)
class Wanted:
    """Which parts of a description to compute; parsing and canonical SMILES always are."""

    fingerprints: bool = True
    scaffolds: bool = True
    fragments: bool = True
    properties: tuple[str, ...] = ()  # built-in property names, the columns of ``values``


@dataclass(frozen=True)
class MoleculeSet:
    """The valid molecules among some texts, in order, each described once.

    Parts that were not wanted are empty. ``failures`` counts what RDKit could not compute.
    """

    total: int  # texts looked at, valid or not
    smiles: list[str]  # canonical isomeric SMILES of the N valid ones
    positions: NDArray[np.int64]  # (N,) place of each valid molecule among the texts
    fingerprints: NDArray[np.uint8]  # (N, 128) Morgan radius 2, 1024 bits
    scaffolds: Counter[str]  # ring scaffolds, molecules without one left out
    fragments: Counter[str]  # BRICS fragments
    values: NDArray[np.float64]  # (N, P), NaN where RDKit failed
    properties: tuple[str, ...] = ()
    disconnected: int = 0  # valid molecules of more than one part
    failures: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.smiles)

    def column(self, name: str) -> NDArray[np.float64]:
        """The known values of one property, without the missing."""
        values = self.values[:, self.properties.index(name)].astype(np.float64)
        return values[~np.isnan(values)]


def describe(texts: Sequence[str], wanted: Wanted = Wanted()) -> MoleculeSet:
    """Parse some SMILES and compute what is wanted of the valid ones.

    >>> describe(["OCC", "", "C1CC"]).smiles
    ['CCO']
    """
    mols = [(i, mol) for i, mol in enumerate(map(chem.parse, texts)) if mol is not None]
    smiles = [chem.to_smiles(mol) for _, mol in mols]
    failures: Counter[str] = Counter()
    scaffolds: Counter[str] = Counter()
    fragments: Counter[str] = Counter()
    for _, mol in mols:
        if wanted.scaffolds:
            scaffolds.update(_guarded("scaffold", _scaffolds, mol, failures))
        if wanted.fragments:
            fragments.update(_guarded("fragments", chem.brics_fragments, mol, failures))
    prints = np.empty((0, FINGERPRINT_BYTES), dtype=np.uint8)
    if wanted.fingerprints:
        prints = chem.fingerprints([mol for _, mol in mols])
    values = np.empty((len(mols), len(wanted.properties)))
    for row, (_, mol) in zip(values, mols, strict=True):
        row[:] = compute(mol, wanted.properties)
    return MoleculeSet(
        total=len(texts),
        smiles=smiles,
        positions=np.asarray([i for i, _ in mols], dtype=np.int64),
        fingerprints=prints,
        scaffolds=scaffolds,
        fragments=fragments,
        values=values,
        properties=wanted.properties,
        disconnected=sum(chem.fragment_count(mol) > 1 for _, mol in mols),
        failures=failures,
    )


def _scaffolds(mol: chem.Mol) -> list[str]:
    text = chem.ring_scaffold(mol)
    return [text] if text else []


def _guarded(what: str, function: Any, mol: chem.Mol, failures: Counter[str]) -> list[str]:
    """The function's list, or an empty one and a count where RDKit gives up on a molecule."""
    try:
        result: list[str] = function(mol)
    except (ValueError, RuntimeError):
        failures[what] += 1
        return []
    return result


def merge(parts: Iterable[MoleculeSet]) -> MoleculeSet:
    """One set from the descriptions of consecutive chunks."""
    parts = list(parts)
    if not parts:
        return describe([])
    offsets = itertools.accumulate((part.total for part in parts), initial=0)
    shifted = [part.positions + offset for part, offset in zip(parts, offsets, strict=False)]
    return MoleculeSet(
        total=sum(part.total for part in parts),
        smiles=[text for part in parts for text in part.smiles],
        positions=np.concatenate(shifted),
        fingerprints=np.concatenate([part.fingerprints for part in parts]),
        scaffolds=_sum_counts(part.scaffolds for part in parts),
        fragments=_sum_counts(part.fragments for part in parts),
        values=np.concatenate([part.values for part in parts]),
        properties=parts[0].properties,
        disconnected=sum(part.disconnected for part in parts),
        failures=_sum_counts(part.failures for part in parts),
    )


def _sum_counts(counts: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total


# Ratios


def valid(molecules: MoleculeSet) -> Metric:
    """Share of all texts that RDKit parses to at least one atom."""
    note = ""
    if molecules.disconnected:
        note = f"{molecules.disconnected:,} of them have disconnected parts"
    return _ratio(len(molecules), molecules.total, "no molecule was given", note)


def unique(molecules: MoleculeSet, k: int | None = None) -> Metric:
    """Share of distinct canonical SMILES among the first ``k`` valid molecules, or among all.

    As in MOSES, a shorter list is used as it is, and the note says so.
    """
    if k is not None and k < 1:
        raise InputError(f"unique@k: got k = {k}, expected 1 or more")
    first = molecules.smiles[:k]
    short = k is not None and len(first) < k
    note = f"only {len(first):,} valid molecules, not {k:,}" if short else ""
    return _ratio(len(set(first)), len(first), NO_VALID, note)


def novelty(molecules: MoleculeSet, train: Iterable[Iterable[str]]) -> Metric:
    """Share of the distinct valid molecules absent from the training set.

    ``train``: batches of SMILES canonicalised by the same RDKit; they are streamed, never held.
    """
    mine = set(molecules.smiles)
    known: set[str] = set()
    for batch in train:
        known.update(mine.intersection(batch))
    return _ratio(len(mine) - len(known), len(mine), NO_VALID)


# Similarity of fingerprints


def _blocks(n: int, size: int, start: int = 0) -> Iterator[slice]:
    for low in range(start, n, size):
        yield slice(low, min(low + size, n))


def internal_diversity(
    fingerprints: NDArray[np.uint8], powers: Sequence[int] = (1, 2)
) -> tuple[Metric, ...]:
    """``1 - mean_i (mean_j T_ij^p)^(1/p)`` over all pairs, one metric per power ``p``.

    ``fingerprints``: packed bits, shape (N, bytes). Each molecule meets itself too, as in MOSES.
    Exact, in blocks: no N × N matrix is held.
    """
    n = len(fingerprints)
    if n < 2:
        return tuple(Metric(None, n, note="needs at least 2 valid molecules") for _ in powers)
    sums = np.zeros((len(powers), n))
    for rows in _blocks(n, _ROWS):
        for columns in _blocks(n, _COLUMNS, rows.start):
            similarity = chem.tanimoto(fingerprints[rows], fingerprints[columns])
            # The matrix is symmetric: what lies right of the diagonal block counts for both.
            beyond = slice(max(columns.start, rows.stop), max(columns.stop, rows.stop))
            for total, power in zip(sums, powers, strict=True):
                raised = similarity if power == 1 else similarity**power
                total[rows] += raised.sum(axis=1, dtype=np.float64)
                inside = raised[:, beyond.start - columns.start :]
                total[beyond] += inside.sum(axis=0, dtype=np.float64)
    return tuple(
        Metric(float(1 - np.mean((total / n) ** (1 / power))), n)
        for total, power in zip(sums, powers, strict=True)
    )


def nearest_similarity(queries: NDArray[np.uint8], reference: NDArray[np.uint8]) -> Metric:
    """SNN: mean Tanimoto similarity of each molecule to its nearest reference molecule."""
    if not len(queries):
        return Metric(None, 0, note=NO_VALID)
    if not len(reference):
        return Metric(None, len(queries), note="no valid molecule in the reference")
    similarity, _ = chem.nearest(queries, reference)
    return Metric(float(similarity.mean(dtype=np.float64)), len(queries))


# Counts and distributions


def cosine(a: Mapping[str, int], b: Mapping[str, int]) -> float | None:
    """Cosine of the angle between two count vectors; None if one has no counts.

    >>> cosine({"x": 1}, {"x": 2}), cosine({"x": 1}, {"y": 1})
    (1.0, 0.0)
    """
    # Python integers do not overflow, however many molecules were counted.
    norm = sum(v * v for v in a.values()) * sum(v * v for v in b.values())
    if norm == 0:
        return None
    shared = sum(count * b[key] for key, count in a.items() if key in b)
    return min(1.0, shared / math.sqrt(norm))


def fragment_similarity(molecules: MoleculeSet, reference: MoleculeSet) -> Metric:
    """Cosine between the BRICS fragment counts of two sets."""
    value = cosine(molecules.fragments, reference.fragments)
    return _of_counts(value, molecules, "fragments", NO_VALID)


def scaffold_similarity(molecules: MoleculeSet, reference: MoleculeSet) -> Metric:
    """Cosine between the ring scaffold counts of two sets; molecules without one do not count."""
    value = cosine(molecules.scaffolds, reference.scaffolds)
    missing = "no scaffold of two or more rings on one side"
    return _of_counts(value, molecules, "scaffold", missing)


def _of_counts(value: float | None, molecules: MoleculeSet, part: str, missing: str) -> Metric:
    failed = molecules.failures[part]
    note = f"RDKit failed on {failed:,} molecules" if failed else ""
    return Metric(value, len(molecules), note=missing if value is None else note)


def wasserstein(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> float | None:
    """1-Wasserstein distance ``∫ |F_a(x) - F_b(x)| dx``, in the unit of the values.

    None if either is empty; NaN is not allowed in.

    >>> wasserstein(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    1.0
    """
    if not len(a) or not len(b):
        return None
    places = np.sort(np.concatenate([a, b]).astype(np.float64))
    share_a = np.searchsorted(np.sort(a), places[:-1], side="right") / len(a)
    share_b = np.searchsorted(np.sort(b), places[:-1], side="right") / len(b)
    return float(np.sum(np.abs(share_a - share_b) * np.diff(places)))


# Conditional control


@dataclass(frozen=True)
class Control:
    """How well molecules meet one target.

    ``metric`` is the mean absolute distance (MAD) for a point and the hit rate for a range.
    ``mean``, ``sd`` and, for a point, ``bias`` (mean obtained minus requested) say how the obtained
    values lie; their unit is the property's.
    """

    target: str
    kind: str  # "MAD" or "hit rate"
    metric: Metric
    mean: float | None
    sd: float | None
    bias: float | None
    missing: int  # valid molecules without a value, left out
    source: str  # where the values come from

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the metric under the name of its kind."""
        data = asdict(self)
        kind, _ = data.pop("kind"), data.pop("metric")
        return {"target": data.pop("target"), kind: self.metric.to_json(), **data}


def control(target: Target, values: NDArray[np.floating[Any]], *, source: str = "RDKit") -> Control:
    """Compare obtained values, NaN where unknown, with a target."""
    obtained = np.asarray(values, dtype=np.float64)
    known = obtained[~np.isnan(obtained)]
    n, missing = len(known), len(values) - len(known)
    note = f"{missing:,} valid molecules have no value" if missing else ""
    nothing = "no valid molecule has a value"
    if target.is_point:
        kind = "MAD"
        value = float(np.abs(known - target.low).mean()) if n else None
        metric = Metric(value, n, note=note if n else nothing)
    else:
        kind = "hit rate"
        metric = _ratio(int(hit(target, known).sum()), n, nothing, note)
    mean = float(known.mean()) if n else None
    return Control(
        target=target.text,
        kind=kind,
        metric=metric,
        mean=mean,
        sd=float(known.std()) if n else None,
        bias=mean - target.low if mean is not None and target.is_point else None,
        missing=missing,
        source=source,
    )
