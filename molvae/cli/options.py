"""Options that several verbs share, and what they turn into."""

from __future__ import annotations

import functools
import os
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from molvae.errors import ConfigError, ElsewhereError, MolvaeError

if TYPE_CHECKING:
    from molvae.generate.request import Request

__all__ = [
    "INPUT",
    "PATH",
    "Verb",
    "command_line",
    "device_option",
    "force_option",
    "list_option",
    "listed",
    "model_option",
    "molecules_option",
    "noise_option",
    "precision_option",
    "request_options",
    "scheduler_option",
    "seed_option",
    "show",
    "smiles_column_option",
    "terminated_as_interrupted",
    "workers_option",
]

F = TypeVar("F", bound=Callable[..., Any])
SAME_STOP = 1.0  # seconds: a launcher and the terminal may both send a signal
PATH = click.Path(path_type=Path)
INPUT = click.Path(path_type=Path, allow_dash=True)


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM, which job schedulers send, stop a verb as cleanly as Ctrl-C does.

    Another signal, more than a second later, ends the process at once, as a kill does: worker
    processes end with it, and what can be resumed survives it. From the first signal on, this
    holds until the process has ended.
    """
    stopped: list[float] = []

    def stop(number: int, frame: object) -> None:
        if not stopped:
            stopped.append(time.monotonic())
            raise KeyboardInterrupt
        if time.monotonic() - stopped[0] > SAME_STOP:
            os.write(2, b"stopped at once\n")
            os._exit(1)

    before: dict[int, Any] = {}
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            if number == signal.SIGTERM or signal.getsignal(number) is signal.default_int_handler:
                before[number] = signal.signal(number, stop)
    except ValueError:  # not the main thread: the caller handles signals
        yield
        return
    try:
        yield
    finally:
        if not stopped:
            for each, handler in before.items():
                signal.signal(each, signal.SIG_DFL if handler is None else handler)


class Verb(click.Command):
    """A command with the options of every verb; errors become one line and an exit code."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.params += [
            click.Option(["--quiet"], is_flag=True, help="Hide progress and notes."),
            click.Option(["--json", "as_json"], is_flag=True, help="Print the result as JSON."),
            click.Option(["--traceback"], is_flag=True, help="Show the traceback of an error."),
        ]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the options; one that takes a single value may be given only once."""
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for option, count in Counter(p for p in given if isinstance(p, click.Option)).items():
            same = option.is_flag and not option.secondary_opts
            if count > 1 and not (option.multiple or option.count or same):
                names = "/".join([*option.opts, *option.secondary_opts])
                raise click.UsageError(f"{names} is given {count} times, expected once", ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb."""
        from molvae.runtime.progress import set_quiet

        traceback = ctx.params.pop("traceback")
        set_quiet(ctx.params.pop("quiet"))
        try:
            with terminated_as_interrupted():
                return super().invoke(ctx)
        except MolvaeError as error:
            if traceback:
                raise
            if not isinstance(error, ElsewhereError):
                click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)
        except BrokenPipeError:  # the reader, such as `head`, left; click ends quietly
            raise
        except OSError as error:  # a full disk, a folder that vanished
            if traceback or error.strerror is None:
                raise
            where = f"'{error.filename}': " if error.filename else ""
            click.echo(f"error: {where}{error.strerror}", err=True)
            ctx.exit(1)


force_option = click.option("--force", is_flag=True, help="Overwrite existing outputs.")
workers_option = click.option(
    "--workers", type=int, metavar="N", help="Worker processes for RDKit (default: all CPUs)."
)
scheduler_option = click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Use the workers of this Dask scheduler, e.g. tcp://127.0.0.1:8786.",
)
model_option = click.option(
    "-m",
    "--model",
    help="Model folder, run folder, name of a shipped model, or hf://OWNER/NAME "
    "(default: the shipped model 'default').",
)
precision_option = click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="Floating-point precision of the network.",
)
seed_option = click.option(
    "--seed", type=int, default=0, show_default=True, metavar="INT", help="Random seed."
)
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Device that the network runs on.",
)
smiles_column_option = click.option(
    "--smiles-column",
    metavar="NAME",
    help="Column with the SMILES (default: found by its usual names).",
)
molecules_option = click.option(
    "-o",
    "--output",
    required=True,
    type=PATH,
    help="Molecule file to write (.csv .tsv .smi .sdf, each also .gz; .parquet).",
)
noise_option = click.option(
    "--noise",
    type=float,
    default=0.0,
    show_default=True,
    metavar="T",
    help="Noise level of the decoder, from 0 (exact latent) to 1.",
)


