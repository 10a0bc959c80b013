"""``molvae app``: the same in the browser."""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from pathlib import Path

import click

from molvae.cli.options import PATH, Verb, model_option, show
from molvae.errors import ConfigError, FileError

__all__: list[str] = []  # verbs are reached through their group


@click.command(cls=Verb)
@model_option
@click.option(
    "--port", type=int, metavar="N", help="Port of the page (default: the first free from 8501 on)."
)
@click.option("--no-browser", is_flag=True, help="Print the address; do not open a browser.")
@click.option(
    "--objectives",
    multiple=True,
    type=PATH,
    metavar="FILE.py",
    help="Offer the functions of this Python file as objectives of a search (repeatable).",
)
@click.option(
    "--folder",
    type=PATH,
    default=Path("molvae-app"),
    show_default=True,
    help="Folder where long jobs keep their files; the first job makes it.",
)
def app(
    model: str | None,
    port: int | None,
    no_browser: bool,
    objectives: tuple[Path, ...],
    folder: Path,
    as_json: bool,
) -> None:
    """Open molvae as a page in the browser: draw, generate, train and search by clicking.

    The page is served to this computer only, at 127.0.0.1, and needs no internet.

    Example: molvae app -m runs/mine
    """
    missing = [name for name in ("streamlit", "streamlit_jsme") if not _installed(name)]
    if missing:
        raise ConfigError(f"app needs the extra ({', '.join(missing)}): pip install 'molvae[app]'")
    for file in objectives:
        if file.suffix != ".py" or not file.is_file():
            raise FileError(f"--objectives: '{file}': expected a Python file")
    if folder.exists() and not folder.is_dir():
        raise FileError(f"--folder: '{folder}' is a file, expected a folder or a new name")
    from molvae.app.server import serve
    from molvae.app.settings import Settings
    from molvae.model.checkpoint import find_model

    find_model(model)  # a wrong name is reported here, not in the browser
    files = tuple(file.resolve() for file in objectives)

    def ready(url: str) -> None:
        show(as_json, {"url": url}, [f"molvae app is at {url} (Ctrl-C ends it)"])

    with suppress(KeyboardInterrupt):  # the usual end
        serve(
            Settings(model, files, folder.resolve()),
            port=port,
            browser=not no_browser,
            ready=ready,
        )


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
