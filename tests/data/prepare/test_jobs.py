"""Unfinished work: kept, taken up, refused, dropped; nothing foreign is touched."""

import csv
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from molvae.config import DataConfig
from molvae.data import prepare
from molvae.data.dataset import Dataset
from molvae.data.prepare import cached_dataset, jobs, merge, prepare_shard
from molvae.data.prepare.jobs import part_files
from molvae.data.prepare.plan import read_shard
from molvae.data.shard import Shard
from molvae.errors import ConfigError, FileError, OutputExistsError, RunError
from molvae.runtime.cache import cache_folder

CONFIG = DataConfig(conditions=("logp",))
ROWS = [f"{'C' * n}{end}" for n in range(2, 12) for end in ("O", "N")]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(jobs, "CHUNK", 4)


@pytest.fixture
def library(tmp_path):
    """Twenty molecules in five chunks."""
    path = tmp_path / "in.smi"
    path.write_text("".join(f"{smiles} {i}\n" for i, smiles in enumerate(ROWS)))
    return path


def run(library, output, config=CONFIG, **options):
    return prepare.prepare([library], output, config, workers=0, **options)


@pytest.fixture
def interrupted(library, tmp_path, monkeypatch):
    """Work stopped by Ctrl-C after three of five chunks."""
    stop_after(3, monkeypatch, lambda: run(library, tmp_path / "ds"))
    return tmp_path / "ds.partial"


def stop_after(chunks, monkeypatch, work):
    make, made = jobs._make, []

    def stop(item, **options):
        if len(made) == chunks:
            raise KeyboardInterrupt
        made.append(item)
        return make(item, **options)

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "_make", stop)
        with pytest.raises(RunError, match=f"{chunks} chunks of 4 rows"):
            work()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_interrupted_work_is_kept_and_taken_up(library, interrupted, tmp_path, capsys):
    assert sorted(part_files(interrupted)) == [0, 1, 2]
    assert not (tmp_path / "ds").exists()
    with pytest.raises(OutputExistsError, match=r"--resume.*--force"):
        run(library, tmp_path / "ds")
    capsys.readouterr()
    result = run(library, tmp_path / "ds", resume=True)
    assert "resuming with 3 finished chunks of 4 rows" in capsys.readouterr().err
    assert result.manifest == run(library, tmp_path / "other").manifest
    assert names(tmp_path) == ["ds", "in.smi", "other"]


def test_force_drops_unfinished_work(library, interrupted, tmp_path, capsys):
    assert len(run(library, tmp_path / "ds", force=True)) == 20
    assert "resuming" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["part-000000003.tmp", "stdin.csv.gz", ".stdin"])
def test_what_a_kill_leaves_in_the_work_folder_is_ours(library, interrupted, tmp_path, name):
    (interrupted / name).write_bytes(b"half")
    assert len(run(library, tmp_path / "ds", resume=True)) == len(ROWS)


def test_a_changed_file_is_not_taken_up(library, interrupted, tmp_path):
    library.write_text("CCS\n" * 30)
    with pytest.raises(ConfigError, match="sources"):
        run(library, tmp_path / "ds", resume=True)
    assert len(part_files(interrupted)) == 3


@pytest.mark.parametrize("content", ["", "{", "[]", '{"plan": {}}', '{"plan": 1, "shard": 2}'])
def test_an_unreadable_plan_is_an_error(library, interrupted, tmp_path, content):
    (interrupted / "plan.json").write_text(content)
    with pytest.raises(ConfigError, match=r"plan\.json"):
        run(library, tmp_path / "ds", resume=True)


def test_work_of_one_shard_is_not_that_of_another(library, tmp_path, monkeypatch):
    def work(shard, **options):
        return prepare_shard([library], tmp_path / "s", CONFIG, shard, workers=0, **options)

    stop_after(2, monkeypatch, lambda: work(Shard(1, 2)))
    with pytest.raises(ConfigError, match=r"shard.*1/2.*2/2"):
        work(Shard(2, 2), resume=True)
    with pytest.raises(ConfigError, match=r"shard.*1/2.*1/1"):
        run(library, tmp_path / "s", resume=True)
    assert sorted(part_files(work(Shard(1, 2), resume=True))) == [0, 2, 4]


