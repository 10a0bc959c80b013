"""Finished blocks of an unfinished output, kept in the folder ``FILE.part`` until all are joined.

A block is a file of gzipped JSON with some rows and a record of how they were made. Numbers are
read back exactly, and the checksum of gzip reveals damage.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from molvae.data.shard import Shard
from molvae.data.writers import require_writer, write_rows
from molvae.errors import ConfigError, FileError, RunError
from molvae.runtime.files import atomic_binary, require_absent, require_distinct, write_json
from molvae.runtime.progress import say
from molvae.runtime.workdir import (
    PLAN,
    clear_unfinished,
    is_unfinished,
    numbered_files,
    open_workdir,
    plan_conflict,
    remove_discarded,
)

__all__ = ["BLOCK", "BlockNumbers", "Blocks", "block_files", "open_blocks"]

SCHEMA = 1  # of the plan and of blocks
BLOCK = 1024  # wanted molecules chosen together; fixed, so that results do not depend on batches
CLAIMED = "claimed.json"
MAX_BLOCK = 1 << 28  # bytes of an unpacked block; a larger one is no block of ours
_Accept = Callable[[int, dict[str, Any], list[list[object]]], bool]


class BlockNumbers(Mapping[int, range]):
    """Number of each block of a shard → the wanted molecules in it; nothing is stored."""

    def __init__(self, n: int, shard: Shard) -> None:
        self._n = n
        self._numbers = range(shard.index - 1, -(-n // BLOCK), shard.count)
        if not self._numbers:
            raise ConfigError(
                f"shard {shard.index}/{shard.count}: {n:,} molecules are {-(-n // BLOCK)} blocks "
                f"of {BLOCK:,}; expected at least as many blocks as shards"
            )

    def __getitem__(self, number: int) -> range:
        if number not in self._numbers:
            raise KeyError(number)
        return range(number * BLOCK, min((number + 1) * BLOCK, self._n))

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def wanted(self) -> int:
        """Molecules in all blocks; only the last one may be short."""
        return (len(self) - 1) * BLOCK + len(self[self._numbers[-1]])


@contextmanager
def open_blocks(
    output: str | Path,
    columns: Sequence[str],
    plan: Mapping[str, Any],
    *,
    extra_files: Sequence[Path] = (),
    resume: bool = False,
    force: bool = False,
    accept: _Accept = lambda *_: True,
) -> Iterator[Blocks]:
    """The finished blocks of ``output``, in the folder ``FILE.part``, which is locked.

    The folder is removed at the end. If the work fails, is stopped, or ends without
    :meth:`Blocks.joined` or :meth:`Blocks.leave`, its finished blocks stay, and the
    message says how to continue.

    Args:
        output: the file to write, in a format of :func:`molvae.data.writers.write_rows`.
        columns: its columns, the SMILES first.
        plan: everything that determines the content, as plain JSON without NaN and infinities.
        extra_files: other files that the caller makes from the joined blocks.
        resume: continue with the blocks of an equal plan, if there are any.
        force: overwrite the output; where ``resume`` is not given, drop unfinished work.
        accept: whether a block of these rows and this record belongs to the plan; others, which
            somebody else has put there, are removed.

    Raises:
        OutputExistsError: the output or unfinished work exists, and no flag says what to do.
        ConfigError: the unfinished work has another plan.
        FileError: the output cannot be written, or another process works on it.
    """
    output = Path(output)
    require_writer(output)
    work = output.with_name(f"{output.name}.part")
    remove_discarded(work)
    ours = _claimed(work) if resume else []
    require_distinct((output, *extra_files))
    for path in (output, *extra_files):
        claimed = str(path.absolute()) in ours
        require_absent(path, force=force or claimed, resume=resume and not work.exists())
    with open_workdir(
        work,
        verb="generate",
        finished=block_files,
        in_words=lambda count: f"{count:,} finished block{'s' * (count != 1)}",
        worth_keeping=1,
        resume=resume,
        force=force,
        names=rf"block-\d+\.json\.gz|{CLAIMED}|{re.escape(output.name)}",
    ):
        blocks = Blocks(
            work, output, columns, plan, extra_files=extra_files, force=force, accept=accept
        )
        yield blocks
        if not blocks.complete:
            raise RunError(f"'{output}': not written, as its blocks were not joined")


class Blocks:
    """The blocks of :func:`open_blocks`; ``finished`` maps the number of a block to its record."""

    def __init__(
        self,
        work: Path,
        output: Path,
        columns: Sequence[str],
        plan: Mapping[str, Any],
        *,
        extra_files: Sequence[Path] = (),
        force: bool = False,
        accept: _Accept = lambda *_: True,
    ) -> None:
        self._accept = accept
        self.output, self.columns = output, list(columns)
        self.finished: dict[int, dict[str, Any]] = {}
        self.complete = False
        self._work, self._extra_files, self._force = work, tuple(extra_files), force
        self._take_over(_plain({**plan, "columns": self.columns, "schema": SCHEMA}))

    def write(
        self, number: int, rows: Sequence[Sequence[object]], record: Mapping[str, Any]
    ) -> None:
        """Keep a finished block, whole or not at all; the same number again replaces it.

        Numbers count from 0 and may have gaps. Cells are text, int, float or None; ``record`` is
        plain JSON.
        """
        if number < 0 or any(len(row) != len(self.columns) for row in rows):
            raise ValueError(f"block {number}: expected rows of {len(self.columns)} cells")
        text = json.dumps({"record": record, "rows": rows})
        with atomic_binary(self._path(number)) as packed:
            packed.write(text.encode())
        self.finished[number] = _plain(record)

    def rows(self, number: int | None = None) -> Iterator[list[object]]:
        """The rows of a finished block; of all blocks, by their numbers, if None."""
        for block in sorted(self.finished) if number is None else [number]:
            path = self._path(block)
            try:
                rows = _read(path)[1]
            except _DAMAGE as error:
                raise FileError(
                    f"'{path}': damaged block ({error}); --resume makes it again"
                ) from None
            yield from rows

    @contextmanager
    def joined(self) -> Iterator[int]:
        """Join all finished blocks into the output, named at the end; gives the number of rows.

        The caller writes the extra files meanwhile; after a kill everything is written again.
        """
        whole = self._work / self.output.name  # a kill leaves nothing outside the folder
        count = write_rows(whole, self.columns, self.rows())
        ours = _claimed(self._work)
        places = [str(path.absolute()) for path in (self.output, *self._extra_files)]
        for place in places:  # it may have appeared while we worked
            require_absent(place, force=self._force or place in ours)
        write_json(self._work / CLAIMED, {"files": places})
        for path in (self.output, *self._extra_files):
            path.parent.mkdir(parents=True, exist_ok=True)
            clear_unfinished(path.parent, [path.name])
        yield count
        os.replace(whole, self.output)
        self.complete = True

    def leave(self) -> None:
        """End without an output."""
        self.complete = True

    def _path(self, number: int) -> Path:
        return self._work / f"block-{number:09d}.json.gz"

    def _take_over(self, plan: dict[str, Any]) -> None:
        """Find the intact blocks of an equal plan; remove damaged ones."""
        for path in filter(is_unfinished, self._work.iterdir()):  # a writer was killed
            path.unlink()
        kept = block_files(self._work)
        if kept and (conflict := plan_conflict(self._work / PLAN, plan)):
            raise ConfigError(
                f"'{self._work}' was begun with another request: {conflict}; repeat that command "
                "with --resume, or drop that work with --force"
            )
        count = 0
        for number, path in kept.items():
            try:
                record, rows = _read(path)
                if not self._is_block(record, rows):
                    raise ValueError(number)
            except _DAMAGE:
                say(f"note: block {number} is damaged and will be made again")
                path.unlink()
                continue
            if self._accept(number, record, rows):
                self.finished[number] = record
                count += len(rows)
            else:
                say(f"note: block {number} does not belong to this plan; it is removed")
                path.unlink()
        if self.finished:
            say(f"resuming with {count:,} finished molecules")
        write_json(self._work / PLAN, plan)

    def _is_block(self, record: Any, rows: Any) -> bool:
        """Whether a block has the shape that :meth:`write` gives it."""
        return (
            isinstance(record, dict)
            and isinstance(rows, list)
            and all(
                isinstance(row, list)
                and len(row) == len(self.columns)
                and all(isinstance(cell, str | int | float | None) for cell in row)
                for row in rows
            )
        )


def _claimed(work: Path) -> list[str]:
    """The files that this work was writing, or had written, when it was killed."""
    file = work / CLAIMED
    try:
        return list(json.loads(file.read_text(encoding="utf-8"))["files"]) if file.is_file() else []
    except (OSError, ValueError, TypeError, KeyError):
        return []


def block_files(folder: Path) -> dict[int, Path]:
    """Number of each block in a folder → its file, in order."""
    return numbered_files(folder, "block-", ".json.gz")


_DAMAGE = (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, RecursionError)


def _read(path: Path) -> tuple[dict[str, Any], list[list[object]]]:
    with gzip.open(path) as packed:
        data = packed.read(MAX_BLOCK + 1)
    if len(data) > MAX_BLOCK:
        raise ValueError(f"more than {MAX_BLOCK:,} bytes")
    block = json.loads(data)
    return block["record"], block["rows"]


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data as JSON reads it: lists for tuples, text for keys."""
    plain: dict[str, Any] = json.loads(json.dumps(data))
    return plain
