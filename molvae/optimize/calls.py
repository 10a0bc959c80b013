"""Every call of the objective, written down before it is made and after it was answered.

``STEM.calls.csv``: two rows per molecule, ``asked`` and then ``answered`` or ``failed``; rows are
only added. ``STEM.calls.json`` says what the run was asked for, so that another run cannot go on
with it by mistake.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from molvae.config import differences
from molvae.errors import ConfigError, FileError, OutputExistsError
from molvae.objectives import Objective
from molvae.optimize.archive import Answer
from molvae.optimize.scoring import Scored
from molvae.runtime.files import write_json
from molvae.runtime.workdir import clear_unfinished, exclusive_lock, name_in_errors

__all__ = ["Asked", "Calls", "method_before", "open_calls"]

LONGEST = 200  # characters of a note
ASKED, ANSWERED, FAILED = "asked", "answered", "failed"
FIXED = ("call", "round", "origin", "smiles", "status", "value", "note")


class Asked(NamedTuple):
    """A call that is made, or was under way when a run was killed."""

    number: int
    round: int
    origin: str
    smiles: str


class Calls:
    """The list of calls of one run, on disk and here."""

    def __init__(self, path: Path, objective: Objective, *, pareto: bool) -> None:
        self.path, self.objective, self.pareto = path, objective, pareto
        self.answers: list[Answer] = []
        self.pending: dict[str, Asked] = {}
        self._columns = [*FIXED, *objective.names]
        self._handle: Any = None

    @property
    def count(self) -> int:
        """Molecules asked about, whether answered or not."""
        return len(self.answers) + len(self.pending)

    @property
    def rounds(self) -> int:
        """Rounds that have begun."""
        last = [a.round for a in self.answers[-1:]] + [p.round for p in self.pending.values()]
        return max(last, default=-1) + 1

    def ask(self, molecules: Sequence[tuple[str, str]], *, round_: int) -> list[Asked]:
        """Write down what is asked about, pairs of SMILES and origin."""
        first = self.count + 1
        asked = [
            Asked(first + i, round_, origin, smiles) for i, (smiles, origin) in enumerate(molecules)
        ]
        self.pending.update({one.smiles: one for one in asked})
        self._write([self._row(one, ASKED) for one in asked])
        return asked

    def answer(self, scored: Sequence[Scored]) -> list[Answer]:
        """Write down the answers of molecules asked about."""
        found = [self._answer(self.pending[one.smiles], one.scores, one.note) for one in scored]
        self._write(
            [
                self._row(a, FAILED if a.failed else ANSWERED, a.value, a.note, a.scores)
                for a in found
            ]
        )
        self._done(found)
        return found

    def _done(self, answers: Sequence[Answer]) -> None:
        for one in answers:
            del self.pending[one.smiles]
        self.answers += answers

    def _answer(self, asked: Asked, scores: tuple[float, ...], note: str) -> Answer:
        worth = self.objective.worth(scores)
        value = math.nan if self.pareto else self.objective.value(scores)
        # A message may hold anything, half of a surrogate pair or a whole file.
        note = " ".join(note.split())[:LONGEST].encode("ascii", "backslashreplace").decode()
        if any(math.isnan(x) for x in worth) and not note:
            note = "the objective gave no number"
        return Answer(
            asked.number, asked.round, asked.origin, asked.smiles, scores, worth, value, note
        )

    def _row(
        self,
        one: Asked | Answer,
        status: str,
        value: float = math.nan,
        note: str = "",
        scores: tuple[float, ...] = (),
    ) -> list[str]:
        cells = [_cell(score) for score in scores] or [""] * len(self.objective.parts)
        head = [str(one.number), str(one.round), one.origin, one.smiles, status]
        return [*head, _cell(value), note, *cells]

    def _write(self, rows: Sequence[Sequence[str]]) -> None:
        with name_in_errors(self.path):
            csv.writer(self._handle, lineterminator="\n").writerows(rows)
            self._handle.flush()
            os.fsync(self._handle.fileno())

    # -- opening ------------------------------------------------------------------------------

    def start(self) -> None:
        """A new list."""
        self._handle = open(self.path, "w", encoding="utf-8", newline="")  # noqa: SIM115
        self._write([self._columns])

    def go_on(self) -> None:
        """Read what is there and add to it; a row that a kill cut short is dropped."""
        whole = self.path.read_bytes()
        end = whole.rfind(b"\n") + 1
        if not end:  # killed before its first line was written
            self.start()
            return
        lines = whole[:end].decode("utf-8", "replace").split("\n")[:-1]
        if next(csv.reader(lines[:1]), None) != self._columns:
            raise FileError(f"'{self.path}': not the calls of such a run, its columns differ")
        for number, line in enumerate(lines[1:], start=2):
            try:
                (row,) = csv.reader([line])
                self._take(row)
            except (ValueError, KeyError, IndexError, csv.Error):
                raise FileError(f"'{self.path}', line {number}: damaged; restore it, or start "
                                "anew with --force") from None  # fmt: skip
        self._handle = open(self.path, "r+", encoding="utf-8", newline="")  # noqa: SIM115
        self._handle.truncate(end)
        self._handle.seek(end)

    def _take(self, row: list[str]) -> None:
        number, round_, origin, smiles, status = row[:5]
        if status == ASKED:
            self.pending[smiles] = Asked(int(number), int(round_), origin, smiles)
        elif status in (ANSWERED, FAILED):
            scores = tuple(float(cell) if cell else math.nan for cell in row[len(FIXED) :])
            if len(scores) != len(self.objective.parts):
                raise ValueError(smiles)
            self._done([self._answer(self.pending[smiles], scores, row[6])])
        else:
            raise ValueError(status)

    def close(self) -> None:
        """No more calls."""
        if self._handle is not None:
            with name_in_errors(self.path):
                self._handle.close()


def _cell(value: float) -> str:
    """A number that reads back as the same; nothing for NaN."""
    return "" if math.isnan(value) else repr(float(value))


@contextmanager
def open_calls(
    path: Path,
    objective: Objective,
    plan: Mapping[str, Any],
    *,
    pareto: bool,
    outputs: Sequence[Path] = (),
    resume: bool,
    force: bool,
) -> Iterator[Calls]:
    """The calls of a run, locked: a new list, or with ``resume`` the one that is there.

    ``plan`` is what must be the same to go on: JSON data. Raises OutputExistsError where a list is
    in the way, ConfigError where that of another run is to go on, FileError where it is in use.
    ``outputs`` are made under the same lock: what a killed run left of them is removed.
    """
    record = path.with_suffix(".json")
    busy = f"'{path}': another molvae optimize is at work with it"
    lock = exclusive_lock(path.with_name(f".{path.name}.lock"), busy)
    calls = Calls(path, objective, pareto=pareto)
    try:
        clear_unfinished(path.parent, [record.name])
        for output in outputs:
            if output.parent.is_dir():
                clear_unfinished(output.parent, [output.name])
        if resume and path.exists():
            _require_same(record, plan)
            calls.go_on()
        else:
            if path.exists() and not force:
                raise OutputExistsError(
                    f"'{path}' exists: go on with it by --resume, or drop it by --force"
                )
            path.unlink(missing_ok=True)  # first: no record must stand beside calls of another run
            write_json(record, dict(plan))
            calls.start()
        yield calls
    finally:
        try:
            calls.close()
        finally:
            _let_go(lock)


def _let_go(lock: FileLock) -> None:
    with contextlib.suppress(OSError):  # where an open file cannot be removed
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


def method_before(path: Path) -> str | None:
    """The method that the calls in a file were made by, if that is known."""
    try:
        found = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["method"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(found) if path.exists() else None


def _require_same(record: Path, plan: Mapping[str, Any]) -> None:
    try:
        before = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"'{record}': cannot tell what the calls were for ({error})") from None
    if changed := differences(before, json.loads(json.dumps(plan))):
        raise ConfigError(f"--resume: options differ from those of the run: {'; '.join(changed)}")
