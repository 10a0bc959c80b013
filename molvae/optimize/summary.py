"""The result of a search: counts, figures and the table of the best molecules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from molvae.errors import RunError
from molvae.objectives import Objective
from molvae.optimize.archive import TOP, Answer, fronts, mean, worths
from molvae.optimize.gate import Gate
from molvae.optimize.history import diversity, history
from molvae.optimize.scoring import column_details
from molvae.optimize.search import Search, commonest

__all__ = ["OptimizeSummary", "best_answers", "best_table", "summarize"]


@dataclass
class OptimizeSummary:
    """Result of a search."""

    budget: int
    method: str
    calls: int = 0
    made: int = 0  # calls since the run began or was resumed
    failed: int = 0
    written: int = 0
    inside: dict[str, int] = field(default_factory=dict)  # of those, by column: in its domain
    rounds: int = 0
    seconds: float = 0.0
    reason: str = ""
    best: float | None = None
    top: float | None = None  # mean value of the ten best
    diversity: float | None = None  # of the ten best: one minus mean similarity
    scaffold_share: float | None = None  # of checked molecules with the required scaffold
    front: int | None = None  # molecules on the front of a Pareto search
    known: int = 0  # molecules with scores before the first call; none of them is written
    known_best: float | None = None  # the best value among them
    refused: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)  # of refusals, by reason
    moves: dict[str, int] = field(default_factory=dict)  # calls by the move that led to them
    failures: dict[str, int] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)  # by calls
    molecules: list[Answer] = field(default_factory=list)  # the best ones

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``--json``, without the molecules."""
        return {name: value for name, value in vars(self).items() if name != "molecules"}


def best_answers(search: Search, gate: Gate, keep: int) -> list[Answer]:
    """The best answers; an error that says why if there is none."""
    answers, archive = search.calls.answers, search.archive
    # A Pareto search ranks its pool only: fronts of very many are slow to find.
    scored = archive.found if archive.pareto else [a for a in answers if not a.failed]
    best = archive.rank(scored)[:keep]
    if best:
        return best
    if answers:
        raise RunError(f"none of {len(answers)} molecules could be scored{commonest(answers)}")
    why = ", ".join(f"{count} × {reason}" for reason, count in gate.refused.most_common(3))
    raise RunError(f"no molecule met the constraints ({why}); widen them")


def summarize(
    search: Search, gate: Gate, method: str, known: Sequence[Answer] = ()
) -> OptimizeSummary:
    """The summary of a finished search, without what is written; ``known`` had scores before."""
    answers, pool = search.calls.answers, search.archive.found
    summary = OptimizeSummary(
        budget=search.budget,
        method=method,
        calls=len(answers),
        rounds=search.round,
        reason=search.reason,
        failed=sum(answer.failed for answer in answers),
        refused=dict(gate.refused.most_common()),
        scaffold_share=gate.scaffold_share,
        examples=gate.refused.examples,
        moves=dict(Counter(answer.origin for answer in answers)),
        failures=dict(Counter(answer.note for answer in answers if answer.failed)),
    )
    summary.known, shown = len(known), search.calls.objective.displayed
    if known and not search.archive.pareto:
        summary.known_best = shown(max(answer.value for answer in known))
    if search.archive.pareto:
        summary.front = len(fronts(worths(pool))[0]) if pool else 0
    elif pool:
        summary.best = shown(pool[0].value)
        summary.top = shown(mean([answer.value for answer in pool[:TOP]]))
    summary.diversity = diversity(pool[:TOP])
    summary.history = history(answers, search.calls.objective, pareto=search.archive.pareto)
    return summary


def best_table(
    best: Sequence[Answer], objective: Objective, *, pareto: bool = False
) -> tuple[list[str], list[list[object]]]:
    """Columns and rows: molecule, value, score of each part, call number, origin.

    A property with a range has its value, and ``NAME_score`` with the desirability. What the score
    of a measured column rests on follows the scores: its mean and interval, the nearest training
    molecule, the domain. A Pareto search has the number of the front, 1 being the best, in place of
    the value.
    """
    names = list(objective.columns)
    head: list[str] = []
    first: list[list[object]] = [[] for _ in best]
    if pareto:
        numbers = {i: n for n, front in enumerate(fronts(worths(best)), start=1) for i in front}
        head, first = ["front"], [[numbers[i]] for i in range(len(best))]
    elif len(objective.parts) > 1:
        head, first = ["value"], [[answer.value] for answer in best]
    details = column_details(objective, [answer.smiles for answer in best])
    columns = ["smiles", *head, *names, *details, "call", "origin"]
    rows = []
    for i, (answer, cells) in enumerate(zip(best, first, strict=True)):
        known = [*objective.cells(answer.scores), *(column[i] for column in details.values())]
        rows.append([answer.smiles, *cells, *known, answer.number, answer.origin])
    return columns, rows
