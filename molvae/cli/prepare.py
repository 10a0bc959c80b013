"""``molvae prepare``: molecule files to a dataset folder, or to one shard of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from molvae.cli.data_options import configuration, data_options
from molvae.cli.options import INPUT, PATH, Verb, force_option, show, workers_option
from molvae.errors import ConfigError

__all__: list[str] = []  # verbs are reached through their group


@click.command(cls=Verb)
@click.argument("inputs", nargs=-1, required=True, type=INPUT)
@click.option("-o", "--output", required=True, type=PATH, help="Dataset folder to write.")
@click.option("--resume", is_flag=True, help="Continue an interrupted run of the same command.")
@click.option(
    "--shard", metavar="I/N", help="Prepare only the I-th of N shares; molvae merge joins them."
)
@click.option("--vocabulary", metavar="MODEL", help="Allow only the tokens of this model.")
@click.option(
    "--unknown-tokens",
    type=click.Choice(["error", "reject"]),
    help="With --vocabulary: stop at a molecule with other tokens, or reject it (default: error).",
)
@data_options
@workers_option
@force_option
def prepare(
    inputs: tuple[Path, ...],
    output: Path,
    resume: bool,
    shard: str | None,
    vocabulary: str | None,
    unknown_tokens: str | None,
    scheduler: str | None,
    workers: int | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Clean molecule files (.smi .csv .tsv .sdf .parquet, also .gz; - for standard input).

    Example: molvae prepare library.csv.gz -p pIC50 -o library.ds
    """
    from molvae.data.prepare import prepare as run
    from molvae.data.prepare import prepare_shard, summary_lines
    from molvae.data.shard import Shard

    if unknown_tokens is not None and vocabulary is None:
        raise ConfigError("--unknown-tokens: needs --vocabulary MODEL, whose tokens are known")
    config = configuration(options, {"data.unknown_tokens": unknown_tokens}).data
    share = None if shard is None else Shard.parse(shard)
    more: dict[str, Any] = {
        "workers": workers,
        "scheduler": scheduler,
        "resume": resume,
        "force": force,
    }
    if vocabulary is not None:
        from molvae.model.checkpoint import load_model

        model = load_model(vocabulary)
        more |= {"vocabulary": model.vocabulary, "constraints": model.constraints}
    if share is None:
        dataset = run(inputs, output, config, **more)
        show(as_json, dataset.manifest, [*summary_lines(dataset), f"dataset: {output}"])
    else:
        folder = prepare_shard(inputs, output, config, share, **more)
        show(as_json, {"shard": str(folder)}, [f"shard {shard}: {folder}"])
