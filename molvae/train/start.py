"""Where training starts: from random weights, or from a model that knows other conditions."""

from __future__ import annotations

from dataclasses import replace

import torch

from molvae.checkpoint import SavedModel
from molvae.conditions import ConditionSet
from molvae.config import Config, ModelConfig
from molvae.dataset import Dataset
from molvae.errors import ConfigError
from molvae.model import CVAE
from molvae.progress import say

__all__ = ["adapted_conditions", "adapted_config", "adapted_dataset", "first_network"]


FAR = 5.0  # standard deviations
FORECASTS = {
    "forecast.gain",
    *(f"forecast.{name}.{kind}" for name in ("mean", "log_spread", "slope")
      for kind in ("weight", "bias")),
}  # fmt: skip


def first_network(
    config: Config, vocabulary: int, conditions: ConditionSet, model: SavedModel | None
) -> CVAE:
    """The network before the first step; its random weights come from the seed alone."""
    # The global generator is left as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.train.seed)
        network = CVAE(config.model, vocabulary, len(conditions))
    if model is not None:
        _transplant(network, conditions, model)
    return network


def adapted_config(config: Config, model: SavedModel, identity: str) -> Config:
    """The configuration with the sizes of the model; asking for others is an error."""
    # Dropout is no size, and may be another.
    dropout = config.model.dropout
    sizes = model.network.config.model_copy(update={"dropout": dropout})
    if config.model not in (ModelConfig(dropout=dropout), sizes):
        raise ConfigError(
            "the sizes of the network come from the model given with --from; "
            "leave out --preset and model.* settings"
        )
    return config.model_copy(update={"model": sizes, "start": identity})


def adapted_dataset(dataset: Dataset, model: SavedModel) -> None:
    """Let the dataset speak in the token ids of the model."""
    if dataset.constraints != model.constraints:
        raise ConfigError(
            f"'{dataset.folder}': prepared with other SELFIES bonding limits than the model's; "
            "prepare it with --vocabulary MODEL"
        )
    unknown = [t for t in dataset.vocabulary.tokens if t not in model.vocabulary.tokens]
    if unknown:
        listing = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
        raise ConfigError(
            f"'{dataset.folder}': {len(unknown)} of its tokens are unknown to the model "
            f"({listing}); prepare it with --vocabulary MODEL --unknown-tokens reject"
        )
    dataset.translate(model.vocabulary)


def adapted_conditions(conditions: ConditionSet, model: SavedModel) -> ConditionSet:
    """Conditions fitted to the new data, on the scale of the model where it knows them."""
    known = {condition.name: condition for condition in model.conditions.conditions}
    for condition in conditions.conditions:
        old = known.get(condition.name)
        if old is not None and old.kind != condition.kind:
            raise ConfigError(
                f"condition '{condition.name}' is a {condition.kind} here and a {old.kind} in the "
                "model; give the column another name with -p NAME=COLUMN"
            )
        middle = condition.quantiles[len(condition.quantiles) // 2]
        if old is not None and abs(middle - old.mean) > FAR * old.std:
            say(
                f"note: {condition.name} is about {middle:g} here and was about {old.mean:g} for "
                "the model; if it is another quantity, give it another name with -p"
            )
    scaled = [
        replace(c, mean=known[c.name].mean, std=known[c.name].std) if c.name in known else c
        for c in conditions.conditions
    ]
    dropped = [name for name in known if name not in conditions.names]
    new = [name for name in conditions.names if name not in known]
    if dropped:
        say(f"conditions of the model that the data lack, dropped: {', '.join(dropped)}")
    if new:
        say(f"new conditions: {', '.join(new)}")
    return ConditionSet(scaled, conditions.correlations)


@torch.no_grad()
def _transplant(network: CVAE, conditions: ConditionSet, model: SavedModel) -> None:
    """Copy weights; those of a condition go with its name, and a new one has no say at first."""
    old_names, new_names = model.conditions.names, conditions.names
    pairs = [(new_names.index(n), old_names.index(n)) for n in new_names if n in old_names]
    old, count, before = model.network.state_dict(), len(new_names), len(old_names)
    fixed = network.config.latent_size + 3  # inputs of the context that are not conditions
    for name, value in network.state_dict().items():
        given = old[name]
        if name == "context.0.weight":
            value[:, :fixed] = given[:, :fixed]
            value[:, fixed:] = 0.0
            for to, of in pairs:
                value[:, fixed + to] = given[:, fixed + of]
                value[:, fixed + count + to] = given[:, fixed + before + of]
        elif name in ("head.2.weight", "head.2.bias"):
            for to, of in pairs:
                value[to], value[count + to] = given[of], given[before + of]
        elif name in FORECASTS:
            # Rows of a condition; a new one is not listened to at first.
            if name == "forecast.gain":
                value.zero_()
            rows, others = value.view(count, -1), given.view(before, -1)
            for to, of in pairs:
                rows[to] = others[of]
        else:
            value.copy_(given)
