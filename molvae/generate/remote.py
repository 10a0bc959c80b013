"""Decoding and screening of candidates on other machines."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from molvae.chem.properties import Measured
from molvae.chem.screening import Decoded, MoleculeScreen
from molvae.generate.candidates import Batch
from molvae.generate.proposer import Proposer
from molvae.generate.request import Request
from molvae.model.checkpoint import SavedModel
from molvae.runtime.device import choose_device, keep_memory
from molvae.runtime.randomness import Draws
from molvae.runtime.threads import one_thread

__all__ = ["RemoteBatches"]


@dataclass(frozen=True)
class RemoteBatches:
    """Decodes a batch of candidates and screens them with RDKit; can be pickled.

    A batch is the same wherever it is decoded: its random numbers belong to its candidates, and the
    network runs in one thread, on the kind of device and in the precision of the command.
    """

    model: SavedModel
    request: Request
    seed: int
    device: str
    precision: str
    screen: MoleculeScreen

    def __call__(self, task: tuple[Batch, Sequence[float]]) -> tuple[list[str], list[Measured]]:
        """The SELFIES of a batch and what RDKit says of them, given the numbers for realism."""
        batch, numbers = task
        with one_thread():
            texts = self._proposer.texts(*batch)
        return texts, self.screen(Decoded(texts, numbers))

    @cached_property
    def _proposer(self) -> Proposer:
        keep_memory()
        return Proposer(
            self.model,
            self.request,
            draws=Draws(self.seed),
            device=choose_device(self.device),
            precision=self.precision,
        )

    @classmethod
    def of(cls, proposer: Proposer, screen: MoleculeScreen) -> RemoteBatches:
        """What a sampler does with this proposer and screen; of the model only what that needs."""
        model = replace(
            proposer.model,
            network=copy.deepcopy(proposer.network).to("cpu"),
            training={},
            card="",
            critic=None,
            plausibility=None,
            predictors=None,
        )
        where, seed = proposer.device.type, proposer.draws.seed
        return cls(model, proposer.request, seed, where, proposer.precision, screen)
