"""The training molecules of a model, where they are on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from molvae import chem
from molvae.app import models
from molvae.evaluate.metrics.similarity import nearest
from molvae.train.run_folder import dataset_of

__all__ = ["Training", "of", "why_no_nearest"]

MOST = 50_000  # molecules with fingerprints: a few seconds, once


@dataclass(frozen=True)
class Training:
    """Training molecules with their values and fingerprints."""

    smiles: list[str]
    names: list[str]  # of the columns of `values`
    values: NDArray[np.float32]  # (N, C), NaN where missing
    prints: NDArray[np.uint8]  # (N, bytes); of no molecule if there are too many

    def nearest(self, smiles: Sequence[str]) -> list[tuple[float, str]]:
        """Tanimoto similarity and SMILES of the nearest one, of each molecule."""
        mols = [mol for text in smiles if (mol := chem.parse(text)) is not None]
        if not len(self.prints) or len(mols) < len(smiles):
            return []
        similarity, where = nearest(chem.fingerprints(mols), self.prints)
        return [(float(s), self.smiles[i]) for s, i in zip(similarity, where, strict=True)]


def of(name: str) -> Training | None:
    """The training molecules of a run; None for a model without its dataset."""
    return _of(name, models.version(name))


def why_no_nearest(name: str) -> str:
    """Why the nearest training molecule of a model is unknown, in a sentence; else empty."""
    known = of(name)
    if known is None:
        return (
            "The nearest training molecule is not shown: the training molecules of this model are "
            "not on this computer; those of a model that you train are."
        )
    if not len(known.prints):
        return (
            f"The nearest training molecule is not shown: this model has {len(known.smiles):,} "
            f"training molecules, more than the {MOST:,} that are searched."
        )
    return ""


@st.cache_resource(max_entries=3, show_spinner="Reading the training molecules …")
def _of(name: str, version: tuple[str, int, int]) -> Training | None:
    dataset = dataset_of(name)
    if dataset is None:
        return None
    items = dataset.part("train")
    smiles = dataset.smiles(items)
    mols = [mol for text in smiles[: MOST + 1] if (mol := chem.parse(text)) is not None]
    prints = chem.fingerprints(mols if len(mols) == len(smiles) else [])
    return Training(smiles, dataset.names, np.asarray(dataset.values[items]), prints)
