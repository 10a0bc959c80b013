"""The HTML page of a generation run: what was requested and what was obtained.

Counts, hit rates and mean errors are exact; medians, intervals, histograms and drawings come from
an evenly spaced sample of bounded size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae.chem.properties import PROPERTIES
from molvae.errors import InputError
from molvae.generate.evidence import held_out_words
from molvae.generate.refusals import example
from molvae.model.checkpoint import SavedModel
from molvae.model.conditions import Condition, ConditionSet
from molvae.report import Card, Cell, Histogram, Page, Row, Table
from molvae.report.axes import finite, mean_sd, number
from molvae.runtime.device import versions
from molvae.targets import DISTANCE, Target, hit

__all__ = ["GenerationReport", "page_of"]

LIMIT = 100_000  # most rows in the sample
BLOCK = 4096  # rows added up together
CARDS = 60
DRAWABLE = 500  # longest SMILES drawn; a larger molecule takes seconds and shows nothing
POINTS = 12_800  # in a histogram of the training molecules

DEFINITIONS = {
    "Hit rate": "share of the molecules with a value whose value lies in the requested range; for "
    "yes or no, to which the model gives that answer (probability above one half)",
    "Mean absolute error": "mean absolute distance between obtained and requested value",
    "Median error": "median of obtained minus requested value",
    "5–95 %": "the interval that holds the middle 90 % of the molecules",
    "Decoded": "candidates that the network generated; one molecule may need several",
}

_Floats = NDArray[np.float64]


@dataclass
class _Answer:
    """A target and the values obtained for it."""

    target: Target
    condition: Condition | None  # None: the model does not know the property
    source: str  # of values that are not RDKit's
    known: int = 0
    hits: int = 0
    error: float = 0.0  # sum of the absolute ones

    @property
    def yes_no(self) -> bool:
        """Whether the target is yes or no; the values are then probabilities."""
        labels = self.condition is not None and self.condition.kind == "yesno"
        return labels and self.target.is_point and self.target.low in (0, 1)

    @property
    def description(self) -> str:
        builtin = PROPERTIES.get(self.target.name)
        return builtin.description if builtin else ""

    @property
    def unit(self) -> str:
        if self.target.name in PROPERTIES:
            return PROPERTIES[self.target.name].unit
        return self.condition.unit if self.condition else ""

    @property
    def words(self) -> str:
        """The request in words."""
        target, unit = self.target, f" {self.unit}" if self.unit else ""
        low, high = (f"{end:,.10g}".replace("-", "−") for end in (target.low, target.high))
        if self.yes_no:
            return "yes" if target.low else "no"
        if target.low == target.high:
            return f"{'exactly ' if target.exact else ''}{low}{unit}"
        if np.isinf(target.low):
            return f"at most {high}{unit}"
        return f"at least {low}{unit}" if np.isinf(target.high) else f"{low} to {high}{unit}"

    def add(self, values: _Floats) -> None:
        values = values[np.isfinite(values)]
        self.known += len(values)
        met = (values > 0.5) == self.target.low if self.yes_no else hit(self.target, values)
        self.hits += int(met.sum())
        self.error += float(np.abs(values - self.target.low).sum()) if self.target.is_point else 0

    def cells(self, rows: int, sample: _Floats) -> dict[str, Cell]:
        """The row of the table, by column; columns that do not apply are absent."""
        unit = f" {self.unit}" if self.unit else ""
        near = self.target.is_point and not self.yes_no
        cells = {"Requested": Cell(self.words, "as near as possible" if near else "")}
        if not self.known:
            return {**cells, "Obtained": Cell("–", note="no molecule has a value")}
        if not near:
            count = f"{self.hits:,}/{self.known:,}"
            cells["Hit rate"] = Cell(f"{self.hits / self.known:.1%}", count)
        else:
            cells["Mean absolute error"] = Cell(number(self.error / self.known) + unit)
        notes = [self.source] if self.source else []
        notes += [f"{rows - self.known:,} without a value"] if self.known < rows else []
        if near and len(sample):
            error, span = _median_and_span(sample - self.target.low)
            cells["Median error"] = Cell(error + unit, span)
        value, span = _median_and_span(sample) if len(sample) else ("–", "")
        cells["Obtained"] = Cell(value + unit, f"median; {span}", "; ".join(notes))
        return cells

    def histogram(self, sample: _Floats) -> Histogram:
        """The obtained values, the request, and the training values where they are known."""
        builtin, condition = PROPERTIES.get(self.target.name), self.condition
        notes, figures = [self.source] if self.source else [], {"requested": self.words}
        reference, request = None, (self.target.low, self.target.high)
        if self.yes_no:
            request = (0.5, 1.0) if self.target.low else (0.0, 0.5)
        if condition is not None and condition.kind == "yesno":
            share = np.mean(np.asarray(condition.quantiles) > 0.5)
            notes.append(f"about {share:.0%} of the training molecules are yes")
        elif condition is not None:
            reference = _training(condition)
            if condition.seen[0] < condition.seen[1]:
                # Two values with exactly the mean and deviation stored in the model.
                low, high = condition.mean - condition.std, condition.mean + condition.std
                figures["training"] = mean_sd(np.array([low, high]))
        return Histogram(
            name=self.target.name,
            description=self.description,
            unit="probability of yes" if condition and condition.kind == "yesno" else self.unit,
            sets=[("obtained", sample)],
            reference=reference,
            integer=builtin.integer if builtin else False,  # predictions of counts are not whole
            note="; ".join(notes),
            request=request,
            figures=figures,
        )


def page_of(
    rows: Iterable[Sequence[object]],
    columns: Sequence[str],
    targets: Sequence[Target],
    model: SavedModel,
    summary: Mapping[str, Any],
    *about: Any,
) -> Page:
    """The page of rows with these columns; ``about`` is passed to :meth:`GenerationReport.page`."""
    own = [t.name for t in targets if t.name in model.conditions.names]
    figures = {name: held_out_words(model, name) for name in own}
    report = GenerationReport(columns, targets, model.conditions, figures)
    for row in rows:
        report.add(row)
    return report.page(summary, *about)


class GenerationReport:
    """Collects rows one by one, in bounded memory, for one page.

    ``columns`` are those of :func:`molvae.generate.run.columns_of`; ``start``, ``similarity``, what
    speaks for predictions, and columns of numbers may follow. ``held_out`` says by condition how
    good the model's predictions of it are on held-out molecules.
    """

    def __init__(
        self,
        columns: Sequence[str],
        targets: Sequence[Target],
        conditions: ConditionSet,
        held_out: Mapping[str, str] | None = None,
    ) -> None:
        points = [f"{t.name}{DISTANCE}" for t in targets if t.is_point]
        expected = ["smiles", *(t.name for t in targets), *points]
        if list(columns[: len(expected)]) != expected:
            raise InputError(
                f"columns: got {', '.join(columns)}; expected {', '.join(expected)} first, "
                "as generate.columns_of gives them for these targets"
            )
        self.rows = 0
        self.stride = 1  # of the sample
        self._columns = tuple(columns)
        self._extra = {name: i for i, name in enumerate(columns) if i >= len(expected)}
        self._sample: list[tuple[Any, ...]] = []
        self._block: list[Sequence[Any]] = []
        self._answers = [
            _Answer(
                target,
                conditions[target.name] if target.name in conditions.names else None,
                "" if target.name in PROPERTIES else _source((held_out or {}).get(target.name, "")),
            )
            for target in targets
        ]

    def add(self, row: Sequence[object]) -> None:
        """Add one row; missing numbers are None or NaN."""
        if len(row) != len(self._columns):
            raise InputError(
                f"row {self.rows + 1}: got {len(row)} cells, expected {len(self._columns)}: "
                f"{', '.join(self._columns)}"
            )
        if self.rows % self.stride == 0:
            self._sample.append(tuple(row))
            if len(self._sample) > LIMIT:
                self._sample, self.stride = self._sample[::2], 2 * self.stride
        self.rows += 1
        self._block.append(row[1 : 1 + len(self._answers)])
        if len(self._block) == BLOCK:
            self._settle()

    def _settle(self) -> None:
        for answer, values in zip(self._answers, zip(*self._block, strict=True), strict=False):
            answer.add(np.asarray(values, dtype=np.float64))
        self._block.clear()

    def page(
        self,
        summary: Mapping[str, Any],
        model: str = "",
        seed: int | None = None,
        command: str = "",
    ) -> Page:
        """The page of the rows so far; ``summary`` is a GenerationSummary as plain data."""
        self._settle()
        asked = "; ".join(f"{a.target.name} {a.words}" for a in self._answers)
        head = f"{summary['written']:,} of {summary['wanted']:,} molecules"
        samples = [self._values(k) for k in range(1, 1 + len(self._answers))]
        histograms = [a.histogram(v) for a, v in zip(self._answers, samples, strict=True)]
        if "similarity" in self._extra:
            histograms.append(self._similarity())
        thin = f"one row in {self.stride:,} ({len(self._sample):,} of {self.rows:,})"
        cards, table = self._cards(), self._targets(samples)
        examples = summary.get("examples", {})
        refused = [
            Row(why, [Cell(f"{n:,}", example(why, examples))])
            for why, n in summary.get("refused", {}).items()
        ]
        shown = {"Decoded", *((*table.columns, "5–95 %") if table else ())}
        remarks = {
            "molecules": f"{len(cards):,} of {self.rows:,}, evenly spaced in the output, with "
            "their rows (1 is the first below the header)."
        }
        if self.stride > 1:
            remarks["targets"] = (
                f"Medians and intervals are of {thin}; everything else is of all rows."
            )
            remarks["properties"] = f"Histograms and their numbers are of {thin}."
        return Page(
            title="Generated molecules",
            summary=f"{head}: {asked}." if asked else f"{head}, without targets.",
            table=_summary(summary, model, seed),
            targets=table,
            histograms=histograms,
            reference="training",
            refused=Table(["Candidates"], refused, head="Reason", detail_head=""),
            cards=cards,
            remarks=remarks,
            notes=summary.get("notes", ()),
            definitions={name: text for name, text in DEFINITIONS.items() if name in shown},
            versions=versions(),
            command=command,
        )

    def _values(self, column: int) -> _Floats:
        return finite(row[column] for row in self._sample)

    def _targets(self, samples: Sequence[_Floats]) -> Table | None:
        if not self._answers:
            return None
        lines = [a.cells(self.rows, v) for a, v in zip(self._answers, samples, strict=True)]
        order = ("Requested", "Hit rate", "Mean absolute error", "Median error", "Obtained")
        columns = [name for name in order if any(name in cells for cells in lines)]
        rows = [
            Row(
                answer.target.name,
                [cells.get(name, Cell("–")) for name in columns],
                answer.description,
            )
            for answer, cells in zip(self._answers, lines, strict=True)
        ]
        return Table(columns, rows, head="Target")

    def _similarity(self) -> Histogram:
        return Histogram(
            name="similarity",
            description="Tanimoto similarity to the start molecule",
            unit="",
            sets=[("obtained", self._values(self._extra["similarity"]))],
        )

    def _cards(self) -> list[Card]:
        drawable = [
            (1 + i * self.stride, row)
            for i, row in enumerate(self._sample)
            if len(str(row[0])) <= DRAWABLE
        ]
        wanted = min(CARDS, len(drawable))
        return [self._card(*drawable[i * len(drawable) // wanted]) for i in range(wanted)]

    def _card(self, number: int, row: tuple[Any, ...]) -> Card:
        extra = {name: row[i] for name, i in self._extra.items()}
        targets = [answer.target.name for answer in self._answers]
        values = {
            name: np.nan if row[k] is None else float(row[k])
            for k, name in enumerate(targets, start=1)
        }
        values |= {
            name: float(value)
            for name, value in extra.items()
            if name != "similarity" and not name.endswith("_similarity")
            if name not in targets and isinstance(value, Real)
        }
        other, similarity, relation = extra.get("start"), extra.get("similarity"), "start molecule"
        measured = next((name for name in targets if f"{name}_nearest" in extra), None)
        if not other and measured is not None:
            other, similarity = extra[f"{measured}_nearest"], extra[f"{measured}_similarity"]
            far = "" if extra[f"{measured}_inside"] == "yes" else " (too far to trust the interval)"
            relation = f"nearest molecule with a measured {measured}{far}"
        return Card(
            smiles=str(row[0]),
            values=values,
            similarity=None if similarity is None else float(similarity),
            neighbor=other or "",
            relation=relation,
            row=number,
        )


def _summary(summary: Mapping[str, Any], model: str, seed: int | None) -> Table:
    wanted, written, decoded = (summary[name] for name in ("wanted", "written", "decoded"))
    seconds = summary["seconds"]
    cells = {
        "Asked for": Cell(f"{wanted:,}"),
        "Written": Cell(f"{written:,}", f"{written / wanted:.1%} of those asked for"),
        "Decoded": Cell(
            f"{decoded:,}",
            f"{number(decoded / written)} candidates per molecule written" if written else "",
        ),
        "Seconds": Cell(
            f"{seconds:,.1f}", f"{number(written / seconds)} per second" if seconds else ""
        ),
        **({"Model": Cell(model)} if model else {}),
        **({"Seed": Cell(str(seed))} if seed is not None else {}),
    }
    rows = [Row(name, [cell]) for name, cell in cells.items()]
    return Table(["Value"], rows, head="Run", detail_head="")


def _source(held_out: str) -> str:
    return (
        "predicted by the model, not measured; on held-out molecules "
        f"{held_out or 'its error is not known'}"
    )


def _median_and_span(values: _Floats) -> tuple[str, str]:
    low, median, high = (number(float(q)) for q in np.quantile(values, (0.05, 0.5, 0.95)))
    return median, f"5–95 %: {low} to {high}"


def _training(condition: Condition) -> _Floats:
    """Values as evenly spaced in probability, from the stored quantiles, shape (POINTS,)."""
    quantiles = np.asarray(condition.quantiles)
    # Beyond the inner quantiles little is known: without the clip one outlier would set the axis.
    inner = quantiles[1:-1] if len(quantiles) > 2 else quantiles
    grid = np.linspace(0, 1, len(quantiles))
    probabilities = (np.arange(POINTS) + 0.5) / POINTS
    values: _Floats = np.interp(probabilities, grid, np.clip(quantiles, inner[0], inner[-1]))
    return values.round() if condition.integer else values
