"""The door: parse the command line, make one library call, print the result.

Nothing heavy is imported before a verb runs, so that ``molvae --help`` answers at once.
"""

from __future__ import annotations

import functools
import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import click

from molvae import __version__
from molvae.errors import ConfigError, MolvaeError, RunError

if TYPE_CHECKING:
    from molvae.config import Config

__all__ = ["main"]

F = TypeVar("F", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
INPUT = click.Path(path_type=Path, allow_dash=True)
DRAWN = 60  # molecules drawn on a report page


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="molvae", message="%(prog)s %(version)s")
def main() -> None:
    """Train a conditional VAE on your molecules, generate new ones, learn how good they are.

    \b
    molvae train my_molecules.csv -p pIC50 -o runs/mine
    molvae generate -m runs/mine -n 1000 -t logp=2:3 -t qed=0.8: -o hits.csv
    molvae evaluate hits.csv --train my_molecules.csv --report hits.html
    """


def _common(function: F) -> F:
    """Options every verb has, and one line with the right exit code for errors of the library."""

    @functools.wraps(function)
    def verb(*, traceback: bool, quiet: bool, **options: Any) -> None:
        from molvae.progress import set_quiet

        set_quiet(quiet)
        try:
            function(**options)
        except MolvaeError as error:
            if traceback:
                raise
            click.echo(f"error: {error}", err=True)
            click.get_current_context().exit(error.exit_code)
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


def _force(function: F) -> F:
    return click.option("--force", is_flag=True, help="Overwrite existing outputs.")(function)


def _workers(function: F) -> F:
    return click.option(
        "--workers", type=int, metavar="N", help="Processes for RDKit work (default: all CPUs)."
    )(function)


def _device(function: F) -> F:
    return click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda", "mps"]),
        default="auto",
        show_default=True,
        help="Where the network runs.",
    )(function)


def _data_options(function: F) -> F:
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


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _transforms(texts: tuple[str, ...], columns: dict[str, str] | None) -> dict[str, str] | None:
    """Condition name -> transform; the name may be left out if there is one column only."""
    from molvae.labels import parse_transform

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


def _config(options: dict[str, Any], **more: Any) -> Config:
    """The effective configuration of the options of :func:`_data_options` and some others."""
    from molvae.config import load_config

    columns = _columns(options["columns"])
    return load_config(
        preset=options.get("preset"),
        file=options["config_file"],
        settings=options["settings"],
        overrides={
            "data.smiles_column": options["smiles_column"],
            "data.properties": columns,
            "data.conditions": _names(options["conditions"]),
            "data.transforms": _transforms(options["transforms"], columns),
            "data.bad_labels": options["bad_labels"],
            "data.censored": options["censored"],
            "data.max_tokens": options["max_tokens"],
            "data.split": options["split"],
            "data.timeout": options["timeout"],
            "data.cleaning.standardize": options["standardize"],
            "data.cleaning.stereo": False if options["no_stereo"] else None,
            "data.cleaning.elements": _names(options["elements"]),
            "data.cleaning.min_heavy_atoms": options["min_heavy"],
            "data.cleaning.max_heavy_atoms": options["max_heavy"],
            "data.cleaning.isotopes": True if options["isotopes"] else None,
            "data.cleaning.charged": False if options["no_charged"] else None,
            **more,
        },
    )


def _show(as_json: bool, data: dict[str, Any], lines: list[str]) -> None:
    """The result on standard output: JSON for machines, lines for people."""
    if as_json:
        click.echo(json.dumps(data, indent=1, ensure_ascii=False, default=str))
        return
    for line in lines:
        click.echo(line)


