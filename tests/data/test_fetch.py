"""Data sets from a real server on this machine: into the cache, from there into a folder."""

import gc
import hashlib
import re
import socket
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from filelock import FileLock

import molvae
from molvae.data import fetch as module
from molvae.data.fetch import SETS, DataFile, DataSet, fetch, summary_lines
from molvae.data.readers import read_smiles
from molvae.errors import FileError, InputError, OutputExistsError, RunError
from molvae.runtime.cache import cache_folder, clear, entries

# pooch leaves it to the garbage collector to close the connection of a failed request.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

BODY = b'smiles,logP\n"CCO\n",1.5\n"CCN\n",2\n' + b"C,0.5\n" * 90_000


def direct(monkeypatch):
    """No proxy, and no waiting between attempts."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)


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
    direct(monkeypatch)
    monkeypatch.setattr(module, "SETS", {"toy": DataSet("Toy molecules", "CC0", "Nobody", files)})
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield SimpleNamespace(folder=folder, requests=requests)
    gc.collect()
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
    assert err.splitlines()[-3:] == ["Toy molecules", "license: CC0", "please cite: Nobody"]
    (entry,) = entries()
    assert (entry.kind, entry.name, entry.size) == ("download", "toy", 2 * len(BODY))
    assert clear() == 2 * len(BODY)


def test_only_what_is_not_in_the_cache_is_requested(site):
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
    with pytest.raises(RunError, match=rf"/a\.csv: .*{hashlib.md5(BODY[::-1]).hexdigest()}"):
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
        assert waiting.wait(240)
        assert site.requests == []
    other.join(240)
    assert results == [[toy("b.csv"), toy("a.csv")]]
    assert said[0] == f"another process is fetching into '{toy()}'; waiting for it"


def test_the_lock_is_held_during_downloads_and_released_after_a_failure(site, monkeypatch):
    def failing(*arguments, **options):
        assert clear() == 0
        assert toy().with_name("toy.lock").exists()
        raise RunError("no")

    monkeypatch.setattr(module, "_download", failing)
    for _ in range(2):
        with pytest.raises(RunError, match="no"):
            fetch("toy")


# -- the network ---------------------------------------------------------------------------------


def reply(status, content=b"", length=None, **headers):
    """An answer; with a ``length`` beyond the content it breaks off."""

    def answer(handler):
        handler.send_response(status)
        if length != "unknown":
            handler.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


class Server:
    """A server that gives the answers of a test, in order, and remembers what it was asked."""

    def __init__(self):
        self.routes, self.requests, self.agents = {}, [], []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append(self.path)
                server.agents.append(self.headers["User-Agent"])
                answers = server.routes[self.path]
                (answers.pop(0) if len(answers) > 1 else answers[0])(self)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def serve(self, *answers, path="/a.csv"):
        """The answers to requests for a path, one after the other; the last one is repeated."""
        self.routes[path] = list(answers)


@pytest.fixture
def server(monkeypatch):
    direct(monkeypatch)
    server = Server()
    monkeypatch.setattr(module, "SETS", {"toy": toy_at(f"{server.url}/a.csv")})
    yield server
    gc.collect()
    server.close()


def toy_at(url, kind="sha256"):
    digest = f"{kind}:{hashlib.new(kind, BODY).hexdigest()}"
    return DataSet("Toy", "CC0", "Nobody", (DataFile("a.csv", url, len(BODY), digest),))


def failure():
    """The one-line message of a download that fails and leaves nothing behind."""
    with pytest.raises(RunError) as caught:
        fetch("toy")
    assert names(toy()) == []
    message = str(caught.value)
    assert "\n" not in message
    assert f"by hand and save it as '{toy('a.csv')}'" in message
    return message


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_file_is_verified_by_either_hash(server, monkeypatch, capsys, kind):
    chosen = toy_at(f"{server.url}/a.csv", kind)
    monkeypatch.setattr(module, "SETS", {"toy": chosen})
    server.serve(reply(200, BODY))
    assert fetch("toy")[0].read_bytes() == BODY
    assert server.agents == [f"molvae/{molvae.__version__}"]
    out, err = capsys.readouterr()
    assert out == ""
    assert f"a.csv: verified, {chosen.files[0].hash}" in err.splitlines()
    assert re.search(r"a\.csv: \d MB in ", err)


def test_a_file_put_there_by_hand_is_used(server):
    toy().mkdir(parents=True)
    toy("a.csv").write_bytes(BODY)
    assert fetch("toy")[0].read_bytes() == BODY
    assert server.requests == []


def test_a_body_of_unknown_length(server):
    server.serve(reply(200, BODY, "unknown"))
    assert fetch("toy")[0].read_bytes() == BODY


@pytest.mark.parametrize(
    "fault",
    [
        *(reply(code) for code in (500, 502, 503, 429, 408, 202, 204)),
        reply(200, BODY[:9000], length=len(BODY)),
        reply(200, BODY[:9000], length="unknown"),
        reply(200, b""),
    ],
)
def test_a_temporary_failure_is_tried_again(server, fault):
    server.serve(fault, reply(200, BODY))
    assert fetch("toy")[0].read_bytes() == BODY
    assert names(toy()) == ["a.csv"]
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("code", "reason"),
    [(404, "Not Found"), (403, "Forbidden"), (503, "Service Unavailable")],
)
def test_a_lasting_fault_is_named(server, code, reason):
    server.serve(reply(code))
    assert re.search(rf"/a\.csv: the server answered {code} .*{reason}, expected", failure())
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "body",
    [
        BODY[::-1],
        b"<!DOCTYPE html><html>Log in first</html>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    ],
)
def test_other_content_is_refused_with_both_hashes(server, body):
    server.serve(reply(200, body))
    message = failure()
    assert hashlib.sha256(body).hexdigest() in message
    assert hashlib.sha256(BODY).hexdigest() in message


def test_a_refused_download_leaves_the_file_that_was_there(server):
    toy().mkdir(parents=True)
    toy("a.csv").write_text("by hand")
    server.serve(reply(200, BODY[::-1]))
    with pytest.raises(RunError, match="hash"):
        fetch("toy")
    assert toy("a.csv").read_text() == "by hand"


def test_redirections_are_followed(server):
    server.serve(reply(302, Location="/moved"))
    server.serve(reply(301, Location=f"{server.url}/away/mols"), path="/moved")
    server.serve(reply(200, BODY), path="/away/mols")
    assert fetch("toy")[0].read_bytes() == BODY
    assert server.requests == ["/a.csv", "/moved", "/away/mols"]


@pytest.mark.parametrize("place", ["/a.csv", "ftp://127.0.0.1/x", "file:///etc/hostname"])
def test_circles_and_redirections_out_of_the_web_are_refused(server, place):
    server.serve(reply(302, Location=place))
    failure()


def test_the_proxy_of_the_environment_is_used(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    url = "http://data.invalid/a.csv"
    monkeypatch.setattr(module, "SETS", {"toy": toy_at(url)})
    server.serve(reply(200, BODY), path=url)  # a proxy is asked for the whole address
    assert fetch("toy")[0].read_bytes() == BODY
    assert len(server.requests) == 1


def test_no_connection_is_named(server, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # nobody listens
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a.csv"
        monkeypatch.setattr(module, "SETS", {"toy": toy_at(url)})
        message = failure()
    assert f"{url}: no connection: " in message
    assert "Connection refused" in message
    assert "run the same command again" in message


def test_an_unknown_host_is_named(server, monkeypatch):
    def unknown(host, *arguments, **options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(module, "SETS", {"toy": toy_at("http://data.invalid/a.csv")})
    assert "no connection: " in (message := failure())
    assert "data.invalid" in message


def test_a_silent_server_is_not_waited_for(server, monkeypatch):
    end = threading.Event()

    def silent(handler):
        reply(200, BODY[:9000], length=len(BODY))(handler)
        handler.wfile.flush()
        end.wait(240)

    monkeypatch.setattr(module, "TIMEOUT", 0.5)
    server.serve(silent, reply(200, BODY))
    assert fetch("toy")[0].read_bytes() == BODY
    end.set()
    assert len(server.requests) == 2


def test_an_untrusted_certificate_is_named(server, monkeypatch):
    from requests.exceptions import SSLError

    def distrust(*arguments, **options):
        raise SSLError("certificate verify failed")

    monkeypatch.setattr("requests.get", distrust)
    assert "certificate verify failed" in failure()


def test_an_interrupted_download_leaves_nothing_to_be_taken_for_the_file(server, monkeypatch):
    def interrupt(self, count):
        raise KeyboardInterrupt

    server.serve(reply(200, BODY))
    with monkeypatch.context() as patch:
        patch.setattr(module._Bar, "update", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch("toy")
    assert names(toy()) == []
    toy("tmpa1b2c3d4").write_bytes(BODY[:9000])  # what a kill leaves
    assert fetch("toy")[0].read_bytes() == BODY
    assert names(toy()) == ["a.csv"]


def test_a_full_disk_is_no_fault_of_the_network(server, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    server.serve(reply(200, BODY))
    monkeypatch.setattr(module._Bar, "update", full)
    with pytest.raises(FileError, match="cannot be written: no space left on device"):
        fetch("toy")
    assert len(server.requests) == 1


def test_a_cache_folder_that_is_a_file_is_named(server):
    toy().parent.mkdir(parents=True)
    toy().write_text("")
    with pytest.raises(FileError, match=r"toy': cannot be written: "):
        fetch("toy")
    assert server.requests == []


# -- the output folder ---------------------------------------------------------------------------


def test_files_are_copied_to_the_output_folder(site, tmp_path):
    output = tmp_path / "deep" / "out"
    assert fetch("toy", output) == [output / "b.csv", output / "a.csv"]
    assert names(output) == ["a.csv", "b.csv"]
    assert (output / "a.csv").read_bytes() == toy("a.csv").read_bytes() == BODY


def test_quoted_line_ends_survive(site, tmp_path):
    assert read_smiles([fetch("toy", tmp_path / "out")[0]])[:3] == ["CCO", "CCN", "C"]


def test_an_existing_output_is_refused_before_any_request(site, tmp_path):
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
    with pytest.raises(FileError, match=r"b\.csv'.*is a folder"):
        fetch("toy", tmp_path, force=True)
    assert names(tmp_path) == ["b.csv"]


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
        assert data_set.license
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
