"""Raw molecule files → cleaned molecules → a dataset folder, every row accounted for.

Rows become parts (:mod:`molvae.data.prepare.parts`), made chunk by chunk by any worker of any
machine (:mod:`molvae.data.prepare.jobs`); the parts in order become the dataset
(:mod:`molvae.data.prepare.assemble`). So workers, shards and interruptions change no byte of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from filelock import FileLock, Timeout

from molvae import chem
from molvae.chem import selfies
from molvae.chem.properties import property_versions
from molvae.chem.vocabulary import Vocabulary
from molvae.config import DataConfig
from molvae.data.columns import parse_transform, unit_exponent
from molvae.data.dataset import Dataset
from molvae.data.manifest import SCHEMA
from molvae.data.prepare.assemble import DISAGREEMENTS, ResumableError, assemble
from molvae.data.prepare.conditions import condition_names
from molvae.data.prepare.jobs import (
    STDIN,
    Input,
    Job,
    open_inputs,
    open_workdir,
    part_files,
    work_folder,
)
from molvae.data.prepare.parts import Recipe
from molvae.data.prepare.plan import read_shard, work_versions
from molvae.data.shard import Shard
from molvae.data.tokenize import Clean
from molvae.errors import FileError, InputError
from molvae.runtime.cache import cache_folder, lock_folder
from molvae.runtime.files import require_absent
from molvae.runtime.pool import WorkerPool
from molvae.runtime.processes import require_main
from molvae.runtime.progress import say
from molvae.runtime.workdir import remove_discarded, replace_folder, restore_folder

__all__ = [
    "cached_dataset",
    "merge",
    "prepare",
    "prepare_shard",
    "summary_lines",
]


def prepare(
    inputs: Sequence[str | Path],
    output: str | Path,
    config: DataConfig,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    resume: bool = False,
    force: bool = False,
    vocabulary: Vocabulary | None = None,
    constraints: Mapping[str, int] | None = None,
    clean: Clean = chem.clean,
) -> Dataset:
    """Clean molecule files into a dataset folder, in worker processes.

    Every input row is kept, merged into an equal molecule, or written to ``rejects.csv`` with a
    reason; a molecule that crashes or hangs its worker costs itself only. The folder appears under
    its name when it is complete. Until then finished chunks are kept in ``OUTPUT.partial``, where
    ``resume`` continues.

    Args:
        inputs: molecule files; ``-`` is standard input.
        output: the dataset folder to make.
        config: what to read, clean, compute and hold out.
        workers: local processes (default: all CPUs); 0 does everything in this process, where a
            crash or hang of RDKit ends or stops it.
        scheduler: address of a running Dask scheduler, to use its workers instead.
        resume: continue the unfinished work of an equal call, if there is any.
        force: overwrite an existing dataset, discard unfinished work.
        vocabulary: the only tokens allowed, those of an existing model.
        constraints: the SELFIES bonding limits of that model (default: those in force).
        clean: another cleaning than :func:`molvae.chem.clean`; a function of an importable module.

    Raises:
        FileError: an input cannot be read or holds what the options do not allow.
        RunError: the work was stopped or lost its workers.
    """
    output = _place(output, "manifest.json", resume=resume, force=force)
    recipe = _recipe(config, vocabulary, constraints, clean)
    with open_workdir(output, resume=resume, force=force) as work:
        job = Job(work, open_inputs(inputs, work, recipe), recipe)
        _complete(job, WorkerPool(workers, scheduler=scheduler), output, force=force)
    return Dataset(output)


def prepare_shard(
    inputs: Sequence[str | Path],
    output: str | Path,
    config: DataConfig,
    shard: Shard,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    resume: bool = False,
    force: bool = False,
    vocabulary: Vocabulary | None = None,
    constraints: Mapping[str, int] | None = None,
    clean: Clean = chem.clean,
) -> Path:
    """One job's share of :func:`prepare`, as a folder that :func:`merge` takes."""
    output = _place(output, "shard.json", resume=resume, force=force)
    recipe = _recipe(config, vocabulary, constraints, clean)
    with open_workdir(output, resume=resume, force=force) as work:
        job = Job(work, open_inputs(inputs, work, recipe), recipe, shard)
        job.fill(WorkerPool(workers, scheduler=scheduler))
        shutil.rmtree(work / NEW, ignore_errors=True)  # of an interrupted try
        (work / NEW).mkdir()
        for part in part_files(work).values():
            _also_at(part, work / NEW / part.name)
        job.plan.write(
            work / NEW / "shard.json", shard=[shard.index, shard.count], chunks=job.chunks
        )
        _put_in_place(work / NEW, output, force=force)
    return output


