"""Critic and table together, as a worker process applies them to a candidate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from molvae.chem import Mol
from molvae.chem.realism_features import Parts
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

    @property
    def compares(self) -> bool:
        """Whether the number of a candidate can refuse it."""
        return self.critic is not None

    def verdict(
        self, mol: Mol, atoms: frozenset[int] = frozenset(), log_uniform: float = -math.inf
    ) -> RealismVerdict:
        """The margin by the critic, and what the table refuses; ``atoms``: of the scaffold.

        The table is not asked where the margin refuses the number ``log_uniform``.
        """
        parts, margin = Parts(mol), math.inf
        if self.critic is not None:
            margin = self.critic.logit(parts.outline()) - self.log_m
        if self.table is None or not log_uniform < margin:
            return RealismVerdict(margin)
        reason = self.table.refused(mol, self.exempt, facts=parts.kinds(), atoms=atoms)
        refusal, _, example = (reason or "").partition(": ")
        return RealismVerdict(margin, refusal, example)
