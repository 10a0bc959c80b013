"""`molvae evaluate` on real files: what it prints, writes and refuses."""

import gzip
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from molvae import chem
from molvae.cli import main
from molvae.evaluate.diagnostics import examine
from molvae.runtime.progress import set_quiet
from tests.peak import needs_proc, peak_memory

PATTERNS = "names,smarts\nnitro,[N+](=O)[O-]\n"


@pytest.fixture(autouse=True)
def loud():
    yield
    set_quiet(False)


@pytest.fixture
def here(tmp_path, monkeypatch, demo_csv):
    monkeypatch.chdir(tmp_path)
    rows = demo_csv.read_text(encoding="utf-8").splitlines()
    Path("a.csv").write_text("\n".join(rows[:61]) + "\n")
    Path("b.csv").write_text("\n".join([rows[0], *rows[61:121]]) + "\n")
    Path("rest.csv").write_text("\n".join([rows[0], *rows[121:181]]) + "\n")
    Path("patterns").mkdir()
    Path("patterns/mcf.csv").write_text(PATTERNS)
    Path("patterns/wehi_pains.csv").write_text("[#6]=[#6]=[#6],<regId=allene>\n")
    return tmp_path


def run(line):
    return CliRunner().invoke(main, line.split(), catch_exceptions=False)


def good(line):
    result = run(line)
    assert result.exit_code == 0, result.stderr
    return result


def test_one_file_with_everything(here):
    line = (
        "evaluate a.csv --train rest.csv --test b.csv --test-scaffolds rest.csv --guacamol "
        "--filters-from patterns -t logp=2 -t qed=0.5: -t assay=@assay --sample 40 --bootstrap 100 "
        "--no-fcd -o out.json --report out.html --seed 5 --workers 1"
    )
    result = good(line)
    data = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert (data["schema"], data["n"], data["described"], data["seed"]) == (1, 60, 40, 5)
    metrics = data["metrics"]
    for name in ("valid", "unique@1000", "novelty", "SNN/Test", "SNN/TestSF", "Frag/Test",
                 "Scaf/TestSF", "IntDiv", "IntDiv2", "Filters", "GuacaMol/KL"):  # fmt: skip
        assert metrics[name]["value"] is not None, name
        assert metrics[name]["n"] > 0
    assert metrics["FCD/Test"]["value"] is None
    assert metrics["FCD/Test"]["note"] == "not requested (--no-fcd)"
    assert metrics["GuacaMol/FCD"]["value"] is None
    low, high = metrics["SNN/Test"]["interval"]
    assert low < metrics["SNN/Test"]["value"] < high
    assert data["targets"]["assay"]["MAD"]["value"] == 0
    assert data["targets"]["assay"]["calibration"]["slope"] == pytest.approx(1)
    assert data["curves"]["n"] == [40]
    html = Path("out.html").read_text(encoding="utf-8")
    assert "<svg" in html
    assert "http" not in html.replace("http://www.w3.org", "")
    assert "a seeded sample of 40 of 60" in result.stdout
    assert result.stdout.splitlines()[-2:] == ["written: out.json", "written: out.html"]
    again = json.loads(good(f"{line} --force --json").stdout)
    assert again == data


def test_two_files(here):
    line = "evaluate a.csv b.csv --test rest.csv --no-fcd --bootstrap 100 -o out.json"
    result = good(f"{line} --report out.html")
    assert result.stdout.splitlines()[0].split() == ["a.csv", "b.csv", "difference"]
    data = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in data["sets"]] == ["a.csv", "b.csv"]
    assert {"value", "interval"} <= set(data["differences"]["b.csv"]["SNN/Test"])
    assert "b.csv - a.csv" in Path("out.html").read_text(encoding="utf-8")


