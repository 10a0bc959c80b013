"""All metrics of one set of molecules and its reference sets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae import report
from molvae.chem.fingerprints import tanimoto
from molvae.chem.hashing import among, keys_of
from molvae.chem.properties import PROPERTIES
from molvae.evaluate import metrics, realism
from molvae.evaluate.bootstrap import Bootstrap, Replicates, with_interval
from molvae.evaluate.cards import cards
from molvae.evaluate.curves import curves
from molvae.evaluate.definitions import of_plugins
from molvae.evaluate.metrics import NO_VALID, Control, Metric, Wanted, frechet, guacamol
from molvae.evaluate.metrics.frechet import Moments
from molvae.evaluate.metrics.similarity import similarity_sums
from molvae.evaluate.options import ColumnTarget, Options
from molvae.evaluate.references import Reference
from molvae.evaluate.results import Curves, PropertySummary, Report
from molvae.evaluate.sample import Sample, read
from molvae.evaluate.sources import LONGEST, Source
from molvae.realism.inputs import FactTable
from molvae.runtime.device import versions
from molvae.runtime.pool import WorkerPool
from molvae.runtime.randomness import Draws
from molvae.targets import Target

__all__ = ["Judge"]

PARTNERS, BLOCK = 3_000, 512  # molecules from which the influence on IntDiv2 is estimated
CARD_VALUES = ("mw", "logp", "qed", "sas")
NO_FILTERS = "needs MOSES' pattern files (--filters-from)"


class Judge:
    """The evaluation of one set; ``references`` by role: train, test, test_scaffolds.

    ``number`` of the set in a comparison, so that each set has other random numbers.
    """

    def __init__(
        self,
        number: int,
        name: str,
        source: Source,
        references: dict[str, Reference],
        options: Options,
        workers: WorkerPool,
    ) -> None:
        self.name, self.source, self.references = name, source, references
        self.options, self.workers = options, workers
        self.draws = Draws(options.seed)
        self.notes: list[str] = []
        lost = workers.lost
        self.sample = self._read()
        if workers.lost > lost:
            self.notes.append(
                f"{workers.lost - lost:,} molecules that RDKit crashes or hangs on count as not "
                "valid"
            )
        self.n = len(self.sample.described)
        self.prints = self.sample.described.fingerprints
        self.bootstrap = Bootstrap(self.n, self.draws, f"bootstrap {number}", options.replicates)
        self.terms: dict[str, NDArray[Any]] = {}  # per molecule, for the curves
        self.activations: NDArray[np.float32] | None = None  # of ChemNet, with their moments
        self.moments: Moments | None = None

    def _read(self) -> Sample:
        columns = [*self.options.value_columns, *self.options.target_columns]
        sample = read(
            self.source,
            columns=list(dict.fromkeys(columns)),
            wanted=Wanted(properties=tuple(PROPERTIES), filters=self.options.filters),
            size=self.options.sample or None,
            draws=self.draws,
            workers=self.workers,
        )
        if sample.too_long:
            self.notes.append(
                f"{sample.too_long:,} texts of more than {LONGEST:,} characters were not "
                "parsed and count as not valid"
            )
        if not sample.is_whole:
            self.notes.append(
                f"all metrics except valid, unique and novelty: from a seeded sample of "
                f"{len(sample.described):,} of {sample.valid:,} valid molecules"
            )
        return sample

    def run(self) -> Report:
        """Compute everything, in the order of the report."""
        results = {"valid": self._valid()}
        for k in (1_000, 10_000, None):
            results["unique" if k is None else f"unique@{k}"] = self._unique(k)
        results["novelty"] = self._novelty()
        results |= self._fcd()
        results |= self._against("SNN") | self._against("Frag") | self._against("Scaf")
        results |= self._diversity()
        results["Filters"] = self._filters()
        results |= self._realism()
        results |= self._plugins()
        if self.options.guacamol:
            results |= self._guacamol()
        reference, properties = self._properties()
        targets = {target.name: self._control(target) for target in self.options.parsed_targets}
        sizes = curves(self.sample, self.terms, self.activations, self._tests(), results)
        replicates = self.bootstrap.run()
        return self._assemble(results, properties, targets, replicates, reference, sizes)

    def _assemble(
        self,
        results: dict[str, Metric],
        properties: dict[str, PropertySummary],
        targets: dict[str, Control],
        replicates: dict[str, Replicates],
        reference: str | None,
        sizes: Curves,
    ) -> Report:
        return Report(
            name=self.name,
            n=self.sample.total,
            described=self.n,
            metrics={
                k: with_interval(m, replicates.get(k), most=np.inf if k.startswith("FCD") else 1.0)
                for k, m in results.items()
            },
            properties={
                k: replace(p, w1=with_interval(p.w1, replicates.get(f"{k} W1")))
                for k, p in properties.items()
            },
            targets={
                k: replace(
                    t,
                    metric=with_interval(
                        t.metric,
                        replicates.get(f"{t.target} {t.kind}"),
                        most=np.inf if t.kind == "MAD" else 1.0,
                    ),
                )
                for k, t in targets.items()
            },
            curves=sizes,
            reference=reference,
            versions=versions(),
            seed=self.options.seed,
            inputs=self._inputs(),
            notes=self.notes,
            replicates=replicates,
            cards=self._cards(),
        )

    # Ratios over all rows

    def _valid(self) -> Metric:
        sample = self.sample
        flags = np.zeros(sample.total)
        flags[: sample.valid] = 1
        self.bootstrap.ratio("valid", flags, np.ones(sample.total))
        note = ""
        if sample.disconnected:
            note = f"{sample.disconnected:,} of them have disconnected parts"
        return metrics.ratio(sample.valid, sample.total, "no molecule was given", note)

    def _unique(self, k: int | None) -> Metric:
        keys = self.sample.keys[:k]
        _, places, counts = np.unique(keys, return_inverse=True, return_counts=True)
        name = "unique" if k is None else f"unique@{k}"
        self.bootstrap.ratio(name, 1 / counts[places], np.ones(len(keys)))
        return metrics.unique(self.sample.keys, k)

    def _novelty(self) -> Metric:
        train = self.references.get("train")
        distinct, places, counts = np.unique(
            self.sample.keys, return_inverse=True, return_counts=True
        )
        if train is None:
            return Metric(None, len(distinct), note="needs a training set (--train)")
        new = ~among(distinct, train.keys)
        share = 1 / counts[places]
        self.bootstrap.ratio("novelty", new[places] * share, share)
        self.terms["novelty"] = among(keys_of(self.sample.described.smiles), distinct[new])
        return metrics.novelty(distinct, distinct[~new])

    # Comparisons with the test sets

    def _tests(self) -> dict[str, Reference | None]:
        # As in MOSES, the scaffold split is reported only if it is given.
        tests: dict[str, Reference | None] = {"Test": self.references.get("test")}
        if "test_scaffolds" in self.references:
            tests["TestSF"] = self.references["test_scaffolds"]
        return tests

    def _against(self, kind: str) -> dict[str, Metric]:
        return {f"{kind}/{suffix}": self._similar(kind, suffix) for suffix in self._tests()}

    def _similar(self, kind: str, suffix: str) -> Metric:
        reference, name = self._tests()[suffix], f"{kind}/{suffix}"
        if reference is None:
            return Metric(None, self.n, note="needs a test set (--test)")
        if kind == "SNN":
            return self._nearest(name, reference)
        described = self.sample.described
        if kind == "Frag":
            self.bootstrap.cosine(name, described.fragments, reference.fragments)
            return metrics.fragment_similarity(described, reference.fragments)
        self.bootstrap.cosine(name, described.scaffolds, reference.scaffolds)
        return metrics.scaffold_similarity(described, reference.scaffolds)

    def _nearest(self, name: str, reference: Reference) -> Metric:
        if not self.n or not len(reference):
            missing = "no valid molecule in the reference" if self.n else NO_VALID
            return Metric(None, self.n, note=missing)
        nearest, _ = metrics.nearest(self.prints, reference.fingerprints)
        self.terms[name] = nearest
        self.bootstrap.mean(name, nearest)
        return Metric(float(nearest.mean(dtype=np.float64)), self.n)

    def _fcd(self) -> dict[str, Metric]:
        return {f"FCD/{suffix}": self._distance(suffix) for suffix in self._tests()}

    def _distance(self, suffix: str) -> Metric:
        reference, name = self._tests()[suffix], f"FCD/{suffix}"
        if reason := self._no_fcd(reference):
            return Metric(None, self.n, note=reason)
        assert reference is not None
        if self.activations is None or self.moments is None:
            self.activations = frechet.activations(
                self.sample.described.smiles, device=self.options.device
            )
            self.moments = Moments.of(self.activations)
        metric = frechet.compare(self.moments, reference.moments)
        if self.options.replicates and metric.value is not None:
            moved = frechet.influences(self.activations, self.moments, reference.moments)
            self.bootstrap.mean(name, moved + metric.value)
        return metric

    def _no_fcd(self, reference: Reference | None) -> str:
        if not self.options.chemnet:
            return "not requested (--no-fcd)"
        if reference is None:
            return "needs a test set (--test)"
        return "" if frechet.available() else frechet.MISSING

    # Within the set

    def _diversity(self) -> dict[str, Metric]:
        names, n = ("IntDiv", "IntDiv2"), self.n
        if n < 2:
            return dict.fromkeys(names, Metric(None, n, note="needs at least 2 valid molecules"))
        means, squares = similarity_sums(self.prints, (1, 2)) / n
        roots = np.sqrt(squares)
        diversity, diversity2 = float(1 - means.mean()), float(1 - roots.mean())
        if self.options.replicates:
            # Each molecule counts in its row and in those of all others; see bootstrap.
            self.bootstrap.mean("IntDiv", diversity - 2 * (means - means.mean()))
            influence = roots + self._partners(roots) / 2
            self.bootstrap.mean("IntDiv2", diversity2 - (influence - influence.mean()))
        return {"IntDiv": Metric(diversity, n), "IntDiv2": Metric(diversity2, n)}

    def _partners(self, roots: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of ``T_ij² / r_j`` over up to 3,000 partners j of each molecule i."""
        partners = np.sort(self.sample.order[:PARTNERS])
        total = np.zeros(self.n)
        for start in range(0, self.n, BLOCK):
            rows = slice(start, start + BLOCK)
            similarity = tanimoto(self.prints[rows], self.prints[partners])
            total[rows] = (similarity.astype(np.float64) ** 2) @ (1 / roots[partners])
        return total / len(partners)

    def _filters(self) -> Metric:
        if self.options.filters is None:
            return Metric(None, self.n, note=NO_FILTERS)
        passes = self.sample.described.passes
        self.terms["Filters"] = passes
        self.bootstrap.ratio("Filters", passes.astype(float), np.ones(self.n))
        return metrics.fraction_passing(self.sample.described, self.options.filters)

    def _realism(self) -> dict[str, Metric]:
        """Against the training molecules: what none of them has, and how separable the sets are."""
        train = self.references.get("train")
        if train is None or not self.n:
            note = NO_VALID if train is not None else "needs a training set (--train)"
            return dict.fromkeys((*realism.UNSEEN, realism.AUC), Metric(None, self.n, note=note))
        smiles = self.sample.described.smiles
        task = realism.novelties(train.plausibility)
        parts = [p for _, p in self.workers.map_texts("ring systems", task, smiles, self.n)]
        results = {}
        for name, of_parts in zip(realism.UNSEEN, zip(*parts, strict=True), strict=True):
            flags = np.concatenate(of_parts)
            self.bootstrap.ratio(name, flags.astype(float), np.ones(len(flags)))
            results[name] = realism.unseen(flags)
        chosen = [smiles[i] for i in np.sort(self.sample.order[: realism.SAMPLE])]
        facts = self.workers.map_texts("facts", realism.fact_table, chosen, len(chosen))
        generated = FactTable.joined(part for _, part in facts)
        return {**results, realism.AUC: realism.realism_auc(train.facts, generated)}

    def _guacamol(self) -> dict[str, Metric]:
        train = self.references.get("train")
        names = ("validity", "uniqueness", "novelty", "KL", "FCD")
        if train is None:
            nothing = Metric(None, self.n, note="needs a training set (--train)")
            return {f"GuacaMol/{name}": nothing for name in names}
        sample = guacamol.read_sample(self.source)
        known = among(keys_of(sample.distinct), train.flat_keys)
        texts = [text for text, old in zip(sample.distinct, known, strict=True) if old]
        fcd = Metric(None, len(sample.isomeric), note=self._no_fcd(train))
        if not fcd.note:
            generated = frechet.moments(sample.isomeric, device=self.options.device)
            fcd = frechet.compare(generated, train.guacamol_moments)
        novel = guacamol.novelty(sample, texts, train_is_flat=True)
        results = guacamol.combine(sample, train.guacamol, novel=novel, rows=train.rows, fcd=fcd)
        return {f"GuacaMol/{name}": metric for name, metric in results.items()}

    def _plugins(self) -> dict[str, Metric]:
        """The metrics of installed packages."""
        smiles, results = self.sample.described.smiles, {}
        for name, metric in of_plugins().items():
            reference = self.references.get(metric.reference)
            results[name] = metric(smiles, None if reference is None else reference.smiles)
        return results

    # Properties and targets

    def _properties(self) -> tuple[str | None, dict[str, PropertySummary]]:
        role, table = None, None
        if "test" in self.references:
            role, table = "test", self.references["test"].values
        elif "train" in self.references:
            role, table = "train", self.references["train"].sample_values
            if len(table) < len(self.references["train"]):
                self.notes.append(
                    f"property distributions: compared with a sample of {len(table):,} training "
                    "molecules"
                )
        summaries = {}
        for i, name in enumerate(PROPERTIES):
            values = self.sample.described.values[:, i]
            generated = values[~np.isnan(values)]
            reference = None if table is None else table[~np.isnan(table[:, i]), i]
            metric = _w1(generated, reference)
            if reference is not None:
                self.bootstrap.wasserstein(f"{name} W1", values, reference, metric.value)
            summaries[name] = PropertySummary(generated, reference, metric)
        return role, summaries

    def _control(self, target: Target | ColumnTarget) -> Control:
        values, source = self._values(target.name)
        if isinstance(target, ColumnTarget):
            requested = self.sample.columns[target.column]
            result = metrics.control_by_row(target.text, requested, values, source=source)
        else:
            yes_no = target.name not in PROPERTIES and metrics.is_yes_no(target, values)
            result = metrics.control(target, values, source=source, yes_no=yes_no)
        self.bootstrap.mean(f"{result.target} {result.kind}", result.scores)
        return result

    def _values(self, name: str) -> tuple[NDArray[np.float64], str]:
        if name in PROPERTIES:
            described = self.sample.described
            return described.values[:, described.properties.index(name)], "RDKit"
        source = f"column '{name}' of the file: a prediction of the model, not a measurement"
        return self.sample.columns[name], source

    # The record

    def _inputs(self) -> dict[str, Any]:
        sample = self.sample
        record: dict[str, Any] = {"generated": {"rows": sample.total, "valid": sample.valid}}
        if self.source.files:
            record["generated"]["files"] = self.source.record
        for role, reference in self.references.items():
            record[role] = {"rows": reference.rows, "valid": len(reference)}
            if reference.source.files:
                record[role]["files"] = reference.source.record
        return record

    def _cards(self) -> list[report.Card]:
        asked = [target.name for target in self.options.parsed_targets]
        values = {name: self._values(name)[0] for name in dict.fromkeys([*asked, *CARD_VALUES])}
        return cards(self.sample, values, self.references.get("train"), self.options.draw)


def _w1(generated: NDArray[np.float64], reference: NDArray[np.float64] | None) -> Metric:
    note = ""
    if reference is None:
        note = "needs a reference set (--test or --train)"
    elif not len(reference) or not len(generated):
        note = "no valid molecule on one side"
    value = None if note or reference is None else metrics.wasserstein(generated, reference)
    return Metric(value, len(generated), note=note)
