"""The distribution-learning benchmarks of GuacaMol (Brown et al. 2019) on lists of SMILES.

GuacaMol draws from a generator until it has as many molecules as it wants, ``n``. Here a list
replaces the generator: each benchmark uses its first ``n`` texts, valid molecules or distinct
molecules. A shorter list is penalized like a generator that stops early, with a note: give
more than ``n`` samples, or choose a smaller ``n``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.fingerprints import tanimoto
from molvae.chem.properties import compute
from molvae.errors import InputError
from molvae.evaluate.metrics.base import NO_VALID, Metric

__all__ = [
    "Described",
    "Sample",
    "Samples",
    "assess",
    "combine",
    "continuous_kl",
    "describe",
    "discrete_kl",
    "fcd_score",
    "flat_smiles",
    "kl_divergences",
    "kl_score",
    "noted_score",
    "novelty",
    "read_sample",
    "reference_positions",
    "reference_subset",
    "uniqueness",
    "validity",
]

SAMPLES = 10_000
REFERENCE_SEED = 42  # GuacaMol's own: the same training set gives the same reference molecules
EPSILON = 1e-10  # added to every density, so that no logarithm is of zero
GRID = 1000  # places between lowest and highest value at which continuous densities are compared
BINS = 10  # of the histograms of counts
BITS = 4096  # of the Morgan fingerprints of radius 2 behind the internal similarity

CONTINUOUS = ("BertzCT", "MolLogP", "MolWt", "TPSA")
DISCRETE = (
    "NumHAcceptors",
    "NumHDonors",
    "NumRotatableBonds",
    "NumAliphaticRings",
    "NumAromaticRings",
)
SIMILARITY = "internal_similarity"

_Floats = NDArray[np.float64]


# The sample --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """A list of SMILES, read once for all benchmarks.

    "Flat" SMILES are canonical without stereochemistry, which GuacaMol leaves out of account when
    it compares molecules.
    """

    n: int  # how many molecules are wanted; no more than there are texts
    asked: int  # how many were asked for
    parsed: int  # valid ones among the first n texts
    valid: tuple[str, ...]  # flat SMILES of the first n valid ones, with repeats
    distinct: tuple[str, ...]  # flat SMILES of the first n that differ, stereochemistry counting
    isomeric: tuple[str, ...]  # canonical SMILES with stereochemistry of the first n valid ones


def read_sample(smiles: Iterable[str], n: int = SAMPLES) -> Sample:
    """Read texts, in order, until there are ``n`` distinct molecules or no more texts."""
    if n < 1:
        raise InputError(f"GuacaMol's number of samples: got {n}, expected 1 or more")
    looked = parsed = 0
    valid: list[str] = []
    isomeric: list[str] = []
    distinct: dict[str, None] = {}
    for text in smiles:
        looked += 1
        mol = chem.parse(text)
        if mol is not None:
            canonical = chem.to_smiles(mol)
            parsed += looked <= n
            if len(valid) < n:
                valid.append(chem.to_smiles(mol, isomeric=False))
                isomeric.append(canonical)
            distinct[canonical] = None
        if looked >= n and len(distinct) >= n:
            break
    flat = tuple(_flat(list(distinct)[:n]))
    return Sample(min(n, looked), n, parsed, tuple(valid), flat, tuple(isomeric))


def _flat(smiles: Iterable[str]) -> Iterator[str]:
    for mol in map(chem.parse, smiles):
        if mol is not None:
            yield chem.to_smiles(mol, isomeric=False)


def flat_smiles(smiles: Iterable[str]) -> list[str]:
    """Distinct canonical SMILES without stereochemistry of the valid ones, in order.

    >>> flat_smiles(["OC[C@H](C)N", "OC[C@@H](C)N", "C1CC"])
    ['CC(N)CO']
    """
    return list(dict.fromkeys(_flat(smiles)))


Samples = Sequence[str] | Sample


def _read(samples: Samples, n: int) -> Sample:
    return samples if isinstance(samples, Sample) else read_sample(samples, n)


# Ratios ------------------------------------------------------------------------------------------


def validity(samples: Samples, n: int = SAMPLES) -> Metric:
    """Share of the first ``n`` texts that RDKit parses to at least one atom."""
    sample = _read(samples, n)
    note = "" if sample.n == sample.asked else f"only {sample.n:,} samples, not {sample.asked:,}"
    return _ratio(sample.parsed, sample, note)


def uniqueness(samples: Samples, n: int = SAMPLES) -> Metric:
    """Distinct molecules among the first ``n`` valid ones, divided by ``n``; stereo left out."""
    sample = _read(samples, n)
    note = _shortage(len(sample.valid), sample, "valid molecules")
    return _ratio(len(set(sample.valid)), sample, note)


def novelty(
    samples: Samples, train: Iterable[str], n: int = SAMPLES, *, train_is_flat: bool = False
) -> Metric:
    """Of the first ``n`` distinct molecules those not in the training set, divided by ``n``.

    Stereochemistry is left out, on both sides. Reading a large training set takes minutes: with
    ``train_is_flat`` its texts are taken as results of :func:`flat_smiles`.
    """
    sample = _read(samples, n)
    generated = set(sample.distinct)
    known = generated.intersection(train if train_is_flat else _flat(train))
    note = _shortage(len(sample.distinct), sample, "distinct molecules")
    return _ratio(len(generated) - len(known), sample, note)


def _shortage(count: int, sample: Sample, what: str) -> str:
    if count >= sample.asked:
        return ""
    return f"only {count:,} {what}, not {sample.asked:,}; divided by {sample.n:,}"


def _ratio(numerator: int, sample: Sample, note: str) -> Metric:
    if sample.n == 0:
        return Metric(None, 0, 0, 0, "no molecule was given")
    return Metric(numerator / sample.n, sample.n, numerator, sample.n, note)


# Divergences -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Described:
    """The compared data of a set of molecules: descriptors, and similarity to each other."""

    values: _Floats  # (N, 9), CONTINUOUS and then DISCRETE
    similarity: _Floats  # (N,) Tanimoto similarity to the most similar other molecule

    def __len__(self) -> int:
        return len(self.values)


def describe(flat: Iterable[str]) -> Described:
    """Describe molecules given by :func:`flat_smiles`; what RDKit cannot parse is left out."""
    mols = [mol for mol in map(chem.parse, flat) if mol is not None]
    values = np.empty((len(mols), len(CONTINUOUS) + len(DISCRETE)))
    for row, mol in zip(values, mols, strict=True):
        row[:] = _descriptors(mol)
    return Described(values, _nearest_other(chem.fingerprints(mols, size=BITS)))


_COMPUTED = ("logp", "mw", "tpsa", "hba", "hbd", "rotb", "rings", "arom")


def _descriptors(mol: chem.Mol) -> _Floats:
    logp, mw, tpsa, hba, hbd, rotb, rings, arom = compute(mol, _COMPUTED)
    # A ring that is not aromatic throughout is aliphatic.
    row = [chem.bertz_complexity(mol), logp, mw, tpsa, hba, hbd, rotb, rings - arom, arom]
    # As in GuacaMol, what RDKit cannot compute is zero.
    return np.nan_to_num(np.array(row, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _nearest_other(prints: NDArray[np.uint8]) -> _Floats:
    best = np.zeros(len(prints))
    size = 512
    for low in range(0, len(prints), size):
        rows = slice(low, low + size)
        for start in range(low, len(prints), size):
            columns = slice(start, start + size)
            similarity = tanimoto(prints[rows], prints[columns])
            if start == low:
                np.fill_diagonal(similarity, 0)
            np.maximum(best[rows], similarity.max(axis=1), out=best[rows])
            np.maximum(best[columns], similarity.max(axis=0), out=best[columns])
    return best


def _divergence(p: _Floats, q: _Floats) -> float:
    """Kullback-Leibler divergence of ``q`` from ``p`` in nats, after each is made to sum to one."""
    p, q = p / p.sum(), q / q.sum()
    return max(0.0, float(np.sum(p * np.log(p / q))))


def _density(values: _Floats, places: _Floats) -> _Floats:
    """Kernel density estimate: a normal distribution at each value, of Scott's (1992) width."""
    width = float(values.std(ddof=1)) * len(values) ** -0.2
    total = np.zeros(len(places))
    for low in range(0, len(values), GRID):
        distance = (places[:, None] - values[None, low : low + GRID]) / width
        total += np.exp(-0.5 * distance**2).sum(axis=1)
    density: _Floats = total / (len(values) * width * math.sqrt(2 * math.pi))
    return density


