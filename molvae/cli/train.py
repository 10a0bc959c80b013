"""``molvae train``: a model of your molecules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from molvae.cli.data_options import configuration, data_options
from molvae.cli.options import INPUT, PATH, Verb, device_option, force_option, show, workers_option
from molvae.errors import ConfigError

__all__: list[str] = []  # verbs are reached through their group


@click.command(cls=Verb)
@click.argument("inputs", nargs=-1, required=True, type=INPUT)
@click.option("-o", "--output", required=True, type=PATH, help="Run folder to write.")
@click.option(
    "--preset",
    type=click.Choice(["tiny", "mini", "small", "base"]),
    help="Size of the model (default: small). For a few thousand molecules use --from default, or "
    "mini.",
)
@click.option("--epochs", type=float, metavar="N", help="Number of passes over the data.")
@click.option(
    "--max-time", metavar="TIME", help="Stop after this training time, e.g. 40s, 30m, 2h."
)
@click.option("--resume", is_flag=True, help="Continue an interrupted run of the same command.")
@click.option("--seed", type=int, metavar="INT", help="Random seed (default: 0).")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    help="Floating-point precision of the network (default: bf16 where the hardware supports it).",
)
@click.option(
    "--from",
    "start",
    metavar="MODEL",
    help="Fine-tune this model: its sizes and tokens, with the conditions of the data.",
)
@click.option(
    "--unknown-tokens",
    type=click.Choice(["learn", "reject", "error"]),
    help="With --from: learn tokens that the model lacks, or reject their molecules, or stop "
    "(default: learn).",
)
@data_options
@device_option
@workers_option
@force_option
def train(
    inputs: tuple[Path, ...],
    output: Path,
    preset: str | None,
    epochs: float | None,
    max_time: str | None,
    resume: bool,
    seed: int | None,
    precision: str | None,
    device: str,
    start: str | None,
    unknown_tokens: str | None,
    scheduler: str | None,
    workers: int | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a model on molecule files or a dataset folder.

    Example: molvae train my_molecules.csv -p pIC50 --from default -o runs/mine --max-time 30m
    """
    from molvae.config import parse_duration

    if unknown_tokens is not None and start is None:
        raise ConfigError("--unknown-tokens: needs --from MODEL, whose tokens are known")
    config = configuration(
        {**options, "preset": preset},
        {
            "data.unknown_tokens": unknown_tokens,
            "train.epochs": epochs,
            "train.max_time": parse_duration(max_time) if max_time else None,
            "train.seed": seed,
            "train.precision": precision,
        },
        fine_tuning=start is not None,
    )
    from molvae.train.distributed import is_first
    from molvae.train.run import train as run

    summary = run(
        inputs,
        output,
        config,
        device=device,
        workers=workers,
        scheduler=scheduler,
        resume=resume,
        force=force,
        start=start,
    )
    if not is_first():  # only one process prints
        return
    show(
        as_json,
        summary.to_json(),
        [f"model: {output / 'model'}", f"next: molvae generate -m {output} -n 100 -o new.csv"],
    )
