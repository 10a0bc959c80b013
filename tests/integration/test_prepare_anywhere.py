"""The same bytes, whoever does the work: processes, shards, Dask, after kills and stops."""

import csv
import gzip
import itertools
import json
import os
import shutil
import signal
from pathlib import Path

import psutil
import pytest

from molvae.config import DataConfig
from molvae.data.dataset import Dataset
from molvae.data.prepare import prepare
from tests import warm
from tests.warm import wait_for

pytestmark = pytest.mark.process

OPTIONS = ["-p", "assay", "--conditions", "logp,qed,assay", "--bad-labels", "missing"]
CONFIG = DataConfig(
    properties={"assay": "assay"}, conditions=("logp", "qed", "assay"), bad_labels="missing"
)
MESS = [
    ["", "empty", "1"], ["CC*", "wildcard", "2"], ["[2H]CCC", "isotope", ""],
    ["not a molecule", "broken", "3"], ["CCO.CC[NH3+].[Cl-]", "salt", ">7"],
    ["CC[As]C", "arsenic", "n/a"], ["[CH2]CC", "radical", "x"], ["CCCO", "odd label", "many"],
    ["OCCC", "again", "6"],
]  # fmt: skip


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """3,090 rows in four chunks: the demo library, a row of mess after every hundred, repeats."""
    path = tmp_path_factory.mktemp("library") / "library.csv"
    source = Path(__file__).parents[2] / "data" / "demo.csv.gz"
    mess = itertools.cycle(MESS)
    with (
        gzip.open(source, "rt", encoding="utf-8", newline="") as rows,
        open(path, "w", encoding="utf-8", newline="") as handle,
    ):
        writer = csv.writer(handle)
        reader = csv.reader(rows)
        writer.writerow(next(reader))
        first = list(itertools.islice(reader, 3000))
        for i, row in enumerate([*first, *first[::50]]):
            writer.writerow(row)
            if i % 100 == 99:
                writer.writerow(next(mess))
    return path


@pytest.fixture(scope="module")
def expected(library, tmp_path_factory):
    """What one process makes of it."""
    folder = tmp_path_factory.mktemp("expected") / "library.ds"
    prepare([library], folder, CONFIG, workers=0)
    return folder


def same_bytes(folder, expected):
    names = sorted(path.name for path in Path(expected).iterdir())
    assert sorted(path.name for path in Path(folder).iterdir()) == names
    for name in names:
        assert (folder / name).read_bytes() == (expected / name).read_bytes(), name
    return True


