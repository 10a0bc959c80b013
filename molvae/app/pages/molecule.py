"""Molecule: draw or paste one, see what the model makes of it, and make others around it."""

from __future__ import annotations

import math

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from molvae import chem
from molvae.api import MolVAE
from molvae.app import cards, command, making, models, sketch, state, targets, training
from molvae.app.about import About, about
from molvae.app.words import plain
from molvae.errors import InputError
from molvae.generate.request import Request
from molvae.predict.predictor import LEVEL

__all__ = ["show"]

KEY = "molecule"
TASKS = ("Analogs", "Change a property", "Keep a scaffold", "Path to another")
EXAMPLE = "CC(=O)Nc1ccc(O)cc1"
HALF = 0.15  # of the span of noise levels around the chosen one


def show() -> None:
    """Draw the page."""
    st.title("Molecule")
    left, right = st.columns([3, 2], gap="large")
    with left:
        _draw()
    smiles = state.start()
    if not smiles:
        right.info(
            "Draw a molecule, paste its SMILES, or click one on another page.",
            icon=":material/info:",
        )
        right.button(
            "Begin with paracetamol", on_click=state.set_start, args=(EXAMPLE,), key=f"{KEY}.try"
        )
        return
    facts = about(state.model_name(), smiles)
    with right:
        _look(facts)
    if facts.fault:
        return
    st.divider()
    task = st.segmented_control(
        "From this molecule", TASKS, default=TASKS[0], key=f"{KEY}.task", width="stretch"
    )
    work = {
        "Analogs": _analogs,
        "Change a property": _change,
        "Keep a scaffold": _scaffold,
        "Path to another": _path,
    }.get(task or TASKS[0], _analogs)
    # The sketcher of a scaffold needs more space than sliders do.
    wide = task == "Keep a scaffold"
    options, results = st.columns([1, 1] if wide else [2, 3], gap="large")
    work(facts.smiles, options, results)


def _draw() -> None:
    """The sketcher and a field to paste a SMILES."""
    drawn = sketch.draw(state.start(), key=f"{KEY}.sketch", version=state.version())
    if drawn is not None:
        mol = chem.parse(drawn) if drawn else None
        if mol is not None and "*" not in drawn:
            state.set_start(chem.to_smiles(mol), drawn=True)
        elif drawn:
            st.caption("This drawing is not a complete molecule yet.")
        else:
            state.set_start("", drawn=True)
    st.text_input(
        "or paste a SMILES",
        key=f"{KEY}.paste",
        on_change=_paste,
        placeholder="CC(=O)Nc1ccc(O)cc1",
    )
    if text := st.session_state.pop(f"{KEY}.refused", ""):
        st.error(plain(text), icon=":material/error:")


def _paste() -> None:
    text = str(st.session_state[f"{KEY}.paste"]).strip()
    if not text:
        return
    smiles = chem.canonical_smiles(text)
    if smiles is None:
        st.session_state[f"{KEY}.refused"] = f"'{text[:80]}' is not a valid SMILES"
        return
    state.set_start(smiles)
    st.session_state[f"{KEY}.paste"] = ""


def _look(facts: About) -> None:
    """What the model makes of the molecule."""
    st.code(facts.smiles, language=None, wrap_lines=True)
    if facts.fault:
        st.warning(f"The model cannot take this molecule: {plain(facts.fault)}.")
    else:
        with st.container(horizontal=True):
            _figure(
                "Realism",
                facts.realism,
                "share of the model's own samples that look less like its training molecules",
            )
            _figure(
                "Rebuilt",
                facts.similarity,
                "Tanimoto similarity of the molecule that the "
                "model decodes from this one's latent; 100 % is the same",
            )
        if facts.unseen:
            st.warning(plain(facts.unseen), icon=":material/warning:")
        if facts.rebuilt != facts.smiles:
            st.caption(f"The model rebuilds it as `{facts.rebuilt or 'no molecule'}`.")
        if facts.nearest is not None:
            similarity, near = facts.nearest
            st.caption(f"Nearest training molecule: `{near}`, Tanimoto {similarity:.2f}.")
        elif why := training.why_no_nearest(state.model_name()):
            st.caption(why)
        if len(facts.predictions):
            st.markdown(f"**Predictions**, with intervals that hold {LEVEL:.0%} of measurements")
            st.dataframe(facts.predictions, hide_index=True)
    with st.expander("Properties", expanded=not len(facts.predictions)):
        st.dataframe(
            facts.properties,
            hide_index=True,
            height=260,
            column_order=["property", "value", "training values below", "meaning"],
        )
    command.show(
        ["encode", "molecule.smi", "-m", state.model_name(), "--score", "-o", "encoded.csv"]
        if not len(facts.predictions)
        else ["predict", "molecule.smi", "-m", state.model_name(), "-o", "predicted.csv"],
        note="`molecule.smi` is a file with this SMILES.",
    )


def _figure(name: str, value: float, words: str) -> None:
    shown = "–" if math.isnan(value) else f"{value:.0%}"
    st.metric(name, shown, help=words)


def _number(task: str) -> int:
    return int(st.number_input("Number of molecules", 1, 500, 12, key=f"{KEY}.{task}.number"))


