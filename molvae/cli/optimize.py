"""The verb that searches: optimize."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from pathlib import Path

import click

from molvae.cli.options import (
    PATH,
    common,
    device_option,
    force_option,
    model_option,
    names,
    precision_option,
    seed_option,
    show,
    workers_option,
)

__all__: list[str] = []  # verbs are reached through their group


@click.command()
@model_option
@click.option(
    "--objective", "objectives", multiple=True, required=True,
    metavar="NAME|FILE.py:FUNCTION|process:COMMAND",
    help="What is maximised; @WORST:BEST scales it to 0 … 1, *WEIGHT weighs it (repeatable).",
)  # fmt: skip
@click.option("--budget", type=int, required=True, help="Calls of the objective, of new molecules.")
@click.option(
    "-o", "--output", required=True, type=PATH,
    help="File for the best (.csv .tsv .smi .sdf, each also .gz; .parquet).",
)  # fmt: skip
@click.option("--minimize", is_flag=True, help="Lower scores are better, as of docking.")
@click.option("--pareto", is_flag=True, help="Search for the front of several objectives.")
@click.option(
    "--method", default="auto", show_default=True, metavar="NAME",
    help="evolution (what auto is), learning, sampling; with the extra bo: cma, trust.",
)  # fmt: skip
@click.option(
    "-t", "--target", "targets", multiple=True, metavar="NAME=LOW:HIGH",
    help="A constraint on every molecule that is scored (repeatable).",
)  # fmt: skip
@click.option(
    "--like", multiple=True, metavar="SMILES|FILE",
    help="Start from these molecules (repeatable).",
)  # fmt: skip
@click.option(
    "--similarity", metavar="LOW:HIGH",
    help="Score molecules only whose Tanimoto similarity to the nearest of --like lies there.",
)  # fmt: skip
@click.option(
    "--scaffold", metavar="SMILES|SMARTS", help="Score molecules with this substructure only."
)
@click.option(
    "--novel", multiple=True, type=PATH, metavar="FILE",
    help="Score no molecule of this file or dataset folder (repeatable).",
)  # fmt: skip
@click.option(
    "--alerts", metavar="A,B,…",
    help="Score no molecule with these alerts: pains, brenk, nih, zinc, chembl.",
)  # fmt: skip
@click.option("--elements", metavar="A,B,…", help="Score no molecule with any other.")
@click.option(
    "--max-ring", type=int, metavar="N", help="Score no molecule with a ring of more atoms."
)
@click.option(
    "--report", type=PATH, metavar="FILE", help="HTML page: the curve, the scores, the best drawn."
)
@click.option("--keep", type=int, default=100, show_default=True, help="Molecules to write.")
@click.option(
    "--timeout", type=float, metavar="SECONDS", help="For one molecule, before it has failed."
)
@click.option(
    "--call-size", type=int, default=16, show_default=True,
    help="Molecules handed to the objective together, at most.",
)  # fmt: skip
@seed_option
@click.option("--resume", is_flag=True, help="Go on with the calls of a run that was stopped.")
@device_option
@precision_option
@workers_option
@force_option
@common
def optimize(
    model: str | None, objectives: tuple[str, ...], budget: int, output: Path, minimize: bool,
    pareto: bool, method: str, targets: tuple[str, ...], like: tuple[str, ...],
    similarity: str | None, scaffold: str | None, novel: tuple[Path, ...], alerts: str | None,
    elements: str | None, max_ring: int | None, keep: int, timeout: float | None, call_size: int,
    seed: int, report: Path | None, resume: bool, device: str, precision: str, workers: int | None,
    force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Search for molecules that score higher; without -m, with the shipped model.

    A FUNCTION gets a list of SMILES and returns as many numbers, None for none; or gets one SMILES
    and returns one. A COMMAND gets SMILES line by line and prints {"payload": {"NAME": [...]}}.
    NAME is a built-in property (logp=2:3 for a window), a benchmark task, or a plugin's.

    Every call is a row of STEM.calls.csv, written before it is made and after it was answered.

    Example: molvae optimize --objective docking.py:score --minimize --budget 2000 -o best.csv
    """
    from molvae.errors import ConfigError
    from molvae.objectives import parse_objective
    from molvae.targets import parse_target

    for text in targets:
        parse_target(text)  # a malformed one is said before anything heavy is loaded
    if similarity is not None and not like:
        raise ConfigError("--similarity needs --like, the molecules to be similar to")
    objective = parse_objective(objectives, minimize=minimize, pareto=pareto, timeout=timeout)
    from molvae.generate.request import Request
    from molvae.generate.run import read_starts
    from molvae.optimize.run import optimize as search

    starts = read_starts(like)
    request = Request(
        like=starts, scaffold=scaffold, alerts=tuple(names(alerts) or ()),
        elements=tuple(names(elements) or ()), max_ring=max_ring,
    )  # fmt: skip
    window = [] if similarity is None else [f"similarity={similarity}"]
    summary = search(
        output, objective, budget, model=model, method=method, constraints=[*targets, *window],
        request=request, given=starts, novel=novel, pareto=pareto, keep=keep, seed=seed,
        device=device, precision=precision, workers=workers, timeout=timeout,
        call_size=call_size, report=report, command=shlex.join(["molvae", *sys.argv[1:]]),
        resume=resume, force=force,
    )  # fmt: skip
    lines = [
        f"{summary.calls:,} calls by {summary.method} ({summary.reason}); "
        f"{summary.written:,} best molecules written to {output}"
    ]
    if summary.best is not None:
        lines.append(f"  best {summary.best:.4g}, mean of the ten best {summary.top:.4g}")
    if summary.front is not None:
        lines.append(f"  {summary.front:,} on the front")
    if summary.diversity is not None:
        lines.append(f"  diversity of the ten best {summary.diversity:.2f}")
    lines += [f"  {count:,} × {move}" for move, count in sorted(summary.moves.items())]
    failures = Counter(summary.failures).most_common()
    lines += [f"  {count:,} failed: {why}" for why, count in failures[:5]]
    if len(failures) > 5:
        lines.append(f"  {sum(count for _, count in failures[5:]):,} failed for other reasons")
    lines += [f"  {count:,} not scored: {why}" for why, count in summary.refused.items()]
    show(as_json, summary.to_json(), lines)
