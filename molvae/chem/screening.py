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

    @property
    def compares(self) -> bool:
        """Whether the number of a candidate can refuse it."""
        ...

    def verdict(self, mol: Mol, atoms: frozenset[int], log_uniform: float) -> RealismVerdict:
        """The verdict on a molecule whose ``atoms`` are those of the scaffold.

        Nothing but the margin where that refuses the number ``log_uniform``.
        """
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

    The order is that of cost: constraints on the structure, realism, properties. Without
    constraints realism comes before the molecule is written and read again, which costs more.
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
    counted: int = 0  # bits of a fingerprint with counts
    core: bool = False

    def __call__(self, decoded: Decoded) -> list[Measured]:
        """One entry per SELFIES string, in order; equal strings are screened once."""
        numbers, numbered = decoded.log_uniform, decoded.log_uniform is not None
        if numbers is None:
            numbers = [-math.inf] * len(decoded.texts)
        lowest: dict[str, float] = {}
        for text, number in zip(decoded.texts, numbers, strict=True):
            lowest[text] = min(number, lowest.get(text, math.inf))
        distinct, passed = list(lowest), dict[str, float]()

        def sift(text: str, mol: Mol) -> ScreenResult | None:
            result = self._judged(mol, lowest[text], frozenset())
            passed[text] = result.margin
            return result if result.skip else None

        # Without numbers the caller compares the margins, of molecules by their canonical SMILES.
        early = self.realism is not None and (numbered or not self.realism.compares)
        measured = measure_selfies(
            distinct,
            self.names,
            self.constraints,
            rewrite=self.rewrite,
            sift=sift if early and not self._restricts else None,
            inspect=lambda text, mol: self.screen(mol, lowest[text], passed.get(text)),
        )
        by_text = dict(zip(distinct, measured, strict=True))
        compared = [
            self._compared(by_text[text], number)
            for text, number in zip(decoded.texts, numbers, strict=True)
        ]
        return self._with_examples(compared)

    @functools.cached_property
    def _restricts(self) -> bool:
        """Whether the structure is constrained."""
        limits = (self.alerts, self.elements, self.scaffolds, self.max_ring is not None)
        return any(limits)

    def _judged(self, mol: Mol, log_uniform: float, atoms: frozenset[int]) -> ScreenResult:
        """What realism says of a molecule; ``atoms`` are those of the scaffold."""
        if self.realism is None:
            return ScreenResult()
        margin, refusal, example = self.realism.verdict(mol, atoms, log_uniform)
        skip = bool(refusal) or not log_uniform < margin
        return ScreenResult(refusal, example, margin=margin, skip=skip)

    def screen(
        self, mol: Mol, log_uniform: float = -math.inf, margin: float | None = None
    ) -> ScreenResult:
        """The first reason to refuse the molecule, and what else was requested.

        ``log_uniform`` is the lowest of the candidates that are this molecule; ``margin`` is that
        of a molecule which realism has let pass already.
        """
        refusal, atoms = self._refusal(mol)
        if refusal:
            return ScreenResult(refusal, skip=True)
        if margin is None:
            judged = self._judged(mol, log_uniform, atoms)
            if judged.skip:
                return judged
            margin = judged.margin
        bits, counted = b"", b""
        if self.fingerprint:
            bits = fingerprints([mol]).tobytes()
        if self.counted:
            counted = fingerprints([mol], size=self.counted, counts=True).tobytes()
        core = molecules.scaffold(mol) if self.core else ""
        return ScreenResult("", "", bits, counted, core, margin)

    def _compared(self, molecule: Measured, log_uniform: float) -> Measured:
        """The molecule as one of its candidates, which the critic may refuse by its number."""
        margin = molecule.screened.margin
        if self.realism is None or log_uniform < margin:
            return molecule
        unlike = ScreenResult(self.realism.unlike, molecule.smiles, margin=margin, skip=True)
        nothing = (math.nan,) * len(molecule.values)
        return replace(molecule, values=nothing, selfies="", screened=unlike)

    def _with_examples(self, compared: list[Measured]) -> list[Measured]:
        """The same, where the example of each refusal is that of the canonical SMILES.

        It is shown to the user; of all others but the first only their number counts.
        """
        done = set[str]()
        for i, molecule in enumerate(compared):
            why = molecule.screened.refusal
            if why in done or not molecule.screened.skip or molecule.radical or self._restricts:
                continue
            smiles = molecules.canonical_smiles(molecule.smiles) or molecule.smiles
            example, mol = smiles, molecules.parse(smiles)
            if self.realism is not None and why != self.realism.unlike and mol is not None:
                example = self.realism.verdict(mol, frozenset(), -math.inf).example
            screened = molecule.screened._replace(example=example)
            compared[i] = replace(molecule, smiles=smiles, screened=screened)
            if "." not in smiles:  # a search counts these apart
                done.add(why)
        return compared

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
