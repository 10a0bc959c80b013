"""Targets → latent points → tokens → molecules that RDKit has checked."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from molvae import chem
from molvae.data.columns import is_name
from molvae.data.prepare.plan import Shard
from molvae.data.readers import read_smiles
from molvae.data.writers import format_cell, picture_format, require_writer, write_picture
from molvae.errors import ConfigError, InputError
from molvae.generate.blocks import Blocks, open_blocks
from molvae.generate.novelty import known_molecules
from molvae.generate.report import Outcome
from molvae.generate.request import Generated, Request
from molvae.generate.sampler import BLOCK, Sampler
from molvae.model.checkpoint import SavedModel, find_model, load_model
from molvae.report import write_html
from molvae.runtime.device import available_cpus, choose_device, keep_memory, versions
from molvae.runtime.files import fingerprint
from molvae.runtime.processes import process_pool, worker_count
from molvae.runtime.progress import Progress, say
from molvae.targets import Target

__all__ = [
    "GenerationSummary",
    "columns_of",
    "generate",
    "generate_file",
    "molecule_row",
    "read_starts",
]

# Up to this many candidates starting worker processes costs more than it saves.
INLINE = 5000
LEAST_DECODERS, MOST_DECODERS = 3, 8  # batches decoded at a time; Python's lock sets the limit
FAR_OFF = 1.0  # mean distance from a value, in standard deviations, that is worth a note
GRID = 100  # molecules in a grid picture


@dataclass
class GenerationSummary:
    """What a generation run did."""

    wanted: int
    written: int = 0
    decoded: int = 0
    seconds: float = 0.0
    refused: dict[str, int] = field(default_factory=dict)
    obtained: dict[str, dict[str, float]] = field(default_factory=dict)  # of values asked for
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return dict(self.__dict__)


def columns_of(targets: Sequence[Target], extras: Sequence[str] = ()) -> list[str]:
    """Columns of the output: SMILES, each requested property, the error of each point target.

    ``extras`` are those of :attr:`molvae.generate.request.Request.extras`.
    """
    names = [target.name for target in targets]
    return ["smiles", *names, *(f"error_{t.name}" for t in targets if t.is_point), *extras]


def molecule_row(
    molecule: Generated, targets: Sequence[Target], extras: Sequence[str] = ()
) -> list[object]:
    """The cells of :func:`columns_of` for one molecule."""
    errors = [molecule.values[t.name] - t.low for t in targets if t.is_point]
    more = [getattr(molecule, name) for name in extras]
    return [molecule.smiles, *(molecule.values[t.name] for t in targets), *errors, *more]


def generate(
    n: int,
    *,
    model: SavedModel | str | Path | None = None,
    targets: Sequence[str] = (),
    request: Request | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    novel: Sequence[str | Path] = (),
    summary: GenerationSummary | None = None,
) -> Iterator[Generated]:
    """Stream up to ``n`` molecules that meet the targets.

    ``targets`` are texts such as ``logp=2.5`` or ``qed=0.8:``; ``request`` holds the other knobs;
    ``novel`` are files of molecules not to be generated; ``summary``, if given, is filled in as the
    run goes. The same seed gives the same molecules.
    """
    _check_number(n)
    saved = model if isinstance(model, SavedModel) else load_model(model)
    request = _with_targets(request, targets, saved)
    started = time.monotonic()
    with (
        _open_sampler(
            saved, request, n, seed=seed, device=device, precision=precision, workers=workers,
            novel=novel,
        ) as sampler,
        Progress("generate", total=n) as progress,
    ):  # fmt: skip
        for molecule in sampler.stream(n):
            progress.advance(1)
            if summary is not None:
                summary.written += 1
            yield molecule
    if summary is not None:
        summary.decoded = sampler.decoded
        summary.seconds = time.monotonic() - started
        summary.refused = dict(sampler.refused.most_common())
        summary.notes = sampler.notes()


def generate_file(
    output: str | Path,
    n: int,
    *,
    model: str | Path | None = None,
    targets: Sequence[str] = (),
    request: Request | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    novel: Sequence[str | Path] = (),
    shard: Shard | None = None,
    report: str | Path | None = None,
    grid: str | Path | None = None,
    smiles_header: str = "smiles",
    command: str = "",
    resume: bool = False,
    force: bool = False,
) -> GenerationSummary:
    """Generate molecules into a file whose format follows its name; see :func:`generate`.

    Where no molecule is found, no file is written.
    Finished blocks of 1,024 wanted molecules are kept in ``FILE.part`` until the end, and a run
    that was killed goes on with ``resume``. ``shard`` is this run's share of the blocks.
    ``report`` is an HTML page to write, ``grid`` a picture of the first molecules (.png, .svg);
    ``smiles_header`` is what a table calls its first column (the scripts of MOSES want SMILES).
    """
    _check_number(n)
    require_writer(Path(output))
    if grid is not None:
        picture_format(Path(grid))
    saved = load_model(model)
    request = _with_targets(request, targets, saved)
    columns = columns_of(request.targets, request.extras)
    header = _with_header(columns, smiles_header)
    shard = shard or Shard()
    numbers = _blocks_of(n, shard)
    plan = _plan(find_model(model), request, n, seed, precision, novel, shard)
    summary = GenerationSummary(wanted=sum(map(len, numbers.values())))
    started = time.monotonic()
    beside = [Path(path) for path in (report, grid) if path is not None]
    with open_blocks(output, header, plan, beside=beside, resume=resume, force=force) as blocks:
        with _open_sampler(
            saved, request, summary.wanted, seed=seed, device=device, precision=precision,
            workers=workers, novel=novel,
        ) as sampler:  # fmt: skip
            summary.notes = sampler.notes()
            _fill(blocks, sampler, numbers)
        summary.decoded = sum(record["decoded"] for record in blocks.finished.values())
        refused: Counter[str] = Counter()
        for record in blocks.finished.values():
            refused.update(record["refused"])
        summary.refused = dict(refused.most_common())
        summary.obtained = _obtained(request.targets, blocks.finished.values())
        summary.notes += _misses(summary.obtained, request.targets, saved)
        if next(blocks.rows(), None) is None:
            blocks.leave()
            summary.seconds = time.monotonic() - started
            return summary
        with blocks.joined() as summary.written:
            summary.seconds = time.monotonic() - started
            if report is not None:
                figures = saved.training.get("figures") or {}
                page = Outcome(columns, request.targets, saved.conditions, figures.get("head"))
                for row in blocks.rows():
                    page.add(row)
                write_html(
                    report,
                    page.page(
                        summary.to_json(), model=find_model(model).name, seed=seed,
                        versions=versions(), command=command,
                    ),
                )  # fmt: skip
            if grid is not None:
                _draw(Path(grid), columns, blocks)
    return summary


def read_starts(texts: Sequence[str]) -> tuple[str, ...]:
    """SMILES of start molecules from SMILES and names of molecule files."""
    smiles: list[str] = []
    for text in texts:
        if Path(text).is_file():
            smiles += read_smiles([text])
        elif chem.canonical_smiles(text) is None:
            raise InputError(f"like: '{text}' is neither a valid SMILES nor a file")
        else:
            smiles.append(text)
    return tuple(smiles)


def _fill(blocks: Blocks, sampler: Sampler, numbers: Mapping[int, range]) -> None:
    """Make the blocks that are not finished."""
    done = [number for number in numbers if number in blocks.finished]
    smiles = (str(row[0]) for number in done for row in blocks.rows(number))
    while chunk := list(islice(smiles, BLOCK)):
        sampler.forbid(chunk)
    targets, extras = sampler.request.targets, sampler.request.extras
    total = sum(map(len, numbers.values()))
    before = sum(len(numbers[number]) for number in done)
    missing = {number: each for number, each in numbers.items() if number not in blocks.finished}
    with Progress("generate", total=total, done=before) as progress:
        decoded, refused = sampler.decoded, Counter(sampler.refused)
        for number, molecules in zip(missing, sampler.blocks(missing.values()), strict=True):
            record = {
                "decoded": sampler.decoded - decoded,
                "refused": dict(sampler.refused - refused),
                "obtained": _sums(molecules, targets),
            }
            decoded, refused = sampler.decoded, Counter(sampler.refused)
            rows = [molecule_row(molecule, targets, extras) for molecule in molecules]
            blocks.write(number, rows, record)
            progress.advance(len(molecules), done=progress.done + len(missing[number]))


def _sums(
    molecules: Sequence[Generated], targets: Sequence[Target]
) -> dict[str, tuple[int, float, float]]:
    """Number, sum of values and of distances, for each value asked for."""
    found = {}
    for target in (target for target in targets if target.is_point):
        values = [molecule.values[target.name] for molecule in molecules]
        off = math.fsum(abs(value - target.low) for value in values)
        found[target.name] = len(values), math.fsum(values), off
    return found


def _obtained(
    targets: Sequence[Target], records: Iterable[Mapping[str, Any]]
) -> dict[str, dict[str, float]]:
    """Mean, and mean distance from what was asked, for each value asked for."""
    sums = [record.get("obtained", {}) for record in records]
    found = {}
    for name in (target.name for target in targets if target.is_point):
        n, total, off = (math.fsum(one[name][i] for one in sums if name in one) for i in range(3))
        if n:
            found[name] = {"mean": total / n, "mean_error": off / n}
    return found


def _misses(
    obtained: Mapping[str, Mapping[str, float]], targets: Sequence[Target], model: SavedModel
) -> list[str]:
    """A sentence for every value that the molecules do not come near."""
    notes = []
    for target in targets:
        found, known = obtained.get(target.name), target.name in model.conditions.names
        if found and known and found["mean_error"] > FAR_OFF * model.conditions[target.name].std:
            notes.append(
                f"{target.text} was not met: {found['mean']:.3g} on average; do the targets "
                "contradict each other? Ask for less at a time, or nearer to what the model saw"
            )
            say(f"note: {notes[-1]}")
    return notes


@contextmanager
def _open_sampler(
    model: SavedModel,
    request: Request,
    n: int,
    *,
    seed: int,
    device: str,
    precision: str,
    workers: int | None,
    novel: Sequence[str | Path],
) -> Iterator[Sampler]:
    """A sampler with its worker processes, if there is work enough for them."""
    where, count = choose_device(device), worker_count(workers)
    if workers is None and where.type == "cpu" and count > 3:
        count //= 2  # the network has as much to do as RDKit
    keep_memory()  # a step of the decoder takes and frees megabytes
    with ExitStack() as stack:
        pool, threads, decoders = None, None, 1
        if count > 1 and (n * (request.candidates if request.targets else 1) > INLINE or novel):
            pool = stack.enter_context(process_pool(count))
            if where.type == "cpu":
                decoders = stack.enter_context(_decoders_beside(count))
                threads = stack.enter_context(ThreadPoolExecutor(decoders, "decoder"))
        elif where.type == "cpu":
            # Beside other programs threads wait for each other; so few molecules need one only.
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(1)
        count = count if pool is not None else 1
        known = known_molecules(novel, workers=count, executor=pool) if novel else None
        sampler = Sampler(
            model, request, seed=seed, device=where, precision=precision,
            executor=pool, workers=count, decoders=threads, decoder_count=decoders, known=known,
        )  # fmt: skip
        for note in sampler.notes():
            say(f"note: {note}")
        yield sampler


@contextmanager
def _decoders_beside(workers: int) -> Iterator[int]:
    """How many batches to decode at a time beside the workers; each in one thread, for a while.

    A product of one step is too small to be shared by threads, and where they outnumber the idle
    CPUs they wait for each other in a loop; whole batches do not (docs/benchmarks.md). Some at
    least, as workers are idle most of the time; none beside the first where one thread is allowed.
    """
    before = torch.get_num_threads()
    idle = min(before, available_cpus() - workers)
    torch.set_num_threads(1)
    try:
        yield 1 if before == 1 else min(max(idle, LEAST_DECODERS), MOST_DECODERS)
    finally:
        torch.set_num_threads(before)


def _with_targets(request: Request | None, targets: Sequence[str], model: SavedModel) -> Request:
    request = request or Request()
    return replace(request, targets=request.parse(targets, model))


def _with_header(columns: Sequence[str], name: str) -> list[str]:
    """The columns, the first by another name."""
    if not is_name(name) or name in columns[1:]:
        raise ConfigError(
            f"the header of the SMILES column: got {name!r}, expected a name that no other column "
            f"has ({', '.join(columns[1:]) or 'there is none'})"
        )
    return [name, *columns[1:]]


def _check_number(n: int) -> None:
    if n < 1:
        raise InputError(f"number of molecules: got {n}, expected 1 or more")


def _blocks_of(n: int, shard: Shard) -> dict[int, range]:
    """Number of each block of this shard → the wanted molecules in it."""
    found = {
        number: range(start, min(start + BLOCK, n))
        for number, start in enumerate(range(0, n, BLOCK))
        if shard.owns(number)
    }
    if not found:
        raise ConfigError(
            f"shard {shard.index}/{shard.count}: {n:,} molecules are {-(-n // BLOCK)} blocks of "
            f"{BLOCK:,}, too few for so many shards"
        )
    return found


def _plan(
    folder: Path,
    request: Request,
    n: int,
    seed: int,
    precision: str,
    novel: Sequence[str | Path],
    shard: Shard,
) -> dict[str, Any]:
    """All that decides what is written."""
    options = asdict(replace(request, targets=()))
    del options["targets"]
    return {
        "n": n,
        "seed": seed,
        "shard": [shard.index, shard.count],
        "targets": [target.text for target in request.targets],
        "request": options,
        "model": fingerprint(folder / "config.json")["sha256"],
        "precision": precision,
        "novel": [fingerprint(_content(Path(path)))["sha256"] for path in novel],
        "versions": versions(),
    }


def _content(path: Path) -> Path:
    """The file that tells what a file or dataset folder holds."""
    return path / "manifest.json" if path.is_dir() else path


def _draw(path: Path, columns: Sequence[str], blocks: Blocks) -> None:
    """A picture of the first molecules with their values."""
    smiles, legends = [], []
    for row in islice(blocks.rows(), GRID):
        smiles.append(str(row[0]))
        cells = [(n, v) for n, v in zip(columns, row, strict=True) if n not in ("smiles", "start")]
        legends.append("\n".join(f"{name} {_short(value)}" for name, value in cells))
    write_picture(path, smiles, legends)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else format_cell(value)
