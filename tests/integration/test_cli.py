"""What the command line says when something is wrong: one line, and the right exit code."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from molvae.cli import main
from molvae.runtime.progress import set_quiet

TINY = (
    "--preset tiny --set train.validations=1 --set train.critic_samples=0 "
    "--set train.reconstructions=4 --set train.batch_size=16"
)


@pytest.fixture(autouse=True)
def loud():
    yield
    set_quiet(False)


@pytest.fixture
def here(tmp_path, monkeypatch, demo_csv, small_dataset, tiny_run):
    """A working folder with an input, a dataset and a run."""
    monkeypatch.chdir(tmp_path)
    rows = demo_csv.read_text().splitlines(keepends=True)
    (tmp_path / "in.csv").write_text("".join(rows[:41]))
    shutil.copytree(small_dataset, "ds")
    shutil.copytree(tiny_run, "run")
    (tmp_path / "no_smiles.csv").write_text("name,structure_image\na,b\n")
    (tmp_path / "nonsense.csv").write_text("smiles,y\nxyz,1\nuvw,2\n")
    (tmp_path / "labels.csv").write_text("smiles,y\nCCCO,1\nCCCN,high\n")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "broken.csv.gz").write_bytes(b"\x1f\x8b rubbish")
    (tmp_path / "bad.toml").write_text("[train\n")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "notes.txt").touch()
    return tmp_path


def run(line):
    return CliRunner().invoke(main, line.split(), catch_exceptions=False)


FAULTS = {
    # reading
    "prepare absent.csv -o out": "'absent.csv': no such file",
    "train absent.csv -o out": "'absent.csv': no such file",
    "evaluate absent.csv": "'absent.csv': no such file",
    "prepare no_smiles.csv -o out": "no SMILES column among ['name', 'structure_image']",
    "evaluate no_smiles.csv": "no SMILES column",
    "prepare in.csv -o out --smiles-column smile": "no column 'smile': did you mean 'smiles'",
    "prepare nonsense.csv -o out --workers 1": "2 rows gave 0 usable molecules",
    "prepare empty.csv -o out": "'empty.csv': the file is empty",
    "prepare broken.csv.gz -o out": "'broken.csv.gz': damaged gzip file",
    "prepare in.pdf -o out": "'in.pdf': no such file",
    "prepare labels.csv -o out -p y --workers 1": "row 2: column 'y' holds 'high'",
    "prepare in.csv -o out -p asay": "no column 'asay': did you mean 'assay'",
    "prepare in.csv -o out -p logp=assay": "'logp' is a built-in property",
    "prepare in.csv -o out --conditions lgop": "did you mean 'logp'",
    "prepare in.csv -o out --workers -1": "workers: got -1",
    "prepare in.csv -o out --shard 4/3": "shard: got 4/3, expected 1/3 to 3/3",
    "prepare in.csv -o out --shard 0/3": "expected 1/3 to 3/3",
    "prepare in.csv -o out --shard two": "shard: got 'two', expected i/n",
    "prepare in.csv -o out --transform neglog10:nM": "say for which -p column",
    "prepare in.csv -o out -p assay --transform neglog10:kg": "unknown unit 'kg'",
    "prepare in.csv -o out -p assay --transform x=log10": "transform of 'x'",
    "prepare in.csv -o out --split sett": "no column 'sett'",
    "prepare in.csv -o out --split assay": "row 1: split column 'assay' holds",
    "prepare in.csv -o out --min-heavy 9 --max-heavy 8": "exceeds max_heavy_atoms 8",
    "prepare in.csv -o out --timeout 0": "data.timeout",
    "prepare in.csv -o out --vocabulary absent": "'absent': no such folder",
    "prepare in.csv in.csv absent.csv -o out": "'absent.csv': no such file",
    "prepare in.csv -o out --elements C,Xx": "'Xx' is not an element",
    "prepare in.csv -o out --unknown-tokens reject": "needs --vocabulary MODEL",
    "prepare - - -o out": "can be read only once",
    "merge ds -o out": "not a finished shard",
    "merge absent -o out": "not a finished shard",
    "fetch zink250k": "did you mean 'zinc250k'",
    "info ds --cache": "give a folder or model, or --cache",
    "info --clear": "give a folder or model, or --cache",
    # configuration
    "train in.csv -o out --set train.lerning_rate=1": "did you mean 'learning_rate'",
    "train in.csv -o out --set train.epochs=many": "train.epochs",
    "train in.csv -o out --set epochs": "expected section.key=value",
    "train in.csv -o out --max-time soon": "duration 'soon'",
    "train in.csv -o out --config absent.toml": "'absent.toml'",
    "train in.csv -o out --config bad.toml": "not valid TOML",
    "train in.csv -o out --seed -1": "train.seed",
    "train ds in.csv -o out": "one dataset folder, not both",
    "train precious -o out": "'precious': not a dataset folder",
    "train ds -o out -p y": "would be ignored",
    # outputs in the way
    "prepare in.csv -o ds": "--force",
    "prepare in.csv -o precious --force": "not a dataset folder",
    "train ds -o run": "--resume to continue it, --force",
    "train ds -o precious --force": "not a run folder",
    "train ds -o in.csv": "'in.csv' is a file",
    "generate -m run -n 3 -o in.csv": "'in.csv' exists already",
    "evaluate in.csv -o labels.csv": "'labels.csv' exists already",
    "evaluate in.csv --report labels.csv": "'labels.csv' exists already",
    "generate -m run -n 3 -o in.csv/a.csv": "in.csv' is not a folder",
    "prepare in.csv -o in.csv/out": "in.csv' is not a folder",
    "train ds -o in.csv/deep/out": "in.csv' is not a folder",
    "evaluate in.csv -o in.csv/a.json": "in.csv' is not a folder",
    # requests
    "generate -m run -n 3 -o a.csv -t lgop=2": "did you mean 'logp'",
    "generate -m run -n 3 -o a.csv -t logp": "expected NAME=VALUE",
    "generate -m run -n 3 -o a.csv -t logp=2,5": "write the decimal point as '.'",
    "generate -m run -n 3 -o a.csv -t logp>2": "'at least 8' is NAME=8:",
    "generate -m run -n 3 -o a.csv -t logp=3:2": "exceeds the upper",
    "generate -m run -n 3 -o a.csv -t logp=1 -t logp=2": "asked for twice",
    "generate -m run -n 0 -o a.csv": "number of molecules: got 0",
    "generate -m run -n 3 -o a.xyz": "unknown file type 'xyz'",
    "generate -m run -n 3 -o a.csv --noise 2": "noise: got 2",
    "generate -m run -n 3 -o a.csv --temperature -1": "temperature: got -1",
    "generate -m run -n 3 -o a.csv --epsilon-cutoff 1": "epsilon-cutoff: got 1",
    "generate -m run -n 3 -o a.csv --candidates 0": "candidates",
    "generate -m run -n 3 -o a.csv --max-tries 0": "max-tries",
    "generate -m run -n 3 -o a.csv --seed -1": "seed: got -1",
    "generate -m absent -n 3 -o a.csv": "'absent': no such folder",
    "generate -m precious -n 3 -o a.csv": "not a model or run folder",
    "info precious": "not a model or run folder",
    "info absent": "'absent': no such folder",
}


@pytest.mark.parametrize("line", FAULTS)
def test_a_fault_of_the_user_is_one_line_and_exit_code_two(here, line):
    before = sorted(p.name for p in here.iterdir())
    result = run(line)
    lines = [text for text in result.stderr.splitlines() if text.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert result.stderr.splitlines()[-1] == lines[0]
    assert FAULTS[line] in lines[0]
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert sorted(p.name for p in here.iterdir()) == before  # nothing half done lies about


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.json", "conditions.json"])
def test_an_incomplete_model_names_what_is_missing(here, name):
    (here / "run" / "model" / name).unlink()
    result = run("generate -m run -n 3 -o a.csv")
    assert result.exit_code == 2
    assert f"incomplete: {name} is missing" in result.stderr
    assert not (here / "a.csv").exists()


def test_force_replaces_outputs(here):
    (here / "a.csv").write_text("old")
    assert run("generate -m run -n 3 -o a.csv --force").exit_code == 0
    assert (here / "a.csv").read_text().startswith("smiles")
    assert run("prepare in.csv -o ds --conditions logp --force --workers 1").exit_code == 0
    (here / "r.json").write_text("old")
    line = "evaluate a.csv -o r.json --force --workers 1 --no-fcd --bootstrap 0"
    assert run(line).exit_code == 0
    assert (here / "r.json").read_text().startswith("{")
    result = run(f"train ds -o run {TINY} --epochs 0.2 --force")
    assert result.exit_code == 0, result.stderr


def test_an_impossible_range_ends_with_exit_code_one(here):
    command = "generate -m run -n 1 -o a.csv -t mw=5000: --max-tries 4 --workers 1"
    result = run(command)
    assert result.exit_code == 1
    assert "no molecule was found, so 'a.csv' was not written" in result.stderr.splitlines()[-1]
    assert not list(here.glob("a.csv*"))
    (here / "a.csv").write_text("smiles\nCCO\n")
    assert run(f"{command} --force").exit_code == 1
    assert (here / "a.csv").read_text() == "smiles\nCCO\n"  # nothing computed is lost


def test_a_narrow_range_writes_those_that_were_found(here):
    line = "generate -m run -n 4 -o a.csv --temperature 0 --max-tries 8 --workers 1"
    result = run(line)
    assert result.exit_code == 0
    assert len((here / "a.csv").read_text().splitlines()) == 2  # cold, it knows one molecule
    assert "× written before" in result.stdout
    assert "note: 1 of 4 molecules were found" in result.stderr
    strict = run(f"{line} --strict --force --json")
    assert strict.exit_code == 1
    assert "error: only 1 of 4 molecules" in strict.stderr
    assert any("1 of 4" in note for note in json.loads(strict.stdout)["notes"])
    assert len((here / "a.csv").read_text().splitlines()) == 2
    assert run(f"{line} --strict --force".replace("-n 4", "-n 1")).exit_code == 0


def test_nothing_unlikely_is_drawn_above_a_cutoff(here):
    """With a cutoff that only the likeliest token passes it is temperature 0."""
    cold = "generate -m run -n 2 --max-tries 1 --no-unique --workers 1"
    assert run(f"{cold} -o a.csv --epsilon-cutoff 0.99").exit_code == 0
    assert run(f"{cold} -o b.csv --temperature 0").exit_code == 0
    assert (here / "a.csv").read_text() == (here / "b.csv").read_text()


def test_a_limit_on_tries_is_a_failure_only_where_nothing_was_found(here):
    result = run("generate -m run -n 4 -o a.csv --temperature 0 --max-tries 4 --workers 1")
    assert result.exit_code == 0
    assert "1 of 4 molecules written" in result.stdout
    result = run("generate -m run -n 3 -o b.csv -t mw=5000: --max-tries 4 --workers 1")
    assert result.exit_code == 1
    assert "0 of 3 molecules written" in result.stdout
    assert "3 × wanted molecules given up after max-tries candidates" in result.stdout
    assert "× outside the requested range" in result.stdout


def test_notes_name_targets_beyond_the_training_data(here):
    result = run("generate -m run -n 2 -o a.csv -t logp=40 --workers 1")
    assert result.exit_code == 0
    assert any(line.startswith("note:") and "logp" in line for line in result.stderr.splitlines())


def test_a_finished_run_is_left_alone_on_resume(here):
    words = f"train ds -o new {TINY} --epochs"
    assert run(f"{words} 0.2").exit_code == 0
    result = run(f"{words} 0.2 --resume")
    assert result.exit_code == 0, result.stderr
    assert "nothing to do" in result.stderr
    before = sorted(path.name for path in here.rglob("*"))
    result = run(f"{words} 3 --resume")
    assert result.exit_code == 2
    assert "train.epochs" in result.stderr.splitlines()[-1]
    assert result.stderr.count("error: ") == 1
    assert sorted(path.name for path in here.rglob("*")) == before


# -- real processes -------------------------------------------------------------------------------


def process(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "molvae", *map(str, words)], capture_output=True, text=True,
        timeout=280, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}, **options,
    )  # fmt: skip


@pytest.mark.process
def test_the_module_is_the_command(here):
    done = process("generate", "-m", "run", "-n", 3, "-o", "a.smi", "--workers", 1)
    assert done.returncode == 0
    assert done.stdout.startswith("3 of 3 molecules written to a.smi\n")
    assert len((here / "a.smi").read_text().splitlines()) == 3


@pytest.mark.process
def test_an_error_is_one_line_and_a_traceback_is_shown_on_request(here):
    done = process("info", "absent")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" in process("info", "absent", "--traceback").stderr


@pytest.mark.process
@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="no pipes of this kind here")
def test_a_reader_that_leaves_early_is_no_crash(here):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "molvae", "info", "run", "--json"], stdout=writing,
        stderr=subprocess.PIPE, text=True, timeout=280, check=False,
    )  # fmt: skip
    os.close(writing)
    assert "Traceback" not in done.stderr
