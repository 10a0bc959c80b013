"""Records → HTML text → a file. The template has the order of the page, the style sheet its look.

Everything from outside is escaped: by jinja2 in the template, by
:func:`molvae.report.axes.text` in drawings.
"""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from molvae.report import charts, maps
from molvae.report.drawing import Drawing, Palette
from molvae.report.molecules import Drawn, grouped
from molvae.report.records import Calibration, Curve, Histogram, LatentMap, Page, Table
from molvae.runtime.files import atomic_text

if TYPE_CHECKING:
    import jinja2

__all__ = ["SECTIONS", "Figure", "Section", "render", "write_html"]

SECTIONS = {  # key → heading, in the order of the page
    "comparison": "Comparison",
    "molecules": "Molecules",
    "targets": "Targets",
    "calibration": "Requested and obtained",
    "summary": "Summary",
    "properties": "Properties",
    "sizes": "Sample size",
    "model": "Model",
    "refused": "Refused candidates",
    "notes": "Notes",
}
SHOWN = 12  # molecules of a group that are not folded away
NAVIGATED = 3  # a page of this many sections or more gets a navigation


@dataclass(frozen=True)
class Figure:
    """A chart with its heading."""

    name: str
    description: str
    note: str
    drawing: Drawing


@dataclass(frozen=True)
class Section:
    """A part of the page below a heading; ``key`` is its anchor."""

    key: str
    heading: str
    remark: str = ""
    figures: Sequence[Figure] = ()
    table: Table | None = None
    groups: Sequence[tuple[str, Sequence[Drawn]]] = ()
    notes: Sequence[str] = ()


def write_html(path: str | Path, page: Page) -> None:
    """Write the page, complete or not at all."""
    # A command line, and so the page, may name files whose names are not UTF-8.
    html = render(page).encode("utf-8", "backslashreplace").decode()
    with atomic_text(path) as text:
        text.write(html)


def render(page: Page) -> str:
    """The page as HTML text; everything from outside is escaped."""
    unknown = sorted(set(page.remarks) - set(SECTIONS))
    if unknown:
        raise ValueError(f"remarks on {unknown}; the sections are {', '.join(SECTIONS)}")
    sections = _sections(page)
    return _template().render(
        page=page,
        style=_style(),
        sections=sections,
        navigated=len(sections) >= NAVIGATED,
        shown=SHOWN,
        definitions=_definitions(page),
    )


@functools.cache
def _template() -> jinja2.Template:
    import jinja2  # slow to import, and rarely needed

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(_resource("report.html.j2"))


def _sections(page: Page) -> list[Section]:
    """The sections that are not empty."""
    names = [name for chart in page.histograms for name, _ in chart.sets]
    names += [line.name for chart in page.curves for line in chart.series]
    palette = Palette(names, page.reference)
    figures = {
        "calibration": [_calibration(c) for c in page.calibrations],
        "properties": [_histogram(c, palette) for c in page.histograms],
        "sizes": [_curve(c, palette) for c in page.curves],
        "model": [_map(c) for c in page.maps],
    }
    tables = {
        "summary": page.table,
        "comparison": page.comparison,
        "targets": page.targets,
        "model": page.model,
        "refused": page.refused,
    }
    sections = [
        Section(
            key,
            page.headings.get(key, heading),
            page.remarks.get(key, ""),
            figures.get(key, ()),
            tables.get(key),
            groups=list(grouped(page.cards).items()) if key == "molecules" else (),
            notes=page.notes if key == "notes" else (),
        )
        for key, heading in SECTIONS.items()
    ]
    return [
        s
        for s in sections
        if s.figures or (s.table is not None and s.table.rows) or s.groups or s.notes
    ]


def _calibration(chart: Calibration) -> Figure:
    return Figure(chart.name, "", chart.note, charts.calibration(chart))


def _histogram(chart: Histogram, palette: Palette) -> Figure:
    return Figure(chart.name, chart.description, chart.note, charts.histogram(chart, palette))


def _curve(chart: Curve, palette: Palette) -> Figure:
    return Figure(chart.name, chart.description, chart.note, charts.curve(chart, palette))


def _map(chart: LatentMap) -> Figure:
    unit = f"in {chart.unit}" if chart.unit else ""
    return Figure(chart.name, unit, chart.note, maps.latent_map(chart))


def _definitions(page: Page) -> dict[str, str]:
    """The definitions of the page, then those of rows that differ from them."""
    definitions = dict(page.definitions)
    for table in (page.table, page.comparison, page.targets, page.model, page.refused):
        for row in table.rows if table else ():
            if row.definition and row.definition not in definitions.values():
                definitions[row.name] = row.definition
    return definitions


def _style() -> str:
    """The style sheet, with the colors of maps for either scheme."""
    style = _resource("report.css")
    for name, stops in (("light", maps.LIGHT), ("dark", maps.DARK)):
        style = style.replace(f"/* map, {name} */", maps.scale_css(stops))
    colors = (f".m{i} {{ --c: var(--m{i}); }}" for i in range(maps.CLASSES))
    return style + " ".join(colors)


def _resource(name: str) -> str:
    return importlib.resources.files("molvae.report").joinpath(name).read_text(encoding="utf-8")
