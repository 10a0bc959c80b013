"""One file from one URL: resumed when interrupted, verified, written whole or not at all.

A file is received as ``NAME.part`` and gets its name when it is complete and has the right hash.
Where no hash is published, the first download is trusted: its SHA-256 goes to ``hashes.json``
beside the file, and what comes later is compared with that.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from molvae._version import __version__
from molvae.errors import FileError, RunError
from molvae.runtime.files import atomic_text
from molvae.runtime.progress import Progress, duration, say

__all__ = ["download", "writing"]

CHUNK = 1 << 16  # bytes
RETRIED = {408, 416, 425, 429, 500, 502, 503, 504}  # answers that may be better next time


def download(
    url: str,
    path: Path,
    *,
    size: int | None = None,
    published: str | None = None,
    attempts: int = 4,
    backoff: float = 1.0,
    timeout: float = 30.0,
) -> None:
    """Bring a file from ``url`` to ``path``, unless it is there already, and verify it.

    ``published`` is its hash, ``md5:…`` or ``sha256:…``. ``size`` in bytes serves the progress
    bar, and finds the end where the server does not tell it. The file is tried ``attempts`` times,
    with ``backoff`` seconds after the first failure, twice as many after the second and so on.
    ``timeout`` is how long, in seconds, a server may be silent. The caller sees to it that no
    other process writes to the folder.
    """
    job = _Job(url, path, size, published, timeout)
    recorded = _recorded(job.hashes)
    expected = published or recorded.get(path.name)
    if path.is_file():
        got = _digest(path, expected)
        if got == expected:
            say(f"{path.name}: in the cache already, {got}")
            return
        if expected is None:  # placed by hand, before any download
            with open(path, "rb") as handle:
                job.refuse_pages(str(path), handle.read(CHUNK))
            _record(job.hashes, {**recorded, path.name: got})
            say(f"{path.name}: in the cache already, trusted on first use, {got}")
            return
        say(f"'{path}': {got} instead of {expected}; downloading it again")
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    _persist(job, attempts, backoff)
    got = _digest(job.part, expected)
    if expected is not None and got != expected:
        job.forget()
        origin, advice = "published", "see whether a newer molvae knows the file"
        if not published:
            origin = f"recorded in '{job.hashes}' after the first download"
            advice = "delete that record to accept the new file"
        raise RunError(
            f"{url}: got content with {got}, expected {expected}, as {origin}; what was received "
            f"is removed. Try again later, or {advice}"
        )
    with writing(path):
        os.replace(job.part, path)
        job.forget()
    if expected is None:
        _record(job.hashes, {**recorded, path.name: got})
    say(f"{path.name}: {'verified' if expected else 'trusted on first use'}, {got}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the disk refuses while ``path`` is written becomes one line for the user."""
    try:
        yield
    except OSError as error:
        raise FileError(f"'{path}': cannot be written: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    inner = error.reason if isinstance(error, URLError) else error
    text = (inner.strerror if isinstance(inner, OSError) else None) or str(inner)
    return text.strip().partition("\n")[0].lower() or type(inner).__name__


# -- hashes --------------------------------------------------------------------------------------


def _digest(path: Path, like: str | None) -> str:
    """The hash of a file, of the kind of another one; SHA-256 if there is none."""
    kind = (like or "sha256:").partition(":")[0]
    digest = hashlib.new(kind, usedforsecurity=False)  # also where policy forbids MD5
    with open(path, "rb") as handle:
        hashlib.file_digest(handle, lambda: digest)
    return f"{kind}:{digest.hexdigest()}"


def _recorded(record: Path) -> dict[str, str]:
    if not record.exists():
        return {}
    try:
        hashes = dict(json.loads(record.read_text(encoding="utf-8")).items())
        if all(re.fullmatch("sha256:[0-9a-f]{64}", digest) for digest in hashes.values()):
            return hashes
    except (OSError, ValueError, TypeError, AttributeError):
        pass
    raise FileError(f"'{record}': not a record of hashes; delete it to trust the next download")


def _record(record: Path, hashes: dict[str, str]) -> None:
    with writing(record), atomic_text(record) as text:
        text.write(json.dumps(hashes, indent=1) + "\n")


# -- requests ------------------------------------------------------------------------------------


class _Interrupted(Exception):
    """A failure that another attempt may mend."""


class _Redirects(HTTPRedirectHandler):
    """Follows to http and https only."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise HTTPError(req.full_url, code, f"redirection to {newurl}", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Job:
    """What is to come from where, and what is there of it."""

    def __init__(
        self, url: str, path: Path, size: int | None, published: str | None, timeout: float
    ) -> None:
        self.url, self.path, self.size, self.published = url, path, size, published
        self.timeout = timeout
        self.part = path.with_name(path.name + ".part")  # what was received so far
        self.state = path.with_name(path.name + ".part.json")  # its URL, and of which version it is
        self.hashes = path.with_name("hashes.json")  # of the files trusted on first use
        self.by_hand = f"or download {url} by hand and save it as '{path}'"

    def forget(self) -> None:
        """Remove what was received, so that the next attempt starts over."""
        self.part.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)

    def resumption(self) -> tuple[int, str]:
        """How many bytes there are to go on from, and their version; 0 to start over."""
        try:
            begun = self.part.stat().st_size
            state = json.loads(self.state.read_text(encoding="utf-8"))
            url, version = state["url"], state["validator"]
        except (OSError, ValueError, KeyError, TypeError):
            return 0, ""
        # Without a version only a published hash can tell that pieces of two were glued together.
        known = isinstance(version, str) and bool(version or self.published)
        return (begun, version) if known and url == self.url else (0, "")

    def receive(self) -> None:
        """One request; its answer goes to the part, which is not verified yet."""
        begun, version = self.resumption()
        request = Request(self.url, headers={"User-Agent": f"molvae/{__version__}"})
        if begun:
            request.add_header("Range", f"bytes={begun}-")
            if version:
                request.add_header("If-Range", version)
        with self.answer(request) as response:
            length = response.headers.get("Content-Length", "")
            if response.status == 206:
                told = response.headers.get("Content-Range", "")
                found = re.match(rf"bytes {begun}-\d+/(\d+|\*)", told)
                if not begun or found is None or _version(response) not in ("", version):
                    self.forget()
                    raise _Interrupted("the server sent another piece than asked for")
                length = found[1]
            elif response.status == 200:
                begun = 0
            else:
                raise _Interrupted(f"the server answered {response.status} {response.reason}")
            self.store(response, begun, int(length) if length.isdecimal() else self.size)

    def answer(self, request: Request) -> HTTPResponse:
        """The answer to a request, if it is a good one."""
        try:
            response: HTTPResponse = build_opener(_Redirects).open(request, timeout=self.timeout)
            return response
        except HTTPError as error:
            error.close()
            answer = f"{error.code} {error.reason}".partition("\n")[0].strip()
            if error.code == 416:  # no such range
                self.forget()
            if error.code in RETRIED:
                raise _Interrupted(f"the server answered {answer}") from None
            advice = "it may have moved: see whether a newer molvae knows its place"
            if error.code < 400:
                advice = "it redirects in circles or to what is neither http nor https"
            raise RunError(
                f"{self.url}: the server answered {answer}, expected the file; {advice}, "
                f"{self.by_hand}"
            ) from None
        except (OSError, HTTPException) as error:
            if isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError):
                raise RunError(
                    f"{self.url}: the certificate of the server cannot be verified "
                    f"({_reason(error)}); check the clock and the proxy, {self.by_hand}"
                ) from None
            raise _Interrupted(f"no connection: {_reason(error)}") from None

    def store(self, response: HTTPResponse, begun: int, total: int | None) -> None:
        """Append the body of an answer to the part, which is emptied first if ``begun`` is 0."""
        if (coding := response.headers.get("Content-Encoding", "identity")) != "identity":
            raise RunError(
                f"{self.url}: the server sent the file encoded as {coding}, expected it as it is; "
                f"try without a proxy, {self.by_hand}"
            )
        chunk = _read(response)
        free = shutil.disk_usage(self.path.parent).free
        if total is not None and total - begun > free:
            raise RunError(
                f"'{self.path.parent}': {(total - begun) / 1e6:,.1f} MB needed, "
                f"{free / 1e6:,.1f} MB free; make room or set MOLVAE_CACHE to another folder"
            )
        if begun == 0:
            self.refuse_pages(self.url, chunk)
        with writing(self.part):  # failures of the network are _Interrupted
            if begun == 0:
                self.forget()
                with atomic_text(self.state) as text:
                    json.dump({"url": self.url, "validator": _version(response)}, text)
            done = begun
            name, size = self.path.name, total and total / 1e6
            with (
                open(self.part, "ab") as handle,
                Progress(name, size, unit="MB", done=begun / 1e6) as progress,
            ):
                while chunk:
                    before, done = done, done + len(chunk)
                    if total is not None and done > total:
                        self.state.unlink()  # so that the next attempt starts over
                        raise _Interrupted(f"the server sent more than the {total:,} bytes it told")
                    handle.write(chunk)
                    progress.advance(done // 10**6 - before // 10**6, done=done / 1e6)
                    chunk = _read(response)
                handle.flush()
                os.fsync(handle.fileno())
                if not done or (total is not None and done < total):
                    of = "" if total is None else f" of {total:,}"
                    raise _Interrupted(f"the connection ended after {done:,}{of} bytes")

    def refuse_pages(self, place: str, first: bytes) -> None:
        """Not everything that comes under the name of a file is its content."""
        start = first[:256].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
        what = "a web page" if start.startswith((b"<!doctype", b"<html")) else ""
        what = "a git-LFS pointer" if start.startswith(b"version https://git-lfs") else what
        if what:
            raise RunError(
                f"{place}: got {what}, expected data; a proxy or a login may be in the way. Get "
                f"the file with a browser, from {self.url}, and save it as '{self.path}'"
            )


def _persist(job: _Job, attempts: int, backoff: float) -> None:
    """Try until the part has all bytes of the file."""
    for attempt in itertools.count(1):
        try:
            job.receive()
            return
        except _Interrupted as problem:
            if attempt >= attempts:
                kept = job.part.exists() and job.part.stat().st_size
                raise RunError(
                    f"{job.url}: {problem} ({attempt} attempts); check the connection and run the "
                    f"same command again{' to go on from there' if kept else ''}, {job.by_hand}"
                ) from None
            delay = backoff * 2 ** (attempt - 1)
            say(f"{job.path.name}: {problem}; trying again in {duration(delay)}")
            time.sleep(delay)


def _version(response: HTTPResponse) -> str:
    """What names the version of a file exactly, in the terms of If-Range."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, HTTPException) as error:
        raise _Interrupted(f"the connection broke: {_reason(error)}") from None