def continuous_kl(reference: _Floats, sampled: _Floats) -> float | None:
    """Divergence of two kernel density estimates at 1000 places over both ranges.

    None if either holds fewer than two different values, which have no density.
    """
    for values in (reference, sampled):
        if len(values) < 2 or values.min() == values.max():
            return None
    joined = np.concatenate([reference, sampled])
    places = np.linspace(joined.min(), joined.max(), GRID)
    return _divergence(_density(reference, places) + EPSILON, _density(sampled, places) + EPSILON)


def discrete_kl(reference: _Floats, sampled: _Floats) -> float | None:
    """Divergence of two histograms over ten bins, which span the reference.

    Sampled values outside the reference's range are not counted, as in GuacaMol. None if either is
    empty or no sampled value lies in the range.
    """
    if not len(reference) or not len(sampled):
        return None
    expected, edges = np.histogram(reference, bins=BINS, density=True)
    if not np.histogram(sampled, bins=edges)[0].any():
        return None
    obtained, _ = np.histogram(sampled, bins=edges, density=True)
    return _divergence(expected + EPSILON, obtained + EPSILON)


def kl_divergences(sampled: Described, reference: Described) -> dict[str, Metric]:
    """Divergence of the sampled from the reference molecules, in nats, per descriptor."""
    divergences: dict[str, Metric] = {}
    n = len(sampled)

    def enter(name: str, value: float | None, missing: str) -> None:
        divergences[name] = Metric(value, n, note=missing if value is None else "")

    if not n or not len(reference):
        names = (*CONTINUOUS, *DISCRETE, SIMILARITY)
        nothing = NO_VALID if not n else "no valid molecule in the reference"
        return {name: Metric(None, n, note=nothing) for name in names}
    same = "fewer than two different values on one side"
    for i, name in enumerate((*CONTINUOUS, *DISCRETE)):
        a, b = reference.values[:, i], sampled.values[:, i]
        if name in CONTINUOUS:
            enter(name, continuous_kl(a, b), same)
        else:
            enter(name, discrete_kl(a, b), "no value in the range of the reference")
    enter(SIMILARITY, continuous_kl(reference.similarity, sampled.similarity), same)
    return divergences


