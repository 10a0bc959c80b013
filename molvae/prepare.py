"""Raw molecule files → cleaned molecules → a dataset folder, every row accounted for."""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import math
import os
import shutil
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import platformdirs
from filelock import FileLock
from numpy.typing import NDArray

from molvae import chem, tokens
from molvae.conditions import YES_NO
from molvae.config import DataConfig
from molvae.dataset import SCHEMA, Dataset
from molvae.errors import FileError, PropertyError
from molvae.files import Row, atomic_text, fingerprint, read_rows, require_absent, scratch_folder
from molvae.parallel import map_ordered, worker_count
from molvae.progress import Progress, say
from molvae.properties import PROPERTIES, compute, get_property
from molvae.runtime import versions

__all__ = ["cache_folder", "cached_dataset", "condition_names", "prepare", "summary_lines"]

CHUNK = 500
MISSING = frozenset({"", "na", "n/a", "nan", "none", "null", "-", "?"})


@dataclass(frozen=True)
class _Outcome:
    """What became of one row in a worker: a molecule, or the reason of its refusal."""

    smiles: str = ""
    selfies: str = ""
    values: tuple[float, ...] = ()
    reason: str = ""


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


def prepare(
    inputs: Sequence[str | Path],
    output: str | Path,
    config: DataConfig,
    *,
    workers: int | None = None,
    force: bool = False,
) -> Dataset:
    """Clean molecule files into a dataset folder, in worker processes.

    The folder appears under its name only when it is complete. Every input row is kept, merged
    into an equal molecule, or written to ``rejects.csv`` with a reason.
    """
    output = Path(output)
    require_absent(output, force=force)
    if output.exists() and not (output / "manifest.json").is_file():
        raise FileError(f"'{output}': exists and is not a dataset folder; not overwriting it")
    builtin, _ = condition_names(config)
    sources = [_source(Path(path)) for path in inputs]
    scratch = scratch_folder(output)
    try:
        with open(scratch / "rejects.csv", "w", encoding="utf-8", newline="") as rejects:
            builder = _Builder(scratch, builtin, config.properties, rejects)
            _fill(builder, inputs, config, worker_count(workers))
        builder.finish(config, sources)
        if output.exists():
            shutil.rmtree(output)
        os.replace(scratch, output)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return Dataset(output)


def _fill(
    builder: _Builder, inputs: Sequence[str | Path], config: DataConfig, workers: int
) -> None:
    rows = _all_rows(inputs, config)
    chunks = list(islice(_chunks(rows), 2))
    if len(chunks) < 2:
        workers = 1  # starting processes costs more than the work
    remembered: list[list[Row]] = []

    def texts() -> Iterator[list[str | None]]:
        for chunk in (*chunks, *_chunks(rows)):
            remembered.append(chunk)
            yield [row.smiles for row in chunk]

    work = functools.partial(_process, config=config)
    with Progress("prepare", unit="rows") as progress:
        for outcomes in map_ordered(work, texts(), workers=workers):
            for row, outcome in zip(remembered.pop(0), outcomes, strict=True):
                builder.add(row, outcome)
            progress.advance(len(outcomes), note=f"{builder.kept:,} kept")


def _all_rows(inputs: Iterable[str | Path], config: DataConfig) -> Iterator[Row]:
    columns = list(config.properties.values())
    for path in inputs:
        yield from read_rows(path, smiles_column=config.smiles_column, columns=columns)


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


def _process(texts: list[str | None], config: DataConfig) -> list[_Outcome]:
    """Clean a chunk of SMILES and compute its properties; runs in a worker process."""
    builtin, _ = condition_names(config)
    return [_process_one(text, config, builtin) for text in texts]


def _process_one(text: str | None, config: DataConfig, builtin: list[str]) -> _Outcome:
    if text is None:
        return _Outcome(reason="broken record")
    cleaned = chem.clean(text, config.cleaning)
    if isinstance(cleaned, chem.Rejected):
        return _Outcome(reason=cleaned.reason)
    encoded = tokens.to_selfies(cleaned.smiles)
    if encoded is None:
        return _Outcome(reason="not expressible as SELFIES")
    if len(tokens.split_selfies(encoded)) > config.max_tokens:
        return _Outcome(reason="too many tokens")
    values = compute(cleaned.mol, builtin)
    return _Outcome(cleaned.smiles, encoded, tuple(values.tolist()))


