"""Axes of the charts: numbers to pixels, round ticks whose labels do not overlap, a frame."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Axis",
    "finite",
    "frame",
    "log_axis",
    "mean_sd",
    "number",
    "pixel",
    "spanning",
    "text",
    "ticks",
]

LIMIT = 1e150  # beyond this, squares and differences of two numbers overflow
FONT = 11  # pixels of the drawing; the width of a letter is that of the widest usual font
LETTER = 0.64 * FONT
GAP = 8  # the least distance between two labels


def finite(values: Iterable[float | None]) -> NDArray[np.float64]:
    """The values that can be drawn, without None, NaN and infinities."""
    array = np.asarray([np.nan if v is None else v for v in values], dtype=np.float64)
    return np.clip(array[np.isfinite(array)], -LIMIT, LIMIT)


def number(value: float) -> str:
    """Three or four significant digits, which is what a reader compares.

    >>> number(0.84321), number(312.456), number(-3.0), number(12_345.6), number(6.02e23)
    ('0.843', '312.5', '−3', '12,350', '6.02e23')
    """
    if not math.isfinite(value):
        return "–"
    if 1_000 <= abs(value) < 1e7:
        return _minus(f"{float(f'{value:.4g}'):,.0f}")
    return _minus(_power(f"{value:.4g}" if 100 <= abs(value) < 1_000 else f"{value:.3g}"))


def mean_sd(values: NDArray[np.float64]) -> str:
    """Mean and standard deviation, with the decimals that three digits of the latter need.

    >>> mean_sd(np.array([300.0, 340.0, 380.0])), mean_sd(np.array([0.5, 0.7])), mean_sd(np.ones(2))
    ('340.0 ± 32.7', '0.600 ± 0.100', '1 ± 0')
    """
    if not len(values):
        return "no values"
    mean, sd = float(values.mean()), float(values.std())
    if not 1e-4 < sd < 1e5 or abs(mean) >= 1e6:
        return f"{number(mean)} ± {number(sd)}"
    decimals = max(2 - math.floor(math.log10(sd)), 0)
    return _minus(f"{mean:,.{decimals}f} ± {sd:,.{decimals}f}")


def pixel(value: float) -> str:
    """A coordinate with at most one decimal.

    >>> pixel(12.04), pixel(3.14)
    ('12', '3.1')
    """
    return f"{value:.1f}".removesuffix(".0")


def text(x: float, y: float, content: str, *, anchor: str = "middle", width: float = 0) -> str:
    """An SVG text, escaped; one wider than ``width`` is cut with an ellipsis."""
    if width and _width(content) > width:
        content = content[: max(int(width / LETTER) - 1, 1)].rstrip() + "…"
    place = f"x='{pixel(x)}' y='{pixel(y)}'"
    side = "" if anchor == "middle" else f" text-anchor='{anchor}'"
    return f"<text {place}{side}>{html.escape(content)}</text>"


@dataclass(frozen=True)
class Axis:
    """Numbers from ``low`` to ``high``, drawn from pixel ``start`` to pixel ``end``."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    marks: Sequence[tuple[float, str]] = field(default=())  # ticks and their labels

    def at(self, value: float) -> float:
        """The pixel of a value; those outside the axis land on its ends."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log10(max(value, low)), math.log10(low), math.log10(high)
        share = (value - low) / (high - low)
        return self.start + (self.end - self.start) * min(max(share, 0.0), 1.0)


def spanning(
    values: NDArray[np.float64],
    start: float,
    end: float,
    *,
    pad: float = 0.05,
    whole: bool = False,
) -> Axis:
    """A linear axis over all ``values``, wider by ``pad`` of their range on either side."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    margin = pad * (high - low)
    if high - low <= max(1e-9 * max(abs(low), abs(high)), 1 / LIMIT):  # equal, up to rounding
        margin = 0.5 if max(abs(low), abs(high)) < 1e3 else 0.1 * abs(high)
    return _with_ticks(Axis(low - margin, high + margin, start, end), whole)


def log_axis(values: NDArray[np.float64], start: float, end: float) -> Axis:
    """A logarithmic axis over positive ``values``, with a small margin on either side."""
    low, high = float(values.min()), float(values.max())
    margin = (high / low) ** 0.05 if high > 1.01 * low else 2.0
    axis = Axis(low / margin, high * margin, start, end, log=True)
    for steps, every in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 4), ((1,), 20)):
        marks = [(value, _label(value, value)) for value in _decades(axis, steps, every)]
        if len(marks) >= 2 and _fits(axis, marks):
            return _replace(axis, marks)
    return _with_ticks(axis, False)


