"""The columns of generated molecules and their cells."""

from __future__ import annotations

from collections.abc import Sequence

from molvae.generate.evidence import evidence_columns
from molvae.generate.request import Generated, Request
from molvae.model.checkpoint import SavedModel
from molvae.targets import DISTANCE, Target

__all__ = ["columns_of", "extras_of", "molecule_row"]


def columns_of(targets: Sequence[Target], extras: Sequence[str] = ()) -> list[str]:
    """Columns of the output: SMILES, requested properties, their distance from requested values.

    ``extras`` are those of :func:`extras_of`.
    """
    names = [target.name for target in targets]
    return ["smiles", *names, *(f"{t.name}{DISTANCE}" for t in targets if t.is_point), *extras]


def extras_of(request: Request, model: SavedModel) -> tuple[str, ...]:
    """Columns after those of the targets.

    Those of :func:`molvae.generate.evidence.evidence_columns`, then of
    :attr:`molvae.generate.request.Request.extras`.
    """
    names = evidence_columns([target.name for target in request.targets], model.predictors)
    return (*names, *request.extras)


def molecule_row(
    molecule: Generated, targets: Sequence[Target], extras: Sequence[str] = ()
) -> list[object]:
    """The cells of :func:`columns_of` for one molecule."""
    distances = [molecule.values[t.name] - t.low for t in targets if t.is_point]
    evidence = molecule.evidence
    more = [evidence[n] if n in evidence else getattr(molecule, n, None) for n in extras]
    return [molecule.smiles, *(molecule.values[t.name] for t in targets), *distances, *more]
