"""The verb that judges molecules, and models: evaluate."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from molvae.cli.options import PATH, common, device_option, force_option, show, workers_option
from molvae.errors import ConfigError

if TYPE_CHECKING:
    from molvae.evaluate import Comparison, Report

__all__: list[str] = []  # verbs are reached through their group

DRAWN = 60  # molecules drawn on a report page, of all files together


@click.command()
@click.argument("inputs", nargs=-1, type=PATH)
@click.option("--train", type=PATH, metavar="FILE", help="Training set, for novelty.")
@click.option("--test", type=PATH, metavar="FILE", help="Held-out set to compare with.")
@click.option(
    "--test-scaffolds", type=PATH, metavar="FILE", help="Held-out set with unseen scaffolds."
)
@click.option(
    "-t", "--target", "targets", multiple=True, metavar="NAME=VALUE",
    help="What was asked for, as in generate, or NAME=@COLUMN, one value per row (repeatable).",
)  # fmt: skip
@click.option(
    "--filters-from", type=PATH, metavar="DIR", help="Folder with MOSES' mcf.csv, wehi_pains.csv."
)
@click.option(
    "--fcd/--no-fcd", default=True, show_default=True,
    help="Fréchet ChemNet distance, if the extra fcd is installed.",
)  # fmt: skip
@click.option("--guacamol", is_flag=True, help="GuacaMol's benchmarks too (needs --train).")
@click.option(
    "--sample", type=int, default=30_000, show_default=True, metavar="N",
    help="Valid molecules to describe at most, drawn by the seed; 0: all.",
)  # fmt: skip
@click.option(
    "--bootstrap", type=int, default=500, show_default=True, metavar="N",
    help="Draws behind the 95 % intervals; 0: no intervals.",
)  # fmt: skip
@click.option(
    "-m", "--model", metavar="MODEL",
    help="Examine this model too: run or model folder, or a shipped model's name.",
)  # fmt: skip
@click.option(
    "--beside", multiple=True, type=PATH, metavar="FILE",
    help="JSON of an earlier evaluation, to show beside the others on the page (repeatable).",
)  # fmt: skip
@click.option("--smiles-column", metavar="NAME", help="Column with the SMILES.")
@click.option("-o", "--output", type=PATH, metavar="FILE", help="Write everything as JSON.")
@click.option("--report", type=PATH, metavar="FILE", help="Write one self-contained HTML page.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="INT", help="Of samples.")
@device_option
@workers_option
@force_option
@common
def evaluate(
    inputs: tuple[Path, ...], model: str | None, beside: tuple[Path, ...], output: Path | None,
    report: Path | None, force: bool, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Judge generated molecules: validity, uniqueness, novelty, diversity, control.

    Several files are judged alike and compared with the first.

    Example: molvae evaluate hits.csv --train my_molecules.csv --report hits.html
    """
    from molvae.data.readers import piped
    from molvae.evaluate import report as pages
    from molvae.runtime.files import write_json

    if not inputs and model is None:
        raise ConfigError("nothing to evaluate; name a file of molecules, or a --model")
    if beside and (report is None or not inputs):
        raise ConfigError("--beside is shown on the page of molecules; name a file and --report")
    _check_outputs(output, report, [*inputs, *beside], force=force)
    others = [one for path in beside for one in pages.read_evaluations(path)]
    examined = None
    if model is not None:  # first, as it may find that there is nothing to examine it on
        from molvae.evaluate.diagnostics.examine import examine

        examined = examine(
            model, test=options["test"], seed=options["seed"], device=options["device"],
            workers=options["workers"],
        )  # fmt: skip
    found = None
    if inputs:
        with piped(inputs, smiles_column=options["smiles_column"]) as files:
            found = _judge(files, options, drawn=DRAWN if report else 0)
    data = pages.to_json(found, examined)
    if output is not None:
        write_json(output, data)
    if report is not None:
        command = shlex.join(["molvae", *sys.argv[1:]])
        pages.write_page(report, found, examined, beside=others, command=command)
    written = [f"written: {path}" for path in (output, report) if path is not None]
    show(as_json, data, [*pages.lines(found, examined), *written])


def _check_outputs(
    output: Path | None, report: Path | None, inputs: list[Path], *, force: bool
) -> None:
    """Everything that could go wrong with a path is said before the work."""
    from molvae.runtime.files import require_absent

    taken = {path.resolve(): f"'{path}' is an input" for path in inputs}
    for option, path in (("-o", output), ("--report", report)):
        if path is None:
            continue
        if (reason := taken.get(path.resolve())) is not None:
            raise ConfigError(f"{option} '{path}': {reason}; name another file")
        taken[path.resolve()] = f"is written by {option} too"
        if path.is_dir():
            raise ConfigError(f"{option} '{path}': is a folder, expected a file")
        require_absent(path, force=force)


def _judge(inputs: tuple[Path, ...], options: dict[str, Any], *, drawn: int) -> Report | Comparison:
    from molvae.evaluate import Settings, compare
    from molvae.evaluate import evaluate as judge

    settings = Settings(
        targets=options["targets"],
        filters_from=options["filters_from"],
        chemnet=options["fcd"],
        guacamol=options["guacamol"],
        sample=options["sample"],
        replicates=options["bootstrap"],
        seed=options["seed"],
        device=options["device"],
        workers=options["workers"],
        draw=-(-drawn // max(len(inputs), 1)),
    )
    references = {role: options[role] for role in ("train", "test", "test_scaffolds")}
    column = options["smiles_column"]
    if len(inputs) == 1:
        return judge(inputs[0], smiles_column=column, **references, **settings)
    return compare(inputs, smiles_column=column, **references, **settings)
