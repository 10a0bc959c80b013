"""Molecules → latent points, what the model makes of them, and predictions of own columns."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from molvae.config import CleaningConfig
from molvae.data.readers import read_rows, smiles_of
from molvae.data.tokenize import Tokenizer
from molvae.data.writers import require_writer, write_rows
from molvae.errors import ConfigError, FileError
from molvae.generate.proposer import Proposer
from molvae.generate.request import Request
from molvae.model.checkpoint import SavedModel, load_model
from molvae.runtime.device import choose_device
from molvae.runtime.files import atomic_binary, require_absent
from molvae.runtime.pool import WorkerPool
from molvae.runtime.progress import say
from molvae.runtime.randomness import Draws

__all__ = ["EncodeSummary", "Encoded", "encode", "encode_file", "own_columns"]

BATCH = 1024  # molecules on their way together


class Encoded(NamedTuple):
    """A molecule as the model sees it; NaN throughout, and a note, where it cannot."""

    text: str  # as it was given
    latent: NDArray[np.float32]  # (Z,) posterior mean
    nats: float  # −log p of its SELFIES at t = 1 without conditions: exact
    distortion: float  # −log p at t = 0 from its own latent mean
    predicted: NDArray[np.float64]  # (2, P) own columns: value and spread, in their units
    note: str = ""

    @property
    def prediction(self) -> list[float]:
        """The cells of :func:`own_columns`."""
        cells: list[float] = self.predicted.T.reshape(-1).tolist()
        return cells


@dataclass
class EncodeSummary:
    """What became of the molecules."""

    molecules: int = 0
    encoded: int = 0
    seconds: float = 0.0
    refused: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return asdict(self)


def encode(
    texts: Iterable[str],
    model: SavedModel,
    *,
    score: bool = False,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    total: int | None = None,
) -> Iterator[Encoded]:
    """What the model makes of SMILES, in order; they are cleaned as its training data were.

    ``score`` computes nats and distortion, which takes twice as long as the latents.
    """
    device_ = choose_device(device)
    proposer = Proposer(model, Request(), draws=Draws(0), device=device_, precision=precision)
    own = [i for i, one in enumerate(model.conditions.conditions) if not one.builtin]
    reading = Tokenizer(_cleaning(model), model.constraints, frozenset(model.vocabulary.tokens))
    with WorkerPool(workers) as pool:
        read = pool.map_texts("encode", reading, texts, total)
        pairs = (pair for chunk, found in read for pair in zip(chunk, found, strict=True))
        while batch := list(itertools.islice(pairs, BATCH)):
            yield from _batch(batch, proposer, own, score=score)


def own_columns(model: SavedModel) -> list[str]:
    """``NAME`` and ``NAME_sd`` of each condition that is not RDKit's; an error if there is none."""
    own = [one.name for one in model.conditions.conditions if not one.builtin]
    if not own:
        raise ConfigError("predict: the model knows no column of its own, only RDKit's properties")
    return [name for each in own for name in (each, f"{each}_sd")]


def _cleaning(model: SavedModel) -> CleaningConfig:
    """As the model's training data were cleaned; the usual way where that is not known."""
    try:
        stored = model.training["config"]["data"]["cleaning"]
        return CleaningConfig.model_validate_json(json.dumps(stored))
    except (KeyError, TypeError, ValueError):
        say("note: the model does not say how its data were cleaned; cleaning as usual")
        return CleaningConfig()


def _batch(
    batch: Sequence[tuple[str, tuple[list[str], str]]],
    proposer: Proposer,
    own: list[int],
    *,
    score: bool,
) -> Iterator[Encoded]:
    vocabulary, n = proposer.model.vocabulary, len(batch)
    usable = [i for i, (_, (symbols, _)) in enumerate(batch) if symbols]
    ids = [vocabulary.encode_symbols(batch[i][1][0]) for i in usable]
    latents = np.full((n, proposer.network.config.latent_size), np.nan, dtype=np.float32)
    figures = np.full((n, 2), np.nan)
    predicted = np.full((n, 2, len(own)), np.nan)
    if usable:
        latents[usable] = means = proposer.encode(ids)
        if score:
            figures[usable, 0] = proposer.nats(ids)
            figures[usable, 1] = proposer.nats(ids, means)
        if own:
            predicted[usable] = _predicted(proposer, means)[:, :, own]
    for i, (text, (_, note)) in enumerate(batch):
        nats, distortion = figures[i].tolist()
        yield Encoded(text, latents[i], nats, distortion, predicted[i], note)


