"""One self-contained HTML page: a summary, distributions and drawn molecules.

The page opens without a network: styles, charts and drawings are inside it. It is built from the
plain records below, so that any verb can fill one.
"""

from __future__ import annotations

import importlib.resources
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.files import atomic_text

__all__ = [
    "DEFINITIONS",
    "Card",
    "Histogram",
    "Line",
    "Page",
    "evaluation_page",
    "render",
    "table_rows",
    "write_html",
]

_TEMPLATE = "report.html.j2"
BINS = 30

DEFINITIONS = {
    "valid": "share of all rows that RDKit parses to at least one atom",
    "unique": "share of distinct canonical SMILES among the valid",
    "unique@1000": "share of distinct canonical SMILES among the first 1,000 valid",
    "unique@10000": "share of distinct canonical SMILES among the first 10,000 valid",
    "novelty": "share of the distinct valid molecules that are not in the training set",
    "IntDiv": "1 - mean Tanimoto similarity over all pairs; higher is more varied",
    "IntDiv2": "as IntDiv, with the root mean square similarity of each molecule to all",
    "SNN": "mean Tanimoto similarity to the nearest reference molecule",
    "Frag": "cosine between the BRICS fragment counts of generated and reference molecules",
    "Scaf": "cosine between the counts of ring scaffolds of generated and reference molecules",
    "W1": "1-Wasserstein distance to the reference values, in the unit of the property",
    "MAD": "mean absolute distance between the obtained value and the requested one",
    "hit rate": "share of the molecules with a value whose value lies in the requested range",
}


@dataclass(frozen=True)
class Line:
    """A row of a table: what, how much, out of what; ``definition`` is explained on the page."""

    name: str
    value: str
    detail: str = ""
    note: str = ""
    definition: str = ""


@dataclass(frozen=True)
class Histogram:
    """Values of one property, generated and, where there is one, of the reference set."""

    name: str
    description: str
    unit: str
    generated: NDArray[np.float64]
    reference: NDArray[np.float64] | None = None
    integer: bool = False
    note: str = ""


@dataclass(frozen=True)
class Card:
    """A molecule to draw, with the numbers to print below it."""

    smiles: str
    values: Mapping[str, float]
    similarity: float | None = None  # Tanimoto, to the nearest training molecule
    neighbour: str = ""  # that molecule


@dataclass(frozen=True)
class Page:
    """All that stands on the page, in its order. Texts are escaped when it is written."""

    title: str
    summary: str
    lines: Sequence[Line]
    targets: Sequence[Line] = ()
    histograms: Sequence[Histogram] = ()
    reference: str = "reference"  # what the reference set of the histograms is called
    cards: Sequence[Card] = ()
    cards_note: str = ""
    notes: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


def write_html(path: str | Path, page: Page) -> None:
    """Write the page, complete or not at all."""
    html = render(page)
    with atomic_text(path) as text:
        text.write(html)


