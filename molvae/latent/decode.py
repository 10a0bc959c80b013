"""Molecules of latent points."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from molvae.chem.properties import measure_selfies
from molvae.data.writers import require_writer, write_rows
from molvae.errors import FileError, TargetError
from molvae.generate.decoding import decode_latents
from molvae.model.checkpoint import SavedModel, load_model
from molvae.runtime.device import choose_device
from molvae.runtime.files import require_absent
from molvae.runtime.progress import Progress
from molvae.runtime.randomness import Draws

if TYPE_CHECKING:
    import pandas as pd  # slow to import

__all__ = ["DecodeSummary", "decode", "decode_file"]

BLOCK = 1024  # points decoded at a time


@dataclass
class DecodeSummary:
    """Counts of points and of molecules decoded."""

    points: int = 0
    decoded: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return asdict(self)


def decode(
    latents: Iterable[NDArray[np.floating[Any]]],
    model: SavedModel,
    *,
    noise: float = 0.0,
    temperature: float = 0.0,
    seed: int = 0,
    device: str = "auto",
) -> Iterator[str]:
    """Canonical SMILES of latent points (Z,) at a noise level, in order, without conditions.

    A point of NaN, or one that decodes to no atoms, gives an empty text. Temperature 0 takes the
    most likely tokens; otherwise the random numbers depend on the seed and the number of the point.

    Raises:
        TargetError: the noise level or the temperature is out of range.
        FileError: a point does not have the latent size of the model.
    """
    for name, number in (("noise", noise), ("temperature", temperature)):
        if not isinstance(number, Real):
            raise TargetError(f"{name}: got {number!r:.40}, expected one number")
    if not 0 <= noise <= 1:
        raise TargetError(f"noise: got {noise:g}, expected a level from 0 to 1")
    if not temperature >= 0:
        raise TargetError(f"temperature: got {temperature:g}, expected 0 or more")
    model.network.to(choose_device(device))
    size, draws, points = model.network.config.latent_size, Draws(seed), iter(latents)
    for first in itertools.count(0, BLOCK):
        block = list(itertools.islice(points, BLOCK))
        if not block:
            return
        wrong = next((point.shape for point in block if point.shape != (size,)), None)
        if wrong is not None:
            raise FileError(f"latents: got a point of shape {wrong}, expected ({size},)")
        z = np.stack(block).astype(np.float32)
        known: NDArray[np.bool_] = np.all(np.isfinite(z), axis=1)
        rows = decode_latents(
            model,
            np.where(known[:, None], z, 0.0).astype(np.float32),
            noise=noise,
            draws=draws,
            temperature=temperature,
            first=first,
        )
        texts = [model.vocabulary.selfies(row.tolist()) for row in rows]
        molecules = measure_selfies(texts, (), model.constraints)
        for molecule, use in zip(molecules, known, strict=True):
            yield molecule.smiles if use else ""


def decode_file(
    source: str | Path,
    output: str | Path,
    *,
    model: str | Path | None = None,
    noise: float = 0.0,
    temperature: float = 0.0,
    seed: int = 0,
    device: str = "auto",
    force: bool = False,
) -> DecodeSummary:
    """Decode a file of latents: ``.npy`` of shape (N, Z), or a table with columns z0, z1 …

    A table has a row per point: ``smiles``, empty where there is no molecule, and ``point``, its
    number from 0. A .smi or .sdf file has only the molecules.

    Raises:
        TargetError: the noise level or the temperature is out of range.
        FileError: the file cannot be read, or does not hold latents of this model.
        OutputExistsError: the output exists.
    """
    output, saved, summary = Path(output), load_model(model), DecodeSummary()
    bare = require_writer(output) in ("smi", "sdf")
    require_absent(output, force=force)
    started = time.monotonic()
    total, points = _points(Path(source), saved.network.config.latent_size)

    def rows() -> Iterator[list[object]]:
        decoded = decode(
            points, saved, noise=noise, temperature=temperature, seed=seed, device=device
        )
        with Progress("decode", total=total) as progress:
            for number, smiles in enumerate(decoded):
                summary.points += 1
                summary.decoded += bool(smiles)
                progress.advance(1)
                if smiles or not bare:
                    yield [smiles, number]

    write_rows(output, ["smiles", "point"], rows())
    summary.seconds = time.monotonic() - started
    return summary


def _points(path: Path, size: int) -> tuple[int | None, Iterator[NDArray[np.floating[Any]]]]:
    """The number of points in a file, if known beforehand, and the points."""
    if not path.is_file():
        raise FileError(f"no file '{path}'")
    kind = "".join(path.suffixes[-2:]).lower().removesuffix(".gz")
    try:
        if kind.endswith(".npy"):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            if array.ndim != 2 or array.dtype.kind != "f":
                raise FileError(
                    f"'{path}': got {array.dtype} of shape {array.shape}, expected floating-point "
                    f"numbers of shape (N, {size})"
                )
            return len(array), iter(array)
        if kind.endswith(".parquet"):
            import pandas as pd

            table = pd.read_parquet(path)
            return len(table), iter(_latents(table, path, size))
        if kind.endswith((".csv", ".tsv")):
            return None, _of_table(path, "\t" if kind.endswith(".tsv") else ",", size)
    except (OSError, ValueError, ImportError) as error:
        raise FileError(f"'{path}': {error}") from error
    raise FileError(f"'{path}': latents are read from .npy, .csv, .tsv or .parquet")


def _of_table(path: Path, separator: str, size: int) -> Iterator[NDArray[np.floating[Any]]]:
    import pandas as pd

    try:
        with pd.read_csv(path, sep=separator, chunksize=BLOCK) as parts:
            for part in parts:
                yield from _latents(part, path, size)
    except (OSError, ValueError) as error:  # UnicodeError and pandas' errors are ValueErrors
        raise FileError(f"'{path}': {error}") from error


def _latents(table: pd.DataFrame, path: Path, size: int) -> NDArray[np.floating[Any]]:
    names = [f"z{i}" for i in range(size)]
    missing = [name for name in names if name not in table]
    extra = f"z{size}" in table
    if missing or extra:
        got = f"a column z{size}" if extra else f"no column {missing[0]}"
        raise FileError(f"'{path}': {got}; expected the latent columns z0 to z{size - 1}")
    try:
        return table[names].to_numpy(dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise FileError(f"'{path}': a latent is not a number: {error}") from error
