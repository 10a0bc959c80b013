"""Interpolation: molecules on a path through the latent space between two molecules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.fingerprints import tanimoto
from molvae.chem.selfies import use_constraints
from molvae.data.writers import picture_format, require_writer, write_picture, write_rows
from molvae.errors import InputError
from molvae.generate.proposer import Proposer
from molvae.generate.request import Request
from molvae.latent.decode import decode
from molvae.model.checkpoint import SavedModel, load_model
from molvae.model.given import clean_given
from molvae.runtime.files import require_absent, require_distinct
from molvae.runtime.randomness import Draws

__all__ = ["COLUMNS", "Point", "along", "interpolate", "interpolate_file", "path_between"]

MOST = 100_000  # points of a path
COLUMNS = ("smiles", "share", "similarity_first", "similarity_last")


@dataclass(frozen=True)
class Point:
    """A point of the path; ``smiles`` is empty where it decodes to no molecule.

    ``share`` is its position, from 0 to 1; similarities are Tanimoto (Morgan 2, 1,024 bits).
    """

    smiles: str
    share: float
    similarity_first: float
    similarity_last: float


def interpolate(
    model: SavedModel, first: str, last: str, *, points: int = 11, noise: float = 0.0, seed: int = 0
) -> list[Point]:
    """Molecules on the path between the latent means of two molecules, ends included.

    The path is spherical in direction and linear in length. Points are decoded greedily at the
    noise level, without conditions. The ends are the molecules themselves if the model reconstructs
    them.
    """
    if not hasattr(points, "__index__") or not 2 <= points <= MOST:
        raise InputError(f"points: got {points!r}, expected an integer from 2 to {MOST:,}")
    ends = [_end(text, model) for text in (first, last)]
    with use_constraints(model.constraints):
        ids = [model.vocabulary.encode(smiles) for smiles in ends]
    proposer = Proposer(
        model, Request(), draws=Draws(seed), device=torch.device("cpu"), precision="fp32"
    )
    z = proposer.encode(ids)
    path = path_between(z[:1], z[1:], points)[0].astype(np.float32)
    decoded = list(decode(path, model, noise=noise, seed=seed, device="cpu"))
    similarity = _similarity(decoded, ends)
    return [
        Point(smiles, i / (points - 1), *map(float, similarity[i]))
        for i, smiles in enumerate(decoded)
    ]


def interpolate_file(
    first: str,
    last: str,
    *,
    model: str | Path | None = None,
    output: str | Path | None = None,
    grid: str | Path | None = None,
    points: int = 11,
    noise: float = 0.0,
    seed: int = 0,
    force: bool = False,
) -> list[Point]:
    """:func:`interpolate` into a molecule file and a picture, where these are given.

    Both leave out points that decode to no molecule.
    """
    if output is not None:
        require_writer(Path(output))
    if grid is not None:
        picture_format(Path(grid))
    require_distinct((output, grid))
    for file in (output, grid):
        if file is not None:
            require_absent(file, force=force)
    path = interpolate(load_model(model), first, last, points=points, noise=noise, seed=seed)
    valid = [point for point in path if point.smiles]
    if output is not None:
        write_rows(output, COLUMNS, ([getattr(p, name) for name in COLUMNS] for p in valid))
    if grid is not None:
        write_picture(grid, [p.smiles for p in valid], [f"{p.share:.2f}" for p in valid])
    return path


def _end(text: str, model: SavedModel) -> str:
    [smiles] = clean_given([text], model, name="interpolate")
    return smiles


def _similarity(smiles: Sequence[str], ends: Sequence[str]) -> NDArray[np.float64]:
    """Tanimoto of each molecule to the two ends, shape (N, 2); NaN where there is no molecule."""
    result = np.full((len(smiles), 2), np.nan)
    mols = [(i, mol) for i, text in enumerate(smiles) if (mol := chem.parse(text)) is not None]
    if mols:
        bits = chem.fingerprints([mol for _, mol in mols])
        targets = chem.fingerprints([mol for text in ends if (mol := chem.parse(text)) is not None])
        result[[i for i, _ in mols]] = tanimoto(bits, targets)
    return result


def path_between(
    first: NDArray[np.floating[Any]], last: NDArray[np.floating[Any]], points: int
) -> NDArray[np.float64]:
    """Paths from each ``first`` to its ``last`` (P, Z), ends included: (P, K, Z). See `along`."""
    paths = along(first, last, np.broadcast_to(np.linspace(0.0, 1.0, points), (len(first), points)))
    paths[:, 0], paths[:, -1] = first, last
    return paths


def along(
    first: NDArray[np.floating[Any]], last: NDArray[np.floating[Any]], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Points at shares (P, K) of the way from each ``first`` to its ``last`` (P, Z): (P, K, Z).

    Spherical in direction (Shoemake 1985), linear in length. Latents of a high-dimensional Gaussian
    lie near a sphere. A straight line between two of them passes through its inside, which the
    decoder has hardly seen in training (White 2016). Parallel ends are joined by a straight line.
    """
    first, last = first.astype(np.float64), last.astype(np.float64)
    share = share[:, :, None]
    lengths = [np.linalg.norm(ends, axis=1)[:, None, None] for ends in (first, last)]
    a, b = first[:, None, :], last[:, None, :]
    tiny = np.finfo(np.float64).tiny
    units = [ends / np.maximum(length, tiny) for ends, length in zip((a, b), lengths, strict=True)]
    angle = np.arccos(np.clip((units[0] * units[1]).sum(axis=2, keepdims=True), -1.0, 1.0))
    sine = np.sin(angle)
    bent = (sine > 1e-6) & (lengths[0] > 0) & (lengths[1] > 0)
    below = np.where(bent, sine, 1.0)
    direction = (np.sin((1 - share) * angle) * units[0] + np.sin(share * angle) * units[1]) / below
    length = (1 - share) * lengths[0] + share * lengths[1]
    path: NDArray[np.float64] = np.where(bent, direction * length, (1 - share) * a + share * b)
    return path
