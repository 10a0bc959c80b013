"""How smoothly molecules change along paths through the latent space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.fingerprints import tanimoto
from molvae.chem.properties import measure_selfies
from molvae.evaluate.diagnostics.base import Advance, nothing
from molvae.evaluate.metrics import FINGERPRINT_BYTES, Metric
from molvae.generate.decoding import decode_latents
from molvae.latent.interpolate import path_between
from molvae.model.checkpoint import SavedModel
from molvae.runtime.randomness import Draws

__all__ = ["Interpolation", "describe_paths", "random_pairs", "smoothness"]

EXAMPLES = 3
AT_ONCE = 64  # paths decoded together


@dataclass(frozen=True)
class Interpolation:
    """Molecules along paths between pairs of molecules, and the similarity of neighbors.

    Similarity is Tanimoto over Morgan fingerprints (radius 2, 1024 bits). A point that decodes to
    no molecule counts in ``empty`` and has similarity 0 to its neighbors.
    """

    paths: int
    points: int  # of each path, ends included
    consecutive: Metric  # mean similarity of consecutive points
    lowest: Metric  # mean over paths of the lowest consecutive similarity
    distinct: Metric  # mean number of distinct molecules on a path
    ends: Metric  # share of paths both of whose ends are their molecules
    baseline: Metric  # mean similarity of the pairs at the ends
    empty: Metric  # share of points that decode to no molecule
    examples: tuple[tuple[str, ...], ...] = ()  # SMILES along the first paths, for drawings

    def to_json(self) -> dict[str, Any]:
        """Plain data, without the examples."""
        names = ("consecutive", "lowest", "distinct", "ends", "baseline", "empty")
        data = {name: getattr(self, name).to_json() for name in names}
        return {"paths": self.paths, "points": self.points, **data}


def random_pairs(n: int, count: int, draws: Draws) -> NDArray[np.int64]:
    """``count`` pairs of different numbers from 0 … n-1, shape (count, 2); none if n < 2."""
    if n < 2:
        return np.empty((0, 2), dtype=np.int64)
    u = draws.uniform("pairs", np.arange(count, dtype=np.int64), 2)
    first = np.floor(u[:, 0] * n).astype(np.int64)
    step = 1 + np.floor(u[:, 1] * (n - 1)).astype(np.int64)
    return np.stack([first, (first + step) % n], axis=1)


def smoothness(
    model: SavedModel,
    mean: NDArray[np.float64],
    smiles: Sequence[str],
    pairs: NDArray[np.int64],
    *,
    points: int,
    draws: Draws,
    advance: Advance = nothing,
) -> Interpolation:
    """Decode paths between the means of molecule pairs, greedily at t = 0, no condition shown.

    ``mean`` (N, Z) and canonical ``smiles`` describe the molecules that ``pairs`` (P, 2) number.
    """
    paths: list[list[str]] = []
    for start in range(0, len(pairs), AT_ONCE):
        part = pairs[start : start + AT_ONCE]
        z = path_between(mean[part[:, 0]], mean[part[:, 1]], points).astype(np.float32)
        rows = decode_latents(model, z.reshape(-1, z.shape[2]), noise=0.0, draws=draws)
        texts = [model.vocabulary.selfies(row.tolist()) for row in rows]
        decoded = [m.smiles for m in measure_selfies(texts, (), model.constraints)]
        paths += [decoded[i : i + points] for i in range(0, len(decoded), points)]
        advance(len(decoded))
    ends = [(smiles[a], smiles[b]) for a, b in pairs]
    return describe_paths(paths, ends, points)


def describe_paths(
    paths: Sequence[Sequence[str]], ends: Sequence[tuple[str, str]], points: int
) -> Interpolation:
    """The figures of decoded paths, as canonical SMILES, empty where there is no molecule."""
    count = len(paths)
    steps = np.asarray([_neighbours(path) for path in paths]).reshape(count, points - 1)
    chords = [float(_neighbours(pair)[0]) for pair in ends]
    whole = sum((path[0], path[-1]) == pair for path, pair in zip(paths, ends, strict=True))
    gaps = sum(not smiles for path in paths for smiles in path)
    return Interpolation(
        paths=count,
        points=points,
        consecutive=_mean(steps.ravel()),
        lowest=_mean(steps.min(axis=1) if points > 1 else steps.ravel()),
        distinct=_mean([len({smiles for smiles in path if smiles}) for path in paths]),
        ends=_share(whole, count),
        baseline=_mean(chords),
        empty=_share(gaps, count * points),
        examples=tuple(tuple(path) for path in paths[:EXAMPLES]),
    )


def _neighbours(path: Sequence[str]) -> NDArray[np.float64]:
    """Similarity of each molecule of a path to the next, 0 where one is missing."""
    prints = np.zeros((len(path), FINGERPRINT_BYTES), dtype=np.uint8)
    mols = [(i, mol) for i, mol in enumerate(map(chem.parse, path)) if mol is not None]
    there = np.asarray([i for i, _ in mols], dtype=np.int64)
    prints[there] = chem.fingerprints([mol for _, mol in mols])
    present = np.isin(np.arange(len(path)), there)
    similarity = np.diagonal(tanimoto(prints, prints), offset=1).astype(np.float64)
    return np.where(present[1:] & present[:-1], similarity, 0.0)


NOTHING = "needs at least two molecules"


def _mean(values: Sequence[float] | NDArray[np.float64]) -> Metric:
    if not len(values):
        return Metric(None, 0, note=NOTHING)
    return Metric(float(np.mean(values)), len(values))


def _share(numerator: int, denominator: int) -> Metric:
    if not denominator:
        return Metric(None, 0, 0, 0, NOTHING)
    return Metric(numerator / denominator, denominator, numerator, denominator)
