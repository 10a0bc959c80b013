"""Generation from a page: the request as a command, the work in a thread, its results as cards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from molvae import chem
from molvae.app import cards, command, models, plots, state, storage, training
from molvae.app.work import Row, Work
from molvae.chem.properties import PROPERTIES, compute
from molvae.generate.columns import columns_of, extras_of, molecule_row
from molvae.generate.report import page_of
from molvae.generate.request import Generated, Request
from molvae.generate.run import ADVICE, GenerationSummary, generate
from molvae.latent.realism import realism
from molvae.model.checkpoint import SavedModel
from molvae.report import render

__all__ = ["Making", "begin", "describe", "records", "results", "words"]

REFRESH = 0.8  # seconds between looks at running work
USUAL = ("mw", "logp", "qed", "sas")  # on cards of a request without targets
CLOUD = 1500  # training molecules behind a plot


@dataclass(frozen=True)
class Making:
    """Everything that determines the molecules."""

    model: str
    number: int
    request: Request
    seed: int = 0
    novel: tuple[Path, ...] = ()  # files of molecules that must not be made
    origin: str = "generated"  # what the map calls them


def words(making: Making, output: str = "molecules.csv") -> list[str]:
    """The arguments of ``molvae`` that give the same molecules."""
    request, usual = making.request, Request(like=making.request.like)
    line: list[object] = ["generate", "-m", making.model, "-n", making.number]
    for target in request.targets:
        line += ["-t", target.text]
    for smiles in request.like:
        line += ["--like", smiles]
    for part in request.scaffolds:
        line += ["--scaffold", part]
    line += ["--fill"] if request.fill else []
    if request.noise is not None:
        ends = request.noise if isinstance(request.noise, tuple) else (request.noise,)
        line += ["--noise", ":".join(f"{end:g}" for end in ends)]
    for name in ("alerts", "elements"):
        line += [f"--{name}", ",".join(chosen)] if (chosen := getattr(request, name)) else []
    line += [] if request.max_ring is None else ["--max-ring", request.max_ring]
    if request.realism != usual.realism:
        line += ["--realism", "off" if request.realism is None else f"{request.realism:g}"]
    line += ["--novel-rings"] if request.novel_rings else []
    line += ["--allow-misses"] if request.allow_misses else []
    for path in making.novel:
        line += ["--novel", path]
    line += ["--seed", making.seed] if making.seed else []
    return [str(word) for word in [*line, "-o", output]]


def begin(key: str, making: Making) -> None:
    """Start the work of ``key`` in this tab; earlier work of that key is stopped.

    Raises:
        MolvaeError: the request cannot be met by this model.
    """
    saved = models.load(making.model)
    request = making.request.with_targets((), saved)
    known = training.of(making.model)
    if (before := st.session_state.get(key)) is not None:
        before.stop()
    serial = before.about["serial"] + 1 if before is not None else 0

    def do(work: Work) -> None:
        _make(work, making, request, saved, known)

    work = Work(making.number, do, making=making, serial=serial)
    storage.hold(work, making.novel)
    st.session_state[key] = work.start()


def _make(
    work: Work,
    making: Making,
    request: Request,
    saved: SavedModel,
    known: training.Training | None,
) -> None:
    """Fill in the rows of the work, and its report."""
    columns = columns_of(request.targets, extras_of(request, saved))
    summary = GenerationSummary(wanted=making.number)
    rows: dict[str, list[object]] = {}

    def listen(decoded: int, new: Sequence[Generated]) -> None:
        work.check()
        work.decoded = decoded
        cells = [molecule_row(m, request.targets, extras_of(request, saved)) for m in new]
        work.add(describe([dict(zip(columns, row, strict=True)) for row in cells], saved, known))

    stream = generate(
        making.number,
        model=saved,
        request=request,
        seed=making.seed,
        workers=1,
        novel=making.novel,
        summary=summary,
        listener=listen,
    )
    for molecule in stream:
        rows[molecule.smiles] = molecule_row(molecule, request.targets, extras_of(request, saved))
    order = {smiles: i for i, smiles in enumerate(rows)}
    work.rows = sorted(work.rows, key=lambda row: order.get(str(row["smiles"]), len(order)))
    work.notes = list(summary.notes)
    if summary.written < summary.wanted:
        reasons = ", ".join(f"{n:,} × {why}" for why, n in list(summary.refusals.items())[:4])
        work.notes.append(
            f"{summary.written:,} of {summary.wanted:,} molecules were found "
            f"(refused: {reasons or 'none'}); {ADVICE}"
        )
    if rows:
        about = summary.to_json(), making.model, making.seed, command.text(words(making))
        page = page_of(rows.values(), columns, request.targets, saved, *about)
        work.about["report"] = render(page)


def describe(
    rows: Sequence[Row], saved: SavedModel, known: training.Training | None = None
) -> list[Row]:
    """Rows with ``smiles``, and RDKit's properties, realism and nearest training molecule."""
    smiles = [str(row["smiles"]) for row in rows]
    judged: list[Any] = []
    if smiles and (saved.critic is not None or saved.plausibility is not None):
        judged = realism(smiles, saved)
    near = known.nearest(smiles) if known is not None and smiles else []
    described = []
    for i, row in enumerate(rows):
        mol = chem.parse(smiles[i])
        names = [name for name in PROPERTIES if name not in row]
        values = compute(mol, names).tolist() if mol is not None else []
        more: Row = dict(zip(names, values, strict=False))
        if judged and not math.isnan(judged[i].rank):
            more["realism"] = round(judged[i].rank, 3)
        measured = next((n for n in row if n.endswith("_nearest")), None)
        if near:
            more["nearest_similarity"], more["nearest"] = near[i]
        elif measured is not None:
            stem = measured.removesuffix("_nearest")
            more["nearest_similarity"] = row.get(f"{stem}_similarity")
            more["nearest"] = row[measured]
        described.append({**row, **more})
    return described


