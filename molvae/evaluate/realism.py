"""How generated molecules differ from training molecules, as the realism critic sees it.

Shares of molecules with a ring system or an atom environment that no training molecule has, and
the classifier two-sample test (Lopez-Paz & Oquab 2017) on the inputs of the critic.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.realism_features import describe, kinds
from molvae.evaluate.metrics import NO_VALID, Metric, ratio
from molvae.realism.critic import LEAST_MOLECULES, two_sample_auc
from molvae.realism.inputs import FactTable
from molvae.realism.plausibility import Counts, Plausibility

__all__ = [
    "AUC",
    "SAMPLE",
    "UNSEEN",
    "Novelties",
    "fact_arrays",
    "fact_table",
    "from_arrays",
    "novelties",
    "realism_auc",
    "table_arrays",
    "unseen",
]

UNSEEN = ("unseen ring systems", "unseen environments")
AUC = "realism AUC"
SAMPLE = 10_000  # molecules of either set for the AUC; more change its third decimal

_Arrays = dict[str, NDArray[Any]]


class Novelties(NamedTuple):
    """What molecules have that no training molecule has, one flag per molecule, (N,)."""

    ring_system: NDArray[np.bool_]
    environment: NDArray[np.bool_]


# -- in worker processes --------------------------------------------------------------------------


def fact_table(texts: Sequence[str]) -> FactTable:
    """The critic's facts of the valid ones of some texts."""
    return FactTable.of([describe(mol) for mol in map(chem.parse, texts) if mol is not None])


def novelties(table: Plausibility) -> Callable[[Sequence[str]], Novelties]:
    """A task for valid SMILES: what each molecule has that the table lacks."""
    return functools.partial(_novelties, table)


def _novelties(table: Plausibility, smiles: Sequence[str]) -> Novelties:
    mols = [mol for mol in map(chem.parse, smiles) if mol is not None]
    novelties = [table.unseen(kinds(mol)) for mol in mols]
    rings = np.asarray([bool(new.ring_systems) for new in novelties], dtype=np.bool_)
    return Novelties(
        rings, np.asarray([bool(new.environments) for new in novelties], dtype=np.bool_)
    )


# -- metrics --------------------------------------------------------------------------------------


def unseen(flags: NDArray[np.bool_]) -> Metric:
    """Share of the molecules with a flag."""
    return ratio(int(flags.sum()), len(flags), NO_VALID)


def realism_auc(train: FactTable, generated: FactTable) -> Metric:
    """The two-sample test of equally many training and generated molecules, held out."""
    size = min(len(train), len(generated))
    if size < LEAST_MOLECULES:
        note = f"needs {LEAST_MOLECULES} molecules on each side, got {size:,}"
        return Metric(None, len(generated), note=note)
    return Metric(two_sample_auc(train, generated), len(generated))


# -- files of the cache ---------------------------------------------------------------------------


def table_arrays(table: Plausibility) -> _Arrays:
    """The arrays of a plausibility table."""
    return {
        "rings": table.ring_systems.ids,
        "ring_molecules": table.ring_systems.molecules,
        "environments": table.environments.ids,
        "environment_molecules": table.environments.molecules,
        "molecules": np.asarray(table.molecules),
    }


def from_arrays(arrays: _Arrays) -> Plausibility:
    """The table of :func:`table_arrays`."""
    return Plausibility(
        Counts(arrays["rings"], arrays["ring_molecules"]),
        Counts(arrays["environments"], arrays["environment_molecules"]),
        int(arrays["molecules"]),
    )


def fact_arrays(table: FactTable) -> _Arrays:
    """The arrays of a table of facts, by the names of its fields."""
    return {field.name: getattr(table, field.name) for field in fields(FactTable)}
