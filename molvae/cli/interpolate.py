"""``molvae interpolate``: molecules between two molecules."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from molvae.cli.options import (
    PATH,
    Verb,
    force_option,
    model_option,
    noise_option,
    seed_option,
    show,
)

__all__: list[str] = []  # verbs are reached through their group


@click.command(cls=Verb)
@model_option
@click.argument("first", metavar="SMILES")
@click.argument("last", metavar="SMILES")
@click.option("-o", "--output", type=PATH, help="Molecule file to write (.csv .tsv .smi .sdf …).")
@click.option("--grid", type=PATH, metavar="FILE", help="Draw the path (.png .svg).")
@click.option(
    "--points", type=int, default=11, show_default=True, help="Number of points, ends included."
)
@noise_option
@seed_option
@force_option
def interpolate(
    model: str | None,
    first: str,
    last: str,
    output: Path | None,
    grid: Path | None,
    points: int,
    noise: float,
    seed: int,
    force: bool,
    as_json: bool,
) -> None:
    """Decode the latent points on the path from one molecule to another.

    Example: molvae interpolate "CC(=O)Nc1ccc(O)cc1" "CC(C)Cc1ccc(C(C)C(=O)O)cc1" --grid path.svg
    """
    from molvae.latent.interpolate import interpolate_file

    path = interpolate_file(
        first,
        last,
        model=model,
        output=output,
        grid=grid,
        points=points,
        noise=noise,
        seed=seed,
        force=force,
    )
    lines = ["share  to first  to last"]
    for point in path:
        near = f"{point.similarity_first:8.2f} {point.similarity_last:8.2f}"
        near = near if point.smiles else " " * 17
        lines.append(f"{point.share:5.2f} {near}  {point.smiles or '(no molecule)'}")
    # NaN, the similarity of no molecule, is not JSON.
    data = [{k: v for k, v in asdict(point).items() if v == v} for point in path]
    show(as_json, {"points": data}, lines)
