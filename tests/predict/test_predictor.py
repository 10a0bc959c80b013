"""Columns of all sorts, from fit to predictions to a folder and back."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from molvae import chem
from molvae.chem.counts import descriptors
from molvae.errors import InputError, ModelFolderError, PropertyError
from molvae.predict import regression
from molvae.predict.assess import assess, spearman
from molvae.predict.predictor import ColumnPredictor
from molvae.predict.store import FILES, Predictors

DEMO = Path(__file__).parents[2] / "data" / "demo.csv.gz"


@pytest.fixture(scope="module")
def molecules():
    with gzip.open(DEMO, "rt") as rows:
        column = next(rows).strip().split(",").index("smiles")
        return [row.strip().split(",")[column] for row in rows][:500]


@pytest.fixture(scope="module")
def logp(molecules):
    noise = np.random.default_rng(0).normal(size=len(molecules)) * 0.3
    return descriptors([chem.parse(one) for one in molecules])[:, 0].astype(float) + noise


@pytest.fixture(scope="module")
def fitted(molecules, logp):
    label = (logp > np.median(logp)).astype(float)
    gaps = np.where(np.arange(500) % 2, np.nan, logp)
    rare = np.zeros(500)
    rare[[3, 50, 333]] = 1
    columns = {"logp": logp, "greasy": label, "gaps": gaps, "same": np.full(500, 2.5),
               "greasy_number": label + 2, "rare": rare}  # fmt: skip
    train = {name: values[:400] for name, values in columns.items()}
    kinds = {"greasy": "yesno", "rare": "yesno"}
    return Predictors.fit(molecules[:400], train, kinds), columns


@pytest.fixture(scope="module")
def predicted(fitted, molecules):
    return fitted[0].predict(molecules[400:])


def test_intervals_hold_and_order_is_right(fitted, predicted, logp):
    result = assess(predicted["logp"], logp[400:], logp[:400], "number")
    assert result.predictor.r2 > 0.6
    assert 0.8 <= result.predictor.coverage <= 0.98
    assert result.baseline.r2 < 0.05
    assert result.remark == ""
    assert "held-out" in result.line("logp")
    json.dumps(result.to_json(), allow_nan=False)


def test_yesno_ranks_as_the_same_label_as_a_number(predicted, fitted, logp):
    truth = fitted[1]["greasy"][400:]
    a, b = predicted["greasy"].probability, predicted["greasy_number"].mean
    assert spearman(a, b) == pytest.approx(1, abs=1e-3)
    result = assess(predicted["greasy"], truth, fitted[1]["greasy"][:400], "yesno")
    assert result.predictor.auc > 0.85
    assert result.predictor.brier < 0.18
    assert np.isnan(predicted["greasy"].low).all()


def test_probability_of_a_range(fitted, predicted):
    column, result = fitted[0]["logp"], predicted["logp"]
    assert column.between(result, -np.inf, np.inf) == pytest.approx(1)
    inner = column.between(result, 2, 3)
    assert (inner + column.between(result, -np.inf, 2)
            + column.between(result, 3, np.inf)) == pytest.approx(1)  # fmt: skip
    middle = np.asarray([column.between(result, a, b)[i] for i, (a, b) in enumerate(
        zip(result.low[:5], result.high[:5], strict=True))])  # fmt: skip
    assert middle == pytest.approx(0.9, abs=1e-6)
    greasy, label = fitted[0]["greasy"], predicted["greasy"]
    assert greasy.between(label, 1, 1) == pytest.approx(label.probability)
    assert greasy.between(label, 0, 0) == pytest.approx(1 - label.probability)


def test_a_training_molecule_is_its_own_neighbor(fitted, molecules):
    result = fitted[0]["gaps"].predict([molecules[10], "C" * 60])
    assert result.nearest[0] == molecules[10]
    assert result.similarity[0] == pytest.approx(1)
    assert result.nearest_value[0] == fitted[1]["gaps"][10]
    assert result.inside.tolist() == [True, False]
    assert result.sd[1] > result.sd[0]
    assert (result.pessimistic(2.0) < result.pessimistic(1.0)).all()


def test_three_positives(fitted, predicted):
    result = assess(predicted["rare"], fitted[1]["rare"][400:], fitted[1]["rare"][:400], "yesno")
    assert "too few to tell" in result.remark
    assert predicted["rare"].probability.mean() < 0.05


def test_a_constant_column(predicted):
    assert predicted["same"].mean == pytest.approx(2.5)
    truth = np.full(100, 2.5)
    assert "equal" in assess(predicted["same"], truth, truth, "number").remark


def test_broken_smiles_keep_their_row(fitted):
    result = fitted[0].predict(["CCO", "no molecule", "CCN"], ["logp"])["logp"]
    assert np.isnan(result.mean).tolist() == [False, True, False]
    assert result.nearest[1] == ""
    assert not result.inside[1]
    assert len(fitted[0].predict([])["logp"]) == 0


def test_one_molecule_and_a_few():
    one = ColumnPredictor.fit(["CCO"], np.asarray([3.0])).predict(["CCN"])
    assert one.mean[0] == pytest.approx(3)
    assert np.isnan(one.low[0])
    assert one.nearest == ("CCO",)
    yes = ColumnPredictor.fit(["CCO"], np.asarray([1.0]), "yesno").predict(["CCN"])
    assert 0.5 < yes.probability[0] < 1
    few = ColumnPredictor.fit(["CCO", "CCN", "no"], np.asarray([1.0, 2.0, 3.0]))
    assert len(few.values) == 2
    remark = assess(few.predict(["CCC"]), np.ones(1), few.values, "number").remark
    assert "too few" in remark


def test_duplicates_that_disagree_are_averaged(molecules):
    values = np.repeat(np.arange(20.0), 2) + np.tile([0.0, 1.0], 20)
    result = ColumnPredictor.fit(list(np.repeat(molecules[:20], 2)), values)
    means = result.predict(molecules[:20]).mean
    assert np.corrcoef(means, np.arange(20) + 0.5)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [([np.nan], "number", "no molecule"), ([0.5], "yesno", "expected 0, 1"),
     ([1.0, 2.0], "number", "one value per molecule")],
)  # fmt: skip
def test_wrong_columns_are_refused(values, kind, said):
    with pytest.raises(PropertyError, match=said):
        ColumnPredictor.fit(["CCO"], np.asarray(values), kind)


def test_an_unknown_column_is_named(fitted):
    with pytest.raises(PropertyError, match="did you mean 'logp'"):
        fitted[0]["lgop"]


def test_noise_is_called_guessing(molecules):
    noise = np.random.default_rng(1).normal(size=500)
    result = ColumnPredictor.fit(molecules[:200], noise[:200]).predict(molecules[200:300])
    assert "guessing" in assess(result, noise[200:300], noise[:200], "number").remark
    label = (noise > 0).astype(float)
    result = ColumnPredictor.fit(molecules[:200], label[:200], "yesno").predict(molecules[200:300])
    assert "guessing" in assess(result, label[200:300], label[:200], "yesno").remark


@pytest.fixture
def small_exact(monkeypatch):
    monkeypatch.setattr(regression, "EXACT", 100)
    monkeypatch.setattr("molvae.predict.predictor.EXACT", 100)
    monkeypatch.setattr(regression, "INDUCING", 150)
    monkeypatch.setattr(regression, "CALIBRATED", 200)


def test_the_sparse_process_comes_near_the_exact_one(small_exact, fitted, predicted, molecules,
                                                     logp, tmp_path):  # fmt: skip
    sparse = ColumnPredictor.fit(molecules[:400], logp[:400])
    assert isinstance(sparse.regression, regression.SparseRegression)
    result = sparse.predict(molecules[400:])
    scores = assess(result, logp[400:], logp[:400], "number").predictor
    exact = assess(predicted["logp"], logp[400:], logp[:400], "number").predictor
    assert scores.r2 > exact.r2 - 0.1
    assert scores.coverage > 0.8
    Predictors.of("y", sparse).save(tmp_path)
    again = Predictors.load(tmp_path)["y"].predict(molecules[400:])
    np.testing.assert_allclose(again.mean, result.mean, rtol=1e-6)
    np.testing.assert_allclose(again.sd, result.sd, rtol=1e-3)


def test_a_folder_gives_the_same_predictions(fitted, predicted, molecules, tmp_path):
    fitted[0].save(tmp_path)
    loaded = Predictors.load(tmp_path)
    assert list(loaded) == list(fitted[0])
    again = loaded.predict(molecules[400:])
    for name, result in predicted.items():
        np.testing.assert_allclose(again[name].mean, result.mean)
        np.testing.assert_allclose(again[name].low, result.low)
        assert again[name].nearest == result.nearest
    loaded.save(tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def _edit(change):
    def damage(folder):
        data = json.loads((folder / FILES[1]).read_text())
        change(data)
        (folder / FILES[1]).write_text(json.dumps(data))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / FILES[0]).unlink(),
        lambda folder: (folder / FILES[1]).unlink(),
        lambda folder: (folder / FILES[0]).write_bytes((folder / FILES[0]).read_bytes()[:-9]),
        lambda folder: (folder / FILES[1]).write_text("{"),
        lambda folder: (folder / FILES[1]).write_text("[" * 100_000),
        _edit(lambda data: data.update(schema=2)),
        _edit(lambda data: data.update(molecules=4)),
        _edit(lambda data: data.pop("columns")),
        _edit(lambda data: data["columns"].append(data["columns"][0])),
        _edit(lambda data: data["columns"][0].update(noise="much")),
        _edit(lambda data: data["columns"][0].update(weights=[1.0])),
        _edit(lambda data: data["columns"][0].update(kind="word")),
        _edit(lambda data: data["columns"][0].update(calibration=[1, 2])),
        _edit(lambda data: data["columns"][0].update(threshold=None)),
        _edit(lambda data: data["columns"][0].update(logistic=[1])),
    ],
)
def test_damaged_folders_are_refused(damage, tmp_path):
    predictor = ColumnPredictor.fit(["CCO", "CCN", "CCC"], np.asarray([0.0, 1.0, 1.0]), "yesno")
    Predictors.of("column", predictor).save(tmp_path)
    damage(tmp_path)
    with pytest.raises(ModelFolderError):
        Predictors.load(tmp_path)


def test_tensors_that_point_elsewhere_are_refused(tmp_path):
    from safetensors.numpy import load_file, save_file

    predictor = ColumnPredictor.fit(["CCO", "CCN"], np.asarray([0.0, 1.0]))
    Predictors.of("column", predictor).save(tmp_path)
    good = load_file(tmp_path / FILES[0])
    for name, value in (("column.0.rows", np.asarray([0, 7], np.int32)),
                        ("column.0.values", np.asarray([0.0, np.nan])),
                        ("descriptors", np.zeros((2, 3), np.float32)),
                        ("circular.lengths", np.asarray([1, 1], np.uint32))):  # fmt: skip
        save_file(good | {name: value}, tmp_path / FILES[0])
        with pytest.raises(ModelFolderError, match=r"safetensors"):
            Predictors.load(tmp_path)


def test_errors_are_input_errors():
    assert issubclass(ModelFolderError, InputError)


def test_spearman_by_hand():
    assert spearman(np.asarray([1, 2, 3.0]), np.asarray([1, 3, 2.0])) == pytest.approx(0.5)
    assert spearman(np.ones(3), np.arange(3.0)) is None


def test_a_series_that_is_one_cluster_has_intervals():
    smiles = [f"CC(=O)Nc1ccc(OC{'C' * n})cc1" for n in range(12)]
    predictor = ColumnPredictor.fit(smiles, np.linspace(4.0, 8.0, 12))
    predictions = predictor.predict(["CC(=O)Nc1ccc(OCCCCCC)cc1", "C1CC1"])
    assert np.isfinite(predictions.low).all()
    assert predictions.low[0] < predictions.mean[0] < predictions.high[0]
    assert predictions.inside.tolist() == [True, False]
