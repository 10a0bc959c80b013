"""The list of licenses and the bill of materials, of what is installed here."""

import importlib.util
import json
from importlib.metadata import version
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "audit.py"


@pytest.fixture(scope="module")
def audit():
    """The script by its path: scripts/ is a folder of files, not a package."""
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_dependency_has_a_license(audit, capsys):
    assert audit.main(["licenses", "--strict"]) == 0
    out, err = capsys.readouterr()
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["selfies"] == f"{version('selfies'):<16}Apache Software License"
    assert {"torch", "rdkit", "numpy", "mpmath"} <= lines.keys()  # mpmath is torch's, by sympy
    assert "0 of unknown license" in err


def test_an_unknown_license_is_counted(audit, capsys, monkeypatch):
    monkeypatch.setattr(audit, "license_of", lambda package: audit.UNKNOWN)
    assert audit.main(["licenses"]) == 0
    assert audit.main(["licenses", "--strict"]) == 1
    capsys.readouterr()


def test_the_bill_of_materials(audit, capsys):
    assert audit.main(["sbom"]) == 0
    bill = json.loads(capsys.readouterr().out)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "molvae"
    parts = {part["name"]: part for part in bill["components"]}
    assert parts["rdkit"]["version"] == version("rdkit")
    assert parts["rdkit"]["purl"] == f"pkg:pypi/rdkit@{version('rdkit')}"
    assert "+" not in parts["torch"]["purl"]  # of the local version: escaped
    references = [part["bom-ref"] for part in bill["components"]]
    assert len(set(references)) == len(references)
    known = {*references, bill["metadata"]["component"]["bom-ref"]}
    assert {entry["ref"] for entry in bill["dependencies"]} == known
    (own,) = (e for e in bill["dependencies"] if e["ref"].startswith("pkg:pypi/molvae@"))
    assert parts["safetensors"]["bom-ref"] in own["dependsOn"]


def test_without_pip_audit_it_is_named(audit, capsys, monkeypatch):
    monkeypatch.setattr(audit, "find_spec", lambda name: None)
    assert audit.main(["vulnerabilities"]) == 2
    assert "pip install pip-audit" in capsys.readouterr().err
