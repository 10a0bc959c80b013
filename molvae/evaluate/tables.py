"""Evaluations in their JSON form → lines of text for a terminal."""

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
    """Four places, or four digits where that is more; a dash for nothing.

    >>> short(0.53333333), short(123.456), short(0.00001234), short(None)
    ('0.5333', '123.5', '1.234e-05', '-')
    """
    if value is None:
        return "-"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 100 else f"{value:.4g}"


def span(interval: Sequence[float] | None) -> str:
    """An interval; nothing for none.

    >>> span([0.5, 0.625])
    '[0.5000, 0.6250]'
    """
    return "" if interval is None else f"[{short(interval[0])}, {short(interval[1])}]"


def detail(entry: _Json) -> str:
    """What a value is out of."""
    if "denominator" in entry:
        return f"{entry['numerator']:,.6g}/{entry['denominator']:,}"
    return "" if entry["value"] is None else f"n = {entry['n']:,}"


def entries(data: _Json) -> Iterator[tuple[str, str, _Json]]:
    """(name, kind, metric) in order, without the divergences that make up one score of GuacaMol.

    There is a definition for each kind.
    """
    for name, entry in data["metrics"].items():
        if not name.startswith("GuacaMol/KL/"):
            yield name, name if name.startswith("GuacaMol") else name.split("/")[0], entry
    for target in data["targets"].values():
        kind = "MAD" if "MAD" in target else "hit rate"
        yield f"{target['target']} {kind}", kind, target[kind]
    for name, found in data["properties"].items():
        yield f"{name} W1", "W1", found["W1"]


def lines(data: _Json) -> list[str]:
    """One line per metric, target and property; then what was not computed, and why."""
    targets = {t["target"]: t for t in data["targets"].values()}
    found: list[str] = []
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
        found.append(_cut(left + text))
    if data["properties"]:
        other = f", in parentheses those of {data['reference']}" if data["reference"] else ""
        found.append(f"Properties: mean ± standard deviation{other}.")
    for note, names in lacking.items():
        found += textwrap.wrap(f"{', '.join(names)}: {note}", WIDTH, subsequent_indent="  ")
    if not data["targets"]:
        found.append("MAD, hit rate: needs what was asked for (-t logp=2:3, -t OWN_COLUMN=8)")
    return found


def _cut(line: str) -> str:
    line = line.rstrip()
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"


def obtained(target: _Json) -> Iterator[str]:
    """What the obtained values of a target are like."""
    if target["mean"] is not None:
        yield f"{target['mean']:.4g} ± {target['sd']:.3g}"
    if target["bias"] is not None:
        yield f"bias {target['bias']:+.2g}"
    if (target.get("calibration") or {}).get("slope") is not None:
        yield f"slope {target['calibration']['slope']:.2f}"
    if target["missing"]:
        yield f"{target['missing']:,} without a value"


def _spread(found: _Json) -> str:
    if found["mean"] is None:
        return "no values"
    text = f"{found['mean']:.3g} ± {found['sd']:.2g}"
    other = found.get("reference")
    if other is None or other["mean"] is None:
        return text
    return f"{text} ({other['mean']:.3g} ± {other['sd']:.2g})"


def comparison_lines(data: _Json) -> list[str]:
    """Sets side by side: metrics are lines; a star marks a difference whose interval leaves out 0.

    Of two sets the difference and its interval are shown, of more the page and JSON have them. More
    than four come in several blocks, each with the first set.
    """
    first, *others = data["sets"]
    found = []
    for start in range(0, len(others), BESIDE):
        found += [""] if start else []
        found += _block(first, others[start : start + BESIDE], data["differences"])
    found.append(
        f"* differs from {first['name']}: the 95 % interval of the difference leaves out 0"
    )
    return [_cut(line) for line in found]


def _block(first: _Json, others: Sequence[_Json], differences: _Json) -> Iterator[str]:
    sets = [first, *others]
    names = [str(one["name"]) for one in sets]
    known = [{name: entry for name, _, entry in entries(one)} for one in sets]
    two = len(differences) == 1
    head = f"{'':<23} " + " ".join(f"{_tail(name, 12):>12}" for name in names)
    yield head + ("   difference" if two else "")
    for name in known[0]:
        own = [values.get(name, _NOTHING) for values in known]
        if all(entry["value"] is None for entry in own):
            continue
        line = f"{name:<23} {short(own[0]['value']):>12}"
        for other, entry in zip(names[1:], own[1:], strict=True):
            star = "*" if differs(differences[other].get(name, {})) else " "
            line += f"{short(entry['value']):>12}{star}"
        if two:
            gap = differences[names[1]].get(name, _NOTHING)
            sign = "+" if gap["value"] is not None and gap["value"] > 0 else ""
            line += f"{sign + short(gap['value']):>11} {span(gap.get('interval'))}"
        yield line


def _tail(name: str, size: int) -> str:
    return name if len(name) <= size else f"…{name[1 - size :]}"


def differs(gap: _Json) -> bool:
    """Whether the interval of a difference leaves out 0."""
    low, high = gap.get("interval") or (0, 0)
    return bool(low > 0 or high < 0)
