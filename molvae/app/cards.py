"""Cards of molecules: structure, values, neighbors; to sort, filter, select, click and download."""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import json
import math
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import streamlit as st

from molvae.app import state
from molvae.app.state import Row
from molvae.data.writers import write_rows
from molvae.report.molecules import Drawn, grouped
from molvae.report.records import Card

__all__ = ["downloads", "grid", "show", "table"]

PAGE = 24  # cards drawn at first, and more at each request
HIDDEN = ("smiles", "origin")
KINDS = {"CSV": "text/csv", "SDF": "chemical/x-mdl-sdfile"}
ACTION = "Start here"


def show(
    rows: Sequence[Row],
    *,
    key: str,
    names: Sequence[str],
    relation: str = "",
    selectable: bool = True,
    order: str = "as they came",
) -> list[Row]:
    """Cards with the values of the columns ``names``, which can be sorted, filtered and selected.

    Other numbers can be chosen too. Returns the selected rows; without a selection, those that
    pass the filter. ``relation`` is what the column ``nearest`` holds, ``order`` what the order of
    ``rows`` is called.
    """
    if not rows:
        return []
    numbers = _numbers(rows)
    known = [name for name in names if name in numbers]
    shown, by = _toolbar(rows, numbers, known, key, order)
    rows = _filtered(rows, numbers, key)
    if by:
        rows = _sorted(rows, *by)
    limit = PAGE * int(st.session_state.get(f"{key}.pages", 1))
    chosen = grid(
        rows[:limit], key=f"{key}.grid", names=shown, relation=relation, selectable=selectable
    )
    if len(rows) > limit:
        st.button(
            f"Show {min(PAGE, len(rows) - limit)} more of {len(rows) - limit:,}",
            key=f"{key}.more",
            on_click=lambda: st.session_state.update({f"{key}.pages": limit // PAGE + 1}),
        )
    return [row for row in rows if row["smiles"] in chosen] or list(rows)


def _numbers(rows: Sequence[Row]) -> list[str]:
    """Names of the columns that hold numbers."""
    names = dict.fromkeys(name for row in rows for name in row if name not in HIDDEN)
    return [name for name in names if any(isinstance(row.get(name), Real) for row in rows)]


def _toolbar(
    rows: Sequence[Row], numbers: Sequence[str], names: Sequence[str], key: str, order: str
) -> tuple[list[str], tuple[str, bool] | None]:
    """The values to show, and the column to sort by, downward or not."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        by = st.selectbox("Sort by", [order, *numbers], key=f"{key}.by", width=220)
        down = st.toggle("Highest first", key=f"{key}.down", disabled=by == order)
        with st.popover("Values and filter", icon=":material/tune:"):
            shown = st.multiselect(
                "Values on the cards", numbers, default=list(names), key=f"{key}.shown"
            )
            st.multiselect(
                "Filter by", numbers, key=f"{key}.filters", help="Hide cards outside a range."
            )
            for name in st.session_state.get(f"{key}.filters", []):
                known = [float(row[name]) for row in rows if _known(row.get(name))]
                if known and min(known) < max(known):
                    ends = (min(known), max(known))
                    st.slider(name, *ends, ends, key=f"{key}.range.{name}")
    return shown, None if by == order else (by, down)


def _filtered(rows: Sequence[Row], numbers: Sequence[str], key: str) -> list[Row]:
    kept = list(rows)
    for name in st.session_state.get(f"{key}.filters", []):
        if (ends := st.session_state.get(f"{key}.range.{name}")) is not None:
            low, high = ends
            kept = [r for r in kept if _known(r.get(name)) and low <= float(r[name]) <= high]
    if len(kept) < len(rows):
        st.caption(f"{len(kept):,} of {len(rows):,} molecules pass the filter.")
    return kept


def _sorted(rows: Sequence[Row], name: str, down: bool) -> list[Row]:
    """By a column; unknown values last."""
    known = [row for row in rows if _known(row.get(name))]
    rest = [row for row in rows if not _known(row.get(name))]
    return sorted(known, key=lambda row: float(row[name]), reverse=down) + rest


def _known(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(float(value))


def grid(
    rows: Sequence[Row],
    *,
    key: str,
    names: Sequence[str],
    relation: str = "",
    selectable: bool = False,
) -> set[str]:
    """The cards alone; the SMILES of those that are selected.

    A click on a structure makes it the start molecule and opens the page of molecules.
    """
    drawn = _drawn(tuple(_frozen(row) for row in rows), tuple(names), relation)
    chosen: list[str] = []
    kept = st.session_state.get(key)
    if selectable and kept is not None:
        chosen = list(kept.get("selected") or [])
    cards = [
        {
            "smiles": item.card.smiles,
            "svg": item.svg,
            "values": list(item.values),
            "tag": str(row.get("tag") or ""),
            "more": _more(row, item),
            "neighbor": item.neighbor_svg,
        }
        for row, item in zip(rows, drawn, strict=True)
    ]
    version = hashlib.sha256(json.dumps(cards).encode()).hexdigest()
    data = {
        "cards": cards,
        "selected": chosen,
        "selectable": selectable,
        "action": ACTION,
        "version": version,
    }
    result = _component()(
        key=key,
        data=data,
        default={"selected": []},
        on_clicked_change=functools.partial(_clicked, key),
        on_selected_change=lambda: None,
    )
    return set(result.get("selected") or [])


def _clicked(key: str) -> None:
    if smiles := st.session_state[key].get("clicked"):
        state.set_start(str(smiles))
        st.toast("This is the start molecule now.", icon=":material/draw:")
        state.open_page("Molecule")


@functools.cache
def _component() -> Any:
    files = importlib.resources.files("molvae.app")
    css, js = ((files / f"cards.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return st.components.v2.component(
        "molvae_cards", html='<div class="cards" role="list"></div>', css=css, js=js
    )


def _frozen(row: Row) -> tuple[tuple[str, Any], ...]:
    return tuple(row.items())


@st.cache_data(max_entries=200, show_spinner=False)
def _drawn(
    rows: tuple[tuple[tuple[str, Any], ...], ...], names: tuple[str, ...], relation: str
) -> list[Drawn]:
    """Structures and printed values; drawing takes a few milliseconds per molecule."""
    cards = []
    for row in map(dict, rows):
        values = {name: float(row[name]) for name in names if _known(row.get(name))}
        near = row.get("nearest") or ""
        cards.append(Card(row["smiles"], values, row.get("nearest_similarity"), near, "", relation))
    return grouped(cards).get("", [])


def _more(row: Row, item: Drawn) -> list[str]:
    """Lines about a molecule that are folded away."""
    lines = [
        f"{name}: {value}"
        for name, value in row.items()
        if isinstance(value, str) and value and name not in (*HIDDEN, "nearest", "tag")
    ]
    if item.card.neighbor:
        near = item.card.similarity
        words = "" if near is None or math.isnan(near) else f", Tanimoto {near:.2f}"
        lines.append(
            f"{item.card.relation or 'nearest training molecule'}{words}: {item.card.neighbor}"
        )
    return lines


def table(rows: Sequence[Row]) -> tuple[list[str], list[list[object]]]:
    """Columns and cells of rows, the SMILES first; what only cards show is left out."""
    names = dict.fromkeys(name for row in rows for name in row if name not in ("smiles", "tag"))
    return ["smiles", *names], [[row["smiles"], *(row.get(n) for n in names)] for row in rows]


def downloads(rows: Sequence[Row], *, key: str, stem: str = "molecules", report: str = "") -> None:
    """Buttons that download the rows as CSV and SDF, and an HTML page if there is one."""
    if not rows:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        for kind, mime in KINDS.items():
            st.download_button(
                f"{kind} ({len(rows):,})",
                data=functools.partial(_file, rows, kind.lower()),
                file_name=f"{stem}.{kind.lower()}",
                mime=mime,
                key=f"{key}.{kind}",
                icon=":material/download:",
                on_click="ignore",
            )
        if report:
            st.download_button(
                "HTML report",
                data=report,
                file_name=f"{stem}.html",
                mime="text/html",
                key=f"{key}.report",
                icon=":material/download:",
                on_click="ignore",
            )


def _file(rows: Sequence[Row], kind: str) -> bytes:
    """The rows as a molecule file."""
    columns, cells = table(rows)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"molecules.{kind}"
        write_rows(path, columns, cells)
        return path.read_bytes()
