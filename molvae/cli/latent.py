"""The verbs about latent points: encode, decode, interpolate."""

from __future__ import annotations

from pathlib import Path

import click

from molvae.cli.options import (
    PATH,
    common,
    device_option,
    force_option,
    model_option,
    precision_option,
    seed_option,
    show,
    workers_option,
)
from molvae.errors import RunError

__all__: list[str] = []  # verbs are reached through their group


@click.command()
@model_option
@click.argument("first", metavar="SMILES")
@click.argument("last", metavar="SMILES")
@click.option("-o", "--output", type=PATH, help="File for the molecules (.csv .tsv .smi .sdf …).")
@click.option("--grid", type=PATH, metavar="FILE", help="Picture of the path (.png .svg).")
@click.option("--points", type=int, default=11, show_default=True, help="Ends included.")
@click.option(
    "--noise", type=float, default=0.0, show_default=True, help="Noise level of the decoder."
)
@seed_option
@force_option
@common
def interpolate(
    model: str | None, first: str, last: str, output: Path | None, grid: Path | None, points: int,
    noise: float, seed: int, force: bool, as_json: bool,
) -> None:  # fmt: skip
    """The molecules on the way from one molecule to another.

    Example: molvae interpolate "CC(=O)Nc1ccc(O)cc1" "CC(C)Cc1ccc(C(C)C(=O)O)cc1" --grid path.svg
    """
    from dataclasses import asdict

    from molvae.latent.interpolate import interpolate_file

    found = interpolate_file(
        first, last, model=model, output=output, grid=grid, points=points, noise=noise, seed=seed,
        force=force,
    )  # fmt: skip
    lines = ["share  to first  to last"]
    for one in found:
        near = f"{one.similarity_first:8.2f} {one.similarity_last:8.2f}" if one.smiles else 17 * " "
        lines.append(f"{one.share:5.2f} {near}  {one.smiles or '(no molecule)'}")
    data = [{k: v for k, v in asdict(one).items() if v == v} for one in found]
    show(as_json, {"points": data}, lines)


@click.command()
@model_option
@click.argument("inputs", nargs=-1, required=True, type=PATH, metavar="INPUT...")
@click.option(
    "-o", "--output", required=True, type=PATH,
    help="File to write: .npy (latents alone), .csv .tsv (also .gz), .parquet.",
)  # fmt: skip
@click.option("--smiles-column", metavar="NAME", help="Column with the SMILES.")
@click.option(
    "--score",
    is_flag=True,
    help="Add −log p of each molecule, and given its latent, in nats.",
)
@click.option(
    "--keep", multiple=True, metavar="NAME",
    help="Carry this column of the input along, such as an identifier (repeatable).",
)  # fmt: skip
@click.option("--predict", is_flag=True, help="Add the model's prediction of your own columns.")
@device_option
@precision_option
@workers_option
@force_option
@common
def encode(
    model: str | None, inputs: tuple[Path, ...], output: Path, smiles_column: str | None,
    score: bool, keep: tuple[str, ...], predict: bool, device: str, precision: str,
    workers: int | None, force: bool, as_json: bool,
) -> None:  # fmt: skip
    """The latent points of molecules, how likely the model finds them, predictions.

    Example: molvae encode my_molecules.csv -o latents.npy
    """
    from molvae.data.readers import piped
    from molvae.latent.encode import encode_file

    with piped(inputs, smiles_column=smiles_column) as files:
        summary = encode_file(
            files, output, model=model, smiles_column=smiles_column, score=score, predict=predict,
            keep=keep, device=device, precision=precision, workers=workers, force=force,
        )  # fmt: skip
    lines = [f"{summary.encoded:,} of {summary.molecules:,} molecules encoded into {output}"]
    lines += [f"  {count:,} × {reason}" for reason, count in summary.refused.items()]
    show(as_json, summary.to_json(), lines)
    if not summary.encoded:
        raise RunError("no molecule could be encoded")


@click.command()
@model_option
@click.argument("latents", type=PATH, metavar="FILE")
@click.option(
    "-o", "--output", required=True, type=PATH,
    help="File to write (.csv .tsv .smi .sdf, each also .gz; .parquet).",
)  # fmt: skip
@click.option(
    "--noise", type=float, default=0.0, show_default=True, help="Noise level of the decoder."
)
@click.option(
    "--temperature", type=float, default=0.0, show_default=True,
    help="Of the token distribution; 0 takes the likeliest token.",
)  # fmt: skip
@seed_option
@device_option
@force_option
@common
def decode(
    model: str | None, latents: Path, output: Path, noise: float, temperature: float, seed: int,
    device: str, force: bool, as_json: bool,
) -> None:  # fmt: skip
    """The molecules of latent points, as encode writes them (.npy, or columns z0, z1 …).

    Example: molvae decode latents.npy -o molecules.csv
    """
    from molvae.latent.decode import decode_file

    summary = decode_file(
        latents, output, model=model, noise=noise, temperature=temperature, seed=seed,
        device=device, force=force,
    )  # fmt: skip
    line = f"{summary.decoded:,} of {summary.points:,} points decoded into {output}"
    show(as_json, summary.to_json(), [line])