def test_the_cache_goes_on_with_interrupted_work_and_mends_a_bad_plan(library, monkeypatch, capsys):
    def work():
        return cached_dataset([library], CONFIG, workers=0)

    stop_after(3, monkeypatch, work)
    [partial] = (cache_folder() / "datasets").glob("*.partial")
    capsys.readouterr()
    stop_after(2, monkeypatch, lambda: ((partial / "plan.json").write_text("") and None) or work())
    assert len(part_files(partial)) == 2  # with a bad plan nothing could be taken over
    capsys.readouterr()
    assert len(work()) == 20
    assert "resuming with 2 finished chunks" in capsys.readouterr().err
    assert names(cache_folder() / "datasets") == sorted(
        [partial.name.removesuffix(".partial"), partial.name.replace(".partial", ".lock")]
    )


def test_what_is_not_ours_is_left_alone(library, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    shard = prepare_shard([library], tmp_path / "s", CONFIG, Shard(1, 1), workers=0)
    for work in (
        lambda: run(library, precious, force=True),
        lambda: prepare_shard([library], precious, CONFIG, Shard(1, 1), workers=0, force=True),
        lambda: merge([shard], precious, force=True),
        lambda: run(library, shard, force=True),
    ):
        with pytest.raises(FileError, match="overwrit"):
            work()
    (tmp_path / "ds.partial").mkdir()
    (tmp_path / "ds.partial" / "notes.txt").write_text("mine")
    with pytest.raises(FileError, match="rename or remove"):
        run(library, tmp_path / "ds", force=True)
    assert (precious / "thesis.txt").read_text() == "years of work"
    assert (tmp_path / "ds.partial" / "notes.txt").read_text() == "mine"


def test_an_output_that_appears_meanwhile_is_not_overwritten(library, tmp_path, monkeypatch):
    make = jobs._make

    def make_and_more(item, **options):
        (tmp_path / "ds").mkdir(exist_ok=True)
        return make(item, **options)

    monkeypatch.setattr(jobs, "_make", make_and_more)
    with pytest.raises(OutputExistsError):
        run(library, tmp_path / "ds")
    assert names(tmp_path / "ds") == []


def test_a_link_to_a_dataset_is_followed(library, tmp_path):
    run(library, tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    run(library, tmp_path / "link", DataConfig(conditions=("mw",)), force=True)
    assert Dataset(tmp_path / "real").names == ["mw"]
    assert (tmp_path / "link").is_symlink()


def test_the_current_folder_is_no_place(library, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match="current folder"):
        run(library, ".", force=True)


def test_a_file_that_grows_while_it_is_read_is_noticed(library, tmp_path, monkeypatch):
    make = jobs._make

    def make_and_append(item, **options):
        with open(library, "a", encoding="utf-8") as handle:
            handle.write("CCCCCCCCCCCCCCS late\n")
        return make(item, **options)

    monkeypatch.setattr(jobs, "_make", make_and_append)
    with pytest.raises(FileError, match="changed"):
        run(library, tmp_path / "ds")


@pytest.mark.parametrize("resume", [False, True])
def test_new_standard_input_is_not_mistaken_for_the_old(tmp_path, monkeypatch, resume):
    class Stdin(SimpleNamespace):
        def isatty(self):
            return False

    import io

    def pipe(text):
        data = io.BufferedReader(io.BytesIO(text.encode()))
        monkeypatch.setattr(sys, "stdin", Stdin(buffer=data))

    text = "".join(f"{smiles}\n" for smiles in ROWS)
    pipe(text)
    stop_after(3, monkeypatch, lambda: run("-", tmp_path / "ds"))
    pipe(text.replace("N", "S"))
    if resume:
        with pytest.raises(ConfigError, match="options or files"):
            run("-", tmp_path / "ds", resume=True)
        pipe("")  # nothing more comes: the copy is still there... of the second text
        with pytest.raises(ConfigError, match="options or files"):
            run("-", tmp_path / "ds", resume=True)
        pipe(text)
        assert len(run("-", tmp_path / "ds", resume=True)) == 20
    else:
        result = run("-", tmp_path / "ds", force=True)
        assert "[S]" in result.vocabulary.tokens


def test_names_with_line_ends_do_not_break_the_tables(tmp_path):
    path = tmp_path / "in.csv"
    with open(path, "w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows(
            [("smiles", "id"), ("CCO", "a\nb"), ("CCN", 'c "d", e'), ("x\ny", "f"), ("CCC", "é")]
        )
    result = run(path, tmp_path / "ds")
    import gzip

    with gzip.open(result.folder / "molecules.csv.gz", "rt", encoding="utf-8", newline="") as text:
        assert [row[1] for row in csv.reader(text)] == ["id", "a\nb", 'c "d", e', "é"]
    with open(result.folder / "rejects.csv", encoding="utf-8", newline="") as text:
        assert [row[2] for row in csv.reader(text)] == ["text", "x\ny"]


def test_a_name_of_bytes_that_are_no_text_can_be_printed(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.smi"))
    path.write_text("CCO\nCCN\nxyz\n")
    result = run(path, tmp_path / "ds")
    assert result.manifest["sources"][0]["file"] == r"caf\udce9.smi"
    assert r"caf\udce9.smi,3,xyz" in (result.folder / "rejects.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ["folder", "absent"])
def test_what_is_no_file_is_named(tmp_path, path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="not a regular file" if path == "folder" else "no such"):
        run(tmp_path / path, tmp_path / "ds")


# -- shards -------------------------------------------------------------------------------------


def shard(library, tmp_path, index, config=CONFIG):
    folder = tmp_path / f"s{index}"
    return prepare_shard([library], folder, config, Shard(index, 2), workers=0)


def test_shards_may_differ_in_options_without_effect(library, tmp_path):
    first = shard(library, tmp_path, 1)
    second = shard(library, tmp_path, 2, CONFIG.model_copy(update={"bad_labels": "reject"}))
    assert len(merge([first, second], tmp_path / "ds")) == 20


def test_a_missing_part_of_a_shard_is_noticed(library, tmp_path):
    first, second = shard(library, tmp_path, 1), shard(library, tmp_path, 2)
    part_files(first)[2].unlink()
    with pytest.raises(FileError, match="4 of 5 parts"):
        merge([first, second], tmp_path / "ds")


def test_a_damaged_part_of_a_shard_is_named(library, tmp_path):
    first, second = shard(library, tmp_path, 1), shard(library, tmp_path, 2)
    path = part_files(first)[2]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FileError, match=r"part-000000002\.npz'.*damaged"):
        merge([first, second], tmp_path / "ds")
    assert not (tmp_path / "ds").exists()


DAMAGE = {
    "a list": lambda record: [],
    "no plan": lambda record: {**record, "plan": None},
    "odd shard": lambda record: {**record, "shard": 1},
    "a shard too many": lambda record: {**record, "shard": [3, 2]},
    "no chunks": lambda record: {k: v for k, v in record.items() if k != "chunks"},
    "another schema": lambda record: {**record, "plan": {**record["plan"], "schema": 99}},
    "an option of the future": lambda record: {
        **record, "plan": {**record["plan"], "options": {**record["plan"]["options"], "new": 1}},
    },
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_of_a_shard_is_one_error(library, tmp_path, damage):
    folder = shard(library, tmp_path, 1)
    record = json.loads((folder / "shard.json").read_text())
    (folder / "shard.json").write_text(json.dumps(DAMAGE[damage](record)))
    with pytest.raises(FileError, match=r"shard\.json"):
        read_shard(folder)