@main.command()
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
@_data_options
@_workers
@_force
@_common
def prepare(
    inputs: tuple[Path, ...], output: Path, resume: bool, shard: str | None,
    vocabulary: str | None, unknown_tokens: str | None, scheduler: str | None,
    workers: int | None, force: bool, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Clean molecule files (.smi .csv .tsv .sdf .parquet, also .gz; - for standard input).

    Example: molvae prepare library.csv.gz -p pIC50 -o library.ds
    """
    from molvae.plans import Shard
    from molvae.prepare import prepare as run
    from molvae.prepare import prepare_shard, summary_lines

    if unknown_tokens is not None and vocabulary is None:
        raise ConfigError("--unknown-tokens: needs --vocabulary MODEL, which says what is known")
    config = _config(options, **{"data.unknown_tokens": unknown_tokens}).data
    share = None if shard is None else Shard.parse(shard)
    more: dict[str, Any] = {
        "workers": workers, "scheduler": scheduler, "resume": resume, "force": force,
    }  # fmt: skip
    if vocabulary is not None:
        from molvae.checkpoint import load_model

        model = load_model(vocabulary)
        more |= {"vocabulary": model.vocabulary, "constraints": model.constraints}
    if share is None:
        dataset = run(inputs, output, config, **more)
        _show(as_json, dataset.manifest, [*summary_lines(dataset), f"dataset: {output}"])
    else:
        folder = prepare_shard(inputs, output, config, share, **more)
        _show(as_json, {"shard": str(folder)}, [f"shard {shard}: {folder}"])


@main.command()
@click.argument("shards", nargs=-1, required=True, type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="Dataset folder to write.")
@click.option(
    "--unknown-tokens", type=click.Choice(["error", "reject"]),
    help="As in prepare (default: as the shards were made).",
)  # fmt: skip
@_force
@_common
def merge(
    shards: tuple[Path, ...], output: Path, unknown_tokens: Literal["error", "reject"] | None,
    force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Put all shards of one preparation together into a dataset folder.

    Example: molvae merge shard-1 shard-2 shard-3 -o library.ds
    """
    from molvae.prepare import merge as run
    from molvae.prepare import summary_lines

    dataset = run(shards, output, unknown_tokens=unknown_tokens, force=force)
    _show(as_json, dataset.manifest, [*summary_lines(dataset), f"dataset: {output}"])


@main.command()
@click.argument("inputs", nargs=-1, required=True, type=INPUT)
@click.option("-o", "--output", required=True, type=PATH, help="Run folder to write.")
@click.option(
    "--preset",
    type=click.Choice(["tiny", "mini", "small", "base"]),
    help="Sizes (default: small; mini for some thousand molecules).",
)
@click.option("--epochs", type=int, metavar="N", help="Passes over the data.")
@click.option("--max-time", metavar="TIME", help="Training time, e.g. 40s, 30m, 2h.")
@click.option("--resume", is_flag=True, help="Continue an interrupted run of the same command.")
@click.option("--seed", type=int, metavar="INT", help="Seed of everything random (default: 0).")
@click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16"]),
    help="Arithmetic of matrix products (default: bf16 where the hardware has it).",
)  # fmt: skip
@_data_options
@_device
@_workers
@_force
@_common
def train(
    inputs: tuple[Path, ...], output: Path, preset: str | None, epochs: int | None,
    max_time: str | None, resume: bool, seed: int | None, precision: str | None, device: str,
    scheduler: str | None, workers: int | None, force: bool, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Train a model on molecule files or a dataset folder.

    Example: molvae train my_molecules.csv -p pIC50 -o runs/mine --max-time 30m
    """
    from molvae.config import parse_duration

    config = _config(
        {**options, "preset": preset},
        **{
            "train.epochs": epochs,
            "train.max_time": parse_duration(max_time) if max_time else None,
            "train.seed": seed,
            "train.precision": precision,
        },
    )
    from molvae.train import train as run

    summary = run(
        inputs, output, config, device=device, workers=workers, scheduler=scheduler,
        resume=resume, force=force,
    )  # fmt: skip
    _show(
        as_json,
        summary.to_json(),
        [f"model: {output / 'model'}", f"next: molvae generate -m {output} -n 100 -o new.csv"],
    )


@main.command()
@click.option(
    "-m", "--model", type=str, help="Model or run folder, or the name of a shipped model."
)
@click.option("-n", "--number", type=int, required=True, help="Molecules to write.")
@click.option(
    "-o", "--output", required=True, type=PATH, help="File to write (.csv .tsv .smi .sdf)."
)
@click.option(
    "-t", "--target", "targets", multiple=True, metavar="NAME=VALUE",
    help="A wish: NAME=VALUE, NAME=LOW:HIGH, NAME=LOW: or NAME=:HIGH (repeatable).",
)  # fmt: skip
@click.option(
    "--noise", type=float, default=1.0, show_default=True,
    help="Noise level of the decoder, 0 (exact latent) to 1 (most realistic).",
)  # fmt: skip
@click.option("--temperature", type=float, default=1.0, show_default=True, help="Of the tokens.")
@click.option(
    "--candidates", type=int, default=8, show_default=True,
    help="Molecules decoded per wanted molecule when a value is asked for.",
)  # fmt: skip
@click.option("--no-critic", is_flag=True, help="One shot: do not choose by true properties.")
@click.option("--allow-misses", is_flag=True, help="Write molecules outside a range as well.")
@click.option("--unique/--no-unique", default=True, show_default=True, help="No molecule twice.")
@click.option(
    "--max-tries", type=int, help="Candidates per wanted molecule before giving up (default: 64)."
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="INT", help="Seed.")
@_device
@_workers
@_force
@_common
def generate(
    model: str | None, number: int, output: Path, targets: tuple[str, ...], noise: float,
    temperature: float, candidates: int, no_critic: bool, allow_misses: bool, unique: bool,
    max_tries: int | None, seed: int, device: str, workers: int | None, force: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Generate molecules that meet property targets; without -m, with the shipped model.

    Example: molvae generate -n 100 -t logp=2:3 -t qed=0.8: -o mine.csv
    """
    from molvae.conditions import parse_target

    for text in targets:
        parse_target(text)  # a malformed target is said before anything heavy is loaded
    from molvae.generate import generate_file
    from molvae.sampler import Request

    request = Request(
        noise=noise, temperature=temperature, critic=not no_critic,
        candidates=candidates, max_tries=max_tries,
        allow_misses=allow_misses, unique=unique,
    )  # fmt: skip
    summary = generate_file(
        output, number, model=model, targets=targets, request=request, seed=seed, device=device,
        workers=workers, force=force,
    )  # fmt: skip
    lines = [f"{summary.written:,} of {number:,} molecules written to {output}"]
    lines += [f"  {count:,} × {reason}" for reason, count in summary.refused.items()]
    _show(as_json, summary.to_json(), lines)
    if summary.written < number and max_tries is None:
        raise RunError(
            f"only {summary.written} of {number} molecules were found; widen a range, raise "
            "--max-tries, or add --allow-misses"
        )


@main.command()
@click.argument("inputs", nargs=-1, required=True, type=PATH)
@click.option("--train", "training", type=PATH, metavar="FILE", help="Training set, for novelty.")
@click.option("--test", type=PATH, metavar="FILE", help="Held-out set to compare with.")
@click.option(
    "--test-scaffolds", type=PATH, metavar="FILE", help="Held-out set with unseen scaffolds."
)
@click.option(
    "-t", "--target", "targets", multiple=True, metavar="NAME=VALUE",
    help="What was asked for, as in generate: control error and hit rate (repeatable).",
)  # fmt: skip
@click.option("--smiles-column", metavar="NAME", help="Column with the SMILES.")
@click.option("-o", "--output", type=PATH, metavar="FILE", help="Write the report as JSON.")
@click.option("--report", type=PATH, metavar="FILE", help="Write one self-contained HTML page.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="INT", help="Of samples.")
@_workers
@_force
@_common
def evaluate(
    inputs: tuple[Path, ...], training: Path | None, test: Path | None,
    test_scaffolds: Path | None, targets: tuple[str, ...], smiles_column: str | None,
    output: Path | None, report: Path | None, seed: int, workers: int | None, force: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Judge generated molecules: validity, uniqueness, novelty, diversity, control.

    Example: molvae evaluate hits.csv --train my_molecules.csv --report hits.html
    """
    from molvae.evaluate import evaluate as run
    from molvae.evaluate import table_rows, write_html, write_json
    from molvae.files import require_absent

    for path in (output, report):
        if path is not None:
            require_absent(path, force=force)
    found = run(
        list(inputs), train=training, test=test, test_scaffolds=test_scaffolds, targets=targets,
        smiles_column=smiles_column, seed=seed, workers=workers, draw=DRAWN if report else 0,
    )  # fmt: skip
    if output is not None:
        write_json(found, output)
    if report is not None:
        write_html(found, report, command=" ".join(["molvae", *sys.argv[1:]]))
    table = [
        f"{name:<20}{value:>10}  {textwrap.shorten(note, 48, placeholder='…')}"
        for name, value, note in table_rows(found)
    ]
    written = [f"written: {path}" for path in (output, report) if path is not None]
    _show(as_json, found.to_json(), [*table, *written])


@main.command()
@click.argument("name")
@click.option("-o", "--output", type=PATH, metavar="FOLDER", help="Copy the files there too.")
@_force
@_common
def fetch(name: str, output: Path | None, force: bool, as_json: bool) -> None:
    """Download a public data set (zinc250k, moses, guacamol), checked and cached.

    Example: molvae fetch zinc250k -o data/
    """
    from molvae.fetch import fetch as run
    from molvae.fetch import summary_lines

    paths = run(name, output, force=force)
    data = {"name": name, "files": [str(path) for path in paths]}
    _show(as_json, data, summary_lines(name, paths))


@main.command()
@click.argument("what", type=PATH, required=False)
@click.option("--cache", is_flag=True, help="Show what the cache holds: datasets and downloads.")
@click.option("--clear", is_flag=True, help="Together with --cache: delete it all.")
@_common
def info(what: Path | None, cache: bool, clear: bool, as_json: bool) -> None:
    """Show what a model, run, dataset or shard folder holds: sizes, conditions, figures.

    Example: molvae info runs/mine
    """
    from molvae.info import describe, describe_cache

    if (what is None) != cache or (clear and not cache):
        raise ConfigError("info: give a folder or model, or --cache, or --cache --clear")
    if what is None:
        data, lines = describe_cache(clear=clear)
    else:
        data, lines = describe(what)
    _show(as_json, data, lines)
