"""Which molecules a model is examined on: held out from its training, or not in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae.chem.vocabulary import Vocabulary
from molvae.config import DataConfig, validate
from molvae.data.dataset import Batch, Dataset, pad_tokens
from molvae.data.prepare import cached_dataset
from molvae.data.prepare.conditions import condition_names
from molvae.data.readers import read_rows
from molvae.errors import ConfigError, FileError, PropertyError
from molvae.model.checkpoint import SavedModel, folder_kind
from molvae.model.conditions import ConditionSet
from molvae.runtime.progress import say
from molvae.runtime.randomness import Draws

__all__ = ["HeldOut", "Origin", "held_out"]

UNKNOWN = "a token that the model does not know"
TRAINED = "in the training part of the model's own data"


@dataclass(frozen=True)
class HeldOut:
    """The sampled molecules, in the model's tokens and the order of its conditions."""

    vocabulary: Vocabulary
    rows: list[NDArray[np.int64]]  # ids of each molecule, without <bos> and <eos>
    values: NDArray[np.float32]  # (N, C) NaN = missing
    numbers: NDArray[np.int64]  # (N,) of each in its dataset: the address of its noise

    def lengths(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of ids of the given molecules, without <eos>."""
        return np.asarray([len(self.rows[i]) for i in items], dtype=np.int64)

    def batch(self, items: NDArray[np.int64]) -> Batch:
        """The given molecules, padded together."""
        inputs, targets, lengths = pad_tokens([self.rows[i] for i in items])
        return Batch(self.numbers[items], inputs, targets, lengths, self.values[items])


@dataclass
class Origin:
    """Where the molecules come from and what was left out, for the report."""

    dataset: str  # the dataset folder they were read from
    sources: list[dict[str, Any]]  # the molecule files it was made of
    split: str  # "test" or "valid" part of the run's own dataset; "all" of given files
    available: int = 0  # molecules the sample was drawn from
    n: int = 0  # molecules in the sample
    left_out: dict[str, int] = field(default_factory=dict)  # reason -> rows or molecules
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def held_out(
    model: SavedModel,
    folder: Path,
    *,
    test: str | Path | Sequence[str | Path] | None,
    number: int,
    draws: Draws,
    workers: int | None,
) -> tuple[HeldOut, Origin]:
    """A seeded sample of molecules that the model was not trained on, with their origin.

    Without ``test`` they are the test part, or else the validation part, of the dataset in the
    configuration of the run to which the model ``folder`` belongs.
    """
    own, why = _own_dataset(model, folder)
    if test is not None:
        dataset, origin = _given(model, test, workers)
        items = _untrained(model, dataset, own, origin)
    elif own is not None:
        dataset = own
        origin = Origin(str(own.folder), list(own.manifest["sources"]), "all")
        items = _held_out_part(own, origin)
    else:
        raise ConfigError(
            f"'{folder}': {why}; give molecules it was not trained on with --test FILE"
        )
    known, table = _known_tokens(dataset, model.vocabulary)
    kept = items[known[items]]
    if len(kept) < len(items):
        origin.left_out[UNKNOWN] = len(items) - len(kept)
    if not len(kept):
        reasons = "; ".join(f"{count:,} × {text}" for text, count in origin.left_out.items())
        raise FileError(f"'{origin.dataset}': no molecule is left to examine: {reasons or 'none'}")
    # Drawn as for the final metrics of training: the same seed gives the same molecules.
    chosen = kept[draws.permutation("final", len(kept))[:number]]
    origin.available, origin.n = len(kept), len(chosen)
    rows = [table[dataset.ids(int(i))] for i in chosen]
    values = _values(dataset, model.conditions, chosen, origin)
    return HeldOut(model.vocabulary, rows, values, chosen), origin


# The run's own dataset


def _own_dataset(model: SavedModel, folder: Path) -> tuple[Dataset | None, str]:
    """The dataset the model was trained on, or None and why it cannot be used."""
    run = folder.absolute().parent
    if folder.name != "model" or folder_kind(run) != "molvae-run":
        return None, "no run folder belongs to this model, so what it was not trained on is unknown"
    try:
        record = json.loads((run / "config.json").read_text(encoding="utf-8"))
        place = Path(record["dataset"]["folder"])
        dataset = Dataset(place)
    except (KeyError, TypeError, ValueError):
        return None, "config.json of its run does not say on what it was trained"
    except FileError as error:
        return None, f"the dataset of its run cannot be used ({error})"
    if dataset.content_hash != _trained_on(model).get("content_sha256"):
        return None, f"its dataset '{place}' is not what it was trained on"
    return dataset, ""


def _trained_on(model: SavedModel) -> dict[str, Any]:
    return dict(model.training.get("data") or {})


def _held_out_part(dataset: Dataset, origin: Origin) -> NDArray[np.int64]:
    """The test part, or else the validation part, of the dataset the model was trained on."""
    part = "test" if len(dataset.part("test")) else "valid"
    for name in ("train", "valid"):
        if name != part:
            origin.left_out[f"in the {name} part of the model's own data"] = len(dataset.part(name))
    origin.split = part
    if part == "valid":
        origin.notes.append(
            "the dataset has no test part: these molecules also chose which weights were kept"
        )
    return dataset.part(part)


# Files that were given


def _given(
    model: SavedModel, test: str | Path | Sequence[str | Path], workers: int | None
) -> tuple[Dataset, Origin]:
    """The given files, prepared as the model's training data were, or one dataset folder."""
    paths = [Path(path) for path in ([test] if isinstance(test, str | Path) else test)]
    if not paths:
        raise FileError("test: no file was given; name at least one file of molecules")
    notes: list[str] = []
    if len(paths) == 1 and paths[0].is_dir():
        dataset = Dataset(paths[0])
    else:
        dataset = _prepared(model, paths, workers, notes)
    manifest = dataset.manifest
    origin = Origin(str(dataset.folder), list(manifest["sources"]), "all", notes=notes)
    origin.left_out = {str(k): int(v) for k, v in dict(manifest.get("reasons") or {}).items()}
    if manifest.get("merged"):
        origin.left_out["equal to an earlier molecule"] = int(manifest["merged"])
    for name, entry in manifest["properties"].items():
        if entry.get("bad"):
            notes.append(f"{entry['bad']:,} cells of {name} are no value and count as missing")
    return dataset, origin


def _prepared(
    model: SavedModel, paths: list[Path], workers: int | None, notes: list[str]
) -> Dataset:
    config = _data_config(model, paths, notes)
    try:
        return cached_dataset(paths, config, workers=workers)
    except PropertyError as error:
        if not config.properties:
            raise
        # A column has no value at all: examine the rest without it.
        say(f"note: {error}; examining without the columns {', '.join(config.properties)}")
        notes.append(f"{error}: the columns {', '.join(config.properties)} were left out")
        builtin, _ = condition_names(config)
        update: dict[str, Any] = {
            key: {} for key in ("properties", "transforms", "relations", "units")
        }
        update["conditions"] = tuple(builtin)
        return cached_dataset(paths, config.model_copy(update=update), workers=workers)


def _data_config(model: SavedModel, paths: list[Path], notes: list[str]) -> DataConfig:
    """How to prepare test files: as in training, where that is known, with what columns they have.

    Changed as little as possible, so that the training files themselves hit the cache.
    """
    stored = (model.training.get("config") or {}).get("data")
    try:
        config = validate({"data": stored or {}}).data
    except ConfigError:
        config, stored = DataConfig(), None
    if not stored:
        notes.append(
            "how the training molecules were cleaned is not known: the default cleaning is used"
        )
    update: dict[str, Any] = {}
    if config.smiles_column and not _has(paths, config.smiles_column):
        update["smiles_column"] = None
    smiles_column = update.get("smiles_column", config.smiles_column)
    # A column not in the record is expected under the name of its condition.
    own = [c.name for c in model.conditions.conditions if not c.builtin]
    there = {
        name: column
        for name in own
        if _has(paths, smiles_column, column := config.properties.get(name, name))
    }
    absent = [name for name in own if name not in there]
    if absent:
        listing = ", ".join(f"'{name}'" for name in absent)
        notes.append(f"no column for {listing}: held-out values of it are not known")
    names = [c.name for c in model.conditions.conditions if c.builtin] + list(there)
    if set(names) != _names(config) or there != config.properties:
        update["properties"], update["conditions"] = there, tuple(names)
        update["transforms"] = {n: t for n, t in config.transforms.items() if n in there}
    # Columns about other columns, and about which rows to read, count where they are.
    for kind in ("relations", "units"):
        update[kind] = {
            name: column
            for name, column in getattr(config, kind).items()
            if name in there and _has(paths, smiles_column, column)
        }
    update["where"] = {c: v for c, v in config.where.items() if _has(paths, smiles_column, c)}
    if config.split not in ("random", "scaffold") and not _has(paths, smiles_column, config.split):
        update["split"] = "random"  # all of them are test molecules
    if there and config.bad_labels == "error":
        update["bad_labels"] = "missing"
    return config.model_copy(update=update)


def _names(config: DataConfig) -> set[str]:
    """The properties that a dataset of this configuration holds; none if it contradicts itself."""
    try:
        builtin, columns = condition_names(config)
    except PropertyError:
        return set()
    return {*builtin, *columns}


def _has(paths: list[Path], smiles_column: str | None, column: str | None = None) -> bool:
    """Whether every file has the column, its SMILES being in ``smiles_column``."""
    try:
        for path in paths:
            columns = [] if column is None else [column]
            read_rows(path, smiles_column=smiles_column, columns=columns).close()
    except FileError:
        return False
    return True


# Training molecules among those that were given


def _untrained(
    model: SavedModel, dataset: Dataset, own: Dataset | None, origin: Origin
) -> NDArray[np.int64]:
    """Those of the given molecules that the model was not trained on, as far as known."""
    everything = np.arange(len(dataset), dtype=np.int64)
    trained = _trained_on(model)
    if dataset.content_hash == trained.get("content_sha256"):
        origin.notes.append("these are the model's own training data: only their held-out part")
        return _held_out_part(dataset, origin)
    if own is not None:
        kept = everything[~_rows_in(own, dataset, everything)]
        if len(kept) < len(everything):
            origin.left_out[TRAINED] = len(everything) - len(kept)
        return kept
    known = {source.get("sha256") for source in trained.get("sources") or []}
    shared = [s["file"] for s in dataset.manifest["sources"] if s.get("sha256") in known]
    if not shared:
        origin.notes.append(
            "the model's training set is not available: molecules of it cannot be excluded"
        )
        return everything
    if _same_hash_split(model, dataset):
        origin.notes.append(f"'{shared[0]}' was trained on: only the part that was held out of it")
        return _held_out_part(dataset, origin)
    origin.notes.append(
        f"WARNING: '{shared[0]}' was trained on, and which of its molecules were held out is not "
        "known: these are figures of training molecules"
    )
    return everything


def _same_hash_split(model: SavedModel, dataset: Dataset) -> bool:
    """Whether this dataset splits a molecule as the training data did.

    A random split depends on the molecule and the two shares alone, not on the rest of the data.
    """
    options = [(model.training.get("config") or {}).get("data") or {}, dataset.manifest["options"]]
    plain = DataConfig().model_dump()
    names = ("split", "valid_fraction", "test_fraction")
    a, b = ([option.get(name, plain[name]) for name in names] for option in options)
    return a == b and a[0] == "random"


def _rows_in(own: Dataset, dataset: Dataset, items: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which molecules are in the training part of ``own``: the same tokens, the same molecule."""
    known, table = _known_tokens(dataset, own.vocabulary)
    present = np.zeros(len(items), dtype=np.bool_)
    wanted: dict[bytes, int] = {}
    for place, item in enumerate(items):
        if known[item]:
            wanted[table[dataset.ids(int(item))].astype(own.tokens.dtype).tobytes()] = place
    for item in own.part("train"):
        text = own.tokens[own.offsets[item] : own.offsets[item + 1]].tobytes()
        place_found = wanted.get(text)
        if place_found is not None:
            present[place_found] = True
    return present


def _known_tokens(
    dataset: Dataset, vocabulary: Vocabulary
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(which molecules hold no other tokens, ids in ``vocabulary`` of the dataset's ids or -1)."""
    names = {token: i for i, token in enumerate(vocabulary.tokens)}
    table = np.asarray([names.get(t, -1) for t in dataset.vocabulary.tokens], dtype=np.int64)
    known = np.ones(len(dataset), dtype=np.bool_)
    strange = np.flatnonzero((table < 0)[dataset.tokens])
    known[np.searchsorted(dataset.offsets, strange, side="right") - 1] = False
    return known, table


def _values(
    dataset: Dataset, conditions: ConditionSet, items: NDArray[np.int64], origin: Origin
) -> NDArray[np.float32]:
    """True values of the model's conditions, NaN where the dataset has none."""
    values = np.full((len(items), len(conditions)), np.nan, dtype=np.float32)
    for k, condition in enumerate(conditions.conditions):
        if condition.name not in dataset.names:
            if not any(f"'{condition.name}'" in text for text in origin.notes):
                origin.notes.append(
                    f"no column for '{condition.name}': held-out values of it are not known"
                )
            continue
        if condition.kind == "yesno" and dataset.kinds[condition.name] != "yesno":
            raise ConfigError(
                f"column '{condition.name}' holds numbers, but the model knows it as yes/no; "
                "give a file with yes/no, or without that column"
            )
        values[:, k] = dataset.values[items, dataset.names.index(condition.name)]
    return values
