"""Statistics by hand, and draws against rejection sampling."""

import json
import math
import re
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molvae.chem import properties
from molvae.errors import ModelFolderError, PropertyError
from molvae.model.conditions import Condition, ConditionSet
from molvae.runtime.randomness import Draws
from molvae.targets import Target, hit, parse_target

ROWS = 20_000
NAMES = ["mw", "logp", "rings", "active", "assay", "zeros"]


def sample():
    """Six correlated columns: skewed, normal, a count, yes/no, half missing, and 40 % zeros."""
    rng = np.random.default_rng(0)
    mixing = np.asarray(
        [[1, 0, 0, 0, 0], [0.6, 0.8, 0, 0, 0], [0.7, 0, 0.7, 0, 0], [0, 0.8, 0, 0.6, 0],
         [0.5, -0.5, 0, 0, 0.7]]
    )  # fmt: skip
    z = rng.standard_normal((ROWS, 5)) @ mixing.T
    columns = [
        np.exp(5.7 + 0.3 * z[:, 0]),
        2 + 1.2 * z[:, 1],
        np.clip(np.round(2.5 + 1.3 * z[:, 2]), 0, 7),
        (z[:, 3] > 0.4).astype(float),
        np.where(rng.random(ROWS) < 0.5, np.nan, 6 + z[:, 4]),
        np.maximum(z[:, 1] + 0.25, 0) * 10,
    ]
    return np.stack(columns, axis=1).astype(np.float32)


VALUES = sample()
CONDITIONS = ConditionSet.fit(NAMES, VALUES, {"active": "yesno"})
ITEMS = np.arange(ROWS // 2)


def draw(*texts, items=ITEMS, seed=1, conditions=CONDITIONS):
    """Columns by name of what is drawn for these targets."""
    drawn = conditions.draw([parse_target(t) for t in texts], items, Draws(seed))
    return dict(zip(conditions.names, drawn.T, strict=True))


def column(name):
    return VALUES[:, NAMES.index(name)].astype(np.float64)


def test_a_transformed_column_shows_its_unit():
    values = np.asarray([[100, 5], [200, 6]], np.float32)
    fitted = ConditionSet.fit(["mw", "dose"], values, {}, {"dose": "log10"})
    assert [one.unit for one in fitted.conditions] == ["Da", "log10"]
    (note,) = fitted.warnings([parse_target("dose=100")])
    assert "(dose from 5 to 6, in log10)" in note


def test_statistics_are_those_of_the_known_values():
    for name in NAMES:
        known = [v for v in column(name).tolist() if not math.isnan(v)]
        c = CONDITIONS[name]
        assert c.known == len(known)
        if c.kind == "yesno":  # yes and no stand at +1 and -1, whatever their shares
            assert (c.mean, c.std) == (0.5, 0.5)
        else:
            assert c.mean == pytest.approx(statistics.fmean(known))
            assert c.std == pytest.approx(statistics.pstdev(known))
        assert c.seen == (min(known), max(known))
        assert c.quantiles[64] == pytest.approx(statistics.median(known), abs=1e-6)
    assert [c.integer for c in CONDITIONS.conditions] == [False, False, True, True, False, False]
    assert [c.kind for c in CONDITIONS.conditions].count("yesno") == 1
    assert (CONDITIONS["mw"].builtin, CONDITIONS["mw"].unit) == (True, "Da")
    assert (CONDITIONS["assay"].builtin, CONDITIONS["assay"].unit) == (False, "")
    assert CONDITIONS.yesno.tolist() == [False, False, False, True, False, False]


def test_a_builtin_is_a_count_by_nature_not_by_its_values():
    fitted = ConditionSet.fit(["mw", "dose"], np.asarray([[100, 5], [200, 6]], np.float32), {})
    assert [c.integer for c in fitted.conditions] == [False, True]


def test_unknown_and_repeated_and_empty_columns_are_named():
    with pytest.raises(PropertyError, match=r"'lgop'.*'logp'"):
        CONDITIONS["lgop"]
    with pytest.raises(PropertyError, match="appears twice"):
        ConditionSet.fit(["x", "x"], np.ones((3, 2), np.float32), {})
    with pytest.raises(PropertyError, match="'b'"):
        ConditionSet.fit(["a", "b"], np.asarray([[1, np.nan]], np.float32), {})
    with pytest.raises(ModelFolderError, match=r"\(2, 2\).*\(6, 6\)"):
        ConditionSet(CONDITIONS.conditions, np.eye(2))


def test_standardized_values_have_mean_0_and_deviation_1_and_missing_ones_are_masked():
    scaled, known = CONDITIONS.standardize(VALUES)
    assert scaled.dtype == known.dtype == np.float32
    assert (known == ~np.isnan(VALUES)).all()
    assert (scaled[known == 0] == 0).all()
    for i in range(len(NAMES)):
        seen = scaled[known[:, i] == 1, i].astype(np.float64)
        if CONDITIONS.yesno[i]:
            assert set(np.unique(seen)) == {-1.0, 1.0}
            continue
        assert abs(seen.mean()) < 1e-4
        assert seen.std() == pytest.approx(1, abs=1e-4)


def test_restoring_undoes_standardizing():
    scaled, known = CONDITIONS.standardize(VALUES)
    np.testing.assert_allclose(
        CONDITIONS.restore(scaled)[known == 1], VALUES[known == 1], rtol=1e-5, atol=1e-4
    )


def test_a_column_with_yes_alone_predicts_yes():
    fitted = ConditionSet.fit(["active"], np.ones((9, 1), np.float32), {"active": "yesno"})
    assert fitted.standardize(np.ones((1, 1)))[0].item() == 1.0


def test_a_constant_column_does_no_harm():
    values = np.stack([np.full(50, 5.0), np.arange(50)], axis=1).astype(np.float32)
    fitted = ConditionSet.fit(["same", "x"], values, {})
    assert fitted["same"].std == 1
    assert (fitted.standardize(values)[0][:, 0] == 0).all()
    drawn = draw("same=5", "x=10:20", items=np.arange(100), conditions=fitted)
    assert set(drawn["same"]) == {5}
    assert drawn["x"].min() >= 10
    assert fitted.correlations.tolist() == [[1, 0], [0, 1]]


def test_no_conditions_at_all():
    empty = ConditionSet([])
    assert len(empty) == 0
    assert empty.draw([parse_target("mw=3")], np.arange(4), Draws(0)).shape == (4, 0)


def test_correlations_are_rank_correlations_and_positive_definite():
    c = CONDITIONS.correlations
    assert (c == c.T).all()
    np.testing.assert_allclose(np.diag(c), 1, atol=1e-6)
    assert np.linalg.eigvalsh(c).min() > 0
    # By construction; exp() of mw and the missing half of assay change nothing.
    assert c[0, 1] == pytest.approx(0.6, abs=0.03)
    assert c[0, 4] == pytest.approx(0.5 / math.sqrt(0.99), abs=0.04)
    # A monotone change of a column changes no rank.
    other = VALUES.copy()
    other[:, 1] = np.exp(other[:, 1])
    np.testing.assert_allclose(ConditionSet.fit(NAMES, other, {}).correlations, c, atol=2e-4)


@given(st.integers(0, 10**6))
def test_correlations_stay_positive_definite_whatever_is_missing(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 7))
    values = rng.standard_normal((int(rng.integers(4, 40)), size)).astype(np.float32)
    values[:, 1] = values[:, 0]  # fully dependent
    values[rng.random(values.shape) < 0.5] = np.nan
    values[0] = 1.0  # every column has a value
    c = ConditionSet.fit([f"p{i}" for i in range(size)], values, {}).correlations
    assert np.isfinite(c).all()
    assert np.linalg.eigvalsh(c).min() > 1e-5
    np.testing.assert_allclose(np.diag(c), 1, atol=1e-5)


