"""Files that the user gives to a page: kept under a harmless name, by their content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import streamlit as st

from molvae.app.jobs import safe_name
from molvae.app.settings import settings
from molvae.app.words import plain
from molvae.data.formats import file_format
from molvae.errors import FileError

__all__ = ["TYPES", "keep", "molecules"]

TYPES = (
    "csv",
    "tsv",
    "tab",
    "smi",
    "smiles",
    "txt",
    "sdf",
    "sd",
    "mol",
    "mdl",
    "gz",
    "parquet",
    "pq",
    "xlsx",
    "xlsm",
)
_KEPT = "molvae.uploads"  # in the session: id of an upload -> its path


def molecules(label: str, *, key: str, help_: str = "") -> Path | None:
    """Let the user choose a molecule file; its copy, or None as long as there is none."""
    given = st.file_uploader(label, type=TYPES, key=key, help=help_ or None)
    if given is None:
        return None
    kept: dict[str, Path] = st.session_state.setdefault(_KEPT, {})
    path = kept.get(given.file_id)
    if path is None or not path.exists():
        try:
            path = kept[given.file_id] = keep(given.name, given.getvalue())
        except (FileError, OSError) as error:
            text = str(error) if isinstance(error, FileError) else f"not saved: {error.strerror}"
            st.error(plain(text), icon=":material/error:")
            return None
    return path


def keep(name: str, content: bytes) -> Path:
    """Store a file below the folder of the app; equal content and name are stored once.

    Raises:
        FileError: the name is of no format that is read.
    """
    harmless = safe_name(name)
    file_format(Path(harmless), reading=True)
    if not content:
        raise FileError(f"'{harmless}': the file is empty")
    folder = settings().folder / "uploads" / hashlib.sha256(content).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / harmless
    if not path.exists():
        handle, draft = tempfile.mkstemp(dir=folder, prefix=".upload-")
        with open(handle, "wb") as file:
            file.write(content)
        os.replace(draft, path)
    return path