@torch.no_grad()
def _predicted(proposer: Proposer, latents: NDArray[np.float32]) -> NDArray[np.float64]:
    """Value and spread of every condition, (N, 2, C); a probability of yes has no spread."""
    conditions = proposer.model.conditions
    _, log_scale = proposer.network.predict(proposer.tensor(latents))
    spread = np.exp(log_scale.cpu().double().numpy()) * conditions.std
    spread[:, conditions.yesno] = np.nan
    return np.stack([proposer.predict(latents), spread], axis=1)


def encode_file(
    sources: Sequence[str | Path],
    output: str | Path,
    *,
    model: str | Path | None = None,
    smiles_column: str | None = None,
    score: bool = False,
    predict: bool = False,
    keep: Sequence[str] = (),
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    force: bool = False,
) -> EncodeSummary:
    """Encode molecule files; one row per record, in order, empty with a note where it cannot be.

    ``.npy`` holds the latents alone, shape (N, Z), NaN for what could not be encoded. A table
    (.csv .tsv .parquet) holds ``smiles``, ``z0`` … and ``note``; with ``score`` ``nats`` and
    ``distortion``; with ``predict`` each own column and its spread, ``NAME_sd``. ``keep`` are
    columns of the sources to carry along, as an identifier.

    Raises:
        ConfigError: something is asked for that the output or the model cannot give.
        FileError: a file cannot be read.
        OutputExistsError: the output is in the way.
    """
    output, saved = Path(output), load_model(model)
    bare = output.suffix.lower() == ".npy"
    if bare and (score or predict):
        raise ConfigError(f"'{output}': a .npy file holds latents alone; write a .csv or .parquet")
    if not bare and require_writer(output) in ("smi", "sdf"):
        raise FileError(f"'{output}': latents are written as .npy, .csv, .tsv or .parquet")
    if bare and keep:
        raise ConfigError(
            f"'{output}': a .npy file has no columns to keep; write a .csv or .parquet"
        )
    own = own_columns(saved) if predict else []
    size = saved.network.config.latent_size
    columns = ["smiles", "note", *(f"z{i}" for i in range(size))]
    columns += ["nats", "distortion"] if score else []
    columns += own
    if taken := next((n for i, n in enumerate(keep) if n in columns or n in keep[:i]), None):
        raise ConfigError(f"keep: '{taken}' is the name of another column of '{output}'")
    require_absent(output, force=force)
    summary, refused = EncodeSummary(), Counter[str]()
    started = time.monotonic()
    kept: deque[list[object]] = deque()  # of the molecules on their way
    found = encode(
        _texts(sources, smiles_column, keep, kept), saved, score=score, device=device,
        precision=precision, workers=workers,
    )  # fmt: skip

    def counted() -> Iterator[Encoded]:
        for one in found:
            summary.molecules += 1
            summary.encoded += not one.note
            refused.update([one.note] if one.note else [])
            yield one

    if bare:
        _write_latents(output, counted(), size)
    else:
        columns[1:1] = keep
        write_rows(
            output,
            columns,
            (_row(one, kept.popleft() if keep else [], score, predict) for one in counted()),
        )
    summary.seconds = time.monotonic() - started
    summary.refused = dict(refused.most_common())
    if not summary.encoded:
        say("note: no molecule could be encoded")
    return summary


def _row(one: Encoded, kept: list[object], score: bool, predict: bool) -> list[object]:
    row: list[object] = [one.text, *kept, one.note, *one.latent.tolist()]
    row += [one.nats, one.distortion] if score else []
    return row + (one.prediction if predict else [])


def _texts(
    sources: Sequence[str | Path],
    smiles_column: str | None,
    keep: Sequence[str],
    kept: deque[list[object]],
) -> Iterator[str]:
    """SMILES of files; the cells of the columns to keep go into ``kept``."""
    for source in sources:
        with read_rows(source, smiles_column=smiles_column, columns=keep) as rows:
            for row in rows:
                if keep:
                    kept.append([row.labels.get(name, "") for name in keep])
                yield smiles_of(row) or row.text


def _write_latents(path: Path, rows: Iterable[Encoded], size: int) -> None:
    """A .npy file, whose header is written again when the number of rows is known."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (0, size)}
    with atomic_binary(path) as file:
        # NumPy leaves space in the header for any number of rows.
        np.lib.format.write_array_header_1_0(file, header)
        count = 0
        for one in rows:
            file.write(one.latent.astype("<f4").tobytes())
            count += 1
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, header | {"shape": (count, size)})
        file.seek(0, 2)
