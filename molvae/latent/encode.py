"""Latent points of molecules, their likelihood, and predictions of measured columns."""

from __future__ import annotations

import itertools
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from molvae.chem.selfies import use_constraints
from molvae.data.readers import read_rows, smiles_of
from molvae.data.tokenize import Tokenizer
from molvae.data.writers import require_writer, write_rows
from molvae.errors import ConfigError, FileError
from molvae.generate.proposer import Proposer
from molvae.generate.request import Request
from molvae.model.checkpoint import SavedModel, load_model
from molvae.model.given import cleaning_of
from molvae.runtime.device import choose_device
from molvae.runtime.files import atomic_binary, require_absent
from molvae.runtime.pool import WorkerPool
from molvae.runtime.progress import say
from molvae.runtime.randomness import Draws

__all__ = [
    "EncodeSummary",
    "Encoded",
    "encode",
    "encode_file",
    "own_names",
    "read_kept",
]

BATCH = 1024  # molecules encoded at a time


class Encoded(NamedTuple):
    """A molecule under the model; one that cannot be encoded has NaN throughout, and a note."""

    text: str  # the input
    latent: NDArray[np.float32]  # (Z,) posterior mean
    nats: float  # −log p of its SELFIES at t = 1 without conditions: exact
    distortion: float  # −log p at t = 0 from its own latent mean
    predicted: NDArray[np.float64]  # (2, P) measured columns: value and spread, in their units
    note: str = ""

    @property
    def prediction(self) -> list[float]:
        """Value and spread of each measured column in turn."""
        cells: list[float] = self.predicted.T.reshape(-1).tolist()
        return cells


@dataclass
class EncodeSummary:
    """Counts of molecules encoded and refused."""

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
    predict: bool = False,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    scheduler: str | None = None,
    total: int | None = None,
) -> Iterator[Encoded]:
    """Encode SMILES, in order; they are cleaned as the model's training data were.

    ``score`` computes nats and distortion, which takes twice as long as the latents. ``predict``
    predicts the measured columns: by the model's predictors, or by the property head of a model
    that has none. The workers of a Dask ``scheduler`` clean and tokenize the molecules; the network
    runs here.
    """
    device_ = choose_device(device)
    proposer = Proposer(model, Request(), draws=Draws(0), device=device_, precision=precision)
    own = own_names(model) if predict else []
    tokenizer = Tokenizer(cleaning_of(model), model.constraints, frozenset(model.vocabulary.tokens))
    with WorkerPool(workers, scheduler=scheduler) as pool:
        chunks = pool.map_texts("encode", tokenizer, texts, total)
        pairs = (pair for chunk, tokens in chunks for pair in zip(chunk, tokens, strict=True))
        while batch := list(itertools.islice(pairs, BATCH)):
            yield from _batch(batch, proposer, own, score=score)


def own_names(model: SavedModel) -> list[str]:
    """The measured columns that the model was trained with; an error if there is none."""
    own = [c.name for c in model.conditions.conditions if not c.builtin]
    if not own:
        raise ConfigError(
            "predict: this model has no measured column, only RDKit's properties; expected a "
            "model trained with -p NAME"
        )
    return own


