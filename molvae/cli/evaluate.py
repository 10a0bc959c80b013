"""``molvae evaluate``: metrics of generated molecules, and of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from molvae.cli.options import (
    PATH,
    Verb,
    command_line,
    device_option,
    force_option,
    scheduler_option,
    seed_option,
    show,
    smiles_column_option,
    workers_option,
)
from molvae.errors import ConfigError

__all__: list[str] = []  # verbs are reached through their group

DRAWN = 60  # molecules drawn on a report page, of all files together


@click.command(cls=Verb)
@click.argument("inputs", nargs=-1, type=PATH)
@click.option("--train", type=PATH, metavar="FILE", help="Training set, for novelty.")
@click.option("--test", type=PATH, metavar="FILE", help="Held-out reference set.")
@click.option(
    "--test-scaffolds",
    type=PATH,
    metavar="FILE",
    help="Held-out reference set with unseen scaffolds.",
)
@click.option(
    "-t", "--target", "targets", multiple=True, metavar="NAME=VALUE",
    help="Target of the generation, as in generate, or NAME=@COLUMN for one per row (repeatable).",
)  # fmt: skip
@click.option(
    "--filters-from",
    type=PATH,
    metavar="DIR",
    help="Folder with MOSES' filter files mcf.csv and wehi_pains.csv.",
)
@click.option(
    "--fcd/--no-fcd", "chemnet", default=True, show_default=True,
    help="Compute the Fréchet ChemNet distance, if the extra fcd is installed.",
)  # fmt: skip
@click.option("--guacamol", is_flag=True, help="Add GuacaMol's metrics (needs --train).")
@click.option(
    "--sample", type=int, default=30_000, show_default=True, metavar="N",
    help="Compute most metrics on at most N valid molecules, drawn at random; 0 for all.",
)  # fmt: skip
@click.option(
    "--bootstrap", "replicates", type=int, default=500, show_default=True, metavar="N",
    help="Bootstrap draws for the 95 % intervals; 0 for no intervals.",
)  # fmt: skip
@click.option(
    "-m", "--model", metavar="MODEL",
    help="Evaluate this model too: model folder, run folder or name of a shipped model.",
)  # fmt: skip
@click.option(
    "--beside", multiple=True, type=PATH, metavar="FILE",
    help="JSON of an earlier evaluation to compare with on the page (repeatable).",
)  # fmt: skip
@smiles_column_option
@click.option("-o", "--output", type=PATH, metavar="FILE", help="Write all results as JSON.")
@click.option("--report", type=PATH, metavar="FILE", help="Write a self-contained HTML page.")
@seed_option
@device_option
@workers_option
@scheduler_option
@force_option
def evaluate(
    inputs: tuple[Path, ...],
    train: Path | None,
    test: Path | None,
    test_scaffolds: Path | None,
    smiles_column: str | None,
    model: str | None,
    beside: tuple[Path, ...],
    output: Path | None,
    report: Path | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Evaluate generated molecules: validity, uniqueness, novelty, diversity, control.

    With several files, the others are compared with the first.

    Example: molvae evaluate hits.csv --train my_molecules.csv --report hits.html
    """
    from molvae.data.readers import piped
    from molvae.evaluate import Options, compare
    from molvae.evaluate import evaluate as evaluate_set
    from molvae.evaluate import report as pages
    from molvae.runtime.files import write_json

    if not inputs and model is None:
        raise ConfigError("nothing to evaluate; name a file of molecules, or a --model")
    if beside and (report is None or not inputs):
        raise ConfigError("--beside is shown on the page of molecules; name a file and --report")
    _check_outputs(output, report, [*inputs, *beside], force=force)
    settings = Options(**options, draw=-(-DRAWN // len(inputs)) if report and inputs else 0)
    earlier = [data for path in beside for data in pages.read_evaluations(path)]
    examined = None
    if model is not None:  # first, as it may find that there is nothing to examine it on
        from molvae.evaluate.diagnostics.examine import examine

        examined = examine(
            model, test=test, seed=settings.seed, device=settings.device, workers=settings.workers
        )
    result = None
    if inputs:
        references = {"train": train, "test": test, "test_scaffolds": test_scaffolds}
        with piped(inputs, smiles_column=smiles_column) as files:
            result = (
                evaluate_set(files[0], smiles_column=smiles_column, **references, options=settings)
                if len(files) == 1
                else compare(files, smiles_column=smiles_column, **references, options=settings)
            )
    data = pages.to_json(result, examined)
    if output is not None:
        write_json(output, data)
    if report is not None:
        pages.write_page(report, result, examined, beside=earlier, command=command_line())
    written = [f"written: {path}" for path in (output, report) if path is not None]
    show(as_json, data, [*pages.lines(result, examined), *written])


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
