"""The columns of a dataset that a run trains on, as conditions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from molvae.chem.properties import PROPERTIES, require_no_property
from molvae.config import Config
from molvae.data.columns import parse_transform
from molvae.data.dataset import Dataset
from molvae.data.prepare.conditions import expand_conditions
from molvae.errors import ConfigError, PropertyError
from molvae.model.checkpoint import SavedModel
from molvae.model.conditions import ConditionSet, install_advice
from molvae.runtime.progress import say
from molvae.runtime.randomness import Draws
from molvae.train.finetune import adapted_conditions

__all__ = ["fitted_conditions", "known_columns"]

SAMPLE = 1_000_000  # molecules: enough for a distribution; ten million would fill the memory


def known_columns(dataset: Dataset, config: Config) -> list[int]:
    """Numbers of the columns to train on: those requested, or all."""
    wanted = expand_conditions(config.data.conditions)
    wanted = dataset.names if wanted is None else wanted
    missing = [name for name in wanted if name not in dataset.names]
    if missing:
        raise ConfigError(
            f"condition '{missing[0]}' is not in the dataset, which has {', '.join(dataset.names)}"
        )
    return [dataset.names.index(name) for name in wanted]


def fitted_conditions(
    dataset: Dataset,
    columns: Sequence[int],
    items: NDArray[np.int64],
    draws: Draws,
    start: SavedModel | None,
) -> ConditionSet:
    """Conditions of these columns, fitted to the molecules, on the scale of ``start`` if given."""
    if len(items) > SAMPLE:
        items = items[np.sort(draws.permutation("fit", len(items))[:SAMPLE])]
    values = dataset.values[np.ix_(items, np.asarray(columns, dtype=np.int64))]
    transforms = dataset.manifest["options"].get("transforms", {})
    units = {name: parse_transform(text).unit for name, text in transforms.items()}
    names = [dataset.names[c] for c in columns]
    for name in names:
        if name in dataset.manifest["options"]["properties"]:
            require_no_property(name, f"'{dataset.folder}'")
        elif name not in PROPERTIES:
            raise PropertyError(
                f"property '{name}' of the dataset is neither built in nor of an installed "
                f"package; {install_advice(name)}, or leave it out with --conditions"
            )
    fitted = ConditionSet.fit(names, values, dataset.kinds, units)
    constant = [c.name for c in fitted.conditions if c.seen[0] == c.seen[1]]
    if constant:
        say(
            f"note: all training molecules have the same value of {', '.join(constant)}: the model "
            "learns nothing from it; --conditions leaves it out"
        )
    return fitted if start is None else adapted_conditions(fitted, start)
