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


def test_the_command_line_page_is_generated_from_the_program():
    """Every command and option is on it, whatever the guides mention."""
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert re.search(r"click:: molvae\.cli:main\n\s*:prog: molvae\n\s*:nested: full\n", page)


@pytest.mark.parametrize("verb", main.commands)
def test_a_verb_is_explained_in_a_guide(verb):
    assert f"molvae {verb}" in PAGES


def test_documented_commands_exist():
    """Each `molvae VERB --option` in README and docs, lines continued by a backslash included."""
    shown = re.findall(r"\bmolvae (\w+) ([^\n`|]*)", PAGES.replace("\\\n", " "))
    shown = [(verb, line) for verb, line in shown if verb in main.commands]
    assert len(shown) > 50
    wrong = []
    for verb, line in shown:
        known = {
            name for o in options(main.commands[verb]) for name in (*o.opts, *o.secondary_opts)
        }
        own = line.partition(" | ")[0].partition(" && ")[0].partition("  #")[0]
        used = set(re.findall(r"(?<!\S)--[a-z][\w-]*", own)) - {"--help"}
        wrong += [f"molvae {verb} {option}" for option in sorted(used - known)]
    assert wrong == []


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
