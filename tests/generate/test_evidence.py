"""A target on a measured column is met by the probability of the true value, and shows why."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from molvae import MolVAE
from molvae.chem.screening import Decoded, MoleculeScreen
from molvae.chem.selfies import to_selfies
from molvae.generate.columns import count_inside, legend
from molvae.generate.critic import Critic
from molvae.generate.evidence import Evidence, evidence_columns, held_out_words
from molvae.generate.proposer import Proposer
from molvae.generate.request import Request
from molvae.generate.run import OutputOptions, generate_file
from molvae.model.checkpoint import load_model
from molvae.predict.predictor import ColumnPredictor
from molvae.predict.store import Predictors
from molvae.runtime.randomness import Draws
from molvae.targets import parse_target

FAR = "C" * 30
ENDINGS = ["_low", "_high", "_nearest", "_similarity", "_nearest_value", "_inside"]


@pytest.fixture
def model(measured_run):
    return load_model(measured_run)


def judged(model, smiles, target):
    """The critic's verdicts of molecules."""
    request = Request(targets=(parse_target(target),))
    device = next(model.network.parameters()).device
    critic = Critic(model, request, Proposer(model, request, draws=Draws(0), device=device))
    screen = MoleculeScreen(
        names=critic.exact, constraints=model.constraints, rewrite=True, alerts=(), elements=(),
        max_ring=None, scaffolds=(), fill=False, fingerprint=False, core=False,
    )  # fmt: skip
    texts = [to_selfies(text) for text in smiles]
    return critic.judge(screen(Decoded(texts)), texts, np.full(len(texts), np.nan))


def test_the_cost_is_the_probability_of_the_true_value(model):
    predictor = model.predictors["assay"]
    smiles = [predictor.smiles[int(predictor.values.argmax())], FAR, predictor.smiles[3]]
    predicted = predictor.predict(smiles)
    low = float(predicted.mean[0]) - 0.1
    verdicts = judged(model, smiles, f"assay={low}:")
    assert verdicts.values[:, 0] == pytest.approx(predicted.mean)
    z = (low - predicted.mean) / predicted.sd
    share = 1 - predictor.calibration.cdf(z)
    assert not predicted.inside[1]
    share[1] *= predicted.similarity[1] / predictor.threshold
    assert share[2] < 1e-6  # then the distance counts too
    expected = -np.log(np.maximum(share, 1e-6))
    expected[2] += (low - predicted.mean[2]) / model.conditions["assay"].std
    assert verdicts.costs == pytest.approx(expected, rel=1e-4)
    assert verdicts.outside.tolist() == (share < 0.5).tolist()
    assert verdicts.outside.tolist() == [False, True, True]


def test_a_value_is_met_within_a_quarter_of_the_spread(model):
    predictor, half = model.predictors["assay"], 0.25 * model.conditions["assay"].std
    smiles = list(predictor.smiles[:3])
    predicted = predictor.predict(smiles)
    verdicts = judged(model, smiles, "assay=6.5")
    ends = [(end - predicted.mean) / predicted.sd for end in (6.5 - half, 6.5 + half)]
    share = predictor.calibration.cdf(ends[1]) - predictor.calibration.cdf(ends[0])
    assert verdicts.costs == pytest.approx(-np.log(share), rel=1e-4)
    assert not verdicts.outside.any()  # as near as possible


def test_yes_and_no_are_met_by_their_probabilities(model):
    assay = model.predictors["assay"]
    label = (assay.values > np.median(assay.values)).astype(float)
    active = ColumnPredictor.fit(assay.smiles, label, "yesno", features=assay.features)
    conditions = [replace(c, kind="yesno") if c.name == "assay" else c
                  for c in model.conditions.conditions]  # fmt: skip
    model = replace(
        model, predictors=Predictors.of("assay", active),
        conditions=type(model.conditions)(conditions, model.conditions.correlations),
    )  # fmt: skip
    smiles = list(active.smiles[:4])
    yes = active.predict(smiles).probability
    assert judged(model, smiles, "assay=yes").costs == pytest.approx(-np.log(yes))
    assert judged(model, smiles, "assay=no").costs == pytest.approx(-np.log(1 - yes))
    between = judged(model, smiles, "assay=0.2:0.8").outside  # a range of probabilities
    assert between.tolist() == [not 0.2 <= share <= 0.8 for share in yes]
    assert evidence_columns(["assay"], model.predictors) == tuple(
        f"assay{ending}" for ending in ENDINGS[2:]
    )


def test_of_too_few_values_the_mean_decides(model):
    assay = model.predictors["assay"]
    few = ColumnPredictor.fit(assay.smiles[:5], assay.values[:5])
    model = replace(model, predictors=Predictors.of("assay", few))
    smiles = [*assay.smiles[:2], FAR]
    mean = few.predict(smiles).mean
    verdicts = judged(model, smiles, f"assay={mean[0]}")
    assert verdicts.costs == pytest.approx(abs(mean - mean[0]) / model.conditions["assay"].std)


