"""Molecules drawn on the report page, with their nearest training molecules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from molvae.chem.hashing import keys_of
from molvae.evaluate import metrics
from molvae.evaluate.references import Reference
from molvae.evaluate.sample import Sample
from molvae.report import Card

__all__ = ["cards"]

DRAWABLE = 500  # characters; longer SMILES take seconds to draw and are unreadable


def cards(
    sample: Sample,
    values: Mapping[str, NDArray[np.float64]],
    train: Reference | None,
    wanted: int,
) -> list[Card]:
    """``wanted`` distinct molecules, drawn by the seed, in file order; ``values`` (n,) by name."""
    described = sample.described
    if not wanted or not len(described):
        return []
    _, first = np.unique(keys_of(described.smiles), return_index=True)
    is_first = np.zeros(len(described), dtype=bool)
    is_first[first] = True
    small = np.asarray([len(text) <= DRAWABLE for text in described.smiles])
    chosen = np.sort(sample.order[(is_first & small)[sample.order]][:wanted])
    plain = [
        Card(
            described.smiles[i],
            {name: float(column[i]) for name, column in values.items()},
            row=int(described.positions[i]) + 1,
        )
        for i in chosen
    ]
    if train is None or not len(train):
        return plain
    train.require("smiles.txt", "fingerprints.bin")
    similarity, where = metrics.nearest(described.fingerprints[chosen], train.fingerprints)
    return [
        replace(card, similarity=float(value), neighbor=train.smiles[at])
        for card, value, at in zip(plain, similarity, where, strict=True)
    ]
