"""The cache is listed with what it holds and emptied of what nobody is using."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest
from filelock import FileLock

from molvae.errors import FileError
from molvae.runtime.cache import Entry, cache_folder, clear, entries, lock_folder

HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    sys.stdout.write("held\\n")
    sys.stdout.flush()
    sys.stdin.read()
"""


def put(path, content="x" * 10):
    """A file below the cache folder, with its folders."""
    path = cache_folder() / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def put_dataset(key, sources=("demo.csv",), kept=1200):
    content = {"sources": [{"file": name} for name in sources], "kept": kept}
    put(f"datasets/{key}/tokens.bin")
    put(f"datasets/{key}.lock", "")
    return put(f"datasets/{key}/manifest.json", json.dumps(content)).parent


def left():
    folder = cache_folder()
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def held():
    """Locks held by another process for as long as the test runs."""
    holders = []

    def hold(path):
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        holders.append(holder)
        assert holder.stdout.readline() == "held\n"

    yield hold
    for holder in holders:
        holder.communicate()
        assert holder.returncode == 0


def test_the_environment_says_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("MOLVAE_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    for empty in ("", None):
        if empty is None:
            monkeypatch.delenv("MOLVAE_CACHE")
        else:
            monkeypatch.setenv("MOLVAE_CACHE", empty)
        assert cache_folder() == Path(platformdirs.user_cache_dir("molvae"))


@pytest.mark.parametrize("there", [True, False])
def test_nothing_there_is_nothing_listed_and_nothing_freed(monkeypatch, tmp_path, there):
    if not there:
        monkeypatch.setenv("MOLVAE_CACHE", str(tmp_path / "no" / "such"))
    assert entries() == []
    assert clear() == 0
    assert there or list(tmp_path.iterdir()) == []


def test_entries_say_what_they_hold():
    folder = put_dataset("b0", kept=249455)
    size = 10 + (folder / "manifest.json").stat().st_size
    put_dataset("a1", sources=["a.csv", "b.smi", "c.sdf", "d.csv", "e.csv"], kept=7)
    put("downloads/moses/train.csv", "x" * 100)
    put("downloads/moses/test.csv", "x" * 11)
    put("downloads/moses.lock", "")
    put("downloads/guacamol/deep/all.smiles.gz")
    put("downloads/zinc250k/tmpa1b2c3d4")
    put("datasets/c2.partial/tokens.bin", "x" * 5)
    put("datasets/.d3.abcdef/tokens.bin")
    put("datasets/e4/tokens.bin")
    put("datasets/notes.txt")
    result = entries()
    assert result[1] == Entry("dataset", "b0", folder, size, "demo.csv: 249,455 molecules")
    assert [(entry.kind, entry.name, entry.about) for entry in result] == [
        ("dataset", "a1", "a.csv, b.smi, c.sdf and 2 more: 7 molecules"),
        ("dataset", "b0", "demo.csv: 249,455 molecules"),
        ("download", "guacamol", "public data set guacamol"),
        ("download", "moses", "public data set moses"),
        ("download", "zinc250k", "public data set zinc250k, unfinished"),
        ("unfinished", ".d3.abcdef", "interrupted"),
        ("unfinished", "c2.partial", "interrupted"),
        ("unfinished", "e4", "no manifest.json"),
    ]
    assert [entry.size for entry in result[2:]] == [10, 111, 10, 10, 5, 10]


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", "{}", "\xff", '{"sources": 3}', '{"sources": [{}], "kept": 1}',
        '{"sources": [], "kept": null}',
    ],
)  # fmt: skip
def test_a_damaged_manifest_is_reported_and_stops_nothing(content):
    put_dataset("a1")
    put("datasets/b0/manifest.json", content)
    assert [entry.about for entry in entries()] == [
        "demo.csv: 1,200 molecules",
        "its manifest.json cannot be read",
    ]


def test_a_real_dataset_folder_is_described(tiny_dataset):
    shutil.copytree(tiny_dataset, cache_folder() / "datasets" / "f5")
    (entry,) = entries()
    kept = json.loads((tiny_dataset / "manifest.json").read_text())["kept"]
    assert (entry.kind, entry.about) == ("dataset", f"demo.csv: {kept} molecules")
    assert entry.size == sum(path.stat().st_size for path in tiny_dataset.iterdir())


