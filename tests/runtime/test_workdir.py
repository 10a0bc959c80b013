"""Temporary names, and folders that replace each other."""

import errno
import os
import threading

import pytest

from molvae.runtime.workdir import clear_unfinished, replace_folder, restore_folder


def make(place, text):
    place.mkdir()
    (place / "file").write_text(text)
    return place


def test_a_folder_replaces_another(tmp_path):
    old, new = make(tmp_path / "ds", "old"), make(tmp_path / "new", "new")
    replace_folder(new, old)
    assert (old / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["ds"]


@pytest.mark.parametrize("exchange", [True, False])
def test_no_moment_without_a_folder(tmp_path, monkeypatch, exchange):
    """In one step where the system can; elsewhere the older one is renamed first."""
    if not exchange:
        monkeypatch.setattr("molvae.runtime.workdir._exchange", lambda *_: False)
    place = make(tmp_path / "ds", "0")
    seen, stop = set(), threading.Event()

    def look():
        while not stop.is_set():
            try:
                seen.add((place / "file").read_text())
            except FileNotFoundError:
                seen.add("missing")

    looking = threading.Thread(target=look)
    looking.start()
    for number in range(60):
        replace_folder(make(tmp_path / "new", str(number % 2)), place)
    stop.set()
    looking.join()
    if exchange:
        assert seen <= {"0", "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["ds"]


def test_two_processes_may_replace_a_folder_at_once(tmp_path):
    place, failed = tmp_path / "ds", []

    def save(name):
        for _ in range(100):
            try:
                replace_folder(make(tmp_path / name, name), place)
            except OSError as error:
                failed.append(error)

    threads = [threading.Thread(target=save, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert (place / "file").read_text() in "ab"
    assert [path.name for path in tmp_path.iterdir()] == ["ds"]


def test_a_folder_and_its_names_are_on_the_disk_before_it_counts(tmp_path, monkeypatch):
    synced, real = [], os.fsync

    def fsync(handle):
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    replace_folder(make(tmp_path / "new", "x"), tmp_path / "ds")
    assert synced == [f"{tmp_path}/new/file", f"{tmp_path}/new", str(tmp_path)]


@pytest.mark.parametrize("killed", [False, True])
def test_the_old_folder_comes_back(tmp_path, monkeypatch, killed):
    """Where the second rename fails at once, and where a kill comes before it, at the next look."""
    old, new = make(tmp_path / "ds", "old"), make(tmp_path / "new", "new")
    real, tries = os.replace, []

    def replace(source, target):
        if source == new:
            tries.append(source)
            raise PermissionError("in use") if len(tries) > 1 else OSError(errno.ENOTEMPTY, "")
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        patch.setattr("molvae.runtime.workdir._exchange", lambda *_: False)
        if killed:
            patch.setattr("molvae.runtime.workdir.restore_folder", lambda place: None)
        with pytest.raises(PermissionError):
            replace_folder(new, old)
    assert old.exists() != killed
    restore_folder(old)
    assert (old / "file").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ds", "new"]


def test_only_exact_names_are_cleared(tmp_path):
    stay = [".a.csv.gz.abcd1234.unfinished", ".a.csv.unfinished", "a.csv", ".a.csv.abc.unfinished"]
    for name in [*stay, ".a.csv.abcd1234.unfinished"]:
        (tmp_path / name).touch()
    clear_unfinished(tmp_path, ["a.csv"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stay)
