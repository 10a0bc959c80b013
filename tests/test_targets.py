"""Targets there and back, and what meets them."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from molvae.errors import TargetError
from molvae.targets import Target, hit, misfit, parse_target, parse_targets

names = st.from_regex(r"[^\s=]+", fullmatch=True)
numbers = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def targets(draw):
    low, high = sorted([draw(numbers), draw(numbers)])
    match draw(st.sampled_from(["point", "range", "from", "to"])):
        case "point":
            high = low
        case "from":
            high = math.inf
        case "to":
            low = -math.inf
    return Target(draw(names), low, high)


@given(targets())
@example(Target("mw", 123.4567891, 123.4567891))
@example(Target("mw", 300.00001, 300.00002))
@example(Target("a:b", -0.0, 5e-324))
@example(Target("x", 1e300, math.inf))
def test_the_text_of_a_target_reads_back_as_that_target(target):
    assert parse_target(target.text) == target


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("logp=2.5", 2.5, 2.5), ("logp=2:3", 2, 3), ("qed=0.8:", 0.8, math.inf),
        ("mw=:500", -math.inf, 500), ("logp=-1:-.5", -1, -0.5), ("x=1e3", 1000, 1000),
        ("x=+2.", 2, 2), ("x=2:2", 2, 2), (" x=1 ", 1, 1), ("active=yes", 1, 1),
        ("active=No", 0, 0), ("active=TRUE", 1, 1), ("active=false", 0, 0),
        ("a:b=1:2", 1, 2), ("IC50(nM)=:10", -math.inf, 10),
    ],
)  # fmt: skip
def test_every_form_of_a_target(text, low, high):
    target = parse_target(text)
    assert (target.low, target.high) == (low, high)
    assert target.is_point == (low == high and ":" not in text.partition("=")[2])
    assert target.name == text.strip().split("=")[0]


@pytest.mark.parametrize(
    "text",
    ["", "logp", "=2", "logp=", "logp=:", "logp==2", "logp=2:3:4", "logp=two", "logp=nan",
     "logp=inf", "logp=2,5", "logp=2..3", "logp=2 : 3", "logp>2", "logp=yes:",
     "logp=maybe", "logp=-", "logp=1e", "logp=0x10"],
)  # fmt: skip
def test_malformed_targets_are_shown_what_is_expected(text):
    with pytest.raises(TargetError, match="NAME=VALUE, NAME=LOW:HIGH") as caught:
        parse_target(text)
    assert f"'{text}'" in str(caught.value)


@pytest.mark.parametrize("text", ["x=1e999", "x=1e999:", "x=:1e999", "x=-1e999:5", "x=0:1e999"])
def test_numbers_beyond_all_measure_are_refused(text):
    with pytest.raises(TargetError, match="too large"):
        parse_target(text)


def test_a_range_the_wrong_way_round_is_refused():
    with pytest.raises(TargetError, match=r"3.* 2"):
        parse_target("logp=3:2")


def test_several_targets_keep_their_order_and_their_names_are_checked():
    parsed = parse_targets(["qed=0.8:", "mw=300"], ["mw", "qed", "logp"])
    assert [t.text for t in parsed] == ["qed=0.8:", "mw=300"]
    assert parse_targets([], ["mw"]) == ()
    with pytest.raises(TargetError, match=r"'lgop'.*'logp'"):
        parse_targets(["lgop=2"], ["mw", "logp"])
    with pytest.raises(TargetError, match=r"'mw'.*'mw=300'.*'mw=:500'"):
        parse_targets(["mw=300", "mw=:500"], ["mw"])


@given(targets(), st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=8))
def test_a_value_hits_exactly_when_it_is_no_misfit(target, values):
    array = np.asarray(values, dtype=np.float64)
    inside = hit(target, array)
    distance = misfit(target, array, 2.0)
    assert inside.tolist() == [target.low <= v <= target.high for v in values]
    assert ((distance == 0) == inside).all()
    assert np.isinf(distance[np.isnan(array)]).all()


def test_misfit_counts_in_units_of_the_spread():
    values = np.asarray([0.0, 2.0, 2.5, 3.0, 7.0])
    assert misfit(parse_target("x=2:3"), values, 0.5).tolist() == [4, 0, 0, 0, 8]
    assert misfit(parse_target("x=2.5"), values, 1).tolist() == [2.5, 0.5, 0, 0.5, 4.5]
    assert misfit(parse_target("x=3:"), values, 1).tolist() == [3, 1, 0.5, 0, 0]


def test_a_range_of_one_value_is_not_a_point():
    exact = parse_target("rings=3:3")
    assert not exact.is_point
    assert parse_target(exact.text) == exact
    assert hit(exact, np.asarray([2.0, 3.0, 4.0])).tolist() == [False, True, False]


def test_the_ends_of_a_range_belong_to_it_despite_rounding():
    assert hit(parse_target("tpsa=26.3:"), np.asarray([26.299999999999997])).all()
    assert not hit(parse_target("tpsa=26.3:"), np.asarray([26.2999])).any()


def test_names_may_hold_blanks():
    assert parse_target("IC50 (nM)=5:").name == "IC50 (nM)"
