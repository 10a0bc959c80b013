"""Map: the latent space in two directions, with training molecules and those of this session."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from molvae import chem
from molvae.api import MolVAE
from molvae.app import cards, command, making, models, plots, state, training, uploads
from molvae.chem.properties import PROPERTIES, compute
from molvae.data.readers import read_smiles
from molvae.generate.request import Request
from molvae.latent.plane import Plane

__all__ = ["show"]

KEY = "map"
MOST = 2000  # molecules behind
DRAWN = 400  # samples of a model without training molecules: drawing them is the slow step
SEEDS = 20  # molecules of a selection that others are made around
SAMPLES, UPLOADED, TRAINED = "samples of the model", "uploaded molecules", "training molecules"


@dataclass(frozen=True)
class _Background:
    """Molecules that span the plane."""

    kind: str
    smiles: list[str]
    plane: Plane
    points: NDArray[np.float64]  # (N, 2)


def show() -> None:
    """Draw the page."""
    st.title("Map")
    name = state.model_name()
    left, right = st.columns([2, 3], gap="large")
    with left:
        given = uploads.molecules(
            "Molecules to show",
            key=f"{KEY}.file",
            help_="For example the training file. Without one: the training molecules of a run, or "
            "samples of the model.",
        )
        names = sorted(PROPERTIES)
        color = st.selectbox("Color", names, names.index("logp"), key=f"{KEY}.color")
    back = _background(name, models.version(name), given)
    made = state.collected()
    rows = _rows(name, back, tuple((str(r["smiles"]), str(r["origin"])) for r in made), color)
    with left:
        shown = st.segmented_control(
            "Show", ["all", back.kind, "made here"], default="all", key=f"{KEY}.shown"
        )
    if shown == back.kind:
        rows = rows[rows["origin"] == back.kind]
    elif shown == "made here":
        rows = rows[rows["origin"] != back.kind]
    rows = rows.reset_index(drop=True)
    with right:
        if not len(rows):
            st.info(
                "Nothing was made in this session yet: generate molecules first.",
                icon=":material/info:",
            )
            return
        first, second = back.plane.shares
        chosen = plots.scatter(
            rows,
            "first",
            "second",
            color=color,
            key=f"{KEY}.chart",
            height=460,
            marked="made",
            titles=(
                f"first direction ({first:.0%} of the variance)",
                f"second direction ({second:.0%})",
            ),
        )
        st.caption(
            f"{len(back.smiles):,} {back.kind} and {len(made):,} molecules of this session. "
            "Click a point to see the molecule, or draw a box to generate there."
        )
    picked = rows.iloc[chosen]
    with left:
        _selection(picked, back.kind)
    if len(picked):
        cards.grid(making.records(picked.head(cards.PAGE)), key=f"{KEY}.picked", names=[color])
    making.results(f"{KEY}.work")


def _selection(picked: pd.DataFrame, kind: str) -> None:
    """The button that generates where the selection is."""
    if not len(picked):
        st.caption("Nothing is selected.")
        return
    step = -(-len(picked) // SEEDS)
    seeds = tuple(picked["smiles"].iloc[::step])
    st.markdown(f"**{len(picked):,} selected**")
    number = st.number_input("Number of molecules", 1, 500, 12, key=f"{KEY}.number")
    realism = None if models.current().critic is None else Request().realism
    asked = making.Making(
        state.model_name(), int(number), Request(like=seeds, realism=realism), origin="map"
    )
    if st.button("Generate there", type="primary", key=f"{KEY}.go", icon=":material/science:"):
        making.begin(f"{KEY}.work", asked)
    words = making.words(asked)
    place = words.index("--like")
    line = [*words[:place], "--like", "selected.smi", *words[place + 2 * len(seeds) :]]
    command.show(line, note=f"`selected.smi` is a file with {len(seeds)} of the selected {kind}.")


@st.cache_data(max_entries=5, show_spinner="Placing molecules on the map, once per model …")
def _background(name: str, version: tuple[str, int, int], given: Path | None) -> _Background:
    """Molecules and the plane of their latents."""
    model = MolVAE(models.load(name))
    known = training.of(name)
    if given is not None:
        smiles, kind = read_smiles([given]), UPLOADED
    elif known is not None:
        smiles, kind = known.smiles, TRAINED
    else:
        with models.working():
            smiles = model.generate(DRAWN, critic=False, workers=1)["smiles"].tolist()
        kind = SAMPLES
    smiles = smiles[:: -(-len(smiles) // MOST)] if smiles else []
    with models.working():
        means = model.encode(smiles, invalid="nan")
    placed = ~np.isnan(means[:, 0])
    plane = Plane.fit(means[placed])
    kept = [text for text, good in zip(smiles, placed, strict=True) if good]
    return _Background(kind, kept, plane, plane.place(means[placed]))


@st.cache_data(max_entries=5, show_spinner="Placing the molecules …")
def _made(name: str, smiles: tuple[str, ...], _plane: Plane, kind: str) -> NDArray[np.float64]:
    with models.working():
        return _plane.place(MolVAE(models.load(name)).encode(smiles, invalid="nan"))


def _rows(
    name: str, back: _Background, made: tuple[tuple[str, str], ...], color: str
) -> pd.DataFrame:
    """Every molecule with its place, origin and the property that colors it."""
    frame = pd.DataFrame({"smiles": back.smiles, "origin": back.kind})
    points = back.points
    if made:
        more = pd.DataFrame(made, columns=["smiles", "origin"])
        frame = pd.concat([frame, more], ignore_index=True)
        points = np.vstack([points, _made(name, tuple(s for s, _ in made), back.plane, back.kind)])
    frame["first"], frame["second"] = points[:, 0], points[:, 1]
    frame["made"] = frame["origin"] != back.kind
    frame[color] = _values(tuple(frame["smiles"]), color)
    return frame.dropna(subset=["first"])


@st.cache_data(max_entries=5, show_spinner=False)
def _values(smiles: tuple[str, ...], name: str) -> list[float]:
    """A property of molecules, NaN where there is no molecule."""
    mols = map(chem.parse, smiles)
    return [math.nan if mol is None else float(compute(mol, [name])[0]) for mol in mols]
