"""The verb about new molecules: generate."""

from __future__ import annotations

from pathlib import Path

import click

from molvae.cli.options import PATH, common, device_option, force_option, show, workers_option
from molvae.errors import RunError

__all__: list[str] = []  # verbs are reached through their group


@click.command()
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
@device_option
@workers_option
@force_option
@common
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
    show(as_json, summary.to_json(), lines)
    if summary.written < number and max_tries is None:
        raise RunError(
            f"only {summary.written} of {number} molecules were found; widen a range, raise "
            "--max-tries, or add --allow-misses"
        )
