"""The columns of generated molecules and their cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from molvae.data.writers import format_cell
from molvae.generate.evidence import evidence_columns
from molvae.generate.request import Generated, Request
from molvae.model.checkpoint import SavedModel
from molvae.predict.predictor import EVIDENCE, INTERVAL
from molvae.targets import DISTANCE, Target

__all__ = ["columns_of", "count_inside", "extras_of", "legend", "molecule_row"]


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


def count_inside(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> dict[str, int]:
    """By measured column: how many rows are similar to a measured molecule (``NAME_inside``)."""
    ending = EVIDENCE[-1]
    places = {
        name: columns.index(f"{name}{ending}") for name in columns if f"{name}{ending}" in columns
    }
    counts: Counter[str] = Counter()
    for row in rows if places else ():
        counts.update(name for name, place in places.items() if row[place] == "yes")
    return {name: counts[name] for name in places}


def legend(columns: Sequence[str], row: Sequence[object]) -> str:
    """The values of a molecule as short lines below its picture.

    A measured column has its interval, the measured value of the nearest molecule, and whether that
    is near enough; the distance from a request, which the request and the value say, is left out.
    """
    cells = {name: _short(value) for name, value in zip(columns, row, strict=True)}
    derived = {f"{name}{ending}" for name in cells for ending in (*INTERVAL, *EVIDENCE, DISTANCE)}
    lines = []
    for name, text in cells.items():
        if name in derived or name in (columns[0], "start"):
            continue
        low, high = (cells.get(f"{name}{ending}") for ending in INTERVAL)
        lines.append(f"{name} {text}" + (f" ({low} to {high})" if low and high else ""))
        if f"{name}_inside" in cells:
            lines.append(
                f"nearest {cells[f'{name}_nearest_value']}, inside {cells[f'{name}_inside']}"
            )
    return "\n".join(lines)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else format_cell(value)
