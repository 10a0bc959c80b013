"""Downloads from a real server on this machine: good ones, broken ones, resumed ones."""

import hashlib
import json
import re
import shutil
import socket
import ssl
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.error import URLError

import pytest

import molvae
from molvae.errors import FileError, RunError
from molvae.runtime import download as module
from molvae.runtime.download import download

BODY = "".join(f'"{"C" * (1 + i % 90)}\n",{i}\n' for i in range(9000)).encode()
OTHER = BODY[::-1]
HALF = len(BODY) // 2
TAG = '"one"'


def md5(content):
    return f"md5:{hashlib.md5(content).hexdigest()}"


def sha256(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


# -- what a server can do ------------------------------------------------------------------------


def reply(handler, status, content=b"", headers=(), length=None):
    """An answer; with a ``length`` beyond the content it breaks off."""
    handler.send_response(status)
    if length != "untold":
        handler.send_header("Content-Length", str(len(content) if length is None else length))
    for name, value in dict(headers).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content)


def whole(body=BODY, status=200, **headers):
    """Sends everything, whatever range is asked for."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: reply(handler, status, body, names)


def ranged(body=BODY, tag=TAG, cut=None, heed_if_range=True):
    """A good server with ranges; it breaks off after ``cut`` bytes of the file."""

    def answer(handler):
        found = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        condition = handler.headers.get("If-Range", tag) if heed_if_range else tag
        begun = int(found[1]) if found and condition == tag else None
        if begun is not None and begun >= len(body):
            reply(handler, 416, b"", {"Content-Range": f"bytes */{len(body)}"})
            return
        piece = body[begun or 0 : cut]
        headers = {"ETag": tag} if tag else {}
        if begun is not None:
            headers["Content-Range"] = f"bytes {begun}-{len(body) - 1}/{len(body)}"
        status = 200 if begun is None else 206
        reply(handler, status, piece, headers, length=len(body) - (begun or 0))

    return answer


def cut_short(body=BODY, at=HALF, tag=TAG, **headers):
    """Promises everything, sends the first part; knows no ranges."""
    named = {"ETag": tag} if tag else {}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: reply(handler, 200, body[:at], named, length=len(body))


def status(code):
    return lambda handler: reply(handler, code, b"sorry")


def redirect(place):
    return lambda handler: reply(handler, 302, b"", {"Location": place})


class Site:
    """A server that does what a test says, in order, and remembers what it was asked."""

    def __init__(self, folder):
        self.folder = folder  # where the files go
        self.routes = {}
        self.requests = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                path = self.path
                asked = {name: self.headers.get(name) for name in ("Range", "If-Range")}
                site.requests.append(
                    SimpleNamespace(
                        path=path, range=asked["Range"], if_range=asked["If-Range"],
                        agent=self.headers["User-Agent"],
                    )
                )  # fmt: skip
                answers = site.routes[path]
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

    def serve(self, *answers, path="/mols.csv"):
        """The answers to requests for a path, one after the other; the last one is repeated."""
        self.routes[path] = list(answers)

    @property
    def ranges(self):
        return [request.range for request in self.requests]

    def at(self, name=""):
        return self.folder / name

    def names(self):
        return sorted(path.name for path in self.folder.iterdir())

    def recorded(self):
        return json.loads(self.at("hashes.json").read_text())


@pytest.fixture
def site(monkeypatch, tmp_path):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    site = Site(tmp_path / "toy")
    yield site
    site.close()


def get(site, digest=None, url=None, **options):
    """Download the one file without waiting between attempts."""
    path = site.at("mols.csv")
    options = {"backoff": 0, "timeout": 5} | options
    download(url or f"{site.url}/mols.csv", path, published=digest, **options)
    return path


# -- what goes well ------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", [md5(BODY), sha256(BODY)])
def test_a_file_is_fetched_verified_and_kept(site, capsys, digest):
    site.serve(whole())
    path = get(site, digest)
    assert path == site.at("mols.csv")
    assert path.read_bytes() == BODY
    assert site.names() == ["mols.csv"]
    (request,) = site.requests
    assert (request.path, request.range, request.if_range) == ("/mols.csv", None, None)
    assert request.agent == f"molvae/{molvae.__version__}"
    out, err = capsys.readouterr()
    assert out == ""
    assert f"mols.csv: verified, {digest}" in err.splitlines()


def test_a_file_in_the_cache_is_not_fetched_again(site, capsys):
    site.serve(whole())
    assert get(site, md5(BODY)) == get(site, md5(BODY))
    assert len(site.requests) == 1
    assert f"mols.csv: in the cache already, {md5(BODY)}" in capsys.readouterr().err


def test_a_damaged_file_in_the_cache_is_fetched_again(site, capsys):
    site.serve(whole())
    get(site, md5(BODY)).write_bytes(BODY[:-1])
    assert get(site, md5(BODY)).read_bytes() == BODY
    assert len(site.requests) == 2
    assert "downloading it again" in capsys.readouterr().err


def test_a_file_put_there_by_hand_is_used(site):
    site.at().mkdir(parents=True)
    site.at("mols.csv").write_bytes(BODY)
    assert get(site, sha256(BODY)).read_bytes() == BODY
    assert site.requests == []


def test_the_end_of_a_body_of_unknown_length_is_believed(site):
    site.serve(lambda handler: reply(handler, 200, BODY, length="untold"))
    assert get(site).read_bytes() == BODY


def test_a_known_size_finds_the_break_in_a_body_of_unknown_length(site):
    site.serve(lambda handler: reply(handler, 200, BODY[:HALF], length="untold"), whole())
    assert get(site, md5(BODY), size=len(BODY)).read_bytes() == BODY
    assert len(site.requests) == 2


def test_redirections_are_followed_and_the_range_goes_with_them(site):
    site.serve(redirect("/moved"))
    site.serve(redirect(f"{site.url}/away/mols"), path="/moved")
    site.serve(ranged(cut=HALF), ranged(), path="/away/mols")
    assert get(site, md5(BODY)).read_bytes() == BODY
    assert [request.path for request in site.requests] == 2 * ["/mols.csv", "/moved", "/away/mols"]
    assert site.ranges == [None] * 3 + [f"bytes={HALF}-"] * 3


def test_the_proxy_of_the_environment_is_used(site, monkeypatch):
    monkeypatch.setenv("http_proxy", site.url)
    url = "http://data.invalid/mols.csv"
    site.serve(whole(), path=url)  # a proxy is asked for the whole address
    assert get(site, md5(BODY), url).read_bytes() == BODY
    assert len(site.requests) == 1


# -- resuming ------------------------------------------------------------------------------------


def test_a_broken_download_goes_on_where_it_stopped(site, capsys):
    site.serve(ranged(cut=HALF), ranged())
    assert get(site, md5(BODY)).read_bytes() == BODY
    assert site.ranges == [None, f"bytes={HALF}-"]
    assert [request.if_range for request in site.requests] == [None, TAG]
    assert site.names() == ["mols.csv"]
    said = f"mols.csv: the connection ended after {HALF:,} of {len(BODY):,} bytes; trying again in"
    assert said in capsys.readouterr().err


def test_several_breaks_are_mended(site):
    site.serve(*(ranged(cut=n) for n in (1000, 1000, 90_000, 200_000)), ranged())
    assert get(site, md5(BODY), attempts=5).read_bytes() == BODY
    assert site.ranges == [None, *(f"bytes={n}-" for n in (1000, 1000, 90_000, 200_000))]


def test_what_came_is_kept_for_the_next_command(site):
    site.serve(cut_short())
    with pytest.raises(RunError, match=f"{HALF:,} of {len(BODY):,}") as caught:
        get(site, md5(BODY), attempts=3)
    assert "3 attempts" in str(caught.value)
    assert "run the same command again to go on from there" in str(caught.value)
    assert f"download {site.url}/mols.csv by hand and save it as '{site.at('mols.csv')}'" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)
    assert len(site.requests) == 3
    assert site.names() == ["mols.csv.part", "mols.csv.part.json"]
    assert site.at("mols.csv.part").read_bytes() == BODY[:HALF]
    site.requests.clear()
    site.serve(ranged())
    assert get(site, md5(BODY)).read_bytes() == BODY
    assert site.ranges == [f"bytes={HALF}-"]
    assert site.names() == ["mols.csv"]


def test_a_server_without_ranges_is_asked_again_for_everything(site):
    site.serve(cut_short(), whole())
    assert get(site, md5(BODY)).read_bytes() == BODY
    assert site.ranges == [None, f"bytes={HALF}-"]


@pytest.mark.parametrize("heed_if_range", [True, False])
def test_pieces_of_two_versions_are_not_glued(site, heed_if_range):
    site.serve(ranged(OTHER, '"old"', cut=HALF), ranged(heed_if_range=heed_if_range))
    assert get(site).read_bytes() == BODY  # no published hash would tell
    assert [request.if_range for request in site.requests][:2] == [None, '"old"']
    assert site.ranges == [None, f"bytes={HALF}-"] + ([] if heed_if_range else [None])


def test_without_a_version_only_a_published_hash_allows_to_go_on(site):
    for digest, second in ((None, None), (md5(BODY), f"bytes={HALF}-")):
        site.requests.clear()
        site.serve(ranged(tag="", cut=HALF), ranged(tag=""))
        assert get(site, digest).read_bytes() == BODY
        assert site.ranges == [None, second]
        assert [request.if_range for request in site.requests] == [None, None]
        shutil.rmtree(site.folder)


@pytest.mark.parametrize(
    ("tag", "changed", "sent"),
    [
        ('W/"weak"', "Sat, 01 Jan 2022 00:00:00 GMT", "Sat, 01 Jan 2022 00:00:00 GMT"),
        ('W/"weak"', None, None),
        (TAG, "Sat, 01 Jan 2022 00:00:00 GMT", TAG),
    ],
)
def test_a_weak_tag_does_not_name_a_version(site, tag, changed, sent):
    dated = {"Last_Modified": changed} if changed else {}
    site.serve(cut_short(tag=tag, **dated), whole())
    assert get(site).read_bytes() == BODY
    assert site.requests[1].if_range == sent
    assert site.ranges[1] == (f"bytes={HALF}-" if sent else None)


def test_a_range_beyond_the_end_starts_over(site):
    long = BODY + b"more"
    site.serve(ranged(long, cut=len(BODY)), ranged())
    assert get(site, md5(BODY)).read_bytes() == BODY
    assert site.ranges == [None, f"bytes={len(BODY)}-", None]


def wrong_piece(content_range):
    def answer(handler):
        headers = {"ETag": TAG} | ({"Content-Range": content_range} if content_range else {})
        reply(handler, 206, BODY[10:], headers)

    return answer


@pytest.mark.parametrize("content_range", [None, "bytes 10-99/100", "bytes ?", "lines 1-2/3"])
@pytest.mark.parametrize("there", [True, False])
def test_a_piece_that_does_not_fit_starts_over(site, content_range, there):
    begin = [ranged(cut=HALF)] if there else []
    site.serve(*begin, wrong_piece(content_range), whole())
    assert get(site, md5(BODY)).read_bytes() == BODY
    assert site.ranges == ([None, f"bytes={HALF}-"] if there else [None]) + [None]


def test_a_piece_of_another_address_is_not_used(site):
    site.serve(cut_short())
    with pytest.raises(RunError):
        get(site, md5(BODY), attempts=1)
    site.requests.clear()
    site.serve(ranged(), path="/new")
    get(site, md5(BODY), f"{site.url}/new")
    assert site.ranges == [None]


@pytest.mark.parametrize(
    "state", [None, "", "{", "[]", '{"url": "URL"}', '{"url": "URL", "validator": 3}']
)
def test_a_piece_of_unknown_origin_is_not_used(site, state):
    site.at().mkdir(parents=True)
    site.at("mols.csv.part").write_bytes(b"rubbish")
    if state is not None:
        site.at("mols.csv.part.json").write_text(state.replace("URL", f"{site.url}/mols.csv"))
    site.serve(ranged())
    assert get(site, md5(BODY)).read_bytes() == BODY
    assert site.ranges == [None]
    assert site.names() == ["mols.csv"]


def test_more_than_promised_is_not_kept(site):
    longer = BODY + b"more"

    def overlong(handler):
        headers = {"Content-Range": f"bytes {HALF}-{len(BODY) - 1}/{len(BODY)}", "ETag": TAG}
        reply(handler, 206, longer[HALF:], headers)

    site.serve(ranged(cut=HALF), overlong, ranged())
    assert get(site).read_bytes() == BODY
    assert site.ranges == [None, f"bytes={HALF}-", None]
    assert site.names() == ["hashes.json", "mols.csv"]


def test_a_broken_chunked_body_is_noticed(site):
    def broken(handler):
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("ETag", TAG)
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%s\r\n%x\r\n" % (HALF, BODY[:HALF], HALF) + BODY[HALF:-50])
        handler.close_connection = True

    site.serve(broken, ranged())
    assert get(site).read_bytes() == BODY
    assert len(site.requests) == 2


# -- hashes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", [md5(BODY), sha256(BODY)])
def test_a_wrong_hash_names_both_and_removes_what_came(site, digest):
    site.serve(whole(OTHER))
    with pytest.raises(RunError) as caught:
        get(site, digest)
    got = md5(OTHER) if digest.startswith("md5") else sha256(OTHER)
    assert f"got content with {got}, expected {digest}, as published" in str(caught.value)
    assert site.names() == []
    assert len(site.requests) == 1


def test_a_wrong_hash_leaves_the_file_that_was_there(site):
    site.at().mkdir(parents=True)
    site.at("mols.csv").write_text("by hand")
    site.serve(whole(OTHER))
    with pytest.raises(RunError, match="expected md5"):
        get(site, md5(BODY))
    assert site.at("mols.csv").read_text() == "by hand"


def test_without_a_published_hash_the_first_download_is_trusted(site, capsys):
    site.serve(whole())
    get(site)
    assert f"mols.csv: trusted on first use, {sha256(BODY)}" in capsys.readouterr().err
    assert site.recorded() == {"mols.csv": sha256(BODY)}
    get(site)
    assert len(site.requests) == 1
    assert "mols.csv: in the cache already" in capsys.readouterr().err


def test_later_downloads_must_be_what_was_trusted_first(site, capsys):
    site.serve(whole())
    get(site).write_bytes(b"damaged")
    site.serve(whole(OTHER))
    with pytest.raises(RunError) as caught:
        get(site)
    message = str(caught.value)
    assert f"got content with {sha256(OTHER)}, expected {sha256(BODY)}, as recorded in" in message
    assert f"'{site.at('hashes.json')}'" in message
    assert "delete that record to accept the new file" in message
    assert site.names() == ["hashes.json", "mols.csv"]
    assert site.at("mols.csv").read_bytes() == b"damaged"
    site.serve(whole())
    assert get(site).read_bytes() == BODY
    assert f"mols.csv: verified, {sha256(BODY)}" in capsys.readouterr().err
    site.at("hashes.json").unlink()
    site.at("mols.csv").unlink()
    site.serve(whole(OTHER))
    assert get(site).read_bytes() == OTHER


def test_a_file_put_there_by_hand_is_trusted_and_recorded(site, capsys):
    site.at().mkdir(parents=True)
    site.at("mols.csv").write_bytes(BODY)
    site.at("hashes.json").write_text(json.dumps({"other.csv": sha256(b"")}))
    assert get(site).read_bytes() == BODY
    assert site.recorded() == {"other.csv": sha256(b""), "mols.csv": sha256(BODY)}
    assert f"trusted on first use, {sha256(BODY)}" in capsys.readouterr().err
    assert site.requests == []


@pytest.mark.parametrize("content", ["{", "[]", '{"mols.csv": 3}', '{"mols.csv": "md5:00"}'])
def test_a_damaged_record_of_hashes_is_no_reason_to_trust(site, content):
    site.at().mkdir(parents=True)
    site.at("hashes.json").write_text(content)
    with pytest.raises(FileError, match=r"hashes\.json'.* delete it"):
        get(site)
    assert site.requests == []


# -- what is not the file ------------------------------------------------------------------------

PAGES = [
    b"<!DOCTYPE html><html>Log in first</html>",
    b"\n  <HTML><body>Moved</body></HTML>",
    b"\xef\xbb\xbf<!doctype HTML>",
]
POINTER = f"version https://git-lfs.github.com/spec/v1\noid {sha256(BODY)}\nsize 1\n".encode()


@pytest.mark.parametrize("digest", [None, md5(BODY)])
@pytest.mark.parametrize(
    ("body", "what"), [*((page, "a web page") for page in PAGES), (POINTER, "a git-LFS pointer")]
)
def test_pages_and_pointers_are_not_data(site, body, what, digest):
    site.serve(ranged(cut=HALF), whole(body))
    with pytest.raises(RunError, match=f"got {what}, expected") as caught:
        get(site, digest)
    assert f"save it as '{site.at('mols.csv')}'" in str(caught.value)
    assert len(site.requests) == 2  # asking again would not help
    assert site.at("mols.csv.part").read_bytes() == BODY[:HALF]  # a login page spoils nothing
    site.serve(ranged())
    assert get(site, digest).read_bytes() == BODY


def test_a_page_saved_by_hand_is_not_data_either(site):
    site.at().mkdir(parents=True)
    site.at("mols.csv").write_bytes(PAGES[0])
    with pytest.raises(RunError, match=r"mols\.csv: .*web page"):
        get(site)
    assert site.names() == ["mols.csv"]


def test_an_encoded_body_is_not_the_file(site):
    site.serve(whole(b"\x1f\x8b...", Content_Encoding="gzip"))
    with pytest.raises(RunError, match="gzip"):
        get(site)
    assert site.names() == []


@pytest.mark.parametrize("digest", [None, md5(b"")])
def test_nothing_is_not_a_file(site, digest):
    site.serve(whole(b""))
    with pytest.raises(RunError, match="0 of 0 bytes"):
        get(site, digest, attempts=2)
    assert len(site.requests) == 2
    assert "mols.csv" not in site.names()


@pytest.mark.parametrize(
    ("code", "reason"), [(404, "Not Found"), (403, "Forbidden"), (410, "Gone")]
)
def test_a_missing_file_is_not_asked_for_again(site, code, reason):
    site.serve(status(code))
    with pytest.raises(RunError, match=f"{code} {reason}") as caught:
        get(site, md5(BODY))
    assert f"download {site.url}/mols.csv by hand and save it as '{site.at('mols.csv')}'" in str(
        caught.value
    )
    assert len(site.requests) == 1
    assert site.names() == []


@pytest.mark.parametrize("code", [500, 502, 503, 429, 408, 202, 204])
def test_a_passing_fault_is_waited_out(site, code):
    site.serve(status(code), whole())
    assert get(site, md5(BODY)).read_bytes() == BODY
    assert len(site.requests) == 2


def test_a_lasting_fault_is_given_up(site, monkeypatch):
    waits = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    site.serve(status(503))
    with pytest.raises(RunError, match=r"503 Service Unavailable.*4"):
        get(site, attempts=4, backoff=0.5)
    assert len(site.requests) == 4
    assert waits == [0.5, 1, 2]
    assert site.names() == []


def test_circles_are_not_followed_for_ever(site):
    site.serve(redirect("/there"))
    site.serve(redirect("/mols.csv"), path="/there")
    with pytest.raises(RunError, match="redirect") as caught:
        get(site)
    assert "\n" not in str(caught.value)
    assert len(site.requests) <= 12


@pytest.mark.parametrize("place", ["ftp://127.0.0.1/x", "file:///etc/hostname", "data:,CCO"])
def test_redirections_out_of_the_web_are_refused(site, place):
    site.serve(redirect(place))
    with pytest.raises(RunError, match="https"):
        get(site)
    assert len(site.requests) == 1
    assert site.names() == []


# -- no way there --------------------------------------------------------------------------------


def test_a_closed_door_is_named(site):
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))  # nobody listens
        url = f"http://127.0.0.1:{door.getsockname()[1]}/mols.csv"
        with pytest.raises(RunError, match="connection refused") as caught:
            get(site, url=url, attempts=2)
    assert url in str(caught.value)
    assert "check the connection and run the same command again, or download" in str(caught.value)


def test_an_unknown_host_is_named(site, monkeypatch):
    asked = []

    def unknown(host, *arguments, **options):
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(RunError, match="name or service not known"):
        get(site, url="http://data.invalid/mols.csv", attempts=2)
    assert asked == ["data.invalid"] * 2


def test_a_silent_server_is_not_waited_for(site):
    end = threading.Event()

    def silent(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BODY)))
        handler.end_headers()
        handler.wfile.write(BODY[:HALF])
        handler.wfile.flush()
        end.wait(10)

    site.serve(silent, whole())
    assert get(site, timeout=0.2).read_bytes() == BODY
    end.set()
    assert len(site.requests) == 2


def test_an_untrusted_certificate_is_no_passing_fault(site, monkeypatch):
    calls = []

    def distrust(*arguments, **options):
        calls.append(arguments)
        raise URLError(ssl.SSLCertVerificationError("certificate verify failed"))

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", distrust)
    with pytest.raises(RunError, match="certificate"):
        get(site)
    assert len(calls) == 1


def test_an_interrupted_command_keeps_what_came(site, monkeypatch):
    site.serve(ranged())
    reads = iter([BODY[:1000], BODY[1000:3000]])

    def read(response):
        try:
            return next(reads)
        except StopIteration:
            raise KeyboardInterrupt from None

    with monkeypatch.context() as patch:
        patch.setattr(module, "_read", read)
        with pytest.raises(KeyboardInterrupt):
            get(site, md5(BODY))
    assert site.at("mols.csv.part").read_bytes() == BODY[:3000]
    assert get(site, md5(BODY)).read_bytes() == BODY
    assert site.ranges == [None, "bytes=3000-"]


# -- the disk ------------------------------------------------------------------------------------


def test_a_full_disk_is_said_before_it_is_full(site, monkeypatch):
    usage = SimpleNamespace(total=10**9, used=10**9 - 1000, free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    site.serve(whole())
    with pytest.raises(RunError, match=r"0\.5 MB.* 0\.0 MB.*MOLVAE"):
        get(site)
    assert site.names() == []


def test_a_disk_that_fails_is_no_fault_of_the_network(site, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    site.serve(whole())
    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(FileError, match="no space left on device"):
        get(site)
    assert len(site.requests) == 1


def test_a_folder_that_is_a_file_is_named(site):
    site.folder.write_text("")
    with pytest.raises(FileError, match="file exists"):
        get(site)
    assert site.requests == []
