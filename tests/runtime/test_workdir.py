"""Temporary names, and folders that replace each other."""

import os

import pytest

from molvae.runtime.workdir import clear_unfinished, replace_folder, restore_folder


def make(place, text):
    place.mkdir()
    (place / "file").write_text(text)
    return place


def test_a_folder_takes_the_place_of_another(tmp_path):
    old, new = make(tmp_path / "ds", "old"), make(tmp_path / "new", "new")
    replace_folder(new, old)
    assert (old / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["ds"]


@pytest.mark.parametrize("killed", [False, True])
def test_the_old_folder_comes_back(tmp_path, monkeypatch, killed):
    """Where the second rename fails at once, and where a kill comes before it, at the next look."""
    old, new = make(tmp_path / "ds", "old"), make(tmp_path / "new", "new")
    real = os.replace

    def replace(source, target):
        if source == new:
            raise PermissionError("in use")
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
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
