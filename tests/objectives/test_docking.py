"""Docking with a stand-in for dockstring: direction, failures, poses; and one real docking."""

import math
import os
import sys
from pathlib import Path

import pytest
from rdkit import Chem

from molvae.errors import ConfigError, FileError, RunError
from molvae.objectives import DockOptions, parse_objective
from molvae.optimize.run import optimize
from molvae.optimize.scoring import Scoring
from molvae.runtime.pool import WorkerPool

# Energies and poses by rule: a molecule of n heavy atoms has -0.5 n kcal/mol, and two poses.
DOCKSTRING = """
import os
from rdkit import Chem

class VinaError(Exception):
    pass

def list_all_target_names():
    return ["ABL1", "EGFR", "DRD2"]

def load_target(name):
    return Target(name)

class Target:
    def __init__(self, name):
        self.name = name

    def dock(self, smiles, num_cpus=None):
        first = os.environ["PATH"].split(os.pathsep)[0]
        with open(os.environ["DOCKED"], "a") as log:
            log.write(f"{self.name} {smiles} {num_cpus} {first}\\n")
        if "N" in smiles:
            raise VinaError("no such\\n atom type")
        if "O" in smiles:
            return None, {}
        mol = Chem.MolFromSmiles(smiles)
        for number in range(2):
            mol.AddConformer(Chem.Conformer(mol.GetNumAtoms()), assignId=True)
        best = -0.5 * mol.GetNumAtoms()
        return best, {"ligand": mol, "affinities": [best, best + 0.25]}
"""


@pytest.fixture
def docked(tmp_path, monkeypatch):
    """The stand-in, for this process and its workers; and what was docked, line by line."""
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "dockstring.py").write_text(DOCKSTRING)
    (packages / "openbabel.py").write_text("")
    (packages / "obabel").write_text("#!/bin/sh\n")
    (packages / "obabel").chmod(0o755)
    monkeypatch.setenv("PATH", str(packages), prepend=os.pathsep)
    monkeypatch.syspath_prepend(packages)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(packages), os.environ["PYTHONPATH"]])
                       if "PYTHONPATH" in os.environ else str(packages))  # fmt: skip
    monkeypatch.setenv("DOCKED", str(tmp_path / "docked"))
    monkeypatch.delitem(sys.modules, "dockstring", raising=False)
    from molvae.objectives.docking import _target

    _target.cache_clear()
    yield lambda: [line.split() for line in (tmp_path / "docked").read_text().splitlines()]
    sys.modules.pop("dockstring", None)
    sys.modules.pop("openbabel", None)
    _target.cache_clear()


def dock(text="dock:EGFR", **options):
    return parse_objective([text], minimize=True, docking=DockOptions(**options))


def test_an_energy_per_molecule_on_one_cpu(docked):
    objective = dock()
    assert objective.names == ("dock_EGFR",)
    assert objective.scores(["CCCC", "c1ccccc1"]) == [(-2.0,), (-3.0,)]
    assert objective.value((-3.0,)) > objective.value((-2.0,))
    assert objective.displayed(objective.value((-3.0,))) == -3.0
    beside = str(Path(sys.executable).parent)
    assert docked() == [["EGFR", "CCCC", "1", beside], ["EGFR", "c1ccccc1", "1", beside]]
    dock(cpus=3).scores(["CC"])
    assert docked()[-1][2] == "3"


@pytest.mark.parametrize("pareto", [False, True])
def test_the_direction_must_be_said(docked, pareto):
    texts = ["dock:EGFR", "qed"] if pareto else ["dock:EGFR"]
    with pytest.raises(ConfigError, match=r"better where lower; add --minimize .*@-4:-12"):
        parse_objective(texts, pareto=pareto)
    ramp = parse_objective(["dock:EGFR@-4:-12", "dock:DRD2@-12:-4", "qed"])
    assert ramp.worth((-8.0, -8.0, 0.5)) == (0.5, 0.5, 0.5)
    assert ramp.names == ("dock_EGFR", "dock_DRD2", "qed")


