"""Every command and option explains itself, and is found in README or docs."""

import dataclasses
import inspect
import re
from pathlib import Path

import click
import pytest

from molvae import MolVAE
from molvae.cli import main
from molvae.generate.request import Request

ROOT = Path(__file__).parents[2]
PAGES = "\n".join(
    path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if path.exists()
)


def commands(command, path=()):
    """(path, command) of a click command and everything below it."""
    yield path, command
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            if not below.hidden:
                yield from commands(below, (*path, name))


COMMANDS = [
    pytest.param(path, command, id=" ".join(path) or "molvae") for path, command in commands(main)
]


def options(command):
    return [p for p in command.params if isinstance(p, click.Option) and not p.hidden]


@pytest.mark.parametrize(("path", "command"), COMMANDS)
def test_has_help(path, command):
    assert (command.help or "").strip()
    assert [o.name for o in options(command) if not (o.help or "").strip()] == []


@pytest.mark.parametrize(("path", "command"), COMMANDS)
def test_is_documented(path, command):
    wanted = [" ".join(("molvae", *path))]
    for option in options(command):
        wanted += [name for name in (*option.opts, *option.secondary_opts) if name[:2] == "--"]
    missing = [w for w in wanted if not re.search(rf"(?<![\w-]){re.escape(w)}(?![\w-])", PAGES)]
    assert missing == [], "not in README.md or docs/*.md"


def test_generate_has_the_same_defaults_everywhere():
    """On the command line, as a method of the model, and in the request."""
    generate = main.commands["generate"]
    cli = {option.name: option.get_default(click.Context(generate)) for option in generate.params}
    request = Request()
    assert (cli["temperature"], cli["candidates"]) == (request.temperature, request.candidates)
    assert cli["unique"] is request.unique
    method = inspect.signature(MolVAE.generate).parameters
    for field in dataclasses.fields(Request):
        assert method[field.name].default == field.default, field.name
