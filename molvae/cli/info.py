"""The verb that tells what a folder holds: info."""

from __future__ import annotations

from pathlib import Path

import click

from molvae.cli.options import PATH, common, show
from molvae.errors import ConfigError

__all__: list[str] = []  # verbs are reached through their group


@click.command()
@click.argument("what", type=PATH, required=False)
@click.option("--cache", is_flag=True, help="Show what the cache holds: datasets and downloads.")
@click.option("--clear", is_flag=True, help="Together with --cache: delete it all.")
@common
def info(what: Path | None, cache: bool, clear: bool, as_json: bool) -> None:
    """Show what a model, run, dataset or shard folder holds: sizes, conditions, figures.

    Alone, it lists the models in the box.

    Example: molvae info runs/mine
    """
    from molvae.cli.describe import describe, describe_cache, describe_shipped

    if (what is not None and cache) or (clear and not cache):
        raise ConfigError("info: give a folder or model, or --cache, or --cache --clear")
    if cache:
        data, lines = describe_cache(clear=clear)
    elif what is None:
        data, lines = describe_shipped()
    else:
        data, lines = describe(what)
    show(as_json, data, lines)