def test_what_nobody_asked_for_is_missing_and_points_are_as_they_are():
    drawn = draw("mw=321.5", "rings=2", "active=yes")
    assert set(drawn["mw"]) == {321.5}
    assert set(drawn["rings"]) == {2}
    assert set(drawn["active"]) == {1}
    for name in ("logp", "assay", "zeros"):
        assert np.isnan(drawn[name]).all()
    assert all(np.isnan(v).all() for v in draw().values())
    assert all(np.isnan(v).all() for v in draw("unheard_of=3:4").values())


@pytest.mark.parametrize(
    "texts",
    [
        ["mw=250:320"], ["logp=:1"], ["zeros=0:5"], ["rings=2:4"], ["active=0:1"],
        ["mw=250:320", "logp=3:"], ["mw=320:", "rings=:3", "logp=1:3"], ["assay=5.5:7", "mw=:300"],
    ],
)  # fmt: skip
def test_a_range_is_honoured_as_the_distribution_of_the_molecules_within_it(texts):
    """Rejection sampling: the training rows that happen to meet all targets."""
    asked = [parse_target(t) for t in texts]
    kept = np.ones(ROWS, dtype=bool)
    for t in asked:
        kept &= hit(t, column(t.name))
    assert kept.sum() > 150
    drawn = draw(*texts)
    for t in asked:
        got, expected = drawn[t.name], column(t.name)[kept]
        assert hit(t, got).all()
        error = expected.std() * (1 / kept.sum() + 1 / len(got)) ** 0.5
        assert abs(got.mean() - expected.mean()) < 5 * error + 0.05 * expected.std(), t.text
        assert got.std() == pytest.approx(expected.std(), rel=0.15), t.text
    if len(asked) == 2:
        got = np.corrcoef(*(drawn[t.name] for t in asked))[0, 1]
        expected = np.corrcoef(*(column(t.name)[kept] for t in asked))[0, 1]
        assert got == pytest.approx(expected, abs=0.06 + 3 / kept.sum() ** 0.5)


