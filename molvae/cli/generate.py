"""The verb that makes molecules: generate."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from molvae.cli.options import (
    PATH,
    common,
    device_option,
    force_option,
    model_option,
    names,
    precision_option,
    seed_option,
    show,
    span,
    workers_option,
)
from molvae.errors import RunError

__all__: list[str] = []  # verbs are reached through their group


@click.command()
@model_option
@click.option("-n", "--number", type=int, required=True, help="Molecules to write.")
@click.option(
    "-o", "--output", required=True, type=PATH,
    help="File to write (.csv .tsv .smi .sdf, each also .gz; .parquet).",
)  # fmt: skip
@click.option(
    "-t", "--target", "targets", multiple=True, metavar="NAME=VALUE",
    help="A wish: NAME=VALUE, NAME=LOW:HIGH, NAME=LOW: or NAME=:HIGH (repeatable).",
)  # fmt: skip
@click.option(
    "--like", multiple=True, metavar="SMILES|FILE",
    help="Make analogs of this molecule, or in turn of those in a file (repeatable).",
)  # fmt: skip
@click.option(
    "--scaffold", metavar="SMILES|SMARTS",
    help="Every molecule holds this substructure; * marks where it may grow.",
)  # fmt: skip
@click.option(
    "--noise", metavar="T|LOW:HIGH",
    help="Noise level of the decoder, 0 (exact latent) to 1 (most realistic; default, with --like "
    "0.2:0.5).",
)  # fmt: skip
@click.option(
    "--guidance", metavar="W|LOW:HIGH",
    help="Weight of the conditions; above 1 they count more than the model believes (default: 2 "
    "towards values, 1 for ranges alone).",
)  # fmt: skip
@click.option("--temperature", type=float, default=1.0, show_default=True, help="Of the tokens.")
@click.option(
    "--epsilon-cutoff", type=float, default=0.0, show_default=True, metavar="P",
    help="Draw no token that is less likely; 0.01 gives fewer odd molecules.",
)  # fmt: skip
@click.option(
    "--candidates", type=int, default=8, show_default=True,
    help="Molecules decoded per wanted molecule when a value is asked for.",
)  # fmt: skip
@click.option("--no-critic", is_flag=True, help="One shot: do not choose by true properties.")
@click.option(
    "--walk/--no-walk", default=None,
    help="Move candidates in the latent space (default: for own columns and far targets).",
)  # fmt: skip
@click.option("--allow-misses", is_flag=True, help="Write molecules outside a range as well.")
@click.option("--unique/--no-unique", default=True, show_default=True, help="No molecule twice.")
@click.option(
    "--novel", multiple=True, type=PATH, metavar="FILE",
    help="Write no molecule of this file or dataset folder (repeatable).",
)  # fmt: skip
@click.option(
    "--alerts", metavar="A,B,…",
    help="Write no molecule with these alerts: pains, brenk, nih, zinc, chembl.",
)  # fmt: skip
@click.option("--elements", metavar="A,B,…", help="Write no molecule with any other.")
@click.option(
    "--max-ring", type=int, metavar="N", help="Write no molecule with a ring of more atoms."
)
@click.option(
    "--max-tries", type=int, help="Candidates per wanted molecule before giving up (default: 64)."
)
@click.option("--nll", is_flag=True, help="Add a column: −log p of the molecule, in nats.")
@click.option(
    "--smiles-header", default="smiles", show_default=True, metavar="NAME",
    help="Name of the first column of a table; MOSES' scripts want SMILES.",
)  # fmt: skip
@click.option("--report", type=PATH, metavar="FILE", help="HTML page: targets against results.")
@click.option("--grid", type=PATH, metavar="FILE", help="Picture of the first 100 (.png .svg).")
@seed_option
@click.option(
    "--shard", metavar="I/N", help="Make the I-th of N shares, each by a command of its own."
)
@click.option("--resume", is_flag=True, help="Go on where a killed run stopped.")
@device_option
@precision_option
@workers_option
@force_option
@common
def generate(
    model: str | None, number: int, output: Path, targets: tuple[str, ...], like: tuple[str, ...],
    scaffold: str | None, noise: str | None, guidance: str | None, temperature: float,
    epsilon_cutoff: float, candidates: int, no_critic: bool, walk: bool | None,
    allow_misses: bool, unique: bool, novel: tuple[Path, ...], alerts: str | None,
    elements: str | None,
    max_ring: int | None, max_tries: int | None, nll: bool, smiles_header: str,
    report: Path | None, grid: Path | None, seed: int, shard: str | None, resume: bool,
    device: str, precision: str, workers: int | None, force: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Generate molecules that meet property targets; without -m, with the shipped model.

    Example: molvae generate -n 100 -t logp=2:3 -t qed=0.8: -o mine.csv
    """
    from molvae.targets import parse_target

    for text in targets:
        parse_target(text)  # a malformed target is said before anything heavy is loaded
    from molvae.data.prepare.plan import Shard
    from molvae.generate.request import Request
    from molvae.generate.run import generate_file, read_starts

    request = Request(
        like=read_starts(like), scaffold=scaffold,
        noise=span(noise, "--noise"), guidance=span(guidance, "--guidance"),
        temperature=temperature, epsilon_cutoff=epsilon_cutoff, critic=not no_critic, walk=walk,
        candidates=candidates,
        max_tries=max_tries, allow_misses=allow_misses, unique=unique,
        alerts=tuple(names(alerts) or ()), elements=tuple(names(elements) or ()),
        max_ring=max_ring, nll=nll,
    )  # fmt: skip
    summary = generate_file(
        output, number, model=model, targets=targets, request=request, seed=seed, device=device,
        precision=precision, workers=workers, novel=novel,
        shard=None if shard is None else Shard.parse(shard), report=report, grid=grid,
        smiles_header=smiles_header, command=shlex.join(["molvae", *sys.argv[1:]]), resume=resume,
        force=force,
    )  # fmt: skip
    lines = [f"{summary.written:,} of {summary.wanted:,} molecules written to {output}"]
    lines += [
        f"  {name}: {found['mean']:.4g} on average, {found['mean_error']:.3g} from what was asked"
        for name, found in summary.obtained.items()
    ]
    lines += [f"  {count:,} × {reason}" for reason, count in summary.refused.items()]
    show(as_json, summary.to_json(), lines)
    if not summary.written:
        raise RunError(
            f"no molecule was found, so '{output}' was not written; widen a range, raise "
            "--max-tries, or add --allow-misses"
        )
    if summary.written < summary.wanted and max_tries is None:
        raise RunError(
            f"only {summary.written} of {summary.wanted} molecules were found; widen a range, "
            "raise --max-tries, or add --allow-misses"
        )
