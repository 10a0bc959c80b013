"""Screen generated molecules with RDKit; runs in worker processes, without torch."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from molvae.chem import molecules
from molvae.chem.alerts import alerts
from molvae.chem.fingerprints import fingerprints
from molvae.chem.molecules import Mol, largest_ring
from molvae.chem.properties import Measured, ScreenResult, measure_selfies
from molvae.chem.substructure import matched_atoms

__all__ = [
    "NO_ATOMS",
    "RADICAL",
    "Decoded",
    "MoleculeScreen",
    "Realism",
    "RealismVerdict",
    "scaffold_share",
]

# Reasons to refuse a molecule, in the order in which they are checked.
NO_ATOMS, RADICAL = "not a molecule (no atoms)", "unpaired electrons"
NO_SCAFFOLD = "without the scaffold"


def scaffold_share(checked: int, refused: Mapping[str, int]) -> float:
    """Share with the scaffold among the checked molecules that got that far; NaN without any."""
    judged = checked - sum(refused.get(reason, 0) for reason in (NO_ATOMS, RADICAL))
    return 1 - refused.get(NO_SCAFFOLD, 0) / judged if judged > 0 else math.nan


class RealismVerdict(NamedTuple):
    """What :class:`Realism` says of a molecule."""

    margin: float  # logit − log M: a candidate is kept if the log of its number is below
    refusal: str = ""  # why the molecule is refused in any case; empty if it is not
    example: str = ""  # what is refused


class Realism(Protocol):
    """Judges how much a molecule looks like the training molecules; picklable."""

    @property
    def unlike(self) -> str:
        """The reason of a refusal by the margin."""
        ...

    def verdict(self, mol: Mol, atoms: frozenset[int]) -> RealismVerdict:
        """The verdict on a molecule whose ``atoms`` are those of the scaffold."""
        ...


class Decoded(NamedTuple):
    """SELFIES of candidates, and the logarithm of each one's number from (0, 1) for realism.

    Without numbers nothing is refused by its margin.
    """

    texts: Sequence[str]
    log_uniform: Sequence[float] | None = None


@dataclass(frozen=True)
class MoleculeScreen:
    """SELFIES → measured and screened molecules; can be pickled.

    The order is that of cost: constraints on the structure, realism, properties.
    """

    names: tuple[str, ...]  # of built-in properties
    constraints: dict[str, int]
    rewrite: bool = False  # whether the SELFIES of the canonical SMILES are wanted
    alerts: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()
    max_ring: int | None = None  # atoms
    scaffolds: tuple[str, ...] = ()  # substructures that every molecule must have
    fill: bool = False  # no attachment point of a scaffold may be free
    realism: Realism | None = None
    fingerprint: bool = False
    core: bool = False

    def __call__(self, decoded: Decoded) -> list[Measured]:
        """One entry per SELFIES string, in order; equal strings are screened once."""
        numbers = decoded.log_uniform
        if numbers is None:
            numbers = [-math.inf] * len(decoded.texts)
        lowest: dict[str, float] = {}
        for text, number in zip(decoded.texts, numbers, strict=True):
            lowest[text] = min(number, lowest.get(text, math.inf))
        distinct = list(lowest)
        measured = measure_selfies(
            distinct,
            self.names,
            self.constraints,
            rewrite=self.rewrite,
            inspect=lambda text, mol: self.screen(mol, lowest[text]),
        )
        by_text = dict(zip(distinct, measured, strict=True))
        return [
            self._compared(by_text[text], number)
            for text, number in zip(decoded.texts, numbers, strict=True)
        ]

    def screen(self, mol: Mol, log_uniform: float = -math.inf) -> ScreenResult:
        """The first reason to refuse the molecule, and what else was requested.

        ``log_uniform`` is the lowest of the candidates that are this molecule.
        """
        refusal, atoms = self._refusal(mol)
        verdict = RealismVerdict(math.inf)
        if self.realism is not None and not refusal:
            verdict = self.realism.verdict(mol, atoms)
        skip = bool(verdict.refusal) or not log_uniform < verdict.margin
        return ScreenResult(
            refusal=refusal or verdict.refusal,
            example=verdict.example,
            fingerprint=fingerprints([mol]).tobytes() if self.fingerprint and not skip else b"",
            core=molecules.scaffold(mol) if self.core and not skip else "",
            margin=verdict.margin,
            skip=skip,
        )

    def _compared(self, molecule: Measured, log_uniform: float) -> Measured:
        """The molecule as one of its candidates, which the critic may refuse by its number."""
        margin = molecule.screened.margin
        if self.realism is None or log_uniform < margin:
            return molecule
        unlike = ScreenResult(self.realism.unlike, molecule.smiles, margin=margin, skip=True)
        nothing = (math.nan,) * len(molecule.values)
        return replace(molecule, values=nothing, selfies="", screened=unlike)

    def _refusal(self, mol: Mol) -> tuple[str, frozenset[int]]:
        """The first reason of the structure, and the atoms of the scaffolds."""
        matches = [matched_atoms(mol, text, fill=self.fill) for text in self.scaffolds]
        if not all(matches):
            return NO_SCAFFOLD, frozenset()
        return self._structure(mol), frozenset().union(*matches)

    def _structure(self, mol: Mol) -> str:
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
