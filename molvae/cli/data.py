"""Verbs about molecule files: prepare, merge, fetch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from molvae.cli.options import (
    INPUT,
    PATH,
    common,
    configuration,
    data_options,
    force_option,
    show,
    workers_option,
)
from molvae.errors import ConfigError

__all__: list[str] = []  # verbs are reached through their group


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=INPUT)
@click.option("-o", "--output", required=True, type=PATH, help="Dataset folder to write.")
@click.option("--resume", is_flag=True, help="Go on with interrupted work of the same command.")
@click.option(
    "--shard", metavar="I/N",
    help="Do the I-th of N shares only; molvae merge puts them together.",
)  # fmt: skip
@click.option("--vocabulary", metavar="MODEL", help="Allow no tokens but those of this model.")
@click.option(
    "--unknown-tokens", type=click.Choice(["error", "reject"]),
    help="What to do with molecules that have others (default: error).",
)  # fmt: skip
@data_options
@workers_option
@force_option
@common
def prepare(
    inputs: tuple[Path, ...], output: Path, resume: bool, shard: str | None,
    vocabulary: str | None, unknown_tokens: str | None, scheduler: str | None,
    workers: int | None, force: bool, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Clean molecule files (.smi .csv .tsv .sdf .parquet, also .gz; - for standard input).

    Example: molvae prepare library.csv.gz -p pIC50 -o library.ds
    """
    from molvae.data.prepare import prepare as run
    from molvae.data.prepare import prepare_shard, summary_lines
    from molvae.data.prepare.plan import Shard

    if unknown_tokens is not None and vocabulary is None:
        raise ConfigError("--unknown-tokens: needs --vocabulary MODEL, which says what is known")
    config = configuration(options, {"data.unknown_tokens": unknown_tokens}).data
    share = None if shard is None else Shard.parse(shard)
    more: dict[str, Any] = {
        "workers": workers, "scheduler": scheduler, "resume": resume, "force": force,
    }  # fmt: skip
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


@click.command()
@click.argument("shards", nargs=-1, required=True, type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="Dataset folder to write.")
@click.option(
    "--unknown-tokens", type=click.Choice(["error", "reject"]),
    help="As in prepare (default: as the shards were made).",
)  # fmt: skip
@force_option
@common
def merge(
    shards: tuple[Path, ...], output: Path, unknown_tokens: Literal["error", "reject"] | None,
    force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Put all shards of one preparation together into a dataset folder.

    Example: molvae merge shard-1 shard-2 shard-3 -o library.ds
    """
    from molvae.data.prepare import merge as run
    from molvae.data.prepare import summary_lines

    dataset = run(shards, output, unknown_tokens=unknown_tokens, force=force)
    show(as_json, dataset.manifest, [*summary_lines(dataset), f"dataset: {output}"])


@click.command()
@click.argument("name")
@click.option("-o", "--output", type=PATH, metavar="FOLDER", help="Copy the files there too.")
@force_option
@common
def fetch(name: str, output: Path | None, force: bool, as_json: bool) -> None:
    """Download a public data set (zinc250k, moses, guacamol), checked and cached.

    Example: molvae fetch zinc250k -o data/
    """
    from molvae.data.fetch import fetch as run
    from molvae.data.fetch import summary_lines

    paths = run(name, output, force=force)
    data = {"name": name, "files": [str(path) for path in paths]}
    show(as_json, data, summary_lines(name, paths))
