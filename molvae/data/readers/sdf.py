"""SDF: records of a mol block and data fields, ended by ``$$$$``; read without RDKit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from molvae.data.readers.rows import NO_LABELS, Row

__all__ = ["read_sdf"]

MAX_RECORD = 5_000_000  # characters of a record; more is damage and not kept in memory

_FIELD = re.compile(r">[^<]*<(.+)>")


def read_sdf(text: Iterator[str], name: str, columns: Sequence[str]) -> Iterator[Row]:
    """Records of an SDF, with those data fields that are wanted."""
    number = 0
    for lines in _records(text):
        number += 1
        title = lines[0].strip()
        end = next((i for i, line in enumerate(lines) if line.startswith("M  END")), None)
        if end is None:
            yield Row(name, number, title, fault="broken SDF record")
            continue
        labels = NO_LABELS
        if columns:
            fields = _fields(lines[end + 1 :])
            labels = {column: fields.get(column, "") for column in columns}
        yield Row(name, number, "", title, labels, "\n".join(lines[: end + 1]) + "\n")


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
    """Data fields of a record: a header ``> <NAME>``, then lines up to a blank one."""
    fields: dict[str, list[str]] = {}
    value: list[str] | None = None
    for line in lines:
        header = _FIELD.match(line) if value is None else None
        if header is not None:
            value = fields[header[1].strip()] = []
        elif not line.strip():
            value = None
        elif value is not None:
            value.append(line)
    return {name: "\n".join(value).strip() for name, value in fields.items()}