def test_a_range_is_drawn_given_the_points():
    near = np.abs(column("mw") - 450) < 15
    got = draw("mw=450", "logp=:10")["logp"]
    expected = column("logp")[near]
    assert got.mean() == pytest.approx(expected.mean(), abs=0.12)
    assert got.std() == pytest.approx(expected.std(), rel=0.12)
    assert got.mean() > column("logp").mean() + 0.5  # the point does pull


def test_a_bound_that_many_molecules_share_takes_them_all_along():
    """Forty in a hundred are exactly zero: they belong to zeros=0: as much as to zeros=:0.5."""
    share = (column("zeros") == 0).mean()
    assert share == pytest.approx(0.4, abs=0.02)
    assert (draw("zeros=0:")["zeros"] == 0).mean() == pytest.approx(share, abs=0.03)
    assert (draw("zeros=:0")["zeros"] == 0).all()


@given(
    low=st.floats(-2, 6), width=st.floats(0, 5), name=st.sampled_from(NAMES), seed=st.integers(0, 9)
)
def test_every_draw_lies_in_its_range(low, width, name, seed):
    scale = CONDITIONS[name].std if name in ("mw", "zeros") else 1.0
    target = Target(name, low * scale, (low + width) * scale)
    items = np.arange(20)
    drawn = CONDITIONS.draw([target, Target("logp2", 0, 1)], items, Draws(seed))
    values = drawn[:, NAMES.index(name)]
    assert hit(target, values).all()
    whole = math.ceil(target.low) <= math.floor(target.high)
    if CONDITIONS[name].integer and whole and not target.is_point:
        assert (values == np.round(values)).all()


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("rings=2:4", {2, 3, 4}), ("rings=0.5:1.4", {1}), ("rings=1.5:", {2, 3, 4, 5, 6, 7}),
        ("rings=:0", {0}), ("active=0:1", {0, 1}), ("active=0.5:", {1}),
    ],
)  # fmt: skip
def test_counts_and_answers_stay_whole(text, allowed):
    assert set(draw(text)[text.split("=")[0]]) == allowed


@pytest.mark.parametrize(
    ("text", "value"), [("mw=5000:6000", 5000), ("mw=1:5", 5), ("rings=20:", 20), ("logp=50", 50)]
)
def test_beyond_the_training_values_the_nearest_bound_is_used_with_a_note(text, value):
    assert set(draw(text)[text.split("=")[0]]) == {value}
    (note,) = CONDITIONS.warnings([parse_target(text)])
    low, high = CONDITIONS[text.split("=")[0]].seen
    assert text in note
    assert f"from {low:g} to {high:g}" in note


def test_targets_within_or_astride_what_was_seen_need_no_warning():
    texts = ["mw=300", "mw=1:300", "rings=2:", "logp=:0", "other=99"]
    assert CONDITIONS.warnings([parse_target(t) for t in texts]) == []


def test_an_item_gets_its_values_whatever_the_batch():
    texts = ["mw=:300", "logp=1:3", "active=1", "rings=2:"]
    whole = draw(*texts, items=np.arange(100))
    part = draw(*texts, items=np.asarray([70, 3]))
    for name in NAMES:
        np.testing.assert_allclose(part[name], whole[name][[70, 3]], rtol=1e-12)
    assert (draw(*texts, items=np.arange(100), seed=2)["mw"] != whole["mw"]).all()


def test_a_stored_set_is_the_same_set():
    data = json.loads(json.dumps(CONDITIONS.to_json(), allow_nan=False))
    assert data == CONDITIONS.to_json()
    again = ConditionSet.from_json(data)
    assert again.conditions == CONDITIONS.conditions
    assert again.names == tuple(NAMES)
    assert (again.correlations == CONDITIONS.correlations).all()
    texts = ["mw=:300", "logp=1:3"]
    np.testing.assert_array_equal(draw(*texts)["mw"], draw(*texts, conditions=again)["mw"])


