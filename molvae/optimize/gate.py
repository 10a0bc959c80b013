"""The gate: only molecules that meet the constraints may be scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.fingerprints import tanimoto
from molvae.chem.hashing import KeySet, keys_of
from molvae.chem.properties import Measured, ScreenResult
from molvae.chem.screening import NO_ATOMS, RADICAL, Decoded, MoleculeScreen, scaffold_share
from molvae.errors import ConfigError
from molvae.generate.critic import Critic, seed_molecules
from molvae.generate.proposer import Proposer
from molvae.generate.realism import realism_screen
from molvae.generate.refusals import Refusals
from molvae.generate.request import SIMILARITY, Request
from molvae.optimize.engines.surrogate import BITS, Fingerprints
from molvae.realism.screen import UNLIKE
from molvae.runtime.processes import map_ordered
from molvae.runtime.recent import Recent

__all__ = ["Gate"]

CHUNK = 256  # strings per piece of work
RECENT = 50_000  # strings whose result is kept


class Gate:
    """Checks strings by RDKit and by the model; counts rejections by reason.

    Constraints are ranges of built-in properties (exact) or measured columns (predicted), alerts,
    elements, ring sizes, a scaffold, a range of similarity to given molecules, known molecules
    to exclude, and realism: the critic's number of a molecule belongs to its SMILES, so that it is
    decided alike whenever it comes up.
    """

    def __init__(
        self,
        proposer: Proposer,
        request: Request,
        *,
        known: KeySet | None = None,
        starts: Sequence[str] = (),
        executor: Executor | None = None,
        workers: int = 1,
    ) -> None:
        """``starts`` are SMILES that realism does not refuse; of the request those of ``like``."""
        points = [target.text for target in request.targets if target.is_point]
        if points:
            raise ConfigError(
                f"constraint {points[0]}: expected a range such as mw=:450; to get as close "
                "as possible to a value, make it an objective: --objective NAME=VALUE"
            )
        self.request, self.known = request, known or KeySet()
        self.executor, self.workers = executor, workers
        self.checked = 0
        self.refused = Refusals()
        self._fingerprints: Fingerprints | None = None
        self._checked = Recent[tuple[str, ScreenResult]](RECENT)  # SELFIES → SMILES, refusal
        self._proposer = proposer
        self._critic = Critic(proposer.model, request, proposer)
        self._given: NDArray[np.uint8] | None = None
        if self._compares:
            self._given = chem.fingerprints(seed_molecules(request.like))
        model, log_m = proposer.model, -math.inf
        if model.critic is not None and request.realism is not None:
            log_m = model.critic.log_m(request.realism)
        starts = [*request.like, *starts]
        self._starts = set(filter(None, map(chem.canonical_smiles, starts)))
        self._screen = MoleculeScreen(
            names=self._critic.exact,
            constraints=model.constraints,
            rewrite=True,
            alerts=request.alerts,
            elements=request.elements,
            max_ring=request.max_ring,
            scaffolds=request.scaffolds,
            fill=request.fill,
            realism=realism_screen(model, request, log_m, starts),
            fingerprint=self._compares,
        )

    def keep_fingerprints(self, fingerprints: Fingerprints) -> None:
        """Add the count fingerprint of every molecule that passes: it is in memory here anyway."""
        self._fingerprints = fingerprints
        self._screen = replace(self._screen, counted=BITS)

    def __call__(self, texts: Sequence[str]) -> list[str | None]:
        """For each SELFIES the canonical SMILES, or None if it may not be scored.

        A text that was checked before, such as that of a parent, is not checked again.
        """
        self.checked += len(texts)
        known = self._checked.of(texts)
        known |= self._judged([text for text in dict.fromkeys(texts) if text not in known])
        # A column without a predictor is judged by the network, whose last bits depend on a batch.
        if not self._critic.predicted:
            self._checked.keep(known)
        for text in texts:
            if known[text][1].refusal:
                self.refused.add(known[text][1])
        return [None if known[text][1].refusal else known[text][0] for text in texts]

    def _judged(self, texts: Sequence[str]) -> dict[str, tuple[str, ScreenResult]]:
        """The SMILES of each text, and why it is refused, if it is."""
        chunks = [Decoded(texts[i : i + CHUNK]) for i in range(0, len(texts), CHUNK)]
        measured = [
            molecule
            for chunk_result in map_ordered(
                self._screen, chunks, workers=self.workers, executor=self.executor
            )
            for molecule in chunk_result
        ]
        similarity = self._similarity(measured)
        outside = self._critic.judge(measured, texts, similarity).outside
        keys = keys_of([molecule.smiles for molecule in measured])
        known, unlike = self.known.holds(keys), self._unlike(measured, keys)
        result = {}
        for text, molecule, out, old, rare in zip(
            texts, measured, outside, known, unlike, strict=True
        ):
            refusal = self._refusal(molecule, out=bool(out), old=bool(old), unlike=bool(rare))
            result[text] = molecule.smiles, refusal
        if self._fingerprints is not None:
            rows = {m.smiles: m.screened.counted for m in measured if m.screened.counted}
            self._fingerprints.add(rows)
        return result

    def _unlike(self, measured: Sequence[Measured], keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which molecules the realism critic refuses, (N,)."""
        uniform = self._proposer.draws.uniform("realism", (keys >> np.uint64(1)).view(np.int64), 1)
        margins = np.asarray([molecule.screened.margin for molecule in measured])
        starts = np.asarray([molecule.smiles in self._starts for molecule in measured], np.bool_)
        unlike: NDArray[np.bool_] = (np.log(uniform[:, 0]) >= margins) & ~starts
        return unlike

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
        made = np.flatnonzero([bool(molecule.screened.fingerprint) for molecule in measured])
        if self._given is None or not len(made):
            return best
        packed = b"".join(molecule.screened.fingerprint for molecule in measured)
        bits = np.frombuffer(packed, dtype=np.uint8).reshape(len(made), -1)
        best[made] = tanimoto(bits, self._given).max(axis=1)
        return best

    @staticmethod
    def _refusal(molecule: Measured, *, out: bool, old: bool, unlike: bool) -> ScreenResult:
        screened, reason = molecule.screened, ""
        if not molecule.smiles:
            reason = NO_ATOMS
        elif molecule.radical:
            reason = RADICAL
        elif "." in molecule.smiles:
            reason = "more than one fragment"
        elif unlike:
            return ScreenResult(UNLIKE, molecule.smiles)
        elif screened.refusal:
            return screened
        elif old:
            reason = "not novel"
        elif not molecule.selfies:
            reason = "cannot be written as SELFIES"
        elif out:
            reason = "outside a constraint"
        return ScreenResult(reason)
