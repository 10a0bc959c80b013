"""The loop of a search: ask the engine, score the new molecules, report back to the engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from molvae.errors import RunError
from molvae.optimize.archive import POOL, TOP, Answer, Archive, fronts, mean, worths
from molvae.optimize.calls import Calls
from molvae.optimize.engines.base import Engine
from molvae.optimize.history import idle_calls
from molvae.optimize.scoring import Scored
from molvae.runtime.progress import Progress, say

__all__ = ["Search", "commonest", "round_size"]

ALL_FAILED = 20  # calls without a single score: the objective does not work
STALLS = 30  # rounds in a row without a new molecule before the search gives up
STALLED = 2000  # candidates that must have been tried in them


def round_size(budget: int) -> int:
    """Calls per round: fifty rounds or more, as long as a round is worth its overhead."""
    return int(np.clip(budget // 50, 4, 50))


def commonest(answers: Sequence[Answer]) -> str:
    """The most frequent reason of failed calls, as the end of a sentence."""
    notes = Counter(answer.note for answer in answers if answer.failed).most_common(1)
    return f", {notes[0][1]} of them with: {notes[0][0]}" if notes else ""


class Search:
    """One search: engine, gate, objective and calls; :meth:`run` spends the budget."""

    def __init__(
        self,
        engine: Engine,
        gate: Callable[[Sequence[str]], Sequence[str | None]],
        scoring: Callable[[Sequence[str]], Iterable[list[Scored]]],
        calls: Calls,
        archive: Archive,
        *,
        budget: int,
        progress: Progress,
        patience: int | None = None,
    ) -> None:
        """``patience``: calls without improvement after which the search ends."""
        self.engine, self.gate, self.scoring = engine, gate, scoring
        self.calls, self.archive, self.budget = calls, archive, budget
        self.patience = patience
        self.size = round_size(budget)
        self.round = calls.rounds
        self.progress = progress
        self.reason = ""
        self._worked = False  # whether any call has given a score

    def start(self, given: Sequence[tuple[str, str]] = ()) -> None:
        """Load earlier answers, repeat unfinished calls and score the given molecules.

        ``given`` are pairs of SMILES and origin, scored first, within the budget.
        """
        answers = sorted(self.calls.answers, key=lambda answer: answer.number)
        for first in range(0, len(answers), POOL):
            self.archive.add(answers[first : first + POOL])
        if self.calls.pending:
            left = max(self.budget - len(self.calls.answers), 0)
            again = list(self.calls.pending)[:left]
            say(f"{len(self.calls.pending)} calls were unfinished; {len(again)} are repeated")
            self._answered(again)
        self.engine.restore(self.calls.answers)
        new = [pair for pair in dict(given).items() if pair[0] not in self.archive.answers][
            : max(self.budget - self.calls.count, 0)
        ]
        if new:
            self._call(new)

    def run(self) -> None:
        """Rounds until the budget is spent, patience is over or nothing new is found."""
        stalls = tried = 0
        while self.calls.count < self.budget:
            if self._is_idle():
                return
            before = self.calls.count
            self.step()
            new = self.calls.count > before
            stalls, tried = (0, 0) if new else (stalls + 1, tried + self.size)
            if stalls >= STALLS and tried >= STALLED:
                self.reason = f"no new molecule in {stalls} rounds"
                return
        self.reason = "budget spent"

    def _is_idle(self) -> bool:
        """Whether there were as many calls without improvement as patience allows."""
        if self.patience is None:
            return False
        idle = idle_calls(self.calls.answers, pareto=self.archive.pareto)
        what = "the front" if self.archive.pareto else "the ten best"
        self.reason = f"none of the last {idle:,} calls improved {what}"
        return idle >= self.patience

    def step(self) -> None:
        """One round: ask the engine, score the new molecules, report the answers to the engine."""
        candidates = self.engine.ask(self.size, self.round)
        # An empty text: the engine could not change the molecule.
        checked = iter(self.gate([candidate.text for candidate in candidates if candidate.text]))
        passed = [next(checked) if candidate.text else None for candidate in candidates]
        new: dict[str, str] = {}
        for candidate, smiles in zip(candidates, passed, strict=True):
            if smiles is not None and smiles not in self.archive.answers:
                new.setdefault(smiles, candidate.origin)
        limit = min(self.size, self.budget - self.calls.count)
        if new:
            chosen = self.engine.choose(list(new), limit)
            self._call([(smiles, new[smiles]) for smiles in chosen])
        answers = [
            None if smiles is None else self.archive.answers.get(smiles) for smiles in passed
        ]
        self.engine.tell(candidates, answers)
        self.round += 1

    def _call(self, molecules: Sequence[tuple[str, str]]) -> None:
        asked = self.calls.ask(molecules, round_=self.round)
        self._answered([call.smiles for call in asked])

    def _answered(self, smiles: list[str]) -> None:
        answers: list[Answer] = []
        for scored in self.scoring(smiles):
            answers += self.calls.answer(scored)
            self.progress.advance(len(scored), done=len(self.calls.answers), note=self._note())
            self._require_a_score()
        self.archive.add(sorted(answers, key=lambda answer: answer.number))

    def _require_a_score(self) -> None:
        answers = self.calls.answers
        if len(answers) < ALL_FAILED or self._worked:
            return
        self._worked = any(not answer.failed for answer in answers)
        if not self._worked:
            raise RunError(
                f"all of the first {len(answers)} calls failed{commonest(answers)}; fix the "
                "objective and start again with --force"
            )

    def _note(self) -> str:
        pool = self.archive.found
        if not pool:
            return "no score yet"
        if self.archive.pareto:
            size = len(fronts(worths(pool))[0])
            return f"{size} on the front"
        top = pool[:TOP]
        shown = self.calls.objective.displayed
        average = shown(mean([answer.value for answer in top]))
        return f"best {shown(pool[0].value):.4g}, top {len(top)} {average:.4g}"
