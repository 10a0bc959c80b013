"""Critic and table together, as a worker process applies them to a candidate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from molvae.chem import Mol
from molvae.chem.realism_features import describe
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

    def refusal(
        self, mol: Mol, log_uniform: float, *, atoms: frozenset[int] = frozenset()
    ) -> str | None:
        """The reason, or None.

        ``log_uniform`` is the logarithm of a number from (0, 1) that belongs to the candidate, as
        :func:`molvae.realism.critic.accepts` takes it; ``atoms`` are those of the scaffold.
        """
        if self.critic is None and self.table is None:
            return None
        facts = describe(mol)
        if self.critic is not None and not log_uniform < self.critic.logit(facts) - self.log_m:
            return UNLIKE
        if self.table is None:
            return None
        return self.table.refused(mol, self.exempt, facts=facts, atoms=atoms)