def merge(
    shards: Sequence[str | Path],
    output: str | Path,
    *,
    unknown_tokens: Literal["error", "reject"] | None = None,
    force: bool = False,
) -> Dataset:
    """All shards of one preparation → the dataset that a single :func:`prepare` makes.

    ``unknown_tokens`` replaces the option that the shards were made with.
    """
    output = _place(output, "manifest.json", force=force)
    folders = [Path(shard) for shard in shards]
    if len({folder.resolve() for folder in folders}) != len(folders):
        raise FileError("merge: a shard is given twice")
    records = [read_shard(folder) for folder in folders]
    plan, first, chunks = records[0]
    for folder, (shard_plan, shard, count) in zip(folders, records, strict=True):
        difference = plan.conflict(shard_plan)
        if difference or (shard.count, count) != (first.count, chunks):
            raise FileError(
                f"'{folder}': not of the same preparation as '{folders[0]}': "
                f"{difference or 'another number of shards or chunks'}"
            )
    given = sorted(shard.index for _, shard, _ in records)
    if given != list(range(1, first.count + 1)):
        missing = sorted(set(range(1, first.count + 1)) - set(given))
        raise FileError(
            f"merge: got shards {given} of {first.count}, "
            + (f"missing {missing}" if missing else "one of them twice")
        )
    parts = {number: path for folder in folders for number, path in part_files(folder).items()}
    if sorted(parts) != list(range(chunks)):
        raise FileError(f"merge: {len(parts)} of {chunks} parts are there; make the shards again")
    recipe = plan.recipe()
    if unknown_tokens is not None:
        config = recipe.config.model_copy(update={"unknown_tokens": unknown_tokens})
        recipe = replace(recipe, config=config)
    with open_workdir(output, resume=False, force=force) as work:
        _assemble(parts, work, recipe, plan.sources)
        _put_in_place(work / NEW, output, force=force)
    return Dataset(output)


NEW = "new"  # what is to become the output, in the work folder
PLACED = "placed"  # says that it may have become that, and the work folder only remained


def _place(output: str | Path, marker: str, *, resume: bool = False, force: bool) -> Path:
    """The output path, if nothing is there but an older output, known by its ``marker``.

    With unfinished work to ``resume`` it may be what that work made just before it was killed.
    """
    output = Path(output)
    output = output.resolve() if output.is_symlink() else output
    if output.resolve() == Path.cwd():
        raise FileError(f"'{output}': is the current folder; name a folder to be made")
    work = work_folder(output)
    remove_discarded(work)
    restore_folder(output)
    placed = resume and (work / PLACED).exists()
    require_absent(output, force=force or placed, resume=resume and not work.exists(), folder=True)
    _require_ours(output, marker)
    return output


def _require_ours(output: Path, marker: str) -> None:
    if output.exists() and not (output / marker).is_file():
        kind = "dataset" if marker == "manifest.json" else "shard"
        raise FileError(f"'{output}': exists and is not a {kind} folder; not overwriting it")


