"""Chunks of input files → parts in a work folder, by many hands, and not twice.

Rows are cut into numbered chunks. A :class:`Job` makes a part of each, or of its share of them, and
keeps every finished part on disk, so that an interrupted job loses only what was under way.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from molvae.dataset import SCHEMA
from molvae.errors import ConfigError, FileError, MolvaeError, OutputExistsError, RunError
from molvae.files import fingerprint
from molvae.parallel import Crew
from molvae.parts import Part, Recipe, make_part, rejected_part
from molvae.progress import Progress, say
from molvae.readers import Row, Rows, read_rows, save_stdin
from molvae.runtime import versions

__all__ = [
    "Input",
    "Job",
    "Shard",
    "difference",
    "open_inputs",
    "part_files",
    "work_versions",
    "workplace",
    "write_json",
]

CHUNK = 1000  # rows of a part
WORTH_KEEPING = 2  # finished chunks
CRASHED = "RDKit crashed or took too long"
STDIN = "-"


@dataclass(frozen=True)
class Shard:
    """One of several jobs that share the work on the same input: the ``index``-th of ``count``."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ConfigError(
                f"shard: got {self.index}/{self.count}, expected 1/{max(self.count, 1)} to "
                f"{max(self.count, 1)}/{max(self.count, 1)}"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``i/n``, counted from 1."""
        index, _, count = text.partition("/")
        try:
            return cls(int(index), int(count))
        except ValueError:
            raise ConfigError(f"shard: got '{text}', expected i/n, for example 1/3") from None

    def owns(self, number: int) -> bool:
        """Whether a chunk, counted from 0, is this job's."""
        return number % self.count == self.index - 1


@contextmanager
def workplace(
    output: Path, *, resume: bool, force: bool, advice: str = "go on with --resume, or delete it"
) -> Iterator[Path]:
    """``OUTPUT.partial``, locked; removed at the end, unless work that failed left parts in it.

    ``advice`` is what the user is told to do with those.
    """
    work = output.with_name(f"{output.name}.partial")
    if len(part_files(work)) >= WORTH_KEEPING and not (resume or force):
        raise OutputExistsError(
            f"'{work}' holds unfinished work; go on with it by --resume, or drop it by --force"
        )
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FileError(f"'{work}': another molvae prepare is working there") from None
    try:
        if not resume:
            for old in work.iterdir():
                if old.name != ".lock":
                    shutil.rmtree(old) if old.is_dir() else old.unlink()
        yield work
    except BaseException as error:
        lock.release()
        kept = len(part_files(work))
        if not kept or (kept < WORTH_KEEPING and not isinstance(error, ConfigError)):
            shutil.rmtree(work, ignore_errors=True)
            kept = 0
        if isinstance(error, KeyboardInterrupt):
            raise RunError(_stopped(work, kept, advice)) from None
        if isinstance(error, MolvaeError) and not isinstance(error, ConfigError) and kept:
            say(_stopped(work, kept, advice))
        raise
    lock.release()
    shutil.rmtree(work, ignore_errors=True)


def _stopped(work: Path, parts: int, advice: str) -> str:
    if not parts:
        return "stopped; nothing was finished that is worth keeping"
    return f"stopped; {parts:,} chunks of {CHUNK:,} rows are kept in '{work}': {advice}"


def part_files(work: Path) -> dict[int, Path]:
    """Number of chunk → its file, in order."""
    found = sorted(work.glob("part-*.npz"))
    return {int(path.stem.removeprefix("part-")): path for path in found}