@dataclass
class _Labels:
    """Measured values of one user column: running sums, so that duplicates can be averaged."""

    sums: array[float] = field(default_factory=lambda: array("d"))
    counts: array[int] = field(default_factory=lambda: array("i"))
    censored: int = 0
    binary: bool = True

    def add(self, index: int, text: str, row: Row, column: str) -> None:
        if index == len(self.sums):
            self.sums.append(0.0)
            self.counts.append(0)
        text = text.strip()
        if text.lower() in MISSING:
            return
        if text[0] in "<>≤≥~":
            self.censored += 1
            return
        value = YES_NO.get(text.lower())
        if value is None:
            try:
                value = float(text)
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise FileError(
                    f"'{row.file}' row {row.number}: column '{column}' holds '{text}', expected a "
                    "number, yes/no, or nothing; mend the file or leave the column out"
                )
        self.binary = self.binary and value in (0.0, 1.0)
        self.sums[index] += value
        self.counts[index] += 1

    def values(self) -> NDArray[np.float32]:
        counts = np.asarray(self.counts)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.asarray(self.sums) / counts
        if self.binary:  # duplicates that disagree say nothing
            means = np.where((means == 0) | (means == 1), means, np.nan)
        return np.where(counts > 0, means, np.nan).astype(np.float32)