def kl_score(divergences: Mapping[str, Metric]) -> Metric:
    """Mean of ``exp(-KL)`` over the descriptors, 1 at best; None if one has no divergence."""
    n = max((metric.n for metric in divergences.values()), default=0)
    known = [metric.value for metric in divergences.values() if metric.value is not None]
    if len(known) < len(divergences) or not known:
        lacking = [name for name, metric in divergences.items() if metric.value is None]
        reasons = {metric.note for metric in divergences.values() if metric.value is None}
        why = f": {reason}" if len(reasons) == 1 and (reason := reasons.pop()) else ""
        listing = ", ".join(lacking) if len(lacking) < len(divergences) else "any descriptor"
        return Metric(None, n, note=f"no divergence for {listing}{why}")
    total = math.fsum(math.exp(-value) for value in known)
    return Metric(total / len(known), n, total, len(known))


def noted_score(divergences: Mapping[str, Metric], sample: Sample, train: int) -> Metric:
    """:func:`kl_score`, with a note where there are too few molecules on either side."""
    score = kl_score(divergences)
    fewer = min(train, sample.asked)
    if score.value is None or min(fewer, len(sample.distinct)) >= sample.asked:
        return score
    compared = f"only {len(sample.distinct):,} distinct molecules against {fewer:,}"
    return replace(score, note=f"{compared}, not {sample.asked:,}")


def reference_positions(count: int, n: int = SAMPLES) -> NDArray[np.int64]:
    """Places of the ``n`` of ``count`` training molecules that GuacaMol compares with."""
    if count <= n:
        return np.arange(count)
    return np.random.RandomState(REFERENCE_SEED).permutation(count)[:n]


def reference_subset(train: Sequence[str], n: int = SAMPLES) -> list[str]:
    """The ``n`` training molecules that GuacaMol compares with, or all of fewer."""
    return [train[i] for i in reference_positions(len(train), n)]


# Together ----------------------------------------------------------------------------------------


def fcd_score(fcd: Metric | float | None) -> Metric:
    """``exp(-0.2 FCD)``, 1 at best, from a Fréchet ChemNet distance computed elsewhere."""
    known = fcd if isinstance(fcd, Metric) else Metric(fcd, 0)
    if known.value is None:
        return Metric(None, known.n, note=known.note or "no FCD was given")
    return Metric(math.exp(-0.2 * known.value), known.n, note=known.note)


def assess(
    samples: Samples,
    train: Sequence[str],
    n: int = SAMPLES,
    *,
    fcd: Metric | float | None = None,
    train_is_flat: bool = False,
) -> dict[str, Metric]:
    """All five benchmarks, by name, and below ``KL/`` the divergence of each descriptor."""
    sample = _read(samples, n)
    subset = reference_subset(train, sample.asked)
    reference = describe(flat_smiles(subset))
    novel = novelty(sample, train, train_is_flat=train_is_flat)
    return combine(sample, reference, novel=novel, rows=len(train), fcd=fcd)


def combine(
    sample: Sample,
    reference: Described,
    *,
    novel: Metric,
    rows: int,
    fcd: Metric | float | None,
) -> dict[str, Metric]:
    """The five benchmarks of a sample, and below ``KL/`` the divergence of each descriptor.

    ``reference``: descriptors of the training molecules that GuacaMol compares with; ``rows``: how
    many training molecules there are; ``novel`` and ``fcd``: computed elsewhere.
    """
    divergences = kl_divergences(describe(dict.fromkeys(sample.distinct)), reference)
    return {
        "validity": validity(sample),
        "uniqueness": uniqueness(sample),
        "novelty": novel,
        "KL": noted_score(divergences, sample, rows),
        "FCD": fcd_score(fcd),
        **{f"KL/{name}": metric for name, metric in divergences.items()},
    }
