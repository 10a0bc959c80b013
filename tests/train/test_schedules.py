"""The controlled KL weight, and what a run writes on the way."""

import json
import math

import pytest

from molvae.config import TrainConfig, load_config
from molvae.errors import ConfigError
from molvae.train.log import Averages, RunLog, scalars
from molvae.train.schedules import HIGHEST, LOWEST, SPEED, KLWeight, kl_weight


def controlled(target=1.0, **options):
    return KLWeight(TrainConfig(distortion_target=target, **options))


def test_without_a_target_the_weight_is_that_of_the_schedule():
    options = TrainConfig(kl_weight=0.04, kl_warm_up=0.4)
    weight = KLWeight(options)
    weight.observe(0.5, 100.0, 10)
    assert [weight.at(p) for p in (0, 0.2, 1)] == [kl_weight(p, options) for p in (0, 0.2, 1)]


def test_below_the_target_the_weight_rises_and_above_it_falls():
    for nats, sign in ((0.5, 1), (5.0, -1)):
        weight = controlled(kl_weight=0.1)
        weights = []
        for k in range(1, 6):
            weight.observe(k / 1000, nats * 8, 8)
            weights.append(weight.at(k / 1000))
        assert all(sign * (b - a) > 0 for a, b in zip([0.1, *weights], weights, strict=False))


def test_its_speed_is_a_share_of_the_budget_whatever_the_steps():
    """Far above the target: e times smaller per 1/SPEED of the budget, in few steps or many."""
    for steps in (5, 50):
        weight = controlled(kl_weight=0.1)
        for k in range(1, steps + 1):
            weight.observe(k / steps / SPEED, 100.0, 1)
        assert weight.at(1 / SPEED) == pytest.approx(0.1 / math.e)


def test_it_settles_where_the_distortion_meets_the_target():
    """A toy in which distortion grows with the weight: D = 20 β, so D = 1 at β = .05."""
    weight = controlled(target=1.0, kl_weight=0.3)
    for k in range(1, 4001):
        weight.observe(k / 4000, 20 * weight.at(0), 1)
    assert weight.at(1) == pytest.approx(0.05, rel=0.05)


def test_it_stays_within_its_bounds():
    for nats, bound in ((0.0, HIGHEST), (1e6, LOWEST * 0.1)):
        weight = controlled(kl_weight=0.1)
        for k in range(1, 101):
            weight.observe(k / 100, nats, 1)
        assert weight.at(1) == pytest.approx(bound)


def test_what_says_nothing_changes_nothing():
    weight = controlled(kl_weight=0.1)
    weight.observe(0.1, 0.0, 0)
    weight.observe(0.1, math.nan, 5)
    assert weight.at(0.1) == pytest.approx(0.1)


def test_its_state_continues():
    weight, other = controlled(kl_weight=0.1), controlled(kl_weight=0.1)
    weight.observe(0.1, 20.0, 4)
    other.restore(json.loads(json.dumps(weight.state())))
    for each in (weight, other):
        each.observe(0.12, 2.0, 4)
    assert weight.state() == other.state()


def test_a_target_needs_molecules_at_t_0():
    with pytest.raises(ConfigError, match="t = 0"):
        load_config(overrides={"train.distortion_target": 1.0, "train.exact_share": 0.0})


@pytest.mark.parametrize(
    ("progress", "share"),
    [(0, 0), (0.05, 0.5), (0.1, 1), (0.2, 1), (0.25, 0), (0.3, 0.5), (0.9, 1), (1, 1)],
)
def test_cycles_repeat_the_warm_up(progress, share):
    options = TrainConfig(kl_weight=0.04, kl_warm_up=0.4, kl_cycles=4)
    assert kl_weight(progress, options) == pytest.approx(0.04 * share)


def test_averages_are_means_since_the_last_question():
    averages = Averages()
    averages.add({"a": 1.0, "b": 4.0})
    averages.add({"a": math.nan, "b": 1e9})
    other = Averages()
    other.restore(json.loads(json.dumps(averages.state())))
    other.add({"a": 3.0, "b": 6.0})
    assert other.take() == {"a": 2.0, "b": 5.0}
    assert other.take() == {}


def test_scalars_are_the_finite_numbers_by_their_path():
    record = {"D": {"0": 1.5, "1": math.inf}, "n": 3, "name": "x", "none": None}
    assert dict(scalars(record)) == {"D/0": 1.5, "n": 3.0}


def test_the_log_is_lines_and_tensorboard_curves(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = RunLog(tmp_path)
    for step in (5, 10):
        log.record("validation", step, {"D": {"0": 2.0 * step}, "best": True})
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[1] == {"kind": "validation", "step": 10, "D": {"0": 20.0}, "best": True}
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    curve = board.Scalars("validation/D/0")
    assert [(e.step, e.value) for e in curve] == [(5, 10.0), (10, 20.0)]