class _Builder:
    """Collects molecules into the arrays of a dataset folder, row by row, in input order."""

    def __init__(
        self, folder: Path, builtin: list[str], columns: Mapping[str, str], rejects: IO[str]
    ) -> None:
        """``columns``: user condition name -> column of the files."""
        self.folder, self.builtin, self.columns = folder, builtin, columns
        self.labels = {name: _Labels() for name in columns}
        self.rows_read = self.kept = self.merged = 0
        self.reasons: Counter[str] = Counter()
        self._seen: dict[bytes, int] = {}
        self._symbols: dict[str, int] = {}
        self._ids = array("H")
        self._offsets = array("q", [0])
        self._values = array("f")
        self._molecules: list[tuple[str, str]] = []
        self._rejects = csv.writer(rejects, lineterminator="\n")
        self._rejects.writerow(["file", "row", "text", "reason"])

    def add(self, row: Row, outcome: _Outcome) -> None:
        self.rows_read += 1
        if outcome.reason:
            self.reasons[outcome.reason] += 1
            text = (row.smiles if row.smiles is not None else row.text)[:500]
            self._rejects.writerow([row.file, row.number, text, outcome.reason])
            return
        key = _digest(outcome.smiles)
        index = self._seen.setdefault(key, self.kept)
        if index < self.kept:
            self.merged += 1
        else:
            self.kept += 1
            for symbol in tokens.split_selfies(outcome.selfies):
                self._ids.append(self._symbols.setdefault(symbol, len(self._symbols)))
            self._offsets.append(len(self._ids))
            self._values.extend(outcome.values)
            self._molecules.append((outcome.smiles, row.name))
        for name, column in self.columns.items():  # two names may share a column
            self.labels[name].add(index, row.labels[column], row, column)

    def finish(self, config: DataConfig, sources: list[dict[str, Any]]) -> None:
        if self.kept < 2:
            raise FileError(
                f"{self.rows_read} rows gave {self.kept} usable molecules, expected at least 2"
                + "".join(f"; {count} × {reason}" for reason, count in self.reasons.most_common(5))
            )
        known = np.asarray(self._values, dtype=np.float32)
        columns = [known.reshape(self.kept, len(self.builtin))]
        columns += [label.values()[:, None] for label in self.labels.values()]
        values = np.concatenate(columns, axis=1)
        names = [*self.builtin, *self.labels]
        vocabulary = tokens.Vocabulary.of_symbols(self._symbols)
        order = vocabulary.encode_symbols(list(self._symbols)).astype(vocabulary.dtype)
        ids = order[np.frombuffer(self._ids, dtype=np.uint16)]
        split = _split([s for s, _ in self._molecules], config)
        ids.tofile(self.folder / "tokens.bin")
        np.save(self.folder / "offsets.npy", np.frombuffer(self._offsets, dtype=np.int64))
        np.save(self.folder / "properties.npy", values)
        np.save(self.folder / "split.npy", split)
        with atomic_text(self.folder / "molecules.csv.gz") as text:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(["smiles", "id"])
            writer.writerows(self._molecules)
        vocab = {"schema": SCHEMA, "tokens": vocabulary.tokens, "constraints": tokens.constraints()}
        _write_json(self.folder / "vocab.json", vocab)
        content = hashlib.sha256()
        for part in (ids, np.frombuffer(self._offsets, dtype=np.int64), values, split):
            content.update(np.ascontiguousarray(part).tobytes())
        _write_json(
            self.folder / "manifest.json",
            {
                "schema": SCHEMA,
                "rows_read": self.rows_read,
                "kept": self.kept,
                "merged": self.merged,
                "rejected": sum(self.reasons.values()),
                "reasons": dict(self.reasons.most_common()),
                "split": {
                    n: int((split == i).sum()) for i, n in enumerate(("train", "valid", "test"))
                },
                "longest": int(np.diff(np.frombuffer(self._offsets, dtype=np.int64)).max()),
                "properties": self._statistics(names, values),
                "content_sha256": content.hexdigest(),
                "options": config.model_dump(mode="json"),
                "sources": sources,
                "versions": versions(),
            },
        )

    def _statistics(self, names: list[str], values: NDArray[np.float32]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for i, name in enumerate(names):
            known = values[:, i][~np.isnan(values[:, i])].astype(np.float64)
            label = self.labels.get(name)
            if not len(known):
                raise PropertyError(f"column '{name}': no molecule has a value")
            result[name] = {
                "kind": "yesno" if label is not None and label.binary else "number",
                "known": len(known),
                "censored": label.censored if label is not None else 0,
                "mean": float(known.mean()),
                "std": float(known.std()),
                "min": float(known.min()),
                "max": float(known.max()),
            }
        return result


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _split(smiles: list[str], config: DataConfig) -> NDArray[np.uint8]:
    """0 train, 1 valid, 2 test by a hash of each molecule, so that re-ordering changes nothing."""
    keys = np.asarray([int.from_bytes(_digest("split:" + s)[:8], "little") for s in smiles])
    share = keys.astype(np.float64) / 2.0**64
    split = np.zeros(len(smiles), dtype=np.uint8)
    split[share < config.test_fraction + config.valid_fraction] = 1
    split[share < config.test_fraction] = 2
    if not (split == 0).any() or not (split == 1).any():
        # A handful of molecules: hold one out and train on one all the same.
        split[int(np.argmin(share))] = 1
        split[int(np.argmax(share))] = 0
    return split


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _source(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileError(f"'{path}': no such file")
    return {"file": path.name, **fingerprint(path)}


def summary_lines(dataset: Dataset) -> list[str]:
    """What became of the rows, as a person reads it."""
    m = dataset.manifest
    lines = [
        f"{m['rows_read']:,} rows read = {m['kept']:,} kept + {m['merged']:,} merged into equal "
        f"molecules + {m['rejected']:,} rejected"
    ]
    lines += [f"  {count:,} × {reason}" for reason, count in m["reasons"].items()]
    lines += [
        f"  column {name}: {p['censored']:,} censored values (<, >) count as missing"
        for name, p in m["properties"].items()
        if p["censored"]
    ]
    split = ", ".join(f"{count:,} {name}" for name, count in m["split"].items())
    lines.append(f"{split}; {len(dataset.vocabulary)} tokens, longest molecule {m['longest']}")
    return lines


def cache_folder() -> Path:
    """Where prepared datasets are kept: ``$MOLVAE_CACHE`` or the user's cache folder."""
    chosen = os.environ.get("MOLVAE_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("molvae"))


def cached_dataset(
    inputs: Sequence[str | Path], config: DataConfig, *, workers: int | None = None
) -> Dataset:
    """The dataset of these files and options, prepared once and kept by content."""
    known = versions()
    key = hashlib.sha256(
        json.dumps(
            {
                "sources": [_source(Path(path))["sha256"] for path in inputs],
                "names": [Path(path).name for path in inputs],
                "options": config.model_dump(mode="json"),
                "versions": {name: known[name] for name in ("molvae", "rdkit", "selfies")},
                "schema": SCHEMA,
            },
            sort_keys=True,
        ).encode()
    ).hexdigest()[:16]
    folder = cache_folder() / "datasets" / key
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if (folder / "manifest.json").is_file():
            say(f"using the prepared dataset {folder}")
            return Dataset(folder)
        shutil.rmtree(folder, ignore_errors=True)  # without a manifest it is damaged
        return prepare(inputs, folder, config, workers=workers)
