"""The cache folder: prepared datasets, downloads and stored results; its listing and clearing.

```
datasets/KEY/           a prepared dataset, named by the hash of what it was made from
datasets/KEY.partial/   one whose preparation was interrupted
datasets/KEY.lock       held while a process prepares that dataset
downloads/NAME/         the files of a public data set
downloads/NAME.lock     held while a process downloads them
references/KEY/         results computed from a set that molecules are compared with
references/KEY.lock     held while a process computes more of it
```
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar

import platformdirs
from filelock import FileLock, Timeout

from molvae.errors import FileError
from molvae.runtime.files import atomic_binary, atomic_text
from molvae.runtime.progress import say

__all__ = ["Entry", "Kind", "ResultCache", "cache_folder", "clear", "entries", "lock_folder"]

T = TypeVar("T")
Kind = Literal["dataset", "download", "reference", "unfinished"]

REFERENCES = "references"
PLACES = ("datasets", "downloads", REFERENCES)


@dataclass(frozen=True)
class Entry:
    """One folder of the cache; ``size`` is in bytes, ``about`` says what it holds."""

    kind: Kind
    name: str
    path: Path
    size: int
    about: str


def cache_folder() -> Path:
    """Where prepared and downloaded data are kept: ``$MOLVAE_CACHE`` or the user's cache folder."""
    chosen = os.environ.get("MOLVAE_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("molvae"))


def lock_folder(folder: Path, busy: str) -> AbstractContextManager[object]:
    """Lock a folder of the cache; says ``busy`` if another process has the lock, and waits.

    The folder of the lock is made, again if the cache is cleared in between.
    """
    lock = FileLock(f"{folder}.lock")
    timeout = 0.0
    while True:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            return lock.acquire(timeout=timeout)
        except Timeout:
            say(busy)
            timeout = -1.0
        except FileNotFoundError:  # cleared between the two lines above
            continue


def entries() -> list[Entry]:
    """Contents of the cache: datasets first, then downloads, then unfinished work."""
    listing = []
    for place in PLACES:
        for path in _children(place):
            if path.is_dir() and not path.is_symlink():
                with suppress(FileNotFoundError):  # a running process has just renamed it
                    listing.append(_entry(place, path))
    order = ("dataset", "download", "reference", "unfinished")
    return sorted(listing, key=lambda entry: (order.index(entry.kind), entry.name))


def clear() -> int:
    """Remove everything that no process is writing to; returns the bytes freed.

    Links are removed, never what they point to.
    """
    freed = 0
    for place in PLACES:
        groups: dict[str, list[Path]] = {}
        for path in _children(place):
            groups.setdefault(_key(path), []).append(path)
        for key, paths in groups.items():
            freed += _clear_group(cache_folder() / place / f"{key}.lock", paths)
        with suppress(OSError):  # is not there, is a link, or still holds what is in use
            (cache_folder() / place).rmdir()
    return freed


def _children(place: str) -> Iterator[Path]:
    folder = cache_folder() / place
    if folder.is_symlink():
        say(f"'{folder}' is a link and points out of the cache; left alone")
    elif folder.is_dir():
        try:
            yield from sorted(folder.iterdir())
        except OSError as error:
            raise FileError(f"'{folder}': {_reason(error)}") from None


def _key(path: Path) -> str:
    """The name shared by a folder, its unfinished forms and its lock."""
    return path.name.lstrip(".").split(".")[0]  # the temporary folder of KEY is .KEY.SOMETHING


def _entry(place: str, path: Path) -> Entry:
    if place == REFERENCES:
        return Entry("reference", path.name, path, _size(path), _about_reference(path))
    kind: Kind = "dataset" if place == "datasets" else "download"
    if path.name.endswith(".partial") or path.name.startswith("."):
        return Entry("unfinished", path.name, path, _size(path), "interrupted")
    if kind == "download":
        files = [child.name for child in path.iterdir()]
        state = ", unfinished" if any(name.startswith("tmp") for name in files) else ""
        return Entry(kind, path.name, path, _size(path), f"public data set {path.name}{state}")
    if not (path / "manifest.json").is_file():
        return Entry("unfinished", path.name, path, _size(path), "no manifest.json")
    return Entry(kind, path.name, path, _size(path), _about_dataset(path / "manifest.json"))


def _about_dataset(manifest: Path) -> str:
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        names = [str(source["file"]) for source in content["sources"]]
        count = int(content["kept"])
    except (OSError, ValueError, KeyError, TypeError):
        return "its manifest.json cannot be read"
    listing = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{listing}: {count:,} molecules"


def _about_reference(folder: Path) -> str:
    try:
        content = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
        return f"{content['role']} set {content['source']}: {int(content['rows']):,} rows"
    except (OSError, ValueError, KeyError, TypeError):
        return "its rows.json cannot be read"


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; a link counts as itself."""
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        return sum(_size(child) for child in path.iterdir())
    except FileNotFoundError:  # a running process renamed it
        return 0
    except OSError as error:
        raise FileError(f"'{path}': {_reason(error)}") from None


def _clear_group(lock: Path, paths: list[Path]) -> int:
    freed = 0
    try:
        with FileLock(lock, timeout=0):
            for path in paths:
                if path == lock:
                    continue
                size = _size(path)
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)  # does not follow links
                else:
                    path.unlink(missing_ok=True)
                freed += size
            with suppress(OSError):  # Windows removes no open file
                lock.unlink()  # while it is held: who waits for it sees this and makes a new one
    except Timeout:
        say(f"'{lock.with_suffix('')}' is in use by another process; left alone")
    except OSError as error:
        raise FileError(f"'{lock.with_suffix('')}': cannot be removed: {_reason(error)}") from None
    return freed


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


BLOCK = 1 << 20


class ResultCache:
    """Files of computed results with checksums, in ``references/KEY`` of the cache.

    Without a key, or for new files where the cache cannot be written, they are in a temporary
    folder, which :meth:`close` removes.
    """

    def __init__(self, key: str | None) -> None:
        self._stack = ExitStack()
        self._checked: dict[str, Path] = {}
        self._temporary: Path | None = None
        self._folder = None if key is None else cache_folder() / REFERENCES / key

    def close(self) -> None:
        """Remove the temporary folder."""
        self._stack.close()

    def find(self, name: str) -> Path | None:
        """The path of a file that is there and intact, or None."""
        if name in self._checked:
            return self._checked[name]
        for folder in (self._folder, self._temporary):
            path = None if folder is None else folder / name
            if path is None or not path.is_file():
                continue
            try:
                if _sum(path).read_text(encoding="ascii") == _checksum(path):
                    self._checked[name] = path
                    return path
                say(f"'{path}' is damaged; computing it again")
            except (OSError, ValueError):
                continue  # interrupted before its checksum was written
        return None

    def read(self, name: str, reader: Callable[[Path], T]) -> T | None:
        """What ``reader`` makes of an intact file; None if there is none, or not any more."""
        path = self.find(name)
        if path is not None:
            try:
                return reader(path)
            except FileNotFoundError:  # the cache was cleared after it was found
                self._checked.clear()
        return None

    def detach(self) -> None:
        """From now on, use the temporary folder only."""
        self._checked.clear()
        self._folder = None

    @contextmanager
    def writing(self, *names: str) -> Iterator[dict[str, Any]]:
        """Binary files to write, by name; they are stored if the block succeeds, all or none."""
        folder = self._writable()
        with ExitStack() as stack:
            yield {name: stack.enter_context(atomic_binary(folder / name)) for name in names}
        for name in names:
            path = folder / name
            with atomic_text(_sum(path)) as text:
                text.write(_checksum(path))
            self._checked[name] = path

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder: who would compute the same waits, and the cache is not cleared."""
        if self._folder is None or self._writable() != self._folder:
            yield
            return
        busy = f"another molvae is computing '{self._folder}'; waiting for it"
        with lock_folder(self._folder, busy):
            self._checked.clear()  # another process may have changed the files
            yield

    def _writable(self) -> Path:
        if self._folder is not None and self._temporary is None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                if os.access(self._folder, os.W_OK) and os.access(self._folder.parent, os.W_OK):
                    return self._folder
                reason = "permission denied"
            except OSError as error:
                reason = _reason(error)
            say(f"'{self._folder}' cannot be written ({reason}); new results are not stored")
        if self._temporary is None:
            self._temporary = Path(self._stack.enter_context(TemporaryDirectory(prefix="molvae-")))
        return self._temporary


def _sum(path: Path) -> Path:
    return path.with_name(f"{path.name}.crc")


def _checksum(path: Path) -> str:
    """Size and CRC-32 of a file: enough to find accidental damage."""
    value = size = 0
    with open(path, "rb") as handle:
        while block := handle.read(BLOCK):
            value, size = zlib.crc32(block, value), size + len(block)
    return f"{size} {value:08x}"
