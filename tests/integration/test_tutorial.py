"""The commands of docs/tutorial.md, run in the order in which they are printed there."""

import csv
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
EXPORT = ROOT / "data" / "assay_export.csv"
COMMANDS = re.findall(r"```sh\n(.*?)```", PAGE, re.S)
# Stands in for dockstring where the extra is not installed: -0.25 kcal/mol per heavy atom.
DOCKSTRING = """
from rdkit import Chem

def list_all_target_names():
    return ["DRD2"]

def load_target(name):
    return Target()

class Target:
    def dock(self, smiles, num_cpus=None):
        mol = Chem.MolFromSmiles(smiles)
        mol.AddConformer(Chem.Conformer(mol.GetNumAtoms()))
        energy = -0.25 * mol.GetNumAtoms()
        return energy, {"ligand": mol, "affinities": [energy]}
"""


def test_the_export_is_what_its_script_makes(tmp_path):
    made = tmp_path / "export.csv"
    script = ROOT / "scripts" / "make_assay_export.py"
    subprocess.run([sys.executable, script, "-o", made], check=True)
    assert made.read_bytes() == EXPORT.read_bytes()


def test_the_row_account_on_the_page_is_that_of_the_file():
    """Counted here without molvae."""
    with open(EXPORT, newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [row for row in rows if row["Standard Type"] == "IC50"]
    assert f"{len(rows):,} rows read" in PAGE
    assert f"{len(rows) - len(kept)} × left out by --where" in PAGE
    censored = sum(row["Standard Relation"] == ">" for row in kept if row["Smiles"])
    assert f"{censored} censored cells" in PAGE
    foreign = sum(row["Standard Units"] == "ug.mL-1" for row in kept if row["Smiles"])
    assert f"{foreign} values in units that cannot be converted" in PAGE


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_the_commands_of_the_tutorial(tmp_path):
    (tmp_path / "data").mkdir()
    shutil.copy(EXPORT, tmp_path / "data")
    packages = tmp_path / "packages"
    packages.mkdir()
    if importlib.util.find_spec("dockstring") is None:
        (packages / "dockstring.py").write_text(DOCKSTRING)
        (packages / "openbabel.py").write_text("")
        (packages / "obabel").touch(mode=0o755)  # docking looks for the program
    (script,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    (tmp_path / "pick.py").write_text(script, encoding="utf-8")
    environment = os.environ | {
        "PATH": os.pathsep.join(
            [str(Path(sys.executable).parent), str(packages), os.environ["PATH"]]
        ),
        "PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)]),
    }
    for commands in COMMANDS:
        if commands.startswith("pip "):
            continue
        command = commands.replace("molvae ", f"{sys.executable} -m molvae ")
        subprocess.run(["bash", "-ec", command], check=True, cwd=tmp_path, env=environment)
    with open(tmp_path / "ten.csv", newline="") as file:
        ten = list(csv.DictReader(file))
    assert len({row["smiles"] for row in ten}) == 10
    assert all(float(row["pIC50"]) > 6.5 for row in ten)
    assert [float(row["energy"]) for row in ten] == sorted(float(row["energy"]) for row in ten)
    assert len(list((tmp_path / "poses").iterdir())) == 10
    assert (tmp_path / "ten.html").stat().st_size > 10_000
