"""Shared by all diagnostics: noise levels, batches of molecules, progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from molvae.chem.vocabulary import Vocabulary
from molvae.data.dataset import Batch

__all__ = ["Advance", "Molecules", "batches", "nothing"]

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)  # noise levels at which R and D are measured
EVAL_BATCH = 256

Advance = Callable[[int], object]  # called with the number of molecules decoded since the last call


class Molecules(Protocol):
    """The interface of a set of molecules; :class:`molvae.data.dataset.Dataset` has it."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's vocabulary."""

    def lengths(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of ids of the given molecules, without <eos>."""

    def batch(self, items: NDArray[np.int64]) -> Batch:
        """The given molecules, padded together; the noise of each is addressed by its number in
        ``Batch.items``.
        """


def nothing(count: int) -> None:
    """No progress report."""


def batches(
    molecules: Molecules, items: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """(indices into ``items``, batch), sorted by length to reduce padding."""
    order = np.argsort(molecules.lengths(items), kind="stable")
    for start in range(0, len(order), EVAL_BATCH):
        places = order[start : start + EVAL_BATCH]
        yield places, molecules.batch(items[places])
