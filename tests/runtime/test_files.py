"""Files appear whole or not at all, and never over another without being forced."""

import stat

import pytest

from molvae.errors import FileError, OutputExistsError
from molvae.runtime.files import atomic_text, require_absent


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "below" / "a.txt"
    with atomic_text(path) as text:
        text.write("é\nline\r\n")
        assert not path.exists()
    assert path.read_bytes() == "é\nline\r\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_new_file_has_the_usual_permissions(tmp_path):
    with atomic_text(tmp_path / "a.txt") as text:
        text.write("x")
    (tmp_path / "usual").touch()
    modes = {stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("a.txt", "usual")}
    assert len(modes) == 1


def test_overwriting_needs_force(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x")
    with pytest.raises(OutputExistsError, match=r"a\.csv' .*--force"):
        require_absent(path, force=False)
    require_absent(path, force=True)
    require_absent(tmp_path / "new.csv", force=False)
    require_absent(tmp_path / "no" / "such" / "folder" / "new.csv", force=False)
    assert path.read_text() == "x"


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x")
    with pytest.raises(FileError, match=r"a\.csv'.* folder"):
        require_absent(path / "deep" / "new.csv", force=False)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(FileError, match="writable"):
        require_absent(tmp_path / "new.csv", force=False)
