"""Validation schedule, time limit and best-score tracking."""

from __future__ import annotations

import math

from molvae.config import TrainConfig

__all__ = ["Validations"]

RECORDS = 10  # of the training loss, per validation
VALIDATING = 0.2  # share of a time budget that all but the last validation may take


class Validations:
    """The validations of a run: when they are due, and the best score, which is the lowest.

    So far ``number`` validations and ``records`` of the training loss were due; the ``best`` score
    is ``stale`` validations old.
    """

    def __init__(self, options: TrainConfig, *, timed: bool, molecules: int) -> None:
        """``timed``: time alone is the budget; ``molecules`` are held out for validation."""
        self.options, self.timed = options, timed
        self.molecules = min(options.valid_molecules, molecules)
        self.number = self.records = self.stale = 0
        self.best = math.inf
        self._spent = self._last = 0.0  # seconds, since this process began

    def records_due(self, progress: float) -> bool:
        """Whether to record the training loss now: ten times per validation."""
        due = self._due(progress, RECORDS)
        if due <= self.records:
            return False
        self.records = due
        return True

    def due(self, progress: float, *, elapsed: float, trained: int) -> bool:
        """Whether to validate at this share of the budget, after so many seconds and molecules."""
        due = self._due(progress, 1)
        if progress < 1.0 and (due <= self.number or self._too_slow(elapsed, trained)):
            return False
        self.number = max(due, self.number)
        return True

    def _due(self, progress: float, times: int) -> int:
        return math.floor(progress * self.options.validations * times + 1e-9)

    def _too_slow(self, elapsed: float, trained: int) -> bool:
        """Whether a validation now would exceed its share of a time budget."""
        if not self.timed:
            return False
        # Before the first: about as long as two training steps on the same molecules.
        guess = 2 * self.molecules * elapsed / max(trained, 1)
        return self._spent + (self._last or guess) > VALIDATING * elapsed

    def judge(self, score: float) -> bool:
        """Whether the score is the best so far; note it."""
        better = score < self.best
        self.best, self.stale = (score, 0) if better else (self.best, self.stale + 1)
        return better

    @property
    def patience_lost(self) -> bool:
        """Whether the score has not improved for too many validations."""
        return self.stale >= self.options.patience

    def took(self, seconds: float) -> None:
        """Note the time that the last validation took."""
        self._last = seconds
        self._spent += seconds

    def state(self) -> dict[str, float]:
        """What a resumed run needs."""
        return {
            "validations": self.number,
            "records": self.records,
            "stale": self.stale,
            "best": self.best,
        }

    def restore(self, state: dict[str, float]) -> None:
        """Continue from :meth:`state`."""
        self.number, self.records = int(state["validations"]), int(state["records"])
        self.stale, self.best = int(state["stale"]), float(state["best"])
