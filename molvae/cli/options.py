"""Options that several verbs share, and what they turn into."""

from __future__ import annotations

import functools
import json
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from molvae.errors import ConfigError, ElsewhereError, MolvaeError

if TYPE_CHECKING:
    from molvae.config import Config

__all__ = [
    "INPUT",
    "PATH",
    "common",
    "configuration",
    "data_options",
    "device_option",
    "force_option",
    "model_option",
    "names",
    "precision_option",
    "seed_option",
    "show",
    "span",
    "terminated_as_interrupted",
    "workers_option",
]


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, which job schedulers send, stops a verb as Ctrl-C does: cleanly, with a word."""
    try:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:  # not the main thread: signals are the caller's business
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


F = TypeVar("F", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
INPUT = click.Path(path_type=Path, allow_dash=True)


def common(function: F) -> F:
    """Options every verb has, and one line with the right exit code for errors of the library."""

    @functools.wraps(function)
    def verb(*, traceback: bool, quiet: bool, **options: Any) -> None:
        from molvae.runtime.progress import set_quiet

        set_quiet(quiet)
        try:
            with terminated_as_interrupted():
                function(**options)
        except MolvaeError as error:
            if traceback:
                raise
            if not isinstance(error, ElsewhereError):
                click.echo(f"error: {error}", err=True)
            click.get_current_context().exit(error.exit_code)
        except BrokenPipeError:  # `| head` has seen enough; click ends quietly
            raise
        except OSError as error:  # a full disk, a folder that vanished
            if traceback or error.strerror is None:
                raise
            where = f"'{error.filename}': " if error.filename else ""
            click.echo(f"error: {where}{error.strerror}", err=True)
            click.get_current_context().exit(1)

    result: Any = verb
    for option in (
        click.option("--traceback", is_flag=True, help="Show Python's traceback on an error."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
        click.option("--quiet", is_flag=True, help="No progress and no notes."),
    ):
        result = option(result)
    return cast(F, result)


def force_option(function: F) -> F:
    """Whether outputs may be overwritten."""
    return click.option("--force", is_flag=True, help="Overwrite existing outputs.")(function)


def workers_option(function: F) -> F:
    """How many processes do RDKit's work."""
    return click.option(
        "--workers", type=int, metavar="N", help="Processes for RDKit work (default: all CPUs)."
    )(function)


def model_option(function: F) -> F:
    """Which model."""
    return click.option(
        "-m", "--model", type=str, help="Model or run folder, or the name of a shipped model."
    )(function)


def precision_option(function: F) -> F:
    """How the network computes."""
    return click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16"]),
        default="auto",
        show_default=True,
        help="Arithmetic of the network.",
    )(function)


def seed_option(function: F) -> F:
    """What all random numbers follow from."""
    return click.option(
        "--seed", type=int, default=0, show_default=True, metavar="INT", help="Seed."
    )(function)


def device_option(function: F) -> F:
    """Where the network runs."""
    return click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda", "mps"]),
        default="auto",
        show_default=True,
        help="Where the network runs.",
    )(function)


def span(text: str | None, name: str) -> float | tuple[float, float] | None:
    """A number, or a range ``LOW:HIGH`` of them; None if nothing was said."""
    if text is None:
        return None
    low, colon, high = text.partition(":")
    try:
        return (float(low), float(high)) if colon else float(low)
    except ValueError:
        raise ConfigError(f"{name}: got '{text}', expected a number or LOW:HIGH") from None