def spoil(path, value):
    """The stored set with one entry replaced, or taken out where the value is ``del``."""
    data = json.loads(json.dumps(CONDITIONS.to_json()))
    at = data
    for key in path[:-1]:
        at = at[key]
    if value == "del":
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "part"),
    [
        (["conditions"], "del", "malformed ('conditions')"),
        (["correlations"], "del", "malformed ('correlations')"),
        (["conditions"], 3, "malformed"),
        (["conditions", 0], "mw", "malformed"),
        (["conditions", 0, "quantiles"], "del", "malformed ('quantiles')"),
        (["conditions", 0, "mean"], "del", "malformed"),
        (["conditions", 0, "color"], "red", "color"),
        (["conditions", 0, "mean"], "heavy", "bad statistics of 'mw'"),
        (["conditions", 0, "quantiles", 3], None, "bad statistics of 'mw'"),
        (["conditions", 0, "mean"], math.nan, "bad statistics of 'mw'"),
        (["conditions", 1, "std"], 0.0, "bad statistics of 'logp'"),
        (["conditions", 1, "quantiles"], [], "bad statistics of 'logp'"),
        (["conditions", 1, "quantiles"], [2.0, 1.0], "bad statistics of 'logp'"),
        (["conditions", 1, "kind"], "color", "bad statistics of 'logp'"),
        (["correlations"], [[1.0]], "malformed"),
        (["correlations", 0], ["a", 0, 0, 0, 0, 0], "malformed"),
        (["correlations", 0, 0], math.nan, "not positive definite"),
        (["correlations", 0, 1], 0.9, "not positive definite"),  # not symmetric
        (["correlations"], np.ones((6, 6)).tolist(), "not positive definite"),
    ],
)
def test_a_damaged_file_is_a_named_error(path, value, part):
    with pytest.raises(ModelFolderError, match=re.escape(part)) as caught:
        ConditionSet.from_json(spoil(path, value))
    assert "conditions.json" in str(caught.value)


def test_a_file_of_the_wrong_kind_is_a_named_error():
    with pytest.raises(ModelFolderError, match=r"conditions\.json"):
        ConditionSet.from_json([])  # type: ignore[arg-type]


def test_a_condition_cannot_be_changed():
    c = Condition("x", "number", "", False, False, 2, 0.0, 1.0, (0.0, 1.0))
    assert c.seen == (0.0, 1.0)
    with pytest.raises(AttributeError):
        c.mean = 3.0  # type: ignore[misc]


def test_a_condition_is_printed_on_one_line():
    values = np.linspace(1, 3, 5_000, dtype=np.float32)[:, None]
    conditions = ConditionSet.fit(["mw"], values, {})
    text = "Condition(mw: number in Da, 5,000 known, mean 2, sd 0.5775, seen 1 to 3)"
    assert str(conditions["mw"]) == text
    assert str(conditions) == "ConditionSet(mw)"


def test_typical_values_have_the_margins_and_correlations_of_the_training_values():
    drawn = CONDITIONS.typical(ITEMS, Draws(3))
    assert drawn.shape == (len(ITEMS), len(NAMES))
    for k, name in enumerate(NAMES):
        known = VALUES[~np.isnan(VALUES[:, k]), k]
        spread = known.std()
        assert abs(drawn[:, k].mean() - known.mean()) < 0.05 * spread, name
        for share in (0.1, 0.5, 0.9):
            near = np.quantile(known, share) + np.array([-0.1, 0.1]) * spread
            assert np.mean(drawn[:, k] < near[0]) <= share <= np.mean(drawn[:, k] <= near[1]), name
    pairs = [(0, 1), (0, 2), (1, 2)]
    for i, j in pairs:
        expected = np.corrcoef(VALUES[:, i], VALUES[:, j])[0, 1]
        assert abs(np.corrcoef(drawn[:, i], drawn[:, j])[0, 1] - expected) < 0.05
    np.testing.assert_array_equal(drawn[:5], CONDITIONS.typical(ITEMS[:5], Draws(3)))


def test_a_column_with_the_name_of_a_later_property_is_one_clear_error(monkeypatch):
    stored = CONDITIONS.to_json()
    ConditionSet.from_json(stored)
    monkeypatch.setattr(properties, "plugin_names", lambda kind: ("assay",))
    monkeypatch.setattr(properties, "plugin_package", lambda kind, name: "nitrogen-tools 1.2")
    with pytest.raises(PropertyError, match=r"'assay' has the name of a property of the installed "
                       r"package nitrogen-tools 1\.2; uninstall"):  # fmt: skip
        ConditionSet.from_json(stored)
    monkeypatch.setattr(properties, "plugin_names", lambda kind: ())
    monkeypatch.setattr(properties, "BUILTIN", {**properties.BUILTIN, "assay": None})
    with pytest.raises(PropertyError, match="'assay' has the name of a property of this version"):
        ConditionSet.from_json(stored)
