"""The verb ``molvae fetch``, with a data set on a server on this machine."""

import gc
import hashlib
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from molvae.cli import main
from molvae.data import fetch as module
from molvae.data.fetch import DataFile, DataSet
from molvae.runtime.cache import cache_folder

# pooch leaves it to the garbage collector to close the connection of a failed request.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

BODY = "smiles\nCCO\nCCN\n"


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def home(monkeypatch, tmp_path):
    """The folder that a server shows, where mols.csv of the set ``toy`` lives."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "mols.csv").write_text(BODY)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=folder))
    digest = f"sha256:{hashlib.sha256(BODY.encode()).hexdigest()}"
    url = f"http://127.0.0.1:{server.server_port}/mols.csv"
    file = DataFile("mols.csv", url, len(BODY), digest)
    toy = DataSet("Toy molecules", "CC0", "Nobody 2026", (file,))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    monkeypatch.setattr(module, "SETS", {"toy": toy, "other": toy})
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield folder
    gc.collect()
    server.shutdown()
    server.server_close()
    thread.join()


def run(*words):
    return CliRunner().invoke(main, ["fetch", *map(str, words)], catch_exceptions=False)


def test_the_verb_fetch(home, tmp_path):
    cached, out = cache_folder() / "downloads" / "toy" / "mols.csv", tmp_path / "out"

    result = run("nope")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: unknown data set 'nope': known are other, toy.\n"

    (home / "mols.csv").rename(home / "away.csv")
    result = run("toy")
    assert (result.exit_code, result.stdout) == (1, "")
    line = result.stderr.splitlines()[-1]
    assert line.startswith("error: http://127.0.0.1:")
    assert "/mols.csv: the server answered 404 " in line

    (home / "away.csv").rename(home / "mols.csv")
    result = run("toy")
    assert result.exit_code == 0
    assert {"license: CC0", "please cite: Nobody 2026"} <= set(result.stderr.splitlines())
    assert result.stdout.splitlines() == [
        "Toy molecules",
        f"    0.0 MB  {cached}",
        f"train on it: molvae train '{cached}' -o runs/toy",
    ]

    result = run("toy", "--json")
    assert json.loads(result.stdout) == {"name": "toy", "files": [str(cached)]}

    result = run("toy", "-o", out)
    assert result.exit_code == 0
    assert str(out / "mols.csv") in result.stdout
    assert (out / "mols.csv").read_text() == cached.read_text() == BODY

    (out / "mols.csv").write_text("mine")
    result = run("toy", "-o", out)
    assert result.exit_code == 2
    assert result.stderr.endswith("mols.csv' exists already; choose another name or add --force\n")
    assert (out / "mols.csv").read_text() == "mine"
    assert run("toy", "-o", out, "--force").exit_code == 0
    assert (out / "mols.csv").read_text() == BODY