def test_clearing_removes_both_places_and_counts_the_bytes():
    put_dataset("a1")
    put("datasets/c2.partial/deep/tokens.bin", "x" * 5)
    put("datasets/.d3.abcdef/tokens.bin")
    put("datasets/stray.txt")
    put("downloads/moses/train.csv", "x" * 100)
    put("downloads/moses/hashes.json", "{}")
    put("downloads/moses.lock", "")
    put("other.txt", "not ours to remove")
    size = sum(path.stat().st_size for path in cache_folder().rglob("*") if path.is_file())
    assert clear() == size - len("not ours to remove")
    assert left() == ["other.txt"]
    assert clear() == 0


def test_what_another_process_prepares_is_left_alone(held, capsys):
    put_dataset("a1")
    put_dataset("b0")
    put("datasets/b0.partial/tokens.bin")
    put("datasets/.b0.abcdef/tokens.bin")
    put("downloads/moses/train.csv.part", "x" * 100)
    put("downloads/guacamol/all.smiles", "x" * 30)
    for lock in ("datasets/b0.lock", "downloads/moses.lock"):
        held(cache_folder() / lock)
    removed = sum(entry.size for entry in entries() if entry.name in ("a1", "guacamol"))
    assert clear() == removed
    assert left() == [
        "datasets",
        "datasets/.b0.abcdef",
        "datasets/.b0.abcdef/tokens.bin",
        "datasets/b0",
        "datasets/b0.lock",
        "datasets/b0.partial",
        "datasets/b0.partial/tokens.bin",
        "datasets/b0/manifest.json",
        "datasets/b0/tokens.bin",
        "downloads",
        "downloads/moses",
        "downloads/moses.lock",
        "downloads/moses/train.csv.part",
    ]
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"'{cache_folder()}/datasets/b0' is in use by another process; left alone",
        f"'{cache_folder()}/downloads/moses' is in use by another process; left alone",
    ]


def test_a_lock_is_free_again_after_clearing():
    folder = put_dataset("a1")
    clear()
    folder.parent.mkdir(parents=True)
    with FileLock(f"{folder}.lock", timeout=0):
        put_dataset("a1")
    assert [entry.name for entry in entries()] == ["a1"]


def test_links_are_not_followed(tmp_path, capsys):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.csv").write_text("x" * 1000)
    folder = put_dataset("a1")
    size = sum(path.stat().st_size for path in folder.iterdir())
    (folder / "inner").symlink_to(outside)
    (folder / "file").symlink_to(outside / "precious.csv")
    (folder.parent / "b0").symlink_to(outside)
    (cache_folder() / "downloads").symlink_to(outside)
    (entry,) = entries()
    assert entry.name == "a1"
    assert size < entry.size < size + 1000  # a link counts as itself
    assert clear() < size + 1000
    assert left() == ["downloads"]
    assert [path.name for path in outside.iterdir()] == ["precious.csv"]
    assert "downloads' is a link and points out of the cache; left alone" in capsys.readouterr().err


def test_what_cannot_be_removed_is_named(monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    put_dataset("a1")
    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(FileError, match=r"a1'.* permission denied"):
        clear()


def test_reference_sets_are_listed_and_removed():
    folder = cache_folder() / "references"
    (folder / "ab").mkdir(parents=True)
    (folder / "cd").mkdir()
    about = json.dumps({"role": "test", "source": "'mine.smi'", "rows": 1234, "valid": 1200})
    (folder / "ab" / "rows.json").write_text(about)
    (folder / "cd" / "keys.bin").write_bytes(b"x" * 50)
    first, second = entries()
    assert (first.kind, first.name, first.size) == ("reference", "ab", len(about))
    assert first.about == "test set 'mine.smi': 1,234 rows"
    assert second.about == "its rows.json cannot be read"
    assert clear() == len(about) + 50
    assert not folder.exists()


def test_a_folder_is_locked_though_the_cache_is_emptied_just_then(tmp_path, monkeypatch):
    lock = FileLock(tmp_path / "datasets" / "a1.lock")
    acquire, folders = lock.acquire, []

    def acquire_late(**options):
        folders.append(tmp_path / "datasets")
        if len(folders) == 1:  # what the operating system says of a folder that has just gone
            folders[0].rmdir()
            raise FileNotFoundError(2, "No such file or directory")
        return acquire(**options)

    monkeypatch.setattr(lock, "acquire", acquire_late)
    monkeypatch.setattr("molvae.runtime.cache.FileLock", lambda path: lock)
    with lock_folder(tmp_path / "datasets" / "a1", "busy"):
        assert lock.is_locked
        assert (tmp_path / "datasets" / "a1.lock").exists()
    assert len(folders) == 2
    assert not lock.is_locked
