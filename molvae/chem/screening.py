"""What RDKit finds out about generated molecules; runs in worker processes, without torch."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from molvae.chem import molecules
from molvae.chem.alerts import alerts
from molvae.chem.fingerprints import fingerprints
from molvae.chem.molecules import Mol, largest_ring
from molvae.chem.properties import Measured, measure_selfies
from molvae.chem.substructure import contains

__all__ = ["MoleculeScreen", "ScreenResult"]


class ScreenResult(NamedTuple):
    """What is to be known of a molecule beside its properties."""

    refusal: str  # why it may not be written; empty if it may
    fingerprint: bytes  # Morgan bits, packed; empty if not asked for
    core: str  # Bemis-Murcko scaffold; empty if not asked for


@dataclass(frozen=True)
class MoleculeScreen:
    """SELFIES → measured molecules; can be pickled."""

    names: tuple[str, ...]  # of built-in properties
    constraints: dict[str, int]
    rewrite: bool = False  # whether the SELFIES of the canonical SMILES are wanted
    alerts: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()
    max_ring: int | None = None  # atoms
    scaffold: str | None = None
    fingerprint: bool = False
    core: bool = False

    def __call__(self, texts: Sequence[str]) -> list[Measured]:
        """One entry per text, in order; equal texts are looked at once."""
        distinct = list(dict.fromkeys(texts))
        measured = measure_selfies(
            distinct, self.names, self.constraints, rewrite=self.rewrite, inspect=self.screen
        )
        found = dict(zip(distinct, measured, strict=True))
        return [found[text] for text in texts]

    def screen(self, mol: Mol) -> ScreenResult:
        """The refusals first named, and what else was asked for."""
        return ScreenResult(
            refusal=self._refusal(mol),
            fingerprint=fingerprints([mol]).tobytes() if self.fingerprint else b"",
            core=molecules.scaffold(mol) if self.core else "",
        )

    def _refusal(self, mol: Mol) -> str:
        if self.scaffold is not None and not contains(mol, self.scaffold):
            return "without the scaffold"
        if self.elements:
            other = molecules.elements(mol) - self._allowed
            if other:
                return f"contains {min(other)}"
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
