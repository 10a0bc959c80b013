"""Files that the user gives to a page: stored under a harmless name, by their content."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from molvae.app import storage
from molvae.app.jobs import safe_name
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
_CHOSEN = "molvae.uploads"  # in the session: key of an uploader -> id of its upload, and path


def molecules(label: str, *, key: str, help_: str = "") -> Path | None:
    """Let the user choose a molecule file; its copy, or None as long as there is none.

    A choice outlives a visit of another page, after which Streamlit shows an empty uploader.
    """
    chosen: dict[str, tuple[str, Path]] = st.session_state.setdefault(_CHOSEN, {})
    given = st.file_uploader(
        label, type=TYPES, key=key, help=help_ or None, on_change=_changed, args=(key,)
    )
    before, path = chosen.get(key, ("", None))
    if given is not None and (path is None or given.file_id != before or not path.exists()):
        try:
            chosen[key] = given.file_id, keep(given.name, given.getvalue())
        except (FileError, OSError) as error:
            chosen.pop(key, None)
            text = str(error) if isinstance(error, FileError) else f"not saved: {error.strerror}"
            st.error(plain(text), icon=":material/error:")
    elif given is None and path is not None and not path.exists():
        del chosen[key]
        st.warning(f"{plain(path.name)} was removed; choose it again.")
    elif given is None and path is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"In use: **{plain(path.name)}**")
            st.button("Remove", key=f"{key}.remove", on_click=_forget, args=(key,))
    if (run := get_script_run_ctx()) is not None:
        storage.claim(run.session_id, {path for _, path in chosen.values()})
    return chosen.get(key, ("", None))[1]


def _changed(key: str) -> None:
    """Forget the file of an uploader that the user has emptied."""
    if st.session_state.get(key) is None:
        _forget(key)


def _forget(key: str) -> None:
    st.session_state.get(_CHOSEN, {}).pop(key, None)


def keep(name: str, content: bytes) -> Path:
    """Store a file below the folder of the app; equal content and name are stored once.

    Raises:
        FileError: the name is of no format that is read.
    """
    harmless = safe_name(name)
    file_format(Path(harmless), reading=True)
    if not content:
        raise FileError(f"'{harmless}': the file is empty")
    return storage.store(harmless, content)
