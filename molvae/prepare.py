"""Raw molecule files → cleaned molecules → a dataset folder, every row accounted for.

Rows become parts (:mod:`molvae.parts`), made chunk by chunk by any worker of any machine
(:mod:`molvae.jobs`); the parts in order become the dataset (:mod:`molvae.assemble`). So neither the
number of workers, nor shards, nor interruptions can change a byte of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from molvae import chem, tokens
from molvae.assemble import assemble
from molvae.cache import cache_folder
from molvae.config import CleaningConfig, DataConfig
from molvae.dataset import SCHEMA, Dataset
from molvae.errors import FileError, PropertyError
from molvae.files import require_absent, scratch_folder
from molvae.jobs import (
    Job,
    Shard,
    difference,
    open_inputs,
    part_files,
    work_versions,
    workplace,
    write_json,
)
from molvae.labels import parse_transform
from molvae.parallel import Crew
from molvae.parts import Recipe
from molvae.progress import say
from molvae.properties import PROPERTIES, get_property

__all__ = [
    "cached_dataset",
    "condition_names",
    "merge",
    "prepare",
    "prepare_shard",
    "summary_lines",
]


def condition_names(config: DataConfig) -> tuple[list[str], list[str]]:
    """(built-in names, user names) a dataset of this configuration holds; clashes are errors."""
    for name in config.properties:
        if name in PROPERTIES:
            raise PropertyError(
                f"'{name}' is a built-in property; give your column another name: "
                f"-p my_{name}={config.properties[name]}"
            )
    wanted = [*PROPERTIES, *config.properties] if config.conditions is None else config.conditions
    if len(set(wanted)) != len(wanted):
        raise PropertyError(f"conditions: a name appears twice in {list(wanted)}")
    left_out = [name for name in config.properties if name not in wanted]
    if left_out:
        raise PropertyError(
            f"column '{left_out[0]}' is not among the conditions {list(wanted)}; "
            "add it there, or leave out its -p"
        )
    builtin = [name for name in wanted if name not in config.properties]
    for name in builtin:
        get_property(name)
    return builtin, list(config.properties)


_Cleaning = Callable[[str, CleaningConfig], chem.Cleaned | chem.Rejected]


def prepare(
    inputs: Sequence[str | Path],
    output: str | Path,
    config: DataConfig,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    resume: bool = False,
    force: bool = False,
    vocabulary: tokens.Vocabulary | None = None,
    constraints: Mapping[str, int] | None = None,
    clean: _Cleaning = chem.clean,
) -> Dataset:
    """Clean molecule files into a dataset folder, in worker processes.

    Every input row is kept, merged into an equal molecule, or written to ``rejects.csv`` with a
    reason; a molecule that crashes or hangs its worker costs itself only. The folder appears under
    its name when it is complete. Until then finished chunks are kept in ``OUTPUT.partial``, from
    where ``resume`` goes on.

    Args:
        inputs: molecule files; ``-`` is standard input.
        output: the dataset folder to make.
        config: what to read, clean, compute and hold out.
        workers: local processes (default: all CPUs); 0 does everything in this process, where a
            crash or hang of RDKit ends or stops it.
        scheduler: address of a running Dask scheduler, to use its workers instead.
        resume: go on with the unfinished work of an equal call, if there is any.
        force: overwrite an existing dataset, drop unfinished work.
        vocabulary: the only tokens allowed, those of an existing model.
        constraints: the SELFIES bonding limits of that model (default: those in force).
        clean: another cleaning than :func:`molvae.chem.clean`; a function of an importable module.

    Raises:
        FileError: an input cannot be read or holds what the options do not allow.
        RunError: the work was stopped or lost its workers.
    """
    output = Path(output)
    require_absent(output, force=force)
    if output.exists() and not (output / "manifest.json").is_file():
        raise FileError(f"'{output}': exists and is not a dataset folder; not overwriting it")
    recipe = _recipe(config, vocabulary, constraints, clean)
    with workplace(output, resume=resume, force=force) as work:
        job = Job(work, open_inputs(inputs, work, recipe), recipe, None)
        job.fill(Crew(workers, scheduler=scheduler))
        _conclude([job.parts()], output, recipe, job.sources)
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
    vocabulary: tokens.Vocabulary | None = None,
    constraints: Mapping[str, int] | None = None,
    clean: _Cleaning = chem.clean,
) -> Path:
    """One job's share of :func:`prepare`, as a folder that :func:`merge` takes."""
    output = Path(output)
    require_absent(output, force=force)
    if output.exists() and not (output / "shard.json").is_file():
        raise FileError(f"'{output}': exists and is not a shard folder; not overwriting it")
    recipe = _recipe(config, vocabulary, constraints, clean)
    with workplace(output, resume=resume, force=force) as work:
        job = Job(work, open_inputs(inputs, work, recipe), recipe, shard)
        job.fill(Crew(workers, scheduler=scheduler))
        scratch = scratch_folder(output)
        for part in job.parts().values():
            os.replace(part, scratch / part.name)
        write_json(
            scratch / "shard.json",
            {**job.plan, "shard": [shard.index, shard.count], "chunks": job.chunks},
        )
        _put_in_place(scratch, output)
    return output