def records(table: pd.DataFrame) -> list[Row]:
    """The rows of a table."""
    return [{str(n): v for n, v in row.items()} for row in table.to_dict("records")]


def results(key: str, *, empty: str = "") -> None:
    """What the work of ``key`` has made so far; it is looked at again while it runs."""
    work: Work | None = st.session_state.get(key)
    if work is None:
        if empty:
            st.info(empty, icon=":material/info:")
        return
    st.fragment(_results, run_every=REFRESH if work.running else None)(key)


def _results(key: str) -> None:
    work: Work = st.session_state[key]
    if state.page_is_pending():
        st.rerun()
    making: Making = work.about["making"]
    part = f"{key}.{work.about['serial']}"  # new results have new widgets
    work.look()
    if work.running:
        work.about["watched"] = True
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(
                min(len(work.rows) / work.wanted, 1.0),
                f"{len(work.rows):,} of {work.wanted:,} molecules, "
                f"{work.decoded:,} candidates decoded"
                if work.begun
                else "waiting for the work of another tab",
            )
            st.button("Stop", key=f"{key}.stop", icon=":material/stop:", on_click=work.stop)
    elif work.about.pop("watched", False):
        st.rerun()  # once more without looking every second
    if work.error:
        st.error(work.error, icon=":material/error:")
    state.collect(work.rows, making.origin)
    if not work.running and not work.error:
        ending = "stopped" if work.stopped else "done"
        st.caption(f"{len(work.rows):,} molecules, {ending} after {work.seconds:.1f} s.")
    for note in work.notes:
        st.warning(note, icon=":material/info:")
    chosen = cards.show(work.rows, key=f"{part}.cards", names=_shown(making))
    if making.origin == "generated" and not any("nearest" in row for row in work.rows):
        st.caption(training.why_no_nearest(making.model))
    cards.downloads(chosen, key=f"{part}.files", report=str(work.about.get("report", "")))
    if len(work.rows) > 1:
        _plot(work.rows, making, part)


def _shown(making: Making) -> list[str]:
    """The values on the cards."""
    request = making.request
    names = [target.name for target in request.targets] or list(USUAL)
    distances = [f"{t.name}_minus_target" for t in request.targets if t.is_point]
    near = ["similarity"] if request.like else []
    return list(dict.fromkeys([*near, *names, *distances, "realism"]))


def _plot(rows: Sequence[Row], making: Making, key: str) -> None:
    """Two properties of the molecules, with training data behind them; a click shows the card."""
    numbers = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if sum(isinstance(row.get(name), float | int) for row in rows) > 1
    ]
    first = [n for n in (*_shown(making), *USUAL) if n in numbers]
    with st.expander("Plot two properties", icon=":material/scatter_plot:"):
        with st.container(horizontal=True):
            x = st.selectbox("Across", numbers, numbers.index(first[0]), key=f"{key}.x")
            other = next((n for n in first if n != first[0]), first[0])
            y = st.selectbox("Up", numbers, numbers.index(other), key=f"{key}.y")
        behind, words_ = _cloud(making.model, x, y)
        frame = pd.DataFrame([{"smiles": r["smiles"], x: r.get(x), y: r.get(y)} for r in rows])
        chosen = plots.scatter(frame, x, y, key=f"{key}.scatter", behind=behind)
        st.caption(f"{words_} Click a point, or draw a box, to see the molecules.")
        if chosen:
            cards.grid(
                [rows[i] for i in chosen[: cards.PAGE]], key=f"{key}.picked", names=_shown(making)
            )


def _cloud(name: str, x: str, y: str) -> tuple[pd.DataFrame | None, str]:
    """Training values of two properties, and words on them: measured, or drawn from the model."""
    known = training.of(name)
    if known is not None and x in known.names and y in known.names:
        step = max(len(known.smiles) // CLOUD, 1)
        columns = {n: known.values[::step, known.names.index(n)] for n in (x, y)}
        return pd.DataFrame(columns), "Gray: training molecules."
    values = models.typical_values(name, CLOUD)
    if x in values and y in values:
        return values[[x, y] if x != y else [x]], (
            "Gray: drawn from the distributions and rank correlations of the training values that "
            "the model stores."
        )
    return None, "The training values of these are not known."