class Job:
    """Chunks of the input that are to become parts in a work folder."""

    def __init__(
        self, work: Path, inputs: Sequence[Input], recipe: Recipe, shard: Shard | None
    ) -> None:
        self.work, self.recipe, self.shard, self.inputs = work, recipe, shard, inputs
        self.sources = [given.source for given in self.inputs]
        self.chunks = 0
        self.plan = {
            "plan": {
                "options": recipe.config.model_dump(mode="json"),
                "builtin": list(recipe.builtin),
                "constraints": recipe.constraints,
                "vocabulary": None if recipe.vocabulary is None else list(recipe.vocabulary),
                "clean": f"{recipe.clean.__module__}.{recipe.clean.__qualname__}",
                "sources": self.sources,
                "versions": work_versions(),
                "schema": SCHEMA,
                "chunk": CHUNK,
            }
        }
        self._finished = self._take_over()

    def _take_over(self) -> set[int]:
        """Numbers of the parts that an equal job left here whole."""
        record = self.work / "plan.json"
        kept = part_files(self.work)
        if kept:
            old = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
            new = self.plan["plan"]
            other = difference(_relaxed(old.get("plan", {}), new), new)
            if other:
                raise ConfigError(
                    f"'{self.work}' was begun with other options or files: {other}; repeat "
                    "that command with --resume, or drop that work with --force"
                )
            for number, path in list(kept.items()):
                try:
                    Part.load(path)
                except FileError:  # cut off by a power failure
                    path.unlink()
                    del kept[number]
            say(f"resuming with {len(kept):,} finished chunks of {CHUNK:,} rows")
        write_json(record, self.plan)
        return set(kept)

    def parts(self) -> dict[int, Path]:
        """Number of chunk → its finished part."""
        return part_files(self.work)

    def fill(self, crew: Crew) -> None:
        """Make every part that is not there yet."""
        recipe = self.recipe
        with crew:
            make = functools.partial(_make, recipe=recipe, guarded=crew.protected)
            total = sum(given.source["size"] for given in self.inputs)
            kept = 0
            with Progress("prepare", total=total, unit="rows") as progress:
                for (number, rows), made in crew.map(make, self._todo(progress)):
                    part = self._one_by_one(crew, make, rows) if made is None else made
                    if part.fault:
                        raise FileError(part.fault)
                    part.save(self.work / f"part-{number:09d}.npz")
                    kept += len(part)
                    progress.advance(len(rows), done=self._position(), note=f"{kept:,} usable")

    def _one_by_one(
        self, crew: Crew, make: Callable[[tuple[int, list[Row]]], Part], rows: list[Row]
    ) -> Part:
        """A chunk that killed its worker: the rows that do so by themselves are refused."""
        found = ((row, crew.alone(make, (0, [row]))) for row in rows)
        return Part.join(
            [
                rejected_part(row, self.recipe, CRASHED) if part is None else part
                for row, part in found
            ]
        )

    def _position(self) -> int:
        return sum(given.position() for given in self.inputs)

    def _todo(self, progress: Progress) -> Iterator[tuple[int, list[Row]]]:
        rows = (row for given in self.inputs for row in given.rows())
        self.chunks = 0
        while chunk := list(islice(rows, CHUNK)):
            number = self.chunks
            self.chunks += 1
            if number in self._finished:
                progress.begun = self._position()
            elif self.shard is None or self.shard.owns(number):
                yield number, chunk


def _make(item: tuple[int, list[Row]], recipe: Recipe, guarded: bool) -> Part:
    return make_part(item[1], recipe, guarded=guarded)


class Input:
    """One input file, what it is, and how far it has been read."""

    def __init__(self, path: Path, source: dict[str, Any], recipe: Recipe, shown: str) -> None:
        self.path, self.source, self.recipe, self.shown = path, source, recipe, shown
        self._rows: Rows | None = None
        self._done = False

    @classmethod
    def of(cls, path: str | Path, work: Path, recipe: Recipe) -> Input:
        """An input file; standard input is first copied into the work folder."""
        if str(path) == STDIN:
            copy = next(iter(sorted(work.glob("stdin.*"))), None)
            if copy is None:
                copy = save_stdin(work / "stdin", smiles_column=recipe.config.smiles_column)
            return cls(copy, {"file": STDIN, **fingerprint(copy)}, recipe, STDIN)
        path = Path(path)
        if not path.is_file():
            raise FileError(f"'{path}': no such file")
        return cls(path, {"file": path.name, **fingerprint(path)}, recipe, str(path))

    def _open(self) -> Rows:
        return read_rows(
            self.path,
            smiles_column=self.recipe.config.smiles_column,
            columns=self.recipe.columns,
            shown=self.shown,
        )

    def check(self) -> None:
        """Whether it can be opened and has the columns: an error now rather than in an hour."""
        self._open().close()

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

    ``copies`` is a folder for the copy of standard input.
    """
    if sum(str(path) == STDIN for path in paths) > 1:
        raise FileError("standard input ('-') can be read only once")
    inputs = [Input.of(path, copies, recipe) for path in paths]
    for given in inputs:
        given.check()
    return inputs


def work_versions() -> dict[str, str]:
    """Versions of what decides the content of a part."""
    known = versions()
    return {name: known[name] for name in ("molvae", "rdkit", "selfies")}


def _relaxed(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The old plan with those options of the new that could not have changed its parts."""
    if "options" not in old:
        return old
    options = dict(old["options"])
    options["unknown_tokens"] = new["options"]["unknown_tokens"]  # decided at the end
    if options["bad_labels"] == "error":  # no part has one
        options["bad_labels"] = new["options"]["bad_labels"]
    return {**old, "options": options}


def difference(old: dict[str, Any], new: dict[str, Any], path: str = "") -> str:
    """The first value that differs, as text; empty if none does."""
    for key in sorted(new.keys() | old.keys()):
        a, b = old.get(key), new.get(key)
        if a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            return difference(a, b, f"{path}{key}.")
        return f"{path}{key} was {a!r}, is {b!r}"
    return ""


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Plain data as text that people can read."""
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
