"""Files appear whole or not at all, and never over another without being forced."""

import os
import stat

import pytest

from molvae.errors import ConfigError, FileError, OutputExistsError
from molvae.runtime.files import (
    atomic_text,
    fingerprint,
    require_absent,
    require_distinct,
    scratch_folder,
)


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


def test_the_umask_is_that_of_the_user_at_every_moment(tmp_path, monkeypatch):
    """It belongs to the whole process: changing it would open files that other threads make."""
    before = os.umask(0o027)
    try:
        monkeypatch.setattr("os.umask", lambda mask: pytest.fail("changed"))
        with atomic_text(tmp_path / "a.txt") as text:
            text.write("x")
        folder = scratch_folder(tmp_path / "ds")
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750


def test_a_new_name_is_on_the_disk(tmp_path, monkeypatch):
    synced, real = [], os.fsync
    monkeypatch.setattr(
        "os.fsync",
        lambda handle: (synced.append(os.readlink(f"/proc/self/fd/{handle}")), real(handle)),
    )
    with atomic_text(tmp_path / "a.txt") as text:
        text.write("x")
    assert len(synced) == 2
    assert synced[1] == str(tmp_path)


def test_what_is_no_file_is_refused_before_the_work(tmp_path, capsys):
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("folder.csv", "pipe.csv"):
        with pytest.raises(FileError, match=f"{name}': is a"):
            require_absent(tmp_path / name, force=True)
    with pytest.raises(FileError, match="device"):
        require_absent("/dev/null", force=True)
    require_absent(tmp_path / "folder.csv", force=True, folder=True)
    assert capsys.readouterr().err == ""


def test_a_link_is_replaced_with_a_note(tmp_path, capsys):
    (tmp_path / "target.csv").write_text("mine")
    (tmp_path / "link.csv").symlink_to(tmp_path / "target.csv")
    require_absent(tmp_path / "link.csv", force=True)
    assert "target.csv' is left alone" in capsys.readouterr().err
    with atomic_text(tmp_path / "link.csv") as text:
        text.write("new")
    assert (tmp_path / "target.csv").read_text() == "mine"
    assert not (tmp_path / "link.csv").is_symlink()


@pytest.mark.parametrize("letter", ["a", "é"])
def test_a_name_is_as_long_as_its_temporary_name_allows(tmp_path, letter):
    size = len(letter.encode())
    longest = tmp_path / (letter * (219 // size) + ".csv")
    require_absent(longest, force=False)
    with atomic_text(longest) as text:
        text.write("x")
    with pytest.raises(FileError, match="bytes, expected at most 223"):
        require_absent(tmp_path / (letter * (224 // size) + ".csv"), force=False)


def test_a_pipe_has_no_checksum(tmp_path):
    """It would be empty afterwards, when its content is needed."""
    os.mkfifo(tmp_path / "pipe.smi")
    with pytest.raises(FileError, match=r"pipe.*save it to a file"):
        fingerprint(tmp_path / "pipe.smi")
    with pytest.raises(FileError, match="no such file"):
        fingerprint(tmp_path / "missing.smi")


def test_two_outputs_of_one_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    require_distinct(("a.csv", None, "a.html", "b/a.csv"))
    with pytest.raises(ConfigError, match=r"a\.csv': two outputs"):
        require_distinct(("a.csv", tmp_path / "b" / ".." / "a.csv"))
