"""The molecules between two molecules: a path through the latent space, decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from molvae import chem, tokens
from molvae.checkpoint import SavedModel, load_model
from molvae.decode import decode
from molvae.diagnostics import interpolate as path_between
from molvae.errors import InputError
from molvae.files import (
    picture_format,
    require_absent,
    require_writer,
    write_picture,
    write_rows,
)
from molvae.metrics import tanimoto
from molvae.runtime import Draws
from molvae.sampler import Proposer, Request

__all__ = ["COLUMNS", "Point", "interpolate", "interpolate_file"]

COLUMNS = ("smiles", "share", "similarity_first", "similarity_last")


@dataclass(frozen=True)
class Point:
    """A point of the path; ``smiles`` is empty where it decodes to no molecule.

    ``share`` is how far along it lies, 0 to 1; similarities are Tanimoto (Morgan 2, 1,024 bits).
    """

    smiles: str
    share: float
    similarity_first: float
    similarity_last: float


def interpolate(
    model: SavedModel,
    first: str,
    last: str,
    *,
    points: int = 11,
    noise: float = 0.0,
    seed: int = 0,
) -> list[Point]:
    """Molecules on the path between the latent means of two molecules, both ends decoded too.

    The path is spherical in direction and linear in length; tokens are the likeliest ones at the
    noise level, with no condition shown. The ends come back as themselves if the model
    reconstructs them.
    """
    if points < 2:
        raise InputError(f"points: got {points}, expected 2 or more")
    ends = [_canonical(text) for text in (first, last)]
    with tokens.use_constraints(model.constraints):
        ids = [model.vocabulary.encode(smiles) for smiles in ends]
    proposer = Proposer(
        model, Request(), draws=Draws(seed), device=torch.device("cpu"), precision="fp32"
    )
    z = proposer.encode(ids)
    path = path_between(z[:1], z[1:], points)[0].astype(np.float32)
    found = list(decode(path, model, noise=noise, seed=seed, device="cpu"))
    similarity = _similarity(found, ends)
    return [
        Point(smiles, i / (points - 1), *map(float, similarity[i]))
        for i, smiles in enumerate(found)
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
    """As :func:`interpolate`, written to a molecule file and drawn, where names are given.

    Points that decode to no molecule are left out of both.
    """
    if output is not None:
        require_writer(Path(output))
    if grid is not None:
        picture_format(Path(grid))
    for path in (output, grid):
        if path is not None:
            require_absent(path, force=force)
    found = interpolate(load_model(model), first, last, points=points, noise=noise, seed=seed)
    there = [point for point in found if point.smiles]
    if output is not None:
        write_rows(output, COLUMNS, ([getattr(one, name) for name in COLUMNS] for one in there))
    if grid is not None:
        legends = [f"{one.share:.2f}" for one in there]
        write_picture(grid, [one.smiles for one in there], legends)
    return found


def _canonical(text: str) -> str:
    smiles = chem.canonical_smiles(text)
    if smiles is None:
        raise InputError(f"'{text}' is not a valid SMILES")
    return smiles


def _similarity(found: Sequence[str], ends: Sequence[str]) -> NDArray[np.float64]:
    """Tanimoto of each molecule to both ends, shape (N, 2); NaN where there is none."""
    result = np.full((len(found), 2), np.nan)
    mols = [(i, mol) for i, text in enumerate(found) if (mol := chem.parse(text)) is not None]
    if mols:
        bits = chem.fingerprints([mol for _, mol in mols])
        both = chem.fingerprints([mol for text in ends if (mol := chem.parse(text)) is not None])
        result[[i for i, _ in mols]] = tanimoto(bits, both)
    return result
