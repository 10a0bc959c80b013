"""Parts → a dataset folder: equal molecules merged, splits made, arrays written.

Parts are read one after the other, three times; memory does not grow with the tokens, properties
and texts of the molecules, only by some bytes per row for hashes and splits.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from molvae.chem.vocabulary import Vocabulary
from molvae.data.columns import parse_transform, unquoted
from molvae.data.dataset import content_hash
from molvae.data.manifest import SCHEMA, SPLITS
from molvae.data.prepare.groups import Groups, numbers
from molvae.data.prepare.parts import LEFT_OUT, ColumnNotes, Part, Recipe, no_formula
from molvae.data.prepare.split import split_by_keys
from molvae.data.tokenize import UNKNOWN_TOKEN
from molvae.data.writers import format_cell
from molvae.errors import FileError, PropertyError
from molvae.runtime.device import versions
from molvae.runtime.files import atomic_binary, write_json

__all__ = ["DISAGREEMENTS", "ResumableError", "assemble"]


class ResumableError(FileError):
    """The options do not allow what the file holds; ``--resume`` with other ones does."""


DISAGREEMENTS = "disagreements.csv"
BUCKET = 1_000_000  # hashes compared at once
BLOCK = 1_000_000  # rows of an array read back at once


def assemble(
    parts: Sequence[Path],
    folder: Path,
    recipe: Recipe,
    sources: list[dict[str, Any]],
    values_of: Callable[[str], Iterable[str]] | None = None,
) -> None:
    """Write the files of a dataset into an existing, empty folder.

    ``values_of`` gives cells of a column of the input, for the error where --where leaves out all.

    Raises:
        ResumableError: another option is needed, with which the parts can be used.
        InputError: the parts cannot be used.
    """
    with open(folder / "rejects.csv", "w", encoding="utf-8", newline="") as rejects:
        rejects.write("file,row,text,reason\n")
        survey = _survey(parts, folder, rejects)
    _check_tokens(survey, recipe)
    kept, equals = _first_of_equals(folder / ".keys", survey.molecules)
    (folder / ".keys").unlink()
    total = int(kept.sum())
    if total < 2:
        more = len(sources) - 1
        raise FileError(
            f"'{sources[0]['file']}'{f' and {more} more' if more else ''}: {survey.rows} rows gave "
            f"{total} usable molecules, expected at least 2"
            + "".join(f"; {count} × {reason}" for reason, count in survey.reasons.most_common(5))
            + _example(survey.example, recipe)
            + _values_left_out(survey, values_of)
        )
    kinds = _kinds(survey, recipe)
    groups = Groups(equals, kinds, len(recipe.config.properties))
    split_keys = _split_keys(parts, kept, groups)
    split, drawn = split_by_keys(split_keys, recipe)
    vocabulary = Vocabulary(recipe.vocabulary) if recipe.vocabulary else None
    vocabulary = vocabulary or Vocabulary.of_symbols(survey.symbols)
    longest = _write_molecules(parts, folder, recipe, vocabulary, kept, groups)
    names = [*recipe.builtin, *recipe.config.properties]
    statistics = _statistics(folder, names, total, recipe, survey, kinds, groups)
    _list_disagreements(statistics, folder, kept, total)
    np.save(folder / "split.npy", split)
    vocab = {"schema": SCHEMA, "tokens": vocabulary.tokens, "constraints": recipe.constraints}
    write_json(folder / "vocab.json", vocab)
    write_json(
        folder / "manifest.json",
        {
            "schema": SCHEMA,
            "rows_read": survey.rows,
            "kept": total,
            "merged": survey.molecules - total,
            "rejected": sum(survey.reasons.values()),
            "reasons": dict(survey.reasons.most_common()),
            "split": {name: int((split == i).sum()) for i, name in enumerate(SPLITS)},
            "split_conflicts": groups.split_conflicts,
            "split_drawn": drawn,
            "remarks": dict(survey.remarks.most_common()),
            "longest": longest,
            "properties": statistics,
            "content_sha256": content_hash(folder),
            "options": recipe.config.model_dump(mode="json"),
            "sources": sources,
            "versions": versions(),
        },
    )


# -- first pass: counts and hashes --------------------------------------------------------------


@dataclass
class _Survey:
    """Sums over all parts."""

    rows: int = 0
    molecules: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    symbols: set[str] = field(default_factory=set)
    example: list[str] = field(default_factory=list)  # the first row of the rejects
    notes: list[ColumnNotes] = field(default_factory=list)


def _survey(parts: Sequence[Path], folder: Path, rejects: IO[str]) -> _Survey:
    survey = _Survey()
    with open(folder / ".keys", "wb") as keys:
        for part in map(Part.load, parts):
            survey.rows += part.rows
            survey.molecules += len(part)
            survey.reasons.update(part.reasons)
            survey.remarks.update(part.remarks)
            survey.symbols.update(part.symbols)
            survey.notes = survey.notes or [ColumnNotes() for _ in part.notes]
            for total, note in zip(survey.notes, part.notes, strict=True):
                total.add(note)
            rejects.write(part.rejects)
            survey.example = survey.example or next(csv.reader(io.StringIO(part.rejects)), [])
            keys.write(part.keys.tobytes())
    return survey


def _example(rejected: Sequence[str], recipe: Recipe) -> str:
    """A rejected row, for the error: its text shows at once if the column is wrong."""
    if not rejected:
        return ""
    _, row, text, _ = rejected
    column = recipe.config.smiles_column
    where = "" if column is None else f" of column '{column}'"
    return f" (row {row}{where}: '{text[:60]}')"


def _values_left_out(survey: _Survey, values_of: Callable[[str], Iterable[str]] | None) -> str:
    """The most frequent values of the columns of --where that left out rows, for the error."""
    if values_of is None:
        return ""
    columns = [reason.removeprefix(LEFT_OUT) for reason in survey.reasons if LEFT_OUT in reason]
    text = ""
    for column in columns:
        counts = Counter(values_of(column)).most_common()
        listed = ", ".join(f"'{unquoted(cell)}' in {count:,}" for cell, count in counts[:5])
        text += (
            f"; column '{column}' holds {listed}{' …' if len(counts) > 5 else ''} of the first rows"
        )
    return text


def _check_tokens(survey: _Survey, recipe: Recipe) -> None:
    unknown = {
        reason.removeprefix(UNKNOWN_TOKEN): count
        for reason, count in survey.reasons.most_common()
        if reason.startswith(UNKNOWN_TOKEN)
    }
    if not unknown or recipe.config.unknown_tokens == "reject":
        return
    listing = ", ".join(f"{token} in {count:,}" for token, count in list(unknown.items())[:20])
    more = f" and {len(unknown) - 20} more tokens" if len(unknown) > 20 else ""
    raise ResumableError(
        f"{sum(unknown.values()):,} molecules hold tokens that the given vocabulary of "
        f"{len(recipe.vocabulary or ())} lacks: {listing}{more} molecules; leave these molecules "
        "out with --unknown-tokens reject, or train a new model"
    )


def _kinds(survey: _Survey, recipe: Recipe) -> list[str]:
    """``yesno`` or ``number`` of each user column, from all its cells."""
    kinds = []
    for (name, column), note in zip(recipe.config.properties.items(), survey.notes, strict=True):
        if note.words and note.other:
            if recipe.config.bad_labels != "missing":
                raise ResumableError(
                    f"column '{column}' holds both yes/no words, as {note.word}, and numbers, as "
                    f"{note.number}; make it one or the other, or add --bad-labels missing, which "
                    f"treats {note.words:,} words as missing"
                )
            note.bad += note.words
        transform = recipe.config.transforms.get(name)
        if len(note.unit_names) > 1 and not (transform and parse_transform(transform).molar):
            listed = ", ".join(f"'{u}' in {n:,}" for u, n in note.unit_names.most_common(5))
            unit = recipe.config.units[name]
            raise FileError(
                f"column '{column}' is in several units: {listed} rows; convert them with "
                f"--transform, such as neglog10:nM, or keep one with --where '{unit}=UNIT'"
            )
        # A logarithm of 1 or 10 is a measurement all the same.
        transformed = name in recipe.config.transforms
        kinds.append("number" if note.other or transformed else "yesno")
    return kinds


def _first_of_equals(path: Path, count: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(which molecules are the first of their kind, (m, 2) every later one and its first).

    Hashes of 128 bits are distributed over buckets, which are sorted one after the other.
    """
    kept = np.ones(count, dtype=np.bool_)
    later = [np.empty((0, 2), dtype=np.int64)]
    for bucket in _buckets(path, 1 + count // BUCKET):
        items = np.fromfile(bucket, dtype=_KEYED)
        bucket.unlink()
        items = items[np.lexsort((items["row"], items["key"][:, 1], items["key"][:, 0]))]
        keys, rows = items["key"], items["row"]
        new = np.ones(len(rows), dtype=np.bool_)
        new[1:] = (keys[1:] != keys[:-1]).any(axis=1)
        first = rows[new][np.cumsum(new) - 1]
        kept[rows[~new]] = False
        later.append(np.stack([rows[~new], first[~new]], axis=1))
    equals = np.concatenate(later)
    return kept, equals[np.argsort(equals[:, 0])]


_KEYED = np.dtype([("key", "<u8", 2), ("row", "<i8")])


def _buckets(path: Path, count: int) -> list[Path]:
    """Files that hold the hashes of a file, each with its row; equal hashes are in the same one."""
    buckets = [path.with_name(f"{path.name}.{bucket}") for bucket in range(count)]
    for bucket in buckets:
        bucket.touch()
    start = 0
    for keys in _blocks(path, np.dtype(("<u8", 2)), 0):
        items = np.empty(len(keys), dtype=_KEYED)
        items["key"], items["row"] = keys, np.arange(start, start + len(keys))
        start += len(keys)
        places = keys[:, 0] % np.uint64(count)
        for bucket in np.unique(places).tolist():
            with open(buckets[bucket], "ab") as file:
                file.write(items[places == bucket].tobytes())
    return buckets


# -- second pass: labels and splits of equal molecules ------------------------------------------


def _split_keys(
    parts: Sequence[Path], kept: NDArray[np.bool_], groups: Groups
) -> NDArray[np.uint64]:
    """Split keys of the kept molecules; fills the groups on the way."""
    keys = np.empty(int(kept.sum()), dtype=np.uint64)
    start = filled = 0
    for part in map(Part.load, parts):
        groups.add(part, start)
        mine = part.split_keys[kept[start : start + len(part)]]
        keys[filled : filled + len(mine)] = mine
        start, filled = start + len(part), filled + len(mine)
    if len(groups.first):  # where a split column disagrees, the molecule stays held out
        keys[np.cumsum(kept)[groups.first] - 1] = groups.split_high
    return keys


# -- third pass: the arrays ---------------------------------------------------------------------


def _write_molecules(
    parts: Sequence[Path],
    folder: Path,
    recipe: Recipe,
    vocabulary: Vocabulary,
    kept: NDArray[np.bool_],
    groups: Groups,
) -> int:
    """Write tokens, offsets, properties and texts of the kept molecules; the longest's length."""
    labels = groups.labels()
    total = int(kept.sum())
    width = len(recipe.builtin) + len(recipe.config.properties)
    start = offset = longest = 0
    with (
        open(folder / "tokens.bin", "wb") as ids_file,
        open(folder / "offsets.npy", "wb") as offsets_file,
        open(folder / "properties.npy", "wb") as values_file,
        atomic_binary(folder / "molecules.csv.gz") as lines_file,
    ):
        _npy_header(offsets_file, (total + 1,), "<i8")
        _npy_header(values_file, (total, width), "<f4")
        offsets_file.write(np.zeros(1, dtype="<i8").tobytes())
        lines_file.write(b"smiles,id\n")
        for part in map(Part.load, parts):
            mine = kept[start : start + len(part)]
            at, group = groups.members(start, len(part))
            part.labels = numbers(part.labels, groups.yesno)
            part.labels[at] = labels[group]
            known = np.concatenate([part.values, part.labels.astype(np.float32)], axis=1)
            values_file.write(known[mine].astype("<f4").tobytes())
            table = vocabulary.encode_symbols(part.symbols).astype(vocabulary.dtype)
            ids_file.write(table[part.ids[np.repeat(mine, part.lengths)]].tobytes())
            lengths = part.lengths[mine].astype(np.int64)
            offsets_file.write((offset + np.cumsum(lengths)).astype("<i8").tobytes())
            offset += int(lengths.sum())
            longest = max(longest, int(lengths.max(initial=0)))
            for line in _lines(part, mine):
                lines_file.write(line)
            start += len(part)
    return longest


def _lines(part: Part, mine: NDArray[np.bool_]) -> Iterator[bytes]:
    if mine.all():
        yield part.lines
        return
    starts = np.concatenate([[0], part.ends[:-1]])
    for a, b in zip(starts[mine], part.ends[mine], strict=True):
        yield part.lines[a:b]


def _npy_header(handle: IO[bytes], shape: tuple[int, ...], dtype: str) -> None:
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(handle, header)


def _blocks(path: Path, dtype: np.dtype[Any], skip: int) -> Iterator[NDArray[Any]]:
    """The items of a file after ``skip`` bytes, some at a time."""
    with open(path, "rb") as handle:
        handle.seek(skip)
        while data := handle.read(BLOCK * dtype.itemsize):
            yield np.frombuffer(data, dtype=dtype.base).reshape(-1, *dtype.shape)


def _statistics(
    folder: Path,
    names: list[str],
    total: int,
    recipe: Recipe,
    survey: _Survey,
    kinds: list[str],
    groups: Groups,
) -> dict[str, Any]:
    """Per property, over the molecules where it is known: moments in two passes, and counts."""
    row = np.dtype(("<f4", len(names)))
    path = folder / "properties.npy"
    skip = path.stat().st_size - total * row.itemsize
    known = np.zeros(len(names), dtype=np.int64)
    sums, squares = np.zeros(len(names)), np.zeros(len(names))
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for block in _blocks(path, row, skip):
        there = ~np.isnan(block)
        known += there.sum(axis=0)
        sums += np.where(there, block, 0).sum(axis=0, dtype=np.float64)
        low = np.minimum(low, np.where(there, block, np.inf).min(axis=0))
        high = np.maximum(high, np.where(there, block, -np.inf).max(axis=0))
    if not known.all():
        name = names[int(np.argmin(known))]
        raise PropertyError(
            f"column '{name}': no molecule has a value{_why_none(name, survey, recipe)}"
        )
    means = sums / known
    for block in _blocks(path, row, skip):
        squares += np.nansum((block - means) ** 2, axis=0)
    conflicts, combined = groups.conflicts().sum(axis=0), groups.combined()
    result: dict[str, Any] = {}
    for i, name in enumerate(names):
        result[name] = {
            "kind": "number",
            "known": int(known[i]),
            "mean": float(means[i]),
            "std": float(np.sqrt(squares[i] / known[i])),
            "min": float(low[i]),
            "max": float(high[i]),
        }
        column = i - len(recipe.builtin)
        if column >= 0:
            note = survey.notes[column]
            result[name] |= {
                "kind": kinds[column],
                "censored": note.censored,
                "bad": note.bad,
                "units": dict(note.unit_names.most_common(20)),
                "unconverted": note.units,
                "combined": int(combined[column]),
                "conflicts": int(conflicts[column]),
                "disagreements": groups.disagreements(column, result[name]["std"]),
            }
    return result


def _why_none(name: str, survey: _Survey, recipe: Recipe) -> str:
    """The cells of a column without a value that are not empty, for the error."""
    if name not in recipe.config.properties:
        return ""
    note = survey.notes[list(recipe.config.properties).index(name)]
    counts = {
        f"{note.bad:,} cells are no number": note.bad,
        f"{note.censored:,} are censored (--censored limit counts their limits)": note.censored,
        f"{note.units:,} are in units that cannot be converted": note.units,
    }
    return "".join(f"; {text}" for text, count in counts.items() if count)


def _list_disagreements(
    statistics: dict[str, Any], folder: Path, kept: NDArray[np.bool_], total: int
) -> None:
    """Write them to ``disagreements.csv``; in the statistics their number and the worst remain."""
    listed = {name: p["disagreements"] for name, p in statistics.items() if "disagreements" in p}
    for name in listed:
        statistics[name]["disagreements"] = None
    if not any(listed.values()):
        return
    place = np.cumsum(kept) - 1  # of a row's molecule
    wanted = {int(place[first]) for entries in listed.values() for first, *_ in entries}
    with gzip.open(folder / "molecules.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = enumerate(itertools.islice(csv.reader(file), 1, total + 1))
        molecules = {number: row for number, row in rows if number in wanted}
    with open(folder / DISAGREEMENTS, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["column", "smiles", "id", "values", "low", "high"])
        for name, entries in listed.items():
            lines = [[*molecules[int(place[first])], *rest] for first, *rest in entries]
            for smiles, title, count, *ends in lines:
                cells = [smiles, no_formula(title), count, *map(format_cell, ends)]
                writer.writerow([name, *cells])
            if lines:
                smiles, _, _, low, high = lines[0]
                statistics[name]["disagreements"] = {
                    "count": len(lines), "first": smiles, "low": low, "high": high,
                }  # fmt: skip
