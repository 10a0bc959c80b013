"""The recipes of docs/docking.md, run as they are printed there."""

import csv
import json
import os
import re
import stat
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from molvae.objectives import parse_objective

PAGE = Path(__file__).parents[2] / "docs" / "docking.md"


def recipe(name, folder):
    """The Python file of a recipe, written to a folder."""
    text = PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(rf"`{re.escape(name)}`.*?```python\n(.*?)```", text, re.S)
    (folder / name).write_text(code, encoding="utf-8")
    return folder / name


def program(folder, name, code):
    """A program of this name, first on the path of the test."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{code}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.mark.process
def test_a_scikit_learn_model(tmp_path, demo_csv):
    pytest.importorskip("sklearn", reason="the extra 'notebook'")
    file = recipe("forest.py", tmp_path)
    source = file.read_text().replace("n_estimators=200", "n_estimators=10")
    file.write_text(source)
    subprocess.run([sys.executable, file, demo_csv], check=True)
    with open(demo_csv, newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["assay"]][:40]
    objective = parse_objective([f"{file}:score"])
    scores = [score for (score,) in objective.scores([row["smiles"] for row in rows])]
    errors = [abs(s - float(row["assay"])) for s, row in zip(scores, rows, strict=True)]
    mean = sum(float(row["assay"]) for row in rows) / len(rows)
    spread = sum(abs(float(row["assay"]) - mean) for row in rows) / len(rows)
    assert sum(errors) / len(errors) < 0.7 * spread, "it has learned its training molecules"


@pytest.mark.process
def test_an_own_receptor(tmp_path, on_path):
    """The commands get what they need; stand-ins answer with an energy by the ligand's atoms."""
    program(on_path, "obabel", "import shutil, sys\nshutil.copy(sys.argv[1], sys.argv[3])\n")
    program(on_path, "vina", """
import sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert open(options["--receptor"]).read() == "ATOM" and open(options["--config"]).read() == "box"
atoms = int(open(options["--ligand"]).read().splitlines()[3][:3])
with open(options["--out"], "w") as out:
    out.write("MODEL 1\\n")
    for energy in (-0.25 * atoms, -0.2 * atoms):
        out.write(f"REMARK VINA RESULT:    {energy:8.1f}      0.000      0.000\\n")
""")  # fmt: skip
    file = recipe("dock_mine.py", tmp_path)
    (tmp_path / "receptor.pdbqt").write_text("ATOM")
    (tmp_path / "box.txt").write_text("box")
    objective = parse_objective([f"{file}:score"], minimize=True)
    assert objective.scores(["CCO", "c1ccccc1"]) == [(-2.2,), (-3.0,)]  # 9 and 12 atoms


@pytest.mark.process
def test_a_chemprop_checkpoint(tmp_path, on_path):
    program(on_path, "chemprop", """
import csv, sys
assert sys.argv[1] == "predict"
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
assert options["--model-path"].endswith("model.pt")
with open(options["--test-path"]) as given, open(options["--preds-path"], "w") as out:
    out.write("smiles,assay\\n")
    for row in csv.DictReader(given):
        out.write(f"{row[options['--smiles-columns']]},{len(row['smiles'])}\\n")
""")  # fmt: skip
    objective = parse_objective([f"{recipe('chemprop_score.py', tmp_path)}:score"])
    assert objective.scores(["CCO", "C"]) == [(3.0,), (1.0,)]


def test_a_rest_service(tmp_path, monkeypatch):
    class Service(BaseHTTPRequestHandler):
        def do_POST(self):
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["smiles"]
            scores = [None if text == "N" else float(len(text)) for text in given]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"scores": scores}).encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("SCORE_URL", f"http://127.0.0.1:{server.server_port}/score")
        objective = parse_objective([f"{recipe('service.py', tmp_path)}:score"])
        (first,), (second,) = objective.scores(["CCO", "N"])
        server.shutdown()
        thread.join()
    assert first == 3.0
    assert second != second
