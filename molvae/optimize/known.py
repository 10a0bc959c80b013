"""Molecules with scores from files, which cost no calls: an assay, or the calls of another search.

Scores are on the scale of the objective, before its desirability. Molecules are cleaned as the
model's training data were; equal ones are merged, and their scores averaged.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from molvae import chem
from molvae.chem.selfies import from_selfies, selfies_of, use_constraints
from molvae.config import CleaningConfig
from molvae.data.columns import Transform, read_label
from molvae.data.readers import Row, columns_present, read_rows, smiles_of
from molvae.data.tokenize import tokenize
from molvae.errors import ConfigError, InputError, suggest
from molvae.model.checkpoint import SavedModel
from molvae.model.given import cleaning_of
from molvae.objectives import ColumnScorer, Objective, Part, TaskScorer
from molvae.optimize.archive import POOL, Answer, Archive
from molvae.optimize.calls import ASKED, FAILED, FIXED
from molvae.optimize.gate import Gate
from molvae.runtime.files import fingerprint
from molvae.runtime.pool import WorkerPool
from molvae.runtime.progress import say

__all__ = ["Known", "KnownFiles", "parse_columns"]

NAMED = 5  # rows left out that a note names
BEFORE = -1  # the round of what was known before the first one
_LABEL_KINDS = {
    "missing": "no value of",
    "censored": "a censored value of",
    "unit": "another unit of",
    "bad": "no number as",
}


def parse_columns(texts: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """``NAME=COLUMN`` texts, or a bare ``COLUMN``, by the objective's column ``names``."""
    columns: dict[str, str] = {}
    for text in texts:
        name, equals, column = text.partition("=")
        if not equals or name not in names:
            if len(names) > 1:
                raise ConfigError(
                    f"known column '{text}': expected NAME=COLUMN, where NAME is one of "
                    f"{', '.join(names)}"
                )
            name, column = names[0], text
        if name in columns:
            raise ConfigError(f"known column '{text}': '{name}' has the column '{columns[name]}'")
        columns[name] = column
    return columns


@dataclass
class Known:
    """Distinct molecules with scores; ``texts`` are the other SMILES under which one is known."""

    answers: list[Answer]
    texts: dict[str, Answer] = field(default_factory=dict)

    def seed(self, archive: Archive, gate: Gate, constraints: Mapping[str, int]) -> None:
        """Add all to the archive; the best that meet the gate's constraints are its first pool.

        ``constraints`` are the SELFIES bonding limits of the model.
        """
        ordered = self.answers if archive.pareto else archive.rank(self.answers)
        limits, parents, checked = tuple(constraints.items()), list[Answer](), 0
        for first in range(0, len(ordered), POOL):
            if len(parents) >= POOL and not archive.pareto:
                break
            chunk = ordered[first : first + POOL]
            passed = gate([selfies_of(answer.smiles, limits) for answer in chunk])
            checked += len(chunk)
            parents += [a for a, smiles in zip(chunk, passed, strict=True) if smiles is not None]
        archive.seed({**self.texts, **{a.smiles: a for a in self.answers}}, parents)
        if outside := checked - len(parents):
            reasons = ", ".join(f"{n:,} × {why}" for why, n in gate.refused.most_common())
            say(
                f"note: {outside:,} of {checked:,} known molecules may not be scored ({reasons}): "
                "the search does not start from them"
            )


class _Scored(NamedTuple):
    """A cleaned molecule, its scores that are computed here, and its other SMILES."""

    smiles: str
    scores: tuple[float, ...] = ()
    others: tuple[str, ...] = ()
    reason: str = ""  # why it cannot be used


@dataclass(frozen=True)
class _Reader:
    """SMILES → molecules, in worker processes: cleaned, and scored by what needs no call."""

    cleaning: CleaningConfig
    constraints: dict[str, int]
    scorers: tuple[TaskScorer, ...]

    def __call__(self, texts: Sequence[str]) -> list[_Scored]:
        """One for each text."""
        with use_constraints(self.constraints):
            return [self._read(text) for text in texts]

    def _read(self, text: str) -> _Scored:
        tokenized = tokenize(text, self.cleaning)
        if isinstance(tokenized, chem.Rejected):
            return _Scored("", reason=tokenized.reason)
        cleaned, symbols = tokenized
        # A search writes molecules as their SELFIES say; an earlier one may have kept a charge.
        others = {chem.canonical_smiles(from_selfies("".join(symbols)))}
        if "|" not in text:  # the SMILES of a racemate is that of one enantiomer
            others.add(chem.canonical_smiles(text))
        scores = tuple(scorer.of(cleaned.mol) for scorer in self.scorers)
        aliases = tuple(sorted(filter(None, others - {cleaned.smiles})))
        return _Scored(cleaned.smiles, scores, aliases)


