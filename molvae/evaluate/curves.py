"""Metrics as a function of the number of molecules, in the random order of the sample."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from molvae.chem.hashing import keys_of
from molvae.evaluate import metrics
from molvae.evaluate.metrics import Metric, Occurrences, frechet
from molvae.evaluate.metrics.frechet import Moments
from molvae.evaluate.references import Reference
from molvae.evaluate.results import Curves
from molvae.evaluate.sample import Sample

__all__ = ["curves"]

SIZES = (100, 300, 1_000, 3_000, 10_000)

_Terms = Mapping[str, NDArray[np.floating] | NDArray[np.bool_]]


def curves(
    sample: Sample,
    terms: _Terms,
    activations: NDArray[np.float32] | None,
    tests: Mapping[str, Reference | None],
    overall: Mapping[str, Metric],
) -> Curves:
    """Metrics of increasing numbers of the n described molecules.

    ``terms`` are the values, (n,), whose mean is a metric; ``activations`` (n, 512) are those of
    ChemNet; ``tests`` the references by the suffix of their metrics; ``overall`` the metrics of
    all molecules.
    """
    described, n = sample.described, len(sample.described)
    keys = keys_of(described.smiles)
    references = {suffix: test for suffix, test in tests.items() if test is not None}
    sizes = [*(size for size in SIZES if size < n), *([n] if n else [])]
    rows: dict[str, list[float | None]] = {}

    def enter(name: str, value: float | None) -> None:
        rows.setdefault(name, []).append(value)

    for size in sizes:
        first = sample.order[:size]
        distinct, places = np.unique(keys[first], return_index=True)
        enter("unique", len(distinct) / size)
        if "novelty" in terms:
            enter("novelty", float(terms["novelty"][first[places]].mean()))
        if size == n:
            break
        for name in [name for name in terms if name != "novelty"]:
            enter(name, float(terms[name][first].mean(dtype=np.float64)))
        for suffix, reference in references.items():
            fragments = _counts(described.fragments, first, n)
            enter(f"Frag/{suffix}", metrics.cosine(fragments, reference.fragments))
            scaffolds = _counts(described.scaffolds, first, n)
            enter(f"Scaf/{suffix}", metrics.cosine(scaffolds, reference.scaffolds))
            if activations is not None and overall[f"FCD/{suffix}"].value is not None:
                moments = Moments.of(activations[first])
                enter(f"FCD/{suffix}", frechet.frechet_distance(moments, reference.moments))
        prints = described.fingerprints[first]
        enter("IntDiv", metrics.internal_diversity(prints, (1,))[0].value)
    for name, values in rows.items():  # the last size has all molecules, whose metrics are known
        if len(values) < len(sizes):
            values.append(overall[name].value)
    return Curves(sizes, rows)


def _counts(occurrences: Occurrences, molecules: NDArray[np.int64], n: int) -> dict[str, int]:
    chosen = np.zeros(n, dtype=bool)
    chosen[molecules] = True
    totals = np.bincount(
        occurrences.ids[chosen[occurrences.molecules]], minlength=len(occurrences.names)
    )
    return {
        name: int(count) for name, count in zip(occurrences.names, totals, strict=True) if count
    }
