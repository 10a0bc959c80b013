"""The path of the README: prepare, train, generate, look; through the command line."""

import csv
import gzip
import json
import re

import pytest
from click.testing import CliRunner
from rdkit.Chem import (
    QED,
    Crippen,
    Descriptors,
    ForwardSDMolSupplier,
    MolFromSmiles,
    MolToSmiles,
)

from molvae.cli import main
from molvae.runtime.progress import set_quiet


@pytest.fixture(autouse=True)
def loud():
    yield
    set_quiet(False)


def molvae(*words):
    """Run a command that must succeed."""
    result = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result


@pytest.fixture
def few_csv(small_dataset):
    """The table of `small_dataset`: 84 small molecules of the demo file."""
    return small_dataset.with_name("small.csv")


def rows(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t" if ".tsv" in path.name else ","))


def test_prepare_train_generate_info(few_csv, tmp_path):
    data, run, out = tmp_path / "demo.ds", tmp_path / "run", tmp_path / "new.csv"
    result = molvae("prepare", few_csv, "-o", data, "-p", "assay", "--workers", 1)
    assert "84 rows read = 84 kept + 0 merged" in result.stdout
    result = molvae(
        "train", data, "-o", run, "--preset", "tiny", "--epochs", 2, "--seed", 4,
        "--set", "train.validations=1", "--set", "train.critic_samples=60",
    )  # fmt: skip
    assert "validation 1/1" in result.stderr
    assert re.search(
        r"assay, \d+ held-out molecules: predictor .*; head .*; baseline ", result.stderr
    )
    assert f"molvae generate -m {run}" in result.stdout
    result = molvae(
        "generate", "-m", run, "-n", 4, "-o", out, "-t", "logp=0:6", "--workers", 1,
        "--novel-rings", "--max-tries", 1000,
    )  # fmt: skip
    assert "4 of 4 molecules written" in result.stdout
    table = rows(out)
    assert len({row["smiles"] for row in table}) == 4
    assert all(0 <= Crippen.MolLogP(MolFromSmiles(row["smiles"])) <= 6 for row in table)
    result = molvae("info", run)
    assert "assay" in result.stdout
    assert "run finished: 2 steps" in result.stdout
    assert "84 kept" in molvae("info", data).stdout


def test_training_on_a_file_prepares_it_once(few_csv, tmp_path):
    words = (
        "train", few_csv, "--preset", "tiny", "--epochs", 1, "--conditions", "logp,assay",
        "-p", "assay", "--set", "train.validations=1", "--set", "train.critic_samples=0",
        "--workers", 1,
    )  # fmt: skip
    molvae(*words, "-o", tmp_path / "a")
    assert "using the prepared dataset" in molvae(*words, "-o", tmp_path / "b").stderr
    assert (tmp_path / "a" / "rejects.csv").is_file()
    weights = [(tmp_path / r / "model" / "model.safetensors").read_bytes() for r in "ab"]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("name", ["new.csv", "new.tsv", "new.csv.gz", "new.tsv.gz"])
def test_tables(tiny_run, tmp_path, name):
    path = tmp_path / name
    molvae("generate", "-m", tiny_run, "-n", 3, "-o", path, "-t", "mw=300", "-t", "qed=0.3:")
    table = rows(path)
    assert list(table[0]) == ["smiles", "mw", "qed", "mw_minus_target"]
    for row in table:
        mol = MolFromSmiles(row["smiles"])
        assert float(row["mw"]) == pytest.approx(Descriptors.MolWt(mol), rel=1e-4)
        assert float(row["qed"]) == pytest.approx(QED.qed(mol), rel=1e-4)
        assert float(row["qed"]) >= 0.3


def test_smiles_files(tiny_run, tmp_path):
    molvae("generate", "-m", tiny_run, "-n", 6, "-o", tmp_path / "new.smi.gz")
    with gzip.open(tmp_path / "new.smi.gz", "rt") as handle:
        lines = [line.split() for line in handle]
    assert [name for _, name in lines] == [f"molvae-{i}" for i in range(1, 7)]
    assert all(MolFromSmiles(smiles) for smiles, _ in lines)


@pytest.mark.parametrize("name", ["new.sdf", "new.sdf.gz"])
def test_structure_files(tiny_run, tmp_path, name):
    molvae("generate", "-m", tiny_run, "-n", 2, "-o", tmp_path / name, "-t", "logp=2")
    opener = gzip.open if name.endswith(".gz") else open
    with opener(tmp_path / name, "rb") as handle:
        mols = list(ForwardSDMolSupplier(handle))
    assert len(mols) == 2
    for mol in mols:
        assert mol.GetNumConformers() == 1
        assert float(mol.GetProp("logp")) == pytest.approx(Crippen.MolLogP(mol), abs=1e-3)


def test_a_column_of_the_user_can_be_requested(tiny_run, tmp_path):
    molvae("generate", "-m", tiny_run, "-n", 3, "-o", tmp_path / "a.csv", "-t", "assay=5:7")
    assert all(5 <= float(row["assay"]) <= 7 for row in rows(tmp_path / "a.csv"))


def test_the_seed_decides(tiny_run, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        molvae("generate", "-m", tiny_run, "-n", 4, "-o", tmp_path / f"{name}.csv", "--seed", seed)
    a, b, c = ((tmp_path / f"{name}.csv").read_bytes() for name in "abc")
    assert a == b != c


def test_generated_molecules_can_be_evaluated(tiny_run, few_csv, tmp_path):
    new, report, page = (tmp_path / name for name in ("new.csv", "report.json", "report.html"))
    molvae("generate", "-m", tiny_run, "-n", 10, "-o", new, "-t", "logp=1:5")
    molvae(
        "evaluate", new, "--train", few_csv, "-t", "logp=1:5", "-o", report, "--report", page,
        "--workers", 1, "--bootstrap", 100,
    )  # fmt: skip
    metrics = json.loads(report.read_text())["metrics"]
    assert metrics["valid"]["value"] == 1
    assert page.read_text().lstrip().lower().startswith("<!doctype html")


def test_json_is_for_machines(tiny_run, few_csv, tmp_path):
    data = tmp_path / "ds"
    said = molvae("prepare", few_csv, "-o", data, "--conditions", "logp", "--json", "--workers", 1)
    assert json.loads(said.stdout)["kept"] == 84
    said = molvae(
        "train", data, "-o", tmp_path / "run", "--preset", "tiny", "--epochs", 0.2, "--json",
        "--conditions", "logp", "--set", "train.validations=1", "--set", "train.critic_samples=0",
    )  # fmt: skip
    assert json.loads(said.stdout)["finished"] is True
    said = molvae("generate", "-m", tiny_run, "-n", 3, "-o", tmp_path / "a.smi", "--json")
    assert json.loads(said.stdout)["written"] == 3
    said = molvae("info", tiny_run, "--json")
    assert json.loads(said.stdout)["tokens"] > 10


def test_quiet_prints_nothing_on_standard_error(tiny_run, tmp_path):
    said = molvae("generate", "-m", tiny_run, "-n", 3, "-o", tmp_path / "a.smi", "--quiet")
    assert said.stderr == ""


def test_generated_smiles_are_canonical(tiny_run, tmp_path):
    molvae("generate", "-m", tiny_run, "-n", 20, "-o", tmp_path / "a.csv")
    for row in rows(tmp_path / "a.csv"):
        assert MolToSmiles(MolFromSmiles(row["smiles"])) == row["smiles"]
