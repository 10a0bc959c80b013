"""How many are valid, distinct, new."""

from __future__ import annotations

from collections.abc import Iterable

from molvae import chem
from molvae.errors import InputError
from molvae.filters import Filter
from molvae.metrics.base import NO_VALID, Metric, ratio
from molvae.metrics.molecules import MoleculeSet

__all__ = ["fraction_passing", "novelty", "unique", "valid"]


def valid(molecules: MoleculeSet) -> Metric:
    """Share of all texts that RDKit parses to at least one atom."""
    note = ""
    if molecules.disconnected:
        note = f"{molecules.disconnected:,} of them have disconnected parts"
    return ratio(len(molecules), molecules.total, "no molecule was given", note)


def unique(molecules: MoleculeSet, k: int | None = None) -> Metric:
    """Share of distinct canonical SMILES among the first ``k`` valid molecules, or among all.

    As in MOSES, a shorter list is used as it is, and the note says so.
    """
    if k is not None and k < 1:
        raise InputError(f"unique@k: got k = {k}, expected 1 or more")
    first = molecules.smiles[:k]
    short = k is not None and len(first) < k
    note = f"only {len(first):,} valid molecules, not {k:,}" if short else ""
    return ratio(len(set(first)), len(first), NO_VALID, note)


def novelty(molecules: MoleculeSet, train: Iterable[Iterable[str]]) -> Metric:
    """Share of the distinct valid molecules absent from the training set.

    ``train``: batches of SMILES canonicalised by the same RDKit; they are streamed, never held.
    """
    mine = set(molecules.smiles)
    known: set[str] = set()
    for batch in train:
        known.update(mine.intersection(batch))
    return ratio(len(mine) - len(known), len(mine), NO_VALID)


def fraction_passing(smiles: Iterable[str], filters: Filter) -> Metric:
    """Share of the valid molecules that a filter lets pass, repeats counted as in MOSES.

    Numerators and denominators of chunks add up to those of the whole.

    >>> fraction_passing(["CCO", "O=C1C=CC(=O)C=C1", "C1CC"], alerts("brenk")).value
    0.5
    """
    verdicts = [filters.passes(mol) for mol in map(chem.parse, smiles) if mol is not None]
    n, passed = len(verdicts), sum(verdicts)
    if not n:
        return Metric(None, 0, 0, 0, NO_VALID)
    return Metric(passed / n, n, passed, n)
