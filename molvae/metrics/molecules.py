"""Texts → the description that every metric reads: each molecule is parsed and cut up once."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.properties import compute

__all__ = ["MoleculeSet", "Wanted", "describe", "merge"]

FINGERPRINT_BYTES = 128  # Morgan, radius 2, 1024 bits


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
