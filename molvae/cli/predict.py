"""``molvae predict``: measured columns of molecules, with intervals and the nearest evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from molvae.cli.options import (
    PATH,
    Verb,
    force_option,
    model_option,
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
    help="File to write: .csv .tsv (also .gz), .parquet.",
)
@smiles_column_option
@click.option(
    "--level",
    type=float,
    default=0.9,
    show_default=True,
    metavar="P",
    help="Probability that a measured value lies between NAME_low and NAME_high.",
)
@click.option(
    "--keep",
    multiple=True,
    metavar="NAME",
    help="Copy this column of the input, such as an identifier (repeatable).",
)
@workers_option
@force_option
def predict(
    inputs: tuple[Path, ...], output: Path, smiles_column: str | None, as_json: bool, **options: Any
) -> None:
    """Predict the columns that a model was trained with, from measured molecules that are similar.

    Each prediction has an interval, the most similar training molecule with its measured value, and
    whether the molecule is similar enough for the interval to hold.

    Example: molvae predict new.csv -m runs/mine -o predicted.csv
    """
    from molvae.data.readers import piped
    from molvae.latent.predict import predict_file

    with piped(inputs, smiles_column=smiles_column) as files:
        summary = predict_file(files, output, smiles_column=smiles_column, **options)
    lines = [f"{summary.predicted:,} of {summary.molecules:,} molecules predicted into {output}"]
    lines += [
        f"  {count:,} × {reason}, such as {summary.examples[reason]}"
        for reason, count in summary.refused.items()
    ]
    lines += [
        f"  {name}: {count:,} of {summary.predicted:,} are similar to a measured molecule"
        for name, count in summary.inside.items()
    ]
    show(as_json, summary.to_json(), lines)
    if not summary.predicted:
        raise RunError("no molecule could be predicted")
