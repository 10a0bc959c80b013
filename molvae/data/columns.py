"""Columns of the user's files: their names, and their cells as numbers.

A cell may be yes/no, a gap, a censored value, or in another unit. Its relation (``>``) and its unit
may also be in separate columns.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from molvae.errors import ConfigError, suggest
from molvae.targets import YES_NO

__all__ = [
    "Kind", "Label", "Transform",
    "is_name", "parse_transform", "read_label", "unit_exponent", "unquoted",
]  # fmt: skip

LONGEST_NAME = 200


def is_name(name: object) -> bool:
    """Whether a condition may have this name: it is typed in targets and printed on terminals."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= LONGEST_NAME
        and name.isprintable()
        and name == name.strip()
        and "=" not in name
    )


MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "none", "null", "nd", "n.d.", "-", "?"})
LARGEST = 3e38  # what a dataset can hold
# A number, where a comma may part thousands if the text cannot be a decimal comma: 1,100.5.
_AMOUNT = re.compile(
    r"([+-]?(?:\d{1,3}(?:(?:,\d{3})+\.\d+|(?:,\d{3}){2,})|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?))"
    r"\s*(.*)"
)
_RELATION = re.compile(r"(<=|>=|<<|>>|<|>|≤|≥|~|≈)\s*(.*)")
_MOLAR = {"M": 0, "mM": -3, "uM": -6, "µM": -6, "μM": -6, "nM": -9, "pM": -12, "fM": -15}
_TRANSFORMS = ("log10", "neglog10")

Kind = Literal["number", "word", "missing", "censored", "unit", "bad"]


@dataclass(frozen=True, slots=True)
class Label:
    """One cell: its value (NaN unless a number or a yes/no word) and what kind of text it was.

    ``unit`` is a value in a unit that cannot be converted to that of the column.
    """

    value: float
    kind: Kind


@dataclass(frozen=True)
class Transform:
    """A logarithm of a positive measurement, such as pIC50 from IC50 in nM."""

    name: str = ""
    exponent: int = 0  # the unit in powers of ten
    molar: bool = False  # whether the column had a unit of concentration

    @property
    def unit(self) -> str:
        """What the transformed values are.

        >>> parse_transform("neglog10:nM").unit
        '-log10 M'
        """
        return self.name.replace("neg", "-") + " M" * self.molar

    def __call__(self, value: float, exponent: int | None = None) -> float:
        """The transformed value; NaN where it is not defined. ``exponent`` is that of its unit."""
        if not self.name:
            return value
        if value <= 0:
            return math.nan
        result = math.log10(value) + (self.exponent if exponent is None else exponent)
        return -result if self.name == "neglog10" else result


def parse_transform(text: str) -> Transform:
    """``log10`` or ``neglog10``, with the unit of the column: ``neglog10:nM``.

    >>> round(parse_transform("neglog10:nM")(250.0), 3)  # an IC50 of 250 nM is a pIC50 of 6.602
    6.602
    """
    name, colon, unit = text.strip().partition(":")
    if name not in _TRANSFORMS:
        raise ConfigError(f"transform '{text}': {suggest(name, _TRANSFORMS)}")
    if colon and unit not in _MOLAR:
        raise ConfigError(f"transform '{text}': unknown unit '{unit}'; {suggest(unit, _MOLAR)}")
    return Transform(name, _MOLAR[unit] if colon else 0, molar=bool(colon))


def unquoted(text: str) -> str:
    """A cell without white space and quotes around it, as ChEMBL writes ``'='``."""
    return text.strip().strip("'\"").strip()


def unit_exponent(unit: str) -> int | None:
    """The power of ten of a unit of concentration; None for any other."""
    shown = re.sub(r"mol[ ./]*L(\^?-1)?$", "M", unit.strip(), flags=re.IGNORECASE)
    if shown in _MOLAR:
        return _MOLAR[shown]
    return {name.casefold(): power for name, power in _MOLAR.items()}.get(shown.casefold())


def read_label(
    text: str,
    transform: Transform,
    *,
    limit: bool = False,
    relation: str = "",
    unit: str | None = None,
) -> Label:
    """The value of a cell; with ``limit`` a censored one such as ``>10000`` counts as its limit.

    ``relation`` and ``unit`` are the cells of separate columns. An empty relation is ``=``. For
    a transform with a unit of concentration, values in another one are converted; a unit after the
    number, as in ``53 nM``, comes before that of the column.
    """
    text = text.strip()
    lowered = text.lower()
    if lowered in MISSING:
        return Label(math.nan, "missing")
    relation = unquoted(relation)
    mark = _RELATION.fullmatch(text)
    if mark is not None:
        text = mark[2]
    elif lowered in YES_NO and not transform.name:
        return Label(YES_NO[lowered], "word")
    amount = _AMOUNT.fullmatch(text)
    known_relation = relation in ("", "=") or _RELATION.fullmatch(relation + " ") is not None
    if amount is None or not known_relation:
        return Label(math.nan, "bad")
    number, suffix = float(amount[1].replace(",", "")), amount[2]
    power = unit_exponent(suffix) if transform.molar else None
    if suffix and power is None and (suffix != "%" or transform.molar):
        return Label(math.nan, "bad")
    if unit is not None and transform.molar and not suffix:
        power = unit_exponent(unquoted(unit))
        if power is None:
            return Label(math.nan, "unit")
    value = transform(number, power)
    if not abs(value) < LARGEST:
        return Label(math.nan, "bad")
    if mark is not None or relation not in ("", "="):
        return Label(value if limit else math.nan, "censored")
    return Label(value, "number")