def test_cells_belong_to_their_candidate(model):
    predictor = model.predictors["assay"]
    smiles = [predictor.smiles[5], "", FAR, predictor.smiles[2], predictor.smiles[5]]
    evidence = Evidence({"assay": predictor}, smiles)
    assert np.isnan(evidence.values("assay")).tolist() == [False, True, False, False, False]
    for i in (0, 3, 4):
        assert evidence.cells(i)["assay_nearest"] == smiles[i]
        assert evidence.cells(i)["assay_similarity"] == 1
    assert evidence.cells(2)["assay_inside"] == "no"
    assert tuple(evidence.cells(2)) == evidence_columns(["mw", "assay"], {"assay": predictor})
    nothing = Evidence({"assay": predictor}, ["", ""])
    assert np.isnan(nothing.values("assay")).all()


def test_every_output_shows_what_a_value_rests_on(measured_run, model, tmp_path):
    options = OutputOptions(report=tmp_path / "page.html", grid=tmp_path / "grid.svg")
    for kind in ("csv", "sdf"):
        summary = generate_file(
            tmp_path / f"out.{kind}", 3, model=measured_run, targets=["assay=7", "mw=:500"],
            workers=0, options=options, force=True,
        )  # fmt: skip
    assert summary.written == 3
    with (tmp_path / "out.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == [
        "smiles", "assay", "mw", "assay_minus_target", *(f"assay{e}" for e in ENDINGS),
    ]  # fmt: skip
    predicted = model.predictors["assay"].predict([row["smiles"] for row in rows])
    for column, expected in (
        ("assay", predicted.mean), ("assay_minus_target", predicted.mean - 7),
        ("assay_low", predicted.low),
        ("assay_high", predicted.high), ("assay_nearest_value", predicted.nearest_value),
    ):  # fmt: skip
        shown = [float(row[column]) for row in rows]
        assert shown == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-4)
    assert [row["assay_nearest"] for row in rows] == list(predicted.nearest)
    text = (tmp_path / "out.sdf").read_text()
    assert text.count(">  <assay_nearest>") + text.count("> <assay_nearest>") == 3
    page = options.report.read_text(encoding="utf-8")
    assert "nearest molecule with a measured assay" in page
    far = [*predicted.inside].count(False)
    assert (
        page.count("(too far to trust the interval)") == 2 * far > 0
    )  # as text and to be read out
    assert "assay_low" in page
    assert options.grid.read_text(encoding="utf-8")
    assert summary.inside == {"assay": int(predicted.inside.sum())}


def test_a_legend_has_the_interval_and_leaves_out_what_repeats_the_request():
    columns = ["smiles", "y", "mw_low", "y_minus_target", *(f"y{e}" for e in ENDINGS), "start"]
    row = ["CCO", 7.046, 3.0, -1.45, 5.267, 8.761, "CCN", 0.43, 8.2, "no", "CC"]
    text = "y 7.05 (5.27 to 8.76)\nnearest 8.2, inside no\nmw_low 3"
    assert legend(columns, row) == text
    yesno = ["smiles", "active", *(f"active{e}" for e in ENDINGS if e not in ("_low", "_high"))]
    row = ["CCO", 0.912, "CCN", 0.43, "yes", "yes"]
    assert legend(yesno, row) == "active 0.912\nnearest yes, inside yes"
    assert count_inside(yesno, [row, [*row[:-1], "no"], row]) == {"active": 2}
    assert count_inside(["smiles", "mw"], [["CCO", 46.0]]) == {}


def test_from_python(measured_run):
    table = MolVAE.load(measured_run).generate(3, ["assay=7"], workers=0)
    assert list(table.columns)[3:] == [f"assay{ending}" for ending in ENDINGS]
    assert (table["assay_low"] < table["assay"]).all()


def test_the_note_says_how_good_the_prediction_is(model):
    assert held_out_words(model, "assay").startswith("mae")  # trained before predictors
    scores = {"r2": 0.61, "spearman": 0.7, "mae": 0.3}
    stored = {
        "kind": "number", "molecules": 9, "trained": 200, "inside": 1.0, "predictor": scores,
        "baseline": {"mae": 0.6}, "remark": "Only 9 held-out molecules: too few to tell.",
    }  # fmt: skip
    training = {**model.training, "figures": {"columns": {"assay": stored}}}
    words = held_out_words(replace(model, training=training), "assay")
    assert words.startswith("R² 0.61")
    assert words.endswith("too few to tell")


def test_a_narrow_range_is_met_by_what_could_not_be_likelier(model):
    """Half of the probability of a prediction in its middle, which may be far below one half."""
    predictor = model.predictors["assay"]
    smiles = [predictor.smiles[3]]
    predicted = predictor.predict(smiles)
    mean, sd = float(predicted.mean[0]), float(predicted.sd[0])
    inside = judged(model, smiles, f"assay={mean - 0.1 * sd}:{mean + 0.1 * sd}")
    assert predictor.meets(predicted, mean - 0.1 * sd, mean + 0.1 * sd)[0] < 0.5
    assert inside.outside.tolist() == [False]
    beside = judged(model, smiles, f"assay={mean + 2 * sd}:{mean + 2.2 * sd}")
    assert beside.outside.tolist() == [True]