def merge(shards: Sequence[str | Path], output: str | Path, *, force: bool = False) -> Dataset:
    """All shards of one preparation → the dataset that a single :func:`prepare` makes."""
    output = Path(output)
    require_absent(output, force=force)
    found = {Path(shard): _read_shard(Path(shard)) for shard in shards}
    if len(found) != len(shards):
        raise FileError("merge: a shard is given twice")
    (_, first), *others = found.items()
    for folder, record in others:
        for key in ("plan", "chunks"):
            if record[key] != first[key]:
                raise FileError(
                    f"'{folder}': not of the same preparation as '{next(iter(found))}': "
                    f"{difference(first[key], record[key]) or 'other input'}"
                )
    count = first["shard"][1]
    given = sorted(record["shard"][0] for record in found.values())
    if given != list(range(1, count + 1)):
        missing = sorted(set(range(1, count + 1)) - set(given))
        raise FileError(
            f"merge: got shards {given} of {count}, "
            + (f"missing {missing}" if missing else "one of them twice")
        )
    parts: list[dict[int, Path]] = [part_files(folder) for folder in found]
    together = sorted(number for numbers in parts for number in numbers)
    if together != list(range(first["chunks"])):
        raise FileError(f"merge: {len(together)} of {first['chunks']} parts are there")
    plan = first["plan"]
    recipe = Recipe(
        config=DataConfig.model_validate_json(json.dumps(plan["options"])),
        builtin=tuple(plan["builtin"]),
        constraints=plan["constraints"],
        vocabulary=None if plan["vocabulary"] is None else tuple(plan["vocabulary"]),
    )
    _conclude(parts, output, recipe, plan["sources"])
    return Dataset(output)


def _read_shard(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / "shard.json").read_text(encoding="utf-8"))
        return {key: record[key] for key in ("plan", "chunks", "shard")}
    except (OSError, ValueError, KeyError):
        raise FileError(
            f"'{folder}': not a finished shard (no readable shard.json); make it with "
            "molvae prepare --shard i/n"
        ) from None


def _recipe(
    config: DataConfig,
    vocabulary: tokens.Vocabulary | None,
    constraints: Mapping[str, int] | None,
    clean: _Cleaning,
) -> Recipe:
    builtin, _ = condition_names(config)
    chem.require_profile(config.cleaning.standardize)
    for text in config.transforms.values():
        parse_transform(text)
    return Recipe(
        config=config,
        builtin=tuple(builtin),
        constraints=dict(tokens.constraints() if constraints is None else constraints),
        vocabulary=None if vocabulary is None else vocabulary.tokens,
        clean=clean,
    )


def _conclude(
    parts: Sequence[dict[int, Path]], output: Path, recipe: Recipe, sources: list[dict[str, Any]]
) -> None:
    """Put the parts together, in the order of their numbers."""
    together = {number: path for numbers in parts for number, path in numbers.items()}
    scratch = scratch_folder(output)
    try:
        assemble([together[number] for number in sorted(together)], scratch, recipe, sources)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    _put_in_place(scratch, output)


def _put_in_place(scratch: Path, output: Path) -> None:
    if output.exists():
        shutil.rmtree(output)
    os.replace(scratch, output)


# -- what train calls, and what people read -----------------------------------------------------


def cached_dataset(
    inputs: Sequence[str | Path],
    config: DataConfig,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
) -> Dataset:
    """The dataset of these files and options, prepared once and kept by content.

    Interrupted work is kept there too, and the next call goes on with it.
    """
    place = cache_folder() / "datasets"
    place.mkdir(parents=True, exist_ok=True)
    recipe = _recipe(config, None, None, chem.clean)
    with tempfile.TemporaryDirectory(prefix="stdin-", dir=place) as copies:
        given = open_inputs(inputs, Path(copies), recipe)
        key = hashlib.sha256(
            json.dumps(
                {
                    "sources": [source["sha256"] for source in (i.source for i in given)],
                    "names": [i.source["file"] for i in given],
                    "options": config.model_dump(mode="json"),
                    "constraints": recipe.constraints,
                    "versions": work_versions(),
                    "schema": SCHEMA,
                },
                sort_keys=True,
            ).encode()
        ).hexdigest()[:16]
        folder = place / key
        with FileLock(f"{folder}.lock"):
            if (folder / "manifest.json").is_file():
                say(f"using the prepared dataset {folder}")
                return Dataset(folder)
            shutil.rmtree(folder, ignore_errors=True)  # without a manifest it is damaged
            with workplace(folder, resume=True, force=False, advice=_AGAIN) as work:
                job = Job(work, given, recipe, None)
                job.fill(Crew(workers, scheduler=scheduler))
                _conclude([job.parts()], folder, recipe, job.sources)
            return Dataset(folder)


_AGAIN = "the same command goes on with them"


def summary_lines(dataset: Dataset) -> list[str]:
    """What became of the rows, as a person reads it."""
    m = dataset.manifest
    lines = [
        f"{m['rows_read']:,} rows read = {m['kept']:,} kept + {m['merged']:,} merged into equal "
        f"molecules + {m['rejected']:,} rejected"
    ]
    lines += [f"  {count:,} × {reason}" for reason, count in m["reasons"].items()]
    for name, p in m["properties"].items():
        lines += [f"  column {name}: {p[key]:,} {text}" for key, text in _NOTES if p.get(key)]
    if m.get("split_conflicts"):
        lines.append(
            f"  {m['split_conflicts']:,} molecules stand on two sides of the split column and "
            "are held out"
        )
    split = ", ".join(f"{count:,} {name}" for name, count in m["split"].items())
    lines.append(f"{split}; {len(dataset.vocabulary)} tokens, longest molecule {m['longest']}")
    return lines


_NOTES = (
    ("censored", "censored values (<, >)"),
    ("bad", "cells are neither number nor yes/no and count as missing"),
    ("combined", "molecules have several values, which were averaged"),
    ("conflicts", "molecules have both yes and no, and count as missing"),
)
