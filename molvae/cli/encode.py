"""``molvae encode``: latent points of molecules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from molvae.cli.options import (
    PATH,
    Verb,
    device_option,
    force_option,
    model_option,
    precision_option,
    scheduler_option,
    show,
    smiles_column_option,
    workers_option,
)
from molvae.errors import RunError

__all__: list[str] = []  # verbs are reached through their group


@click.command(cls=Verb)
@model_option
@click.argument("inputs", nargs=-1, required=True, type=PATH, metavar="INPUT...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=PATH,
    help="File to write: .npy (latents only), .csv .tsv (also .gz), .parquet.",
)
@smiles_column_option
@click.option(
    "--score",
    is_flag=True,
    help="Add −log p of each molecule, without and with its latent, in nats.",
)
@click.option(
    "--keep",
    multiple=True,
    metavar="NAME",
    help="Copy this column of the input, such as an identifier (repeatable).",
)
@click.option(
    "--predict",
    is_flag=True,
    help="Add predictions of the columns that the model was trained with.",
)
@device_option
@precision_option
@workers_option
@scheduler_option
@force_option
def encode(
    inputs: tuple[Path, ...], output: Path, smiles_column: str | None, as_json: bool, **options: Any
) -> None:
    """Write the latent points of molecules, their likelihood and predictions.

    Example: molvae encode my_molecules.csv -o latents.npy
    """
    from molvae.data.readers import piped
    from molvae.latent.encode import encode_file

    with piped(inputs, smiles_column=smiles_column) as files:
        summary = encode_file(files, output, smiles_column=smiles_column, **options)
    lines = [f"{summary.encoded:,} of {summary.molecules:,} molecules encoded into {output}"]
    lines += [f"  {count:,} × {reason}" for reason, count in summary.refused.items()]
    show(as_json, summary.to_json(), lines)
    if not summary.encoded:
        raise RunError("no molecule could be encoded")