def _complete(job: Job, pool: WorkerPool, output: Path, *, force: bool) -> None:
    """Make the parts that are missing, and the dataset of them all."""
    job.fill(pool)
    try:
        _assemble(part_files(job.work), job.work, job.recipe, job.plan.sources, job.values_of)
    except InputError as error:
        if not isinstance(error, ResumableError):  # the parts are of no use
            for part in part_files(job.work).values():
                part.unlink()
        raise
    _put_in_place(job.work / NEW, output, force=force)


def _assemble(
    parts: Mapping[int, Path],
    work: Path,
    recipe: Recipe,
    sources: list[dict[str, Any]],
    values_of: Callable[[str], Iterable[str]] | None = None,
) -> None:
    """Put the parts together, in the order of their numbers."""
    folder = work / NEW
    shutil.rmtree(folder, ignore_errors=True)  # of an interrupted try
    folder.mkdir()
    assemble([parts[number] for number in sorted(parts)], folder, recipe, sources, values_of)


def _also_at(path: Path, place: Path) -> None:
    try:
        os.link(path, place)
    except OSError:  # not every file system can
        shutil.copyfile(path, place)


def _put_in_place(folder: Path, output: Path, *, force: bool) -> None:
    if not output.exists():
        (folder.parent / PLACED).touch()
        replace_folder(folder, output)
        return
    marker = "shard.json" if (folder / "shard.json").exists() else "manifest.json"
    there = output / marker
    if not force and there.is_file() and there.read_bytes() == (folder / marker).read_bytes():
        return  # made by this very work, which was killed before it could be forgotten
    require_absent(output, force=force, folder=True)  # it may have appeared while we worked
    _require_ours(output, marker)
    replace_folder(folder, output)


def _recipe(
    config: DataConfig,
    vocabulary: Vocabulary | None,
    constraints: Mapping[str, int] | None,
    clean: Clean,
) -> Recipe:
    builtin, _ = condition_names(config)
    chem.require_profile(config.cleaning.standardize)
    chem.require_elements(config.cleaning.elements)
    for text in config.transforms.values():
        parse_transform(text)
    return Recipe(
        config=config,
        builtin=tuple(builtin),
        constraints=dict(selfies.constraints() if constraints is None else constraints),
        vocabulary=None if vocabulary is None else vocabulary.tokens,
        clean=clean,
    )


# -- the cache of train, and the summary --------------------------------------------------------


def cached_dataset(
    inputs: Sequence[str | Path],
    config: DataConfig,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    vocabulary: Vocabulary | None = None,
    constraints: Mapping[str, int] | None = None,
) -> Dataset:
    """The dataset of these files and options, prepared once and kept by content.

    Interrupted work is kept there too, and the next call continues it.
    """
    place = cache_folder() / "datasets"
    recipe = _recipe(config, vocabulary, constraints, chem.clean)
    with ExitStack() as stack:
        piped = any(str(path) == STDIN for path in inputs)
        copies = stack.enter_context(_copies(place)) if piped else place
        given = open_inputs(inputs, copies, recipe)
        folder = place / _key(given, recipe)
        with _in_use(folder):
            if (folder / "manifest.json").is_file():
                say(f"using the prepared dataset {folder}")
                return Dataset(folder)
            shutil.rmtree(folder, ignore_errors=True)  # without a manifest it is damaged
            with open_workdir(folder, resume=True, force=False, advice=_AGAIN) as work:
                job = Job(work, given, recipe, strict=False)
                _complete(job, WorkerPool(workers, scheduler=scheduler), folder, force=True)
            return Dataset(folder)


