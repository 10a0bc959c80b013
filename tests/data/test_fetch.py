"""Data sets from a real server on this machine: into the cache, from there into a folder."""

import hashlib
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from filelock import FileLock

from molvae.data import fetch as module
from molvae.data.fetch import SETS, DataFile, DataSet, fetch, summary_lines
from molvae.data.readers import read_smiles
from molvae.errors import FileError, InputError, OutputExistsError, RunError
from molvae.runtime.cache import cache_folder, clear, entries

BODY = b'smiles,logP\n"CCO\n",1.5\n"CCN\n",2\n' + b"C,0.5\n" * 90_000


@pytest.fixture
def site(monkeypatch, tmp_path_factory):
    """A server of the files in a folder, and the set ``toy`` that lives there: b.csv and a.csv."""
    folder = tmp_path_factory.mktemp("site")
    requests = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            requests.append(self.path)
            super().do_GET()

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    url = f"http://127.0.0.1:{server.server_port}"
    digest = f"md5:{hashlib.md5(BODY).hexdigest()}"
    files = tuple(DataFile(name, f"{url}/{name}", len(BODY), digest) for name in ("b.csv", "a.csv"))
    for file in files:
        (folder / file.name).write_bytes(BODY)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "SETS", {"toy": DataSet("Toy molecules", "CC0", "Nobody", files)})
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield SimpleNamespace(folder=folder, requests=requests)
    server.shutdown()
    server.server_close()
    thread.join()


def toy(name=""):
    return cache_folder() / "downloads" / "toy" / name


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# -- the cache -----------------------------------------------------------------------------------


def test_all_files_of_a_set_come_in_order(site, capsys):
    assert fetch("toy") == [toy("b.csv"), toy("a.csv")]
    assert site.requests == ["/b.csv", "/a.csv"]
    assert toy("a.csv").read_bytes() == toy("b.csv").read_bytes() == BODY
    assert names(toy()) == ["a.csv", "b.csv"]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-3:] == ["Toy molecules", "licence: CC0", "please cite: Nobody"]
    (entry,) = entries()
    assert (entry.kind, entry.name, entry.size) == ("download", "toy", 2 * len(BODY))
    assert clear() == 2 * len(BODY)


def test_only_what_is_not_in_the_cache_is_asked_for(site):
    fetch("toy")
    toy("a.csv").unlink()
    toy("b.csv").write_bytes(BODY[::-1])
    (site.folder / "a.csv").unlink()
    with pytest.raises(RunError, match=r"/a\.csv: .*404"):
        fetch("toy")
    (site.folder / "a.csv").write_bytes(BODY)
    site.requests.clear()
    fetch("toy")
    fetch("toy")
    assert site.requests == ["/a.csv"]


def test_a_changed_file_is_refused(site):
    (site.folder / "a.csv").write_bytes(BODY[::-1])
    with pytest.raises(RunError, match=r"/a\.csv: .*md5:"):
        fetch("toy")
    assert names(toy()) == ["b.csv"]


def test_a_cache_that_is_no_folder_is_named(site, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MOLVAE_CACHE", str(tmp_path / "file"))
    with pytest.raises(FileError, match="not a directory"):
        fetch("toy")
    assert site.requests == []


def test_one_process_at_a_time_fetches_a_set(site, monkeypatch):
    said, results = [], []
    waiting = threading.Event()

    def say(text):
        said.append(text)
        if "waiting" in text:
            waiting.set()

    monkeypatch.setattr("molvae.runtime.cache.say", say)
    toy().parent.mkdir(parents=True)
    with FileLock(f"{toy()}.lock"):
        other = threading.Thread(target=lambda: results.append(fetch("toy")))
        other.start()
        assert waiting.wait(10)
        assert site.requests == []
    other.join(10)
    assert results == [[toy("b.csv"), toy("a.csv")]]
    assert said[0] == f"another process is fetching into '{toy()}'; waiting for it"


def test_the_lock_is_held_during_downloads_and_released_after_a_failure(site, monkeypatch):
    def failing(*arguments, **options):
        assert clear() == 0
        assert toy().with_name("toy.lock").exists()
        raise RunError("no")

    monkeypatch.setattr(module, "download", failing)
    for _ in range(2):
        with pytest.raises(RunError, match="no"):
            fetch("toy")


# -- the output folder ---------------------------------------------------------------------------


def test_files_are_copied_to_the_output_folder(site, tmp_path):
    output = tmp_path / "deep" / "out"
    assert fetch("toy", output) == [output / "b.csv", output / "a.csv"]
    assert names(output) == ["a.csv", "b.csv"]
    assert (output / "a.csv").read_bytes() == toy("a.csv").read_bytes() == BODY


def test_quoted_line_ends_survive(site, tmp_path):
    assert read_smiles([fetch("toy", tmp_path / "out")[0]])[:3] == ["CCO", "CCN", "C"]


def test_an_existing_output_is_refused_before_anything_is_asked(site, tmp_path):
    (tmp_path / "a.csv").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"a\.csv' .*--force"):
        fetch("toy", tmp_path)
    assert (tmp_path / "a.csv").read_text() == "mine"
    assert site.requests == []
    fetch("toy", tmp_path, force=True)
    assert (tmp_path / "a.csv").read_bytes() == BODY
    assert names(tmp_path) == ["a.csv", "b.csv"]


def test_an_output_that_is_a_file_is_named(site, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(FileError, match=r"out'.*folder"):
        fetch("toy", tmp_path / "out")
    assert site.requests == []


def test_an_output_that_cannot_be_written_leaves_no_pieces(site, tmp_path):
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(FileError, match=r"b\.csv'.*is a directory"):
        fetch("toy", tmp_path, force=True)
    assert names(tmp_path) == ["b.csv"]
    assert toy("b.csv").read_bytes() == BODY


# -- names and the table -------------------------------------------------------------------------


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"'mose'.*'moses'.*guacamol, moses, zinc"):
        fetch("mose", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert list(cache_folder().iterdir()) == []


def test_the_summary_has_sizes_and_the_next_step(site):
    paths = fetch("toy")
    assert summary_lines("toy", paths) == [
        "Toy molecules",
        f"    0.5 MB  {paths[0]}",
        f"    0.5 MB  {paths[1]}",
        f"train on it: molvae train '{paths[0]}' -o runs/toy",
    ]


def test_the_sets_come_from_their_public_homes_with_whole_hashes():
    assert set(SETS) == {"zinc250k", "moses", "guacamol"}
    homes = {"media.githubusercontent.com", "raw.githubusercontent.com", "ndownloader.figshare.com"}
    lengths = {"md5": 32, "sha256": 64}
    for data_set in SETS.values():
        assert data_set.title
        assert data_set.licence
        assert "doi:10." in data_set.citation
        assert len({file.name for file in data_set.files}) == len(data_set.files) > 0
        for file in data_set.files:
            address = urlsplit(file.url)
            assert (address.scheme, address.netloc in homes) == ("https", True)
            kind, _, digest = file.hash.partition(":")
            assert re.fullmatch(f"[0-9a-f]{{{lengths[kind]}}}", digest)
            assert file.size > 10**6
            assert re.fullmatch(r"\w+\.(csv|smiles)", file.name)
    urls = [file.url for data_set in SETS.values() for file in data_set.files]
    assert len(set(urls)) == len(urls) == 7
