"""What a model makes of one molecule: library calls, kept per molecule and model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import streamlit as st

from molvae import chem
from molvae.api import MolVAE
from molvae.app import models, plots, training
from molvae.chem.fingerprints import tanimoto
from molvae.chem.properties import PROPERTIES, compute
from molvae.latent.predict import predictors_of
from molvae.model.checkpoint import SavedModel
from molvae.model.conditions import ConditionSet
from molvae.model.given import cleaned
from molvae.report.axes import number

__all__ = ["About", "about"]


@dataclass
class About:
    """Facts about a molecule; ``fault`` says why the model cannot take it."""

    smiles: str  # as the model takes it: without salt, canonical
    properties: pd.DataFrame = field(default_factory=pd.DataFrame)
    predictions: pd.DataFrame = field(default_factory=pd.DataFrame)
    realism: float = math.nan  # share of the model's samples that are less realistic
    unseen: str = ""  # ring system or environment without training molecules
    rebuilt: str = ""  # SMILES that the model decodes from the molecule's latent
    similarity: float = math.nan  # of that to the molecule
    nats: float = math.nan  # −log p of the molecule under the model
    nearest: tuple[float, str] | None = None  # training molecule, where these are known
    fault: str = ""


def about(name: str, smiles: str) -> About:
    """Everything the model of that name says about a molecule."""
    return _about(name, models.version(name), smiles)


@st.cache_data(max_entries=100, show_spinner="Looking at the molecule …")
def _about(name: str, version: tuple[str, int, int], smiles: str) -> About:
    saved = models.load(name)
    known = training.of(name)
    with models.working():
        [molecule] = cleaned([smiles], saved)
        if not isinstance(molecule, str):
            return About(smiles, _properties(smiles, saved.conditions), fault=molecule.reason)
        facts = About(molecule, _properties(molecule, saved.conditions))
        _look(facts, saved)
        if known is not None and (near := known.nearest([molecule])):
            facts.nearest = near[0]
    return facts


def _look(facts: About, saved: SavedModel) -> None:
    model = MolVAE(saved)
    if saved.critic is not None or saved.plausibility is not None:
        judged = model.realism(facts.smiles).iloc[0]
        facts.realism, facts.unseen = float(judged["realism"]), str(judged["unseen"])
    facts.nats = float(model.score(facts.smiles, workers=0)["nats"].iloc[0])
    [facts.rebuilt] = model.decode(model.encode(facts.smiles))
    pair = [chem.parse(text) for text in (facts.smiles, facts.rebuilt)]
    if facts.rebuilt and pair[0] is not None and pair[1] is not None:
        prints = chem.fingerprints([pair[0], pair[1]])
        facts.similarity = float(tanimoto(prints[:1], prints[1:])[0, 0])
    if saved.predictors is not None:
        facts.predictions = _predictions(model, saved, facts.smiles)


def _properties(smiles: str, conditions: ConditionSet) -> pd.DataFrame:
    """RDKit's properties and where they lie among the training values."""
    mol = chem.parse(smiles)
    values = compute(mol, PROPERTIES).tolist() if mol is not None else []
    rows = []
    for (name, builtin), value in zip(PROPERTIES.items(), values, strict=False):
        place = ""
        if name in conditions.names:
            quantiles = np.asarray(conditions[name].quantiles)
            below = (quantiles < value).mean() + 0.5 * (quantiles == value).mean()
            outside = not quantiles[0] <= value <= quantiles[-1]
            place = "outside" if outside else f"{below:.0%}"
        rows.append((plots.labelled(name), builtin.description, number(value), place))
    return pd.DataFrame(rows, columns=["property", "meaning", "value", "training values below"])


def _predictions(model: MolVAE, saved: SavedModel, smiles: str) -> pd.DataFrame:
    """Predicted columns with interval, domain and nearest measured molecule."""
    row = model.predict(smiles, workers=0).iloc[0]
    rows = []
    for name, predictor in predictors_of(saved).items():
        value = f"{row[name]:.0%} yes" if predictor.kind != "number" else number(row[name])
        low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
        interval = "" if low is None or high is None else f"{number(low)} to {number(high)}"
        rows.append(
            (
                name,
                value,
                interval,
                str(row[f"{name}_inside"]),
                f"{row[f'{name}_similarity']:.2f}",
                number(row[f"{name}_nearest_value"]),
                str(row[f"{name}_nearest"]),
            )
        )
    columns = [
        "column",
        "prediction",
        "interval",
        "inside the domain",
        "similarity",
        "measured there",
        "nearest measured molecule",
    ]
    return pd.DataFrame(rows, columns=columns)
