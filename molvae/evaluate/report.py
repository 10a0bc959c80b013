"""Results of evaluations and examinations as JSON, terminal tables and an HTML page.

The JSON schema is that of :class:`molvae.evaluate.results.Report`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, FiniteFloat, ValidationError, model_validator

from molvae import report
from molvae.chem.properties import PROPERTIES
from molvae.errors import FileError
from molvae.evaluate.definitions import better, definition
from molvae.evaluate.diagnostics.results import ModelReport
from molvae.evaluate.diagnostics.results import lines as model_lines
from molvae.evaluate.diagnostics.results import table_rows as model_rows
from molvae.evaluate.results import SCHEMA, Comparison, Report
from molvae.evaluate.tables import comparison_lines, detail, differs, entries, obtained, short, span
from molvae.evaluate.tables import lines as report_lines
from molvae.report import Calibration, Card, Cell, Curve, Histogram, LatentMap, Page, Row, Series
from molvae.report import Table as TableOf

__all__ = ["lines", "page", "read_evaluations", "to_json", "write_page"]

MAPS = 4  # latent maps on a page: of the target properties first, then of common ones
MAPPED = ("mw", "logp", "qed", "sas")

FIRST = ("Filters", "novelty", "unique", "valid")  # of a single set, before the distributions
_Json = Mapping[str, Any]
_Result = Report | Comparison | None


def to_json(result: _Result, examined: ModelReport | None) -> dict[str, Any]:
    """Plain data of either or both; the model's is under ``model``."""
    data = {"schema": SCHEMA} if result is None else result.to_json()
    return data if examined is None else {**data, "model": examined.to_json()}


def lines(result: _Result, examined: ModelReport | None) -> list[str]:
    """Tables of at most 80 columns, and the notes below them."""
    text: list[str] = []
    if isinstance(result, Comparison):
        text += comparison_lines(result.to_json())
    elif result is not None:
        text += report_lines(result.to_json())
    text += [f"note: {note}" for note in _notes(result)]
    if examined is not None:
        text += ([""] if text else []) + model_lines(examined)
    return text


def _reports(result: _Result) -> Sequence[Report]:
    if isinstance(result, Comparison):
        return result.reports
    return [] if result is None else [result]


def _notes(result: _Result) -> list[str]:
    if isinstance(result, Comparison):
        of_sets = [f"{r.name}: {note}" for r in result.reports for note in r.notes]
        return [*result.notes(), *of_sets]
    return [] if result is None else result.notes


class _Entry(BaseModel, strict=True):
    """A metric in a file; only the value is required."""

    value: FiniteFloat | None
    n: int | None = None
    numerator: FiniteFloat | None = None
    denominator: int | None = None
    note: str = ""
    interval: tuple[FiniteFloat, FiniteFloat] | None = Field(default=None, strict=False)

    def to_json(self) -> dict[str, Any]:
        kept = {k: v for k, v in self.model_dump(mode="json").items() if v not in (None, "")}
        return {"value": self.value, **kept}


class _Property(BaseModel):
    W1: _Entry


class _Target(BaseModel):
    target: str
    MAD: _Entry | None = None
    hit_rate: _Entry | None = Field(default=None, alias="hit rate")

    @model_validator(mode="after")
    def _one(self) -> _Target:
        if (self.MAD is None) == (self.hit_rate is None):
            raise ValueError("expected MAD or hit rate")
        return self

    def to_json(self) -> dict[str, Any]:
        kind = ("MAD", self.MAD) if self.MAD is not None else ("hit rate", self.hit_rate)
        return {"target": self.target, kind[0]: kind[1].to_json() if kind[1] else {}}


class _Evaluation(BaseModel):
    """The parts of an earlier evaluation that are shown."""

    name: str = ""
    metrics: dict[str, _Entry]
    properties: dict[str, _Property] = {}
    targets: dict[str, _Target] = {}

    def to_json(self) -> dict[str, Any]:
        """Plain data in the form of an evaluation."""
        return {
            "name": self.name,
            "metrics": {name: entry.to_json() for name, entry in self.metrics.items()},
            "properties": {name: {"W1": p.W1.to_json()} for name, p in self.properties.items()},
            "targets": {name: target.to_json() for name, target in self.targets.items()},
        }


class _Several(BaseModel):
    sets: list[_Evaluation]