def data_options(function: F) -> F:
    """Options about reading molecules, shared by prepare and train."""
    for option in reversed((
        click.option(
            "-p", "--property", "columns", multiple=True, metavar="NAME[=COLUMN]",
            help="Condition on a column of the file too; gaps are fine (repeatable).",
        ),
        click.option(
            "--conditions", metavar="A,B,…",
            help="Condition on these properties only (default: all built-in ones and every -p).",
        ),
        click.option("--smiles-column", metavar="NAME", help="Column with the SMILES."),
        click.option(
            "--transform", "transforms", multiple=True, metavar="[NAME=]LOG[:UNIT]",
            help="Logarithm of a -p column: neglog10:nM turns IC50 into pIC50 (repeatable).",
        ),
        click.option(
            "--bad-labels", type=click.Choice(["error", "reject", "missing"]),
            help="What a cell is that is no number, yes/no or gap (default: error).",
        ),
        click.option(
            "--censored", type=click.Choice(["missing", "limit"]),
            help="What a value such as >10000 is: a gap, or its limit (default: missing).",
        ),
        click.option(
            "--standardize", type=click.Choice(["rdkit", "chembl", "none"]),
            help="Cleaning: RDKit's, ChEMBL's, or leave as written (default: rdkit).",
        ),
        click.option("--no-stereo", is_flag=True, help="Drop stereochemistry."),
        click.option("--elements", metavar="A,B,…", help="Refuse molecules with any other."),
        click.option("--min-heavy", type=int, metavar="N", help="Fewest heavy atoms (default: 3)."),
        click.option("--max-heavy", type=int, metavar="N", help="Most heavy atoms (default: 60)."),
        click.option(
            "--max-tokens", type=int, metavar="N", help="Most SELFIES symbols (default: 120)."
        ),
        click.option("--isotopes", is_flag=True, help="Keep molecules with isotope labels."),
        click.option("--no-charged", is_flag=True, help="Refuse molecules that stay charged."),
        click.option(
            "--split", metavar="random|scaffold|COLUMN",
            help="Hold out by hash, by scaffold, or as a column says (default: random).",
        ),
        click.option(
            "--timeout", type=float, metavar="SECONDS",
            help="For one molecule, before it is refused (default: 20).",
        ),
        click.option(
            "--scheduler", metavar="ADDRESS",
            help="Prepare on the workers of this Dask scheduler, e.g. tcp://127.0.0.1:8786.",
        ),
        click.option(
            "--config", "config_file", type=PATH, metavar="FILE", help="TOML file with any knobs."
        ),
        click.option(
            "--set", "settings", multiple=True, metavar="KEY=VALUE",
            help="Set one knob, e.g. train.batch_size=128 (repeatable).",
        ),
    )):  # fmt: skip
        function = option(function)
    return function


def _columns(texts: tuple[str, ...]) -> dict[str, str] | None:
    columns: dict[str, str] = {}
    for text in texts:
        name, _, column = text.partition("=")
        if name in columns:
            raise ConfigError(f"-p {name} is given twice")
        columns[name] = column or name
    return columns or None


def names(text: str | None) -> list[str] | None:
    """The parts of a list with commas."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _transforms(texts: tuple[str, ...], columns: dict[str, str] | None) -> dict[str, str] | None:
    """Condition name -> transform; the name may be left out if there is one column only."""
    from molvae.data.columns import parse_transform

    transforms: dict[str, str] = {}
    for text in texts:
        name, sign, transform = text.rpartition("=")
        if not sign:
            if columns is None or len(columns) != 1:
                raise ConfigError(
                    f"--transform {text}: say which column, as in --transform pIC50={text}"
                )
            name = next(iter(columns))
        parse_transform(transform)
        transforms[name] = transform
    return transforms or None


def configuration(
    options: dict[str, Any], more: Mapping[str, Any], *, fine_tuning: bool = False
) -> Config:
    """The effective configuration of :func:`data_options`, and of ``more`` by dotted keys."""
    from molvae.config import load_config

    columns = _columns(options["columns"])
    return load_config(
        preset=options.get("preset"),
        file=options["config_file"],
        settings=options["settings"],
        overrides={
            "data.smiles_column": options["smiles_column"],
            "data.properties": columns,
            "data.conditions": names(options["conditions"]),
            "data.transforms": _transforms(options["transforms"], columns),
            "data.bad_labels": options["bad_labels"],
            "data.censored": options["censored"],
            "data.max_tokens": options["max_tokens"],
            "data.split": options["split"],
            "data.timeout": options["timeout"],
            "data.cleaning.standardize": options["standardize"],
            "data.cleaning.stereo": False if options["no_stereo"] else None,
            "data.cleaning.elements": names(options["elements"]),
            "data.cleaning.min_heavy_atoms": options["min_heavy"],
            "data.cleaning.max_heavy_atoms": options["max_heavy"],
            "data.cleaning.isotopes": True if options["isotopes"] else None,
            "data.cleaning.charged": False if options["no_charged"] else None,
            **more,
        },
        fine_tuning=fine_tuning,
    )


def show(as_json: bool, data: dict[str, Any], lines: list[str]) -> None:
    """The result on standard output: JSON for machines, lines for people."""
    if as_json:
        click.echo(json.dumps(data, indent=1, ensure_ascii=False, default=str, allow_nan=False))
        return
    for line in lines:
        click.echo(line)
