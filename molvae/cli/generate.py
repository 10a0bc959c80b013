"""``molvae generate``: molecules that meet property targets."""

from __future__ import annotations

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
from molvae.errors import RunError

if TYPE_CHECKING:
    from molvae.generate.request import Request

__all__: list[str] = []  # verbs are reached through their group


@click.command(cls=Verb)
@model_option
@click.option("-n", "--number", type=int, required=True, help="Number of molecules to generate.")
@molecules_option
@request_options(sampling=True)
@click.option(
    "--smiles-header",
    default="smiles",
    show_default=True,
    metavar="NAME",
    help="Name of the SMILES column of a table; MOSES' scripts expect SMILES.",
)
@click.option("--report", type=PATH, metavar="FILE", help="Write an HTML page of the results.")
@click.option("--grid", type=PATH, metavar="FILE", help="Draw the first 100 (.png .svg).")
@seed_option
@click.option(
    "--shard", metavar="I/N", help="Generate only the I-th of N shares, to run N commands at once."
)
@click.option(
    "--strict", is_flag=True, help="Exit with code 1 if fewer molecules are found than requested."
)
@click.option("--resume", is_flag=True, help="Continue an interrupted run of the same command.")
@device_option
@precision_option
@workers_option
@scheduler_option
@force_option
def generate(
    number: int,
    output: Path,
    request: Request,
    smiles_header: str,
    report: Path | None,
    grid: Path | None,
    shard: str | None,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Generate molecules that meet property targets.

    Example: molvae generate -n 100 -t logp=2:3 -t qed=0.8: -o mine.csv
    """
    from molvae.data.shard import Shard
    from molvae.generate.run import ADVICE, OutputOptions, generate_file

    summary = generate_file(
        output,
        number,
        request=request,
        shard=None if shard is None else Shard.parse(shard),
        options=OutputOptions(report, grid, smiles_header, command_line()),
        **options,
    )
    lines = [f"{summary.written:,} of {summary.wanted:,} molecules written to {output}"]
    lines += [
        f"  {name}: mean {value['mean']:.4g}, mean distance to the target {value['mean_error']:.3g}"
        for name, value in summary.obtained.items()
    ]
    lines += [
        f"  {name}: {count:,} of {summary.written:,} are similar to a measured molecule"
        for name, count in summary.inside.items()
    ]
    if summary.scaffold_share is not None:
        lines.append(f"  {summary.scaffold_share:.0%} of the candidates contain the scaffold")
    lines += [f"  {count:,} × {reason}" for reason, count in summary.refusals.items()]
    show(as_json, summary.to_json(), lines)
    if not summary.written:
        raise RunError(f"no molecule was found, so '{output}' was not written; {ADVICE}")
    if strict and summary.written < summary.wanted:
        raise RunError(f"only {summary.written:,} of {summary.wanted:,} molecules were found")
