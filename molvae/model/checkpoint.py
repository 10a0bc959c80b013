"""A model folder: written whole or not at all, loaded without running code, verified.

Folder: ``config.json`` (sizes, provenance, size and sha256 of every other file but the card),
``model.safetensors`` (weights), ``vocab.json`` (tokens in id order, SELFIES bonding limits),
``conditions.json`` (names, units, statistics), ``card.md`` (for people). Optional: ``realism.*``
(the realism critic), ``plausibility.safetensors`` (known ring systems and atom environments),
``predictors.*`` (predictors of measured columns).
"""

from __future__ import annotations

import json
import os
import shutil
import textwrap
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from molvae.chem.vocabulary import SPECIAL_TOKENS, Vocabulary, grammar_table, read_vocabulary
from molvae.config import ModelConfig
from molvae.errors import FileError, ModelFolderError, similar_paths, suggest
from molvae.model.conditions import ConditionSet
from molvae.model.cvae import CVAE, current_name
from molvae.model.hub import SCHEME, pull
from molvae.model.parts import PARTS, OptionalParts, verify_files
from molvae.model.provenance import Training
from molvae.predict.store import FILES, Predictors
from molvae.realism.critic import RealismCritic
from molvae.realism.plausibility import Plausibility
from molvae.runtime.files import atomic_binary, fingerprint, scratch_folder, write_json
from molvae.runtime.untrusted import MAX_JSON_BYTES, read_json, require_file
from molvae.runtime.workdir import name_in_errors, replace_folder

__all__ = [
    "SavedModel",
    "find_model",
    "folder_kind",
    "load_model",
    "load_predictors",
    "load_state",
    "require_model_place",
    "save_model",
    "save_state",
    "shipped_models",
]

SCHEMA = 1
SHIPPED = Path(__file__).parents[1] / "pretrained"
DEFAULT = "default"
TRIES = 20  # to load a folder that is replaced meanwhile
MAX_WEIGHT = 1e5  # far above any weight, far below what overflows in a product
PAUSE = 0.05  # seconds; without an exchange in one step, a folder is gone for a moment
MAX_TOKENS = 2000  # the longest molecule the configuration allows in training
# Of models from before there were derivation features and modulation.
WITHOUT = {"derivation": False, "modulation": False}
MAX_SIZE = 65_536  # units of a layer; far above any use, far below what exhausts memory


@dataclass(frozen=True)
class SavedModel:
    """Everything generation needs."""

    network: CVAE
    vocabulary: Vocabulary
    constraints: dict[str, int]  # SELFIES bonding limits
    conditions: ConditionSet
    training: dict[str, Any]  # provenance: configuration, data, figures, versions
    card: str = ""
    max_tokens: int = 120  # the longest molecule in training, in tokens
    critic: RealismCritic | None = None  # of these very weights
    plausibility: Plausibility | None = None
    predictors: Predictors | None = None
    # (V,) training molecules that have each token, -1 unknown; None in models of earlier versions.
    token_counts: NDArray[np.int64] | None = None

    @cached_property
    def never(self) -> NDArray[np.int64]:
        """Ids of tokens that no training molecule has, which are never drawn."""
        if self.token_counts is None:
            return np.empty(0, dtype=np.int64)
        ids = np.flatnonzero(self.token_counts == 0).astype(np.int64)
        return ids[ids >= len(SPECIAL_TOKENS)]

    def with_network(self, network: CVAE, conditions: ConditionSet) -> SavedModel:
        """This model with other weights and conditions; its critic says nothing about those."""
        return replace(self, network=network, conditions=conditions, critic=None)


