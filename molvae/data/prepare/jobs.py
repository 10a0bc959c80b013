"""Chunks of input files → parts in a work folder, made in parallel and once only.

Rows are cut into numbered chunks. A :class:`Job` makes a part of each, or of its share of them, and
keeps every finished part on disk, so that an interrupted job loses only unfinished parts.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any

from molvae.data.exports import option_advice
from molvae.data.prepare.parts import Part, Recipe, make_part, rejected_part
from molvae.data.prepare.plan import Plan
from molvae.data.readers import Row, Rows, read_rows, save_stdin
from molvae.data.shard import Shard
from molvae.errors import ConfigError, FileError, no_such_file
from molvae.runtime import workdir
from molvae.runtime.files import fingerprint
from molvae.runtime.pool import WorkerPool
from molvae.runtime.progress import Progress, say
from molvae.runtime.workdir import PLAN, RESUME_ADVICE, numbered_files

__all__ = ["Input", "Job", "open_inputs", "open_workdir", "part_files", "work_folder"]

CHUNK = 1000  # rows of a part
WORTH_KEEPING = 2  # finished chunks
CRASHED = "RDKit crashed or took too long"
STDIN = "-"


def open_workdir(
    output: Path, *, resume: bool, force: bool, advice: str = RESUME_ADVICE
) -> AbstractContextManager[Path]:
    """``OUTPUT.partial``, locked; removed at the end, unless work that failed left parts in it.

    ``advice`` says how to continue with those.
    """
    return workdir.open_workdir(
        work_folder(output),
        verb="prepare",
        finished=part_files,
        in_words=lambda count: f"{count:,} chunks of {CHUNK:,} rows",
        worth_keeping=WORTH_KEEPING,
        resume=resume,
        force=force,
        advice=advice,
        names=r"part-\d+\.(npz|tmp)|\.stdin|stdin\.\w+(\.gz)?|new|placed",
    )


def work_folder(output: Path) -> Path:
    """Where the parts of an output are kept until it is complete."""
    return output.with_name(f"{output.name}.partial")


def part_files(folder: Path) -> dict[int, Path]:
    """Number of chunk → its part, in order."""
    return numbered_files(folder, "part-", ".npz")


class Job:
    """Chunks of the input that are to become parts in a work folder."""

    def __init__(
        self,
        work: Path,
        inputs: Sequence[Input],
        recipe: Recipe,
        shard: Shard | None = None,
        *,
        strict: bool = True,
    ) -> None:
        """Parts of an equal job are taken over; of another, an error if ``strict``, else dropped.

        ``shard`` is this job's share; None is all.
        """
        self.work, self.recipe, self.shard, self.inputs = work, recipe, shard or Shard(), inputs
        self.plan = Plan.of(recipe, [given.source for given in inputs], CHUNK)
        self.chunks = 0
        self._finished = self._take_over(strict)
        self.plan.write(work / PLAN, shard=[self.shard.index, self.shard.count])

    def _take_over(self, strict: bool) -> set[int]:
        """Numbers of the intact parts that an equal job left here."""
        kept = part_files(self.work)
        if not kept:
            return set()
        conflict = self._conflict()
        if conflict and strict:
            raise ConfigError(
                f"'{self.work}' was started with other options or files: {conflict}; repeat "
                "that command with --resume, or discard that work with --force"
            )
        for number, path in list(kept.items()):
            if conflict or not _is_intact(path):
                path.unlink()
                del kept[number]
        if kept:
            say(f"resuming with {len(kept):,} finished chunks of {CHUNK:,} rows")
        return set(kept)

    def _conflict(self) -> str:
        try:
            record = json.loads((self.work / PLAN).read_text(encoding="utf-8"))
            old, shard = Plan.from_json(record["plan"]), Shard(*record["shard"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError):
            return f"its {PLAN} cannot be read"
        if shard != self.shard:
            return (
                f"shard was {shard.index}/{shard.count}, is {self.shard.index}/{self.shard.count}"
            )
        return old.conflict(self.plan)

    def fill(self, pool: WorkerPool) -> None:
        """Make every part that is not there yet."""
        with pool:
            make = functools.partial(_make, recipe=self.recipe, guarded=pool.protected)
            total = sum(given.source["size"] for given in self.inputs)
            kept = 0
            with Progress("prepare", total=total, unit="rows") as progress:
                for (number, rows, position), made in pool.map(make, self._todo(progress)):
                    part = self._one_by_one(pool, make, rows) if made is None else made
                    if part.fault:
                        raise FileError(part.fault)
                    part.save(self.work / f"part-{number:09d}.npz")
                    kept += len(part)
                    progress.advance(len(rows), done=position, note=f"{kept:,} usable")
        for given in self.inputs:
            given.check_unchanged()

    def values_of(self, column: str) -> Iterator[str]:
        """Cells of a column, of the first rows of each file."""
        for given in self.inputs:
            yield from given.values_of(column)

    def _one_by_one(
        self, pool: WorkerPool, make: Callable[[_Chunk], Part], rows: list[Row]
    ) -> Part:
        """A chunk that killed its worker: rows that do so by themselves are rejected."""
        results = ((row, pool.run_alone(make, (0, [row], 0))) for row in rows)
        return Part.join(
            [
                rejected_part(row, self.recipe, CRASHED) if part is None else part
                for row, part in results
            ]
        )

    def _position(self) -> int:
        return sum(given.position() for given in self.inputs)

    def _todo(self, progress: Progress) -> Iterator[_Chunk]:
        rows = (row for given in self.inputs for row in given.rows())
        self.chunks = 0
        while chunk := list(islice(rows, CHUNK)):
            number = self.chunks
            self.chunks += 1
            if number in self._finished:
                progress.begun = self._position()
            elif self.shard.owns(number):
                yield number, chunk, self._position()


_Chunk = tuple[int, list[Row], int]  # its number, its rows, and bytes read when they were


def _make(chunk: _Chunk, recipe: Recipe, guarded: bool) -> Part:
    return make_part(chunk[1], recipe, guarded=guarded)


def _is_intact(path: Path) -> bool:
    """Whether a part was not cut off by a power failure."""
    try:
        Part.load(path)
    except FileError:
        return False
    return True


class Input:
    """One input file, what it is, and how far it has been read."""

    def __init__(self, path: Path, recipe: Recipe, name: str, shown: str) -> None:
        """``name`` is for the manifest, ``shown`` for messages and rejects."""
        self.path, self.recipe = path, recipe
        self.shown = _printable(shown)
        self._state = self._stat()
        self.source: dict[str, Any] = {"file": _printable(name), **fingerprint(path)}
        self._rows: Rows | None = None
        self._done = False

    def _stat(self) -> tuple[int, int]:
        status = self.path.stat()
        return status.st_size, status.st_mtime_ns

    def _open(self) -> Rows:
        return read_rows(
            self.path,
            smiles_column=self.recipe.config.smiles_column,
            columns=self.recipe.columns,
            shown=self.shown,
        )

    def check(self) -> None:
        """Raise an error now if it cannot be opened or lacks a column, rather than in an hour.

        A note names the options that an export of an assay database calls for.
        """
        config = self.recipe.config
        with self._open() as rows:
            header = rows.header

        for note in option_advice(self.shown, header, config, self.values_of):
            say(note)

    def values_of(self, column: str) -> list[str]:
        """Cells of a column, of the first rows."""
        smiles = self.recipe.config.smiles_column
        with read_rows(self.path, smiles_column=smiles, columns=[column]) as rows:
            return [row.labels.get(column, "") for row in islice(rows, CHUNK)]

    def check_unchanged(self) -> None:
        """An error if the file is not what it was when its fingerprint was taken."""
        if self._stat() != self._state:
            raise FileError(f"'{self.shown}': changed while it was read; repeat the command")

    def rows(self) -> Iterator[Row]:
        """Its records."""
        self._rows = self._open()
        yield from self._rows
        self._rows, self._done = None, True

    def position(self) -> int:
        """Bytes read so far."""
        if self._rows is not None:
            return self._rows.position()
        return int(self.source["size"]) if self._done else 0


def open_inputs(paths: Sequence[str | Path], copies: Path, recipe: Recipe) -> list[Input]:
    """The input files, each found to exist and to have the wanted columns.

    ``copies`` is a folder for the copy of standard input. If there is a copy already, and standard
    input is empty, that copy is used again.
    """
    if sum(str(path) == STDIN for path in paths) > 1:
        raise FileError("standard input ('-') can be read only once")
    inputs = [
        _stdin(copies, recipe) if str(path) == STDIN else _file(Path(path), recipe)
        for path in paths
    ]
    for given in inputs:
        given.check()
    return inputs


def _stdin(copies: Path, recipe: Recipe) -> Input:
    copy = next(iter(sorted(copies.glob("stdin.*"))), None)
    if copy is None or _stdin_has_data():
        copy = save_stdin(copies / "stdin", smiles_column=recipe.config.smiles_column)
    return Input(copy, recipe, STDIN, STDIN)


def _stdin_has_data() -> bool:
    stream: Any = sys.stdin.buffer
    return not sys.stdin.isatty() and bool(stream.peek(1))


def _file(path: Path, recipe: Recipe) -> Input:
    if not path.exists():
        raise no_such_file(path)
    if not path.is_file():
        raise FileError(f"'{path}': not a regular file; a stream is read by '-'")
    return Input(path, recipe, path.name, str(path))


def _printable(name: str) -> str:
    """A file name as text that can be written, whatever bytes it is made of."""
    return name.encode("utf-8", "backslashreplace").decode()
