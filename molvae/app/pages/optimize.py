"""Optimize: a search for molecules that score high, as a job with a live curve."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from molvae.app import cards, command, curves, job_view, models, objectives, state, uploads
from molvae.app.jobs import Job, new_folder, start
from molvae.app.settings import settings
from molvae.app.words import plain
from molvae.chem.alerts import CATALOGS
from molvae.chem.properties import PROPERTIES
from molvae.errors import MolvaeError
from molvae.optimize.calls import FIXED, answered_calls
from molvae.optimize.report import running_best
from molvae.targets import parse_target

__all__ = ["search_words", "show"]

JOBS = "optimize.job"
BLUE = "#1b6ca8"
METHODS = {
    "auto": "evolution (best in all tests)",
    "learning": "learning decoder (slower between calls)",
    "sampling": "samples of the model alone (a baseline)",
    "cma": "CMA-ES in the latent space",
    "trust": "trust region in the latent space (slow, for expensive objectives)",
}
EXTRA = {"cma": "cma", "trust": "botorch"}  # method -> the package it needs
LIVE = 8  # best molecules shown while a search runs
POINTS = 400  # of a curve


def show() -> None:
    """Draw the page."""
    st.title("Optimize")
    st.markdown("Search for molecules that score high. Every molecule is scored once.")
    try:
        _form()
    except MolvaeError as error:
        st.error(plain(str(error)), icon=":material/error:")
    st.header("Searches")
    job_view.listing(
        job_view.jobs_of("optimize"), _details, key=JOBS, none="None yet. Start one above."
    )


def _form() -> None:
    """Objectives, constraints and budget, and the button that starts a search."""
    model = models.current()
    measured = [] if model.predictors is None else list(model.predictors)
    columns = [c for c in model.conditions.conditions if c.name in measured]
    chosen = objectives.choose(columns, key="optimize.objective")
    options = _constraints() + _starts()
    with st.container(horizontal=True):
        budget = st.number_input(
            "Molecules to score",
            10,
            1_000_000,
            500,
            100,
            key="optimize.budget",
            help="The search ends after this many calls of the objective.",
        )
        seed = st.number_input("Random seed", 0, 2**31, 0, key="optimize.seed")
    method = st.selectbox(
        "Method",
        [m for m in METHODS if m not in EXTRA or importlib.util.find_spec(EXTRA[m])],
        format_func=METHODS.__getitem__,
        key="optimize.method",
    )
    if chosen is None:
        st.info("Complete the objectives above to start.", icon=":material/info:")
        return
    options += ["--method", method] if method != "auto" else []
    options += ["--seed", str(seed)] if seed else []
    name = state.model_name()
    if st.button("Start the search", type="primary", icon=":material/search:"):
        folder = new_folder(settings().folder, "optimize")
        title = "Search for " + " and ".join(map(_short, chosen.texts))
        words = search_words(name, chosen, options, int(budget), folder / "best.csv")
        notes = {
            "objectives": list(chosen.texts),
            "pareto": chosen.pareto,
            "model": name,
            "minimize": chosen.minimize,
        }
        job_view.show_next(start(folder, words, title=title, notes=notes), JOBS)
    command.show(search_words(name, chosen, options, int(budget), Path("best.csv")))


def _short(text: str) -> str:
    """An objective without scale, weight and the folder of its file.

    >>> _short("qed@0:1*2"), _short("mine/dock.py:score@0:9"), _short("similarity:C[C@H](N)O*1")
    ('qed', 'dock.py:score', 'similarity:C[C@H](N)O')
    """
    if not text.startswith("similarity:"):
        text = re.split("[@*]", text)[0]
    folder, py, rest = text.removesuffix("*1").rpartition(".py:")
    return f"{Path(folder).name}.py:{rest}" if py else rest


def search_words(
    model: str, chosen: objectives.Chosen, options: list[str], budget: int, output: Path
) -> list[str]:
    """The command of a search."""
    report = output.with_suffix(".html")
    return [
        *("optimize", "-m", model, *chosen.words(), "--budget", str(budget), *options),
        *("-o", str(output), "--report", str(report)),
    ]


def _constraints() -> list[str]:
    """What every scored molecule must meet."""
    options: list[str] = []
    with st.expander("Constraints"):
        names = st.multiselect(
            "Ranges of properties",
            list(PROPERTIES),
            default=["mw"],
            key="optimize.ranges",
            format_func=lambda name: f"{name} – {PROPERTIES[name].description}",
            help="Only molecules inside are scored.",
        )
        for name in names:
            low, high = st.columns(2)
            least = low.number_input(f"{name} at least", value=None, key=f"optimize.low.{name}")
            most = high.number_input(
                f"{name} at most",
                value=500.0 if name == "mw" else None,
                key=f"optimize.high.{name}",
            )
            if least is None and most is None:
                continue
            ends = ["" if end is None else f"{end:g}" for end in (least, most)]
            text = f"{name}={':'.join(ends)}"
            parse_target(text)  # an error in words if the ends are the wrong way round
            options += ["-t", text]
        alerts = st.multiselect(
            "Without structural alerts of",
            list(CATALOGS),
            key="optimize.alerts",
            help="Lists of groups that react, interfere with assays or are toxic.",
        )
        options += ["--alerts", ",".join(alerts)] if alerts else []
        elements = st.text_input(
            "Only these elements", key="optimize.elements", placeholder="all, or such as C,N,O,F"
        ).strip()
        options += ["--elements", elements] if elements else []
        ring = st.number_input("Largest ring", 3, 50, value=None, key="optimize.ring")
        options += ["--max-ring", str(ring)] if ring else []
        scaffold = st.text_input(
            "With this scaffold (SMILES or SMARTS)",
            key="optimize.scaffold",
            help="A star marks where it may grow: *c1ccccc1.",
        ).strip()
        options += ["--scaffold", scaffold] if scaffold else []
        novel = uploads.molecules("None of the molecules of this file", key="optimize.novel.file")
        options += ["--novel", str(novel)] if novel else []
        if st.checkbox("Allow ring systems that no training molecule has", key="optimize.rings"):
            options.append("--novel-rings")
    return options


def _starts() -> list[str]:
    options: list[str] = []
    with st.expander("Start molecules"):
        start_smiles = state.start()
        text = st.text_area(
            "SMILES, one per line",
            key="optimize.like",
            placeholder=start_smiles or "none: begins with samples of the model",
            help="The search scores these first and looks around them.",
        )
        if start_smiles and st.checkbox(
            f"Begin with the start molecule, `{plain(start_smiles)}`", key="optimize.start"
        ):
            text = f"{start_smiles}\n{text}"
        starts = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
        for smiles in starts:
            options += ["--like", smiles.split()[0]]
        if starts and st.checkbox("Stay similar to them", key="optimize.near"):
            least = st.slider("Similarity at least", 0.1, 0.9, 0.4, 0.05, key="optimize.least")
            options += ["--similarity", f"{least:g}:"]
    return options


# -- a search in progress or at its end ----------------------------------------------------------


def _details(job: Job) -> None:
    calls = answered_calls(job.output("best.calls.csv"))
    if not calls:
        if job.active:
            st.caption("The first scores appear in some seconds.")
        return
    names = [name for name in calls[0] if name not in FIXED]
    pareto = bool(job.notes.get("pareto"))
    if pareto:
        _front(calls, names)
    else:
        _curve(calls, minimize=bool(job.notes.get("minimize")))
    if job.state == "finished":
        _result(job, names)
    else:
        ranked = [row for row in calls if row["value"]]
        ranked.sort(key=lambda row: -float(row["value"]))
        rows = [_card(row, names) for row in (ranked or calls[::-1])[:LIVE]]
        st.markdown(f"**{'Last' if pareto else 'Best so far'}**, after {len(calls):,} molecules")
        cards.grid(rows, key=f"live.{job.folder.name}", names=names)


def _card(row: dict[str, str], names: list[str]) -> dict[str, Any]:
    return {"smiles": row["smiles"], **{n: float(row[n]) for n in names if row[n]}}


def _curve(calls: list[dict[str, str]], *, minimize: bool) -> None:
    sign = -1.0 if minimize else 1.0
    values = [float(row["value"] or "nan") for row in calls]
    best = running_best(values)
    step = max(len(best) // POINTS, 1)
    shown = [n for n in range(1, len(best) + 1) if n % step == 0 or n == len(best)]
    curves.lines(
        "scored molecules",
        shown,
        {
            "best": [sign * best[n - 1][0] for n in shown],
            "mean of the ten best": [sign * best[n - 1][1] for n in shown],
        },
        "score",
    )


def _front(calls: list[dict[str, str]], names: list[str]) -> None:
    frame = pd.DataFrame([{name: float(row[name] or "nan") for name in names} for row in calls])
    st.scatter_chart(frame, x=names[0], y=names[1], height=300, color=BLUE)


def _result(job: Job, names: list[str]) -> None:
    summary = job.result or {}
    st.markdown(
        f"{summary.get('calls', 0):,} molecules were scored: {plain(summary.get('reason', ''))}."
    )
    table = pd.read_csv(job.output("best.csv"))
    rows = [
        {str(k): v for k, v in row.items() if not pd.isna(v)} for row in table.to_dict("records")
    ]
    state.collect(rows, "optimized")
    key = f"best.{job.folder.name}"
    joint = ["value"] if len(names) > 1 else []  # the score of several objectives together
    chosen = cards.show(rows, key=key, names=[*joint, *names], order="the best first")
    page = job.output("best.html")
    report = page.read_text(encoding="utf-8") if page.is_file() else ""
    cards.downloads(chosen, key=f"{key}.files", stem="best", report=report)
    _more(job, summary)


def _more(job: Job, summary: dict[str, Any]) -> None:
    """Continue a finished search with a larger budget."""
    with st.popover("Continue the search", icon=":material/play_arrow:"):
        calls = int(summary.get("calls", 0))
        more = st.number_input("More molecules", 10, 1_000_000, 500, 100, key=f"{job.folder}.more")
        if st.button("Continue", key=f"{job.folder}.go", type="primary"):
            budget = str(calls + int(more))
            job_view.show_next(job.resume({"--budget": budget}), JOBS)
