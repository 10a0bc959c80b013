"""A measured column of a model is an objective by its name, scored pessimistically."""

import math

import numpy as np
import pytest

from molvae.errors import ConfigError
from molvae.model.checkpoint import load_predictors
from molvae.objectives import ColumnScorer, parse_objective
from molvae.predict.predictor import ColumnPredictor

FAR = "C" * 30  # unlike any training molecule


@pytest.fixture(scope="module")
def predictors(measured_run):
    """Of the assay as a number, and of whether it is above the median."""
    assay = load_predictors(measured_run)["assay"]
    label = (assay.values > np.median(assay.values)).astype(float)
    active = ColumnPredictor.fit(assay.smiles, label, "yesno", features=assay.features)
    return {"assay": assay, "active": active}


def objective(predictors, *texts, **options):
    return parse_objective(texts, columns=lambda: predictors, **options)


def test_a_number_is_scored_below_its_mean(predictors):
    predictor = predictors["assay"]
    smiles = [*predictor.smiles[:2], FAR, "C1CC"]
    predicted = predictor.predict(smiles)
    for pessimism in (0.0, 1.0, 2.5):
        (part,) = objective(predictors, "assay", pessimism=pessimism).parts
        expected = predicted.mean - pessimism * predicted.sd
        assert part.scorer(smiles) == pytest.approx(expected.tolist(), nan_ok=True)
    assert math.isnan(part.scorer(smiles)[-1])
    assert predicted.sd[2] > predicted.sd[0]  # far from the data it costs more


@pytest.mark.parametrize(("text", "minimize"), [("assay", True), ("assay@9:4", False)])
def test_where_low_is_good_pessimism_adds(predictors, text, minimize):
    predicted = predictors["assay"].predict([FAR])
    (part,) = objective(predictors, text, minimize=minimize).parts
    assert part.scorer([FAR]) == pytest.approx((predicted.mean + predicted.sd).tolist())


def test_a_probability_is_trusted_less_outside_the_domain(predictors):
    active = predictors["active"]
    smiles = [active.smiles[0], FAR]
    predicted = active.predict(smiles)
    assert predicted.inside.tolist() == [True, False]
    (part,) = objective(predictors, "active").parts
    expected = [predicted.mean[0], predicted.mean[1] * predicted.similarity[1]]
    assert part.scorer(smiles) == pytest.approx(expected)
    (part,) = objective(predictors, "active", minimize=True).parts
    expected = [predicted.mean[0], 1 - (1 - predicted.mean[1]) * predicted.similarity[1]]
    assert part.scorer(smiles) == pytest.approx(expected)
    (part,) = objective(predictors, "active", pessimism=0).parts
    assert part.scorer(smiles) == pytest.approx(predicted.mean.tolist())


def test_a_range_is_the_probability_of_the_true_value(predictors):
    assay = predictors["assay"]
    smiles = [assay.smiles[0], FAR]
    predicted = assay.predict(smiles)
    middle = float(predicted.mean[0])
    (part,) = objective(predictors, f"assay={middle}:").parts
    above, far = part.scorer(smiles)
    assert part.scorer.bounded
    z = (middle - predicted.mean[1]) / predicted.sd[1]
    share = 1 - float(assay.calibration.cdf(np.asarray([z]))[0])
    assert far == pytest.approx(share * predicted.similarity[1] / assay.threshold)
    (part,) = objective(predictors, f"assay=:{middle}").parts
    assert part.scorer(smiles)[0] == pytest.approx(1 - above)
    (part,) = objective(predictors, "active=no").parts
    active = predictors["active"].predict(smiles[:1])
    assert part.scorer(smiles[:1]) == pytest.approx((1 - active.mean).tolist())


def test_a_column_joins_other_objectives(predictors):
    both = objective(predictors, "assay@4:8*2", "qed")
    assert both.names == ("assay", "qed")
    assert isinstance(both.parts[0].scorer, ColumnScorer)
    score, qed = (part.scorer(["CCO"])[0] for part in both.parts)
    worth = min(max((score - 4) / 4, 0), 1)
    expected = (worth**2 * qed) ** (1 / 3)
    assert both.value((score, qed)) == pytest.approx(expected)
    with pytest.raises(ConfigError, match=r"'assay'.*@0:10"):
        objective(predictors, "assay", "qed")
    assert objective(predictors, "active", "qed").parts[0].scorer.bounded


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("asay", {}, "unknown objective 'asay': did you mean 'assay'"),
        ("assay=7", {}, "'assay=7': expected a range"),
        ("assay=x:", {}, "assay"),
        ("assay", {"pessimism": -1}, "pessimism: got -1"),
    ],
)
def test_what_is_no_objective(predictors, text, options, message):
    with pytest.raises(ConfigError, match=message):
        objective(predictors, text, **options)


def test_the_model_is_not_asked_where_the_name_is_known():
    def columns():
        raise AssertionError("not needed")

    assert parse_objective(["qed"], columns=columns).names == ("qed",)
    assert parse_objective(["qed"]).names == ("qed",)
    with pytest.raises(ConfigError, match="unknown objective 'pIC50'"):
        parse_objective(["pIC50"])
