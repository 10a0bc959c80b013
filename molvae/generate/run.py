"""Generate molecules that meet a request, as a stream or into a file."""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from molvae.chem.screening import scaffold_share
from molvae.data.columns import is_name
from molvae.data.shard import Shard
from molvae.data.writers import picture_format, require_writer, write_picture
from molvae.errors import ConfigError, InputError
from molvae.generate.blocks import BLOCK, BlockNumbers, Blocks, open_blocks
from molvae.generate.columns import columns_of, count_inside, extras_of, legend, molecule_row
from molvae.generate.novelty import known_molecules
from molvae.generate.refusals import with_examples
from molvae.generate.request import Generated, Request, Targets
from molvae.generate.sampler import Listener, Sampler
from molvae.model.checkpoint import SavedModel, find_model, load_model
from molvae.model.given import clean_given
from molvae.runtime.device import available_cpus, choose_device, keep_memory, versions
from molvae.runtime.files import fingerprint
from molvae.runtime.pool import WorkerPool
from molvae.runtime.processes import process_pool, worker_count
from molvae.runtime.progress import Progress, say
from molvae.runtime.threads import one_thread
from molvae.targets import Target

__all__ = [
    "ADVICE",
    "GenerationSummary",
    "OutputOptions",
    "generate",
    "generate_file",
]

MOST = 10**12  # molecules of one command
INLINE = 5000  # candidates, up to which starting worker processes costs more than it saves
LEAST_DECODERS, MOST_DECODERS = 3, 8  # batches decoded at a time; the GIL sets the limit
FAR_OFF = 1.0  # mean distance from a point target, in standard deviations, above which we warn
ADVICE = "widen a range, raise --max-tries, add --allow-misses, or accept --novel-rings"
GRID = 100  # molecules in a grid picture


@dataclass
class GenerationSummary:
    """What a generation run did."""

    wanted: int
    written: int = 0
    decoded: int = 0
    seconds: float = 0.0
    refused: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)  # of refusals, by reason
    obtained: dict[str, dict[str, float]] = field(default_factory=dict)  # for point targets
    inside: dict[str, int] = field(default_factory=dict)  # by column: those in its domain
    scaffold_share: float | None = None  # of candidates with the requested scaffold
    notes: list[str] = field(default_factory=list)

    def count(self, decoded: int, refused: Counter[str], request: Request) -> None:
        """Take over what became of the candidates."""
        self.decoded, self.refused = decoded, dict(refused.most_common())
        share = scaffold_share(decoded, refused) if request.scaffolds else math.nan
        self.scaffold_share = None if math.isnan(share) else share

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return dict(self.__dict__)

    @property
    def refusals(self) -> dict[str, int]:
        """``refused`` for people: reasons with their example."""
        return with_examples(self.refused, self.examples)


def generate(
    n: int,
    *,
    model: SavedModel | str | Path | None = None,
    targets: Targets = (),
    request: Request | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    scheduler: str | None = None,
    novel: Sequence[str | Path] = (),
    summary: GenerationSummary | None = None,
    listener: Listener | None = None,
    label: str = "generate",
) -> Iterator[Generated]:
    """Stream up to ``n`` molecules that meet the targets; the same seed gives the same molecules.

    Args:
        n: molecules wanted.
        model: a loaded model, or what :func:`molvae.model.checkpoint.load_model` takes.
        targets: texts such as ``logp=2.5`` or ``qed=0.8:``, or parsed targets; those of
            ``request`` count too.
        request: all other options of generation.
        seed: of all random numbers.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``auto``, ``fp32`` or ``bf16``.
        workers: processes for RDKit; None takes all CPUs.
        scheduler: address of a running Dask scheduler, whose workers decode and screen instead.
        novel: files of molecules that must not be generated.
        summary: filled in as the run proceeds.
        listener: called after every batch with the candidates decoded so far and the molecules just
            settled, which come later in the stream, in the order of their numbers.
        label: name of the progress line.
    """
    _check_number(n)
    saved = model if isinstance(model, SavedModel) else load_model(model)
    request = (request or Request()).with_targets(targets, saved)
    started = time.monotonic()
    options = (seed, device, precision, workers, scheduler, novel)
    with (
        _open_sampler(saved, request, n, *options, listener) as sampler,
        Progress(label, total=n) as progress,
    ):
        for molecule in sampler.stream(n):
            progress.advance(1)
            if summary is not None:
                summary.written += 1
            yield molecule
    if summary is not None:
        summary.seconds = time.monotonic() - started
        summary.count(sampler.decoded, sampler.refused, request)
        summary.examples = sampler.refused.examples
        summary.notes = sampler.notes()


@dataclass(frozen=True)
class OutputOptions:
    """What :func:`generate_file` writes besides the molecules, and the name of their column."""

    report: str | Path | None = None  # HTML page of targets and results
    grid: str | Path | None = None  # picture of the first molecules (.png, .svg)
    smiles_header: str = "smiles"  # first column of a table; the scripts of MOSES expect SMILES
    command: str = ""  # the command line, shown on the page


