"""The session of a tab: its model, its start molecule, and the molecules it has made."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import streamlit as st

from molvae.app.settings import settings

__all__ = [
    "Row",
    "collect",
    "collected",
    "keep_choices",
    "keep_inside",
    "keep_valid",
    "model_name",
    "next_page",
    "open_page",
    "page_is_pending",
    "set_model",
    "set_start",
    "start",
    "version",
]

DEFAULT = "default"
MOST = 5000  # molecules kept for the map

# Widgets whose choices outlive a visit of another page, by the beginnings of their keys; buttons
# and uploads, by the ends of theirs, cannot be kept.
_KEPT, _NOT_KEPT = ("data.", "optimize.", "evaluate."), (".file", ".add", ".remove")
# Of pages with buttons and components of many names, those that are kept, by the ends.
_KEPT_HERE = ("generate.", "molecule.", "map.")
_CHOICES = frozenset(
    (
        "alerts",
        "by",
        "color",
        "down",
        "elements",
        "fill",
        "filters",
        "level",
        "mode",
        "names",
        "number",
        "points",
        "range",
        "realism",
        "ring",
        "rings",
        "scaffold",
        "seed",
        "shown",
        "task",
        "value",
        "yes",
    )
)
_START, _MADE, _MODEL = "molvae.start", "molvae.made", "molvae.model"
_NEXT, _VERSION = "molvae.next", "molvae.version"

Row = Mapping[str, Any]  # of a molecule: "smiles", its values by name, what else is known of it


def start() -> str:
    """SMILES of the start molecule; empty if none was chosen."""
    return str(st.session_state.get(_START, ""))


def set_start(smiles: str, *, drawn: bool = False) -> None:
    """Make a molecule the start of what follows; the molecule page shows it.

    ``drawn``: in the sketcher, which shows it already.
    """
    st.session_state[_START] = smiles
    if not drawn:
        st.session_state[_VERSION] = version() + 1


def version() -> int:
    """How often the start was chosen elsewhere than in the sketcher."""
    return int(st.session_state.get(_VERSION, 0))


def collected() -> list[Row]:
    """The molecules made in this session, oldest first, no SMILES twice."""
    made: dict[str, Row] = st.session_state.get(_MADE, {})
    return list(made.values())


def collect(rows: Iterable[Row], origin: str) -> None:
    """Remember molecules for the map; ``origin`` says what made them, such as ``analogs``."""
    made: dict[str, Row] = st.session_state.setdefault(_MADE, {})
    for row in rows:
        made.setdefault(str(row["smiles"]), {**row, "origin": origin})
    for smiles in list(made)[: max(len(made) - MOST, 0)]:
        del made[smiles]


def keep_choices() -> None:
    """Keep what was chosen on pages that are not open, which Streamlit would forget."""
    for key, value in st.session_state.items():
        name = str(key)
        here = name.startswith(_KEPT_HERE) and name.rpartition(".")[2] in _CHOICES
        if here or (name.startswith(_KEPT) and not name.endswith(_NOT_KEPT)):
            st.session_state[name] = value


def keep_valid(key: str, options: Collection[Any]) -> None:
    """Drop what was chosen before from options that are no longer there, as of another model."""
    before = st.session_state.get(key)
    if isinstance(before, list):
        st.session_state[key] = [choice for choice in before if choice in options]
    elif before is not None and before not in options:
        del st.session_state[key]


def keep_inside(key: str, low: float, high: float) -> None:
    """Move what was chosen before with a slider into its new limits."""
    before, kind = st.session_state.get(key), type(low)
    if isinstance(before, tuple):
        st.session_state[key] = tuple(kind(min(max(value, low), high)) for value in before)
    elif before is not None:
        st.session_state[key] = kind(min(max(before, low), high))


def model_name() -> str:
    """The model this tab uses, as ``-m`` takes it."""
    return str(st.session_state.get(_MODEL) or settings().model or DEFAULT)


def set_model(name: str) -> None:
    """Use another model in this tab."""
    st.session_state[_MODEL] = name


def open_page(title: str) -> None:
    """Show another page next; for callbacks, in which Streamlit cannot change the page."""
    st.session_state[_NEXT] = title


def page_is_pending() -> bool:
    """Whether another page is to be shown; a fragment then lets the whole page run."""
    return _NEXT in st.session_state


def next_page() -> str:
    """The title of the page to show instead of this one, once; mostly empty."""
    return str(st.session_state.pop(_NEXT, ""))
