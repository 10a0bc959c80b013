"""Own data: a file of molecules becomes a dataset, and the dataset a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from molvae.app import command, curves, job_view, models, state, storage, uploads
from molvae.app.jobs import Job, new_folder, start
from molvae.app.settings import settings
from molvae.app.words import plain
from molvae.chem.properties import PROPERTIES
from molvae.config import DataConfig
from molvae.data.dataset import Dataset
from molvae.data.prepare import summary_lines
from molvae.data.prepare.conditions import condition_names
from molvae.data.preview import ColumnPreview, Preview, preview
from molvae.errors import ConfigError, MolvaeError
from molvae.predict.assess import Assessment, Scores
from molvae.train.run_folder import read_log

__all__ = ["preparation", "show", "training"]

JOBS = "data.job"
ERROR = ":material/error:"
SCRATCH = "no model: from scratch"
TRANSFORMS = {
    "as it is": "",
    "log10": "log10",
    "−log10": "neglog10",
    "−log10 of M, from nM (IC50 → pIC50)": "neglog10:nM",
    "−log10 of M, from µM": "neglog10:uM",
    "−log10 of M, from M": "neglog10:M",
}
CONTENTS = {
    "number": "numbers",
    "yesno": "yes/no",
    "relation": "relations (<, =, >)",
    "unit": "units",
    "text": "text",
    "empty": "nothing",
}
BAD_CELLS = {"": "stop and say where", "missing": "leave the value out", "reject": "reject the row"}
# Options that messages of `prepare` advise: where they are on this page.
PLACES = {
    "--bad-labels": "Cells that hold no number, under Cleaning and held-out molecules",
    "--where": "Only some rows",
    "--smiles-column": "SMILES column",
    "--relation": "Column with the relation, under the column",
    "--unit": "Column with the unit, under the column",
    "--max-time": "Minutes, at the dataset in the list of jobs",
}
REJECTS = 50  # rows shown


def show() -> None:
    """Draw the page."""
    st.title("Own data")
    st.markdown(
        "Choose a file, prepare it, and train a model of your molecules and measurements. "
        "Nothing leaves this computer."
    )
    path = uploads.molecules(
        "Molecule file",
        key="data.file",
        help_="SMILES list, table (CSV, TSV, Excel, Parquet) or SDF; text files also as .gz.",
    )
    if path is not None:
        try:
            _choose(path)
        except MolvaeError as error:
            text = storage.without_folder(str(error))
            advice = "enter its name as SMILES column below"
            st.error(plain(text.replace("name it with --smiles-column", advice)), icon=ERROR)
    st.header("Datasets and trainings")
    job_view.listing(
        job_view.jobs_of("prepare", "train"),
        _details,
        key=JOBS,
        none="None yet. Choose a file above.",
    )


@st.cache_data(max_entries=8, show_spinner="Reading the file …")
def _preview(path: Path, smiles_column: str | None) -> Preview:
    return preview(path, smiles_column=smiles_column)


def _choose(path: Path) -> None:
    """Columns and rows of a file, and the button that prepares it."""
    smiles = st.text_input(
        "SMILES column",
        key="data.smiles",
        placeholder="found by its name",
        help="Only needed if the column has an unusual name.",
    ).strip()
    seen = _preview(path, smiles or None)
    rows = f"{seen.rows:,}" if seen.complete else f"The first {seen.rows:,}"
    st.markdown(f"{rows} rows, {len(seen.columns)} columns besides the molecules.")
    with st.expander("First rows and columns", expanded=True):
        st.dataframe(pd.DataFrame(seen.head), hide_index=True)
        if seen.columns:
            st.dataframe(_table(seen.columns), hide_index=True)
    measured = seen.having("number", "yesno")
    chosen = st.multiselect(
        "Measured columns to train on",
        measured,
        key="data.columns",
        disabled=not measured,
        placeholder="none" if measured else "the file has no columns with numbers or yes/no",
        help="The model learns them with the built-in properties; gaps are no problem.",
    )
    arguments: list[str] = ["--smiles-column", smiles] if smiles else []
    names: dict[str, str] = {}
    for column in chosen:
        name, options = _column_options(column, seen)
        if name in names:
            raise ConfigError(f"two columns have the name '{name}' in the model; rename one")
        names[name] = column
        arguments += options
    condition_names(DataConfig(properties=names))  # an error in words before the work
    arguments += _row_options(seen)
    arguments += _cleaning_options()
    words = preparation(path, Path("my_molecules.ds"), arguments)
    if st.button("Prepare the file", type="primary", icon=":material/cleaning_services:"):
        folder = new_folder(settings().folder, "prepare")
        job = start(
            folder,
            preparation(path, folder / "data.ds", arguments),
            title=f"Data of {path.name}",
            notes={"file": path.name},
        )
        job_view.show_next(job, JOBS)
    command.show(words)


def preparation(path: Path, output: Path, options: Sequence[str]) -> list[str]:
    """The command that prepares a file."""
    return ["prepare", str(path), "-o", str(output), *options]


def _table(columns: Sequence[ColumnPreview]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "column": [column.name for column in columns],
            "holds": [CONTENTS[column.content] for column in columns],
            "known": [column.known for column in columns],
            "gaps": [column.missing for column in columns],
            "censored (<, >)": [column.censored for column in columns],
        }
    )


def _column_options(column: str, seen: Preview) -> tuple[str, list[str]]:
    """The name of a measured column in the model; its transform, relation and unit as options."""
    free = column.replace("=", " ").strip()
    name = f"my_{free}" if free in PROPERTIES else free
    with st.expander(f"Column {plain(column)}"):
        given = st.text_input(
            "Name in the model",
            value=name,
            key=f"data.name.{column}",
            help="As in targets: NAME=VALUE.",
        ).strip()
        options = ["--property", f"{given}={column}"]
        shown = st.selectbox(
            "Values",
            list(TRANSFORMS),
            key=f"data.transform.{column}",
            help="Potencies are easier to learn as logarithms.",
        )
        transform = TRANSFORMS[shown]
        if transform:
            options += ["--transform", f"{given}={transform}"]
        choices = {"relation": ("--relation", "Column with the relation (<, =, >)")}
        if ":" in transform:
            choices["unit"] = ("--unit", "Column with the unit")
        for content, (option, label) in choices.items():
            names = [c.name for c in seen.columns if c.content == content]
            other = st.selectbox(
                label, ["none", *names], key=f"data.{content}.{column}", disabled=not names
            )
            if other != "none":
                options += [option, f"{given}={other}"]
    return given, options


def _row_options(seen: Preview) -> list[str]:
    """Which rows are read."""
    listed = [c for c in seen.columns if len(c.values) > 1]
    if not listed:
        return []
    options: list[str] = []
    with st.expander("Only some rows"):
        by = {column.name: column for column in listed}
        for name in st.multiselect("Choose rows by these columns", list(by), key="data.where"):
            values = [value for value in by[name].values if value.strip()]
            kept = st.multiselect(f"Rows where {plain(name)} is", values, key=f"data.where.{name}")
            for value in kept:
                options += ["--where", f"{name}={value}"]
    return options


def _cleaning_options() -> list[str]:
    with st.expander("Cleaning and held-out molecules"):
        options = ["--no-stereo"] if st.checkbox("Remove stereochemistry", key="data.flat") else []
        if st.checkbox("Reject charged molecules", key="data.uncharged"):
            options.append("--no-charged")
        bad = st.selectbox(
            "Cells that hold no number",
            list(BAD_CELLS),
            format_func=BAD_CELLS.__getitem__,
            key="data.bad",
            help="Such as a text, or a number with a decimal comma, in a measured column.",
        )
        options += ["--bad-labels", bad] if bad else []
        split = st.radio(
            "Hold out for testing",
            ["at random", "whole scaffolds"],
            key="data.split",
            horizontal=True,
            help="Whole scaffolds give stricter numbers: no held-out molecule has a ring system "
            "of the training molecules.",
        )
        return options + (["--split", "scaffold"] if split == "whole scaffolds" else [])


def _details(job: Job) -> None:
    if job.verb == "train":
        _training(job)
    elif job.state == "finished":
        _account(job)
    else:
        _places(job)


def _places(job: Job) -> None:
    """Where on this page the options are that the messages of a job advise."""
    said = " ".join([job.error, *(line for line in job.log if line.startswith("note: "))])
    for option, place in PLACES.items():
        if re.search(rf"{option}\b", said) and not job.active:
            st.caption(f"On this page, `{option}` is *{place}*.")


def _account(job: Job) -> None:
    """What became of the rows of a file, and the form to train on them."""
    try:
        dataset = Dataset(job.output("data.ds"))
    except MolvaeError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    manifest = dataset.manifest
    with st.container(horizontal=True):
        for label, key in (
            ("rows read", "rows_read"),
            ("kept", "kept"),
            ("merged", "merged"),
            ("rejected", "rejected"),
        ):
            st.metric(label, f"{manifest[key]:,}", border=True)
    st.caption("Merged: rows with the same molecule. Rejected: rows that cannot be used.")
    if manifest["reasons"]:
        st.dataframe(
            pd.DataFrame(manifest["reasons"].items(), columns=["rejected because", "rows"]),
            hide_index=True,
        )
        _rejects(dataset.folder / "rejects.csv")
    # The first lines repeat the numbers above.
    lines = [line for line in summary_lines(dataset)[1:] if not line.startswith("  see ")]
    repeated = {f"  {count:,} × {reason}" for reason, count in manifest["reasons"].items()}
    st.code("\n".join(line for line in lines if line not in repeated), language=None)
    _train_form(job, dataset)


def _rejects(path: Path) -> None:
    if not path.is_file():
        return
    with st.expander("Rejected rows"):
        rows = pd.read_csv(path, nrows=REJECTS, dtype=str, keep_default_na=False)
        st.dataframe(rows.drop(columns="file", errors="ignore"), hide_index=True)
        st.download_button(
            "Download all rejected rows",
            path.read_bytes(),
            "rejects.csv",
            "text/csv",
            on_click="ignore",
            icon=":material/download:",
        )


def _train_form(job: Job, dataset: Dataset) -> None:
    st.subheader("Train")
    own = [name for name in models.available() if not name.startswith(str(job.folder))]
    left, right = st.columns(2)
    begin = left.selectbox(
        "Start from",
        [*own, SCRATCH],
        index=own.index(state.model_name()) if state.model_name() in own else 0,
        format_func=models.label,
        key=f"data.from.{job.folder.name}",
        help="A model that knows molecules already needs minutes; from scratch it takes hours "
        "and tens of thousands of molecules.",
    )
    minutes = right.number_input(
        "Minutes",
        0.1,
        100_000.0,
        10.0,
        1.0,
        format="%g",
        key=f"data.minutes.{job.folder.name}",
        help="The steps are planned for this time; the figures at the end take a minute or two "
        "more. A longer training is better up to a point; it ends early when nothing improves.",
    )
    origin = None if begin == SCRATCH else begin
    if st.button(
        "Train", type="primary", icon=":material/model_training:", key=f"train.{job.folder.name}"
    ):
        folder = new_folder(settings().folder, "train")
        words = training(dataset.folder, folder / "run", origin, minutes)
        title = f"Model of {job.notes.get('file', dataset.folder.name)}"
        job_view.show_next(start(folder, words, title=title, notes=job.notes), JOBS)


def training(dataset: Path, run: Path, origin: str | None, minutes: float) -> list[str]:
    """The command that trains on a dataset; without ``origin`` from random weights."""
    begin = ["--preset", "mini"] if origin is None else ["--from", origin]
    return ["train", str(dataset), *begin, "-o", str(run), "--max-time", f"{60 * minutes:.0f}s"]


def _training(job: Job) -> None:
    run = job.output("run")
    records = read_log(run)
    losses = [r for r in records if r.get("kind") == "train"]
    validations = [r for r in records if r.get("kind") == "validation"]
    if len(losses) < 2 and job.active:
        st.caption("The first figures appear after the preparation and some steps.")
    if len(losses) > 1:  # one point is no curve
        st.markdown("**Loss in training**")
        loss = [r["reconstruction"] for r in losses]
        curves.lines("seconds", [r["seconds"] for r in losses], {"loss": loss}, "nats per molecule")
    if len(validations) > 1:
        st.markdown("**Held-out molecules** (lower is better)")
        by_latent = {
            "D(0), with the latent": [r["D"]["0"] for r in validations],
            "D(1), without": [r["D"]["1"] for r in validations],
        }
        seconds = [r["seconds"] for r in validations]
        curves.lines("seconds", seconds, by_latent, "nats per molecule")
    if job.state == "finished":
        _numbers(next((r for r in reversed(records) if r.get("kind") == "final"), {}))
    _places(job)
    if job.state != "killed" and (run / "model" / "config.json").is_file() and not job.active:
        _use(run)


def _numbers(final: dict[str, Any]) -> None:
    """How well the measured columns are predicted on molecules the model has not seen."""
    if exact := final.get("exact"):
        st.markdown(
            f"{exact['numerator']:,} of {exact['denominator']:,} held-out molecules come back "
            "exactly through the latent."
        )
    for name, data in (final.get("columns") or {}).items():
        assessment = Assessment.from_json(data)
        st.markdown(
            f"**{plain(name)}** on {assessment.molecules:,} held-out molecules, "
            f"learned from {assessment.trained:,}"
        )
        rows = {
            "predictor": assessment.predictor,
            "head": assessment.head,
            "baseline": assessment.baseline,
        }
        st.dataframe(
            pd.DataFrame(
                {key: _figures(row) for key, row in rows.items() if row is not None}
            ).T.fillna("–"),
        )
        if assessment.remark:
            st.warning(plain(assessment.remark), icon=":material/warning:")
    if final.get("columns"):
        st.caption(
            "The predictor is used for targets and predictions. The baseline always says the "
            "mean, or the more frequent answer: what is not better than it has learned nothing."
        )


def _figures(scores: Scores) -> dict[str, str]:
    shown = {
        "R²": scores.r2,
        "Spearman": scores.spearman,
        "mean error": scores.mae,
        "in 90 % interval": scores.coverage,
        "AUC": scores.auc,
        "accuracy": scores.accuracy,
    }
    return {name: f"{value:.3g}" for name, value in shown.items() if value is not None}


def _use(run: Path) -> None:
    if state.model_name() == str(run):
        st.success("All pages of this tab use this model.", icon=":material/check:")
    elif st.button(
        "Use this model on all pages",
        type="primary",
        key=f"use.{run.parent.name}",
        icon=":material/check:",
    ):
        state.set_model(str(run))
        st.rerun()
