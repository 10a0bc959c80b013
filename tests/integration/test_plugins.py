"""A package with one plugin of each kind, that of docs/extending.md, on the command line."""

import csv
import functools
import importlib
import itertools
import json
import os
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from tests import warm

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def install(site, text):
    """What pip writes of the package on the page: its module and its dist-info."""
    project, module = re.findall(r"```(?:toml|python)\n(.*?)```", text, re.DOTALL)[:2]
    about = tomllib.loads(project)["project"]
    (site / "nitrogen_tools.py").write_text(module)
    info = site / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    )
    lines = [
        line
        for group, entries in about["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def add_path(site):
    sys.path.insert(0, str(site))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    importlib.invalidate_caches()


@pytest.fixture(scope="module")
def molvae(tmp_path_factory):
    """Runs molvae where the package is installed."""
    site = tmp_path_factory.mktemp("site")
    install(site, PAGE.read_text(encoding="utf-8"))

    def run(*words, code=0):
        done = warm.run(*words, first=functools.partial(add_path, site))
        assert done.returncode == code, done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def run_folder(molvae, demo_csv, tmp_path_factory):
    """A model with the plugin's property as a condition."""
    folder = tmp_path_factory.mktemp("plugins")
    with demo_csv.open(encoding="utf-8") as rows:
        (folder / "few.csv").write_text("".join(itertools.islice(rows, 121)), encoding="utf-8")
    molvae("prepare", folder / "few.csv", "-o", folder / "ds", "--conditions", "builtin,nitrogens",
           "--workers", 1)  # fmt: skip
    molvae("train", folder / "ds", "-o", folder / "run", "--preset", "tiny", "--epochs", 4,
           "--set", "train.validations=1")  # fmt: skip
    return folder


def nitrogens(smiles):
    return sum(atom.GetSymbol() == "N" for atom in Chem.MolFromSmiles(smiles).GetAtoms())


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.process
def test_a_property_is_a_condition_a_target_a_column_and_a_chart(run_folder, molvae):
    from molvae.data.dataset import Dataset

    dataset = Dataset(run_folder / "ds")
    values = dataset.values[:, dataset.names.index("nitrogens")]
    smiles = dataset.smiles(np.arange(len(values)))
    assert [nitrogens(text) for text in smiles] == values.tolist()
    stored = json.loads((run_folder / "run" / "model" / "conditions.json").read_text())
    (condition,) = [c for c in stored["conditions"] if c["name"] == "nitrogens"]
    assert (condition["builtin"], condition["integer"]) == (True, True)
    assert condition["package"] == "nitrogen-tools 1.2"
    output, page = run_folder / "new.csv", run_folder / "new.html"
    molvae("generate", "-m", run_folder / "run", "-n", 4, "-t", "nitrogens=2:", "-o", output,
           "--novel-rings", "--realism", "off", "--report", page, "--workers", 1)  # fmt: skip
    for row in rows_of(output):
        assert int(float(row["nitrogens"])) == nitrogens(row["smiles"]) >= 2
    assert "nitrogen atoms" in page.read_text()


@pytest.mark.process
def test_metrics_and_properties_are_in_the_table_the_json_and_the_page(molvae, demo_csv, tmp_path):
    data, page = tmp_path / "found.json", tmp_path / "page.html"
    done = molvae("evaluate", demo_csv, "-o", data, "--report", page, "--no-fcd",
                  "--bootstrap", 0, "-t", "nitrogens=2:3", "--workers", 0)  # fmt: skip
    result = json.loads(data.read_text())
    smiles = [row["smiles"] for row in rows_of(demo_csv)]
    mols = [mol for text in smiles if (mol := Chem.MolFromSmiles(text)) is not None]
    halogens = [any(a.GetSymbol() in ("F", "Cl", "Br", "I") for a in m.GetAtoms()) for m in mols]
    metric = result["metrics"]["halogenated"]
    assert (metric["numerator"], metric["denominator"]) == (sum(halogens), len(mols))
    counts = [nitrogens(Chem.MolToSmiles(mol)) for mol in mols]
    assert result["properties"]["nitrogens"]["mean"] == pytest.approx(np.mean(counts))
    assert result["targets"]["nitrogens"]["hit rate"]["numerator"] == sum(
        count in (2, 3) for count in counts
    )
    assert re.search(r"halogenated +0\.\d", done.stdout)
    text = page.read_text()
    assert "share of the molecules with a halogen" in text
    assert "nitrogen atoms" in text


@pytest.mark.process
def test_engines_and_objectives_by_name(molvae, tiny_run, tmp_path):
    output = tmp_path / "best.csv"
    molvae(
        "optimize", "-m", tiny_run, "--engine", "around", "--objective", "carbons@0:30",
        "--objective", "nitrogens=1:2", "--budget", 16, "-o", output, "--workers", 1,
    )  # fmt: skip
    rows = rows_of(tmp_path / "best.calls.csv")
    assert {"sample", "around"} == {row["origin"] for row in rows}
    for row in rows_of(output):
        assert float(row["carbons"]) == row["smiles"].upper().count("C")
        assert float(row["nitrogens"]) == nitrogens(row["smiles"])
    assert json.loads((tmp_path / "best.calls.json").read_text())["method"] == "around"


@pytest.mark.process
def test_a_model_whose_package_is_missing_is_one_clear_error(run_folder):
    output = run_folder / "none.csv"
    done = warm.run("generate", "-m", run_folder / "run", "-n", 2, "-o", output)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "'nitrogens'" in line
    assert "install the package nitrogen-tools 1.2" in line
    done = warm.run("train", run_folder / "ds", "-o", run_folder / "again", "--preset", "tiny",
                    "--epochs", 1)  # fmt: skip
    assert done.returncode == 2
    assert "'nitrogens'" in done.stderr


@pytest.mark.process
def test_a_dataset_whose_measured_column_has_the_name_of_a_later_property(run_folder, molvae):
    done = warm.run("prepare", run_folder / "few.csv", "-o", run_folder / "old",
                    "-p", "nitrogens=assay", "--workers", 1)  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = molvae("train", run_folder / "old", "-o", run_folder / "clash", "--preset", "tiny",
                  "--epochs", 1, code=2)  # fmt: skip
    assert "old': the measured column 'nitrogens' has the name of a property of the installed " \
        "package nitrogen-tools 1.2; uninstall" in done.stderr  # fmt: skip
