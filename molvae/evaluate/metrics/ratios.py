"""Validity, uniqueness, novelty, and the share that passes a filter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae.chem.alerts import Filter
from molvae.errors import InputError
from molvae.evaluate.metrics.base import NO_VALID, Metric, ratio
from molvae.evaluate.metrics.molecules import TEXTS, Molecules, Wanted, as_set

__all__ = ["fraction_passing", "novelty", "unique", "valid"]

_Keys = NDArray[np.uint64]


def valid(molecules: Molecules) -> Metric:
    """Share of all texts that RDKit parses to at least one atom.

    >>> valid(["CCO", "C1CC", ""]).numerator
    1
    """
    described = as_set(molecules, TEXTS)
    note = (
        f"{described.disconnected:,} of them have disconnected parts"
        if described.disconnected
        else ""
    )
    return ratio(len(described), described.total, "no molecule was given", note)


def unique(molecules: Molecules | _Keys, k: int | None = None) -> Metric:
    """Share of distinct canonical SMILES among the first ``k`` valid molecules, or among all.

    As in MOSES, a shorter list is used as it is, and the note says so. Keys (V,), a number for each
    valid molecule, equal for equal ones, may replace the molecules.
    """
    if k is not None and k < 1:
        raise InputError(f"unique@k: got k = {k}, expected 1 or more")
    first = _keys(molecules)[:k]
    short = k is not None and len(first) < k
    note = f"only {len(first):,} valid" if short else ""  # k is in the name
    return ratio(len(np.unique(first)), len(first), NO_VALID, note)


def novelty(molecules: Molecules | _Keys, train: Molecules | _Keys) -> Metric:
    """Share of the distinct valid molecules absent from the training set; or of their keys.

    >>> novelty(["CCO", "CCC"], ["OCC"]).value
    0.5
    """
    generated = np.unique(_keys(molecules))
    new = int(np.isin(generated, _keys(train), invert=True).sum())
    return ratio(new, len(generated), NO_VALID)


def _keys(given: Molecules | _Keys) -> NDArray[Any]:
    if isinstance(given, np.ndarray):
        return given
    return np.asarray(as_set(given, TEXTS).smiles, dtype=np.str_)


def fraction_passing(molecules: Molecules, filters: Filter) -> Metric:
    """Share of the valid molecules that pass a filter, repeats counted as in MOSES.

    A description must have been made with this filter.

    >>> from molvae.chem.alerts import alerts
    >>> fraction_passing(["CCO", "O=C1C=CC(=O)C=C1", "C1CC"], alerts("brenk")).value
    0.5
    """
    described = as_set(molecules, Wanted(False, False, False, filters=filters))
    return ratio(int(described.passes.sum()), len(described.passes), NO_VALID)
