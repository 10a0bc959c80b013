"""Rows of a molecule file → one part of a dataset, in columns, and the rejected rows.

A worker turns one chunk of rows into one part; an interrupted ``molvae prepare`` keeps its parts,
and shards consist of parts. A part depends on its rows and the options alone.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.properties import compute, get_property
from molvae.chem.selfies import use_constraints
from molvae.config import DataConfig
from molvae.data.columns import Label, Transform, parse_transform, read_label, unquoted
from molvae.data.readers import Row, smiles_of
from molvae.data.tokenize import Clean, tokenize
from molvae.data.writers import FORMULA, harmless
from molvae.errors import FileError
from molvae.runtime.pool import Timeout

__all__ = [
    "LEFT_OUT",
    "SPLIT_WORDS",
    "ColumnNotes",
    "Part",
    "Recipe",
    "make_part",
    "no_formula",
    "rejected_part",
]

TEXT_LIMIT = 500  # characters of a rejected row that are kept
NO_SCAFFOLD = np.uint64(0)
LEFT_OUT = "left out by --where "  # how the reason begins, before the column
UNIT_LIMIT = 40  # characters of a unit that are kept
WORDS = (-1e39, 1e39)  # no and yes among the labels of a part, beyond all numbers
SIDE_BIT = 62  # of a split key made by a column: the side above a hash of the molecule
# What a split column may say.
SPLIT_WORDS = {
    "train": 0, "training": 0, "valid": 1, "validation": 1, "val": 1, "dev": 1, "test": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """All options that decide what a row becomes; equal recipes and rows give equal parts."""

    config: DataConfig
    builtin: tuple[str, ...]  # the properties RDKit computes, in dataset order
    constraints: dict[str, int]  # SELFIES bonding limits
    vocabulary: tuple[str, ...] | None = None  # if given, no other tokens are allowed
    clean: Clean = chem.clean

    @property
    def split_column(self) -> str | None:
        """The column that says train, valid or test, if the split is made by one."""
        return None if self.config.split in ("random", "scaffold") else self.config.split

    @property
    def columns(self) -> list[str]:
        """The columns to read, each once."""
        config = self.config
        wanted = [*config.properties.values(), *config.where]
        wanted += [*config.relations.values(), *config.units.values()]
        if self.split_column is not None:
            wanted.append(self.split_column)
        return list(dict.fromkeys(wanted))


@dataclass
class ColumnNotes:
    """What the cells of one user column looked like, among the molecules of a part."""

    censored: int = 0
    bad: int = 0
    words: int = 0  # yes/no words
    other: int = 0  # numbers but 0 and 1
    word: str = ""  # the first word and number, with their place, for a message
    number: str = ""
    units: int = 0  # values in a unit that cannot be converted
    unit_names: Counter[str] = field(default_factory=Counter)  # of the column of units

    def __post_init__(self) -> None:
        self.unit_names = Counter(self.unit_names)  # of plain data

    def add(self, more: ColumnNotes) -> None:
        """Take in the notes of the rows that follow."""
        self.censored += more.censored
        self.bad += more.bad
        self.words += more.words
        self.other += more.other
        self.word = self.word or more.word
        self.number = self.number or more.number
        self.units += more.units
        self.unit_names.update(more.unit_names)


@dataclass
class Part:
    """n molecules, equal ones included, in the order of their rows."""

    rows: int
    reasons: dict[str, int]
    rejects: str  # lines of rejects.csv
    symbols: list[str]  # what ids stand for in this part
    ids: NDArray[np.uint16]  # concatenated
    lengths: NDArray[np.int32]  # (n,) ids of each molecule
    keys: NDArray[np.uint64]  # (n, 2) hash of the canonical SMILES
    split_keys: NDArray[np.uint64]  # (n,) hash that decides the split, or a side and a hash
    values: NDArray[np.float32]  # (n, built-in properties)
    labels: NDArray[np.float64]  # (n, user columns), NaN = missing
    lines: bytes  # lines of molecules.csv
    ends: NDArray[np.int64]  # (n,) where each line ends
    notes: list[ColumnNotes] = field(default_factory=list)
    fault: str = ""  # what stops the whole preparation
    remarks: dict[str, int] = field(default_factory=dict)  # how many molecules, by their notes

    def __len__(self) -> int:
        return len(self.lengths)

    def save(self, path: Path) -> None:
        """Write the part under its name only when it is complete."""
        header = {
            "rows": self.rows,
            "reasons": self.reasons,
            "rejects": self.rejects,
            "symbols": self.symbols,
            "remarks": self.remarks,
            "notes": [vars(note) for note in self.notes],
        }
        temporary = path.with_suffix(".tmp")
        with open(temporary, "wb") as handle:
            np.savez(
                handle,
                header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
                lines=np.frombuffer(self.lines, dtype=np.uint8),
                **{name: getattr(self, name) for name in _ARRAYS},
            )
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: Path) -> Part:
        """Read a part again; a damaged file is an error."""
        try:
            with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as data:
                header = json.loads(data["header"].tobytes())
                notes = [ColumnNotes(**note) for note in header.pop("notes")]
                arrays = {name: data[name] for name in _ARRAYS}
                return cls(**header, **arrays, lines=data["lines"].tobytes(), notes=notes)
        except Exception as error:  # a damaged file can fail in any way
            raise FileError(f"'{path}': damaged part of a preparation ({error})") from None

    @classmethod
    def join(cls, parts: Sequence[Part]) -> Part:
        """Several parts as one, as if their rows had been one chunk."""
        symbols: dict[str, int] = {}
        renumbered = []
        for part in parts:
            known = [symbols.setdefault(symbol, len(symbols)) for symbol in part.symbols]
            renumbered.append(np.asarray(known, dtype=np.uint16)[part.ids])
        reasons: Counter[str] = Counter()
        remarks: Counter[str] = Counter()
        for part in parts:
            reasons.update(part.reasons)
            remarks.update(part.remarks)
        starts = np.cumsum([0, *(len(part.lines) for part in parts)])
        stacked = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("lengths", "keys", "split_keys", "values", "labels")
        }
        return cls(
            rows=sum(part.rows for part in parts),
            reasons=dict(reasons),
            rejects="".join(part.rejects for part in parts),
            symbols=list(symbols),
            ids=np.concatenate(renumbered),
            lines=b"".join(part.lines for part in parts),
            ends=np.concatenate(
                [part.ends + start for part, start in zip(parts, starts[:-1], strict=True)]
            ),
            notes=[_together(notes) for notes in zip(*(part.notes for part in parts), strict=True)],
            fault=next((part.fault for part in parts if part.fault), ""),
            remarks=dict(remarks),
            **stacked,
        )


_ARRAYS = ("ids", "lengths", "keys", "split_keys", "values", "labels", "ends")


def _together(notes: Iterable[ColumnNotes]) -> ColumnNotes:
    total = ColumnNotes()
    for note in notes:
        total.add(note)
    return total


def make_part(rows: Sequence[Row], recipe: Recipe, *, guarded: bool = False) -> Part:
    """What the rows become; runs in a worker process, which is ended when a molecule hangs.

    ``guarded`` says that this process may be ended so.
    """
    maker = _Maker(recipe)
    for name in recipe.builtin:
        get_property(name)  # a plugin package is imported before the clock starts
    limit = recipe.config.timeout if guarded else None
    with Timeout(limit) as timeout, use_constraints(recipe.constraints):
        for row in rows:
            timeout.restart()
            maker.add(row)
            if maker.fault:
                break
    return maker.part()


def rejected_part(row: Row, recipe: Recipe, reason: str) -> Part:
    """The part of a single row that is rejected unread."""
    maker = _Maker(recipe)
    maker.reject(row, reason)
    return maker.part()


class _Maker:
    """Turns rows into the columns of a part, one after the other."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.config = recipe, recipe.config
        self.known = None if recipe.vocabulary is None else frozenset(recipe.vocabulary)
        self.transforms = [
            parse_transform(self.config.transforms[name])
            if name in self.config.transforms
            else Transform()
            for name in self.config.properties
        ]
        self.wanted = {
            column: {unquoted(value).casefold() for value in values}
            for column, values in self.config.where.items()
        }
        self.rows = 0
        self.fault = ""
        self.remarks: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.notes = [ColumnNotes() for _ in self.config.properties]
        self.symbols: dict[str, int] = {}
        self.ids: list[int] = []
        self.lengths: list[int] = []
        self.keys: list[bytes] = []
        self.split_keys: list[int] = []
        self.values: list[NDArray[np.float64]] = []
        self.labels: list[list[float]] = []
        self.ends: list[int] = []
        self._rejects, self._lines = io.StringIO(), io.StringIO()
        self._reject_writer = csv.writer(self._rejects, lineterminator="\n")
        self._line_writer = csv.writer(self._lines, lineterminator="\n")
        self._bytes = bytearray()

    def reject(self, row: Row, reason: str) -> None:
        self.rows += 1
        self.reasons[reason] += 1
        text = no_formula(_one_kind_of_line_end(row.text[:TEXT_LIMIT]))
        self._reject_writer.writerow([harmless(row.file), row.number, text, harmless(reason)])

    def add(self, row: Row) -> None:
        """Cheap refusals first, then all that needs the molecule, while it is parsed."""
        if row.fault:
            return self.reject(row, row.fault)
        if (column := self._unwanted(row)) is not None:
            return self.reject(row, f"{LEFT_OUT}{column}")
        text = smiles_of(row)
        if text is None:
            reason, drawn = chem.block_fault(row.block)
            return self.reject(row if row.name else row._replace(name=drawn), reason)
        tokenized = tokenize(
            text,
            self.config.cleaning,
            known=self.known,
            max_tokens=self.config.max_tokens,
            clean=self.recipe.clean,
        )
        if isinstance(tokenized, chem.Rejected):
            return self.reject(row, tokenized.reason)
        labels = self._read_labels(row)
        if labels is not None:
            self._keep(row, *tokenized, labels)
        return None

    def _unwanted(self, row: Row) -> str | None:
        """The column that holds no value asked for; None if all do."""
        for column, values in self.wanted.items():
            if unquoted(row.labels[column]).casefold() not in values:
                return column
        return None

    def _keep(
        self, row: Row, cleaned: chem.Cleaned, symbols: list[str], labels: list[float]
    ) -> None:
        self.rows += 1
        if cleaned.note:
            self.remarks[cleaned.note] += 1
        numbers = self.symbols
        self.ids += [numbers.setdefault(symbol, len(numbers)) for symbol in symbols]
        self.lengths.append(len(symbols))
        self.keys.append(_digest(cleaned.smiles))
        self.split_keys.append(self._split_key(row, cleaned))
        self.values.append(compute(cleaned.mol, self.recipe.builtin))
        self.labels.append(labels)
        self._line_writer.writerow([cleaned.smiles, harmless(_one_kind_of_line_end(row.name))])
        self._bytes += self._lines.getvalue().encode()
        self._lines.seek(0)
        self._lines.truncate()
        self.ends.append(len(self._bytes))

    def _split_key(self, row: Row, cleaned: chem.Cleaned) -> int:
        column = self.recipe.split_column
        if column is not None:
            side = SPLIT_WORDS[row.labels[column].lower()]
            return side << SIDE_BIT | _hash("split:" + cleaned.smiles) >> (64 - SIDE_BIT)
        if self.config.split == "random":
            return _hash("split:" + cleaned.smiles)
        core = chem.scaffold(cleaned.mol)
        return _hash("scaffold:" + core) or 1 if core else int(NO_SCAFFOLD)

    def _read_labels(self, row: Row) -> list[float] | None:
        """The values of the user's columns; None if they stop the row, or all."""
        column = self.recipe.split_column
        if column is not None and row.labels[column].lower() not in SPLIT_WORDS:
            self.fault = (
                f"'{row.file}' row {row.number}: split column '{column}' holds "
                f"'{row.labels[column]}', expected train, valid or test"
            )
            return None
        values = []
        pending = []
        for name, transform, note in zip(
            self.config.properties, self.transforms, self.notes, strict=True
        ):
            text = row.labels[self.config.properties[name]]
            units = self.config.units.get(name)
            relations = self.config.relations.get(name)
            unit = None if units is None else row.labels[units]
            label = read_label(
                text,
                transform,
                limit=self.config.censored == "limit",
                relation="" if relations is None else row.labels[relations],
                unit=unit,
            )
            if label.kind == "bad" and self.config.bad_labels == "error":
                self.fault = self._bad_label(row, name, text)
                return None
            if label.kind == "bad" and self.config.bad_labels == "reject":
                self.reject(row, f"column {name} holds no value")
                return None
            value = label.value
            if label.kind == "word":
                value = WORDS[int(value)]
            values.append(value)
            pending.append((note, label, text, unit))
        for note, label, text, unit in pending:
            _note(note, label, f"'{text}' ('{row.file}' row {row.number})", unit)
        return values

    def _bad_label(self, row: Row, name: str, text: str) -> str:
        transform = self.config.transforms.get(name)
        hint = "; write the decimal point as '.', and numbers without ','" if "," in text else ""
        if not transform and re.search(r"\d\s*[a-zµμ%]", text, re.IGNORECASE):
            hint = "; a unit is read with --transform, such as neglog10:nM"
        positive = f" that {transform} can take" if transform else ""
        return (
            f"'{row.file}' row {row.number}: column '{self.config.properties[name]}' holds "
            f"'{text[:80]}', expected a number{positive}, "
            f"{'' if transform else 'yes/no, '}or nothing{hint}; fix the file, or add "
            "--bad-labels missing or --bad-labels reject"
        )

    def part(self) -> Part:
        n = len(self.lengths)
        return Part(
            rows=self.rows,
            reasons=dict(self.reasons),
            rejects=self._rejects.getvalue(),
            symbols=list(self.symbols),
            ids=np.asarray(self.ids, dtype=np.uint16),
            lengths=np.asarray(self.lengths, dtype=np.int32),
            keys=np.frombuffer(b"".join(self.keys), dtype="<u8").reshape(n, 2),
            split_keys=np.asarray(self.split_keys, dtype=np.uint64),
            values=np.asarray(self.values, dtype=np.float32).reshape(n, len(self.recipe.builtin)),
            labels=np.asarray(self.labels, dtype=np.float64).reshape(n, len(self.notes)),
            lines=bytes(self._bytes),
            ends=np.asarray(self.ends, dtype=np.int64),
            notes=self.notes,
            fault=self.fault,
            remarks=dict(self.remarks),
        )


def no_formula(text: str) -> str:
    """Text of an unknown file such that no spreadsheet evaluates it."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _one_kind_of_line_end(text: str) -> str:
    """Python's csv module quotes a line feed, but not a carriage return by itself."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _note(note: ColumnNotes, label: Label, where: str, unit: str | None) -> None:
    if label.kind == "censored":
        note.censored += 1
    elif label.kind == "bad":
        note.bad += 1
    elif label.kind == "unit":
        note.units += 1
    if unit is not None and label.kind in ("number", "unit"):
        note.unit_names[unquoted(unit)[:UNIT_LIMIT]] += 1
    if label.kind == "word":
        note.words += 1
        note.word = note.word or where
    elif label.value not in (0.0, 1.0) and label.value == label.value:
        note.other += 1
        note.number = note.number or where


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _hash(text: str) -> int:
    return int.from_bytes(_digest(text)[:8], "little")
