"""Changes of molecules, as SELFIES."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["mutated", "spliced"]

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
