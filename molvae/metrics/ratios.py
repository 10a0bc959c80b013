"""How many are valid, distinct, new, or let pass by a filter."""

from __future__ import annotations

from molvae.errors import InputError
from molvae.filters import Filter
from molvae.metrics.base import NO_VALID, Metric, ratio
from molvae.metrics.molecules import TEXTS, Molecules, Wanted, as_set

__all__ = ["fraction_passing", "novelty", "unique", "valid"]


def valid(molecules: Molecules) -> Metric:
    """Share of all texts that RDKit parses to at least one atom.

    >>> valid(["CCO", "C1CC", ""]).numerator
    1
    """
    found = as_set(molecules, TEXTS)
    note = f"{found.disconnected:,} of them have disconnected parts" if found.disconnected else ""
    return ratio(len(found), found.total, "no molecule was given", note)


def unique(molecules: Molecules, k: int | None = None) -> Metric:
    """Share of distinct canonical SMILES among the first ``k`` valid molecules, or among all.

    As in MOSES, a shorter list is used as it is, and the note says so.
    """
    if k is not None and k < 1:
        raise InputError(f"unique@k: got k = {k}, expected 1 or more")
    first = as_set(molecules, TEXTS).smiles[:k]
    short = k is not None and len(first) < k
    note = f"only {len(first):,} valid molecules, not {k:,}" if short else ""
    return ratio(len(set(first)), len(first), NO_VALID, note)


def novelty(molecules: Molecules, train: Molecules) -> Metric:
    """Share of the distinct valid molecules absent from the training set.

    >>> novelty(["CCO", "CCC"], ["OCC"]).value
    0.5
    """
    mine = set(as_set(molecules, TEXTS).smiles)
    known = mine.intersection(as_set(train, TEXTS).smiles)
    return ratio(len(mine) - len(known), len(mine), NO_VALID)


def fraction_passing(molecules: Molecules, filters: Filter) -> Metric:
    """Share of the valid molecules that a filter lets pass, repeats counted as in MOSES.

    A description must have been made with this filter.

    >>> from molvae.filters import alerts
    >>> fraction_passing(["CCO", "O=C1C=CC(=O)C=C1", "C1CC"], alerts("brenk")).value
    0.5
    """
    found = as_set(molecules, Wanted(False, False, False, filters=filters))
    return ratio(int(found.passes.sum()), len(found.passes), NO_VALID)
