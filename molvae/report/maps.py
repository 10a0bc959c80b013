"""Maps of the latent space: one point per molecule, colored by a value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from molvae.report.axes import LIMIT, Axis, finite, frame, number, pixel, spanning, text
from molvae.report.charts import svg
from molvae.report.drawing import Drawing, Key, left_margin
from molvae.report.records import LatentMap

__all__ = ["latent_map", "scale_css"]

# From low to high. Lightness only rises, for color-blind readers and gray printers, and every color
# has a contrast of at least 3 to the paper.
LIGHT = ((68, 1, 84), (68, 57, 131), (43, 106, 142), (29, 138, 125), (84, 147, 50), (167, 142, 0))
DARK = (
    (138, 99, 196),
    (106, 134, 214),
    (68, 165, 201),
    (60, 192, 160),
    (134, 217, 92),
    (245, 230, 80),
)
CLASSES = 12  # colors: m0 … m11 of the style sheet
FINE = 4  # the points are written in quarters of a pixel, as whole numbers

WIDTH, HEIGHT = 440, 360
TOP, BOTTOM = 28, 42


def scale_css(stops: tuple[tuple[int, int, int], ...]) -> str:
    """The colors of a scale as declarations ``--m0: …``, interpolated between its stops."""
    at = np.linspace(0, len(stops) - 1, CLASSES)
    mixed = [np.interp(at, range(len(stops)), channel) for channel in zip(*stops, strict=True)]
    colors = ("".join(f"{round(v):02x}" for v in rgb) for rgb in zip(*mixed, strict=True))
    return " ".join(f"--m{i}: #{color};" for i, color in enumerate(colors))


def latent_map(chart: LatentMap) -> Drawing:
    """A scatter plot with a scale on its right; molecules of unknown value lie below, in gray."""
    points = np.asarray(chart.points, dtype=np.float64)
    placed = np.isfinite(points).all(axis=1)
    points = np.clip(points[placed], -LIMIT, LIMIT)
    values = np.asarray(chart.values, dtype=np.float64)[placed]
    values = np.where(np.isfinite(values), np.clip(values, -LIMIT, LIMIT), np.nan)
    known = finite(values)
    unknown = len(values) - len(known)
    label = _words(chart, points, known, unknown)
    if not len(points):
        return Drawing("", label)
    scale = _scale(known)
    # Phones show the letters of maps larger than they are here.
    right = WIDTH - max(78, 30 + 1.3 * left_margin(scale))
    y = spanning(points[:, 1], HEIGHT - BOTTOM, TOP, pad=0.04)
    x = spanning(points[:, 0], 1.3 * left_margin(y), right, pad=0.04)
    parts = [frame(x, y, x_title=chart.x_label, y_title=chart.y_label, right=right + 10)]
    keys = []
    classes = np.full(len(values), -1)
    if len(known):
        share = (values - scale.low) / (scale.high - scale.low)
        inside = (np.clip(np.nan_to_num(share), 0, 1) * (CLASSES - 1e-9)).astype(np.int64)
        classes = np.where(np.isnan(values), -1, inside)
        parts += _scale_bar(scale, right + 14, chart.unit)
    if unknown:
        dot = "<path class='point m-none' d='M13 6h0' style='stroke-width:6'/>"
        keys.append(Key(dot, "no value", f"{unknown:,} molecules"))
    parts.append(f"<g transform='scale({1 / FINE:g})'>{_dots(points, classes, x, y)}</g>")
    return Drawing(svg(WIDTH, HEIGHT, parts), label, keys)


def _words(
    chart: LatentMap, points: NDArray[np.float64], known: NDArray[np.float64], unknown: int
) -> str:
    if not len(points):
        return f"Map of the latent space by {chart.name}. No values."
    words = f"Map of {len(points):,} molecules by {chart.x_label} and {chart.y_label}"
    if len(known):
        low, middle, high = (number(float(v)) for v in np.quantile(known, (0, 0.5, 1)))
        unit = f" {chart.unit}" if chart.unit else ""
        words += f", colored by {chart.name}: from {low} to {high}{unit}, median {middle}"
    return words + (f"; {unknown:,} without a value." if unknown else ".")


def _scale(known: NDArray[np.float64]) -> Axis:
    """The axis of the colors, from the 1 % to the 99 % quantile."""
    ends = np.quantile(known, (0.01, 0.99)) if len(known) else known
    return spanning(ends, HEIGHT - BOTTOM - 30, TOP + 30, pad=0)


def _scale_bar(scale: Axis, left: float, unit: str) -> list[str]:
    step = (scale.end - scale.start) / CLASSES
    parts = [
        f"<path class='m{i}' d='M{pixel(left)} {pixel(scale.start + i * step)}"
        f"h12v{pixel(step)}h-12z' style='fill:var(--c)' shape-rendering='crispEdges'/>"
        for i in range(CLASSES)
    ]
    for value, name in scale.marks:
        parts.append(text(left + 16, scale.at(value) + 4, name, anchor="start"))
    if unit:
        width = 0.8 * (WIDTH - left)
        parts.append(text(left, scale.end - 10, unit, anchor="start", width=width))
    return parts


def _dots(points: NDArray[np.float64], classes: NDArray[np.int64], x: Axis, y: Axis) -> str:
    """One path per color, of strokes without length: their round caps are the points."""
    parts = []
    radius = 4.4 if len(points) <= 500 else 3.4
    for color in sorted(set(classes.tolist())):
        chosen = points[classes == color]
        path = "".join(
            f"M{round(FINE * x.at(a))} {round(FINE * y.at(b))}h0" for a, b in chosen.tolist()
        )
        name = "m-none" if color < 0 else f"m{color}"
        parts.append(f"<path class='point {name}' d='{path}'/>")
    return f"<g style='stroke-width:{radius * FINE:g}'>{''.join(parts)}</g>"
