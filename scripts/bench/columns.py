"""Predictors of measured columns on public assay sets, next to a forest and the mean.

    python scripts/bench/columns.py FOLDER [--sets seh_chembl bace lipophilicity] [--seeds 1]

Every set is cleaned as ``molvae`` cleans; repeats of a molecule count by their median. Splits:
``random`` (a fifth of the molecules by a hash), ``scaffold`` (whole Bemis-Murcko scaffolds), and
``time`` (the latest fifth, where there is a year). The forest is scikit-learn's with its default
settings on 2,048 Morgan bits. ``--head MODEL`` also trains the property head: ``molvae train
--from MODEL`` on the training part, for ``--head-time``. Prints a markdown table.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import math
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.config import CleaningConfig
from molvae.latent.encode import encode
from molvae.model.checkpoint import load_model
from molvae.predict.assess import Assessment, Scores, assess
from molvae.predict.predictor import ColumnPredictor, Kind, Predictions

HELD_OUT = 0.2
MISSING = ("", "None", "nan")


@dataclass(frozen=True)
class Source:
    """A file of the folder and what its columns mean."""

    title: str
    file: str
    smiles: str
    column: str
    kind: Kind
    year: str = ""


SETS = {
    "seh_chembl": Source(
        "soluble epoxide hydrolase, pChEMBL", "seh_chembl.csv.gz", "Smiles", "pChEMBL Value",
        "number", "Document Year",
    ),
    "bace": Source("BACE", "bace.csv", "smiles", "Class", "yesno"),
    "lipophilicity": Source(
        "lipophilicity, logD", "lipophilicity.csv", "smiles", "exp", "number"
    ),
}  # fmt: skip
ByMethod = dict[tuple[str, str], dict[str, list[Scores]]]  # (set, split) → method → seeds
SPLITS = {"random": "at random", "scaffold": "whole scaffolds", "time": "the latest years"}


@dataclass(frozen=True)
class Table:
    """Cleaned molecules, one row each."""

    smiles: list[str]
    values: NDArray[np.float64]
    years: NDArray[np.float64]  # of the first report; NaN if not known


def read(folder: Path, source: Source) -> Table:
    """A set; molecules that cannot be read or have no value are left out."""
    path, cleaning = folder / source.file, CleaningConfig()
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as file:
        delimiter = ";" if ";" in file.readline() else ","
        file.seek(0)
        rows = list(csv.DictReader(file, delimiter=delimiter))
    measurements: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        value = row[source.column]
        cleaned = chem.clean(row[source.smiles], cleaning)
        if value in MISSING or isinstance(cleaned, chem.Rejected):
            continue
        year = row[source.year] if source.year else ""
        when = math.nan if year in MISSING else float(year)
        measurements.setdefault(cleaned.smiles, []).append((float(value), when))
    values = [float(np.median([value for value, _ in pairs])) for pairs in measurements.values()]
    years = [min(when for _, when in pairs) for pairs in measurements.values()]
    if source.kind == "yesno":
        keep = [value in (0.0, 1.0) for value in values]
    else:
        keep = [True] * len(values)
    return Table(
        [text for text, ok in zip(measurements, keep, strict=True) if ok],
        np.asarray(values)[keep], np.asarray(years)[keep],
    )  # fmt: skip


def share(text: str, seed: int) -> float:
    """A number from 0 to 1 that belongs to a text."""
    return int.from_bytes(hashlib.sha256(f"{seed}|{text}".encode()).digest()[:6]) / 2**48


def splits(table: Table, seed: int) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """(name, which molecules are held out)."""
    drawn = np.asarray([share(text, seed) for text in table.smiles])
    yield "random", drawn < HELD_OUT
    mols = [chem.parse(text) for text in table.smiles]
    scaffolds = [chem.scaffold(mol) if mol is not None else "" for mol in mols]
    yield "scaffold", np.asarray([share(text, seed) for text in scaffolds]) < HELD_OUT
    if seed == 0 and np.isfinite(table.years).all():
        last = float(np.quantile(table.years, 1 - HELD_OUT))
        yield "time", table.years > last


def forest(table: Table, held: NDArray[np.bool_], kind: Kind, trees: int) -> NDArray[np.float64]:
    """The forest's predictions of the held-out molecules."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    mols = [mol for mol in map(chem.parse, table.smiles) if mol is not None]
    bits = np.unpackbits(chem.fingerprints(mols, size=2048), axis=1)
    model = RandomForestClassifier if kind == "yesno" else RandomForestRegressor
    fitted = model(trees, random_state=0).fit(bits[~held], table.values[~held])
    if kind == "yesno":
        return np.asarray(fitted.predict_proba(bits[held])[:, 1], dtype=np.float64)
    return np.asarray(fitted.predict(bits[held]), dtype=np.float64)


