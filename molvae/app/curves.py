"""Line charts of figures that are coming in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd
import streamlit as st

__all__ = ["lines"]

COLORS = ("#1b6ca8", "#c9530a", "#00897b")  # of the HTML reports
HEIGHT = 220  # pixels
FEW = 30  # points that are marked each


def lines(x: str, values: Sequence[float], series: Mapping[str, Sequence[float]], y: str) -> None:
    """Draw several series over the same ``values`` of ``x``; ``y`` names what they are."""
    frame = pd.DataFrame({x: values, **series}).melt(x, var_name="series", value_name=y)
    colors = alt.Scale(domain=list(series), range=list(COLORS[: len(series)]))
    legend = alt.Legend(orient="bottom", title=None) if len(series) > 1 else None
    chart = (
        alt.Chart(frame, height=HEIGHT)
        .mark_line(point=len(values) <= FEW)
        .encode(
            alt.X(field=x, type="quantitative", title=x),
            alt.Y(field=y, type="quantitative", title=y, scale=alt.Scale(zero=False)),
            alt.Color(field="series", type="nominal", scale=colors, legend=legend),
        )
    )
    st.altair_chart(chart)
