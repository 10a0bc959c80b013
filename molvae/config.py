"""Every setting, with a comment; reading settings from TOML and options.

Precedence, weakest first: the defaults here, ``--preset``, ``--config FILE.toml``,
``--set key=value``, other options of the command line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from molvae.errors import ConfigError, suggest

__all__ = [
    "PRESETS",
    "CleaningConfig",
    "Config",
    "DataConfig",
    "ModelConfig",
    "TrainConfig",
    "differences",
    "load_config",
    "parse_duration",
    "validate",
]


_TOGETHER = "together"  # the kind of an error that involves several values


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=()
    )


class CleaningConfig(_Section):
    """Which molecules are kept, and in which form; the defaults suit medicinal chemistry."""

    # "rdkit": normalize, keep the largest organic fragment, neutralize. "chembl": the ChEMBL
    # database's pipeline (extra `chembl`). "none": leave molecules as written.
    standardize: Literal["rdkit", "chembl", "none"] = "rdkit"
    # Keep stereochemistry.
    stereo: bool = True
    # Molecules with other elements are rejected.
    elements: tuple[str, ...] = (
        "B", "Br", "C", "Cl", "F", "H", "I", "N", "O", "P", "S", "Se", "Si",
    )  # fmt: skip
    # Smallest and largest number of heavy atoms.
    min_heavy_atoms: int = Field(3, ge=1)
    max_heavy_atoms: int = Field(60, ge=1)
    # Keep molecules with isotope labels; false rejects them.
    isotopes: bool = False
    # Keep molecules that are still charged after neutralization; false rejects them.
    charged: bool = True

    @model_validator(mode="after")
    def _some_size_fits(self) -> Self:
        if self.min_heavy_atoms > self.max_heavy_atoms:
            raise PydanticCustomError(
                _TOGETHER,
                "min_heavy_atoms {low} exceeds max_heavy_atoms {high}",
                {"low": self.min_heavy_atoms, "high": self.max_heavy_atoms},
            )
        return self


class DataConfig(_Section):
    """Reading and preparing molecules."""

    # Column with the SMILES; by default found by its usual names.
    smiles_column: str | None = None
    # Measured columns to condition on: condition name -> column of the file.
    properties: dict[str, str] = {}
    # Built-in properties to condition on; by default all of them.
    conditions: tuple[str, ...] | None = None
    # A cell that is no number, yes/no or gap: stop, reject the row, or treat it as missing.
    bad_labels: Literal["error", "reject", "missing"] = "error"
    # A censored value such as ">10000": treat it as missing, or use its limit.
    censored: Literal["missing", "limit"] = "missing"
    # Condition name -> logarithm of its column: log10 or neglog10, with a unit as in neglog10:nM.
    transforms: dict[str, str] = {}
    # Only rows with one of these values in a column: column -> values.
    where: dict[str, tuple[str, ...]] = {}
    # Condition name -> column with the relation of its values (=, >, ~), or with their unit.
    relations: dict[str, str] = {}
    units: dict[str, str] = {}
    # Largest number of SELFIES symbols of a molecule.
    max_tokens: int = Field(120, ge=4, le=2000)
    # Molecules with tokens that the given vocabulary lacks: stop, reject them, or (in fine-tuning)
    # learn the tokens.
    unknown_tokens: Literal["error", "reject", "learn"] = "error"
    # Time limit per molecule in seconds; slower molecules are rejected.
    timeout: float = Field(20.0, ge=0.1, le=86_400)
    # How molecules are held out: "random" (by a hash of the molecule), "scaffold" (no scaffold in
    # two splits), or the name of a column with train, valid or test.
    split: str = Field("random", min_length=1)
    # Fractions of the molecules held out for validation and for testing.
    valid_fraction: float = Field(0.05, gt=0, lt=0.5)
    test_fraction: float = Field(0.05, ge=0, lt=0.5)
    cleaning: CleaningConfig = CleaningConfig()

    @model_validator(mode="after")
    def _transforms_have_columns(self) -> Self:
        for kind in ("transform", "relation", "unit"):
            for name in getattr(self, f"{kind}s"):
                if name not in self.properties:
                    raise PydanticCustomError(
                        _TOGETHER,
                        "{kind} of '{name}': expected a name given with -p, of {columns}",
                        {"kind": kind, "name": name, "columns": list(self.properties)},
                    )
        return self


class ModelConfig(_Section):
    """Sizes of the network."""

    # Latent dimensions Z.
    latent_size: int = Field(64, ge=1)
    # Size of the token embedding, shared by encoder and decoder.
    embedding_size: int = Field(128, ge=1)
    # Hidden units of the encoder GRU, in each direction.
    encoder_size: int = Field(256, ge=1)
    # Hidden units and layers of the decoder GRU.
    decoder_size: int = Field(512, ge=1)
    decoder_layers: int = Field(1, ge=1, le=8)
    # Add to each token the state of the SELFIES derivation: digits that a number still needs, bonds
    # and symbols left, branch depth, number of atoms.
    derivation: bool = True
    # Let the context scale and shift the output of the last decoder layer.
    modulation: bool = True
    # Memory of the decoder, read together with its state when a token is chosen: width of the sums
    # over the tokens so far, width of the attention to them (all heads together), and width of the
    # readout layer.
    tally_size: int = Field(64, ge=1)
    attention_size: int = Field(128, ge=1)
    attention_heads: int = Field(2, ge=1)
    readout_size: int = Field(256, ge=1)
    # Rank of the effect of the next token on the decoder's forecast of the properties.
    forecast_rank: int = Field(8, ge=1)
    # Width of the network that maps latent, noise level and conditions to the decoder's context.
    context_size: int = Field(256, ge=1)
    # Width of the property head.
    head_size: int = Field(128, ge=1)
    # Dropout rate at the decoder's output, with one mask per molecule.
    dropout: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.attention_size % self.attention_heads:
            raise PydanticCustomError(
                _TOGETHER,
                "attention_size {size} is no multiple of attention_heads {heads}",
                {"size": self.attention_size, "heads": self.attention_heads},
            )
        return self


class TrainConfig(_Section):
    """The training run."""

    # Budget: passes over the data (may be a fraction), or seconds of training, whichever is reached
    # first. By default 30 passes, and for small data at least 6,000 steps.
    epochs: float | None = Field(None, gt=0)
    max_time: float | None = Field(None, gt=0)
    # Molecules per step; by default 64 for up to 50,000 training molecules, else 256.
    batch_size: int | None = Field(None, ge=1)
    # "muon": Muon for the matrices between hidden layers, AdamW for the rest. "adamw": AdamW only.
    optimizer: Literal["muon", "adamw"] = "muon"
    # Peak learning rate, reached after the fraction warm_up of the budget; then a cosine to 2 %.
    learning_rate: float = Field(6e-3, gt=0)
    warm_up: float = Field(0.02, ge=0, lt=1)
    weight_decay: float = Field(0.1, ge=0)
    # Largest norm of the gradient; longer gradients are scaled down.
    clip: float = Field(30.0, gt=0)
    # Final weight of the KL term (1 is the ELBO). It grows linearly over the fraction kl_warm_up of
    # the budget, or of each of kl_cycles equal parts of it.
    kl_weight: float = Field(0.05, ge=0)
    kl_warm_up: float = Field(0.3, ge=0, le=1)
    kl_cycles: int = Field(1, ge=1)
    # Nats per latent unit without a KL penalty (free bits).
    kl_free: float = Field(0.0, ge=0)
    # Control the KL weight instead of scheduling it: raise it while the distortion D(0), in nats,
    # is below this target, lower it while it is above. kl_weight is the starting value.
    distortion_target: float | None = Field(None, gt=0)
    # Weight of the property head's negative log-likelihood.
    head_weight: float = Field(0.1, ge=0)
    # Weight of the forecast's negative log-likelihood (a mean over the tokens) for molecules
    # decoded without a latent. With a latent it has head_weight, so that the forecast does not
    # push properties into the latent.
    forecast_weight: float = Field(1.0, ge=0)
    # Fractions of molecules decoded from pure noise (t = 1) and from the exact latent (t = 0); for
    # the rest the noise level is uniform in between.
    prior_share: float = Field(0.4, ge=0, le=1)
    exact_share: float = Field(0.3, ge=0, le=1)
    # Fraction of molecules trained without conditions; the rest gets a random subset.
    unconditioned_share: float = Field(0.2, ge=0, le=1)
    # Decay of the exponential moving average of the weights, which is what is saved.
    ema_decay: float = Field(0.999, ge=0, lt=1)
    # Number of validations over the budget; training stops after `patience` without improvement.
    validations: int = Field(20, ge=1)
    patience: int = Field(6, ge=1)
    # Held-out molecules per validation, and how many of them are decoded.
    valid_molecules: int = Field(1024, ge=1)
    reconstructions: int = Field(256, ge=0)
    # After --from: share of samples of the start model in every batch, besides the molecules of the
    # data; half after --from. They keep what the start model knew.
    replay: float = Field(0.0, ge=0, lt=1)
    # Most samples of the trained model that its realism critic is fitted to; a short training takes
    # fewer. 0: no critic and no plausibility table.
    critic_samples: int = Field(60_000, ge=0)
    # Seconds between checkpoints of the training state.
    checkpoint_every: float = Field(120.0, gt=0)
    # Random seed.
    seed: int = Field(0, ge=0)
    # Floating-point precision of the network; "auto" is bf16 where the hardware supports it.
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if self.prior_share + self.exact_share > 1:
            raise PydanticCustomError(
                _TOGETHER,
                "prior_share {prior} and exact_share {exact} sum to more than 1",
                {"prior": self.prior_share, "exact": self.exact_share},
            )
        if self.distortion_target is not None and self.exact_share == 0:
            raise PydanticCustomError(
                _TOGETHER,
                "distortion_target {target} needs molecules at t = 0; give exact_share above 0",
                {"target": self.distortion_target},
            )
        return self


class Config(_Section):
    """The effective configuration of a run."""

    preset: str = "small"
    # sha256 of the config.json of the model that is fine-tuned (--from).
    start: str | None = None
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()


PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # Seconds on a laptop; for tests and first trials.
    "tiny": {
        "model": {
            "latent_size": 16, "embedding_size": 32, "encoder_size": 48,
            "decoder_size": 96, "context_size": 64, "head_size": 32, "tally_size": 16,
            "attention_size": 32, "readout_size": 64,
        },
        "train": {"batch_size": 64, "learning_rate": 4e-3},
    },
    # Minutes on a laptop; for a few thousand molecules.
    "mini": {
        "model": {
            "encoder_size": 128, "decoder_size": 256, "context_size": 128, "head_size": 64,
            "tally_size": 32, "attention_size": 64, "readout_size": 128,
        },
        "train": {"weight_decay": 0.3},
    },
    # The default: an hour on two CPU cores and some hundred thousand molecules.
    "small": {},
    # For a GPU.
    "base": {
        "model": {
            "latent_size": 128, "embedding_size": 256, "encoder_size": 512,
            "decoder_size": 768, "decoder_layers": 3, "context_size": 512, "head_size": 256,
            "tally_size": 128, "attention_size": 256, "attention_heads": 4, "readout_size": 512,
        },
        "train": {"batch_size": 1024, "learning_rate": 3e-3},
    },
}  # fmt: skip

# Defaults for fine-tuning (--from): no KL warm-up, as the model has had one, and a low learning
# rate, as a high one would undo what the model has learned.
FINE_TUNING: dict[str, dict[str, Any]] = {
    "data": {"unknown_tokens": "learn"},
    "train": {"kl_warm_up": 0.0, "learning_rate": 5e-4, "replay": 0.5},
}


# Settings of earlier versions, and why they are gone.
REMOVED = {"train.word_dropout": "this setting was removed, because it made every result worse"}


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``40s``, ``30m``, ``2h`` or ``1h30m``.

    >>> parse_duration("1h30m")
    5400.0
    """
    match = re.fullmatch(
        r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", text.strip()
    )
    parts = match.groups() if match else (None, None, None)
    seconds = sum(float(p) * unit for p, unit in zip(parts, (3600, 60, 1), strict=True) if p)
    if seconds <= 0:
        raise ConfigError(f"duration '{text}': expected for example 40s, 30m, 2h or 1h30m")
    return seconds


