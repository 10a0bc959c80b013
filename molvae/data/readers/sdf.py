"""SDF: records of a mol block and data fields, ended by ``$$$$``; read without RDKit."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from molvae.data.readers.layout import id_cell
from molvae.data.readers.rows import NO_LABELS, Row

__all__ = ["read_sdf", "sdf_fields"]

MAX_RECORD = 5_000_000  # characters of a record; more is damage and not kept in memory

_FIELD = re.compile(r">[^<]*<(.+)>")
# Within a value, a stricter form: the blank line before it may be missing, but ">50 <c>" is text.
_NEXT_FIELD = re.compile(r">(?:\s+(?:DT\d+|\d+)?)?\s*<([^<]+)>\s*(?:\([^)]*\))?\s*")


def read_sdf(text: Iterator[str], name: str, columns: Sequence[str]) -> Iterator[Row]:
    """Records of an SDF, with those data fields that are wanted."""
    number = 0
    for lines in _records(text):
        number += 1
        title = lines[0].strip()
        shown = title or next((line.strip() for line in lines if line.strip()), "")
        end = next((i for i, line in enumerate(lines) if line.startswith("M  END")), None)
        if end is None:
            yield Row(name, number, shown, fault="broken SDF record")
            continue
        labels = NO_LABELS
        fields = _fields(lines[end + 1 :]) if columns or not title else {}
        if columns:
            labels = {column: fields.get(column, "") for column in columns}
        if not title and (at := id_cell(list(fields))) is not None:
            title = list(fields.values())[at]
        yield Row(name, number, "", title, labels, "\n".join(lines[: end + 1]) + "\n")


def sdf_fields(text: Iterator[str], records: int) -> list[str]:
    """Names of the data fields of the first records, in the order in which they come."""
    names: dict[str, None] = {}
    for lines in itertools.islice(_records(text), records):
        end = next((i for i, line in enumerate(lines) if line.startswith("M  END")), len(lines))
        names.update(dict.fromkeys(_fields(lines[end + 1 :])))
    return list(names)


def _records(text: Iterator[str]) -> Iterator[list[str]]:
    """Lines of each record, without line ends; an extremely long one keeps its first lines only."""
    lines: list[str] = []
    size = 0
    for line in text:
        line = line.rstrip("\r\n")
        if line.startswith("$$$$"):
            yield lines or [""]
            lines, size = [], 0
            continue
        size += len(line)
        if size <= MAX_RECORD:
            lines.append(line)
        elif len(lines) > 1:
            lines = [lines[0][:500]]
    if any(line.strip() for line in lines):
        yield lines


def _fields(lines: list[str]) -> dict[str, str]:
    """Data fields of a record: a header ``> <NAME>``, then lines up to a blank one or a header."""
    fields: dict[str, list[str]] = {}
    value: list[str] | None = None
    for line in lines:
        header = _FIELD.match(line) if value is None else _NEXT_FIELD.fullmatch(line)
        if header is not None:
            value = fields[header[1].strip()] = []
        elif not line.strip():
            value = None
        elif value is not None:
            value.append(line)
    return {name: "\n".join(value).strip() for name, value in fields.items()}
