"""Cells of a user's column, one by one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molvae.data.columns import Transform, parse_transform, read_label
from molvae.errors import ConfigError

PLAIN = Transform()


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ("5.5", 5.5, "number"), ("-3", -3, "number"), (" 1e-3 ", 0.001, "number"),
        (".5", 0.5, "number"), ("7.", 7, "number"), ("+2", 2, "number"), ("0", 0, "number"),
        ("yes", 1, "word"), ("No", 0, "word"), ("TRUE", 1, "word"), ("inactive", 0, "word"),
    ],
)  # fmt: skip
def test_numbers_and_words(text, value, kind):
    label = read_label(text, PLAIN)
    assert (label.value, label.kind) == (value, kind)


@pytest.mark.parametrize("text", ["", "  ", "NA", "n/a", "NaN", "None", "null", "-", "?", "ND"])
def test_gaps_are_missing(text):
    label = read_label(text, PLAIN)
    assert math.isnan(label.value)
    assert label.kind == "missing"


@pytest.mark.parametrize(
    "text",
    [
        "abc",
        "1,5",
        "1 000",
        "5.2 nM",
        "1_000",
        "inf",
        "1e999",
        "1e39",
        "0x10",
        "--1",
        "1.2.3",
        ">",
        "> x",
    ],
)
def test_other_text_is_bad(text):
    label = read_label(text, PLAIN)
    assert math.isnan(label.value)
    assert label.kind == "bad"


@pytest.mark.parametrize("text", [">10000", "> 10000", "<=10000", "≥10000", "~10000", "<< 1e4"])
def test_censored_values_are_missing_unless_their_limit_will_do(text):
    label = read_label(text, PLAIN)
    assert math.isnan(label.value)
    assert label.kind == "censored"
    assert read_label(text, PLAIN, limit=True).value == 10000
    assert read_label(text, PLAIN, limit=True).kind == "censored"


def test_ic50_in_nanomolar_becomes_pic50():
    transform = parse_transform("neglog10:nM")
    assert read_label("250", transform).value == pytest.approx(6.6020599913)  # -log10(250e-9)
    assert read_label(">10000", transform, limit=True).value == pytest.approx(5)


@pytest.mark.parametrize(
    ("unit", "pic50"), [("M", 0), ("mM", 3), ("uM", 6), ("µM", 6), ("nM", 9), ("pM", 12)]
)
def test_units_of_concentration(unit, pic50):
    assert parse_transform(f"neglog10:{unit}")(1.0) == pytest.approx(pic50)


@pytest.mark.parametrize("text", ["0", "-4", "yes"])
def test_a_logarithm_needs_a_positive_number(text):
    assert read_label(text, parse_transform("neglog10:nM")).kind == "bad"
    assert read_label(text, parse_transform("log10")).kind == "bad"


@pytest.mark.parametrize("text", ["ln", "neglog10:nm", "neglog10:", "log10:kg", ""])
def test_an_unknown_transform_is_refused_with_those_known(text):
    with pytest.raises(ConfigError, match=r"expected|[Kk]nown"):
        parse_transform(text)


@given(st.floats(-2.9e38, 2.9e38))
def test_every_number_python_writes_is_read_back(value):
    label = read_label(repr(value), PLAIN)
    assert (label.value, label.kind) == (value, "number")


@given(st.text(max_size=12))
def test_any_text_is_one_of_the_kinds(text):
    label = read_label(text, PLAIN)
    assert math.isnan(label.value) == (label.kind in ("missing", "censored", "bad"))
