"""What the sampler holds while candidates are drawn, measured and chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Batch", "Candidate", "Proposals", "Wanted"]


class Candidate(NamedTuple):
    """A molecule that may be written."""

    cost: float
    item: int
    smiles: str
    values: tuple[float, ...]
    similarity: float
    scaffold: str
    selfies: str
    evidence: Mapping[str, object]


@dataclass
class Wanted:
    """One wanted molecule while candidates for it are being drawn."""

    number: int
    tried: int = 0
    candidates: list[Candidate] = field(default_factory=list)
    nearest: tuple[float, str] = (math.inf, "")  # cost and SELFIES of the best, hit or miss


class Batch(NamedTuple):
    """Candidates about to be decoded, as :meth:`Proposer.texts` takes them."""

    items: NDArray[np.int64]
    latents: NDArray[np.float32]
    levels: NDArray[np.float32]


class Proposals(NamedTuple):
    """Decoded candidates of one batch."""

    items: NDArray[np.int64]
    texts: list[str]