def load_config(
    *,
    preset: str | None = None,
    file: Path | None = None,
    settings: Iterable[str] = (),
    overrides: Mapping[str, Any] | None = None,
    fine_tuning: bool = False,
) -> Config:
    """The effective configuration; ``fine_tuning`` takes the defaults of ``--from``.

    ``settings`` are texts ``section.key=value`` with TOML values; ``overrides`` maps dotted keys
    to values and has the highest precedence. The error of an unknown key suggests a similar one.
    """
    tree: dict[str, Any] = {}
    written = _read_toml(file) if file is not None else {}
    named: dict[str, object] = {}
    for key, value in map(_setting, settings):
        if key in named:
            raise ConfigError(f"--set {key} is given twice: {named[key]} and {value}")
        named[key] = value
    preset = str(named.pop("preset", None) or preset or written.get("preset", "small"))
    if preset not in PRESETS:
        raise ConfigError(f"unknown preset '{preset}': {suggest(preset, PRESETS)}")
    for source in (
        PRESETS[preset],
        FINE_TUNING if fine_tuning else {},
        written,
        {"preset": preset},
    ):
        _merge(tree, source)
    for key, value in named.items():
        _put(tree, key, value)
    for key, value in (overrides or {}).items():
        if value is not None:
            _put(tree, key, value)
    return validate(tree)


