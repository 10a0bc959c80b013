"""``molvae optimize``: search for molecules that score higher."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from molvae.cli.options import (
    PATH,
    Verb,
    command_line,
    device_option,
    force_option,
    model_option,
    molecules_option,
    precision_option,
    request_options,
    scheduler_option,
    seed_option,
    show,
    workers_option,
)
from molvae.errors import ConfigError, FileError

if TYPE_CHECKING:
    from molvae.generate.request import Request
    from molvae.objectives import Objective
    from molvae.optimize.summary import OptimizeSummary
    from molvae.predict.store import Predictors

__all__: list[str] = []  # verbs are reached through their group


@click.command(cls=Verb)
@model_option
@click.option(
    "--objective",
    "objectives",
    multiple=True,
    required=True,
    metavar="NAME|FILE.py:FUNCTION|process:COMMAND|dock:TARGET",
    help="Objective to maximize; @WORST:BEST rescales it to 0 … 1, *WEIGHT weights it "
    "(repeatable).",
)
@click.option(
    "--pessimism",
    type=float,
    default=1.0,
    show_default=True,
    metavar="K",
    help="Score a measured column K standard deviations worse than predicted, so that the search "
    "stays near measured molecules.",
)
@click.option("--budget", type=int, required=True, help="Number of molecules to score.")
@click.option(
    "--patience",
    type=int,
    metavar="N",
    help="End the search after N calls none of which improved the ten best (with --pareto: the "
    "front).",
)
@click.option(
    "--ahead",
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="Propose N rounds while earlier ones are still being scored, so that slow molecules leave "
    "no worker idle.",
)
@molecules_option
@click.option("--minimize", is_flag=True, help="Minimize the objective, e.g. a docking score.")
@click.option("--pareto", is_flag=True, help="Search for the Pareto front of several objectives.")
@click.option(
    "--engine",
    "--method",
    "method",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Search method: evolution (auto), learning or sampling; with the extra bo cma or trust; "
    "or an engine of a plugin package.",
)
@request_options(sampling=False)
@click.option(
    "--known",
    multiple=True,
    type=PATH,
    metavar="FILE",
    help="Start from the molecules and scores of this file (an assay, the .calls.csv of another "
    "search), which cost no calls and are not written (repeatable).",
)
@click.option(
    "--known-column",
    "known_columns",
    multiple=True,
    metavar="[NAME=]COLUMN",
    help="Column of --known with the scores of the objective NAME, on its own scale "
    "(default: the column with its name; repeatable).",
)
@click.option(
    "--smiles-column",
    metavar="NAME",
    help="Column of --known with the SMILES (default: found by its usual names).",
)
@click.option(
    "--similarity",
    metavar="LOW:HIGH",
    help="Only score molecules this similar (Tanimoto) to the closest --like molecule.",
)
@click.option(
    "--report",
    type=PATH,
    metavar="FILE",
    help="Write an HTML page of the progress, the scores and the best molecules.",
)
@click.option(
    "--save-model",
    type=PATH,
    metavar="FOLDER",
    help="With --method learning: write the generator that the search tuned, for generate "
    "and optimize (-m FOLDER).",
)
@click.option(
    "--keep", type=int, default=100, show_default=True, help="Number of best molecules to write."
)
@click.option(
    "--timeout",
    type=float,
    metavar="SECONDS",
    help="Time limit per molecule; slower calls count as failed.",
)
@click.option(
    "--call-size",
    type=int,
    default=16,
    show_default=True,
    help="Most molecules passed to the objective at once.",
)
@click.option(
    "--dock-cpus",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="CPUs of one docking (dock:TARGET); --workers of them run at a time.",
)
@click.option(
    "--poses",
    type=PATH,
    metavar="FOLDER",
    help="Write the docked poses of every molecule to this folder as SDF.",
)
@seed_option
@click.option("--resume", is_flag=True, help="Continue an interrupted run of the same command.")
@device_option
@precision_option
@workers_option
@scheduler_option
@force_option
def optimize(
    objectives: tuple[str, ...],
    pessimism: float,
    budget: int,
    output: Path,
    minimize: bool,
    pareto: bool,
    request: Request,
    similarity: str | None,
    timeout: float | None,
    dock_cpus: int,
    poses: Path | None,
    known_columns: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Search for molecules that score higher.

    A FUNCTION takes a list of SMILES and returns one number (or None) for each; or it takes one
    SMILES and returns one number. A COMMAND reads SMILES line by line and prints
    {"payload": {"NAME": [...]}}. A TARGET is a receptor of dockstring. NAME is a built-in property
    (logp=2:3 for a range), a benchmark task, a plugin's, or a measured column of the model (pIC50,
    or pIC50=7: for the probability of a range).

    Every call is a row of STEM.calls.csv, written before the call and again after the answer.

    Example: molvae optimize --objective docking.py:score --minimize --budget 2000 -o best.csv
    """
    from molvae.objectives import DockOptions, parse_objective
    from molvae.targets import parse_target

    if similarity is not None:
        if not request.like:
            raise ConfigError("--similarity needs --like, the molecules to be similar to")
        window = parse_target(f"similarity={similarity}")
        request = replace(request, targets=(*request.targets, window))
    objective = parse_objective(
        objectives, minimize=minimize, pareto=pareto, timeout=timeout,
        columns=lambda: _columns(options["model"]), pessimism=pessimism,
        docking=DockOptions(dock_cpus, None if poses is None else poses.absolute()),
    )  # fmt: skip
    _make_folder(poses, objective)
    from molvae.optimize.known import parse_columns
    from molvae.optimize.run import optimize as search

    summary = search(
        output,
        objective,
        budget,
        request=request,
        given=request.like,
        pareto=pareto,
        timeout=timeout,
        known_columns=parse_columns(known_columns, objective.names),
        command=command_line(),
        **options,
    )
    lines = _lines(summary, output)
    if options["save_model"] is not None:
        lines.append(f"  tuned model in {options['save_model']}")
    show(as_json, summary.to_json(), lines)


