"""The HTML page of a search: progress curve, score histograms, drawings of the best."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae.generate.refusals import example
from molvae.objectives import Objective
from molvae.optimize.archive import TOP, Answer, mean
from molvae.optimize.scoring import column_details
from molvae.report import Card, Cell, Curve, Histogram, Page, Row, Series, Table
from molvae.report.axes import number
from molvae.runtime.device import versions

__all__ = ["running_best", "search_page"]

CARDS = 60
NOTES = 10  # reasons of failure listed
POINTS = 400  # per curve
NEAREST = ("_nearest", "_similarity")  # endings of columns about the nearest training molecule
DRAWABLE = 500  # characters; longer SMILES take seconds to draw and are unreadable


def search_page(
    summary: Mapping[str, Any],
    answers: Sequence[Answer],
    best: Sequence[Answer],
    objective: Objective,
    *,
    model: str = "",
    seed: int | None = None,
    command: str = "",
) -> Page:
    """The page of a search: all ``answers`` by call number, and the ``best`` that were written."""
    answers = sorted(answers, key=lambda answer: answer.number)
    return Page(
        title="Optimized molecules",
        summary=_sentence(summary),
        table=_run(summary, model, seed),
        curves=_curves(answers, objective, summary["known_best"]) + _diversity(summary["history"]),
        histograms=[
            Histogram(
                name=name,
                description="",
                unit="",
                sets=[
                    ("all calls", _column(answers, index)),
                    ("written", _column(best, index)),
                ],
                request=None if part.window is None else (part.window.low, part.window.high),
            )
            for index, (name, part) in enumerate(zip(objective.names, objective.parts, strict=True))
            if len(_column(answers, index))
        ],
        refused=_refused(summary),
        cards=_cards(best[:CARDS], objective),
        headings={"properties": "Scores", "sizes": "Progress", "refused": "Not scored"},
        remarks={
            "molecules": f"The best {min(len(best), CARDS)} of {len(best)} written, with their "
            "rows (1 is the first below the header)."
        },
        notes=[
            f"{count:,} calls failed: {why}"
            for why, count in Counter(summary["failures"]).most_common(NOTES)
        ],
        versions=versions(),
        command=command,
    )


def running_best(values: Iterable[float], top: int = TOP) -> list[tuple[float, float]]:
    """After each call, the best value so far and the mean of the ``top`` best; NaN is skipped."""
    heap: list[float] = []
    bests = []
    for value in values:
        if not math.isnan(value):
            (heapq.heappush if len(heap) < top else heapq.heappushpop)(heap, value)
        bests.append((max(heap), mean(heap)) if heap else (math.nan, math.nan))
    return bests


def _curves(
    answers: Sequence[Answer], objective: Objective, known_best: float | None
) -> list[Curve]:
    """Curves of the value; of a Pareto search, of the desirability of each part."""
    if not answers:
        return []
    if all(math.isnan(answer.value) for answer in answers):
        columns = {
            name: [answer.worth[index] for answer in answers]
            for index, name in enumerate(objective.names)
        }
    else:
        # The last column of a single property with a range is its desirability.
        name = objective.columns[-1] if len(objective.names) == 1 else "desirability"
        columns = {name: [answer.value for answer in answers]}
    chosen = np.unique(np.linspace(0, len(answers) - 1, POINTS).round().astype(int))
    known = [] if known_best is None else [Series("best known", [known_best] * len(chosen))]
    curves = []
    for name, values in columns.items():
        running = running_best(values)
        lines = zip(*(running[i] for i in chosen), strict=True)
        curves.append(
            Curve(
                name=name,
                description="best value so far and mean of the ten best",
                x=[float(i + 1) for i in chosen],
                series=[
                    Series(label, [None if math.isnan(y) else objective.displayed(y) for y in line])
                    for label, line in zip(("best", "mean of the ten best"), lines, strict=True)
                ]
                + known,
                x_label="calls",
                log_x=False,
            )
        )
    return curves


def _diversity(points: Sequence[Mapping[str, Any]]) -> list[Curve]:
    """The diversity of a search over its calls."""
    labels = {"top_diversity": "ten best so far", "diversity": "scored since the last point"}
    if not points:
        return []
    return [
        Curve(
            name="diversity",
            description="one minus the mean similarity of the molecules",
            x=[float(point["calls"]) for point in points],
            series=[Series(labels[k], [point[k] for point in points]) for k in labels],
            x_label="calls",
            log_x=False,
        ),
        Curve(
            name="scaffolds",
            description="different scaffolds among the scored molecules",
            x=[float(point["calls"]) for point in points],
            series=[Series("all calls", [float(point["scaffolds"]) for point in points])],
            x_label="calls",
            log_x=False,
        ),
    ]


def _column(answers: Sequence[Answer], index: int) -> NDArray[np.float64]:
    values = np.asarray([answer.scores[index] for answer in answers], dtype=np.float64)
    return values[np.isfinite(values)]


def _cards(best: Sequence[Answer], objective: Objective) -> list[Card]:
    """Molecules with their scores; of a measured column with what these rest on."""
    details = column_details(objective, [answer.smiles for answer in best])
    nearest, similarity = ([c for n, c in details.items() if n.endswith(e)] for e in NEAREST)
    cards = []
    for i, answer in enumerate(best):
        if len(answer.smiles) > DRAWABLE:
            continue
        values = _values(answer, objective)
        for name, cells in details.items():
            if isinstance(cell := cells[i], float) and not name.endswith(NEAREST):
                values[name] = cell
        card = Card(answer.smiles, values, row=i + 1)
        if nearest:
            known = float(str(similarity[0][i]))
            card = replace(card, similarity=known, neighbor=str(nearest[0][i]))
        cards.append(card)
    return cards


def _values(answer: Answer, objective: Objective) -> dict[str, float]:
    parts = dict(zip(objective.columns, objective.cells(answer.scores), strict=True))
    several = len(objective.parts) > 1 and not math.isnan(answer.value)
    return ({"value": answer.value} if several else {}) | parts


def _sentence(summary: Mapping[str, Any]) -> str:
    text = f"{summary['calls']:,} calls with the method {summary['method']}: {summary['reason']}"
    if summary["best"] is not None:
        text += f"; best {number(summary['best'])}, mean of the ten best {number(summary['top'])}"
    return f"{text}."


def _run(summary: Mapping[str, Any], model: str, seed: int | None) -> Table:
    calls, made, seconds = summary["calls"], summary["made"], summary["seconds"]
    since = "" if made == calls else "since the run was resumed"
    cells = {
        "Calls": Cell(f"{calls:,}", f"budget {summary['budget']:,}"),
        "Written": Cell(f"{summary['written']:,}"),
        "Rounds": Cell(f"{summary['rounds']:,}"),
        "Seconds": Cell(
            f"{seconds:,.1f}",
            " ".join([f"{number(made / seconds)} calls per second", since]) if seconds else "",
        ),
        **({"Known molecules": _known(summary)} if summary["known"] else {}),
        **({} if summary["front"] is None else {"On the front": Cell(f"{summary['front']:,}")}),
        **(
            {"Diversity of the ten best": Cell(number(summary["diversity"]))}
            if summary["diversity"] is not None
            else {}
        ),
        **({"Model": Cell(model)} if model else {}),
        **({"Seed": Cell(str(seed))} if seed is not None else {}),
        **{f"Calls by {move}": Cell(f"{n:,}") for move, n in summary["moves"].items()},
    }
    return Table(
        ["Value"], [Row(name, [cell]) for name, cell in cells.items()], head="Run", detail_head=""
    )


def _known(summary: Mapping[str, Any]) -> Cell:
    best = summary["known_best"]
    return Cell(f"{summary['known']:,}", "" if best is None else f"best {number(best)}")


def _refused(summary: Mapping[str, Any]) -> Table:
    """Molecules that were not scored, by reason, with an example."""
    since = "" if summary["made"] == summary["calls"] else "since the run was resumed"
    rows = [
        Row(
            why,
            [Cell(f"{n:,}", " ".join(filter(None, [example(why, summary["examples"]), since])))],
        )
        for why, n in summary["refused"].items()
    ]
    return Table(["Molecules"], rows, head="Reason", detail_head="")