def run(*arguments, stdin=None):
    done = warm.run(*arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done


def begin(*arguments):
    return warm.Process(*arguments, session=True)


def parts(output):
    return sorted(output.with_name(f"{output.name}.partial").glob("part-*.npz"))


def test_every_row_is_accounted_for(expected):
    m = Dataset(expected).manifest
    with open(expected / "rejects.csv", encoding="utf-8", newline="") as handle:
        rejects = list(csv.DictReader(handle))
    assert m["rows_read"] == m["kept"] + m["merged"] + m["rejected"] == 3090
    assert len(rejects) == m["rejected"] == sum(m["reasons"].values())
    assert m["merged"] >= 60
    assert set(m["reasons"]) >= {"empty", "wildcard or R-group", "isotope label", "radical"}
    assert m["properties"]["assay"]["censored"] >= 1
    assert m["properties"]["assay"]["bad"] >= 1


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes(library, expected, tmp_path, workers):
    run("prepare", library, "-o", tmp_path / "ds", *OPTIONS, "--workers", workers)
    assert same_bytes(tmp_path / "ds", expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ds"]


def test_three_shards_merged(library, expected, tmp_path):
    shards = [tmp_path / f"shard-{i}" for i in (1, 2, 3)]
    for i, shard in enumerate(shards, start=1):
        run("prepare", library, "-o", shard, *OPTIONS, "--workers", 1, "--shard", f"{i}/3")
    assert "shard 2 of 3" in run("info", shards[1]).stdout
    run("merge", *reversed(shards), "-o", tmp_path / "ds")
    assert same_bytes(tmp_path / "ds", expected)


def test_work_of_a_killed_worker_is_tried_again(library, expected, tmp_path):
    output = tmp_path / "ds"
    process = begin("prepare", library, "-o", output, *OPTIONS, "--workers", 2)
    wait_for(lambda: parts(output), process)
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "spawn_main" in " ".join(child.cmdline())
    ]
    workers[0].kill()
    code, (_, log) = process.wait(280), process.said()
    assert code == 0, log
    assert "a worker process was lost" in log
    assert same_bytes(output, expected)


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_work_is_resumed(library, expected, tmp_path, blow):
    output = tmp_path / "ds"
    command = ("prepare", library, "-o", output, *OPTIONS, "--workers", 1)
    process = begin(*command)
    wait_for(lambda: len(parts(output)) >= 2, process)
    os.killpg(process.pid, blow) if blow == signal.SIGINT else process.send_signal(blow)
    code, (_, log) = process.wait(240), process.said()
    assert code != 0
    assert not output.exists()
    if blow == signal.SIGINT:
        assert code == 1
        assert "error: stopped" in log
        assert "--resume" in log
        assert "Traceback" not in log
    finished = len(parts(output))
    assert finished >= 2
    refused = warm.run(*command)
    assert refused.returncode == 2
    assert "unfinished work" in refused.stderr
    assert f"resuming with {finished}" in run(*command, "--resume").stderr
    assert same_bytes(output, expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ds"]


def test_a_damaged_part_is_made_again(library, expected, tmp_path):
    output = tmp_path / "ds"
    command = ("prepare", library, "-o", output, *OPTIONS, "--workers", 1)
    process = begin(*command)
    wait_for(lambda: len(parts(output)) >= 2, process)
    process.kill()
    process.wait()
    first = parts(output)[0]
    first.write_bytes(first.read_bytes()[:-2000])
    run(*command, "--resume")
    assert same_bytes(output, expected)


def test_work_of_other_options_is_not_resumed(library, tmp_path):
    output = tmp_path / "ds"
    process = begin("prepare", library, "-o", output, *OPTIONS, "--workers", 1)
    wait_for(lambda: parts(output), process)
    process.kill()
    process.wait()
    done = warm.run("prepare", library, "-o", output, *OPTIONS, "--no-stereo", "--resume")
    assert done.returncode == 2
    assert "options.cleaning.stereo was True, is False" in done.stderr
    assert parts(output)


HELPERS = '''
import time
from molvae import chem

VICTIM = "CCCO"

def clean(text, options):
    """RDKit, but for one molecule that it never finishes."""
    cleaned = chem.clean(text, options)
    if isinstance(cleaned, chem.Cleaned) and cleaned.smiles == VICTIM:
        time.sleep(3600)
    return cleaned
'''


def test_a_molecule_that_hangs_rejects_its_own_rows_alone(library, expected, tmp_path, monkeypatch):
    (tmp_path / "hanging_clean.py").write_text(HELPERS)
    monkeypatch.syspath_prepend(tmp_path)
    import hanging_clean

    config = CONFIG.model_copy(update={"timeout": 1.0})
    small = tmp_path / "small.csv"
    lines = library.read_text(encoding="utf-8").splitlines(keepends=True)
    small.write_text("".join(lines[:300]) + "CCCO,victim,\nCCCN,after,\n", encoding="utf-8")
    plain = prepare([small], tmp_path / "plain", CONFIG, workers=0)
    hung = prepare([small], tmp_path / "hung", config, workers=2, clean=hanging_clean.clean)
    assert hung.manifest["reasons"].pop("RDKit crashed or took too long") == 1
    assert hung.manifest["reasons"] == plain.manifest["reasons"]
    assert hung.manifest["kept"] == plain.manifest["kept"] - 1
    with open(hung.folder / "rejects.csv", encoding="utf-8", newline="") as handle:
        last = list(csv.DictReader(handle))[-1]
    assert (last["row"], last["text"]) == ("300", "CCCO")


def test_standard_input_is_the_same_as_the_file(library, expected, tmp_path):
    run("prepare", "-", "-o", tmp_path / "ds", *OPTIONS, "--workers", 1, stdin=library)
    result = Dataset(tmp_path / "ds")
    assert result.content_hash == Dataset(expected).content_hash
    assert result.manifest["sources"][0]["file"] == "-"
    assert (
        result.manifest["sources"][0]["sha256"]
        == Dataset(expected).manifest["sources"][0]["sha256"]
    )


def test_encoding_and_judging_from_standard_input(demo_csv, tmp_path):
    for words, result in (
        (["encode", "-", "-o", str(tmp_path / "z.csv"), "--workers", "1"], "of 300 molecules"),
        (["evaluate", "-", "--no-fcd", "--bootstrap", "0", "--workers", "1"], "300/300"),
    ):
        assert result in run(*words, stdin=demo_csv).stdout


def test_training_from_standard_input(demo_csv, tmp_path):
    run(
        "train", "-", "-o", tmp_path / "run", "--preset", "tiny", "--max-time", "1s",
        "--conditions", "logp", "--workers", 0, "--set", "train.critic_samples=0", stdin=demo_csv,
    )  # fmt: skip
    entries = json.loads(run("info", "--cache", "--json").stdout)["entries"]
    assert [entry["kind"] for entry in entries] == ["dataset"]
    cleared = run("info", "--cache", "--clear").stdout
    assert "freed" in cleared
    assert json.loads(run("info", "--cache", "--json").stdout)["entries"] == []


def test_shards_that_do_not_belong_together_are_refused(demo_csv, tmp_path):
    def shard(name, text, *more):
        run("prepare", demo_csv, "-o", tmp_path / name, "--conditions", "logp", "--workers", 0,
            "--shard", text, *more)  # fmt: skip
        return tmp_path / name

    one, two = shard("one", "1/2"), shard("two", "2/2")
    other = shard("other", "2/2", "--no-stereo")
    for given, words in [
        ([one], "missing [2]"),
        ([one, one], "given twice"),
        ([one, other], "not of the same preparation"),
        ([one, tmp_path], "not a finished shard"),
    ]:
        done = warm.run("merge", *given, "-o", tmp_path / "ds")
        assert done.returncode == 2
        assert words in done.stderr
        assert not (tmp_path / "ds").exists()
    shutil.copytree(one, tmp_path / "copy")
    run("merge", tmp_path / "copy", two, "-o", tmp_path / "ds")
    assert len(Dataset(tmp_path / "ds")) > 200
