"""Exports of assay databases: which options read the relation, unit and endpoint of a column.

ChEMBL and PubChem write a value, its relation (``>``), its unit and its endpoint (IC50, Ki) into
separate columns, one row per measurement. BindingDB has one column per endpoint, in nM, with
the relation in the cell.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from molvae.config import DataConfig

__all__ = ["option_advice"]

RELATIONS = ("relation", "relationship", "qualifier", "operator", "modifier", "prefix", "censored")
UNITS = ("units", "unit")
TYPES = ("type", "endpoint", "measurement", "activitytype", "resulttype")


def option_advice(
    shown: str,
    header: Sequence[str],
    config: DataConfig,
    values_of: Callable[[str], Iterable[str]],
) -> list[str]:
    """Notes that name the options a file's columns call for, of those that are not given.

    ``values_of`` gives cells of a column, to see whether it holds several endpoints; the most
    frequent one is proposed.
    """
    notes = []
    for name, column in config.properties.items():
        if column not in header:
            continue
        key = f"{name}=" if len(config.properties) > 1 else ""
        options, parts = [], []
        plain = "pchembl" not in _normal(column)  # computed from exact values in molar units
        for what, endings, option, given in (
            ("relations", RELATIONS, "--relation", config.relations),
            ("units", UNITS, "--unit", config.units),
        ):
            about = _companion(header, column, endings)
            if plain and about is not None and name not in given and about not in config.where:
                parts.append(what)
                options.append(f"{option} {shlex.quote(key + about)}")
        long = _normal(column).endswith(("value", "activity", "result"))
        kind = _companion(header, column, TYPES) if long else None
        if kind is not None and kind not in config.where:
            kinds = Counter(cell for cell in values_of(kind) if cell).most_common()
            if len(kinds) > 1:
                listed = ", ".join(f"{cell} in {count:,}" for cell, count in kinds[:5])
                more = " …" if len(kinds) > 5 else ""
                parts.append(f"several endpoints ({listed}{more} of the first rows)")
                options.append(f"--where {shlex.quote(f'{kind}={kinds[0][0]}')}")
        in_nanomolar = "BindingDB" in _looks_like(header) and column.endswith("(nM)")
        if in_nanomolar and name not in config.transforms:
            parts.append("values in nM over many powers of ten")
            options.append(f"--transform {key}neglog10:nM")
        if options:
            notes.append(
                f"note: '{shown}'{_looks_like(header)} has {', '.join(parts)} for column "
                f"'{column}'; to read them add {' '.join(options)}"
            )
    return notes


def _looks_like(header: Sequence[str]) -> str:
    text = " ".join(map(_normal, header))
    for sign, database in (
        ("bindingdb", "BindingDB"),
        ("pubchem", "PubChem"),
        ("chembl", "ChEMBL"),
    ):
        if sign in text:
            return f" looks like a {database} export and"
    return ""


def _companion(header: Sequence[str], column: str, endings: Sequence[str]) -> str | None:
    """The column about another one: "Standard Units" of "Standard Value", "IC50_unit" of "IC50"."""
    header = [cell for cell in header if header.count(cell) == 1]
    stem = _normal(column).removesuffix("value").removeprefix("pchembl") or ""
    stems = (stem, "standard", "") if _normal(column) in ("pchemblvalue", "value") else (stem,)
    for start in stems:
        for ending in endings:
            for cell in header:
                if cell != column and _normal(cell) == start + ending:
                    return cell
    alone = [cell for cell in header if _normal(cell) in endings and cell != column]
    return alone[0] if len(alone) == 1 else None


def _normal(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
