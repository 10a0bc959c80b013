"""The formats of molecule files, by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from molvae.errors import FileError

__all__ = ["Format", "file_format"]

Format = Literal["smi", "csv", "tsv", "sdf", "parquet", "xlsx"]


def file_format(path: Path, *, reading: bool = False) -> Format:
    """The format of a file name; an unknown suffix is an error that lists the known ones.

    ``reading``: whether formats count that are read but not written.
    """
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    kind = suffixes[-1][1:] if suffixes else ""
    match kind:
        case "smi" | "smiles" | "txt":
            return "smi"
        case "csv":
            return "csv"
        case "tsv" | "tab":
            return "tsv"
        case "sdf" | "sd":
            return "sdf"
        case "mol" | "mdl" if reading:
            return "sdf"
        case "xlsx" | "xlsm" if reading:
            return "xlsx"
        case "xls" | "ods" if reading:
            raise FileError(f"'{path}': .{kind} files are not read; save it as .xlsx or .csv")
        case "parquet" | "pq" if len(suffixes) < len(path.suffixes):
            raise FileError(f"'{path}': .parquet files are compressed already; leave out .gz")
        case "parquet" | "pq":
            return "parquet"
    raise FileError(
        f"'{path}': unknown file type '{kind or path.name}', expected "
        ".smi, .csv, .tsv or .sdf, each also with .gz, or .parquet"
        + (", .xlsx, .mol" if reading else "")
    )
