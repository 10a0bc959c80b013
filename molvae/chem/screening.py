"""Screen generated molecules with RDKit; runs in worker processes, without torch."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from molvae.chem import molecules
from molvae.chem.alerts import alerts
from molvae.chem.fingerprints import fingerprints
from molvae.chem.molecules import Mol, largest_ring
from molvae.chem.properties import Measured, measure_selfies
from molvae.chem.substructure import contains

__all__ = ["NO_ATOMS", "RADICAL", "MoleculeScreen", "ScreenResult", "scaffold_share"]

# Reasons to refuse a molecule, in the order in which they are checked.
NO_ATOMS, RADICAL = "not a molecule (no atoms)", "unpaired electrons"
NO_SCAFFOLD = "without the scaffold"


def scaffold_share(checked: int, refused: Mapping[str, int]) -> float:
    """Share with the scaffold among the checked molecules that got that far; NaN without any."""
    judged = checked - sum(refused.get(reason, 0) for reason in (NO_ATOMS, RADICAL))
    return 1 - refused.get(NO_SCAFFOLD, 0) / judged if judged > 0 else math.nan


class ScreenResult(NamedTuple):
    """What a screen adds to the properties of a molecule."""

    refusal: str  # why the molecule is refused; empty if it is not
    fingerprint: bytes  # Morgan bits, packed; empty if not requested
    core: str  # Bemis-Murcko scaffold; empty if not requested


@dataclass(frozen=True)
class MoleculeScreen:
    """SELFIES → measured and screened molecules; can be pickled."""

    names: tuple[str, ...]  # of built-in properties
    constraints: dict[str, int]
    rewrite: bool = False  # whether the SELFIES of the canonical SMILES are wanted
    alerts: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()
    max_ring: int | None = None  # atoms
    scaffolds: tuple[str, ...] = ()  # substructures that every molecule must have
    fill: bool = False  # no attachment point of a scaffold may be free
    fingerprint: bool = False
    core: bool = False

    def __call__(self, texts: Sequence[str]) -> list[Measured]:
        """One entry per SELFIES string, in order; equal strings are screened once."""
        distinct = list(dict.fromkeys(texts))
        measured = measure_selfies(
            distinct, self.names, self.constraints, rewrite=self.rewrite, inspect=self.screen
        )
        by_text = dict(zip(distinct, measured, strict=True))
        return [by_text[text] for text in texts]

    def screen(self, mol: Mol) -> ScreenResult:
        """The first reason to refuse the molecule, and what else was requested."""
        return ScreenResult(
            refusal=self._refusal(mol),
            fingerprint=fingerprints([mol]).tobytes() if self.fingerprint else b"",
            core=molecules.scaffold(mol) if self.core else "",
        )

    def _refusal(self, mol: Mol) -> str:
        if not all(contains(mol, text, fill=self.fill) for text in self.scaffolds):
            return NO_SCAFFOLD
        if self.elements:
            forbidden = molecules.elements(mol) - self._allowed
            if forbidden:
                return f"contains {min(forbidden)}"
        if self.max_ring is not None and (size := largest_ring(mol)) > self.max_ring:
            return f"has a ring of {size} atoms"
        for name in self.alerts:
            refusal = alerts(name).refusal(mol)
            if refusal is not None:
                return f"alert: {refusal}"
        return ""

    @functools.cached_property
    def _allowed(self) -> frozenset[str]:
        return frozenset(self.elements)
