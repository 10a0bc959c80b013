"""Generated molecules, with or without training and test sets → a report.

It sees lists of SMILES only, never a model. Every molecule is handled by RDKit once, in worker
processes when there are many. On platforms that start processes afresh (all of ours), a script
calling :func:`evaluate` on more than a few thousand molecules needs the usual
``if __name__ == "__main__":`` or ``workers=1``.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae import metrics, report
from molvae.conditions import Target, parse_target, parse_targets
from molvae.files import atomic_text
from molvae.metrics import Control, Metric, MoleculeSet, Wanted
from molvae.parallel import map_ordered, worker_count, worker_pool
from molvae.progress import Progress
from molvae.properties import PROPERTIES
from molvae.runtime import Draws, versions
from molvae.samples import Inputs, Paths, read_inputs

__all__ = [
    "PropertySummary",
    "Report",
    "evaluate",
    "evaluate_smiles",
    "table_rows",
    "write_html",
    "write_json",
]

SCHEMA = 1
CHUNK = 500  # molecules per task of a worker process
INLINE = 2_000  # below this the start of processes costs more than it saves
REFERENCE_SAMPLE = 10_000  # reference molecules whose properties are computed
PAIRWISE_SAMPLE = 30_000  # MOSES' own sample size; pairs grow with its square
CARD_VALUES = ("mw", "logp", "qed", "sas")


@dataclass(frozen=True)
class PropertySummary:
    """One property of the valid generated molecules; ``w1`` against the reference sample."""

    generated: NDArray[np.float64]
    reference: NDArray[np.float64] | None
    w1: Metric

    def to_json(self) -> dict[str, Any]:
        """Plain data: figures of the generated values, and of the reference where there is one."""
        data = {**_figures(self.generated), "W1": self.w1.to_json()}
        if self.reference is not None:
            data["reference"] = _figures(self.reference)
        return data


@dataclass(frozen=True)
class Report:
    """Everything :func:`evaluate` found; ``to_json`` is the form that stays stable."""

    n: int  # generated rows, valid or not
    metrics: dict[str, Metric]
    properties: dict[str, PropertySummary]
    targets: dict[str, Control]
    reference: str | None  # "test", "train" or None: what properties are compared with
    versions: dict[str, str]
    seed: int
    inputs: dict[str, Any]
    notes: list[str]
    cards: list[report.Card] = field(default_factory=list)  # only where drawings were asked for

    def to_json(self) -> dict[str, Any]:
        """Plain data with a schema number."""
        return {
            "schema": SCHEMA,
            "n": self.n,
            "metrics": {name: metric.to_json() for name, metric in self.metrics.items()},
            "properties": {name: p.to_json() for name, p in self.properties.items()},
            "targets": {name: target.to_json() for name, target in self.targets.items()},
            "reference": self.reference,
            "notes": self.notes,
            "inputs": self.inputs,
            "seed": self.seed,
            "versions": self.versions,
        }


def _figures(values: NDArray[np.float64]) -> dict[str, float | int | None]:
    if not len(values):
        return {"n": 0, "mean": None, "sd": None, "min": None, "max": None}
    return {
        "n": len(values),
        "mean": float(values.mean()),
        "sd": float(values.std()),
        "min": float(values.min()),
        "max": float(values.max()),
    }


def evaluate(
    paths: Paths,
    *,
    train: Paths | None = None,
    test: Paths | None = None,
    test_scaffolds: Paths | None = None,
    targets: Sequence[str] = (),
    smiles_column: str | None = None,
    seed: int = 0,
    workers: int | None = None,
    draw: int = 0,
) -> Report:
    """Evaluate the molecules of some files.

    ``targets`` are texts such as ``logp=2:3``; one that names a column of the generated files which
    is not a built-in property is checked on that column. ``smiles_column`` is that of the generated
    files. ``draw`` molecules are prepared for the drawings of :func:`write_html`.
    """
    names = [parse_target(text).name for text in targets]
    inputs = read_inputs(
        paths,
        train=train,
        test=test,
        test_scaffolds=test_scaffolds,
        columns=[name for name in dict.fromkeys(names) if name not in PROPERTIES],
        smiles_column=smiles_column,
    )
    return evaluate_smiles(inputs, targets=targets, seed=seed, workers=workers, draw=draw)


def evaluate_smiles(
    inputs: Inputs,
    *,
    targets: Sequence[str] = (),
    seed: int = 0,
    workers: int | None = None,
    draw: int = 0,
) -> Report:
    """Evaluate lists of SMILES; as :func:`evaluate`, without files."""
    known = [*PROPERTIES, *(name for name in inputs.columns if name not in PROPERTIES)]
    wishes = parse_targets(targets, known)
    inputs.check()
    sets = (inputs.generated, inputs.train, inputs.test, inputs.test_scaffolds)
    count = worker_count(workers) if sum(len(s or ()) for s in sets) >= INLINE else 1
    pool: AbstractContextManager[Executor | None]
    pool = worker_pool(count) if count > 1 else nullcontext()
    with pool as executor:
        return _Evaluation(inputs, wishes, Draws(seed), count, executor).run(draw)


class _Evaluation:
    """One evaluation under way: its inputs, its randomness and its worker processes."""

    def __init__(
        self,
        inputs: Inputs,
        targets: Sequence[Target],
        draws: Draws,
        workers: int,
        executor: Executor | None,
    ) -> None:
        self.inputs, self.targets, self.draws = inputs, targets, draws
        self.workers, self.executor = workers, executor
        self.counts: dict[str, dict[str, int]] = {}
        self.notes: list[str] = []

    def run(self, draw: int) -> Report:
        inputs = self.inputs
        generated = self._describe(
            "generated", inputs.generated, Wanted(properties=tuple(PROPERTIES))
        )
        chosen = self._sample_unique(generated, draw)
        found = {"valid": metrics.valid(generated)}
        for k in (1_000, 10_000, None):
            name = "unique" if k is None else f"unique@{k}"
            found[name] = metrics.unique(generated, k)
        found["novelty"], neighbours = self._novelty(generated, chosen)
        prints = self._pairwise(generated.fingerprints)
        found["IntDiv"], found["IntDiv2"] = metrics.internal_diversity(prints)
        for suffix, texts in (("Test", inputs.test), ("TestSF", inputs.test_scaffolds)):
            found |= self._against(suffix, texts, generated, prints)
        reference, summaries = self._properties(generated)
        return Report(
            n=generated.total,
            metrics=found,
            properties=summaries,
            targets={target.name: self._control(target, generated) for target in self.targets},
            reference=reference,
            versions=versions(),
            seed=self.draws.seed,
            inputs=self._record(),
            notes=self.notes,
            cards=self._cards(generated, chosen, neighbours),
        )

    # RDKit, once per molecule

    def _chunks(self, role: str, texts: Sequence[str], wanted: Wanted) -> Iterator[MoleculeSet]:
        starts = range(0, len(texts), CHUNK)
        task = functools.partial(metrics.describe, wanted=wanted)
        chunks = (texts[start : start + CHUNK] for start in starts)
        parts = map_ordered(task, chunks, workers=self.workers, executor=self.executor)
        with Progress(role, total=len(texts)) as progress:
            for part in parts:
                progress.advance(part.total)
                yield part

    def _describe(self, role: str, texts: Sequence[str], wanted: Wanted) -> MoleculeSet:
        result = metrics.merge(self._chunks(role, texts, wanted))
        self.counts[role] = {"rows": result.total, "valid": len(result)}
        return result

    def _sample(self, purpose: str, n: int, size: int) -> NDArray[np.int64]:
        """Up to ``size`` of the numbers 0 … n-1, drawn by the seed, in ascending order."""
        if n <= size:
            return np.arange(n, dtype=np.int64)
        return np.sort(self.draws.permutation(purpose, n)[:size])

    def _sample_unique(self, generated: MoleculeSet, size: int) -> NDArray[np.int64]:
        first = dict.fromkeys(generated.smiles)
        places = {text: i for i, text in reversed(list(enumerate(generated.smiles)))}
        unique = np.asarray([places[text] for text in first], dtype=np.int64)
        return unique[self._sample("cards", len(unique), size)]

    # Comparisons

    def _pairwise(self, fingerprints: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if len(fingerprints) > PAIRWISE_SAMPLE:
            self.notes.append(
                f"IntDiv and SNN: computed on a seeded sample of {PAIRWISE_SAMPLE:,} "
                f"of {len(fingerprints):,} valid molecules"
            )
        return fingerprints[self._sample("pairs", len(fingerprints), PAIRWISE_SAMPLE)]

    def _novelty(
        self, generated: MoleculeSet, chosen: NDArray[np.int64]
    ) -> tuple[Metric, list[tuple[float, str]]]:
        """Novelty, and the nearest training molecule of each chosen one, in one pass over train."""
        texts = self.inputs.train
        if texts is None:
            return Metric(None, len(generated), note="needs a training set (--train)"), []
        best = [(-1.0, "")] * len(chosen)
        queries = generated.fingerprints[chosen]
        rows = valid = 0

        def batches() -> Iterator[list[str]]:
            nonlocal rows, valid
            wanted = Wanted(len(chosen) > 0, scaffolds=False, fragments=False)
            for part in self._chunks("train", texts, wanted):
                rows, valid = rows + part.total, valid + len(part)
                _improve(best, queries, part)
                yield part.smiles

        result = metrics.novelty(generated, batches())
        self.counts["train"] = {"rows": rows, "valid": valid}
        return result, best if valid else []

    def _against(
        self,
        suffix: str,
        texts: Sequence[str] | None,
        generated: MoleculeSet,
        prints: NDArray[np.uint8],
    ) -> dict[str, Metric]:
        names = [f"{kind}/{suffix}" for kind in ("SNN", "Frag", "Scaf")]
        if texts is None:
            nothing = Metric(None, len(generated), note="needs a test set (--test)")
            # MOSES, too, reports the scaffold split only to those who have one.
            return dict.fromkeys(names, nothing) if suffix == "Test" else {}
        role = "test" if suffix == "Test" else "test_scaffolds"
        reference = self._describe(role, texts, Wanted())
        values = (
            metrics.nearest_similarity(prints, reference.fingerprints),
            metrics.fragment_similarity(generated, reference),
            metrics.scaffold_similarity(generated, reference),
        )
        return dict(zip(names, values, strict=True))

    def _properties(self, generated: MoleculeSet) -> tuple[str | None, dict[str, PropertySummary]]:
        role, texts = "test", self.inputs.test
        if texts is None:
            role, texts = "train", self.inputs.train
        reference = None
        if texts is not None:
            at = self._sample("reference", len(texts), REFERENCE_SAMPLE)
            wanted = Wanted(False, False, False, properties=tuple(PROPERTIES))
            sample = [texts[i] for i in at]
            reference = metrics.merge(self._chunks(f"{role} properties", sample, wanted))
            if len(sample) < len(texts):
                self.notes.append(
                    f"property distributions: compared with a seeded sample of {len(sample):,} "
                    f"of {len(texts):,} {role} rows"
                )
        summaries = {}
        for name in PROPERTIES:
            theirs = None if reference is None else reference.column(name)
            summaries[name] = _summary(generated.column(name), theirs)
        return None if texts is None else role, summaries

    def _control(self, target: Target, generated: MoleculeSet) -> Control:
        if target.name in PROPERTIES:
            at = generated.properties.index(target.name)
            return metrics.control(target, generated.values[:, at])
        values = self.inputs.columns[target.name][generated.positions]
        source = f"column '{target.name}' of the file: a prediction of the model, not a measurement"
        return metrics.control(target, values, source=source)

    # The record

    def _record(self) -> dict[str, Any]:
        record: dict[str, Any] = {}
        for role, count in self.counts.items():
            files = self.inputs.sources.get(role)
            record[role] = {**count, **({"files": files} if files else {})}
        return record

    def _cards(
        self,
        generated: MoleculeSet,
        chosen: NDArray[np.int64],
        neighbours: Sequence[tuple[float, str]],
    ) -> list[report.Card]:
        asked = [target.name for target in self.targets]
        names = list(dict.fromkeys([*asked, *CARD_VALUES]))
        cards = []
        for number, i in enumerate(chosen):
            card = report.Card(
                generated.smiles[i], {name: self._value(generated, int(i), name) for name in names}
            )
            if neighbours:
                similarity, text = neighbours[number]
                card = replace(card, similarity=similarity, neighbour=text)
            cards.append(card)
        return cards

    def _value(self, generated: MoleculeSet, i: int, name: str) -> float:
        if name in PROPERTIES:
            return float(generated.values[i, generated.properties.index(name)])
        return float(self.inputs.columns[name][generated.positions[i]])


def _improve(best: list[tuple[float, str]], queries: NDArray[np.uint8], part: MoleculeSet) -> None:
    """Replace the neighbours to which ``part`` holds a nearer molecule."""
    if not len(queries) or not len(part):
        return
    similarity, where = metrics.nearest(queries, part.fingerprints)
    for i, (value, j) in enumerate(zip(similarity, where, strict=True)):
        if value > best[i][0]:
            best[i] = (float(value), part.smiles[j])


def _summary(
    generated: NDArray[np.float64], reference: NDArray[np.float64] | None
) -> PropertySummary:
    note = ""
    if reference is None:
        note = "needs a reference set (--test or --train)"
    elif not len(reference) or not len(generated):
        note = "no valid molecule on one side"
    value = None if note or reference is None else metrics.wasserstein(generated, reference)
    return PropertySummary(generated, reference, Metric(value, len(generated), note=note))


# Writing


def write_json(found: Report, path: str | Path) -> None:
    """Write the report as JSON, complete or not at all."""
    with atomic_text(path) as text:
        json.dump(found.to_json(), text, indent=2, allow_nan=False, ensure_ascii=False)
        text.write("\n")


def table_rows(found: Report) -> list[tuple[str, str, str]]:
    """(name, value, what explains it) per metric, target and property, for 80 columns."""
    return report.table_rows(found.to_json())


def write_html(found: Report, path: str | Path, *, title: str = "", command: str = "") -> None:
    """Write the report as one self-contained page; see ``draw`` of :func:`evaluate`."""
    histograms = [
        report.Histogram(
            name=name,
            description=PROPERTIES[name].description,
            unit=PROPERTIES[name].unit,
            generated=summary.generated,
            reference=summary.reference,
            integer=PROPERTIES[name].integer,
            note="" if summary.w1.value is None else f"W1 {summary.w1.value:.3g}",
        )
        for name, summary in found.properties.items()
        if len(summary.generated)
    ]
    page = report.evaluation_page(
        found.to_json(),
        title=title or "Evaluation of generated molecules",
        histograms=histograms,
        cards=found.cards,
        command=command,
    )
    report.write_html(path, page)
