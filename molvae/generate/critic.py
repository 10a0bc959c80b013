"""Properties of candidates, and how far they are from the request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.properties import PROPERTIES, Measured
from molvae.chem.selfies import use_constraints
from molvae.errors import TargetError
from molvae.generate.evidence import Evidence
from molvae.generate.proposer import Proposer
from molvae.generate.request import SIMILARITY, TRIES, Request
from molvae.model.checkpoint import SavedModel
from molvae.predict.kernel import Features
from molvae.predict.predictor import ColumnPredictor
from molvae.targets import Target, hit, misfit

__all__ = ["Critic", "SeedMolecules", "Verdicts", "seed_molecules"]

LEAST = 1e-6  # probability of meeting a target, below which the distance counts too
_ENDS = {-np.inf, 0.0, 1.0, np.inf}  # of a yes/no target
SIMILARITY_SPREAD = 0.15  # unit of distance, as the standard deviation is for a property


def seed_molecules(texts: Sequence[str]) -> list[chem.Mol]:
    """The molecules of ``--like``, parsed."""
    mols = []
    for text in texts:
        mol = chem.parse(text)
        if mol is None:
            raise TargetError(f"like: '{text}' is not a valid SMILES")
        mols.append(mol)
    return mols


class SeedMolecules:
    """Molecules whose analogs are wanted; wanted molecules take turns."""

    def __init__(self, texts: Sequence[str], model: SavedModel, proposer: Proposer) -> None:
        self.smiles: list[str] = []
        ids, mols = [], seed_molecules(texts)
        for mol in mols:
            self.smiles.append(chem.to_smiles(mol))
            with use_constraints(model.constraints):
                ids.append(model.vocabulary.encode(self.smiles[-1]))
        self._latents, self._bits = proposer.encode(ids), chem.fingerprints(mols)

    def __len__(self) -> int:
        return len(self.smiles)

    def of(self, number: int) -> str:
        """The seed molecule of a wanted molecule; empty if there is none."""
        return self.smiles[number % len(self)] if self.smiles else ""

    def latents(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Latents (N, Z) at which candidates start."""
        return self._latents[items // TRIES % len(self)]

    def similarity(
        self, items: NDArray[np.int64], measured: Sequence[Measured]
    ) -> NDArray[np.float64]:
        """Tanimoto similarity of every candidate to its seed molecule; NaN without one."""
        result = np.full(len(items), np.nan)
        valid = np.flatnonzero([bool(molecule.screened.fingerprint) for molecule in measured])
        if not self.smiles or not len(valid):
            return result
        packed = b"".join(molecule.screened.fingerprint for molecule in measured)
        bits = np.frombuffer(packed, dtype=np.uint8).reshape(len(valid), -1)
        seeds = self._bits[items[valid] // TRIES % len(self)]
        shared, union = (np.unpackbits(b, axis=1).sum(axis=1) for b in (bits & seeds, bits | seeds))
        result[valid] = shared / np.maximum(union, 1)
        return result


class Verdicts(NamedTuple):
    """How N candidates meet a request of R targets."""

    values: NDArray[np.float64]  # (N, R) obtained; NaN where there is no molecule
    costs: NDArray[np.float64]  # (N,) distance to the request, summed over targets
    outside: NDArray[np.bool_]  # (N,) whether a value misses a requested range
    evidence: Evidence | None = None  # of measured columns with a predictor


class Critic:
    """Judges candidates by RDKit's properties and by predictors of measured columns.

    The cost of a target is the distance to it in spreads; of a measured column, −log of the
    probability that the true value meets it. A column without a predictor, of a model that an older
    molvae trained, is judged like a property by the value that the property head predicts.
    """

    def __init__(
        self,
        model: SavedModel,
        request: Request,
        proposer: Proposer,
        read: Callable[[list[str]], Features] | None = None,
    ) -> None:
        """``read`` as of :class:`molvae.generate.evidence.Evidence`."""
        self._read = read
        self.model, self.request, self._proposer = model, request, proposer
        names = {t.name for t in request.targets}
        self.exact = tuple(t.name for t in request.targets if t.name in PROPERTIES)
        self.predicted = names - {*PROPERTIES, SIMILARITY}
        known: Mapping[str, ColumnPredictor] = model.predictors or {}
        self._predictors = {t.name: known[t.name] for t in request.targets if t.name in known}
        unknown = self.predicted - set(model.conditions.names)
        if unknown or (SIMILARITY in names and not request.like):
            raise TargetError(f"unknown property '{min(unknown, default=SIMILARITY)}'")

    def judge(
        self, measured: Sequence[Measured], texts: Sequence[str], similarity: NDArray[np.float64]
    ) -> Verdicts:
        """Judge candidates that RDKit has measured; ``texts`` are the SELFIES they come from."""
        evidence = None
        if self._predictors:
            smiles = [m.smiles if m.smiles and not m.screened.refusal else "" for m in measured]
            evidence = Evidence(self._predictors, smiles, self._read)
        obtained = self._values(measured, texts, evidence) | {SIMILARITY: similarity}
        costs, outside = np.zeros(len(measured)), np.zeros(len(measured), dtype=np.bool_)
        values = np.empty((len(measured), len(self.request.targets)))
        for k, target in enumerate(self.request.targets):
            values[:, k] = obtained[target.name]
            if self.request.critic:
                cost, misses = self._missed(target, values[:, k], evidence)
                costs += cost
                if not target.is_point:
                    outside |= misses
        return Verdicts(values, costs, outside, evidence)

    def _missed(
        self, target: Target, values: NDArray[np.float64], evidence: Evidence | None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """(cost of a target, whether it is missed) of N candidates."""
        spread = self._spread(target.name)
        cost, misses = misfit(target, values, spread), ~hit(target, values)
        if evidence is None or target.name not in self._predictors:
            return cost, misses
        if self._predictors[target.name].kind == "yesno" and not {target.low, target.high} <= _ENDS:
            return cost, misses  # a range of probabilities, which are the values
        met = evidence.met(target, spread)
        known = np.isfinite(met)  # not of a column with very few values
        # Where the probability vanishes, the distance still tells candidates apart.
        cost = np.where(met >= LEAST, 0.0, cost)
        cost[known] -= np.log(np.maximum(met[known], LEAST))
        # A narrow range is as likely as not to hold the value at best: half of that is enough.
        misses[known] = met[known] < 0.5 * evidence.attainable(target, spread)[known]
        return cost, misses

    def _values(
        self, measured: Sequence[Measured], texts: Sequence[str], evidence: Evidence | None
    ) -> dict[str, NDArray[np.float64]]:
        """Requested properties by name.

        The head predicts from the molecule's canonical SELFIES, not from the sampled ones.
        """
        values = {}
        for k, name in enumerate(self.exact):
            column = [m.values[k] if m.smiles else np.nan for m in measured]
            values[name] = np.asarray(column, dtype=np.float64)
        if evidence is not None:
            values |= {name: evidence.values(name) for name in self._predictors}
        if left := self.predicted - set(self._predictors):
            pairs = zip(measured, texts, strict=True)
            given = ["" if m.screened.skip else m.selfies or text for m, text in pairs]
            latents = self._proposer.encode_selfies(given)
            predicted = self._proposer.predict(latents)
            for name in left:
                values[name] = predicted[:, self.model.conditions.names.index(name)]
        return values

    def _spread(self, name: str) -> float:
        if name == SIMILARITY:
            return SIMILARITY_SPREAD
        if name in self.model.conditions.names:
            return self.model.conditions[name].std
        return (PROPERTIES[name].high - PROPERTIES[name].low) / 6
