"""Critic and table together, as a worker process applies them to a candidate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from molvae.chem import Mol
from molvae.chem.realism_features import Facts, Kinds, describe, kinds
from molvae.chem.screening import RealismVerdict
from molvae.realism.critic import RealismCritic
from molvae.realism.plausibility import NOTHING, Exempt, Plausibility

__all__ = ["UNLIKE", "RealismScreen"]

UNLIKE = "unlike the training molecules"


@dataclass(frozen=True)
class RealismScreen:
    """Decides why a candidate is refused; picklable.

    Call it before properties are computed, which cost ten times as much.
    """

    critic: RealismCritic | None = None
    log_m: float = -math.inf  # of RealismCritic.log_m or log_m_of
    table: Plausibility | None = None
    exempt: Exempt = NOTHING

    unlike: ClassVar[str] = UNLIKE

    def verdict(self, mol: Mol, atoms: frozenset[int] = frozenset()) -> RealismVerdict:
        """The margin by the critic, and what the table refuses; ``atoms``: of the scaffold."""
        facts: Facts | Kinds
        if self.critic is None:
            facts, margin = kinds(mol), math.inf
        else:
            facts = describe(mol)
            margin = self.critic.logit(facts) - self.log_m
        reason = None
        if self.table is not None:
            reason = self.table.refused(mol, self.exempt, facts=facts, atoms=atoms)
        refusal, _, example = (reason or "").partition(": ")
        return RealismVerdict(margin, refusal, example)
