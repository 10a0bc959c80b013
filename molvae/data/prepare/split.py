"""Which molecules are held out: by a hash, by scaffold, or as a column says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from molvae.data.prepare.parts import NO_SCAFFOLD, SIDE_BIT, Recipe
from molvae.errors import FileError

__all__ = ["split_by_keys"]


def split_by_keys(keys: NDArray[np.uint64], recipe: Recipe) -> tuple[NDArray[np.uint8], bool]:
    """The side of each molecule, 0 train, 1 valid, 2 test, shape (n,), and whether a split column
    names none for validation, so that some of those for training were drawn.

    ``keys`` are the split keys of :class:`molvae.data.prepare.parts.Part`: what they mean depends
    on the split.
    """
    if recipe.split_column is not None:
        return _split_by_column(keys, recipe)
    if recipe.config.split == "scaffold":
        return _split_by_scaffold(keys, recipe), False
    return _split_by_hash(keys, recipe), False


def _split_by_hash(keys: NDArray[np.uint64], recipe: Recipe) -> NDArray[np.uint8]:
    """By a hash of each molecule, so that other rows and their order change nothing."""
    config = recipe.config
    share = keys.astype(np.float64) / 2.0**64
    split = np.zeros(len(keys), dtype=np.uint8)
    split[share < config.test_fraction + config.valid_fraction] = 1
    split[share < config.test_fraction] = 2
    if not (split == 0).any() or not (split == 1).any():
        # A handful of molecules: hold one out and train on one all the same.
        split[int(np.argmin(share))] = 1
        split[int(np.argmax(share))] = 0
    return split


def _split_by_scaffold(keys: NDArray[np.uint64], recipe: Recipe) -> NDArray[np.uint8]:
    """Whole scaffolds, in the order of their hashes, until each held-out part is full.

    Molecules without a ring have no scaffold to hold out, and a scaffold of more molecules than
    half a held-out part would make it a test of that one scaffold: both are for training.
    """
    scaffolds, member, count = np.unique(keys, return_inverse=True, return_counts=True)
    side = np.zeros(len(scaffolds), dtype=np.uint8)
    sizes = {2: recipe.config.test_fraction, 1: recipe.config.valid_fraction}
    free = scaffolds != NO_SCAFFOLD
    for code, fraction in sizes.items():
        wanted = fraction * len(keys)
        able = np.flatnonzero(free & (side == 0) & (count <= max(wanted / 2, 1)))
        before = np.cumsum(count[able]) - count[able]
        side[able[before < wanted]] = code
    split = side[member]
    if not (split == 0).any() or not (split == 1).any():
        raise FileError(
            f"a scaffold split of {len(keys)} molecules on {len(scaffolds)} scaffolds leaves none "
            "to train on or none to validate with; use --split random"
        )
    return split


def _split_by_column(keys: NDArray[np.uint64], recipe: Recipe) -> tuple[NDArray[np.uint8], bool]:
    """As the column says; with no molecule for validation, it is drawn from those of training."""
    split = (keys >> np.uint64(SIDE_BIT)).astype(np.uint8)
    train = np.flatnonzero(split == 0)
    drawing = not (split == 1).any()
    if len(train) < 1 + drawing:
        raise FileError(
            f"split column '{recipe.split_column}': {len(train)} usable molecules are marked "
            "'train', expected more: one is needed to train with and one to validate with"
        )
    if drawing:
        share = (keys[train] & np.uint64((1 << SIDE_BIT) - 1)).astype(np.float64) / 2.0**SIDE_BIT
        drawn = share < recipe.config.valid_fraction
        drawn[int(np.argmin(share))] = True
        drawn[int(np.argmax(share))] = False
        split[train[drawn]] = 1
    return split, drawing
