"""Histograms, curves and calibration plots as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from molvae.report.axes import (
    LIMIT,
    Axis,
    finite,
    frame,
    log_axis,
    mean_sd,
    number,
    pixel,
    spanning,
)
from molvae.report.drawing import Drawing, Key, Palette, left_margin, marker, polyline
from molvae.report.records import Calibration, Cell, Curve, Histogram, Row, Table

__all__ = ["calibration", "curve", "edges", "histogram", "shares", "svg"]

BINS = 30
WIDTH = 330  # of all charts in the grid, so that their letters have one size
RIGHT = 12  # margin for half of the last label
TOP = 26  # margin for the title of the vertical axis
REQUEST = "<path class='request' d='M1 1h24v10h-24z'/><path class='line asked' d='M13 1v10'/>"
MARKED = 40  # a line through more points than this is drawn without marks

_Floats = NDArray[np.float64]
_Points = list[tuple[float, float] | None]


def svg(width: float, height: float, parts: Sequence[str]) -> str:
    """The parts as one drawing; it is described by the element around it."""
    body = "".join(parts)
    return f"<svg viewBox='0 0 {pixel(width)} {pixel(height)}' aria-hidden='true'>{body}</svg>"


# Histograms


def histogram(chart: Histogram, palette: Palette) -> Drawing:
    """Shares of molecules: filled bars for one set, outlines for several, the reference dashed."""
    sets = [(name, finite(values)) for name, values in chart.sets]
    if chart.reference is not None:
        sets.append((palette.reference, finite(chart.reference)))
    filled = len(chart.sets) == 1
    keys = []
    for i, (name, values) in enumerate(sets):
        key = palette.bar_key if filled and i == 0 else palette.line_key
        keys.append(key(name, chart.figures.get(name) or mean_sd(values)))
    words = "; ".join(f"{key.name}: {key.figures}" for key in keys)
    label = f"Histogram of {chart.description or chart.name}. {words}."
    drawn = [(name, values) for name, values in sets if len(values)]
    if not drawn:
        return Drawing("", label, keys)
    bins = edges([values for _, values in drawn], chart.integer)
    if chart.request is not None:
        # The axis goes as far as a request nearby, but is not squeezed by one far away.
        reach = bins[-1] - bins[0]
        near = [v for v in chart.request if bins[0] - reach <= v <= bins[-1] + reach]
        bins = edges([*(v for _, v in drawn), *(np.array([v]) for v in near)], chart.integer)
    heights = [(name, shares(values, bins)) for name, values in drawn]
    height, bottom = 194, 42
    y = spanning(np.array([0, *(100 * h.max() for _, h in heights)]), height - bottom, TOP, pad=0)
    x = spanning(bins, left_margin(y), WIDTH - RIGHT, pad=0, whole=chart.integer)
    parts = [frame(x, y, x_title=chart.unit, y_title="% of molecules", right=WIDTH)]
    if chart.request is not None:
        mark = _request(chart.request, chart.integer, x, y)
        parts.append(mark)
        beyond = "" if mark else "beyond the chart"
        words = ", ".join(filter(None, (chart.figures.get("requested", ""), beyond)))
        keys.append(Key(REQUEST, "requested", words))
        label += f" Requested: {words or 'as marked'}."
    for name, share in heights:
        style = palette.style(name)
        if filled and name == chart.sets[0][0]:
            parts += _bars(style, bins, 100 * share, x, y)
        else:
            parts.append(_outline(style, bins, 100 * share, x, y))
    return Drawing(svg(WIDTH, height if chart.unit else height - 14, parts), label, keys)


def _request(request: tuple[float, float], integer: bool, x: Axis, y: Axis) -> str:
    """A band with a line at each end, or one line; nothing if it lies beyond the axis."""
    low, high = request
    if integer and low < high and np.ceil(low) <= np.floor(high):
        low, high = np.ceil(low) - 0.5, np.floor(high) + 0.5  # whole bars
    if high < x.low or low > x.high:
        return ""
    height = y.start - y.end
    ends = [x.at(v) for v in dict.fromkeys((low, high)) if x.low <= v <= x.high]
    lines = "".join(f"M{pixel(at)} {pixel(y.end)}v{pixel(height)}" for at in ends)
    parts = [f"<path class='line asked' d='{lines}'/>"] if lines else []
    if low < high:
        parts.append(
            f"<rect class='request' x='{pixel(x.at(low))}' y='{pixel(y.end)}' "
            f"width='{pixel(x.at(high) - x.at(low))}' height='{pixel(height)}'/>"
        )
    return "".join(parts)


def edges(sets: Sequence[_Floats], integer: bool = False) -> _Floats:
    """Bin edges over all sets, from the 0.5 % to the 99.5 % quantile; what lies outside joins
    the outermost bins, so that one outlier does not squeeze all others into one bar.
    """
    ends = [np.quantile(values, (0.005, 0.995)) for values in sets]
    low, high = float(min(e[0] for e in ends)), float(max(e[1] for e in ends))
    if integer:
        low, high = math.floor(low), math.ceil(high)
        step = math.ceil((high - low + 1) / BINS)
        return np.arange(low - 0.5, high + step, step)
    if high - low <= max(1e-9 * max(abs(low), abs(high)), 1 / LIMIT):  # equal, up to rounding
        half = max(0.5, 0.1 * abs(high))
        low, high = low - half, high + half
    return np.linspace(low, high, BINS + 1)


def shares(values: _Floats, bins: _Floats) -> _Floats:
    """The share of the values in each bin."""
    counts, _ = np.histogram(np.clip(values, bins[0], bins[-1]), bins=bins)
    return np.asarray(counts / max(len(values), 1), dtype=np.float64)


def _bars(style: str, bins: _Floats, heights: _Floats, x: Axis, y: Axis) -> list[str]:
    parts = []
    for a, b, height in zip(bins, bins[1:], heights, strict=False):
        if height > 0:
            left, top = x.at(a), y.at(height)
            parts.append(
                f"<rect class='bar {style}' x='{pixel(left)}' y='{top:.2f}' "
                f"width='{pixel(max(x.at(b) - left - 1, 0.5))}' height='{y.start - top:.2f}'/>"
            )
    return parts


def _outline(style: str, bins: _Floats, heights: _Floats, x: Axis, y: Axis) -> str:
    points = [(x.at(bins[0]), y.start)]
    for a, b, height in zip(bins, bins[1:], heights, strict=False):
        points += [(x.at(a), y.at(height)), (x.at(b), y.at(height))]
    return polyline(style, [*points, (x.at(bins[-1]), y.start)])


# Curves


def curve(chart: Curve, palette: Palette) -> Drawing:
    """Lines with a mark at each value; a missing value interrupts its line."""
    order = np.argsort(np.asarray(chart.x, dtype=np.float64), kind="stable")
    lines = [(line.name, _points(chart.x, line.y, order)) for line in chart.series]
    keys, words = [], []
    for name, points in lines:
        known = [point for point in points if point is not None]
        last = f"{number(known[-1][1])} at {number(known[-1][0])}" if known else "no values"
        keys.append(palette.line_key(name, last, marked=len(points) <= MARKED))
        listed = ", ".join(f"{number(v)} at {number(at)}" for at, v in known[-12:])
        words.append(f"{name}: {listed or 'no values'}")
    label = f"{chart.name} against {chart.x_label}. {'; '.join(words)}."
    known = [point for _, points in lines for point in points if point is not None]
    if not known:
        return Drawing("", label, keys)
    xs, ys = (np.array(values) for values in zip(*known, strict=True))
    y = spanning(ys, 214 - 42, TOP, pad=0.08)
    ends = left_margin(y), WIDTH - RIGHT
    x = (
        log_axis(xs, *ends)
        if chart.log_x and xs.min() > 1 / LIMIT
        else spanning(xs, *ends, pad=0.04)
    )
    parts = [frame(x, y, x_title=chart.x_label, y_title=chart.name, right=WIDTH)]
    for name, points in lines:
        parts += _line(palette, name, points, x, y)
    return Drawing(svg(WIDTH, 214, parts), label, keys, _curve_table(chart, order))


def _points(x: Sequence[float], y: Sequence[float | None], order: NDArray[np.int64]) -> _Points:
    """(x, y) by ascending x; None where either is missing."""
    pairs = [finite((x[i], y[i])) for i in order]
    return [(float(pair[0]), float(pair[1])) if len(pair) == 2 else None for pair in pairs]


def _line(palette: Palette, name: str, points: _Points, x: Axis, y: Axis) -> list[str]:
    style, shape = palette.style(name), palette.shape(name)
    pieces: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is None:
            pieces.append([])
        else:
            pieces[-1].append((x.at(point[0]), y.at(point[1])))
    parts = [polyline(style, piece) for piece in pieces if len(piece) > 1]
    for piece in pieces:
        # A point without neighbors has no line: it shows only by its mark.
        if shape and (len(points) <= MARKED or len(piece) == 1):
            parts += [marker(style, shape, *point) for point in piece]
        elif len(piece) == 1:
            parts.append(marker(style, "M-4 0h8", *piece[0]))
    return parts


def _curve_table(chart: Curve, order: NDArray[np.int64]) -> Table:
    rows = [
        Row(number(chart.x[i]), [Cell(_optional(line.y[i])) for line in chart.series])
        for i in order
    ]
    return Table([line.name for line in chart.series], rows, head=chart.x_label)


def _optional(value: float | None) -> str:
    return "–" if value is None else number(value)


# Calibration


def calibration(chart: Calibration) -> Drawing:
    """Means with error bars over the requested values, on axes of equal ranges."""
    quads = zip(chart.requested, chart.obtained, chart.spread, chart.n, strict=True)
    rows = [
        (asked, mean, sd if sd is not None and math.isfinite(sd) else None, n)
        for asked, mean, sd, n in sorted(quads, key=lambda quad: quad[0])
    ]
    known = [
        (asked, mean, sd or 0.0) for asked, mean, sd, _ in rows if len(finite((asked, mean))) == 2
    ]
    words = "; ".join(
        f"{number(asked)} gave {number(mean)}"
        + (f" ± {number(sd)}" if sd is not None else "")
        + f" (n = {n:,})"
        for asked, mean, sd, n in rows
    )
    label = f"Obtained against requested {chart.name}. {words or 'No values'}."
    table = Table(
        ["Obtained", "sd", "n"],
        [
            Row(number(asked), [Cell(number(mean)), Cell(_optional(sd)), Cell(f"{n:,}")])
            for asked, mean, sd, n in rows
        ],
        head="Requested",
    )
    if not known:
        return Drawing("", label, table=table if rows else None)
    return Drawing(_calibration_svg(chart, known), label, _calibration_keys(chart), table)


def _calibration_svg(chart: Calibration, known: Sequence[tuple[float, float, float]]) -> str:
    reached = finite(v for asked, mean, sd in known for v in (asked, mean - sd, mean + sd))
    left = left_margin(spanning(reached, 40, WIDTH - RIGHT))
    x = spanning(reached, left, WIDTH - RIGHT)
    side = x.end - x.start
    y = Axis(x.low, x.high, TOP + side, TOP, marks=x.marks)
    unit = f", {chart.unit}" if chart.unit else ""
    parts = [
        frame(x, y, x_title=f"requested{unit}", y_title=f"obtained{unit}", right=WIDTH),
        polyline("ref", [(x.start, y.start), (x.end, y.end)]),
    ]
    for asked, mean, sd in known:
        at = x.at(asked)
        low, high = y.at(mean - sd), y.at(mean + sd)
        if sd:
            bar = f"M{pixel(at)} {pixel(low)}V{pixel(high)}"
            caps = f"M{pixel(at - 4)} {pixel(low)}h8M{pixel(at - 4)} {pixel(high)}h8"
            parts.append(f"<path class='error s0' d='{bar}{caps}'/>")
        parts.append(marker("s0", "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z", at, y.at(mean)))
    return svg(WIDTH, TOP + side + 40, parts)


def _calibration_keys(chart: Calibration) -> list[Key]:
    sizes = sorted(set(chart.n))
    n = f"n = {sizes[0]:,}" + (f" to {sizes[-1]:,}" if len(sizes) > 1 else "")
    dot = "<path class='error s0' d='M13 1v10'/>" + marker(
        "s0", "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z", 13, 6
    )
    return [
        Key(dot, "mean ± sd of the obtained", n),
        Key("<path class='line ref' d='M1 6h24'/>", "obtained = requested"),
    ]