def list_option(name: str, help_: str) -> Callable[[F], F]:
    """An option that takes a list with commas, or several; the verb gets a tuple, or None."""

    def items(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> Any:
        parts = (item.strip() for text in texts for item in text.split(","))
        return tuple(dict.fromkeys(filter(None, parts))) if texts else None

    return click.option(name, multiple=True, metavar="A,B,…", callback=items, help=help_)


def listed(*options: Callable[[F], F]) -> Callable[[F], F]:
    """One decorator of several, listed in this order by ``--help``."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_SAMPLING = listed(
    click.option(
        "--noise",
        metavar="T|LOW:HIGH",
        help="Noise level of the decoder, from 0 (exact latent) to 1 (most realistic); default: "
        "1, with --like 0.2:0.5.",
    ),
    click.option(
        "--guidance",
        metavar="W|LOW:HIGH",
        help="Strength of the targets in the decoder: 1 as trained, more to follow them more "
        "closely (default: 2 with a NAME=VALUE target, else 1).",
    ),
    click.option(
        "--temperature", type=float, default=1.0, show_default=True, help="Sampling temperature."
    ),
    click.option(
        "--epsilon-cutoff",
        type=float,
        default=0.0,
        show_default=True,
        metavar="P",
        help="Never draw a token with a lower probability; 0.01 gives fewer unusual molecules.",
    ),
    click.option(
        "--candidates",
        type=int,
        default=8,
        show_default=True,
        help="Candidates per molecule with a NAME=VALUE target; the closest one is kept.",
    ),
    click.option(
        "--no-critic",
        is_flag=True,
        help="Keep the first valid molecule; do not select by RDKit properties or realism.",
    ),
    click.option(
        "--walk/--no-walk",
        default=None,
        help="Move candidates in the latent space toward the targets (default: for measured "
        "columns and targets outside the training data).",
    ),
    click.option("--allow-misses", is_flag=True, help="Keep molecules outside a requested range."),
    click.option(
        "--unique/--no-unique",
        default=True,
        show_default=True,
        help="Never write a molecule twice.",
    ),
    click.option(
        "--max-tries",
        type=int,
        help="Candidates per molecule before giving up (default: 64 / share of --realism).",
    ),
    click.option(
        "--nll",
        is_flag=True,
        help="Add a column with −log p of each molecule under the model, in nats.",
    ),
)


def _constraint_options(*, sampling: bool) -> Callable[[F], F]:
    return listed(
        click.option(
            "-t",
            "--target",
            "targets",
            multiple=True,
            metavar="NAME=VALUE" if sampling else "NAME=LOW:HIGH",
            help="Property target: NAME=VALUE, NAME=LOW:HIGH, NAME=LOW: or NAME=:HIGH (repeatable)."
            if sampling
            else "Only score molecules in this range; LOW or HIGH may be omitted (repeatable).",
        ),
        click.option(
            "--like",
            multiple=True,
            metavar="SMILES|FILE",
            help="Generate analogs of this molecule, or of those in a file in turn (repeatable)."
            if sampling
            else "Start the search from this molecule, or from those in a file (repeatable).",
        ),
        click.option(
            "--scaffold",
            multiple=True,
            metavar="SMILES|SMARTS",
            help="Only molecules with this substructure; * marks where it may grow, and parts "
            "A.B are joined by a linker (repeatable).",
        ),
        click.option("--fill", is_flag=True, help="Put a heavy atom at every * of the scaffold."),
        click.option(
            "--novel",
            multiple=True,
            type=PATH,
            metavar="FILE",
            help="Exclude the molecules of this file or dataset folder (repeatable).",
        ),
        list_option(
            "--alerts",
            "Exclude molecules with these structural alerts: pains, brenk, nih, zinc, chembl "
            "(repeatable).",
        ),
        list_option("--elements", "Only molecules made of these elements (repeatable)."),
        click.option(
            "--max-ring",
            type=int,
            metavar="N",
            help="Exclude molecules with a ring of more than N atoms.",
        ),
        click.option(
            "--realism",
            metavar="SHARE|off",
            help="Keep this share of the candidates, those that look most like training "
            f"molecules; off keeps all (default: {'0.5' if sampling else 'off'}).",
        ),
        click.option(
            "--novel-rings",
            is_flag=True,
            help="Allow ring systems and atom environments that no training molecule has.",
        ),
    )


def request_options(*, sampling: bool) -> Callable[[F], F]:
    """Options that the verb gets as one ``request``, and ``novel``.

    ``sampling`` adds those about how candidates are drawn, which an optimizer decides itself.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def verb(**options: Any) -> None:
            request = _pop_request(options, sampling=sampling)
            function(request=request, **options)

        more = [_SAMPLING] if sampling else []
        return listed(_constraint_options(sampling=sampling), *more)(cast(F, verb))

    return decorate


def _pop_request(options: dict[str, Any], *, sampling: bool) -> Request:
    """The request of :func:`request_options`, which are removed from ``options``."""
    from molvae.targets import parse_target

    # A malformed target is reported before anything slow is imported.
    targets = tuple(parse_target(text) for text in options.pop("targets"))
    from molvae.generate.request import Request, read_seed_molecules

    scaffolds = options.pop("scaffold")
    fields: dict[str, Any] = {
        "targets": targets,
        "like": read_seed_molecules(options.pop("like")),
        "scaffold": scaffolds if len(scaffolds) > 1 else next(iter(scaffolds), None),
        "fill": options.pop("fill"),
        "alerts": options.pop("alerts") or (),
        "elements": options.pop("elements") or (),
        "max_ring": options.pop("max_ring"),
        "novel_rings": options.pop("novel_rings"),
    }
    given = options["realism"]
    share = _realism(options, default=0.5 if sampling else None)
    if sampling:
        if options["no_critic"] and given and share is not None:
            raise ConfigError(f"--no-critic and --realism {given}: expected only one of them")
        fields["realism"] = share
        plain = ("temperature", "epsilon_cutoff", "candidates", "walk", "allow_misses")
        fields |= {name: options.pop(name) for name in (*plain, "unique", "max_tries", "nll")}
        fields["critic"] = not options.pop("no_critic")
        for name in ("noise", "guidance"):
            fields[name] = _span(options.pop(name), f"--{name}")
    else:
        options["realism"] = share
    return Request(**fields)


def _realism(options: dict[str, Any], *, default: float | None) -> float | None:
    """The share of ``--realism``, removed from ``options``; None for ``off``."""
    text = options.pop("realism")
    if text is None:
        return default
    if text == "off":
        return None
    try:
        share = float(text)
    except ValueError:
        raise ConfigError(
            f"--realism: got '{text}', expected the share of candidates to keep, or off"
        ) from None
    from molvae.generate.realism import require_critic

    require_critic(options["model"], text)
    return share


def _span(text: str | None, option: str) -> float | tuple[float, float] | None:
    """A number, or a range ``LOW:HIGH`` of them; None if nothing was given."""
    if text is None:
        return None
    low, colon, high = text.partition(":")
    try:
        return (float(low), float(high)) if colon else float(low)
    except ValueError:
        raise ConfigError(f"{option}: got '{text}', expected a number or LOW:HIGH") from None


def command_line() -> str:
    """The command as it was typed, for reports."""
    return shlex.join(["molvae", *sys.argv[1:]])


def show(as_json: bool, data: dict[str, Any], lines: list[str]) -> None:
    """Print the result: JSON for machines, lines for people."""
    if as_json:
        import json  # `--help` does without

        text = json.dumps(data, indent=1, ensure_ascii=False, default=str, allow_nan=False)
        try:
            text.encode()
        except UnicodeEncodeError:  # the name of a file need not be text
            text = json.dumps(data, indent=1, default=str, allow_nan=False)
        click.echo(text)
        return
    for line in lines:
        click.echo(line)
