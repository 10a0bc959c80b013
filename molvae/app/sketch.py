"""The sketcher: JSME from the package streamlit-jsme, whose files this machine serves."""

from __future__ import annotations

import functools
import importlib.resources
import re
from typing import Any

import streamlit as st

__all__ = ["draw", "with_points"]

# JSME writes R groups and typed atoms as these; as attachment points they are *.
_POINT = re.compile(r"\[(?:R\d*|X\d*|\*:?\d*|\d+\*)\]|(?<![A-Za-z\[])R\d*(?![A-Za-z\]])")


def draw(smiles: str, *, key: str, version: object) -> str | None:
    """A sketcher that begins with a molecule; what the user drew since, None if nothing was drawn.

    Every change is reported. A drawing is replaced by ``smiles`` when ``version`` changes.
    """
    result = _component()(
        key=key,
        data={"smiles": smiles, "version": str(version)},
        default={"smiles": None},
        on_smiles_change=lambda: None,
    )
    drawn = result.get("smiles")
    last = st.session_state.get(f"{key}.drawn")
    if drawn is None or drawn == last:
        return None
    st.session_state[f"{key}.drawn"] = drawn
    return with_points(str(drawn))


def with_points(smiles: str) -> str:
    """The SMILES of a drawing, with R groups and query atoms as attachment points.

    >>> with_points("c1cc([R1])ccc1[X]")
    'c1cc(*)ccc1*'
    """
    return _POINT.sub("*", smiles)


@functools.cache
def _component() -> Any:
    from streamlit_jsme import _HTML  # the scripts of JSME, prepared to load without a network

    scripts = re.findall(r"<script>(.*?)</script>", _HTML, re.DOTALL)
    html = "<div class='sketch' role='application' aria-label='molecule sketcher'></div>" + "".join(
        f"<script type='text/plain'>{script}</script>" for script in scripts
    )
    files = importlib.resources.files("molvae.app")
    css, js = ((files / f"sketch.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return st.components.v2.component(
        "molvae_sketch", html=html, css=css, js=js, isolate_styles=False
    )
