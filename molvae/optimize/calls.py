"""The log of calls: each call of the objective is logged before it is made and when it is answered.

``STEM.calls.csv``: two rows per molecule, ``asked`` and then ``answered`` or ``failed``; rows are
only appended. ``STEM.calls.json`` holds the options of the run, so that a run with other options
cannot continue it by mistake.
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

from molvae import chem
from molvae.config import differences
from molvae.data.writers import harmless
from molvae.errors import ConfigError, FileError, OutputExistsError
from molvae.objectives import Objective
from molvae.optimize.archive import Answer
from molvae.optimize.scoring import Scored
from molvae.runtime.files import atomic_text, write_json
from molvae.runtime.workdir import clear_unfinished, exclusive_lock, name_in_errors

__all__ = ["Asked", "Calls", "answered_calls", "method_before", "open_calls"]

LONGEST = 200  # characters of a note
ASKED, ANSWERED, FAILED = "asked", "answered", "failed"
FIXED = ("call", "round", "origin", "smiles", "status", "value", "note")


class Asked(NamedTuple):
    """A call in progress, or one that was in progress when a run was killed."""

    number: int
    round: int
    origin: str
    smiles: str


class Calls:
    """The log of calls of one run, on disk and in memory."""

    def __init__(self, path: Path, objective: Objective, *, pareto: bool) -> None:
        self.path, self.objective, self.pareto = path, objective, pareto
        self.answers: list[Answer] = []
        self.pending: dict[str, Asked] = {}
        self._columns = [*FIXED, *map(harmless, objective.columns)]
        self._handle: Any = None

    @property
    def count(self) -> int:
        """Molecules for which a score was requested, answered or not."""
        return len(self.answers) + len(self.pending)

    @property
    def rounds(self) -> int:
        """Rounds that have begun."""
        last = [a.round for a in self.answers[-1:]] + [p.round for p in self.pending.values()]
        return max(last, default=-1) + 1

    def ask(self, molecules: Sequence[tuple[str, str]], *, round_: int) -> list[Asked]:
        """Log that scores are requested, for pairs of SMILES and origin."""
        first = self.count + 1
        asked = [
            Asked(first + i, round_, origin, smiles) for i, (smiles, origin) in enumerate(molecules)
        ]
        self.pending.update({call.smiles: call for call in asked})
        self._write([self._row(call, ASKED) for call in asked])
        return asked

    def answer(self, scored: Sequence[Scored]) -> list[Answer]:
        """Log the answers."""
        answers = [
            self._answer(self.pending[result.smiles], result.scores, result.note)
            for result in scored
        ]
        self._write(
            [
                self._row(a, FAILED if a.failed else ANSWERED, a.value, a.note, a.scores)
                for a in answers
            ]
        )
        self._done(answers)
        return answers

    def _done(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            del self.pending[answer.smiles]
        self.answers += answers

    def _answer(self, asked: Asked, scores: tuple[float, ...], note: str) -> Answer:
        worth = self.objective.worth(scores)
        value = math.nan if self.pareto else self.objective.value(scores)
        # A message may contain anything, even half a surrogate pair or a whole file.
        note = " ".join(note.split())[:LONGEST].encode("ascii", "backslashreplace").decode()
        if any(math.isnan(x) for x in worth) and not note:
            note = "the objective gave no number"
        return Answer(
            asked.number, asked.round, asked.origin, asked.smiles, scores, worth, value, note
        )

    def _row(
        self,
        call: Asked | Answer,
        status: str,
        value: float = math.nan,
        note: str = "",
        scores: tuple[float, ...] = (),
    ) -> list[str]:
        empty = [math.nan] * len(self.objective.parts)
        cells = [_cell(number) for number in self.objective.cells(scores or empty)]
        head = [str(call.number), str(call.round), call.origin, call.smiles, status]
        return [*head, _cell(value), harmless(note), *cells]

    def _write(self, rows: Sequence[Sequence[str]]) -> None:
        with name_in_errors(self.path):
            csv.writer(self._handle, lineterminator="\n").writerows(rows)
            self._handle.flush()
            os.fsync(self._handle.fileno())

    # -- opening ------------------------------------------------------------------------------

    def start(self) -> None:
        """Start an empty log."""
        self._handle = open(self.path, "w", encoding="utf-8", newline="")  # noqa: SIM115
        self._write([self._columns])

    def resume(self) -> None:
        """Read the log and continue it; a row that a kill cut short is dropped."""
        whole = self.path.read_bytes()
        end = whole.rfind(b"\n") + 1
        if not end:  # killed before its first line was written
            self.start()
            return
        lines = whole[:end].decode("utf-8", "replace").split("\n")[:-1]
        head = next(csv.reader(lines[:1]), None)
        before = head == [*FIXED, *self.objective.names] != self._columns
        if head != self._columns and not before:
            raise FileError(f"'{self.path}': not the log of such a run, its columns differ")
        for number, line in enumerate(lines[1:], start=2):
            try:
                (row,) = csv.reader([line])
                self._take(self._with_properties(row) if before else row)
            except (ValueError, KeyError, IndexError, csv.Error):
                raise FileError(
                    f"'{self.path}', line {number}: damaged; restore it, or start "
                    "again with --force"
                ) from None
        if before:
            self._rewrite()
            end = self.path.stat().st_size
        self._handle = open(self.path, "r+", encoding="utf-8", newline="")  # noqa: SIM115
        self._handle.truncate(end)
        self._handle.seek(end)

    def _with_properties(self, row: list[str]) -> list[str]:
        """A row of an older log, which has the desirability in place of a property with a range."""
        cells = row[len(FIXED) :]
        for i, part in enumerate(self.objective.parts):
            if part.window is not None and cells[i]:
                cells[i] = _cell(part.scorer([row[3]])[0])
        return [*row[: len(FIXED)], *cells]

    def _rewrite(self) -> None:
        """Write the log again, with the columns of today."""
        with atomic_text(self.path) as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(self._columns)
            for a in self.answers:
                asked = Asked(a.number, a.round, a.origin, a.smiles)
                status = FAILED if a.failed else ANSWERED
                rows.writerow(self._row(asked, ASKED))
                rows.writerow(self._row(a, status, a.value, a.note, a.scores))
            rows.writerows(self._row(asked, ASKED) for asked in self.pending.values())

    def _take(self, row: list[str]) -> None:
        number, round_, origin, smiles, status = row[:5]
        if status == ASKED:
            if chem.parse(smiles) is None:  # the objective is called with it
                raise ValueError(smiles)
            self.pending[smiles] = Asked(int(number), int(round_), origin, smiles)
        elif status in (ANSWERED, FAILED):
            cells = row[len(FIXED) :][: len(self.objective.parts)]
            scores = tuple(float(cell) if cell else math.nan for cell in cells)
            if len(scores) != len(self.objective.parts) or any(map(math.isinf, scores)):
                raise ValueError(smiles)
            note = row[6][1:] if row[6].startswith("'") else row[6]
            self._done([self._answer(self.pending[smiles], scores, note)])
        else:
            raise ValueError(status)

    def close(self) -> None:
        """Close the file."""
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
    """The log of a run, locked: a new one, or with ``resume`` the existing one.

    ``plan`` is JSON data that must be equal to resume. Raises OutputExistsError if a log exists,
    ConfigError if the log to resume is of another run, FileError if it is in use. ``outputs`` are
    made under the same lock: temporary files of a killed run are removed.
    """
    record = path.with_suffix(".json")
    busy = f"'{path}': another molvae optimize is using it"
    lock = exclusive_lock(path.with_name(f".{path.name}.lock"), busy)
    calls = Calls(path, objective, pareto=pareto)
    try:
        clear_unfinished(path.parent, [record.name])
        for output in outputs:
            if output.parent.is_dir():
                clear_unfinished(output.parent, [output.name])
        if resume and path.exists():
            _require_same(record, plan)
            calls.resume()
        else:
            if path.exists() and not force:
                raise OutputExistsError(
                    f"'{path}' exists: continue it with --resume, or overwrite it with --force"
                )
            path.unlink(
                missing_ok=True
            )  # first, so that a record never describes the calls of another run
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


def answered_calls(path: Path) -> list[dict[str, str]]:
    """The answered calls of a log, which may be in progress, in their order; none without one."""
    try:
        whole = path.read_bytes()
    except OSError:
        return []
    lines = whole[: whole.rfind(b"\n") + 1].decode("utf-8", "replace").splitlines()
    return [row for row in csv.DictReader(lines) if row.get("status") == ANSWERED]


def method_before(path: Path) -> str | None:
    """The method of the run whose calls are in a file, if known."""
    try:
        method = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["method"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(method) if path.exists() else None


def _require_same(record: Path, plan: Mapping[str, Any]) -> None:
    try:
        before = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"'{record}': cannot read the options of the run ({error})") from None
    if changed := differences(before, json.loads(json.dumps(plan))):
        raise ConfigError(f"--resume: options differ from those of the run: {'; '.join(changed)}")
