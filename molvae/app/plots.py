"""Charts that look like those of the HTML reports, and scatter plots to click."""

from __future__ import annotations

import functools
import html
import importlib.resources
import re
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from molvae.app import state
from molvae.chem.properties import PROPERTIES
from molvae.model.conditions import Condition
from molvae.report import maps
from molvae.report.charts import histogram
from molvae.report.drawing import Drawing, Palette
from molvae.report.records import Histogram

__all__ = ["dark", "draw", "labelled", "scatter", "target_histogram"]

POINTS = 12_800  # of the training values in a histogram
REFERENCE = "training"


def dark() -> bool:
    """Whether the page is dark now."""
    return bool(st.context.theme.type == "dark")


def labelled(name: str) -> str:
    """A property with its unit, as a title of an axis."""
    unit = PROPERTIES[name].unit if name in PROPERTIES else ""
    return f"{name} ({unit})" if unit else name


def draw(drawing: Drawing, *, key: str) -> None:
    """A chart of the reports, with its words for screen readers."""
    keys = "".join(
        f"<li><svg viewBox='0 0 26 12' aria-hidden='true'>{line.symbol}</svg>"
        f"<span>{html.escape(line.name)}</span> "
        f"<span class='figures'>{html.escape(line.figures)}</span></li>"
        for line in drawing.keys
    )
    content = (
        f"<style>{_style(dark())}</style><div class='molvae'>"
        f"<div class='chart' role='img' aria-label='{html.escape(drawing.label, quote=True)}'>"
        f"{drawing.svg}</div><ul class='keys'>{keys}</ul></div>"
    )
    _component()(key=key, data=content)


@functools.cache
def _component() -> Any:
    """A place for a chart; Streamlit's own HTML has no SVG."""
    js = (
        "export default ({ data, parentElement }) => {\n"
        "  const place = parentElement.querySelector('.place');\n"
        "  if (place.shown !== data) { place.shown = data; place.innerHTML = data; }\n"
        "};\n"
    )
    return st.components.v2.component("molvae_chart", html="<div class='place'></div>", js=js)


@functools.cache
def _style(night: bool) -> str:
    """The rules of the reports' style sheet for charts, inside ``.molvae``."""
    css = (importlib.resources.files("molvae.report") / "report.css").read_text(encoding="utf-8")
    variables = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[int(night)]
    variables = re.sub(r"/\*.*?\*/", "", variables, flags=re.DOTALL)
    rules = re.findall(
        r"^(\.(?:chart|s0|s4|bar|line|request|dot|error|point|axis|grid-lines|keys)"
        r"[^{]*)(\{.*?\})",
        css,
        re.MULTILINE | re.DOTALL,
    )
    colors = re.findall(r"(\.\S+) (\{ --c: [^}]*\})", css)
    inside = [
        f"{', '.join(f'.molvae {name.strip()}' for name in names.split(','))} {body}"
        for names, body in [*rules, *colors]
    ]
    return (
        f".molvae {{ {variables} font-family: var(--st-font); color: var(--ink); }} "
        f".molvae .chart svg {{ display: block; width: 100%; height: auto; }} {' '.join(inside)}"
    )


def target_histogram(
    condition: Condition | None, name: str, request: tuple[float, float] | None
) -> Drawing | None:
    """The training values of a property with a requested value or range; None if unknown."""
    if condition is None:
        return None
    places = np.linspace(0, 1, len(condition.quantiles))
    at = (np.arange(POINTS) + 0.5) / POINTS
    values = np.interp(at, places, condition.quantiles)
    if condition.integer:
        values = np.round(values)
    builtin = PROPERTIES.get(name)
    chart = Histogram(
        name=name,
        description=builtin.description if builtin else "",
        unit=condition.unit,
        sets=[(REFERENCE, values)],
        integer=condition.integer,
        request=request,
        figures={REFERENCE: "", "requested": ""},
    )
    return histogram(chart, Palette([REFERENCE], ""))


