"""``molvae decode``: molecules of latent points."""

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
    molecules_option,
    noise_option,
    seed_option,
    show,
)

__all__: list[str] = []  # verbs are reached through their group


@click.command(cls=Verb)
@model_option
@click.argument("latents", type=PATH, metavar="FILE")
@molecules_option
@noise_option
@click.option(
    "--temperature",
    type=float,
    default=0.0,
    show_default=True,
    help="Sampling temperature; 0 takes the most likely token.",
)
@seed_option
@device_option
@force_option
def decode(latents: Path, output: Path, as_json: bool, **options: Any) -> None:
    """Decode the latent points that molvae encode writes (.npy, or columns z0, z1 …).

    Example: molvae decode latents.npy -o molecules.csv
    """
    from molvae.latent.decode import decode_file

    summary = decode_file(latents, output, **options)
    line = f"{summary.decoded:,} of {summary.points:,} points decoded into {output}"
    show(as_json, summary.to_json(), [line])