def read_evaluations(path: str | Path) -> list[dict[str, Any]]:
    """The sets in the JSON of an earlier evaluation; ``metrics`` in that form are enough."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        several = '"sets"' in text and "sets" in json.loads(text)
        evaluations = (
            _Several.model_validate_json(text).sets
            if several
            else [_Evaluation.model_validate_json(text)]
        )
    except OSError as error:
        raise FileError(f"'{path}': {(error.strerror or str(error)).lower()}") from None
    except (ValueError, TypeError, RecursionError) as error:
        where = ""
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            where = f" ({place}: {first['msg'].lower()})" if place else f" ({first['msg'].lower()})"
        raise FileError(
            f"'{path}': expected the JSON of `molvae evaluate … -o FILE`, or "
            f'{{"name": …, "metrics": {{"FCD/Test": {{"value": …}}, …}}}}{where}'
        ) from None
    plain = [data.to_json() for data in evaluations]
    for data in plain:
        data["name"] = data["name"] or path.stem
    return plain


# The page


def write_page(
    path: str | Path,
    result: _Result,
    examined: ModelReport | None,
    *,
    beside: Sequence[_Json] = (),
    command: str = "",
) -> None:
    """Write the page, complete or not at all."""
    report.write_html(path, page(result, examined, beside=beside, command=command))


def page(
    result: _Result,
    examined: ModelReport | None,
    *,
    beside: Sequence[_Json] = (),
    command: str = "",
) -> Page:
    """The page; ``beside`` are earlier evaluations for the comparison table."""
    reports = _reports(result)
    data = [r.to_json() for r in reports]
    reference = next((f"{r.reference} set" for r in reports if r.reference), "reference")
    cards = [card for r in reports for card in _cards(r, grouped=len(reports) > 1)]
    remarks = {
        "molecules": f"{len(cards):,} distinct valid molecules, drawn by the seed, with their rows "
        "(1 is the first below the header)."
    }
    if examined is not None:
        remarks["model"] = f"Of {examined.molecules.n:,} molecules that were held out."
    single = len(data) == 1 and not beside
    return Page(
        title="Evaluation of generated molecules" if reports else "Examination of a model",
        summary=_summary(data, examined),
        table=_table([(n, k, e) for n, k, e in entries(data[0]) if k != "W1"]) if single else None,
        comparison=None if single or not data else _comparison(result, data, beside),
        targets=_targets(data[0]) if len(data) == 1 else None,
        calibrations=[*_calibrations(reports), *_model_calibrations(examined)],
        histograms=list(_histograms(reports)),
        reference=reference,
        curves=list(_curves(reports)),
        maps=list(_maps(reports, examined)),
        model=_model_table(examined),
        cards=cards,
        remarks=remarks if cards or examined is not None else {},
        notes=_notes(result),
        headings={"summary": "Metrics"},
        definitions=_definitions(data),
        versions=reports[0].versions if reports else examined.versions if examined else {},
        command=command,
    )


def _summary(data: Sequence[_Json], examined: ModelReport | None) -> str:
    parts = [
        f"{evaluation['name']}: {evaluation['n']:,} rows, "
        f"{evaluation['metrics']['valid']['numerator']:,} valid molecules."
        for evaluation in data
    ]
    if examined is not None:
        parts.append(f"Model {examined.model['folder']}.")
    return " ".join(parts)


def _definitions(data: Sequence[_Json]) -> dict[str, str]:
    kinds = dict.fromkeys(kind for evaluation in data for _, kind, _ in entries(evaluation))
    return {kind: text for kind in kinds if (text := definition(kind))}


def _row(name: str, kind: str, cells: Sequence[Cell]) -> Row:
    return Row(name, cells, definition(kind))


def _cell(entry: _Json) -> Cell:
    if entry["value"] is None:
        return Cell("–", "", entry.get("note", "not known"))
    interval = entry.get("interval")
    parts = [f"95 %: {span(interval)}" if interval else "", detail(entry) if "n" in entry else ""]
    return Cell(short(entry["value"]), ", ".join(filter(None, parts)), entry.get("note", ""))


def _table(entries: Sequence[tuple[str, str, _Json]]) -> TableOf:
    kept = [entry for entry in entries if entry[1] not in ("MAD", "hit rate")]
    kept.sort(key=lambda entry: FIRST.index(entry[1]) if entry[1] in FIRST else len(FIRST))
    return TableOf(["Value"], [_row(name, kind, [_cell(e)]) for name, kind, e in kept])


def _targets(data: _Json) -> TableOf | None:
    rows = []
    for target in data["targets"].values():
        kind = "MAD" if "MAD" in target else "hit rate"
        cell = _cell(target[kind])
        parts = [cell.detail, *obtained(target)]
        source = "" if target["source"] == "RDKit" else target["source"]
        note = "; ".join(filter(None, (cell.note, source)))
        cell = replace(cell, detail=", ".join(filter(None, parts)), note=note)
        rows.append(_row(f"{target['target']} {kind}", kind, [cell]))
    return TableOf(["Value"], rows, head="Target") if rows else None


def _comparison(result: _Result, data: Sequence[_Json], beside: Sequence[_Json]) -> TableOf:
    sets = [*data, *beside]
    columns = [str(data_set["name"]) for data_set in sets]
    known = [{name: (kind, entry) for name, kind, entry in entries(data_set)} for data_set in sets]
    gaps = result.differences() if isinstance(result, Comparison) else {}
    names = list(dict.fromkeys(name for metrics in known[: len(data)] for name in metrics))
    rows = []
    for name in names:
        kind = next(metrics[name][0] for metrics in known if name in metrics)
        nothing: tuple[str, _Json] = (kind, {"value": None, "note": "not given"})
        cells = [_narrow(metrics.get(name, nothing)[1]) for metrics in known]
        cells += [_gap(kind, gap.get(name, {"value": None})) for gap in gaps.values()]
        rows.append(_row(name, kind, cells))
    heads = [f"{name} - {columns[0]}" for name in gaps]
    return TableOf(
        [*columns, *heads], rows, caption="Intervals contain 95 % of the bootstrap replicates."
    )


def _narrow(entry: _Json) -> Cell:
    """A cell of a table with several columns: interval and counts are below the value."""
    if entry["value"] is None:
        return Cell("–", "", entry.get("note", "not known"))
    count = detail(entry) if "n" in entry else ""
    return Cell(short(entry["value"]), span(entry.get("interval")), count)


def _gap(kind: str, gap: _Json) -> Cell:
    if gap["value"] is None:
        return Cell("–")
    mark = ""
    if differs(gap) and (direction := better(kind)):
        mark = "better" if (gap["value"] > 0) == (direction == "higher") else "worse"
    sign = "+" if gap["value"] > 0 else ""
    return Cell(sign + short(gap["value"]), span(gap.get("interval")), mark=mark)  # type: ignore[arg-type]


def _cards(result: Report, *, grouped: bool) -> list[Card]:
    return [replace(card, group=result.name) for card in result.cards] if grouped else result.cards


def _set_name(result: Report, reports: Sequence[Report]) -> str:
    return result.name if len(reports) > 1 else "generated"


def _histograms(reports: Sequence[Report]) -> Iterator[Histogram]:
    for name in PROPERTIES if reports else ():
        sets = [(_set_name(r, reports), r.properties[name].generated) for r in reports]
        if not any(len(values) for _, values in sets):
            continue
        w1 = [r.properties[name].w1 for r in reports]
        texts = [
            f"W1 {short(m.value)} {span(m.interval)}".rstrip() for m in w1 if m.value is not None
        ]
        yield Histogram(
            name=name,
            description=PROPERTIES[name].description,
            unit=PROPERTIES[name].unit,
            sets=sets,
            reference=reports[0].properties[name].reference,
            integer=PROPERTIES[name].integer,
            note="; ".join(texts),
        )


def _curves(reports: Sequence[Report]) -> Iterator[Curve]:
    sizes = sorted({n for r in reports for n in r.curves.n})
    names = dict.fromkeys(name for r in reports for name in r.curves.metrics)
    for name in names if len(sizes) > 1 else ():
        series = []
        for r in reports:
            known = dict(zip(r.curves.n, r.curves.metrics.get(name, ()), strict=False))
            series.append(Series(_set_name(r, reports), [known.get(n) for n in sizes]))
        yield Curve(name, definition(name.split("/")[0]), sizes, series)


def _calibrations(reports: Sequence[Report]) -> Iterator[Calibration]:
    for r in reports:
        for name, target in r.targets.items():
            calibration = target.calibration
            if calibration is None or not calibration.bins:
                continue
            slope = "" if calibration.slope is None else f", slope {calibration.slope:.2f}"
            title = f"{name}, {r.name}" if len(reports) > 1 else name
            yield Calibration(
                name=title,
                unit=PROPERTIES[name].unit if name in PROPERTIES else "",
                requested=[b.requested for b in calibration.bins],
                obtained=[b.obtained for b in calibration.bins],
                spread=[b.sd for b in calibration.bins],
                n=[b.n for b in calibration.bins],
                note=f"MAD {short(target.metric.value)}{slope}",
            )


# The model


def _model_table(examined: ModelReport | None) -> TableOf | None:
    if examined is None:
        return None
    rows = [
        Row(name.strip(), [Cell(value, note)])
        for name, value, note in model_rows(examined)
        if not name.startswith(" ")
    ]
    return TableOf(["Value"], rows, head="Figure", detail_head="Explanation")


def _model_calibrations(examined: ModelReport | None) -> Iterator[Calibration]:
    for control in () if examined is None else examined.control:
        if control.mad is None:
            continue
        slope = "" if control.slope is None else f", slope {control.slope:.2f}"
        yield Calibration(
            name=f"{control.name}, one shot",
            unit=control.unit,
            requested=[reply.requested for reply in control.replies],
            obtained=[np.nan if r.mean is None else r.mean for r in control.replies],
            spread=[reply.sd for reply in control.replies],
            n=[reply.n for reply in control.replies],
            note="; ".join(filter(None, (f"MAD {short(control.mad)}{slope}", control.note))),
        )


def _maps(reports: Sequence[Report], examined: ModelReport | None) -> Iterator[LatentMap]:
    if examined is None:
        return
    latent_map = examined.latent_map
    asked = [name for r in reports for name in r.targets]
    wanted = list(dict.fromkeys([*asked, *MAPPED, *latent_map.names]))
    for name in [name for name in wanted if name in latent_map.names][:MAPS]:
        values: NDArray[np.float64] = latent_map.values[:, latent_map.names.index(name)].astype(
            np.float64
        )
        first, second = (f"{share:.0%} of the variance" for share in latent_map.shares)
        unit = PROPERTIES[name].unit if name in PROPERTIES else ""
        yield LatentMap(name, unit, latent_map.points, values, first, second)