def _batch(
    batch: Sequence[tuple[str, tuple[list[str], str]]],
    proposer: Proposer,
    own: list[str],
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
            predicted[usable] = _predicted(proposer, ids, means, own)
    for i, (text, (_, note)) in enumerate(batch):
        nats, distortion = figures[i].tolist()
        yield Encoded(text, latents[i], nats, distortion, predicted[i], note)


@torch.no_grad()
def _predicted(
    proposer: Proposer,
    ids: Sequence[NDArray[np.int64]],
    latents: NDArray[np.float32],
    own: list[str],
) -> NDArray[np.float64]:
    """Value and spread of measured columns, (N, 2, P); a probability of yes has no spread."""
    model = proposer.model
    if model.predictors is not None:
        with use_constraints(model.constraints):
            smiles = [model.vocabulary.decode(row.tolist()) for row in ids]
        predicted = model.predictors.predict(smiles, own)
        return np.stack(
            [np.stack([column.mean, column.sd], axis=1) for column in predicted.values()], axis=2
        )
    conditions = model.conditions
    _, log_scale = proposer.network.predict(proposer.tensor(latents))
    spread = np.exp(log_scale.cpu().double().numpy()) * conditions.std
    spread[:, conditions.yesno] = np.nan
    moments = np.stack([proposer.predict(latents), spread], axis=1)
    return np.asarray(moments[:, :, [conditions.names.index(name) for name in own]])


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
    scheduler: str | None = None,
    force: bool = False,
) -> EncodeSummary:
    """Encode molecule files: one row per record, in order, with a note where it cannot be encoded.

    A ``.npy`` file holds only the latents, shape (N, Z), NaN where a molecule cannot be encoded. A
    table (.csv .tsv .parquet) has ``smiles``, ``z0`` … and ``note``; with ``score`` also ``nats``
    and ``distortion``; with ``predict`` each measured column and its spread, ``NAME_sd``. ``keep``
    are columns of the sources to copy, such as an identifier; beside a copied ``NAME`` the
    prediction is ``NAME_predicted``.

    Raises:
        ConfigError: the output or the model cannot provide what is asked for.
        FileError: a file cannot be read.
        OutputExistsError: the output exists.
    """
    output, saved = Path(output), load_model(model)
    bare = output.suffix.lower() == ".npy"
    size = saved.network.config.latent_size
    columns = _checked_columns(output, saved, bare=bare, score=score, predict=predict, keep=keep)
    require_absent(output, force=force)
    summary, refused = EncodeSummary(), Counter[str]()
    started = time.monotonic()
    kept: deque[list[object]] = deque()  # cells to copy, of the molecules being encoded
    encoded = encode(
        read_kept([(source, keep) for source in sources], smiles_column, keep, kept),
        saved,
        score=score,
        predict=predict,
        device=device,
        precision=precision,
        workers=workers,
        scheduler=scheduler,
    )

    def counted() -> Iterator[Encoded]:
        for molecule in encoded:
            summary.molecules += 1
            summary.encoded += not molecule.note
            refused.update([molecule.note] if molecule.note else [])
            yield molecule

    if bare:
        _write_latents(output, counted(), size)
    else:
        rows = (_row(m, kept.popleft() if keep else [], score, predict) for m in counted())
        write_rows(output, columns, rows)
    summary.seconds = time.monotonic() - started
    summary.refused = dict(refused.most_common())
    if not summary.encoded:
        say("note: no molecule could be encoded")
    return summary


def _checked_columns(
    output: Path, model: SavedModel, *, bare: bool, score: bool, predict: bool, keep: Sequence[str]
) -> list[str]:
    """The columns of the output, if it can hold them."""
    if bare and (score or predict or keep):
        raise ConfigError(
            f"'{output}': a .npy file holds only latents (no score, predict or keep); write a .csv "
            "or .parquet"
        )
    if not bare and require_writer(output) in ("smi", "sdf"):
        raise FileError(f"'{output}': latents are written as .npy, .csv, .tsv or .parquet")
    columns = ["note", *(f"z{i}" for i in range(model.network.config.latent_size))]
    columns += ["nats", "distortion"] if score else []
    for name in own_names(model) if predict else []:
        shown = f"{name}_predicted" if name in keep else name
        columns += [shown, f"{shown}_sd"]
    columns = ["smiles", *keep, *columns]
    if repeated := next((name for name in keep if columns.count(name) > 1), None):
        raise ConfigError(f"keep: '{repeated}' is the name of another column of '{output}'")
    return columns


def _row(molecule: Encoded, kept: list[object], score: bool, predict: bool) -> list[object]:
    row: list[object] = [molecule.text, *kept, molecule.note, *molecule.latent.tolist()]
    row += [molecule.nats, molecule.distortion] if score else []
    return row + (molecule.prediction if predict else [])


def read_kept(
    sources: Sequence[tuple[str | Path, Sequence[str]]],
    smiles_column: str | None,
    names: Sequence[str],
    kept: deque[list[object]],
) -> Iterator[str]:
    """SMILES of files; the cells of the columns ``names``, if any, are added to ``kept``.

    ``sources`` are files and the columns that each has.
    """
    for source, present in sources:
        with read_rows(source, smiles_column=smiles_column, columns=present) as rows:
            for row in rows:
                if names:
                    kept.append([row.labels.get(name, "") for name in names])
                yield smiles_of(row) or row.text


def _write_latents(path: Path, rows: Iterable[Encoded], size: int) -> None:
    """A .npy file, whose header is written again when the number of rows is known."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (0, size)}
    with atomic_binary(path) as file:
        # NumPy leaves space in the header for any number of rows.
        np.lib.format.write_array_header_1_0(file, header)
        count = 0
        for molecule in rows:
            file.write(molecule.latent.astype("<f4").tobytes())
            count += 1
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, header | {"shape": (count, size)})
        file.seek(0, 2)