def test_an_unknown_target_is_an_error_with_all_names(docked):
    with pytest.raises(ConfigError, match=r"'dock:EGFRR'.*EGFR.*ABL1, DRD2, EGFR"):
        dock("dock:EGFRR")
    with pytest.raises(ConfigError, match="expected 1 or more"):
        dock(cpus=0)


def test_without_the_program_of_open_babel_no_call_is_made(docked, monkeypatch, tmp_path):
    # dockstring would fail at every molecule, and each failure costs a call.
    objective = dock()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"no program 'obabel'.*molvae\[docking\]"):
        objective.scores(["CC", "CCC"])


@pytest.mark.parametrize("missing", ["dockstring", "openbabel"])
def test_without_the_extra_it_is_named(docked, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=r"molvae\[docking\]"):
        dock()


def test_failures_cost_one_call_each_and_keep_their_reason(docked):
    with WorkerPool(0) as pool:
        scoring = Scoring(dock(), pool, size=16)
        given = ["CCC", "CN", "CO", "CCCCC"]
        results = {one.smiles: one for part in scoring(given) for one in part}
    assert results["CCC"].scores == (-1.5,)
    assert results["CCCCC"].scores == (-2.5,)
    assert results["CN"].note == "docking: VinaError: no such atom type"
    assert results["CO"].note == "docking: Vina found no pose"
    assert sorted(words[1] for words in docked()) == sorted(given), "none is docked twice"
    scores = [score for (score,) in dock().scores(["CCC", "CN"])]
    assert scores[0] == -1.5
    assert math.isnan(scores[1])


def test_poses_are_written_with_their_energies(docked, tmp_path):
    objective = dock(poses=tmp_path / "poses")
    with pytest.raises(FileError, match="no folder"):
        objective.load()
    (tmp_path / "poses").mkdir()
    objective.scores(["CCCC"])
    scorer = objective.parts[0].scorer
    assert [path.name for path in (tmp_path / "poses").iterdir()] == [scorer.pose("CCCC").name]
    poses = list(Chem.SDMolSupplier(str(scorer.pose("CCCC"))))
    assert [float(pose.GetProp("energy")) for pose in poses] == [-2.0, -1.75]
    assert [pose.GetProp("target") for pose in poses] == ["EGFR", "EGFR"]
    assert [pose.GetProp("_Name") for pose in poses] == ["CCCC", "CCCC"]
    assert all(Chem.MolToSmiles(pose) == "CCCC" for pose in poses)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written"):
        scorer.__class__("EGFR", DockOptions(poses=tmp_path / "file"))._write("C", poses[0], [1.0])


@pytest.mark.process
def test_a_search_docks_each_molecule_once_and_names_the_files(docked, tiny_run, tmp_path):
    poses, output = tmp_path / "poses", tmp_path / "best.csv"
    poses.mkdir()
    objective = dock(poses=poses)
    summary = optimize(output, objective, 12, model=tiny_run, workers=1, keep=5)
    assert len({words[1] for words in docked()}) == len(docked()) == 12
    header, first, *_ = output.read_text().splitlines()
    columns = dict(zip(header.split(","), first.split(","), strict=True))
    heavy = Chem.MolFromSmiles(columns["smiles"]).GetNumAtoms()
    assert float(columns["dock_EGFR"]) == -0.5 * heavy == summary.best
    assert (poses / columns["dock_EGFR_poses"]).is_file()
    assert len(list(poses.iterdir())) == 12 - summary.failed


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_real_docking(tmp_path):
    """Phenol, which has hardly a torsion and takes Vina seconds."""
    pytest.importorskip("dockstring", reason="the extra 'docking'")
    objective = dock("dock:EGFR", cpus=2, poses=tmp_path)
    [(energy,)] = objective.scores(["Oc1ccccc1"])
    assert -6.5 < energy < -3.0
    [path] = tmp_path.iterdir()
    poses = list(Chem.SDMolSupplier(str(path)))
    assert float(poses[0].GetProp("energy")) == pytest.approx(energy)
    assert len(poses) > 1
    energies = [float(pose.GetProp("energy")) for pose in poses]
    assert energies == sorted(energies)
    assert all(Chem.MolToSmiles(pose) == "Oc1ccccc1" for pose in poses)
