"""Measured columns of molecule files are predicted, with what speaks for each prediction."""

import csv
import gzip
from dataclasses import replace

import numpy as np
import pytest

from molvae import chem
from molvae.errors import ConfigError, FileError, OutputExistsError
from molvae.latent.predict import predict, predict_file, prediction_columns
from molvae.model.checkpoint import load_model
from molvae.predict.predictor import ColumnPredictor
from molvae.predict.store import Predictors

GOOD = ["O=C(Nc1ccc(-c2ccc(F)c(Cl)c2)cc1)c1cncnc1", "Cn1cc(-c2ccc(S(N)(=O)=O)cc2)cn1"]
PLAIN = {"workers": 0}


def rows_of(path):
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture
def measured_model(measured_run):
    return load_model(measured_run)


def test_every_row_is_kept_with_its_evidence(measured_run, measured_model, tmp_path):
    predictor = measured_model.predictors["assay"]
    known = predictor.smiles[7]
    texts = [known, "C1CC", f"{GOOD[0]}.Cl", GOOD[0], "C" * 30, "C[Se]c1ccccc1"]
    (tmp_path / "in.csv").write_text("id,smiles\n" + "".join(f"m,{t}\n" for t in texts))
    output = tmp_path / "out.csv"
    summary = predict_file([tmp_path / "in.csv"], output, model=measured_run, keep=["id"], **PLAIN)
    rows = rows_of(output)
    assert list(rows[0]) == [
        "smiles", "id", "assay", "assay_low", "assay_high", "assay_nearest", "assay_similarity",
        "assay_nearest_value", "assay_inside", "note",
    ]  # fmt: skip
    assert [row["smiles"] for row in rows] == texts
    assert rows[0]["assay_nearest"] == known
    assert float(rows[0]["assay_similarity"]) == 1
    assert float(rows[0]["assay_nearest_value"]) == pytest.approx(predictor.values[7], rel=1e-5)
    assert [row["assay_inside"] for row in rows][:2] == ["yes", ""]
    assert rows[4]["assay_inside"] == "no"  # an alkane is unlike any drug
    assert rows[1]["note"] == "not a valid SMILES"
    assert rows[1]["assay"] == rows[1]["assay_nearest"] == ""
    same = ("assay", "assay_low", "assay_high", "assay_nearest")
    assert [rows[2][name] for name in same] == [rows[3][name] for name in same]  # without the salt
    assert rows[5]["note"] == ""  # an element the network has no token for
    assert float(rows[5]["assay"])
    assert (summary.molecules, summary.predicted) == (6, 5)
    assert summary.refused == {"not a valid SMILES": 1}
    assert summary.examples == {"not a valid SMILES": "row 2 'C1CC'"}
    assert summary.inside["assay"] == sum(row["assay_inside"] == "yes" for row in rows)


def test_the_interval_is_the_calibrated_one(measured_run, measured_model, tmp_path):
    (tmp_path / "in.smi").write_text("\n".join(GOOD) + "\n")
    for level in (0.5, 0.9):
        output = tmp_path / f"{level}.csv.gz"
        predict_file([tmp_path / "in.smi"], output, model=measured_run, level=level, **PLAIN)
        predicted = measured_model.predictors["assay"].predict(GOOD, level=level)
        for column, expected in (
            ("_low", predicted.low),
            ("_high", predicted.high),
            ("", predicted.mean),
        ):
            shown = [float(row[f"assay{column}"]) for row in rows_of(output)]
            assert shown == pytest.approx(expected.tolist(), rel=1e-4)


@pytest.mark.parametrize("kind", ["csv", "sdf", "parquet"])
def test_measured_values_of_a_file_are_beside_predicted_ones(measured_run, tmp_path, kind):
    source, output = tmp_path / f"in.{kind}", tmp_path / "out.csv"
    values = ["6.5", ""]
    if kind == "csv":
        lines = (f"{s},{v}" for s, v in zip(GOOD, values, strict=True))
        source.write_text("\n".join(["smiles,assay", *lines]) + "\n")
    elif kind == "sdf":
        source.write_text("".join(
            chem.sdf_block(s, "m", {"assay": v}) for s, v in zip(GOOD, values, strict=True)
        ))  # fmt: skip
    else:
        pandas = pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        pandas.DataFrame({"smiles": GOOD, "assay": [6.5, None]}).to_parquet(source)
    (tmp_path / "other.csv").write_text(f"smiles\n{GOOD[1]}\n")  # without measurements
    predict_file([source, tmp_path / "other.csv"], output, model=measured_run, **PLAIN)
    rows = rows_of(output)
    assert [row["assay"] for row in rows] == [*values, ""]
    assert all(row["assay_predicted"] and row["assay_predicted_low"] for row in rows)
    assert "assay_low" not in rows[0]


def test_an_sdf_without_the_column_has_no_measured_values(measured_run, tmp_path):
    (tmp_path / "in.sdf").write_text("".join(chem.sdf_block(s, "m", {"x": "1"}) for s in GOOD))
    predict_file([tmp_path / "in.sdf"], tmp_path / "out.csv", model=measured_run, **PLAIN)
    assert "assay_predicted" not in rows_of(tmp_path / "out.csv")[0]


def test_a_yes_no_column_has_a_probability_and_no_interval(measured_model):
    predictor = measured_model.predictors["assay"]
    label = (predictor.values > np.median(predictor.values)).astype(float)
    fitted = ColumnPredictor.fit(predictor.smiles, label, "yesno", features=predictor.features)
    predictors = Predictors.of("assay", fitted)
    assert prediction_columns(predictors, ["assay"])[:2] == [
        "assay_predicted", "assay_predicted_nearest",
    ]  # fmt: skip
    model = replace(measured_model, predictors=predictors)
    texts = [predictor.smiles[i] for i in (int(label.argmax()), int(label.argmin()))]
    yes, no = predict(texts, model, **PLAIN)
    assert 1 > yes.cells[0] > 0.5 > no.cells[0] > 0
    assert (yes.cells[-2], no.cells[-2]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("out.sdf", {}, FileError, "out.sdf.*csv"),
        ("in.csv", {}, OutputExistsError, "in.csv"),
        ("out.csv", {"level": 90}, ConfigError, "level: got 90"),
        ("out.csv", {"keep": ["note"]}, ConfigError, "'note'"),
        ("out.csv", {"keep": ["nothing"]}, FileError, "nothing"),
    ],
)
def test_what_cannot_be_written(measured_run, tmp_path, name, options, error, message):
    (tmp_path / "in.csv").write_text(f"smiles,note\n{GOOD[0]},x\n")
    with pytest.raises(error, match=message):
        predict_file([tmp_path / "in.csv"], tmp_path / name, model=measured_run, **PLAIN, **options)
    assert not (tmp_path / "out.csv").exists()


def test_a_model_without_predictors_says_how_to_get_them(tiny_run, tmp_path):
    (tmp_path / "in.csv").write_text(f"smiles\n{GOOD[0]}\n")
    with pytest.raises(ConfigError, match=r"assay.*--resume"):
        predict_file([tmp_path / "in.csv"], tmp_path / "out.csv", model=tiny_run, **PLAIN)
