"""Generate: molecules that meet targets, as they come."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import streamlit as st

from molvae.app import (
    cards,
    command,
    job_view,
    jobs,
    making,
    models,
    state,
    targets,
    uploads,
)
from molvae.app.settings import settings
from molvae.chem.alerts import CATALOGS
from molvae.data.readers import read_rows, smiles_of
from molvae.generate.request import Request
from molvae.model.checkpoint import SavedModel

__all__ = ["ELEMENTS", "constraints", "show"]

KEY, JOBS = "generate", "generate.jobs"
MOST = 500  # molecules made while you wait; more are a job
MANY = 1_000_000
ELEMENTS = ("C", "N", "O", "F", "S", "Cl", "Br", "P", "I", "B", "Si", "Se")
RING_SIZES = (5, 6, 7, 8)


def show() -> None:
    """Draw the page."""
    st.title("Generate")
    model = models.current()
    left, right = st.columns([2, 3], gap="large")
    with left:
        number = st.number_input(
            "Number of molecules",
            1,
            MANY,
            24,
            key=f"{KEY}.number",
            help=f"Up to {MOST} appear here as they come; more are a job that writes files.",
        )
        chosen = targets.choose(model, key=f"{KEY}.targets")
        with st.expander("More options"):
            fields, novel, seed = constraints(model, key=KEY)
        asked = making.Making(
            state.model_name(), int(number), Request(targets=tuple(chosen), **fields), seed, novel
        )
        for warning in model.conditions.warnings(chosen):
            st.warning(warning, icon=":material/info:")
        if st.button("Generate", type="primary", key=f"{KEY}.go", icon=":material/science:"):
            if number > MOST:
                _as_job(asked)
            else:
                making.begin(KEY, asked)
        command.show(making.words(asked))
    with right:
        job_view.listing(job_view.jobs_of("generate"), _files, key=JOBS)
        making.results(
            KEY,
            empty="Choose properties, or none, and press Generate. "
            "The molecules appear here as they come.",
        )


def constraints(model: SavedModel, *, key: str) -> tuple[dict[str, Any], tuple[Path, ...], int]:
    """Fields of a request, files of molecules that must not be made, and the seed."""
    fields: dict[str, Any] = {}
    if model.critic is not None:
        share = st.slider(
            "Realism: share of the candidates to keep",
            0.1,
            1.0,
            0.5,
            0.05,
            key=f"{key}.realism",
            help="Candidates that look most like training molecules are kept. 1 keeps all.",
        )
        fields["realism"] = None if share == 1 else share
    else:
        fields["realism"] = None
    if model.plausibility is not None:
        fields["novel_rings"] = st.toggle(
            "Allow ring systems without training molecules", key=f"{key}.rings"
        )
    fields["alerts"] = tuple(
        st.multiselect(
            "Exclude structural alerts", sorted(CATALOGS), key=f"{key}.alerts", placeholder="none"
        )
    )
    fields["elements"] = tuple(
        st.multiselect("Only these elements", ELEMENTS, key=f"{key}.elements", placeholder="any")
    )
    fields["max_ring"] = st.selectbox(
        "Largest ring",
        [None, *RING_SIZES],
        placeholder="any",
        key=f"{key}.ring",
        format_func=lambda size: "any" if size is None else f"{size} atoms",
    )
    known = uploads.molecules(
        "Not the molecules of this file",
        key=f"{key}.novel",
        help_="Any format that molvae reads. The file stays on this computer.",
    )
    seed = st.number_input(
        "Random seed", 0, 2**31 - 1, 0, key=f"{key}.seed", help="Another seed, other molecules."
    )
    return fields, () if known is None else (known,), int(seed)


def _as_job(asked: making.Making) -> None:
    """Start a job that writes the molecules into files."""
    folder = jobs.new_folder(settings().folder, "generate")
    words = making.words(asked, str(folder / "molecules.csv"))
    job = jobs.start(
        folder,
        [*words, "--report", str(folder / "report.html")],
        title=f"{asked.number:,} molecules",
    )
    job_view.show_next(job, JOBS)


def _files(job: jobs.Job) -> None:
    """The files of a finished job, and its first molecules."""
    path = job.output("molecules.csv")
    if job.state != "finished" or not path.is_file():
        return
    st.caption(f"The molecules are in `{path}`.")
    rows = making.describe(_first(path, path.stat().st_mtime_ns), models.current())
    state.collect(rows, "generated")
    for kind, mime in (("molecules.csv", "text/csv"), ("report.html", "text/html")):
        st.download_button(
            kind,
            data=job.output(kind).read_bytes,
            file_name=kind,
            mime=mime,
            key=f"{job.folder.name}.{kind}",
            icon=":material/download:",
            on_click="ignore",
        )
    cards.grid(rows, key=f"{job.folder.name}.cards", names=["mw", "logp", "qed", "realism"])


@st.cache_data(max_entries=10, show_spinner=False)
def _first(path: Path, changed: int) -> list[dict[str, Any]]:
    """The first molecules of a file, with their values."""
    with read_rows(path) as rows:
        texts = (smiles_of(row) for row in islice(rows, cards.PAGE))
        return [{"smiles": text} for text in texts if text]
