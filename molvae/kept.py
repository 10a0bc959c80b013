"""Files in a folder of the cache, each with a checksum: what is damaged is as if absent."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock

from molvae.cache import REFERENCES, cache_folder, take
from molvae.files import atomic_binary, atomic_text
from molvae.progress import say

__all__ = ["Kept"]

BLOCK = 1 << 20


class Kept:
    """A folder ``references/KEY`` of the cache, or without a key one that lasts as long as this.

    Where the cache cannot be written, what it has is read and the rest goes into a folder of
    that kind.
    """

    def __init__(self, key: str | None) -> None:
        self._stack = ExitStack()
        self._checked: dict[str, Path] = {}
        self._spare: Path | None = None
        self._folder = None if key is None else cache_folder() / REFERENCES / key

    def close(self) -> None:
        """Remove what is not kept."""
        self._stack.close()

    def find(self, name: str) -> Path | None:
        """A file that is whole; None if there is none."""
        if name in self._checked:
            return self._checked[name]
        for folder in (self._folder, self._spare):
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

    @contextmanager
    def writing(self, *names: str) -> Iterator[dict[str, Any]]:
        """Binary files to write, by name; all are kept if the block ends well, or none."""
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
        """Hold the folder: others who would compute the same wait, and the cache is not cleared."""
        if self._folder is None or self._writable() != self._folder:
            yield
            return
        lock = FileLock(self._folder.with_name(f"{self._folder.name}.lock"))
        with take(lock, f"another molvae is computing '{self._folder}'; waiting for it"):
            self._checked.clear()  # another process may have been at work meanwhile
            yield

    def _writable(self) -> Path:
        if self._folder is not None and self._spare is None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                if os.access(self._folder, os.W_OK) and os.access(self._folder.parent, os.W_OK):
                    return self._folder
                reason = "permission denied"
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
            say(f"'{self._folder}' cannot be written ({reason}); what is new will not be kept")
        if self._spare is None:
            self._spare = Path(self._stack.enter_context(TemporaryDirectory(prefix="molvae-")))
        return self._spare


def _sum(path: Path) -> Path:
    return path.with_name(f"{path.name}.crc")


def _checksum(path: Path) -> str:
    """Size and CRC-32 of a file: enough against accidents."""
    value = size = 0
    with open(path, "rb") as handle:
        while block := handle.read(BLOCK):
            value, size = zlib.crc32(block, value), size + len(block)
    return f"{size} {value:08x}"
