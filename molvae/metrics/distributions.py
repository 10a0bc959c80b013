"""Counts of fragments and scaffolds, and values of properties, compared between two sets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae.metrics.base import NO_VALID, Metric
from molvae.metrics.molecules import MoleculeSet

__all__ = ["cosine", "fragment_similarity", "scaffold_similarity", "wasserstein"]


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