def generate_file(
    output: str | Path,
    n: int,
    *,
    model: str | Path | None = None,
    targets: Targets = (),
    request: Request | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    scheduler: str | None = None,
    novel: Sequence[str | Path] = (),
    shard: Shard | None = None,
    options: OutputOptions | None = None,
    resume: bool = False,
    force: bool = False,
) -> GenerationSummary:
    """Generate molecules into a file whose format follows its name; see :func:`generate`.

    Fewer molecules than wanted are a note; if none is found, no file is written. Finished blocks
    of 1,024 wanted molecules are kept in ``FILE.part`` until the end; with ``resume`` a run that
    was killed continues after them.
    ``shard`` is this run's share of the blocks.
    """
    _check_number(n)
    options = options or OutputOptions()
    require_writer(Path(output))
    if options.grid is not None:
        picture_format(Path(options.grid))
    saved, shard = load_model(model), shard or Shard()
    request = (request or Request()).with_targets(targets, saved)
    columns = columns_of(request.targets, extras_of(request, saved))
    header = _with_header(columns, options.smiles_header)
    numbers = BlockNumbers(n, shard)
    plan = _plan(find_model(model), request, n, seed, precision, novel, shard)
    summary = GenerationSummary(wanted=numbers.wanted)
    started = time.monotonic()
    extra = [Path(path) for path in (options.report, options.grid) if path is not None]
    accept = functools.partial(_is_of_plan, numbers)
    with open_blocks(
        output, header, plan, extra_files=extra, resume=resume, force=force, accept=accept
    ) as blocks:
        with _open_sampler(
            saved, request, summary.wanted, seed, device, precision, workers, scheduler, novel
        ) as sampler:
            summary.notes = sampler.notes()
            _fill(blocks, sampler, numbers)
        _sum_up(summary, blocks, request, saved)
        summary.inside = count_inside(columns, blocks.rows())
        if next(blocks.rows(), None) is None:
            blocks.leave()
            summary.seconds = time.monotonic() - started
            return summary
        with blocks.joined() as summary.written:
            if summary.written < summary.wanted:
                summary.notes.append(
                    f"{summary.written:,} of {summary.wanted:,} molecules were found; {ADVICE}"
                )
                say(f"note: {summary.notes[-1]}")
            summary.seconds = time.monotonic() - started
            if options.report is not None:
                from molvae.generate.report import page_of  # slow to import, and seldom needed
                from molvae.report import write_html

                about = summary.to_json(), find_model(model).name, seed, options.command
                page = page_of(blocks.rows(), columns, request.targets, saved, *about)
                write_html(options.report, page)
            if options.grid is not None:
                _draw(Path(options.grid), columns, blocks)
    return summary


def _fill(blocks: Blocks, sampler: Sampler, numbers: BlockNumbers) -> None:
    """Generate the blocks that are not finished."""
    done = sorted(blocks.finished)
    smiles = (str(row[0]) for number in done for row in blocks.rows(number))
    while chunk := list(islice(smiles, BLOCK)):
        sampler.forbid(chunk)
    targets, extras = sampler.request.targets, extras_of(sampler.request, sampler.model)
    before = sum(len(numbers[number]) for number in done)
    finished = frozenset(done)
    wanted, missing = itertools.tee(n for n in numbers if n not in finished)
    made = sampler.blocks(numbers[number] for number in wanted)
    with Progress("generate", total=numbers.wanted, done=before) as progress:
        decoded, refused = sampler.decoded, Counter(sampler.refused)
        for number, molecules in zip(missing, made, strict=True):
            record = {
                "decoded": sampler.decoded - decoded,
                "refused": dict(sampler.refused - refused),
                "examples": dict(sampler.refused.examples),
                "obtained": _sums(molecules, targets),
            }
            decoded, refused = sampler.decoded, Counter(sampler.refused)
            sampler.refused.examples.clear()
            rows = [molecule_row(molecule, targets, extras) for molecule in molecules]
            blocks.write(number, rows, record)
            progress.advance(len(molecules), done=progress.done + len(numbers[number]))


def _is_of_plan(
    numbers: Mapping[int, range], number: int, record: Mapping[str, Any], rows: Sequence[object]
) -> bool:
    """Whether a block is of this run, with a record as :func:`_fill` writes it."""
    if number not in numbers or len(rows) > len(numbers[number]):
        return False
    refused, obtained = record.get("refused"), record.get("obtained", {})
    sums = obtained.values() if isinstance(obtained, dict) else [None]
    return (
        isinstance(record.get("decoded"), int)
        and isinstance(refused, dict)
        and all(isinstance(count, int) for count in refused.values())
        and all(
            isinstance(item, list)
            and len(item) == 3
            and all(isinstance(x, int | float) and math.isfinite(x) for x in item)
            for item in sums
        )
    )


def _sums(
    molecules: Sequence[Generated], targets: Sequence[Target]
) -> dict[str, tuple[int, float, float]]:
    """Number, sum of values and sum of distances, for each point target."""
    sums = {}
    for target in (target for target in targets if target.is_point):
        values = [molecule.values[target.name] for molecule in molecules]
        off = math.fsum(abs(value - target.low) for value in values)
        sums[target.name] = len(values), math.fsum(values), off
    return sums


