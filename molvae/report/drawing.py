"""A finished drawing, and the style of each name on the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from molvae.report.axes import Axis, pixel
from molvae.report.records import Table

__all__ = ["Drawing", "Key", "Palette", "left_margin", "marker", "polyline"]

COLORS = 5  # the classes s0 … s4 of the style sheet; after these they repeat, dotted
SHAPES = (  # of the marks on a line, around 0 0
    "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
    "M-2.7-2.7h5.4v5.4h-5.4z",
    "M0-3.6l3.5 6.2h-7z",
    "M0-3.8l3.8 3.8-3.8 3.8-3.8-3.8z",
    "M0 3.6l3.5-6.2h-7z",
)


@dataclass(frozen=True)
class Key:
    """A line of a legend: a small drawing and what it stands for, with its numbers."""

    symbol: str
    name: str
    figures: str = ""


@dataclass(frozen=True)
class Drawing:
    """A chart: SVG (empty when there is nothing to draw), its words, legend and numbers."""

    svg: str
    label: str
    keys: Sequence[Key] = ()
    table: Table | None = None


class Palette:
    """Names → classes of the style sheet: one color and shape per name, in order of appearance."""

    def __init__(self, names: Iterable[str], reference: str) -> None:
        self.reference = reference
        self.names = [name for name in dict.fromkeys(names) if name != reference]

    def style(self, name: str) -> str:
        """The classes of a line of this name; the reference is dashed and has no color."""
        if name == self.reference:
            return "ref"
        at = self.names.index(name)
        return f"s{at % COLORS}" + (" dotted" if at >= COLORS else "")

    def shape(self, name: str) -> str:
        """The path of a mark of this name, around 0 0; the reference has none."""
        if name == self.reference:
            return ""
        return SHAPES[self.names.index(name) % len(SHAPES)]

    def line_key(self, name: str, figures: str, *, marked: bool = False) -> Key:
        """A stroke as in the chart."""
        style = self.style(name)
        mark = marker(style, self.shape(name), 13, 6) if marked and self.shape(name) else ""
        return Key(f"<path class='line {style}' d='M1 6h24'/>{mark}", name, figures)

    def bar_key(self, name: str, figures: str) -> Key:
        """A filled rectangle as in the chart."""
        return Key(f"<path class='bar {self.style(name)}' d='M1 1h24v10h-24z'/>", name, figures)


def marker(style: str, shape: str, x: float, y: float) -> str:
    """One mark; the shape is moved to its place."""
    place = f"{pixel(x)} {pixel(y)}"
    return f"<path class='dot {style}' transform='translate({place})' d='{shape}'/>"


def polyline(style: str, points: Sequence[tuple[float, float]]) -> str:
    """A line through points given in pixels."""
    path = " ".join(f"{pixel(x)},{pixel(y)}" for x, y in points)
    return f"<polyline class='line {style}' points='{path}'/>"


def left_margin(y: Axis) -> float:
    """The width of the labels of a vertical axis."""
    return 10 + 6.6 * max((len(label) for _, label in y.marks), default=0)
