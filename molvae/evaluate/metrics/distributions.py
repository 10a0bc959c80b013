"""Counts of fragments and scaffolds, and values of properties, compared between two sets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae.evaluate.metrics.base import NO_VALID, Metric
from molvae.evaluate.metrics.molecules import Molecules, MoleculeSet, Wanted, as_set

__all__ = [
    "cosine",
    "fragment_similarity",
    "normal_frechet",
    "property_distance",
    "scaffold_similarity",
    "wasserstein",
]


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


def fragment_similarity(molecules: Molecules, reference: Molecules | Mapping[str, int]) -> Metric:
    """Frag: cosine between the BRICS fragment counts of two sets; a reference may be counts."""
    generated = as_set(molecules, Wanted(False, False, True))
    if not isinstance(reference, Mapping):
        reference = as_set(reference, Wanted(False, False, True)).fragments.counts
    value = cosine(generated.fragments.counts, reference)
    missing = "no valid molecule in the reference" if len(generated) else NO_VALID
    return _of_counts(value, generated, "fragments", missing)


def scaffold_similarity(molecules: Molecules, reference: Molecules | Mapping[str, int]) -> Metric:
    """Scaf: cosine between the ring scaffold counts; molecules without one do not count."""
    generated = as_set(molecules, Wanted(False, True, False))
    if not isinstance(reference, Mapping):
        reference = as_set(reference, Wanted(False, True, False)).scaffolds.counts
    value = cosine(generated.scaffolds.counts, reference)
    missing = "no scaffold of two or more rings on one side"
    return _of_counts(value, generated, "scaffold", missing)


def _of_counts(value: float | None, molecules: MoleculeSet, part: str, missing: str) -> Metric:
    failed = molecules.failures[part]
    note = f"RDKit failed on {failed:,} molecules" if failed else ""
    return Metric(value, len(molecules), note=missing if value is None else note)


def property_distance(molecules: Molecules, reference: Molecules, name: str) -> Metric:
    """W1: :func:`wasserstein` distance between the values of a built-in property, in its unit."""
    wanted = Wanted(False, False, False, properties=(name,))
    generated, known = (as_set(given, wanted).column(name) for given in (molecules, reference))
    value = wasserstein(generated, known)
    return Metric(
        value, len(generated), note="no valid molecule on one side" if value is None else ""
    )


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


def normal_frechet(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> float | None:
    """``(m_a - m_b)² + (s_a - s_b)²``: Fréchet distance of the normal fits of two sets of values.

    What MOSES reported for properties before it switched to the Wasserstein distance. The
    divisor of the variances is n. None if either is empty.

    >>> normal_frechet(np.array([0.0, 2.0]), np.array([1.0, 5.0]))
    5.0
    """
    if not len(a) or not len(b):
        return None
    return float((a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2)
