"""Tables for the terminal, from the JSON form of evaluations."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = [
    "comparison_lines",
    "detail",
    "differs",
    "entries",
    "lines",
    "obtained",
    "short",
    "span",
]

WIDTH = 80
NEEDS = "needs "  # begins the note of a metric that lacks an input
BESIDE = 3  # sets in one line beside the first

_Json = Mapping[str, Any]
_NOTHING: _Json = {"value": None}


def short(value: float | None) -> str:
    """Four decimals, or four significant digits for small and large values; a dash for None.

    >>> short(0.53333333), short(123.456), short(0.00001234), short(None)
    ('0.5333', '123.5', '1.234e-05', '-')
    """
    if value is None:
        return "-"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 100 else f"{value:.4g}"


def span(interval: Sequence[float] | None) -> str:
    """An interval as text; empty for None.

    >>> span([0.5, 0.625])
    '[0.5000, 0.6250]'
    """
    return "" if interval is None else f"[{short(interval[0])}, {short(interval[1])}]"


def detail(entry: _Json) -> str:
    """The numerator and denominator, or the number of molecules, of a value."""
    if "denominator" in entry:
        return f"{entry['numerator']:,.6g}/{entry['denominator']:,}"
    return "" if entry["value"] is None else f"n = {entry['n']:,}"


def entries(data: _Json) -> Iterator[tuple[str, str, _Json]]:
    """(name, kind, metric) in order, without the divergences behind GuacaMol's KL score.

    There is a definition for each kind.
    """
    for name, entry in data["metrics"].items():
        if not name.startswith("GuacaMol/KL/"):
            yield name, name if name.startswith("GuacaMol") else name.split("/")[0], entry
    for target in data["targets"].values():
        kind = "MAD" if "MAD" in target else "hit rate"
        yield f"{target['target']} {kind}", kind, target[kind]
    for name, summary in data["properties"].items():
        yield f"{name} W1", "W1", summary["W1"]


def lines(data: _Json) -> list[str]:
    """One line per metric, target and property; then the metrics not computed, with reasons."""
    targets = {t["target"]: t for t in data["targets"].values()}
    table: list[str] = []
    lacking: dict[str, list[str]] = {}
    for name, kind, entry in entries(data):
        note = entry.get("note", "")
        if kind != "W1" and entry["value"] is None and note.startswith(NEEDS):
            lacking.setdefault(note, []).append(name)
            continue
        texts = [detail(entry), note]
        if kind in ("MAD", "hit rate"):
            texts = [detail(entry), *obtained(targets[name.removesuffix(f" {kind}")])]
        if kind == "W1":
            if data["reference"] is None:
                name = name.removesuffix(" W1")
            texts = [_spread(data["properties"][name.removesuffix(" W1")])]
        text = "; ".join(filter(None, texts))
        left = f"{name:<20} {short(entry['value']):>9}  {span(entry.get('interval')):<18} "
        if entry["value"] is None:
            left = f"{name:<20} {'-':>9}  "
        table += _wrapped(left, text)
    if data["properties"]:
        reference = (
            f", in parentheses those of the {data['reference']} set" if data["reference"] else ""
        )
        table.append(f"Properties: mean ± standard deviation{reference}.")
        if data["reference"]:
            table.append("W1: distance of the two distributions, in the property's unit.")
    if any("MAD" in target for target in data["targets"].values()):
        table.append("MAD: mean distance from the requested value, in the property's unit.")
    for note, names in lacking.items():
        table += textwrap.wrap(f"{', '.join(names)}: {note}", WIDTH, subsequent_indent="  ")
    if not data["targets"]:
        table.append("MAD, hit rate: needs the targets (-t logp=2:3, -t OWN_COLUMN=8)")
    return table


def _wrapped(left: str, text: str) -> list[str]:
    """A row of the table; a text that does not fit continues below its beginning."""
    lines = textwrap.wrap(text, max(WIDTH - len(left), 20)) or [""]
    return [f"{left}{lines[0]}".rstrip(), *(" " * len(left) + line for line in lines[1:])]


def _cut(line: str) -> str:
    line = line.rstrip()
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"


def obtained(target: _Json) -> Iterator[str]:
    """Summary of the obtained values of a target."""
    if target["mean"] is not None:
        yield f"{target['mean']:.4g} ± {target['sd']:.3g}"
    if target["bias"] is not None:
        yield f"bias {target['bias']:+.2g}"
    if (target.get("calibration") or {}).get("slope") is not None:
        yield f"slope {target['calibration']['slope']:.2f}"
    if target["missing"]:
        yield f"{target['missing']:,} without a value"


def _spread(summary: _Json) -> str:
    if summary["mean"] is None:
        return "no values"
    text = f"{summary['mean']:.3g} ± {summary['sd']:.2g}"
    reference = summary.get("reference")
    if reference is None or reference["mean"] is None:
        return text
    return f"{text} ({reference['mean']:.3g} ± {reference['sd']:.2g})"


def comparison_lines(data: _Json) -> list[str]:
    """Sets in columns, metrics in rows; a star marks a difference whose interval excludes 0.

    Two sets also show the difference and its interval; with more, the page and JSON have them. More
    than four sets are printed in several blocks, each with the first set.
    """
    first, *compared = data["sets"]
    table = []
    for start in range(0, len(compared), BESIDE):
        table += [""] if start else []
        table += _block(first, compared[start : start + BESIDE], data["differences"])
    table.append(f"* differs from {first['name']}: the 95 % interval of the difference excludes 0")
    return [_cut(line) for line in table]


def _block(first: _Json, compared: Sequence[_Json], differences: _Json) -> Iterator[str]:
    sets = [first, *compared]
    names = [str(data["name"]) for data in sets]
    known = [{name: entry for name, _, entry in entries(data)} for data in sets]
    two = len(differences) == 1
    head = f"{'':<23} " + " ".join(f"{_tail(name, 12):>12}" for name in names)
    yield head + ("   difference" if two else "")
    for name in known[0]:
        row = [values.get(name, _NOTHING) for values in known]
        if all(entry["value"] is None for entry in row):
            continue
        line = f"{name:<23} {short(row[0]['value']):>12}"
        for name_of_set, entry in zip(names[1:], row[1:], strict=True):
            star = "*" if differs(differences[name_of_set].get(name, {})) else " "
            line += f"{short(entry['value']):>12}{star}"
        if two:
            gap = differences[names[1]].get(name, _NOTHING)
            sign = "+" if gap["value"] is not None and gap["value"] > 0 else ""
            line += f"{sign + short(gap['value']):>11} {span(gap.get('interval'))}"
        yield line


def _tail(name: str, size: int) -> str:
    return name if len(name) <= size else f"…{name[1 - size :]}"


def differs(gap: _Json) -> bool:
    """Whether the interval of a difference excludes 0."""
    low, high = gap.get("interval") or (0, 0)
    return bool(low > 0 or high < 0)