def _decades(axis: Axis, steps: Sequence[int], every: int) -> list[float]:
    first, last = math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high))
    values = [m * 10.0**power for power in range(first, last + 1, every) for m in steps]
    return [value for value in values if axis.low <= value <= axis.high]


def _with_ticks(axis: Axis, whole: bool) -> Axis:
    """The axis with as many ticks as fit, five or six at most."""
    for most in (5, 4, 3, 2, 1):
        values, step = ticks(axis.low, axis.high, most, whole=whole)
        marks = [(value, _label(value, step)) for value in values]
        if len({label for _, label in marks}) == len(marks) and _fits(axis, marks):
            return _replace(axis, marks)
    return axis


def _replace(axis: Axis, marks: Sequence[tuple[float, str]]) -> Axis:
    return Axis(axis.low, axis.high, axis.start, axis.end, axis.log, marks)


def ticks(
    low: float, high: float, most: int = 5, *, whole: bool = False
) -> tuple[list[float], float]:
    """About ``most`` round numbers (1, 2 or 5 times a power of ten), and their distance.

    >>> ticks(0.1, 0.93)
    ([0.2, 0.4, 0.6, 0.8], 0.2)
    >>> ticks(0.5, 2.5, whole=True)
    ([1.0, 2.0], 1.0)
    """
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    steps = [max(m * power, 1.0) if whole else m * power for m in (1, 2, 5, 10)]
    _, step = min((abs((high - low) / step - most), step) for step in steps)
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    digits = 1 - math.floor(math.log10(step))
    return [round((first + i) * step, digits) for i in range(count)], step


def _label(value: float, step: float) -> str:
    """A tick's label, with the decimals that the distance of ticks asks for.

    >>> _label(0.5, 0.25), _label(30_000, 10_000), _label(2.5e7, 5e6), _label(-2, 1)
    ('0.50', '30,000', '2.5e7', '−2')
    """
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or step < 1e-6:
        digits = max(math.floor(math.log10(abs(value))) - math.floor(math.log10(step)), 0)
        return _minus(_power(f"{value:.{min(digits, 9)}e}"))
    # 0.25 needs one decimal more than 0.2.
    decimals = max(-math.floor(math.log10(step)), 0)
    if round(step, decimals) != round(step, decimals + 1):
        decimals += 1
    return _minus(f"{value:,.{decimals}f}")


def _power(content: str) -> str:
    """``1.50e+07`` → ``1.5e7``."""
    mantissa, e, exponent = content.partition("e")
    if e and "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}" if e else mantissa


def _minus(content: str) -> str:
    return "−" + content[1:] if content.startswith("-") else content


def _width(content: str) -> float:
    return len(content) * LETTER


def _fits(axis: Axis, marks: Sequence[tuple[float, str]]) -> bool:
    """Whether the labels keep their distance, side by side or one above the other."""
    down = axis.end < axis.start  # only the vertical axes run upwards, from a larger pixel
    places = sorted((axis.at(value), FONT if down else _width(label)) for value, label in marks)
    return all(
        b - a >= (wa + wb) / 2 + GAP / (2 if down else 1)
        for (a, wa), (b, wb) in itertools.pairwise(places)
    )


def frame(x: Axis, y: Axis, *, x_title: str = "", y_title: str = "", right: float) -> str:
    """Grid lines, ticks, labels and titles; ``right`` is where the drawing ends."""
    span = x.end - x.start
    rules = "".join(f"M{pixel(x.start)} {pixel(y.at(v))}h{pixel(span)}" for v, _ in y.marks)
    nicks = "".join(f"M{pixel(x.at(v))} {pixel(y.start)}v4" for v, _ in x.marks)
    parts = [
        f"<path class='grid-lines' d='{rules}'/>" if rules else "",
        f"<path class='axis' d='M{pixel(x.start)} {pixel(y.start)}h{pixel(span)}{nicks}'/>",
    ]
    for value, label in y.marks:
        parts.append(text(x.start - 5, y.at(value) + 4, label, anchor="end"))
    for value, label in x.marks:
        # A label near the border would be cut off; it moves inwards.
        half = _width(label) / 2
        parts.append(text(min(max(x.at(value), half), right - half), y.start + 16, label))
    if x_title:
        middle = (x.start + x.end) / 2
        parts.append(text(middle, y.start + 32, x_title, width=2 * min(middle, right - middle)))
    if y_title:
        parts.append(text(0, y.end - 12, y_title, anchor="start", width=0.8 * right))
    return "".join(parts)