def _begin(task: str, request: Request, number: int, seed: int, results: DeltaGenerator) -> None:
    """The button of a task, its command line and its results."""
    asked = making.Making(state.model_name(), number, request, seed, origin=task)
    key = f"{KEY}.{task}.work"
    if st.button("Make them", type="primary", key=f"{KEY}.{task}.go", icon=":material/science:"):
        making.begin(key, asked)
    command.show(making.words(asked))
    with results:
        making.results(key)


def _realism() -> float | None:
    return None if models.current().critic is None else Request().realism


def _closeness(task: str) -> tuple[float, float]:
    """Noise levels of the decoder, by one slider."""
    level = st.slider(
        "Distance from the molecule",
        0.0,
        1.0,
        0.35,
        0.05,
        key=f"{KEY}.{task}.level",
        help="Near 0: the closest relatives. Near 1: any molecule. It is the noise level at which "
        "the molecule's latent is decoded.",
    )
    return round(max(level - HALF, 0.0), 2), round(min(level + HALF, 1.0), 2)


def _seed(task: str) -> int:
    return int(
        st.number_input(
            "Random seed",
            0,
            2**31 - 1,
            0,
            key=f"{KEY}.{task}.seed",
            help="Another seed, other molecules.",
        )
    )


def _analogs(smiles: str, options: DeltaGenerator, results: DeltaGenerator) -> None:
    with options:
        number = _number("analogs")
        low, high = _closeness("analogs")
        request = Request(like=(smiles,), noise=(low, high), realism=_realism())
        _begin("analogs", request, number, _seed("analogs"), results)


def _change(smiles: str, options: DeltaGenerator, results: DeltaGenerator) -> None:
    with options:
        chosen = targets.choose(models.current(), key=f"{KEY}.change", now=smiles)
        if not chosen:
            st.info("Choose a property and what it is to be.", icon=":material/info:")
            return
        number = _number("change")
        low, high = _closeness("change")
        request = Request(
            targets=tuple(chosen), like=(smiles,), noise=(low, high), realism=_realism()
        )
        _begin("change", request, number, _seed("change"), results)


def _scaffold(smiles: str, options: DeltaGenerator, results: DeltaGenerator) -> None:
    mol = chem.parse(smiles)
    assert mol is not None  # it is a start molecule
    core = chem.scaffold(mol) or smiles
    with options:
        st.caption(
            "Draw the part to keep. R marks an atom where the molecule may grow; without R it may "
            "grow anywhere."
        )
        drawn = sketch.draw(core, key=f"{KEY}.scaffold.sketch", version=smiles)
        if drawn is not None:
            st.session_state[f"{KEY}.scaffold"] = drawn
        part = (
            st.text_input(
                "Scaffold as SMILES or SMARTS; * marks where it may grow",
                key=f"{KEY}.scaffold",
                placeholder=core,
            ).strip()
            or core
        )
        chem.require_scaffold(part)
        fill = "*" in part and st.toggle("Put an atom at every *", key=f"{KEY}.scaffold.fill")
        number = _number("scaffold")
        request = Request(scaffold=part, fill=fill, realism=_realism())
        _begin("scaffold", request, number, _seed("scaffold"), results)


def _path(smiles: str, options: DeltaGenerator, results: DeltaGenerator) -> None:
    with options:
        other = st.text_input("SMILES of the other end", key=f"{KEY}.path.end").strip()
        made = [row["smiles"] for row in state.collected() if row["smiles"] != smiles]
        if made:
            picked = st.selectbox(
                "or one of the molecules of this session",
                made[:-200:-1],
                None,
                key=f"{KEY}.path.made",
            )
            other = other or picked or ""
        points = st.slider("Points", 3, 21, 9, key=f"{KEY}.path.points")
        if not other:
            st.info("Give the molecule at the other end.", icon=":material/info:")
            return
        if chem.canonical_smiles(other) is None:
            raise InputError(f"'{other[:80]}' is not a valid SMILES")
        with models.working():
            table = MolVAE(models.current()).interpolate(smiles, other, points)
        words = ["interpolate", smiles, other, "-m", state.model_name(), "--points", points]
        command.show([*words, "-o", "path.csv"])
    last = table.groupby("smiles")["share"].max()  # neighboring points may be one molecule
    rows = [
        {**row, "tag": _place(row["share"], last[row["smiles"]])}
        for row in making.records(table.drop_duplicates("smiles"))
        if row["smiles"]
    ]
    rows = making.describe(rows, models.current())
    state.collect(rows, "path")
    with results:
        cards.grid(rows, key=f"{KEY}.path.cards", names=["similarity_first", "similarity_last"])
        cards.downloads(rows, key=f"{KEY}.path.files", stem="path")
        missing = int((table["smiles"] == "").sum())
        if missing:
            st.caption(f"{missing} of {points} points decode to no molecule.")


def _place(first: float, last: float) -> str:
    """Where on the path a molecule is.

    >>> _place(0.5, 0.5), _place(0.75, 1.0)
    ('50% of the way', '75% to 100% of the way')
    """
    return f"{first:.0%} of the way" if first == last else f"{first:.0%} to {last:.0%} of the way"
