"""The objectives of a search, chosen by clicking, as the texts that ``--objective`` takes."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from molvae import chem
from molvae.app.settings import settings
from molvae.chem.properties import PROPERTIES
from molvae.model.conditions import Condition
from molvae.objectives import TASKS
from molvae.objectives.functions import public_functions

__all__ = ["Chosen", "choose"]

KINDS = {
    "property": "Property",
    "column": "Measured column of the model",
    "similarity": "Similarity to a molecule",
    "task": "Benchmark task",
    "file": "Function of a Python file",
}
HIGH, LOW, RANGE, NEAR = "as high as possible", "as low as possible", "in a range", "near a value"
MOST = 8
FIRST = ("qed", "sas", "logp", "tpsa", "mw", "rotb", "hbd", "fsp3")  # properties, one per objective
BETTER_LOW = ("sas", "mw", "rotb")
SCALE = "In between the worth grows evenly; beyond it is 0 or 1."


@dataclass(frozen=True)
class Chosen:
    """The objectives, whether a single one is minimized, and whether the front is wanted."""

    texts: tuple[str, ...]
    minimize: bool = False
    pareto: bool = False

    def words(self) -> list[str]:
        """As options of ``molvae optimize``."""
        options = [word for text in self.texts for word in ("--objective", text)]
        return options + ["--minimize"] * self.minimize + ["--pareto"] * self.pareto


@dataclass(frozen=True)
class _Part:
    """One objective: its name, the scores worth 0 and 1 if it needs them, and its weight."""

    text: str
    ends: tuple[float, float] | None = None  # worst, best
    weight: float = 1.0
    low: bool = False

    def among(self, *, several: bool, pareto: bool) -> str:
        """The text, with what it needs among several; a single score is used as it is."""
        text = self.text
        if several and self.ends is not None:
            text += f"@{self.ends[0]:g}:{self.ends[1]:g}"
        if several and not pareto and self.weight != 1:
            return f"{text}*{self.weight:g}"
        # A trailing weight keeps the end of a SMILES from being read as one.
        return f"{text}*1" if text.startswith("similarity:") else text


def choose(columns: list[Condition], *, key: str) -> Chosen | None:
    """Let the user choose objectives; None as long as one is incomplete.

    ``columns``: the measured columns that the model can predict.
    """
    rows: list[int] = st.session_state.setdefault(f"{key}.rows", [0])
    several = len(rows) > 1
    pareto = False
    if several:
        pareto = st.toggle(
            "Search for the Pareto front",
            key=f"{key}.pareto",
            help="Off: the weighted geometric mean of all objectives, each on a scale from 0 to 1. "
            "On: molecules that no other molecule beats in every objective.",
        )
    parts = [
        _one(columns, f"{key}.{row}", number, several=several, weighted=several and not pareto)
        for number, row in enumerate(rows, start=1)
    ]
    if len(rows) < MOST:
        st.button(
            "Add an objective", key=f"{key}.add", icon=":material/add:", on_click=_add, args=(key,)
        )
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return Chosen(
        tuple(part.among(several=several, pareto=pareto) for part in known),
        minimize=not several and known[0].low and known[0].ends is not None,
        pareto=pareto,
    )


def _add(key: str) -> None:
    rows = st.session_state[f"{key}.rows"]
    st.session_state[f"{key}.rows"] = [*rows, max(rows, default=-1) + 1]


def _remove(key: str, row: str) -> None:
    rows = st.session_state[key]
    st.session_state[key] = [other for other in rows if str(other) != row]


def _one(
    columns: list[Condition], key: str, number: int, *, several: bool, weighted: bool
) -> _Part | None:
    """The widgets of one objective."""
    kinds = [kind for kind in KINDS if kind != "column" or columns]
    kinds = [kind for kind in kinds if kind != "file" or settings().objectives]
    with st.container(border=True):
        kind = st.selectbox(
            f"Objective {number}", kinds, format_func=KINDS.__getitem__, key=f"{key}.kind"
        )
        part = _of_kind(kind, columns, key, number, several)
        if weighted:
            weight = st.slider(
                "Weight",
                0.1,
                5.0,
                1.0,
                0.1,
                key=f"{key}.weight",
                help="Twice the weight counts twice in the mean.",
            )
            part = part and _Part(part.text, part.ends, weight, part.low)
        if several:
            stem, _, row = key.rpartition(".")
            st.button(
                "Remove",
                key=f"{key}.remove",
                icon=":material/close:",
                on_click=_remove,
                args=(f"{stem}.rows", row),
            )
    return part


def _of_kind(
    kind: str, columns: list[Condition], key: str, number: int, several: bool
) -> _Part | None:
    if kind == "property":
        return _property(key, number, several)
    if kind == "column":
        return _column(columns, key, several)
    if kind == "task":
        return _task(key, several)
    return _similarity(key) if kind == "similarity" else _file(key, several)


def _property(key: str, number: int, several: bool) -> _Part | None:
    first = list(PROPERTIES).index(FIRST[(number - 1) % len(FIRST)])
    name = st.selectbox(
        "Property",
        list(PROPERTIES),
        index=first,
        key=f"{key}.property",
        format_func=lambda name: f"{name} – {PROPERTIES[name].description}",
    )
    usual = PROPERTIES[name]
    return _aimed(name, (usual.low, usual.high), key, several, [HIGH, LOW, RANGE, NEAR])


def _column(columns: list[Condition], key: str, several: bool) -> _Part | None:
    by = {column.name: column for column in columns}
    name = st.selectbox("Column", list(by), key=f"{key}.column")
    if by[name].kind == "yesno":
        st.caption("The predicted probability of yes, less for molecules unlike the measured ones.")
        return _Part(name)
    st.caption("As predicted, one standard deviation worse: uncertain molecules score low.")
    return _aimed(name, by[name].seen, key, several, [HIGH, LOW, RANGE])


def _aimed(
    name: str, usual: tuple[float, float], key: str, several: bool, aims: list[str]
) -> _Part | None:
    """What the score should be: high, low, in a range, near a value."""
    usually = LOW if name in BETTER_LOW else HIGH
    aim = st.segmented_control("Goal", aims, default=usually, key=f"{key}.aim.{name}") or usually
    low, high = usual
    if aim == NEAR:
        value = st.number_input("Value", value=(low + high) / 2, key=f"{key}.near.{name}")
        return _Part(f"{name}={value:g}")
    if aim == RANGE:
        ends = _pair(("At least", "At most"), (low, high), f"{key}.range.{name}")
        if ends[0] >= ends[1]:
            st.warning("The lower end must be below the upper end.")
            return None
        return _Part(f"{name}={ends[0]:g}:{ends[1]:g}")
    scale = _scale(usual, aim == LOW, f"{key}.{name}.{aim}", several)
    return None if scale is None else _Part(name, scale, low=aim == LOW)


def _scale(
    usual: tuple[float, float], low: bool, key: str, several: bool
) -> tuple[float, float] | None:
    """The scores worth 0 and 1, which only several objectives need."""
    worst, best = usual[::-1] if low else usual
    if not several:
        return worst, best
    scale = _pair(("Score worth 0", "Score worth 1"), (worst, best), f"{key}.scale", SCALE)
    if scale[0] == scale[1]:
        st.warning("The scores worth 0 and 1 must differ.")
        return None
    return scale


def _pair(
    labels: tuple[str, str], values: tuple[float, float], key: str, help_: str | None = None
) -> tuple[float, float]:
    left, right = st.columns(2)
    first = left.number_input(
        labels[0], value=float(values[0]), key=f"{key}.0", format="%g", help=help_
    )
    second = right.number_input(
        labels[1], value=float(values[1]), key=f"{key}.1", format="%g", help=help_
    )
    return float(first), float(second)


def _similarity(key: str) -> _Part | None:
    smiles = st.text_input(
        "SMILES", key=f"{key}.smiles", help="Counted ECFP4 fingerprints, Tanimoto."
    ).strip()
    if not smiles or any(c.isspace() for c in smiles):
        st.caption("Enter the SMILES of the molecule.")
        return None
    if chem.parse(smiles) is None:
        st.warning("RDKit cannot read this SMILES.", icon=":material/warning:")
        return None
    return _Part(f"similarity:{smiles}")


def _task(key: str, several: bool) -> _Part | None:
    names = [name for name in TASKS if TASKS[name].bounded or not several]
    return _Part(st.selectbox("Task", names, key=f"{key}.task"))


def _file(key: str, several: bool) -> _Part | None:
    files = {path.name: path for path in settings().objectives}
    name = st.selectbox("File", list(files), key=f"{key}.file")
    functions = public_functions(files[name])
    if not functions:
        st.warning("This file has no functions.")
        return None
    function = st.selectbox("Function", functions, key=f"{key}.function.{name}")
    aim = st.segmented_control("Goal", [HIGH, LOW], default=HIGH, key=f"{key}.aim.file") or HIGH
    ends = _scale((0.0, 1.0), aim == LOW, f"{key}.file.{aim}", several)
    return None if ends is None else _Part(f"{files[name]}:{function}", ends, low=aim == LOW)
