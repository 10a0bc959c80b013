"""The gate: only molecules that meet the constraints may be scored."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.fingerprints import tanimoto
from molvae.chem.hashing import KeySet, keys_of
from molvae.chem.properties import Measured
from molvae.chem.screening import NO_ATOMS, RADICAL, MoleculeScreen, ScreenResult, scaffold_share
from molvae.errors import ConfigError
from molvae.generate.critic import Critic, seed_molecules
from molvae.generate.proposer import Proposer
from molvae.generate.request import SIMILARITY, Request
from molvae.runtime.processes import map_ordered

__all__ = ["Gate"]

CHUNK = 256  # strings per piece of work


class Gate:
    """Checks strings by RDKit and by the model; counts rejections by reason.

    Constraints are ranges of built-in properties (exact) or measured columns (predicted), alerts,
    elements, ring sizes, a scaffold, a range of similarity to given molecules, and known molecules
    to exclude.
    """

    def __init__(
        self,
        proposer: Proposer,
        request: Request,
        *,
        known: KeySet | None = None,
        executor: Executor | None = None,
        workers: int = 1,
    ) -> None:
        points = [target.text for target in request.targets if target.is_point]
        if points:
            raise ConfigError(
                f"constraint {points[0]}: expected a range such as mw=:450; to get as close "
                "as possible to a value, make it an objective: --objective NAME=VALUE"
            )
        self.request, self.known = request, known or KeySet()
        self.executor, self.workers = executor, workers
        self.checked = 0
        self.refused: Counter[str] = Counter()
        self._proposer = proposer
        self._critic = Critic(proposer.model, request, proposer)
        self._given: NDArray[np.uint8] | None = None
        if self._compares:
            self._given = chem.fingerprints(seed_molecules(request.like))
        self._screen = MoleculeScreen(
            names=self._critic.exact,
            constraints=proposer.model.constraints,
            rewrite=True,
            alerts=request.alerts,
            elements=request.elements,
            max_ring=request.max_ring,
            scaffolds=request.scaffolds,
            fill=request.fill,
            fingerprint=self._compares,
        )

    def __call__(self, texts: Sequence[str]) -> list[str | None]:
        """For each SELFIES the canonical SMILES, or None if it may not be scored."""
        chunks = [texts[i : i + CHUNK] for i in range(0, len(texts), CHUNK)]
        measured = [
            molecule
            for chunk_result in map_ordered(
                self._screen, chunks, workers=self.workers, executor=self.executor
            )
            for molecule in chunk_result
        ]
        similarity = self._similarity(measured)
        _, _, outside = self._critic.judge(measured, texts, similarity)
        known = self.known.holds(keys_of([molecule.smiles for molecule in measured]))
        self.checked += len(measured)
        result: list[str | None] = []
        for molecule, out, old in zip(measured, outside, known, strict=True):
            reason = self._refusal(molecule, out=bool(out), old=bool(old))
            if reason:
                self.refused[reason] += 1
            result.append(None if reason else molecule.smiles)
        return result

    @property
    def scaffold_share(self) -> float | None:
        """Share of the checked molecules with the required scaffold."""
        share = scaffold_share(self.checked, self.refused) if self.request.scaffolds else math.nan
        return None if math.isnan(share) else share

    @property
    def _compares(self) -> bool:
        return any(target.name == SIMILARITY for target in self.request.targets)

    def _similarity(self, measured: Sequence[Measured]) -> NDArray[np.float64]:
        """Tanimoto similarity to the closest given molecule; NaN if no constraint needs it."""
        best = np.full(len(measured), np.nan)
        made = np.flatnonzero([bool(molecule.smiles) for molecule in measured])
        if self._given is None or not len(made):
            return best
        packed = b"".join(molecule.screened.fingerprint for molecule in measured if molecule.smiles)
        bits = np.frombuffer(packed, dtype=np.uint8).reshape(len(made), -1)
        best[made] = tanimoto(bits, self._given).max(axis=1)
        return best

    @staticmethod
    def _refusal(molecule: Measured, *, out: bool, old: bool) -> str:
        if not molecule.smiles:
            return NO_ATOMS
        if molecule.radical:
            return RADICAL
        screened: ScreenResult = molecule.screened
        if screened.refusal:
            return screened.refusal
        if old:
            return "not novel"
        if not molecule.selfies:
            return "cannot be written as SELFIES"
        return "outside a constraint" if out else ""
