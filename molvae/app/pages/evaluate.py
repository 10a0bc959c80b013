"""Evaluate: metrics of a file of molecules, with the HTML report inside the page."""

from __future__ import annotations

import html
from pathlib import Path

import streamlit as st

from molvae.app import command, job_view, state, uploads
from molvae.app.jobs import Job, all_jobs, load, new_folder, start
from molvae.app.settings import settings

__all__ = ["evaluation", "framed", "show"]

JOBS = "evaluate.job"
HEIGHT = 900  # pixels of the report
OUTPUTS = ("best.csv", "molecules.csv", "new.csv")  # of jobs, offered as files to evaluate
DATASET = "data.ds/molecules.csv.gz"  # of the page of own data, offered as training set
UPLOAD = "a file"


def show() -> None:
    """Draw the page."""
    st.title("Evaluate")
    st.markdown(
        "Measure a file of molecules: how many are valid, different and new, how diverse they "
        "are, and how close they come to a training set."
    )
    path = _file("Molecules", _outputs(*OUTPUTS), "File to evaluate", "evaluate", "")
    train = _file(
        "Compare with",
        _outputs(DATASET),
        "Training set (optional)",
        "evaluate.train",
        "Novelty, realism and the distances of properties need a training set.",
    )
    options = _options(train)
    if path is None:
        st.info("Choose a file of molecules to evaluate.", icon=":material/info:")
    else:
        if st.button("Evaluate", type="primary", icon=":material/query_stats:"):
            folder = new_folder(settings().folder, "evaluate")
            words = evaluation(path, folder, options)
            title = f"Evaluation of {_name(path)}"
            job_view.show_next(start(folder, words, title=title), JOBS)
        command.show(evaluation(path, Path(), options))
    st.header("Evaluations")
    job_view.listing(job_view.jobs_of("evaluate"), _details, key=JOBS, none="None yet.")


def _file(label: str, made: dict[str, Path], upload: str, key: str, help_: str) -> Path | None:
    """A file that a job of the app has written, or an upload."""
    source = UPLOAD
    if made:
        source = st.selectbox(label, [UPLOAD, *made], key=f"{key}.source", help=help_ or None)
    if source != UPLOAD:
        return made[source]
    return uploads.molecules(upload, key=f"{key}.file", help_=help_)


def _outputs(*names: str) -> dict[str, Path]:
    """Molecule files of jobs by the label of the job, the newest first."""
    jobs = all_jobs(settings().folder)
    return {
        job.label: job.output(name) for job in jobs for name in names if job.output(name).is_file()
    }


def _name(path: Path) -> str:
    """What to call a file: that of a job by the title of the job."""
    for folder in path.parents:
        if (job := load(folder)) is not None:
            return job.title
    return path.name


def _options(train: Path | None) -> list[str]:
    options = ["--train", str(train)] if train else []
    with st.expander("More"):
        test = uploads.molecules(
            "Held-out reference set (optional)",
            key="evaluate.test.file",
            help_="SNN, Frag, Scaf and FCD compare with it.",
        )
        options += ["--test", str(test)] if test else []
        target = st.text_input(
            "Target of the generation",
            key="evaluate.target",
            placeholder="such as logp=2:3",
            help="Adds the hit rate or the mean distance to it.",
        ).strip()
        options += ["-t", target] if target else []
        if st.checkbox(
            "GuacaMol's metrics",
            key="evaluate.guacamol",
            disabled=train is None,
            help="They need a training set.",
        ):
            options.append("--guacamol")
        if st.checkbox(
            "Examine the model too",
            key="evaluate.model",
            help="Reconstruction, information in the latent, control: some minutes.",
        ):
            options += ["-m", state.model_name()]
        sample = st.number_input(
            "Molecules at most",
            100,
            30_000,
            5000,
            1000,
            key="evaluate.sample",
            help="Most metrics are computed on a sample of this size.",
        )
    return [*options, "--sample", str(sample)]


def evaluation(path: Path, folder: Path, options: list[str]) -> list[str]:
    """The command that evaluates a file."""
    outputs = ("-o", str(folder / "results.json"), "--report", str(folder / "report.html"))
    return ["evaluate", str(path), *options, *outputs]


def _details(job: Job) -> None:
    path = job.output("report.html")
    if job.state != "finished" or not path.is_file():
        return
    page = path.read_text(encoding="utf-8")
    with st.container(horizontal=True):
        for label, name, mime in (
            ("HTML report", "report.html", "text/html"),
            ("Numbers (JSON)", "results.json", "application/json"),
        ):
            st.download_button(
                label,
                job.output(name).read_bytes(),
                name,
                mime,
                on_click="ignore",
                key=f"{job.folder.name}.{name}",
                icon=":material/download:",
            )
    st.iframe(framed(page), height=HEIGHT)


def framed(page: str) -> str:
    """A page inside a frame without scripts, forms, links out, or the rights of this page."""
    return (
        "<style>html,body,iframe{margin:0;width:100%;height:100%;border:0}</style>"
        f'<iframe sandbox title="Report" srcdoc="{html.escape(page, quote=True)}"></iframe>'
    )
