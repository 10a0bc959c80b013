"""Changes of molecules, as SELFIES and as latents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["mutated", "slerp", "spliced"]

EDITS = 3  # at most


def mutated(
    symbols: Sequence[str], alphabet: Sequence[str], u: NDArray[np.float64], limit: int
) -> str:
    """SELFIES after one to three edits: a symbol replaced, put in, or taken out.

    ``u`` are ten uniform numbers: of the number of edits, and of kind, place and symbol of each.
    ``limit`` symbols at most are returned.
    """
    found = list(symbols)
    for edit in range(1 + int(u[0] * EDITS)):
        kind, place, symbol = u[1 + 3 * edit : 4 + 3 * edit]
        new = alphabet[int(symbol * len(alphabet))]
        if kind < 1 / 3 or len(found) < 2:
            found.insert(int(place * (len(found) + 1)), new)
        elif kind < 2 / 3:
            found[int(place * len(found))] = new
        else:
            del found[int(place * len(found))]
    return "".join(found[:limit])


def spliced(first: Sequence[str], second: Sequence[str], u: NDArray[np.float64], limit: int) -> str:
    """The beginning of one SELFIES and the end of another, cut at random; ``limit`` symbols."""
    start = 1 + int(u[0] * len(first))
    end = int(u[1] * len(second))
    return "".join([*first[:start], *second[end:]][:limit])


def slerp(
    first: NDArray[np.float32], second: NDArray[np.float32], share: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Points (N, Z) at a share (N, 1) of the arc between latents, with the length between theirs.

    Spherical interpolation (Shoemake 1985): a straight line would pass near 0, where no molecule
    of N(0, I) lies.
    """
    lengths = [np.linalg.norm(each, axis=1, keepdims=True) + 1e-12 for each in (first, second)]
    units = first / lengths[0], second / lengths[1]
    angle = np.arccos(np.clip((units[0] * units[1]).sum(axis=1, keepdims=True), -1.0, 1.0))
    straight = np.sin(angle) < 1e-6
    divisor = np.where(straight, 1.0, np.sin(angle))
    weights = (
        np.where(straight, 1 - share, np.sin((1 - share) * angle) / divisor),
        np.where(straight, share, np.sin(share * angle) / divisor),
    )
    length = lengths[0] ** (1 - share) * lengths[1] ** share
    point: NDArray[np.float32] = (length * (weights[0] * units[0] + weights[1] * units[1])).astype(
        np.float32
    )
    return point
