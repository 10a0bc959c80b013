"""Molecules → latents, nats and predictions in files; what cannot be encoded is reported."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from molvae import MolVAE
from molvae.errors import ConfigError, FileError, OutputExistsError
from molvae.latent import encode
from molvae.latent.encode import encode_file
from molvae.model.checkpoint import load_model

GOOD = ["O=C(Nc1ccc(-c2ccc(F)c(Cl)c2)cc1)c1cncnc1", "Cn1cc(-c2ccc(S(N)(=O)=O)cc2)cn1"]
BAD = {"C1CC": "not a valid SMILES", "": "empty", "CC[Se]C": "unknown token [Se]"}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("id,smiles\n" + "".join(f"x,{s}\n" for s in [GOOD[0], *BAD, GOOD[1]]))
    return path


def rows_of(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


PLAIN = {"workers": 0, "precision": "fp32", "device": "cpu"}


def test_a_table_has_a_row_per_record(tiny_run, table, tmp_path):
    output = tmp_path / "out.csv"
    summary = encode_file([table], output, model=tiny_run, **PLAIN)
    rows = rows_of(output)
    assert [row["smiles"] for row in rows] == [GOOD[0], *BAD, GOOD[1]]
    assert [row["note"] for row in rows] == ["", *BAD.values(), ""]
    means = MolVAE.load(tiny_run).encode(GOOD)
    for row, mean in zip((rows[0], rows[-1]), means, strict=True):
        result = [float(row[f"z{i}"]) for i in range(len(mean))]
        assert result == pytest.approx(mean, rel=1e-4, abs=1e-5)
    assert all(row["z0"] == "" for row in rows[1:-1])
    assert (summary.molecules, summary.encoded) == (5, 2)
    assert summary.refused == dict.fromkeys(BAD.values(), 1)


def test_columns_are_carried_along(tiny_run, table, tmp_path):
    output = tmp_path / "out.csv"
    table.write_text(
        "id,smiles,lot\n" + "".join(f"m{i},{s},{i * i}\n" for i, s in enumerate(3 * GOOD))
    )
    encode_file([table], output, model=tiny_run, keep=("lot", "id"), **PLAIN)
    assert list(rows_of(output)[0])[:4] == ["smiles", "lot", "id", "note"]
    result = [(row["smiles"], row["id"], row["lot"]) for row in rows_of(output)]
    assert result == [(s, f"m{i}", str(i * i)) for i, s in enumerate(3 * GOOD)]


@pytest.mark.parametrize(
    ("name", "keep", "message"),
    [
        ("out.csv", ["z0"], "keep.*'z0'"),
        ("out.csv", ["id", "id"], "keep.*'id'"),
        ("out.npy", ["id"], "keep"),
    ],
)
def test_columns_that_cannot_be_kept(tiny_run, table, tmp_path, name, keep, message):
    with pytest.raises(ConfigError, match=message):
        encode_file([table], tmp_path / name, model=tiny_run, keep=keep, **PLAIN)


def test_latents_alone(tiny_run, table, tmp_path):
    output = tmp_path / "out.npy"
    encode_file([table, table], output, model=tiny_run, **PLAIN)
    result = np.load(output)
    means = MolVAE.load(tiny_run).encode(GOOD)
    assert result.shape == (10, means.shape[1])
    assert result.dtype == np.float32
    assert np.isnan(result[:, 0]).tolist() == 2 * [False, True, True, True, False]
    assert result[[0, 4, 5, 9]] == pytest.approx(np.vstack([means, means]), abs=1e-5)


def test_scores_are_those_of_the_decoder(tiny_model, tiny_run, table, tmp_path):
    import torch

    output = tmp_path / "out.csv"
    encode_file([table], output, model=tiny_run, score=True, **PLAIN)
    network, vocabulary = tiny_model.network.eval(), tiny_model.vocabulary
    for row, smiles in zip((rows_of(output)[i] for i in (0, 4)), GOOD, strict=True):
        ids = torch.as_tensor(vocabulary.encode(smiles))
        mean = torch.from_numpy(MolVAE(tiny_model).encode([smiles]))
        inputs = torch.cat([torch.tensor([1]), ids]).unsqueeze(0)
        targets = torch.cat([ids, torch.tensor([2])])
        empty = torch.zeros(1, network.condition_count)
        for column, z, t in (("nats", torch.zeros_like(mean), 1.0), ("distortion", mean, 0.0)):
            with torch.no_grad():
                context = network.make_context(z, torch.tensor([t]), empty, empty)
                logs = network.decode(inputs, context).log_softmax(-1)[0]
            nats = -logs.gather(1, targets.unsqueeze(1)).sum()
            assert float(row[column]) == pytest.approx(float(nats), rel=1e-4)


def test_own_columns_are_predicted_with_their_spread(tiny_model, tiny_run, table, tmp_path):
    output = tmp_path / "out.csv"
    encode_file([table], output, model=tiny_run, predict=True, **PLAIN)
    rows = rows_of(output)
    head = tiny_model.conditions["assay"]
    for row in (rows[0], rows[-1]):
        assert abs(float(row["assay"]) - head.mean) < 5 * head.std
        assert 0 < float(row["assay_sd"]) < 5 * head.std
    assert rows[1]["assay"] == ""
    assert "logp" not in rows[0]


def test_the_predictor_answers_where_there_is_one(measured_run, table, tmp_path):
    output = tmp_path / "out.csv"
    encode_file([table], output, model=measured_run, predict=True, **PLAIN)
    result = load_model(measured_run).predictors.predict(GOOD)["assay"]
    rows = rows_of(output)
    for row, mean, sd in zip((rows[0], rows[-1]), result.mean, result.sd, strict=True):
        assert float(row["assay"]) == pytest.approx(mean, rel=1e-4)
        assert float(row["assay_sd"]) == pytest.approx(sd, rel=1e-4)


def test_measured_values_are_kept_beside_predicted_ones(measured_run, tmp_path):
    (tmp_path / "in.csv").write_text(f"smiles,assay\n{GOOD[0]},6.5\n{GOOD[1]},\n")
    output = tmp_path / "out.csv"
    encode_file(
        [tmp_path / "in.csv"], output, model=measured_run, predict=True, keep=("assay",), **PLAIN
    )
    rows = rows_of(output)
    assert [row["assay"] for row in rows] == ["6.5", ""]
    result = load_model(measured_run).predictors.predict(GOOD)["assay"]
    predicted = [float(row["assay_predicted"]) for row in rows]
    assert predicted == pytest.approx(result.mean.tolist(), rel=1e-4)
    assert all(float(row["assay_predicted_sd"]) > 0 for row in rows)


def test_salts_are_encoded_as_their_parents(tiny_model):
    salt, parent = encode.encode([f"{GOOD[0]}.Cl", GOOD[0]], tiny_model, **PLAIN)
    assert salt.latent == pytest.approx(parent.latent)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("out.npy", {"score": True}, ConfigError, "out.npy"),
        ("out.sdf", {}, FileError, ".npy"),
        ("in.csv", {}, OutputExistsError, "in.csv"),
    ],
)
def test_what_cannot_be_written(tiny_run, table, tmp_path, name, options, error, message):
    with pytest.raises(error, match=message):
        encode_file([table], tmp_path / name, model=tiny_run, **PLAIN, **options)


def test_a_model_without_own_columns_predicts_none(table, tmp_path):
    with pytest.raises(ConfigError, match="column"):
        encode_file([table], tmp_path / "out.csv", predict=True, **PLAIN)


@pytest.mark.process
def test_from_the_command_line(tiny_run, table, tmp_path):
    output = tmp_path / "out.parquet"
    command = [sys.executable, "-m", "molvae", "encode", "-m", str(tiny_run), str(table)]
    done = subprocess.run(
        [*command, "-o", str(output), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["encoded"] == 2
    import pandas as pd

    frame = pd.read_parquet(output)
    assert frame["note"].fillna("").tolist() == ["", *BAD.values(), ""]
    assert frame["z0"].notna().tolist() == [True, False, False, False, True]
