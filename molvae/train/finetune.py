"""Initial weights of a training: random, or those of a model, perhaps for other conditions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from molvae.chem.vocabulary import Vocabulary, grammar_table
from molvae.config import Config, ModelConfig, TrainConfig, validate
from molvae.data.dataset import Dataset
from molvae.errors import ConfigError
from molvae.model.checkpoint import SavedModel
from molvae.model.conditions import ConditionSet
from molvae.model.cvae import CVAE
from molvae.runtime.progress import say

__all__ = [
    "adapted_conditions",
    "adapted_config",
    "adapted_dataset",
    "added_tokens",
    "first_network",
    "known_tokens",
    "note_rare_tokens",
]


# Settings of the loss that fine-tuning takes from the model's training.
OBJECTIVE = (
    "kl_weight",
    "kl_free",
    "distortion_target",
    "head_weight",
    "forecast_weight",
    "prior_share",
    "exact_share",
    "unconditioned_share",
)
FAR = 5.0  # standard deviations
FEW = 5  # molecules, below which a token is hardly learned
# Where a condition is read: zero for a new one, which then changes nothing at first.
UNUSED_AT_FIRST = ("context.0.weight", "forecast.gain")


def first_network(
    config: Config,
    vocabulary: Vocabulary,
    limits: dict[str, int],
    conditions: ConditionSet,
    model: SavedModel | None,
    counts: NDArray[np.int64] | None = None,
) -> CVAE:
    """The network before the first step; its random weights come from the seed alone.

    ``limits`` are the SELFIES bonding limits that tokens are read under. ``counts`` (V,) says how
    often each token occurs in the training molecules; tokens that the model lacks need it.
    """
    grammar = grammar_table(vocabulary.tokens, limits) if config.model.derivation else None
    # The global generator is left as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.train.seed)
        network = CVAE(config.model, len(vocabulary), len(conditions), grammar)
    if model is not None:
        _transplant(network, vocabulary, conditions, model, counts)
    return network


def known_tokens(dataset: Dataset, start: SavedModel | None) -> NDArray[np.int64]:
    """(V,) training molecules that have each token, with those of the start model; −1: unknown."""
    return added_tokens(dataset.token_counts("train", molecules=True), start)


def added_tokens(counts: NDArray[np.int64], start: SavedModel | None) -> NDArray[np.int64]:
    """(V,) ``counts`` of molecules that have each token, with those of the start model."""
    if start is None:
        return counts
    before = np.zeros_like(counts)
    size = len(start.vocabulary)
    before[:size] = -1 if start.token_counts is None else start.token_counts
    return np.where(before < 0, before, before + counts)


def note_rare_tokens(model: SavedModel, start: SavedModel | None) -> None:
    """Name the tokens that were learned from few molecules, if any."""
    if start is None or model.token_counts is None:
        return
    before = np.zeros_like(model.token_counts)
    before[: len(start.vocabulary)] = 1 if start.token_counts is None else start.token_counts
    pairs = zip(model.vocabulary.tokens, model.token_counts.tolist(), before.tolist(), strict=True)
    rare = [f"{token} ({count})" for token, count, old in pairs if not old and 0 < count < FEW]
    if rare:
        say(f"note: learned from fewer than {FEW} molecules: {', '.join(rare)}")


def adapted_config(config: Config, model: SavedModel, identity: str) -> Config:
    """The configuration with the sizes of the model; asking for others is an error.

    The weights of the loss stay as in the model's training unless they are set: another weight of
    the KL term, say, would turn the model into one of another kind.
    """
    # Dropout is no size and may change; parts that change nothing at first can be added.
    dropout = config.model.dropout
    sizes = model.network.config.model_copy(update={"dropout": dropout})
    added: dict[str, bool] = {
        name: True
        for name in ("derivation", "modulation")
        if name in config.model.model_fields_set and getattr(config.model, name)
    }
    sizes = sizes.model_copy(update=added)
    if config.model not in (ModelConfig(dropout=dropout), sizes):
        raise ConfigError(
            "the sizes of the network come from the model given with --from; "
            "leave out --preset and model.* settings"
        )
    return config.model_copy(
        update={"model": sizes, "start": identity, "train": _with_objective(config.train, model)}
    )


def _with_objective(options: TrainConfig, model: SavedModel) -> TrainConfig:
    """The options with what the model's training had of those that were not set."""
    before = model.training.get("config")
    before = before.get("train") if isinstance(before, dict) else None
    if not isinstance(before, dict):  # not made by a training
        return options
    kept = {
        name: before[name]
        for name in OBJECTIVE
        if name in before and name not in options.model_fields_set
    }
    return validate({"train": {**options.model_dump(), **kept}}).train