def render(page: Page) -> str:
    """The page as HTML text; everything that came from outside is escaped."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    source = importlib.resources.files("molvae").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    definitions = {line.name: line.definition for line in page.lines if line.definition}
    return environment.from_string(source).render(
        page=page,
        definitions=definitions,
        compared=any(histogram.reference is not None for histogram in page.histograms),
        charts=[_chart(histogram, page.reference) for histogram in page.histograms],
        cards=[_drawn(card) for card in page.cards],
    )


# An evaluation as lines


def evaluation_page(
    data: Mapping[str, Any],
    *,
    title: str,
    histograms: Sequence[Histogram] = (),
    cards: Sequence[Card] = (),
    command: str = "",
) -> Page:
    """The page of an evaluation, from its JSON form and what that does not hold."""
    valid, unique = data["metrics"]["valid"], data["metrics"]["unique"]
    shown = f"{len(cards):,} of {unique['numerator']:,} distinct valid molecules"
    return Page(
        title=title,
        summary=f"{data['n']:,} rows, {valid['numerator']:,} valid molecules.",
        lines=_metric_lines(data),
        targets=_target_lines(data),
        histograms=histograms,
        reference=f"{data['reference']} set",
        cards=cards,
        cards_note=f"{shown}, drawn with seed {data['seed']}.",
        notes=data["notes"],
        versions=data["versions"],
        command=command,
    )


def table_rows(data: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, what explains it) of an evaluation's JSON form, for 80 columns."""
    rows = []
    for line in [*_metric_lines(data), *_target_lines(data)]:
        text = "; ".join(filter(None, (line.detail, line.note)))
        rows.append((line.name, line.value, text if len(text) <= 42 else text[:41] + "…"))
    for name, entry in data["properties"].items():
        figures = _mean_sd(entry)
        if "reference" in entry:
            figures += f"; {data['reference']} {_mean_sd(entry['reference'])}"
        distance = entry["W1"]["value"]
        rows.append((f"{name} W1", "-" if distance is None else f"{distance:.4g}", figures))
    return rows


def _mean_sd(entry: Mapping[str, Any]) -> str:
    if entry["mean"] is None:
        return "no values"
    return f"{entry['mean']:.4g} ± {entry['sd']:.3g}"


def _metric_lines(data: Mapping[str, Any]) -> list[Line]:
    return [_line(name, name, entry) for name, entry in data["metrics"].items()]


def _target_lines(data: Mapping[str, Any]) -> list[Line]:
    lines = []
    for entry in data["targets"].values():
        kind = "MAD" if "MAD" in entry else "hit rate"
        line = _line(f"{entry['target']} {kind}", kind, entry[kind])
        parts = [line.detail]
        if entry["mean"] is not None:
            parts.append(f"obtained {_mean_sd(entry)}")
        if entry["bias"] is not None:
            parts.append(f"bias {entry['bias']:+.2g}")
        source = "" if entry["source"] == "RDKit" else entry["source"]
        note = "; ".join(filter(None, (line.note, source)))
        lines.append(replace(line, detail=", ".join(filter(None, parts)), note=note))
    return lines


def _line(name: str, kind: str, entry: Mapping[str, Any]) -> Line:
    value, detail = "-", ""
    if entry["value"] is not None:
        value, detail = f"{entry['value']:.4f}", f"n = {entry['n']:,}"
    if "denominator" in entry:
        detail = f"{entry['numerator']:,}/{entry['denominator']:,}"
    note = entry.get("note", "")
    return Line(name, value, detail, note, DEFINITIONS.get(kind.split("/")[0], ""))


# Molecules


def _drawn(card: Card) -> dict[str, Any]:
    mol = chem.parse(card.smiles)
    values = [(name, _short(value)) for name, value in card.values.items()]
    svg = "" if mol is None else _slim(chem.draw_svg(mol))
    return {"card": card, "svg": svg, "values": values}


def _slim(svg: str) -> str:
    """A drawing without what HTML does not need: namespaces, comments, classes, fixed size, and
    styles that say what holds anyway (a third of the bytes).
    """
    head, body = svg.split(">", 1)
    box = re.search(r"viewBox='[^']*'", head)
    body = re.sub(r"<!--.*?-->|\sclass='[^']*'|\n", "", body, flags=re.DOTALL)
    body = body.replace("fill:none;fill-rule:evenodd;", "fill:none;")
    body = re.sub(r";(stroke-linecap:butt|stroke-linejoin:miter|stroke-opacity:1)\b", "", body)
    return f"<svg {box[0] if box else ''} aria-hidden='true'>{body}"


# Charts

_WIDTH, _HEIGHT = 320, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 8, 8, 22


def _chart(histogram: Histogram, reference: str) -> dict[str, Any]:
    generated = _figures("generated", histogram.generated)
    figures = [generated]
    if histogram.reference is not None and len(histogram.reference):
        figures.append(_figures(reference, histogram.reference))
    return {"histogram": histogram, "svg": _bars(histogram), "figures": figures}