def _make_folder(poses: Path | None, objective: Objective) -> None:
    """The folder for poses, if the objective docks."""
    from molvae.objectives import DockScorer

    if poses is None:
        return
    if not any(isinstance(part.scorer, DockScorer) for part in objective.parts):
        raise ConfigError("--poses needs an objective that docks: --objective dock:TARGET")
    try:
        poses.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"--poses '{poses}': no folder can be made there: {error}") from None


def _columns(model: str | None) -> Predictors | None:
    """The predictors of the model's measured columns."""
    from molvae.model.checkpoint import load_predictors

    return load_predictors(model)


def _lines(summary: OptimizeSummary, output: Path) -> list[str]:
    """The summary for the terminal."""
    from molvae.generate.refusals import with_examples

    lines = [
        f"{summary.calls:,} calls by {summary.method} ({summary.reason}); "
        f"{summary.written:,} best molecules written to {output}"
    ]
    if summary.best is not None:
        lines.append(f"  best {summary.best:.4g}, mean of the ten best {summary.top:.4g}")
    if summary.known_best is not None:
        lines.append(f"  best of {summary.known:,} known molecules {summary.known_best:.4g}")
    lines += [
        f"  {name}: {count:,} of the {summary.written:,} are similar to a measured molecule"
        for name, count in summary.inside.items()
    ]
    if summary.front is not None:
        lines.append(f"  {summary.front:,} on the front")
    if summary.diversity is not None:
        lines.append(f"  diversity of the ten best {summary.diversity:.2f}")
    if summary.scaffold_share is not None:
        lines.append(f"  {summary.scaffold_share:.0%} of the checked molecules have the scaffold")
    if summary.moves:
        moves = sorted(summary.moves.items())
        lines.append("  calls by move: " + ", ".join(f"{count:,} {move}" for move, count in moves))
    refused = with_examples(summary.refused, summary.examples)
    failures = Counter(summary.failures).most_common()
    lines += [f"  {count:,} failed: {why}" for why, count in failures[:5]]
    if len(failures) > 5:
        lines.append(f"  {sum(count for _, count in failures[5:]):,} failed for other reasons")
    return lines + [f"  {count:,} not scored: {why}" for why, count in refused.items()]
