"""Generate: molecules that meet targets, as they come."""

from __future__ import annotations

import streamlit as st

from molvae.app import command, jobs, making, models, state, targets
from molvae.app.settings import settings
from molvae.chem.alerts import CATALOGS
from molvae.generate.request import Request
from molvae.model.checkpoint import SavedModel

__all__ = ["ELEMENTS", "constraints", "show"]

KEY = "generate"
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
            "Number of molecules", 1, MANY, 24, key=f"{KEY}.number",
            help=f"Up to {MOST} appear here as they come; more are a job that writes files.",
        )  # fmt: skip
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
        making.results(
            KEY, empty="Choose properties on the left, or none, and press Generate. "
            "The molecules appear here as they come.",
        )  # fmt: skip


def constraints(
    model: SavedModel, *, key: str
) -> tuple[dict[str, object], tuple[tuple[str, bytes], ...], int]:
    """Fields of a request, uploaded files of known molecules, and the seed."""
    fields: dict[str, object] = {}
    if model.critic is not None:
        share = st.slider(
            "Realism: share of the candidates to keep", 0.1, 1.0, 0.5, 0.05, key=f"{key}.realism",
            help="Candidates that look most like training molecules are kept. 1 keeps all.",
        )  # fmt: skip
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
        "Largest ring", [None, *RING_SIZES], key=f"{key}.ring",
        format_func=lambda size: "any" if size is None else f"{size} atoms",
    )  # fmt: skip
    files = st.file_uploader(
        "Not the molecules of these files", key=f"{key}.novel", accept_multiple_files=True,
        help="Any format that molvae reads. The files stay on this computer.",
    )  # fmt: skip
    seed = st.number_input(
        "Random seed", 0, 2**31 - 1, 0, key=f"{key}.seed", help="Another seed, other molecules."
    )
    return fields, tuple((file.name, file.getvalue()) for file in files), int(seed)


def _as_job(asked: making.Making) -> None:
    """Start a job that writes the molecules into files."""
    folder = jobs.new_folder(settings().folder, "generate")
    for name, content in asked.novel:
        (folder / jobs.safe_name(name)).write_bytes(content)
    words = making.words(asked, str(folder / "molecules.csv"))
    for i, word in enumerate(words):
        if words[i - 1] == "--novel":
            words[i] = str(folder / jobs.safe_name(word))
    jobs.start(
        folder,
        [*words, "--report", str(folder / "report.html")],
        title=f"{asked.number:,} molecules",
    )
    st.success("The job has started; it writes its files into " + str(folder))
