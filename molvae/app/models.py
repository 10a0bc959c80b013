"""The models a page can use: shipped ones, run folders, and any folder the user names.

A model is loaded once per process and shared by all tabs; it is loaded again when its folder was
replaced, as a training does. Library calls of different tabs take turns (:func:`working`): the
bonding limits of SELFIES and the number of threads belong to the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from molvae.app import jobs, state
from molvae.app.settings import settings
from molvae.errors import MolvaeError
from molvae.model.checkpoint import SavedModel, find_model, folder_kind, load_model, shipped_models
from molvae.runtime.randomness import Draws

__all__ = [
    "available",
    "choose",
    "current",
    "give_way",
    "label",
    "load",
    "typical_values",
    "version",
    "working",
]

RUNS = ("*", "runs/*")  # below the current folder
MOST = 50  # folders that are offered

_turn = threading.Lock()
_waiting: list[int] = []  # threads that wait for their turn
PAUSE = 0.05  # seconds


@contextmanager
def working() -> Iterator[None]:
    """Let one tab at a time compute in this process."""
    _waiting.append(threading.get_ident())
    try:
        _turn.acquire()
    finally:
        _waiting.remove(threading.get_ident())
    try:
        yield
    finally:
        _turn.release()


def give_way() -> None:
    """Between two steps of long work: let those compute who wait."""
    if _waiting:
        _turn.release()
        time.sleep(PAUSE)
        _turn.acquire()


def available() -> list[str]:
    """What can be chosen: the model of the command line, runs with a model, shipped models."""
    given = list(filter(None, [settings().model]))
    own = settings().folder
    places = [
        *(path for pattern in RUNS for path in Path().glob(pattern)),
        *own.glob("*"),
        *own.glob("*/*"),
    ]
    runs = sorted(
        (path for path in set(places) if path.is_dir() and _has_model(path)),
        key=lambda path: -path.stat().st_mtime,
    )
    named = [str(path) for path in runs[:MOST]]
    return list(dict.fromkeys([*given, *named, *shipped_models()]))


def _has_model(path: Path) -> bool:
    """Whether a folder is a run with a model, or a model folder that no run holds."""
    kind = folder_kind(path)
    return kind == "molvae-model" or (
        kind == "molvae-run" and folder_kind(path / "model") is not None
    )


def label(name: str) -> str:
    """What lists show for a model: of a training of the app its title and time."""
    path = Path(name)
    job = jobs.load(path.parent) if path.name == "run" else None
    return name if job is None else job.label


def load(name: str) -> SavedModel:
    """A model by any name that ``-m`` takes; ``MolVAE(load(name))`` is its Python interface.

    Raises:
        ModelFolderError: there is no such model, or it cannot be used.
    """
    return _load(name, version(name))


@st.cache_resource(max_entries=3, show_spinner="Loading the model …")
def _load(name: str, version: tuple[str, int, int]) -> SavedModel:
    return load_model(name)


def version(name: str) -> tuple[str, int, int]:
    """Changes when the model of a name is replaced; for the keys of caches."""
    folder = find_model(name)
    status = (folder / "config.json").stat()
    return str(folder.resolve()), status.st_ino, status.st_mtime_ns


def current() -> SavedModel:
    """The model that this tab uses."""
    return load(state.model_name())


def choose() -> None:
    """The choice of the model, in the side bar."""
    names = available()
    added = state.model_name()
    if added not in names:
        names.insert(0, added)
    chosen = st.sidebar.selectbox(
        "Model",
        names,
        index=names.index(added),
        format_func=label,
        accept_new_options=True,
        help="A shipped model, a run folder of molvae train, or the path of any model folder.",
    )
    if chosen is None or chosen == added:
        return
    try:
        load(chosen)
    except MolvaeError as error:
        st.sidebar.error(str(error))
        return
    state.set_model(chosen)


def typical_values(name: str, number: int) -> pd.DataFrame:
    """Values of the conditions of ``number`` training-like molecules, one column per condition.

    Drawn from the stored distributions and rank correlations of the training values.
    """
    return _typical(name, number, version(name))


@st.cache_data(max_entries=10, show_spinner=False)
def _typical(name: str, number: int, version: tuple[str, int, int]) -> pd.DataFrame:
    conditions = load(name).conditions
    values = conditions.typical(np.arange(number), Draws(0))
    return pd.DataFrame(values, columns=list(conditions.names))