def _key(inputs: Sequence[Input], recipe: Recipe) -> str:
    """Hash of all that decides what a dataset holds."""
    content = {
        "sources": [given.source["sha256"] for given in inputs],
        "names": [given.source["file"] for given in inputs],
        "options": recipe.config.model_dump(mode="json"),
        "constraints": dict(recipe.constraints),
        "versions": {**work_versions(), **property_versions(recipe.builtin)},
        "schema": SCHEMA,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def _copies(place: Path) -> Iterator[Path]:
    """A folder for a copy of standard input, which emptying the cache spares.

    Copies that killed processes left behind are removed, as they cannot be used.
    """
    for stale in place.glob("stdin-*"):
        if stale.is_dir():
            with suppress(Timeout, OSError), FileLock(f"{stale}.lock", timeout=0) as lock:
                shutil.rmtree(stale, ignore_errors=True)
                Path(lock.lock_file).unlink(missing_ok=True)
    folder = place / f"stdin-{uuid4().hex}"
    with _in_use(folder):  # before there is a folder: a stale one is known by its free lock
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _in_use(folder: Path) -> Iterator[None]:
    """Lock a folder of the cache: no other process prepares or clears it."""
    require_main()  # else it would wait for its own parent
    held = lock_folder(folder, f"another molvae is preparing {folder}; waiting for it")
    try:
        with held:
            yield
    finally:  # not of a wait that was interrupted: the lock is another's then
        if not folder.exists():  # it was for once
            Path(f"{folder}.lock").unlink(missing_ok=True)


_AGAIN = "the same command continues with them"


def summary_lines(dataset: Dataset) -> list[str]:
    """Lines for the user: what became of the rows."""
    m = dataset.manifest
    lines = [
        f"{m['rows_read']:,} rows read = {m['kept']:,} kept + {m['merged']:,} merged into equal "
        f"molecules + {m['rejected']:,} rejected"
    ]
    lines += [f"  {count:,} × {reason}" for reason, count in m["reasons"].items()]
    if m["rejected"]:
        lines.append(f"  see {dataset.folder / 'rejects.csv'}")
    lines += [f"  {count:,} × {remark}" for remark, count in m.get("remarks", {}).items()]
    for name in m["options"]["properties"]:
        lines += _column_lines(name, m["properties"][name], m)
    if (dataset.folder / DISAGREEMENTS).is_file():
        lines.append(f"  see {dataset.folder / DISAGREEMENTS}")
    if m.get("split_conflicts"):
        lines.append(
            f"  {m['split_conflicts']:,} molecules are on two sides of the split column and "
            "are held out"
        )
    if m.get("split_drawn"):
        lines.append(
            "  the split column marks no molecule for validation: "
            f"{m['split']['valid']:,} of those for training were drawn for it"
        )
    split = ", ".join(f"{count:,} {name}" for name, count in m["split"].items())
    lines.append(f"{split}; {len(dataset.vocabulary)} tokens, longest molecule {m['longest']}")
    return lines


def _column_lines(name: str, column: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[str]:
    known = column["known"]
    missing = manifest["kept"] - known
    if column["kind"] == "yesno":
        what = f"yes/no, {column['mean'] * known:,.0f} yes of {known:,} known"
    else:
        what = f"{known:,} known from {column['min']:g} to {column['max']:g}"
    limit = manifest["options"].get("censored") == "limit"
    notes = {
        "censored": f"censored cells (<, >) count as {'their limit' if limit else 'missing'}",
        "bad": "cells that are no value count as missing",
        "unconverted": "values in units that cannot be converted count as missing",
        "combined": "molecules have several values, which were averaged",
        "conflicts": "molecules have both yes and no, and count as missing",
    }
    lines = [f"column {name}: {what}, {missing:,} missing"]
    others = [unit for unit in column.get("units", {}) if unit_exponent(unit) is None]
    if column.get("unconverted") and others:
        notes["unconverted"] += f" ({', '.join(unit or 'no unit' for unit in others)})"
    lines += [f"  {column[key]:,} {text}" for key, text in notes.items() if column.get(key)]
    if gap := column.get("disagreements"):
        lines.append(
            f"  {gap['count']:,} molecules have values that differ by more than the standard "
            f"deviation of the column, {column['std']:.3g}; worst {gap['first']}: "
            f"{gap['low']:g} to {gap['high']:g}"
        )
    if known > 1 and column["min"] == column["max"]:
        lines.append(
            f"  warning: every known value is {column['min']:g}: there is nothing to learn"
        )
    return lines
