"""``molvae merge``: shards to a dataset folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from molvae.cli.options import PATH, Verb, force_option, show

__all__: list[str] = []  # verbs are reached through their group


@click.command(cls=Verb)
@click.argument("shards", nargs=-1, required=True, type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="Dataset folder to write.")
@click.option(
    "--unknown-tokens",
    type=click.Choice(["error", "reject"]),
    help="As in molvae prepare (default: as the shards were made).",
)
@force_option
def merge(
    shards: tuple[Path, ...],
    output: Path,
    unknown_tokens: Literal["error", "reject"] | None,
    force: bool,
    as_json: bool,
) -> None:
    """Join all shards of one preparation into a dataset folder.

    Example: molvae merge shard-1 shard-2 shard-3 -o library.ds
    """
    from molvae.data.prepare import merge as run
    from molvae.data.prepare import summary_lines

    dataset = run(shards, output, unknown_tokens=unknown_tokens, force=force)
    show(as_json, dataset.manifest, [*summary_lines(dataset), f"dataset: {output}"])