class KnownFiles:
    """Files of molecules with scores, and where the score of each part of the objective is.

    A part's score is in the column with its name, or in the one that ``columns`` gives. Without
    such a column, built-in properties, benchmark tasks and measured columns of the model are
    computed.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        objective: Objective,
        *,
        columns: Mapping[str, str] | None = None,
        smiles_column: str | None = None,
    ) -> None:
        self.paths, self.objective = [Path(path) for path in paths], objective
        self.smiles_column = smiles_column
        columns = dict(columns or {})
        names = objective.names
        for name in columns:
            if name not in names:
                raise ConfigError(f"known column of '{name}': {suggest(name, names)}")
        if columns and not paths:
            raise ConfigError("known columns need a file of known molecules: --known FILE")
        self.logs = [_is_log(path, smiles_column) for path in self.paths]
        self.columns = [
            self._columns_of(path, columns, log=log)
            for path, log in zip(self.paths, self.logs, strict=True)
        ]

    def _columns_of(self, path: Path, given: Mapping[str, str], *, log: bool) -> dict[str, str]:
        """The file's column for each part's name; without one the part is computed."""
        result = {}
        for name, part in zip(self.objective.names, self.objective.parts, strict=True):
            column = given.get(name, name)
            # Logs of older versions have the desirability under the name of a property.
            needed = [f"{name}_score"] if log and part.window is not None else []
            present = columns_present(path, [column, *needed], smiles_column=self.smiles_column)
            if column in present and set(needed) <= set(present):
                result[name] = column
            elif name in given or not _is_computed(part):
                header = _header(path, self.smiles_column)
                raise ConfigError(
                    f"'{path}': no column '{column}' with scores of the objective '{part.text}': "
                    f"{suggest(column, header)} Name it with --known-column {name}=COLUMN"
                )
        return result

    def record(self) -> list[dict[str, Any]]:
        """Contents of the files and their columns, which a resumed search must have again."""
        return [
            {"sha256": fingerprint(path)["sha256"], "columns": columns}
            for path, columns in zip(self.paths, self.columns, strict=True)
        ]

    def read(self, model: SavedModel, *, pareto: bool, workers: int | None = None) -> Known:
        """The molecules; a note counts and names rows that cannot be used.

        Raises:
            InputError: no row can be used.
        """
        rows = [_Molecules(self, i) for i in range(len(self.paths))]
        scores: dict[str, list[tuple[float, ...]]] = {}
        others: dict[str, str] = {}
        with WorkerPool(workers) as pool:
            for molecules in rows:
                for molecule in molecules.read(model, pool):
                    scores.setdefault(molecule.smiles, []).append(molecule.scores)
                    others |= dict.fromkeys(molecule.others, molecule.smiles)
        answers = {
            smiles: self._answer(i - len(scores), smiles, found, pareto)
            for i, (smiles, found) in enumerate(scores.items())
        }
        for molecules in rows:
            molecules.report()
        count = sum(map(len, scores.values()))
        if not count:
            raise InputError(f"known: no row of {', '.join(map(str, self.paths))} can be used")
        merged = f"; rows merged into equal molecules: {count - len(answers):,}"
        say(f"known: {len(answers):,} molecules{merged if count > len(answers) else ''}")
        texts = {text: answers[smiles] for text, smiles in others.items() if text not in answers}
        return Known([*answers.values()], texts)

    def _answer(
        self, number: int, smiles: str, rows: Sequence[tuple[float, ...]], pareto: bool
    ) -> Answer:
        """A molecule with the means of its scores, numbered before the first call."""
        scores = tuple(math.fsum(column) / len(rows) for column in zip(*rows, strict=True))
        worth = self.objective.worth(scores)
        value = math.nan if pareto else self.objective.value(scores)
        return Answer(number, BEFORE, "known", smiles, scores, worth, value)


class _Molecules:
    """The rows of one file, and what became of them."""

    def __init__(self, files: KnownFiles, number: int) -> None:
        self.path, self.log = files.paths[number], files.logs[number]
        self.columns, self.smiles_column = files.columns[number], files.smiles_column
        self.pairs = list(zip(files.objective.names, files.objective.parts, strict=True))
        self.rows = 0
        self.bad: list[tuple[Row, str]] = []

    def read(self, model: SavedModel, pool: WorkerPool) -> Iterator[_Scored]:
        """The molecules that can be used, with all scores."""
        computed = [(n, p.scorer) for n, p in self.pairs if n not in self.columns]
        tasks = {n: scorer for n, scorer in computed if isinstance(scorer, TaskScorer)}
        asked = {n: scorer for n, scorer in computed if isinstance(scorer, ColumnScorer)}
        reader = _Reader(cleaning_of(model), model.constraints, tuple(tasks.values()))
        rows, given = self._labelled()
        texts = [smiles_of(row) or "" for row in rows]
        place = 0
        for chunk, molecules in pool.map_texts("known", reader, texts, len(texts)):
            smiles = [molecule.smiles for molecule in molecules]
            predicted = {name: scorer(smiles) for name, scorer in asked.items()}
            for i, molecule in enumerate(molecules):
                row, scores = rows[place + i], dict(given[place + i])
                if molecule.reason:
                    self.bad.append((row, molecule.reason))
                    continue
                scores |= dict(zip(tasks, molecule.scores, strict=True))
                scores |= {name: column[i] for name, column in predicted.items()}
                ordered = tuple(scores[name] for name, _ in self.pairs)
                if any(map(math.isnan, ordered)):
                    self.bad.append((row, "a score cannot be computed"))
                    continue
                yield molecule._replace(scores=ordered)
            place += len(chunk)

    def _labelled(self) -> tuple[list[Row], list[dict[str, float]]]:
        """Rows that have all scores that the file must give, and these scores."""
        rows, given = list[Row](), list[dict[str, float]]()
        more = ["status"] if self.log else []
        wanted = list(dict.fromkeys([*self.columns.values(), *more]))
        with read_rows(self.path, smiles_column=self.smiles_column, columns=wanted) as records:
            for row in records:
                if self.log and row.labels["status"] == ASKED:
                    continue  # the first of the two rows of a call
                self.rows += 1
                scores, reason = self._scores(row)
                if reason:
                    self.bad.append((row, reason))
                else:
                    rows.append(row)
                    given.append(scores)
        return rows, given

    def _scores(self, row: Row) -> tuple[dict[str, float], str]:
        if row.fault:
            return {}, row.fault
        if self.log and row.labels["status"] == FAILED:
            return {}, "its call failed"
        scores = {}
        for name, column in self.columns.items():
            label = read_label(row.labels.get(column, ""), Transform())
            if label.kind in _LABEL_KINDS:
                return {}, f"{_LABEL_KINDS[label.kind]} '{column}'"
            scores[name] = label.value
        return scores, ""

    def report(self) -> None:
        """Say where the scores come from, and which rows are left out."""
        where = ", ".join(
            f"{name} from column '{self.columns[name]}'"
            if name in self.columns
            else f"{name} computed"
            for name, _ in self.pairs
        )
        say(f"known: '{self.path}': {where}")
        for name, part in self.pairs:
            if name in self.columns and isinstance(part.scorer, ColumnScorer):
                say(f"note: known: {name} is measured there; {part.scorer.basis()}")
        if self.bad:
            reasons = Counter(reason for _, reason in self.bad).most_common()
            counts = ", ".join(f"{count:,} × {reason}" for reason, count in reasons)
            first = sorted(self.bad, key=lambda pair: pair[0].number)[:NAMED]
            shown = ", ".join(f"row {row.number} '{row.text[:40]}'" for row, _ in first)
            more = f" and {len(self.bad) - NAMED:,} more" if len(self.bad) > NAMED else ""
            say(
                f"note: known: {len(self.bad):,} of {self.rows:,} rows of '{self.path}' are left "
                f"out ({counts}): {shown}{more}"
            )


def _is_computed(part: Part) -> bool:
    """Whether the score of a part costs no call."""
    return isinstance(part.scorer, TaskScorer | ColumnScorer)


def _header(path: Path, smiles_column: str | None) -> tuple[str, ...]:
    with read_rows(path, smiles_column=smiles_column) as rows:
        return rows.header


def _is_log(path: Path, smiles_column: str | None) -> bool:
    """Whether a file is the log of calls of a search."""
    return set(FIXED) <= set(_header(path, smiles_column))
