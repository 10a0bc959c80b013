"""The command line: parse the options, make one library call, print the result.

Nothing heavy is imported before a verb runs, so that ``molvae --help`` answers at once.
"""

from __future__ import annotations

import click

from molvae._version import __version__
from molvae.cli import (
    app,
    decode,
    encode,
    evaluate,
    fetch,
    generate,
    info,
    interpolate,
    merge,
    optimize,
    predict,
    prepare,
    train,
)

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="molvae", message="%(prog)s %(version)s")
def main() -> None:
    """Train a conditional VAE on your molecules, generate new ones, and evaluate them.

    \b
    molvae train my_molecules.csv -p pIC50 -o runs/mine
    molvae generate -m runs/mine -n 1000 -t logp=2:3 -t qed=0.8: -o hits.csv
    molvae evaluate hits.csv --train my_molecules.csv --report hits.html
    """


for verb in (
    prepare.prepare, train.train, generate.generate, evaluate.evaluate, optimize.optimize,
    predict.predict, interpolate.interpolate, encode.encode, decode.decode,
    info.info, fetch.fetch, merge.merge, app.app,
):  # fmt: skip
    main.add_command(verb)