def scatter(
    frame: pd.DataFrame,
    x: str,
    y: str,
    *,
    color: str = "",
    key: str,
    behind: pd.DataFrame | None = None,
    titles: tuple[str, str] = ("", ""),
    height: int = 420,
    marked: str = "",
) -> list[int]:
    """Points to click or to select with a box; the positions in ``frame`` of those selected.

    The same can be done by keyboard below the chart, which then counts instead of it. ``frame`` has
    the molecules in the column ``smiles``. ``behind`` are gray points below them, which cannot be
    selected; ``marked`` is a column that is true for points to draw larger, with a ring.
    """
    number = "molvae row"
    points = frame.assign(**{number: np.arange(len(frame))})
    axes = {
        "x": alt.X(f"{x}:Q", title=titles[0] or labelled(x), scale=alt.Scale(zero=False)),
        "y": alt.Y(f"{y}:Q", title=titles[1] or labelled(y), scale=alt.Scale(zero=False)),
    }
    stops = maps.DARK if dark() else maps.LIGHT
    shades = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in stops]
    ink = "#63b3ed" if dark() else "#1b6ca8"
    layers: list[Any] = []
    if behind is not None and len(behind):
        layers.append(
            alt.Chart(behind)
            .mark_circle(size=14, color="#77828f" if dark() else "#8a94a1", opacity=0.35)
            .encode(**axes)
        )
    box = alt.selection_interval(name="box")
    click = alt.selection_point(name="click", fields=[number], on="click", nearest=False)
    shade: Any = alt.value(ink)
    if color:
        shade = alt.Color(f"{color}:Q", title=labelled(color), scale=alt.Scale(range=shades))
    ring: dict[str, Any] = {}
    if marked:
        test = f"datum['{marked}']"
        ring = {
            "size": alt.condition(test, alt.value(120), alt.value(46)),
            "strokeWidth": alt.condition(test, alt.value(2), alt.value(0)),
            "stroke": alt.value("#e6eaef" if dark() else "#1b2430"),
            "order": alt.Order(f"{marked}:O"),
        }
    encoded = (
        alt.Chart(points)
        .mark_circle(size=46)
        .encode(
            **axes,
            **ring,
            color=shade,
            opacity=alt.condition(click, alt.value(0.9), alt.value(0.25)),
            tooltip=[c for c in ("smiles", x, y, color) if c and c in points.columns],
            detail=alt.Detail(f"{number}:Q"),
        )
        .add_params(click, box)
    )
    layers.append(encoded)
    chart = alt.layer(*layers).properties(height=height)
    event = st.altair_chart(chart, on_select="rerun", selection_mode=["click", "box"], key=key)
    by_keyboard = _by_keyboard(frame, (x, y), titles, color, key)
    return _selected(points, event, x, y, number) if by_keyboard is None else by_keyboard


def _by_keyboard(
    frame: pd.DataFrame, axes: tuple[str, str], titles: tuple[str, str], color: str, key: str
) -> list[int] | None:
    """Points chosen in a list, or by the ends of a box; None if neither is used."""
    inside = np.ones(len(frame), dtype=bool)
    with st.expander("Choose points by keyboard", icon=":material/keyboard:"):
        for name, title in dict(zip(axes, titles, strict=True)).items():
            inside &= _between(frame[name], (title or labelled(name)).partition(" (")[0], key)
        # Of points with the same molecule the first.
        places = {str(frame["smiles"].iloc[i]): int(i) for i in np.flatnonzero(inside)[::-1]}
        places = dict(reversed(places.items()))

        def label(smiles: str) -> str:
            return f"{smiles} · {color} {frame[color].iloc[places[smiles]]:.3g}"

        state.keep_valid(f"{key}.point", places)
        chosen = st.selectbox(
            f"One of {len(places):,} molecules",
            list(places),
            None,
            label if color else str,
            key=f"{key}.point",
            placeholder="none",
            help="The same as a click on its point. Type a part of the SMILES to find it.",
        )
        st.caption("As long as something is chosen here, it counts instead of the plot.")
    if chosen is not None:
        return [places[chosen]]
    return None if inside.all() else [int(i) for i in np.flatnonzero(inside)]


def _between(values: pd.Series[float], name: str, key: str) -> NDArray[np.bool_]:
    """Which values are between two numbers that the user may enter."""
    ends = float(values.min()), float(values.max())
    step = float(f"{max(ends[1] - ends[0], 1e-6) / 20:.1g}")
    low, high = (
        column.number_input(
            f"{name} {word}",
            value=None,
            step=step,
            format="%g",
            placeholder=f"{end:.3g}",
            key=f"{key}.{values.name}.{word}",
        )
        for column, word, end in zip(st.columns(2), ("from", "to"), ends, strict=True)
    )
    if low is None and high is None:
        return np.ones(len(values), dtype=bool)
    low, high = (-np.inf if low is None else low), (np.inf if high is None else high)
    return np.asarray(values.between(low, high))


def _selected(points: pd.DataFrame, event: Any, x: str, y: str, number: str) -> list[int]:
    """Rows of a click, else of a box."""
    chosen = event.get("selection", {}) if event else {}
    clicked = [int(item[number]) for item in chosen.get("click") or [] if number in item]
    if clicked:
        return [i for i in clicked if i < len(points)]
    box = chosen.get("box") or {}
    if x not in box or y not in box:
        return []
    inside = points[x].between(*sorted(box[x])) & points[y].between(*sorted(box[y]))
    rows: list[int] = points.loc[inside, number].tolist()
    return rows
