"""Charts are sound SVG for any values, and tell what they show."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molvae.report import Calibration, Curve, Histogram, LatentMap, Series, axes, charts, maps
from molvae.report.drawing import COLORS, Palette

NAN, INF = float("nan"), float("inf")
PALETTE = Palette(["a", "b", "c"], "test")
ODD = st.one_of(
    st.floats(-1e5, 1e5).map(lambda x: round(x, 3)),
    st.sampled_from([NAN, INF, -INF, 1e300, -1e300, 1e-300, 0.0, 1e15, 1e15 + 0.25]),
)


def sound(drawing):
    """Check that nothing lies outside the drawing and return its root, None for no drawing."""
    assert "nan" not in drawing.svg + drawing.label
    assert "inf" not in drawing.svg + drawing.label
    if not drawing.svg:
        return None
    root = ET.fromstring(drawing.svg)
    width, height = (float(v) for v in root.get("viewBox").split()[2:])
    for bar in root.iter("rect"):
        x, y, w, h = (float(bar.get(k)) for k in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height
    for line in root.iter("polyline"):
        for point in line.get("points").split():
            x, y = (float(v) for v in point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height
    for text in root.iter("text"):
        x, y = float(text.get("x")), float(text.get("y"))
        size = len(text.text) * axes.LETTER
        left = {"start": 0, "end": 1, None: 0.5}[text.get("text-anchor")] * size
        assert -1 <= x - left <= x - left + size <= width + 1, text.text
        assert 0 <= y <= height
    return root


def texts(root):
    return [element.text for element in root.iter("text")]


# -- axes ----------------------------------------------------------------------------------------


@given(st.lists(ODD, max_size=8), st.booleans())
def test_ticks_are_few_ordered_and_apart(values, whole):
    axis = axes.spanning(axes.finite(values), 30, 300, whole=whole)
    places = [axis.at(value) for value, _ in axis.marks]
    assert len(places) <= 12
    assert all(b - a >= axes.GAP for a, b in pairwise(places))
    assert len({label for _, label in axis.marks}) == len(places)


@given(st.lists(st.floats(1e-5, 1e9), min_size=1, max_size=8))
def test_logarithmic_axes_hold_their_values(values):
    axis = axes.log_axis(np.array(values), 30, 300)
    assert axis.low < min(values) <= max(values) < axis.high
    assert len(axis.marks) >= 1
    assert 30 < axis.at(min(values)) <= axis.at(max(values)) < 300


def test_decades_are_evenly_spaced():
    axis = axes.log_axis(np.array([100.0, 10_000.0]), 0, 300)
    a, b, c = (axis.at(v) for v in (100, 1_000, 10_000))
    assert b - a == pytest.approx(c - b)
    assert {"100", "1,000", "10,000"} <= {label for _, label in axis.marks}


def test_counts_have_whole_ticks():
    axis = axes.spanning(np.array([0.5, 2.5]), 0, 300, pad=0, whole=True)
    assert [label for _, label in axis.marks] == ["1", "2"]


def test_long_titles_are_cut_and_escaped():
    assert axes.text(0, 0, "a<b" + "x" * 99, width=70).startswith("<text x='0' y='0'>a&lt;bx")
    assert "…" in axes.text(0, 0, "x" * 99, width=70)


# -- histograms ----------------------------------------------------------------------------------


def heights(svg):
    return [float(bar.get("height")) for bar in ET.fromstring(svg).iter("rect")]


def test_bars_are_shares_of_the_molecules():
    chart = Histogram("rings", "", "", [("a", np.array([1.0, 1, 1, 2]))], integer=True)
    tall, short = heights(charts.histogram(chart, PALETTE).svg)
    assert tall == pytest.approx(3 * short, rel=0.01)


def test_one_freak_value_does_not_squeeze_the_others():
    values = np.append(np.linspace(0, 1, 999), 1e6)
    edges = charts.edges([values])
    assert edges[-1] < 2
    # Nor is it dropped: it joins the last bar.
    assert charts.shares(values, edges).sum() == pytest.approx(1)


VALUES = st.lists(ODD, max_size=20)


@given(st.lists(VALUES, min_size=1, max_size=3), VALUES, st.booleans())
def test_any_values_give_a_sound_histogram(sets, reference, integer):
    if integer:
        sets = [[round(v) for v in values if abs(v) < 1e6] for values in sets]
        reference = [round(v) for v in reference if abs(v) < 1e6]
    named = [(name, np.array(s, dtype=float)) for name, s in zip("abc", sets, strict=False)]
    chart = Histogram("x", "", "u", named, np.array(reference, dtype=float), integer)
    sound(charts.histogram(chart, PALETTE))


def test_one_set_is_filled_and_several_are_outlines_of_their_own_colors():
    values = np.linspace(0, 1, 50)
    one = sound(charts.histogram(Histogram("x", "", "", [("a", values)], values), PALETTE))
    assert {e.get("class") for e in one.iter("rect")} == {"bar s0"}
    assert [e.get("class") for e in one.iter("polyline")] == ["line ref"]
    two = Histogram("x", "", "", [("a", values), ("b", values)], values)
    root = sound(charts.histogram(two, PALETTE))
    assert not list(root.iter("rect"))
    assert [e.get("class") for e in root.iter("polyline")] == ["line s0", "line s1", "line ref"]


def test_a_histogram_shows_its_numbers():
    chart = Histogram("x", "weights", "", [("a", np.array([1.0, 3.0, NAN]))], np.array([]))
    drawing = charts.histogram(chart, PALETTE)
    assert drawing.label == "Histogram of weights. a: 2.00 ± 1.00; test: no values."


def test_a_chart_without_values_is_empty():
    drawing = charts.histogram(Histogram("x", "", "", [("a", np.array([NAN]))]), PALETTE)
    assert drawing.svg == ""
    assert "no values" in drawing.label


def test_equal_values_make_one_bar():
    chart = Histogram("x", "", "", [("a", np.full(9, 7.25))])
    (height,) = heights(charts.histogram(chart, PALETTE).svg)
    assert height > 0


def test_colors_repeat_dotted():
    palette = Palette([str(i) for i in range(COLORS + 1)] + ["ref"], "ref")
    assert palette.style("0") == "s0"
    assert palette.style(str(COLORS)) == "s0 dotted"
    assert palette.style("ref") == "ref"


# -- curves --------------------------------------------------------------------------------------


def test_a_curve_has_a_line_per_series_and_its_numbers():
    chart = Curve("unique", "", [1000, 100], [Series("a", [0.5, 1]), Series("test", [1, 1])])
    drawing = charts.curve(chart, PALETTE)
    root = sound(drawing)
    assert [e.get("class") for e in root.iter("polyline")] == ["line s0", "line ref"]
    assert drawing.label == (
        "unique against molecules. a: 1 at 100, 0.5 at 1,000; test: 1 at 100, 1 at 1,000."
    )
    assert [row.name for row in drawing.table.rows] == ["100", "1,000"]
    assert "molecules" in texts(root)


def test_a_gap_interrupts_the_line():
    chart = Curve("x", "", [1, 2, 3, 4, 5], [Series("a", [1, 2, None, 4, NAN])])
    drawing = charts.curve(chart, PALETTE)
    root = sound(drawing)
    assert len(list(root.iter("polyline"))) == 1
    assert len([e for e in root.iter("path") if "dot" in e.get("class")]) == 3
    assert [row.cells[0].value for row in drawing.table.rows] == ["1", "2", "–", "4", "–"]


@pytest.mark.parametrize(
    "series", [[], [Series("a", [])], [Series("a", [])] * 2], ids=["none", "empty", "two"]
)
def test_a_curve_without_values_is_empty(series):
    drawing = charts.curve(Curve("x", "", [], series), PALETTE)
    assert drawing.svg == ""


def test_zero_has_no_logarithm():
    chart = Curve("x", "", [0, 1, 2], [Series("a", [1, 2, 3])])
    assert "0" in texts(sound(charts.curve(chart, PALETTE)))


@given(st.lists(st.tuples(ODD, st.none() | ODD, st.none() | ODD), max_size=60), st.booleans())
def test_any_numbers_give_a_sound_curve(rows, log_x):
    lines = [Series(name, [row[i] for row in rows]) for i, name in ((1, "a"), (2, "test"))]
    chart = Curve("x", "", [row[0] for row in rows], lines, log_x=log_x)
    sound(charts.curve(chart, PALETTE))


def test_a_series_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match=r"'a'.* 1 .* 2 "):
        Curve("x", "", [1, 2], [Series("a", [1])])


# -- calibration ---------------------------------------------------------------------------------


def test_calibration_axes_are_equal():
    chart = Calibration("logp", "", [1, 5], [2, 4], [0.5, None], [10, 0])
    drawing = charts.calibration(chart)
    root = sound(drawing)
    diagonal = next(e for e in root.iter("polyline") if e.get("class") == "line ref")
    (x0, y0), (x1, y1) = (map(float, p.split(",")) for p in diagonal.get("points").split())
    assert x1 - x0 == pytest.approx(y0 - y1, abs=0.2)
    labels = [t for t in texts(root) if re.fullmatch(r"[\d.]+", t)]
    assert sorted(labels) == sorted(2 * list(dict.fromkeys(labels)))
    assert drawing.label == (
        "Obtained against requested logp. 1 gave 2 ± 0.5 (n = 10); 5 gave 4 (n = 0)."
    )
    assert len([e for e in root.iter("path") if "error" in e.get("class")]) == 1


def test_a_request_without_molecules_is_written_not_drawn():
    chart = Calibration("logp", "", [1, 5], [2, NAN], [0.5, NAN], [10, 0])
    drawing = charts.calibration(chart)
    root = sound(drawing)
    assert len([e for e in root.iter("path") if "dot" in e.get("class")]) == 1
    assert "5 gave – (n = 0)" in drawing.label
    assert [cell.value for cell in drawing.table.rows[1].cells] == ["–", "–", "0"]


def test_calibration_without_values():
    assert charts.calibration(Calibration("x", "", [], [], [], [])).svg == ""
    with pytest.raises(ValueError, match="lengths"):
        Calibration("x", "", [1], [], [], [])


@given(st.lists(st.tuples(ODD, ODD, st.none() | ODD.map(abs)), max_size=8))
def test_any_numbers_give_a_sound_calibration(rows):
    asked, mean, sd = ([row[i] for row in rows] for i in range(3))
    sound(charts.calibration(Calibration("x", "u", asked, mean, sd, [1] * len(rows))))


# -- maps ----------------------------------------------------------------------------------------


def latent(points, values, **changes):
    points, values = np.array(points, dtype=float).reshape(-1, 2), np.array(values, dtype=float)
    return maps.latent_map(LatentMap("mw", "Da", points, values, "PC 1", "PC 2", **changes))


def dots(root):
    return {
        e.get("class").split()[1]: e.get("d").count("M")
        for e in root.iter("path")
        if e.get("class").startswith("point")
    }


def test_a_map_draws_every_point_in_the_color_of_its_value():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(300, 2))
    values = np.where(np.arange(300) < 30, NAN, points[:, 0])
    drawing = latent(points, values)
    result = dots(sound(drawing))
    assert sum(result.values()) == 300
    assert result["m-none"] == 30
    assert len(result) == maps.CLASSES + 1
    assert [key.figures for key in drawing.keys] == ["30 molecules"]
    assert "Map of 300 molecules by PC 1 and PC 2, colored by mw: from" in drawing.label
    assert drawing.label.endswith("; 30 without a value.")


def test_two_thousand_points_are_small():
    points = np.random.default_rng(0).normal(size=(2_000, 2))
    assert len(latent(points, points[:, 0]).svg) < 30_000


@pytest.mark.parametrize(
    ("points", "values", "expected"),
    [
        ([], [], None),
        ([[NAN, 1]], [1], None),
        ([[1, 1]], [NAN], {"m-none": 1}),
        ([[1, 1]], [5], 1),
        ([[1, 1], [1, 1]], [5, 5], 2),
        ([[0, INF], [1, 2]], [5, 6], 1),
    ],
    ids=["none", "nowhere", "unknown", "one", "equal", "infinite"],
)
def test_maps_of_little(points, values, expected):
    root = sound(latent(points, values))
    if expected is None:
        assert root is None
    elif isinstance(expected, dict):
        assert dots(root) == expected
    else:
        assert sum(dots(root).values()) == expected


@given(st.lists(st.tuples(ODD, ODD, ODD), max_size=30))
def test_any_numbers_give_a_sound_map(rows):
    sound(latent([row[:2] for row in rows], [row[2] for row in rows]))


def test_a_map_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\).* 2 "):
        LatentMap("mw", "", np.zeros((2, 3)), np.zeros(2), "", "")