def adapted_dataset(dataset: Dataset, model: SavedModel, *, learn: bool = True) -> None:
    """Translate the dataset to the token ids of the model; unknown tokens follow them.

    Raises:
        ConfigError: its bonding limits differ, or it has unknown tokens and ``learn`` is false.
    """
    if dataset.constraints != model.constraints:
        raise ConfigError(
            f"'{dataset.folder}': prepared with other SELFIES bonding limits than the model's; "
            "prepare it with --vocabulary MODEL"
        )
    vocabulary = model.vocabulary.extended(dataset.vocabulary.tokens)
    unknown = vocabulary.tokens[len(model.vocabulary) :]
    listing = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
    if unknown and not learn:
        raise ConfigError(
            f"'{dataset.folder}': {len(unknown)} of its tokens are unknown to the model "
            f"({listing}); let the model learn them with --unknown-tokens learn, or prepare the "
            "dataset with --vocabulary MODEL --unknown-tokens reject"
        )
    if unknown:
        say(f"tokens that are new to the model: {len(unknown)} ({listing})")
    dataset.translate(vocabulary)


def adapted_conditions(conditions: ConditionSet, model: SavedModel) -> ConditionSet:
    """Conditions fitted to the new data, on the model's scale where it knows them."""
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
            rename = "; if it is another quantity, give it another name with -p"
            say(
                f"note: {condition.name} is about {middle:g} here and was about {old.mean:g} for "
                f"the model{'' if condition.builtin else rename}"
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


_ATOM = re.compile(
    r"\[(?P<bond>[=#/\\]?)(?P<isotope>\d*)(?P<element>[A-Z][a-z]?)(?P<rest>[^\[\]]*)\]"
)
_COUNT = re.compile(r"\[(?P<bond>[=#]?|[-/\\]{2})(?P<kind>Branch|Ring)\d\]")


def _relatives(token: str) -> Iterator[str]:
    """Simpler tokens that fit in the same place, the nearest first."""
    if count := _COUNT.fullmatch(token):  # before atoms: Branch is no bromine
        bond = count["bond"] if count["bond"] in "=#" else ""
        yield from (f"[{bond}{count['kind']}{number}]" for number in (1, 2, 3))
        yield from (f"[{count['kind']}{number}]" for number in (1, 2, 3))
    elif atom := _ATOM.fullmatch(token):
        bond = atom["bond"] if atom["bond"] in "=#" else ""
        if "@" in atom["rest"]:
            yield f"[{bond}{atom['element']}{re.sub('@+(H[0-9])?', '', atom['rest'])}]"
        yield f"[{bond}{atom['element']}]"
        yield f"[{atom['element']}]"
        yield f"[{bond}C]"
    yield "[C]"


def _origins(vocabulary: Vocabulary, known: Vocabulary) -> list[int]:
    """For each token the id of the known one whose weights it starts with."""
    ids = {token: i for i, token in enumerate(known.tokens)}
    return [
        next((ids[name] for name in (token, *_relatives(token)) if name in ids), len(ids) - 1)
        for token in vocabulary.tokens
    ]


def _relative_log_odds(origins: list[int], known: int, counts: NDArray[np.int64]) -> torch.Tensor:
    """How much less likely each new token is at first than its origin, as a change of the bias.

    A token never starts more likely than its origin, which may be missing in the new molecules.
    """
    smoothed = counts + 0.5
    ratios = smoothed[known:] / smoothed[origins[known:]]
    return torch.from_numpy(np.log(ratios)).clamp(max=0.0)


@torch.no_grad()
def _transplant(
    network: CVAE,
    vocabulary: Vocabulary,
    conditions: ConditionSet,
    model: SavedModel,
    counts: NDArray[np.int64] | None,
) -> None:
    """Copy weights; those of a condition follow its name, and a new one changes nothing at first.

    A new token starts as its nearest relative, but as rare next to it as in the new molecules.
    """
    origins, known = _origins(vocabulary, model.vocabulary), len(model.vocabulary)
    if counts is None and len(vocabulary) > known:
        raise ValueError("got tokens that the model lacks, expected their counts as well")
    old_names, new_names = model.conditions.names, conditions.names
    pairs = [(new_names.index(n), old_names.index(n)) for n in new_names if n in old_names]
    to, of = [new for new, _ in pairs], [old for _, old in pairs]
    old, slices, token_rows = (
        model.network.state_dict(),
        network.condition_slices(),
        network.token_rows(),
    )
    for name, value in network.state_dict().items():
        if name not in old:  # derivation features, modulation or a forecast that the model lacks
            value.zero_()
        elif name in slices:
            where = slices[name]
            if name in UNUSED_AT_FIRST:
                value.zero_()
            where.shared(value).copy_(where.shared(old[name]))
            if pairs:
                parts = where.parts(old[name], len(old_names))
                where.parts(value, len(new_names))[to] = parts[of]
        elif name in token_rows:
            value.copy_(old[name][origins])
            if name == "output.bias" and counts is not None:
                value[known:] += _relative_log_odds(origins, known, counts).to(value)
        else:
            value.copy_(old[name])