def test_an_earlier_evaluation_is_shown_beside(here):
    good("evaluate b.csv --no-fcd --bootstrap 0 -o b.json")
    good("evaluate a.csv --no-fcd --bootstrap 0 --beside b.json --report out.html")
    assert ">b.csv<" in Path("out.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_model_alone_and_with_molecules(here, tiny_run, monkeypatch):
    monkeypatch.setattr(examine, "ASKED", 8)
    monkeypatch.setattr(examine, "PATHS", 8)
    shutil.copytree(tiny_run, "run")
    line = "evaluate --test rest.csv --device cpu --workers 0 "
    result = good(f"{line} --model run -o m.json --report m.html")
    data = json.loads(Path("m.json").read_text(encoding="utf-8"))
    assert data["model"]["rate"]["R"]["1"] == 0
    assert data["model"]["mutual_information"]["cap"] > 0
    assert "active units" in result.stdout
    assert "of the variance" in Path("m.html").read_text(encoding="utf-8")
    result = good(f"{line} a.csv -m run --no-fcd --bootstrap 0 --json")
    data = json.loads(result.stdout)
    assert {"metrics", "model"} <= set(data)


FAULTS = {
    "evaluate": "nothing to evaluate; name a file of molecules, or a --model",
    "evaluate a.csv --beside b.csv": "--beside is shown on the page of molecules",
    "evaluate -m run --beside b.csv --report p.html": "--beside is shown on the page of molecules",
    "evaluate a.csv -o a.csv --force": "-o 'a.csv': 'a.csv' is an input",
    "evaluate a.csv --report patterns --force": "--report 'patterns': is a folder",
    "evaluate a.csv -o z.json --report patterns/../z.json": "is written by -o too",
    "evaluate a.csv --bootstrap 2": "bootstrap: got 2 draws, expected 0 (no intervals) or 100",
    "evaluate a.csv --model none": "none",
    "evaluate a.csv --beside a.csv --report p.html": "'a.csv': expected the JSON of",
    "evaluate a.csv --sample -1": "sample: got -1",
    "evaluate a.csv --bootstrap -1": "bootstrap: got -1 draws",
    "evaluate a.csv --filters-from none": "'none' is not a folder",
    "evaluate a.csv --filters-from .": "has no 'mcf.csv'",
    "evaluate a.csv -t logp=@wanted": "no column 'wanted'",
    "evaluate a.csv -t logp=high": "expected NAME=VALUE",
    "evaluate a.csv b.csv -t pIC50=6": "'pIC50' is neither a built-in property nor a column",
    "evaluate a.csv none.csv": "'none.csv': no such file",
    "evaluate a.csv --test none.csv": "'none.csv': no such file",
    "evaluate --model none": "none",
    "evaluate a.csv -o x.json --report x.json": "'x.json'",
}


@pytest.mark.parametrize("line", FAULTS)
def test_a_wrong_line_is_one_error(here, line):
    before = sorted(p.name for p in here.iterdir())
    result = run(line)
    errors = [text for text in result.stderr.splitlines() if text.startswith("error: ")]
    assert len(errors) == 1, result.stderr
    assert FAULTS[line] in errors[0]
    assert result.exit_code == 2
    assert sorted(p.name for p in here.iterdir()) == before


ODD = {
    "invalid.smi": ("xyz\nC1CC\n\n", {"valid": 0.0, "unique": None}),
    "one.smi": ("CCO\n", {"valid": 1.0, "unique": 1.0, "IntDiv": None}),
    "two.smi": ("CCO\nCCN\n", {"valid": 1.0, "unique": 1.0}),
    "same.smi": ("CCO\n" * 30, {"valid": 1.0, "unique": 1 / 30, "IntDiv": 0.0}),
    "salts.smi": ("[Na+].[Cl-]\nCCO.Cl\n", {"valid": 1.0}),
    "atoms.smi": ("[Na+]\nC\n[H][H]\n", {"valid": 1.0}),
    "long.smi": (f"{'C' * 20_000}\nCCO\n{'C' * 700}\n", {"valid": 2 / 3}),
    "blank.csv": ("smiles,y\n\nCCO,1\n,2\n", {}),
    "bom.csv": ("\ufeffSMILES;y\nCCO;1\n", {"valid": 1.0}),
    "quotes.csv": ('smiles,y\n"CCO,1\nCCN,2\nCCC,3\n', {}),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files_have_results(here, name):
    text, expected = ODD[name]
    Path(name).write_text(text, encoding="utf-8")
    few = "\n".join(Path("a.csv").read_text(encoding="utf-8").splitlines()[:21])
    Path("few.csv").write_text(few, encoding="utf-8")
    line = f"evaluate {name} --train few.csv --test few.csv --no-fcd --guacamol --bootstrap 100 "
    line += "--json --report r.html"
    data = json.loads(good(line).stdout)
    for metric, value in expected.items():
        got = data["metrics"][metric]
        assert got["value"] == (None if value is None else pytest.approx(value, abs=1e-6))
        assert got["value"] is not None or got["note"]


def test_every_format(here):
    lines = ["CCO", "c1ccccc1O", "CC(=O)N"]
    Path("x.smi").write_text("\n".join(lines))
    Path("x.smi.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    Path("x.tsv").write_text("id\tSMILES\n" + "\n".join(f"{i}\t{s}" for i, s in enumerate(lines)))
    records = [chem.sdf_block(s, "x", {}) for s in lines]
    Path("x.sdf").write_text("".join(records))
    names = ["x.smi", "x.smi.gz", "x.tsv", "x.sdf"]
    result = [json.loads(good(f"evaluate {name} --no-fcd --json").stdout) for name in names]
    assert all(one["metrics"] == result[0]["metrics"] for one in result)
    # A torn record is an invalid molecule.
    Path("torn.sdf").write_text(records[0] + "rubbish\n$$$$\n" + records[1])
    data = json.loads(good("evaluate torn.sdf --no-fcd --json").stdout)
    assert data["metrics"]["valid"]["denominator"] == 3
    assert data["metrics"]["valid"]["numerator"] == 2


def test_parquet(here):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.DataFrame({"smiles": ["CCO", None, "CCN"], "y": [1.0, 2.0, 3.0]}).to_parquet("x.parquet")
    data = json.loads(good("evaluate x.parquet -t y=2 --no-fcd --json").stdout)
    assert data["metrics"]["valid"]["numerator"] == 2
    assert data["targets"]["y"]["MAD"]["value"] == 1


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@needs_proc
def test_many_rows_are_streamed(here):
    """200,000 rows: sampled where it matters, counted in full, in flat memory."""
    rows = Path("rest.csv").read_text(encoding="utf-8").splitlines()[1:]
    with open("many.smi", "w", encoding="utf-8") as handle:
        for i in range(200_000):
            handle.write(rows[i % len(rows)].split(",")[0] + f" {i}\n")
    peak = peak_memory(Path(), "evaluate", "many.smi", "--sample", 500, "--no-fcd", "-o", "m.json")
    data = json.loads(Path("m.json").read_text(encoding="utf-8"))
    assert (data["n"], data["described"]) == (200_000, 500)
    assert data["metrics"]["unique"]["numerator"] <= len(rows)
    assert peak < 600 * 1024**2
