"""``molvae fetch``: public data sets."""

from __future__ import annotations

from pathlib import Path

import click

from molvae.cli.options import PATH, Verb, force_option, show

__all__: list[str] = []  # verbs are reached through their group


@click.command(cls=Verb)
@click.argument("name")
@click.option("-o", "--output", type=PATH, metavar="FOLDER", help="Also copy the files here.")
@force_option
def fetch(name: str, output: Path | None, force: bool, as_json: bool) -> None:
    """Download a public data set (zinc250k, moses, guacamol), verified and cached.

    Example: molvae fetch zinc250k -o data/
    """
    from molvae.data.fetch import fetch as run
    from molvae.data.fetch import summary_lines

    paths = run(name, output, force=force)
    data = {"name": name, "files": [str(path) for path in paths]}
    show(as_json, data, summary_lines(name, paths))
