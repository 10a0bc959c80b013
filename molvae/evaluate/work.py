"""The first looks at many texts: which are molecules, and what they are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.keys import keys_of
from molvae.metrics import MoleculeSet, Wanted, describe

__all__ = ["Scan", "description", "scan"]


@dataclass(frozen=True)
class Scan:
    """What the cheap first look at some texts finds: the valid ones and what they are."""

    total: int
    positions: NDArray[np.int64]  # (N,) places of the valid ones
    keys: NDArray[np.uint64]  # (N,) hash of the canonical SMILES
    disconnected: int


def scan(texts: Sequence[str]) -> Scan:
    """Parse texts, and hash the canonical SMILES of those that are molecules."""
    found = [(i, mol) for i, mol in enumerate(map(chem.parse, texts)) if mol is not None]
    return Scan(
        total=len(texts),
        positions=np.asarray([i for i, _ in found], dtype=np.int64),
        keys=keys_of([chem.to_smiles(mol) for _, mol in found]),
        disconnected=sum(chem.fragment_count(mol) > 1 for _, mol in found),
    )


def description(wanted: Wanted) -> Callable[[Sequence[str]], MoleculeSet]:
    """:func:`molvae.metrics.describe` as a task for :meth:`Workers.map`."""
    return functools.partial(describe, wanted=wanted)