def validate(tree: Mapping[str, Any]) -> Config:
    """The configuration of a nested mapping; one error names everything that is wrong with it."""
    try:
        return Config.model_validate(_tuples(tree))
    except ValidationError as error:
        reasons = [_reason(e["loc"], e["type"], e["msg"], e["input"]) for e in error.errors()]
        raise ConfigError("configuration: " + "; ".join(reasons)) from None


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "", *, dropped: bool = True
) -> list[str]:
    """The changes between two nested configurations, one phrase per key.

    ``dropped``: whether a removed key counts as a change.
    """
    changes: list[str] = []
    for key in {**now, **before} if dropped else now:
        old, value = before.get(key), now.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            changes += differences(old, value, f"{prefix}{key}.", dropped=dropped)
        elif old != value:
            changes.append(f"{prefix}{key} was {old!r}, is {value!r}")
    return changes


def _tuples(value: Any) -> Any:
    """TOML and JSON have lists only; the configuration holds immutable tuples."""
    if isinstance(value, Mapping):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _reason(where: tuple[int | str, ...], kind: str, message: str, got: object) -> str:
    key = ".".join(str(part) for part in where)
    if kind == _TOGETHER:
        return f"{key}: {message}"
    if kind != "extra_forbidden":
        return f"{key}: {message[0].lower()}{message[1:]}, got {got!r}"
    section: Any = Config
    for part in where[:-1]:
        section = section.model_fields[part].annotation
    if key in REMOVED:
        return f"{key}: {REMOVED[key]}; leave it out"
    return f"unknown key '{key}': {suggest(str(where[-1]), section.model_fields)}"


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"'{file}': {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{file}': not valid TOML ({error})") from None


def _setting(text: str) -> tuple[str, object]:
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"--set '{text}': expected section.key=value")
    return key.strip(), _toml_value(value.strip())


def _toml_value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        pass
    try:
        return float(text)  # TOML does not allow .3
    except ValueError:
        return text  # an unquoted word is a string


def _put(tree: dict[str, Any], key: str, value: object) -> None:
    *sections, name = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"unknown key '{key}': '{section}' is not a section")
    tree[name] = value


def _merge(tree: dict[str, Any], source: Mapping[str, Any]) -> None:
    for key, value in source.items():
        if isinstance(value, Mapping):
            below = tree.setdefault(key, {})
            if not isinstance(below, dict):
                raise ConfigError(f"'{key}' is not a section")
            _merge(below, value)
        else:
            tree[key] = value
