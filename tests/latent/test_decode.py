"""Latent points → molecules, by function and by command."""

import csv
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from rdkit.Chem import MolFromSmiles

from molvae import MolVAE
from molvae.errors import FileError, OutputExistsError, TargetError
from molvae.latent import decode as module
from molvae.latent.decode import decode, decode_file
from molvae.latent.encode import encode_file
from molvae.model.checkpoint import load_model


@pytest.fixture
def points():
    return np.random.default_rng(0).normal(size=(7, 16)).astype(np.float32)


def rows(path):
    with path.open() as handle:
        return list(csv.DictReader(handle))


def test_a_point_decodes_alike_in_any_block(tiny_model, points, monkeypatch):
    options = {"noise": 0.4, "temperature": 0.8, "seed": 3, "device": "cpu"}
    whole = list(decode(points, tiny_model, **options))
    monkeypatch.setattr(module, "BLOCK", 3)
    assert list(decode(points, tiny_model, **options)) == whole
    assert len(set(whole)) > 3
    assert list(decode(points, tiny_model, **{**options, "seed": 4})) != whole
    assert all(MolFromSmiles(text) for text in whole)


def test_without_noise_it_is_the_object_s_decode(tiny_run, points):
    result = list(decode(points, load_model(tiny_run), device="cpu"))
    assert result == MolVAE.load(tiny_run).decode(points)


def test_a_point_that_is_no_number_is_no_molecule(tiny_model, points):
    expected = list(decode(points, tiny_model, device="cpu"))
    points[2, 5], points[4] = np.nan, np.inf
    result = list(decode(points, tiny_model, device="cpu"))
    assert result == [text if i not in (2, 4) else "" for i, text in enumerate(expected)]


@pytest.mark.parametrize(
    ("options", "message"), [({"noise": 1.5}, "noise.*1.5"), ({"temperature": -1}, "-1")]
)
def test_levels_outside_their_range_are_refused(tiny_model, points, options, message):
    with pytest.raises(TargetError, match=message):
        list(decode(points, tiny_model, **options))


@pytest.mark.parametrize("name", ["z.npy", "z.csv", "z.tsv", "z.csv.gz", "z.parquet"])
def test_every_file_that_encode_writes_is_read(tiny_run, demo_csv, tmp_path, name):
    table = pd.read_csv(demo_csv).head(20)
    table.loc[3, "smiles"] = "not a molecule"
    table.to_csv(tmp_path / "in.csv", index=False)
    encode_file([tmp_path / "in.csv"], tmp_path / name, model=tiny_run, workers=0, precision="fp32")
    summary = decode_file(tmp_path / name, tmp_path / "out.csv", model=tiny_run, device="cpu")
    assert (summary.points, summary.decoded) == (20, 19)
    smiles = [text for i, text in enumerate(table.smiles) if i != 3]
    model = MolVAE.load(tiny_run)
    expected = model.decode(model.encode(smiles))
    result = rows(tmp_path / "out.csv")
    assert [row["point"] for row in result] == [str(i) for i in range(20)]
    assert result[3]["smiles"] == ""
    same = sum(a["smiles"] == b for a, b in zip(result[:3] + result[4:], expected, strict=True))
    assert same >= 17  # a table holds six digits of a latent


def test_molecule_files_hold_molecules_alone(tiny_run, points, tmp_path):
    points[0] = np.nan
    np.save(tmp_path / "z.npy", points)
    summary = decode_file(tmp_path / "z.npy", tmp_path / "out.smi", model=tiny_run)
    assert (summary.points, summary.decoded) == (7, 6)
    assert len((tmp_path / "out.smi").read_text().splitlines()) == 6
    with pytest.raises(OutputExistsError):
        decode_file(tmp_path / "z.npy", tmp_path / "out.smi", model=tiny_run)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no.npy", None, "no file"),
        ("z.txt", b"1 2", ".npy, .csv"),
        ("z.npy", b"nonsense", "z.npy"),
        ("z.csv", b"smiles\nCCO\n", "z0.*z15"),
        ("z.csv", b",".join(b"z%d" % i for i in range(17)) + b"\n", "z16"),
        ("z.csv", b",".join(b"z%d" % i for i in range(16)) + b"\n" + b",".join([b"x"] * 16),
         "number"),
    ],
)  # fmt: skip
def test_what_holds_no_latents_is_named(tiny_run, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=message):
        decode_file(tmp_path / name, tmp_path / "out.csv", model=tiny_run)


@pytest.mark.parametrize("array", [np.zeros((2, 3)), np.zeros(16), np.zeros((2, 16), dtype=int)])
def test_latents_of_another_shape_are_named(tiny_run, tmp_path, array):
    np.save(tmp_path / "z.npy", array)
    with pytest.raises(FileError, match="expected"):
        decode_file(tmp_path / "z.npy", tmp_path / "out.csv", model=tiny_run)


@pytest.mark.process
def test_the_command(tiny_run, points, tmp_path):
    np.save(tmp_path / "z.npy", points)
    command = [sys.executable, "-m", "molvae", "decode", "-m", str(tiny_run), "z.npy"]
    command += ["-o", "out.csv", "--noise", "0.2", "--temperature", "1", "--seed", "5", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["decoded"] == 7
    expected = decode(points, load_model(tiny_run), noise=0.2, temperature=1.0, seed=5)
    assert [row["smiles"] for row in rows(tmp_path / "out.csv")] == list(expected)