def property_head(
    table: Table, held: NDArray[np.bool_], kind: Kind, model: str, limit: str
) -> NDArray[np.float64]:
    """What the property head of a model tuned on the training part predicts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with open(folder / "train.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["smiles", "value"])
            for i in np.flatnonzero(~held):
                value = float(table.values[i])
                answer = "yes" if value else "no"
                writer.writerow([table.smiles[i], answer if kind == "yesno" else value])
        command = [sys.executable, "-m", "molvae"]
        train = [str(folder / "train.csv"), "-p", "value", "--from", model,
                 "-o", str(folder / "run"), "--max-time", limit]  # fmt: skip
        subprocess.run([*command, "train", *train], check=True, capture_output=True)
        # Without its predictors the model answers by the head.
        tuned = replace(load_model(folder / "run"), predictors=None)
        asked = [text for text, out in zip(table.smiles, held, strict=True) if out]
        return np.asarray([m.prediction[0] for m in encode(asked, tuned, predict=True)])


def _bare(mean: NDArray[np.float64]) -> Predictions:
    nothing = np.full(len(mean), np.nan)
    return Predictions(
        mean, nothing, nothing, nothing, nothing, ("",) * len(mean), nothing, nothing,
        np.zeros(len(mean), dtype=np.bool_),
    )  # fmt: skip


def _cells(scores: Scores) -> list[str]:
    numbers = (scores.r2, scores.spearman, scores.mae, scores.auc, scores.accuracy, scores.brier,
               scores.coverage, scores.error_width)  # fmt: skip
    return ["" if number is None else f"{number:.3f}" for number in numbers]


def report(name: str, split: str, method: str, scores: Scores, assessment: Assessment) -> None:
    """One row of the table."""
    counts = [f"{assessment.trained:,}", f"{assessment.molecules:,}"]
    print("| " + " | ".join([name, split, *counts, method, *_cells(scores)]) + " |", flush=True)


def summary(kind: Kind, scores: ByMethod) -> Iterator[str]:
    """Markdown: predictor and forest, means over the seeds, a row per set and split."""
    names = ("auc", "brier") if kind == "yesno" else ("r2", "spearman")
    shown = " | ".join({"r2": "R²", "spearman": "Spearman", "auc": "AUC"}.get(n, n) for n in names)
    intervals = " | 90 % intervals hold for" if kind == "number" else ""
    yield f"| set | held out | predictor: {shown}{intervals} | forest: {shown} |"
    yield "|---" * (2 + 2 * len(names) + bool(intervals)) + "|"
    for (title, split), by_method in scores.items():
        cells = [_means(by_method.get("predictor", []), name) for name in names]
        if intervals:
            cells.append(_means(by_method.get("predictor", []), "coverage"))
        cells += [_means(by_method.get("forest", []), name) for name in names]
        yield f"| {title} | {SPLITS[split]} | {' | '.join(cells)} |"


def _means(scores: Sequence[Scores], name: str) -> str:
    values = [getattr(score, name) for score in scores]
    return f"{np.mean(values):.3f}" if values else ""


def compared(
    name: str, text: str, table: Table, held: NDArray[np.bool_], options: argparse.Namespace
) -> dict[str, Scores]:
    """Method → scores of one split, each printed as a row."""
    kind, train = SETS[name].kind, table.values[~held]
    kept = [s for s, out in zip(table.smiles, held, strict=True) if not out]
    asked = [s for s, out in zip(table.smiles, held, strict=True) if out]
    started = time.process_time()
    predictions = ColumnPredictor.fit(kept, train, kind, name=name).predict(asked)
    seconds = time.process_time() - started
    assessment = assess(predictions, table.values[held], train, kind)
    report(name, text, f"predictor ({seconds:.0f} s)", assessment.predictor, assessment)
    rivals = {}
    if options.trees:
        rivals["forest"] = forest(table, held, kind, options.trees)
    if options.head:
        rivals["head"] = property_head(table, held, kind, options.head, options.head_time)
    scores = {"predictor": assessment.predictor}
    for method, mean in rivals.items():
        scores[method] = assess(_bare(mean), table.values[held], train, kind).predictor
        report(name, text, method, scores[method], assessment)
    report(name, text, "mean", assessment.baseline, assessment)
    return scores


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the sets are")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS))
    parser.add_argument("--seeds", type=int, default=1, help="of the random and scaffold splits")
    parser.add_argument("--trees", type=int, default=100, help="of the forest; 0 leaves it out")
    parser.add_argument("--head", metavar="MODEL", help="also tune this model's property head")
    parser.add_argument("--head-time", default="10m", help="for tuning it")
    options = parser.parse_args()
    columns = ["set", "split", "train", "held out", "method", "R²", "Spearman", "MAE", "AUC",
               "accuracy", "Brier", "90 % holds", "error, width"]  # fmt: skip
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    results: dict[Kind, ByMethod] = defaultdict(dict)
    for name in options.sets:
        source = SETS[name]
        table = read(options.folder, source)
        title = f"{source.title}, {len(table.smiles):,}"
        for seed in range(options.seeds):
            for split, held in splits(table, seed):
                if split not in options.splits:
                    continue
                by_method = results[source.kind].setdefault((title, split), defaultdict(list))
                scores = compared(name, f"{split} {seed}", table, held, options)
                for method, score in scores.items():
                    by_method[method].append(score)
    for kind, scores_of_kind in results.items():
        print("\n" + "\n".join(summary(kind, scores_of_kind)))


if __name__ == "__main__":
    main()
