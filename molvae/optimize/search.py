"""The loop of a search: ask the engine, score the new molecules, report back to the engine."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from molvae.errors import RunError
from molvae.optimize.archive import POOL, TOP, Answer, Archive, fronts, mean, worths
from molvae.optimize.calls import Asked, Calls
from molvae.optimize.engines.base import Candidate, Engine
from molvae.optimize.history import IdleCalls
from molvae.optimize.scoring import Scoring
from molvae.runtime.progress import Progress, say

__all__ = ["Search", "commonest", "round_size"]

ALL_FAILED = 20  # calls without a single score: the objective does not work
STALLS = 30  # rounds in a row without a new molecule before the search gives up
STALLED = 2000  # candidates that must have been tried in them
GIVEN = "given"  # origin of molecules that are scored first


def round_size(budget: int) -> int:
    """Calls per round: fifty rounds or more, as long as a round is worth its overhead."""
    return int(np.clip(budget // 50, 4, 50))


def commonest(answers: Sequence[Answer]) -> str:
    """The most frequent reason of failed calls, as the end of a sentence."""
    notes = Counter(answer.note for answer in answers if answer.failed).most_common(1)
    return f", {notes[0][1]} of them with: {notes[0][0]}" if notes else ""


class _Round(NamedTuple):
    """A round whose molecules are being scored."""

    candidates: Sequence[Candidate]
    passed: Sequence[str | None]  # their SMILES, where they may be scored
    asked: Sequence[str]  # the new ones


def _precedes(call: Answer | Asked, first: int) -> bool:
    """Whether a call was answered before the round ``first``: given molecules always are."""
    return call.round < first or call.origin == GIVEN


class Search:
    """One search: engine, gate, objective and calls; :meth:`run` spends the budget."""

    def __init__(
        self,
        engine: Engine,
        gate: Callable[[Sequence[str]], Sequence[str | None]],
        scoring: Scoring,
        calls: Calls,
        archive: Archive,
        *,
        budget: int,
        progress: Progress,
        patience: int | None = None,
        ahead: int = 0,
    ) -> None:
        """``patience``: calls without improvement after which the search ends.

        ``ahead``: rounds that the engine is asked for while earlier ones are being scored. Round r
        follows from the answers of rounds before r - ``ahead``, so no result depends on time.
        """
        self.engine, self.gate, self.scoring = engine, gate, scoring
        self.calls, self.archive, self.budget = calls, archive, budget
        self.patience, self.ahead = patience, ahead
        self.size = round_size(budget)
        self.round = calls.rounds
        self.progress = progress
        self.reason = ""
        self._idle = IdleCalls(pareto=archive.pareto)
        self._worked = False  # whether any call has given a score
        self._open: deque[_Round] = deque()  # being scored
        self._early: dict[str, Answer] = {}  # answers of open rounds

    def start(self, given: Sequence[tuple[str, str]] = ()) -> None:
        """Load earlier answers, repeat unfinished calls and score the given molecules.

        ``given`` are pairs of SMILES and origin, scored first, within the budget. Rounds that would
        still be open, had the run not been interrupted, are open again.
        """
        first = self.round - self.ahead  # of the rounds that are open
        calls: list[Answer | Asked] = sorted(self.calls.answers, key=lambda answer: answer.number)
        closed = [answer for answer in self.calls.answers if _precedes(answer, first)]
        closed.sort(key=lambda answer: answer.number)
        for start in range(0, len(closed), POOL):
            self.archive.add(closed[start : start + POOL])
        self._early = {
            answer.smiles: answer for answer in self.calls.answers if not _precedes(answer, first)
        }
        if self.calls.pending:
            left = max(self.budget - len(self.calls.answers), 0)
            again = list(self.calls.pending.values())[:left]
            say(f"{len(self.calls.pending)} calls were unfinished; {len(again)} are repeated")
            calls = sorted([*calls, *again], key=lambda call: call.number)
            self.scoring.begin([call.smiles for call in again])
            closed += self._finish([call.smiles for call in again if _precedes(call, first)])
        self._idle.add(closed)
        self.engine.restore([a for a in self.calls.answers if a.smiles in self.archive.answers])
        still = [call for call in calls if not _precedes(call, first)]
        for _, group in itertools.groupby(still, key=lambda call: call.round):
            made = {call.smiles: call.origin for call in group}
            self._open.append(
                _Round([Candidate("", o) for o in made.values()], list(made), [*made])
            )
        new = [pair for pair in dict(given).items() if not self._is_taken(pair[0])]
        if new := new[: max(self.budget - self.calls.count, 0)]:
            self._idle.add(self._finish(self._call(new)))

    def run(self) -> None:
        """Rounds until the budget is spent, patience is over or nothing new is found."""
        self._spend()
        while self._open:
            self._close(self._open.popleft())

    def _spend(self) -> None:
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
        what = "the front" if self.archive.pareto else "the ten best"
        self.reason = f"none of the last {self._idle.count:,} calls improved {what}"
        return self._idle.count >= self.patience

    def step(self) -> None:
        """One round: ask the engine, score the new molecules, report the answers to the engine."""
        candidates = self.engine.ask(self.size, self.round)
        # An empty text: the engine could not change the molecule.
        checked = iter(self.gate([candidate.text for candidate in candidates if candidate.text]))
        passed = [next(checked) if candidate.text else None for candidate in candidates]
        new: dict[str, str] = {}
        for candidate, smiles in zip(candidates, passed, strict=True):
            if smiles is not None and not self._is_taken(smiles):
                new.setdefault(smiles, candidate.origin)
        limit, asked = min(self.size, self.budget - self.calls.count), list[str]()
        if new:
            chosen = self.engine.choose(list(new), limit)
            asked = self._call([(smiles, new[smiles]) for smiles in chosen])
        self._open.append(_Round(candidates, passed, asked))
        if len(self._open) > self.ahead:
            self._close(self._open.popleft())
        self.round += 1

    def _close(self, round_: _Round) -> None:
        """Wait for the answers of a round, and report them to the engine."""
        self._idle.add(self._finish(round_.asked))
        known = self.archive.answers
        answers = [None if smiles is None else known.get(smiles) for smiles in round_.passed]
        self.engine.tell(round_.candidates, answers)

    def _is_taken(self, smiles: str) -> bool:
        """Whether a molecule has an answer, or is being scored."""
        return (
            smiles in self.archive.answers or smiles in self._early or smiles in self.calls.pending
        )

    def _call(self, molecules: Sequence[tuple[str, str]]) -> list[str]:
        """Begin to score molecules."""
        smiles = [call.smiles for call in self.calls.ask(molecules, round_=self.round)]
        self.scoring.begin(smiles)
        return smiles

    def _finish(self, smiles: Sequence[str]) -> list[Answer]:
        """Wait for the answers to these molecules; those of others that arrive are logged too."""
        missing = set(smiles) - self._early.keys()
        while missing:
            scored = self.scoring.take()
            self._early |= {answer.smiles: answer for answer in self.calls.answer(scored)}
            missing -= self._early.keys()
            self.progress.advance(len(scored), done=len(self.calls.answers), note=self._note())
            self._require_a_score()
        answers = [self._early.pop(text) for text in smiles]
        answers.sort(key=lambda answer: answer.number)
        self.archive.add(answers)
        return answers

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