def _figures(name: str, values: NDArray[np.float64]) -> str:
    if not len(values):
        return f"{name}: no values"
    return f"{name}: mean {_short(float(values.mean()))}, sd {_short(float(values.std()))}"


def _edges(histogram: Histogram) -> NDArray[np.float64]:
    """Bin edges over both sets, from the 0.5 % to the 99.5 % quantile; what lies outside joins
    the outermost bins, so that one freak molecule does not squeeze all others into one bar.
    """
    sets = [histogram.generated]
    if histogram.reference is not None:
        sets.append(histogram.reference)
    ends = [np.quantile(values, (0.005, 0.995)) for values in sets if len(values)]
    low, high = float(min(e[0] for e in ends)), float(max(e[1] for e in ends))
    if histogram.integer:
        low, high = math.floor(low), math.ceil(high)
        step = math.ceil((high - low + 1) / BINS)
        return np.arange(low - 0.5, high + step, step)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1)


def _shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)
    return counts / max(len(values), 1)


def _bars(histogram: Histogram) -> str:
    """An SVG of filled bars (generated) under a stepped outline (reference); shares, not counts."""
    if not len(histogram.generated):
        return ""
    edges = _edges(histogram)
    mine = _shares(histogram.generated, edges)
    other = None if histogram.reference is None else _shares(histogram.reference, edges)
    top = max(mine.max(), 0.0 if other is None else other.max())
    span = _WIDTH - _LEFT - _RIGHT
    x = _LEFT + span * (edges - edges[0]) / (edges[-1] - edges[0])
    floor = _HEIGHT - _BOTTOM
    scale = (floor - _TOP) / top
    parts = [
        f"<rect class='bar' x='{a:.1f}' y='{floor - scale * share:.1f}' "
        f"width='{max(b - a - 1, 0.5):.1f}' height='{scale * share:.1f}'/>"
        for a, b, share in zip(x, x[1:], mine, strict=False)
        if share > 0
    ]
    if other is not None and other.any():
        points = [f"{x[0]:.1f},{floor}"]
        for a, b, share in zip(x, x[1:], other, strict=False):
            points += [
                f"{a:.1f},{floor - scale * share:.1f}",
                f"{b:.1f},{floor - scale * share:.1f}",
            ]
        points.append(f"{x[-1]:.1f},{floor}")
        parts.append(f"<polyline class='outline' points='{' '.join(points)}'/>")
    parts.append(
        f"<line class='axis' x1='{_LEFT}' y1='{floor}' x2='{_WIDTH - _RIGHT}' y2='{floor}'/>"
    )
    for tick in _ticks(edges[0], edges[-1]):
        at = f"{_LEFT + span * (tick - edges[0]) / (edges[-1] - edges[0]):.1f}"
        # A label near the border would be cut off; it leans inwards instead.
        anchor = "start" if float(at) < 20 else "end" if float(at) > _WIDTH - 20 else "middle"
        place = f"x='{at}' y='{floor + 16}' text-anchor='{anchor}'"
        parts.append(f"<path class='axis' d='M{at} {floor}v4'/>")
        parts.append(f"<text class='tick' {place}>{tick:g}</text>")
    return f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' aria-hidden='true'>{''.join(parts)}</svg>"


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers (1, 2 or 5 times a power of ten) between ``low`` and ``high``.

    >>> _ticks(0.1, 0.93)
    [0.2, 0.4, 0.6, 0.8]
    """
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    first = math.ceil(low / step)
    count = math.floor(high / step) - first + 1
    return [round((first + i) * step, 10) for i in range(count)]


def _short(value: float) -> str:
    """Three or four significant digits, which is what a reader compares.

    >>> _short(0.84321), _short(312.456), _short(3.0)
    ('0.843', '312.5', '3')
    """
    if math.isnan(value):
        return "–"
    return f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}"
