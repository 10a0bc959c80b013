"""Targets by sliders over the histograms of the training data."""

from __future__ import annotations

import math

import streamlit as st

from molvae import chem
from molvae.app import plots, state
from molvae.chem.properties import PROPERTIES, compute
from molvae.model.checkpoint import SavedModel
from molvae.model.conditions import Condition
from molvae.report.axes import number
from molvae.targets import Target

__all__ = ["choose", "limits"]

RANGE, VALUE = "range", "value"
STEPS = 100  # of a slider, about


def choose(model: SavedModel, *, key: str, now: str = "") -> list[Target]:
    """Let the user choose properties, and a value or a range of each.

    ``now`` is a molecule whose values are shown.
    """
    own = [c.name for c in model.conditions.conditions if not c.builtin]
    rest = [c.name for c in model.conditions.conditions if c.builtin]
    unseen = [name for name in PROPERTIES if name not in rest]
    options = [*own, *rest, *unseen]
    state.keep_valid(f"{key}.names", options)
    names = st.multiselect(
        "Target properties",
        options,
        key=f"{key}.names",
        format_func=_title,
        placeholder="any molecule like the training data",
    )
    targets = []
    mol = chem.parse(now) if now else None
    for name in names:
        condition = model.conditions[name] if name in model.conditions.names else None
        with st.container(border=True):
            target = _one(name, condition, f"{key}.{name}")
            if mol is not None and name in PROPERTIES:
                st.caption(f"The molecule has {number(compute(mol, [name])[0])}.")
        if target is not None:
            targets.append(target)
    return targets


def _title(name: str) -> str:
    return f"{name} – {PROPERTIES[name].description}" if name in PROPERTIES else name


def _one(name: str, condition: Condition | None, key: str) -> Target | None:
    """The target of one property; None if it leaves everything open."""
    if condition is not None and condition.kind == "yesno":
        st.markdown(f"**{name}**")
        share = sum(q > 0.5 for q in condition.quantiles) / len(condition.quantiles)
        st.caption(f"About {share:.0%} of the training molecules are yes.")
        answer = st.segmented_control(
            name, ["yes", "no"], default="yes", key=f"{key}.yes", label_visibility="collapsed"
        )
        wanted = float(answer == "yes")
        return None if answer is None else Target(name, wanted, wanted)
    builtin = PROPERTIES.get(name)
    unit = builtin.unit if builtin else condition.unit if condition else ""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{name}**" + (f" in {unit}" if unit else ""))
        mode = st.segmented_control(
            "Target", [RANGE, VALUE], default=RANGE, key=f"{key}.mode", label_visibility="collapsed"
        )
    low, high, step = limits(name, condition)
    middle = _usual(condition, low, high, step)
    label = f"{name}: {mode or RANGE}"
    shown = "%d" if isinstance(step, int) else f"%.{max(0, -math.floor(math.log10(step)))}f"
    place = st.container()  # the histogram above its slider
    for kind in (VALUE, RANGE):
        state.keep_inside(f"{key}.{kind}", low, high)
    if mode == VALUE:
        value = st.slider(
            label,
            low,
            high,
            middle[2],
            step,
            key=f"{key}.value",
            format=shown,
            label_visibility="collapsed",
        )
        target: Target | None = Target(name, float(value), float(value))
    else:
        ends = st.slider(
            label,
            low,
            high,
            middle[:2],
            step,
            key=f"{key}.range",
            format=shown,
            label_visibility="collapsed",
        )
        target = _between(name, *ends, low, high)
    with place:
        asked = None if target is None else (target.low, target.high)
        if (drawing := plots.target_histogram(condition, name, asked)) is not None:
            plots.draw(drawing, key=f"{key}.chart")
        else:
            st.caption("This model was not trained with it: molecules are drawn and tested.")
    st.caption(f"`-t {target.text}`" if target else "no limit: move an end of the slider")
    return target


def _between(name: str, first: float, last: float, low: float, high: float) -> Target | None:
    """A range; an end of the slider is no limit."""
    start = -math.inf if first <= low else float(first)
    end = math.inf if last >= high else float(last)
    if math.isinf(start) and math.isinf(end):
        return None
    return Target(name, start, end, exact=start == end)


def limits(name: str, condition: Condition | None) -> tuple[float, float, float]:
    """Ends and step of a slider, in round numbers: what was seen in training, or is usual."""
    builtin = PROPERTIES.get(name)
    if condition is not None:
        low, high = condition.seen
    else:
        assert builtin is not None  # conditions and built-in properties are all there is
        low, high = builtin.low, builtin.high
    if condition.integer if condition is not None else builtin is not None and builtin.integer:
        return int(low), int(max(high, low + 1)), 1
    span = max(high - low, 1e-6)
    power = 10.0 ** math.floor(math.log10(span / STEPS))
    step = power * min((m for m in (1, 2, 5, 10) if m * power * STEPS >= span), default=10)
    return math.floor(low / step) * step, math.ceil(high / step) * step, step


def _usual(
    condition: Condition | None, low: float, high: float, step: float
) -> tuple[float, float, float]:
    """A range and a value to begin with: the middle half and the median of the training data."""
    if condition is None:
        return low, high, _on_step((low + high) / 2, low, step)
    q = condition.quantiles
    first, last, middle = (q[round(share * (len(q) - 1))] for share in (0.25, 0.75, 0.5))
    return tuple(_on_step(v, low, step) for v in (first, last, middle))  # type: ignore[return-value]


def _on_step(value: float, low: float, step: float) -> float:
    if isinstance(step, int):
        return round(value)
    return round(low + round((value - low) / step) * step, 10)
