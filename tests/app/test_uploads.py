"""How long uploads are kept, and that a choice outlives the visit of another page."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="needs the extra app")

from molvae.app import jobs, storage, uploads
from molvae.app.settings import Settings, use
from molvae.errors import FileError

FILE = b"smiles,assay\nCCO,1\nCCN,2\nCCC,3\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of an app without tabs; files may be removed at once."""
    use(Settings(folder=tmp_path))
    monkeypatch.setattr(storage, "GRACE", 0.0)
    yield tmp_path
    storage.sweep(last=True)
    use(Settings())


def job_of(folder, verb, *arguments, ended=None):
    """A job folder as one that ended with this exit code, or was killed."""
    place = jobs.new_folder(folder, verb)
    about = {"arguments": [verb, *map(str, arguments)], "title": verb, "created": 0.0}
    (place / jobs.JOB).write_text(json.dumps(about))
    if ended is not None:
        (place / jobs.ENDED).write_text(json.dumps({"code": ended, "said": True}))
    return jobs.load(place)


def test_uploads_are_stored_once_by_content(folder):
    first = uploads.keep("mine.csv", b"smiles\nC\n")
    assert uploads.keep("mine.csv", b"smiles\nC\n") == first
    assert uploads.keep("mine.csv", b"smiles\nCC\n") != first
    assert first.name == "mine.csv"
    assert uploads.keep("x.csv.gz", b"any").read_bytes() == b"any"
    with pytest.raises(FileError, match="unknown file type"):
        uploads.keep("objective.py", b"import os")


@pytest.mark.parametrize(
    ("verb", "ended", "kept"),
    [
        ("prepare", 0, False),  # the dataset is there
        ("prepare", 1, True),  # can be resumed
        ("prepare", None, True),  # killed, can be resumed
        ("optimize", 0, True),  # can be continued
        ("evaluate", 0, False),
        ("evaluate", 1, False),  # cannot be resumed
    ],
)
def test_a_job_keeps_its_upload_as_long_as_it_can_read_it_again(folder, verb, ended, kept):
    path = uploads.keep("mine.csv", FILE)
    job = job_of(folder, verb, path, ended=ended)
    storage.sweep()
    assert path.exists() == kept
    assert storage.removed(job.arguments) == ([] if kept else ["mine.csv"])
    job.remove()
    storage.sweep()
    assert not path.exists()


def test_a_tab_and_its_work_keep_their_uploads(folder, monkeypatch):
    class Work:
        pass

    work = Work()
    paths = [uploads.keep(f"{name}.csv", FILE) for name in "abc"]
    storage.claim("tab", {paths[0]})
    storage.hold(work, [paths[1]])
    storage.sweep()
    assert [path.exists() for path in paths] == [True, True, False]
    storage.claim("tab", set())
    del work
    storage.sweep()
    assert not any(path.exists() for path in paths)


def test_a_closed_tab_loses_its_uploads_after_a_while_and_a_new_file_has_time(folder, monkeypatch):
    monkeypatch.setattr(storage, "GRACE", 100.0)
    path = uploads.keep("mine.csv", FILE)
    storage.sweep()
    assert path.exists()  # the job that is to read it may not be written yet
    os.utime(path, (time.time() - 200,) * 2)
    storage.claim("tab", {path})
    clock = [1000.0]
    monkeypatch.setattr(storage.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(storage.Runtime, "exists", lambda: True)

    class Nobody:
        is_active_session = staticmethod(lambda tab: False)

    monkeypatch.setattr(storage.Runtime, "instance", lambda: Nobody)
    for now, there in ((1000.0, True), (1099.0, True), (1101.0, False)):
        clock[0] = now
        storage.sweep()
        assert path.exists() == there


def test_the_end_of_a_server_removes_what_no_job_needs(folder):
    first, second = (uploads.keep(f"{name}.csv", FILE) for name in "ab")
    storage.claim("tab", {first, second})
    job = job_of(folder, "prepare", second, ended=1)
    with storage.sweeping():
        pass
    assert (first.exists(), second.exists()) == (False, True)
    job.remove()
    storage.sweep()  # as at the next start
    assert not (folder / "uploads").exists()


@pytest.mark.process
def test_uploads_of_a_killed_server_are_removed_those_of_a_running_one_stay(folder):
    code = (
        "import sys, time; from pathlib import Path; from molvae.app import uploads\n"
        "from molvae.app.settings import Settings, use; use(Settings(folder=Path(sys.argv[1])))\n"
        "print(uploads.keep('mine.csv', b'smiles'), flush=True); time.sleep(600)"
    )
    root = str(Path(__file__).parents[2])
    server = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    try:
        path = Path(server.stdout.readline().strip())
        storage.sweep()
        assert path.exists()
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    storage.sweep()
    assert not path.exists()


def test_folders_of_the_user_are_left_alone(folder):
    mine = folder / "uploads" / "server-room" / "0123456789abcdef" / "mine.csv"
    mine.parent.mkdir(parents=True)
    mine.touch()
    storage.sweep(last=True)
    assert mine.exists()


def test_a_file_stays_chosen_when_another_page_was_open(app):
    app.run()
    app.session_state["molvae.next"] = "Own data"
    app.run()
    app.file_uploader("data.file").set_value(("mine.csv", FILE, "text/csv"))
    app.run()
    assert "3 rows, 1 columns besides the molecules." in [m.value for m in app.markdown]
    for title in ("Evaluate", "Own data"):
        app.session_state["molvae.next"] = title
        app.run()
    assert not app.exception
    assert "3 rows, 1 columns besides the molecules." in [m.value for m in app.markdown]
    assert "In use: **mine\\.csv**" in [c.value for c in app.caption]
    app.button("data.file.remove").click().run()
    assert not any("3 rows" in m.value for m in app.markdown)
    assert not any("In use" in c.value for c in app.caption)