def save_model(folder: str | Path, model: SavedModel, *, half: bool = False) -> None:
    """Write a model folder under a temporary name and rename it; an old one is replaced.

    ``half`` stores 16-bit weights. The same model gives the same bytes: no time, host or path.
    """
    folder = Path(folder)
    scratch = scratch_folder(folder)
    try:
        with name_in_errors(folder):
            _write_parts(scratch, model, torch.float16 if half else torch.float32)
            replace_folder(scratch, folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def require_model_place(folder: str | Path) -> None:
    """Refuse to replace anything but an empty folder or another model folder.

    Raises:
        FileError: ``folder`` is a file, or holds something else.
    """
    folder = Path(folder)
    if not os.path.lexists(folder) or folder_kind(folder) == "molvae-model":
        return
    if not folder.is_dir() or any(folder.iterdir()):
        kind = "a run folder" if folder_kind(folder) == "molvae-run" else "not a model folder"
        raise FileError(f"'{folder}': exists and is {kind}; not overwriting it, choose a new name")


def _write_parts(folder: Path, model: SavedModel, dtype: torch.dtype) -> None:
    """Write all files of a model folder and flush them to disk."""
    tensors = {
        name: value.detach().to("cpu", dtype).contiguous()
        for name, value in model.network.state_dict().items()
    }
    # Written here, since safetensors does not raise an OSError when the disk is full.
    (folder / "model.safetensors").write_bytes(save(tensors))
    vocabulary: dict[str, Any] = {"tokens": list(model.vocabulary.tokens)}
    vocabulary["constraints"] = model.constraints
    if model.token_counts is not None:
        vocabulary["molecules"] = [n if n >= 0 else None for n in model.token_counts.tolist()]
    write_json(folder / "vocab.json", {"schema": SCHEMA, **vocabulary})
    write_json(folder / "conditions.json", {"schema": SCHEMA, **model.conditions.to_json()})
    (folder / "card.md").write_text(model.card, encoding="utf-8")
    parts = OptionalParts(model.critic, model.plausibility, model.predictors)
    names = (*PARTS, *parts.save(folder))
    config = {
        "schema": SCHEMA,
        "kind": "molvae-model",
        "model": model.network.config.model_dump(mode="json"),
        "max_tokens": model.max_tokens,
        "files": {name: fingerprint(folder / name) for name in names},
        "training": model.training,
    }
    write_json(folder / "config.json", config)


def shipped_models() -> list[str]:
    """Names of the models that are shipped with the package."""
    if not SHIPPED.is_dir():
        return []
    return sorted(p.parent.name for p in SHIPPED.glob("*/config.json"))


def find_model(name: str | Path | None) -> Path:
    """The model folder a user means: a model folder, a run folder, a shipped name, or None.

    ``hf://OWNER/NAME`` is a model on the hub, which is downloaded once.
    """
    if name is None:
        name = SHIPPED / DEFAULT
    if isinstance(name, str) and name.startswith(SCHEME):
        name = pull(name)
    if not isinstance(name, str | os.PathLike):
        raise ModelFolderError(f"model: got {name!r:.40}, expected a folder or a model's name")
    path = Path(name)
    if not os.path.exists(path) and str(name) in shipped_models():
        return SHIPPED / str(name)
    for candidate in (path / "model", path):
        if folder_kind(candidate) == "molvae-model":
            return candidate
    if not os.path.exists(path):
        shipped = f", and no shipped model of that name: {suggest(str(name), shipped_models())}"
        near = similar_paths(path, folders=True)
        raise ModelFolderError(f"'{str(name)[:200]}': no such folder{near or shipped}")
    if folder_kind(path) == "molvae-run":
        raise ModelFolderError(
            f"'{name}': this run has no model yet; its training has not reached a validation"
        )
    present = sorted(p.name for p in path.iterdir()) if path.is_dir() else []
    more = f" and {len(present) - 5} more" if len(present) > 5 else ""
    raise ModelFolderError(
        f"'{name}': not a model or run folder; expected config.json, {', '.join(PARTS)}, "
        f"found {', '.join(present[:5]) or 'nothing'}{more}"
    )


def folder_kind(folder: Path) -> str | None:
    """The ``kind`` in a folder's ``config.json`` (``molvae-model``, ``molvae-run``), or None."""
    path = folder / "config.json"
    try:
        if not path.is_file() or path.stat().st_size > MAX_JSON_BYTES:
            return None  # a device has no size and no end
        return str(json.loads(path.read_text(encoding="utf-8")).get("kind"))
    except (OSError, ValueError, AttributeError, RecursionError):
        return None


def load_model(name: str | Path | None = None) -> SavedModel:
    """Load and verify a model folder, run folder or shipped model; no code of it is run.

    If the folder is replaced meanwhile, as a training does, it is loaded again.
    """
    for attempt in range(TRIES):
        try:
            folder = find_model(name)
        except ModelFolderError:
            if attempt:
                raise
            time.sleep(PAUSE)
            continue
        before = _identity(folder)
        try:
            model = _load(folder)
        except (ModelFolderError, OSError):
            if _identity(folder) == before:
                raise
        else:
            if _identity(folder) == before:
                return model
    raise ModelFolderError(f"'{name}': replaced by another process {TRIES} times while it was read")


def _identity(folder: Path) -> tuple[int, int] | None:
    """Changes when the folder is replaced."""
    try:
        status = (folder / "config.json").stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _load(folder: Path) -> SavedModel:
    config = read_json(folder / "config.json", schema=SCHEMA)
    names = verify_files(folder, config)
    try:
        if not config["model"].get("tally_size"):
            raise ModelFolderError(
                f"'{folder}': config.json: model.tally_size: got none, expected at least 1; models "
                "without a memory are no longer read: train it again"
            )
        sizes = ModelConfig.model_validate({**WITHOUT, **config["model"]})
        max_tokens = int(config["max_tokens"])
        training = dict(config.get("training") or {})
    except (
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
        OverflowError,
        ValidationError,
    ) as error:
        raise ModelFolderError(f"'{folder}': config.json: {_fault(error)}") from None
    if not 1 <= max_tokens <= MAX_TOKENS:
        raise ModelFolderError(
            f"'{folder}': config.json: max_tokens is {max_tokens}, expected 1 to {MAX_TOKENS}"
        )
    try:
        Training.model_validate(training)
    except ValidationError as error:
        raise ModelFolderError(f"'{folder}': config.json: {_fault(error, 'training')}") from None
    try:
        vocabulary, constraints = read_vocabulary(folder / "vocab.json")
    except FileError as error:
        raise ModelFolderError(str(error)) from None
    conditions = ConditionSet.from_json(read_json(folder / "conditions.json"))
    try:
        grammar = grammar_table(vocabulary.tokens, constraints) if sizes.derivation else None
    except ValueError as error:  # raised by selfies
        raise ModelFolderError(f"'{folder}': vocab.json: constraints: {error}") from None
    network = _load_network(
        folder / "model.safetensors", sizes, len(vocabulary), len(conditions), grammar
    )
    card = folder / "card.md"
    if card.is_file():
        require_file(card, MAX_JSON_BYTES)
    return SavedModel(
        network=network,
        vocabulary=vocabulary,
        constraints=constraints,
        conditions=conditions,
        training=training,
        card=card.read_text(encoding="utf-8", errors="replace") if card.is_file() else "",
        max_tokens=max_tokens,
        token_counts=_token_counts(folder / "vocab.json", len(vocabulary)),
        **OptionalParts.load(folder, names, conditions)._asdict(),
    )


def _token_counts(path: Path, size: int) -> NDArray[np.int64] | None:
    """Training molecules that have each token, if the file says so; null: unknown."""
    counts = read_json(path).get("molecules")
    if counts is None:
        return None
    sound = isinstance(counts, list) and all(
        n is None or (type(n) is int and 0 <= n < 1 << 62) for n in counts
    )
    if not sound or len(counts) != size:
        raise ModelFolderError(
            f"'{path}': molecules: expected {size} counts, one for each token, or no such field"
        )
    return np.asarray([-1 if n is None else n for n in counts], dtype=np.int64)


def _load_network(
    path: Path,
    sizes: ModelConfig,
    vocabulary: int,
    conditions: int,
    grammar: NDArray[np.int64] | None,
) -> CVAE:
    """Weights into a network; names and shapes are compared before any memory is taken."""
    for name, value in sizes.model_dump().items():
        if value > MAX_SIZE:
            raise ModelFolderError(
                f"'{path.parent}': config.json: model.{name} is {value}, "
                f"expected at most {MAX_SIZE}"
            )
    with torch.device("meta"):
        network = CVAE(sizes, vocabulary, conditions, grammar)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    try:
        with safe_open(path, framework="pt") as handle:
            stored = {current_name(name): name for name in handle.keys()}  # noqa: SIM118
            shapes = {
                name: tuple(handle.get_slice(key).get_shape()) for name, key in stored.items()
            }
            for name in sorted(expected.keys() | shapes.keys()):
                if expected.get(name) != shapes.get(name):
                    raise ModelFolderError(
                        f"'{path}': tensor '{name}' has shape {shapes.get(name)}, expected "
                        f"{expected.get(name)} from config.json, vocab.json and conditions.json"
                    )
            tensors = {name: handle.get_tensor(key).float() for name, key in stored.items()}
    except (SafetensorError, OSError) as error:
        raise ModelFolderError(f"'{path}': not a safetensors file ({error})") from None
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ModelFolderError(f"'{path}': tensor '{name}' holds NaN or infinity")
        if tensor.numel() and (largest := float(tensor.abs().max())) > MAX_WEIGHT:
            raise ModelFolderError(
                f"'{path}': tensor '{name}' holds a weight of {largest:.2g}, expected at most "
                f"{MAX_WEIGHT:.0e}"
            )
    network.load_state_dict(tensors, strict=True, assign=True)
    return network.eval()


def load_predictors(name: str | Path | None = None) -> Predictors | None:
    """The predictors alone of what :func:`load_model` takes; None if the model has none."""
    folder = find_model(name)
    return Predictors.load(folder) if (folder / FILES[0]).is_file() else None


def save_state(path: str | Path, state: dict[str, Any]) -> None:
    """Write a training state to a temporary file, flush it to disk and rename it."""
    with atomic_binary(path) as handle:
        try:
            torch.save(state, cast("IO[bytes]", handle))
        except RuntimeError as error:  # torch's own error hides that the disk is full
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load_state(path: str | Path) -> dict[str, Any]:
    """Read a training state: tensors and plain values only, never code."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelFolderError(f"'{path}': not a training state ({_first_line(error)})") from None
    if not isinstance(state, dict):
        raise ModelFolderError(f"'{path}': not a training state")
    return state


def _fault(error: Exception, part: str = "model") -> str:
    """The fault in config.json, by the name of the field."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        got = textwrap.shorten(repr(first["input"]), 80, placeholder=" …")
        return f"{part}.{'.'.join(map(str, first['loc']))}: {first['msg']}, got {got}"
    if isinstance(error, KeyError):
        return f"no field {error}"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
