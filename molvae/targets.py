"""Property targets: a value or a range, parsed from text and compared with values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae.errors import TargetError, suggest

__all__ = [
    "DISTANCE",
    "NUMBER",
    "YES_NO",
    "Target",
    "hit",
    "misfit",
    "parse_target",
    "parse_targets",
    "require_once",
    "target_list",
]


DISTANCE = "_minus_target"  # ending of the column with obtained minus requested values


@dataclass(frozen=True)
class Target:
    """The value or range requested for one property; ``low == high`` is a point.

    >>> parse_target("qed=0.8:").text
    'qed=0.8:'
    """

    name: str
    low: float
    high: float
    exact: bool = False  # LOW:LOW, a range of one value: unlike a point, it must be met

    @property
    def is_point(self) -> bool:
        """Whether the target is a single value, to be met as closely as possible."""
        return self.low == self.high and not self.exact

    @property
    def text(self) -> str:
        """The target as it is typed on the command line."""
        if self.is_point:
            return f"{self.name}={_number(self.low)}"
        low = "" if math.isinf(self.low) else _number(self.low)
        high = "" if math.isinf(self.high) else _number(self.high)
        return f"{self.name}={low}:{high}"


def _number(value: float) -> str:
    """The shortest text that reads back as the same number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


# How a yes/no value is written, in any case.
YES_NO = {
    "yes": 1.0, "true": 1.0, "active": 1.0, "no": 0.0, "false": 0.0, "inactive": 0.0,
}  # fmt: skip
# A decimal number in a regular expression.
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_TARGET = re.compile(
    rf"(?P<name>[^\s=](?:[^=]*[^\s=])?)=(?:(?P<value>{NUMBER}|(?i:{'|'.join(YES_NO)}))|"
    rf"(?P<low>{NUMBER})?(?P<colon>:)(?P<high>{NUMBER})?)"
)


def _hint(text: str) -> str:
    """How to write what a malformed target probably means, for the error."""
    if re.search(r"\d,\d", text):
        return "; write the decimal point as '.'"
    if re.search("[<>≤≥]", text):
        return "; 'at least 8' is NAME=8: and 'at most 8' is NAME=:8"
    return ""


def parse_target(text: str) -> Target:
    """Parse ``NAME=VALUE``, ``NAME=LOW:HIGH``, ``NAME=LOW:`` or ``NAME=:HIGH``."""
    match = _TARGET.fullmatch(text.strip())
    if match is None or (match["colon"] and match["low"] is None and match["high"] is None):
        raise TargetError(
            f"target '{text}': expected NAME=VALUE, NAME=LOW:HIGH, NAME=LOW: or NAME=:HIGH, "
            f"for example logp=2.5 or qed=0.8:{_hint(text)}"
        )
    if match["value"] is not None:
        word = match["value"].lower()
        value = YES_NO[word] if word in YES_NO else float(word)
        low = high = value
    else:
        low = float(match["low"]) if match["low"] is not None else -math.inf
        high = float(match["high"]) if match["high"] is not None else math.inf
    typed = (match["value"], match["low"], match["high"])
    if any(math.isinf(v) for v, t in zip((low, low, high), typed, strict=True) if t is not None):
        raise TargetError(f"target '{text}': the number is too large")
    if low > high:
        raise TargetError(f"target '{text}': the lower bound {low:g} exceeds the upper {high:g}")
    return Target(match["name"], low, high, exact=match["colon"] is not None and low == high)


def parse_targets(
    targets: Iterable[str | Target], known: Iterable[str], *, hint: str = ""
) -> tuple[Target, ...]:
    """Parse those targets that are texts and check all names; a property may have one target.

    ``hint`` is added to the error of an unknown name.
    """
    if isinstance(targets, str):  # one target, not a sequence of letters
        targets = [targets]
    names = set(known)
    parsed = [parse_target(target) if isinstance(target, str) else target for target in targets]
    for target in parsed:
        if not isinstance(target, Target):
            raise TargetError(f"target {target!r}: expected a text, for example logp=2:3")
        if target.name not in names:
            raise TargetError(
                f"unknown property '{target.name}': {suggest(target.name, names)}{hint}"
            )
    require_once((target.name, target.text) for target in parsed)
    return tuple(parsed)


def target_list(targets: Any) -> list[Any]:
    """Targets as a list: from one text, several, or a table of names and values or pairs."""
    if hasattr(targets, "items"):  # a dict, or a series of pandas
        return [f"{name}={_value(value)}" for name, value in targets.items()]
    return [targets] if isinstance(targets, str) else list(targets)


def _value(value: object) -> object:
    """A value of a table of targets; a pair is a range, with None for an open end."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        return value
    return ":".join("" if end is None else str(end) for end in value)


def require_once(asked: Iterable[tuple[str, str]]) -> None:
    """Refuse a property that is asked for twice; ``asked`` are pairs of name and text."""
    before: dict[str, str] = {}
    for name, text in asked:
        if name in before:
            raise TargetError(
                f"property '{name}' is asked for twice: '{before[name]}' and '{text}'"
            )
        before[name] = text


def hit(target: Target, values: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Whether each value lies in the target's range, ends included; a missing value does not."""
    # A sum of atom contributions may differ from a bound by a rounding error.
    low, high = (
        bound - sign * 1e-9 * abs(bound) if math.isfinite(bound) else bound
        for bound, sign in ((target.low, 1), (target.high, -1))
    )
    return (values >= low) & (values <= high)


def misfit(target: Target, values: NDArray[np.floating[Any]], spread: float) -> NDArray[np.float64]:
    """Distance from each value to the target in units of ``spread``; 0 inside a range."""
    below, above = target.low - values, values - target.high
    distance = np.maximum(np.maximum(below, above), 0.0) / spread
    return np.where(np.isnan(values), np.inf, np.where(hit(target, values), 0.0, distance))
