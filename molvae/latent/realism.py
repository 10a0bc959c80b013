"""How realistic given molecules are in the eyes of a model's critic and plausibility table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from molvae import chem
from molvae.chem.realism_features import describe
from molvae.errors import ConfigError
from molvae.model.checkpoint import SavedModel
from molvae.model.given import cleaned

__all__ = ["Realism", "realism"]


class Realism(NamedTuple):
    """A molecule in the eyes of the critic and the table; NaN and empty where there is neither."""

    text: str  # the input
    rank: float  # share of the model's own samples that look less like training molecules
    unseen: str  # the first ring system or atom environment that no training molecule has
    note: str = ""  # why it cannot be judged


def realism(texts: Sequence[str], model: SavedModel) -> list[Realism]:
    """Judge SMILES, in order; they are cleaned as the training data were.

    Raises:
        ConfigError: the model has neither critic nor table.
    """
    critic, table = model.critic, model.plausibility
    if critic is None and table is None:
        raise ConfigError(
            "realism: this model has no realism critic and no plausibility table; run its molvae "
            "train command again with --resume"
        )
    result = []
    for text, smiles in zip(texts, cleaned(texts, model), strict=True):
        if not isinstance(smiles, str):
            result.append(Realism(text, math.nan, "", smiles.reason))
            continue
        mol = chem.parse(smiles)
        assert mol is not None  # it was cleaned
        facts, rank = describe(mol), math.nan
        if critic is not None:
            below = np.searchsorted(critic.quantiles, critic.logit(facts), side="left")
            rank = float(below / len(critic.quantiles))
        unseen = "" if table is None else table.refused(mol, facts=facts) or ""
        result.append(Realism(text, rank, unseen))
    return result