def _sum_up(
    summary: GenerationSummary, blocks: Blocks, request: Request, model: SavedModel
) -> None:
    """Add up the records of all blocks; note the point targets that the molecules miss by far."""
    records = [blocks.finished[number] for number in sorted(blocks.finished)]
    refused: Counter[str] = Counter()
    for record in records:
        refused.update(record["refused"])
    summary.count(sum(record["decoded"] for record in records), refused, request)
    for record in reversed(records):  # the first block decides
        summary.examples.update(record.get("examples", {}))
    sums = [record.get("obtained", {}) for record in records]
    for target in (target for target in request.targets if target.is_point):
        name = target.name
        n, total, off = (math.fsum(s[name][i] for s in sums if name in s) for i in range(3))
        if not n:
            continue
        summary.obtained[name] = {"mean": total / n, "mean_error": off / n}
        known = name in model.conditions.names
        if known and off / n > FAR_OFF * model.conditions[name].std:
            summary.notes.append(
                f"{target.text} was not met: the mean is {total / n:.3g}; check that the targets "
                "do not contradict each other, ask for fewer, or stay closer to the training data"
            )
            say(f"note: {summary.notes[-1]}")


@contextmanager
def _open_sampler(
    model: SavedModel,
    request: Request,
    n: int,
    seed: int,
    device: str,
    precision: str,
    workers: int | None,
    scheduler: str | None,
    novel: Sequence[str | Path],
    listener: Listener | None = None,
) -> Iterator[Sampler]:
    """A sampler, with worker processes if there is enough work for them."""
    where, count = choose_device(device), worker_count(workers)
    if workers is None and where.type == "cpu" and count > 3:
        count //= 2  # the network has as much to do as RDKit
    keep_memory()  # a step of the decoder takes and frees megabytes
    with ExitStack() as stack:
        pool: Executor | None = None
        threads, decoders = None, 1
        if scheduler is not None:
            stack.enter_context(one_thread())
            remote = stack.enter_context(WorkerPool(scheduler=scheduler))
            pool, count = remote.cluster, remote.count
        elif count > 1 and (n * (request.candidates if request.targets else 1) > INLINE or novel):
            pool = stack.enter_context(process_pool(count))
            if where.type == "cpu":
                decoders = stack.enter_context(_decoder_count(count))
                threads = stack.enter_context(ThreadPoolExecutor(decoders, "decoder"))
        elif where.type == "cpu":
            # Threads wait for each other when other programs run; few molecules need only one.
            stack.enter_context(one_thread())
        count = count if pool is not None else 1
        known = known_molecules(novel, workers=count, executor=pool) if novel else None
        sampler = Sampler(
            model,
            replace(request, like=clean_given(request.like, model, name="like")),
            seed=seed,
            device=where,
            precision=precision,
            executor=pool,
            workers=count,
            decoders=threads,
            decoder_count=decoders,
            elsewhere=scheduler is not None,
            known=known,
            listener=listener,
        )
        for note in sampler.notes():
            say(f"note: {note}")
        yield sampler


@contextmanager
def _decoder_count(workers: int) -> Iterator[int]:
    """How many batches to decode at a time while the workers run; each batch gets one thread.

    The matrix product of one step is too small to be shared by threads, and threads that outnumber
    the idle CPUs wait for each other in a loop; whole batches do not (docs/benchmarks.md). At least
    ``LEAST_DECODERS``, as workers are idle most of the time; one where one thread is allowed.
    """
    before = torch.get_num_threads()
    idle = min(before, available_cpus() - workers)
    with one_thread():
        yield 1 if before == 1 else min(max(idle, LEAST_DECODERS), MOST_DECODERS)


def _with_header(columns: Sequence[str], name: str) -> list[str]:
    """The columns, the first by another name."""
    if not is_name(name) or name in columns[1:]:
        raise ConfigError(
            f"smiles-header: got {name!r}, expected a name that no other column has "
            f"({', '.join(columns[1:]) or 'there is none'})"
        )
    return [name, *columns[1:]]


def _check_number(n: int) -> None:
    if not hasattr(n, "__index__") or not 1 <= n <= MOST:
        raise InputError(f"number of molecules: got {n}, expected an integer from 1 to {MOST:,}")


def _plan(
    folder: Path,
    request: Request,
    n: int,
    seed: int,
    precision: str,
    novel: Sequence[str | Path],
    shard: Shard,
) -> dict[str, Any]:
    """Everything that determines the output."""
    options = asdict(replace(request, targets=()))
    del options["targets"]
    if not request.fill:  # absent from the plans of older runs
        del options["fill"]
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
    """The file that identifies the content of a file or dataset folder."""
    return path / "manifest.json" if path.is_dir() else path


def _draw(path: Path, columns: Sequence[str], blocks: Blocks) -> None:
    """A picture of the first molecules with their values."""
    rows = list(islice(blocks.rows(), GRID))
    write_picture(path, [str(row[0]) for row in rows], [legend(columns, row) for row in rows])
