"""Cards: a molecule, its numbers and its nearest training molecule, drawn in few bytes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from molvae import chem
from molvae.report.axes import finite, number
from molvae.report.records import Card

__all__ = ["Drawn", "grouped", "slim"]


@dataclass(frozen=True)
class Drawn:
    """A card ready for the page; a molecule that RDKit cannot parse has no drawing."""

    card: Card
    svg: str
    neighbor_svg: str
    values: Sequence[tuple[str, str]]


def grouped(cards: Sequence[Card]) -> dict[str, list[Drawn]]:
    """Cards by the sample they come from, in order of appearance."""
    columns: dict[str, list[float]] = {}
    for card in cards:
        for name, value in card.values.items():
            columns.setdefault(name, []).append(value)
    decimals = {name: _decimals(values) for name, values in columns.items()}
    groups: dict[str, list[Drawn]] = {}
    for card in cards:
        values = [(name, _printed(value, decimals[name])) for name, value in card.values.items()]
        neighbor = _picture(card.neighbor) if card.neighbor else ""
        groups.setdefault(card.group, []).append(
            Drawn(card, _picture(card.smiles), neighbor, values)
        )
    return groups


def _decimals(values: Sequence[float]) -> int:
    """The decimals of all values of one property: cards are compared with each other.

    >>> _decimals([3.0, 2.0]), _decimals([312.42, 99.0]), _decimals([2.5, -0.01]), _decimals([0.5])
    (0, 1, 2, 3)
    """
    known = finite(values)
    if (known == known.round()).all():
        return 0
    largest = float(abs(known).max())
    return 1 if largest >= 100 else 2 if largest >= 1 else 3


def _printed(value: float, decimals: int) -> str:
    if not math.isfinite(value) or abs(value) >= 10_000:
        return number(value)
    return f"{value:.{decimals}f}".replace("-", "−")


def _picture(smiles: str) -> str:
    mol = chem.parse(smiles)
    return "" if mol is None else slim(chem.draw_svg(mol))


# A drawing of RDKit's holds one path per bond and letter, each with all its styles. Here paths of
# one look become one path, and places are written relative to each other: a quarter of the bytes.

_PATH = re.compile(r"<path [^>]*?/>")
_PLACE = re.compile(r"\bd='([^']*)'")
_STROKE = re.compile(r"\bstroke:(#\w{6});stroke-width:([\d.]+)px")
_FILL = re.compile(r"\bfill(?::|=')(#\w{6}|none)")
_STEP = re.compile(r"([A-Za-z])|(-?[\d.]+)")
_COORDINATES = {"M": 2, "L": 2, "Q": 4, "C": 6, "Z": 0}


def slim(svg: str) -> str:
    """A drawing in about a quarter of its bytes, for use inside HTML."""
    head, body = svg.split(">", 1)
    box = re.search(r"viewBox='[^']*'", head)
    body = re.sub(r"<!--.*?-->|\sclass='[^']*'|\n|</svg>", "", body, flags=re.DOTALL)
    looks: dict[str, list[str]] = {}
    for path in _PATH.findall(body):
        looks.setdefault(_look(path), []).append(path)
    rest = _PATH.sub("", body).strip()
    joined = "".join(f"<path{look} d='{_joined(paths)}'/>" for look, paths in looks.items())
    return f"<svg {box[0] if box else ''} aria-hidden='true'>{joined}{rest}</svg>"


def _look(path: str) -> str:
    """What a path looks like, as attributes; the usual look, a black bond, needs none."""
    fill, stroke = _FILL.search(path), _STROKE.search(path)
    look = f" fill='{_color(fill[1])}'" if fill and fill[1] != "none" else ""
    if stroke and _color(stroke[1]) != "#000":
        look += f" stroke='{_color(stroke[1])}'"
    if stroke and float(stroke[2]) != 2:
        look += f" stroke-width='{float(stroke[2]):g}'"
    dashes = re.search(r"stroke-dasharray:([\d., ]+)", path)
    if dashes:
        look += f" stroke-dasharray='{dashes[1]}'"
    return look if stroke else look + " stroke='none'"


def _color(color: str) -> str:
    return "#" + color[1::2] if color[1::2] == color[2::2] else color


def _joined(paths: Sequence[str]) -> str:
    places = (_PLACE.search(path) for path in paths)
    return "".join(_relative(place[1]) for place in places if place)


def _relative(path: str) -> str:
    """The same path with relative coordinates in tenths; one with other letters stays as it is.

    >>> _relative("M 63.6,66.9 L 54.7,45.5 L 54.7,45.0 Z")
    'M63.6 66.9l-8.9-21.4 0-.5z'
    """
    steps = [(letter, value) for letter, value in _STEP.findall(path)]
    if any(letter and letter not in _COORDINATES for letter, _ in steps):
        return path
    parts: list[str] = []
    x = y = 0
    letter, last = "", ""
    values: list[int] = []
    for name, value in steps:
        if name:
            letter = name
            if name == "Z":
                parts.append("z")
                last = "z"
            continue
        values.append(round(10 * float(value)))
        if len(values) < _COORDINATES[letter]:
            continue
        ox, oy = (0, 0) if letter == "M" else (x, y)
        moves = [v - (oy if i % 2 else ox) for i, v in enumerate(values)]
        x, y = values[-2:]
        values = []
        written = letter if letter == "M" else letter.lower()
        again = written == last != "M"
        parts.append(("" if again else written) + _tenths(moves, again))
        last = written
    return "".join(parts)


def _tenths(values: Sequence[int], following: bool) -> str:
    """Numbers of tenths, with as few signs between them as SVG can read."""
    content = ""
    for i, value in enumerate(values):
        sign, (whole, tenth) = "-" if value < 0 else "", divmod(abs(value), 10)
        figure = sign + (f"{whole or ''}.{tenth}" if tenth else str(whole))
        content += (" " if (i or following) and not sign else "") + figure
    return content
