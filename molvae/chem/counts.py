"""What a predictor sees of a molecule: counted substructures and a few descriptors.

A molecule becomes a short list of (feature, count) pairs. Nothing is folded: two environments share
a feature only if RDKit gives them the same hash of 32 bits.

Shapes: ``N`` molecules, ``E`` entries of all molecules together, ``D`` descriptors.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors

from molvae.chem.crippen import crippen
from molvae.chem.environments import environments
from molvae.chem.molecules import Mol

__all__ = ["DESCRIPTORS", "Counts", "FeatureKind", "count_features", "descriptors"]

FeatureKind = Literal["circular", "pharmacophore"]
MOST = 255  # counts are stored in a byte; no drug-like molecule has more of one environment
DESCRIPTORS = (
    "logp", "refractivity", "tpsa", "weight", "donors", "acceptors", "rotatable", "rings",
    "aromatic_rings", "sp3", "heteroatoms", "charge",
)  # fmt: skip


@dataclass(frozen=True)
class Counts:
    """Counted features of N molecules as compressed sparse rows.

    Row ``i`` has the entries from ``starts[i]`` up to ``starts[i + 1]``.
    """

    starts: NDArray[np.int64]  # (N + 1,)
    features: NDArray[np.uint32]  # (E,)
    counts: NDArray[np.uint8]  # (E,) from 1 to 255

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def rows(self) -> NDArray[np.int64]:
        """The molecule of each entry, shape (E,)."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.starts))

    def take(self, items: NDArray[np.int64]) -> Counts:
        """The molecules of these numbers, in this order."""
        lengths = np.diff(self.starts)[items]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        entries = np.arange(starts[-1]) + np.repeat(self.starts[:-1][items] - starts[:-1], lengths)
        return Counts(starts, self.features[entries], self.counts[entries])

    @classmethod
    def join(cls, parts: Sequence[Counts]) -> Counts:
        """All molecules of several parts, in order."""
        lengths = [np.diff(part.starts) for part in parts]
        return cls(
            np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64),
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.counts for part in parts]),
        )


@functools.cache
def _generator(kind: FeatureKind) -> Any:
    """Circular environments of radius 0 to 2 (Rogers & Hahn 2010)."""
    if kind == "circular":
        return rdFingerprintGenerator.GetMorganGenerator(radius=2, includeChirality=True)
    atoms = rdFingerprintGenerator.GetMorganFeatureAtomInvGen()
    return rdFingerprintGenerator.GetMorganGenerator(radius=2, atomInvariantsGenerator=atoms)


def count_features(mols: Sequence[Mol], kind: FeatureKind = "circular") -> Counts:
    """Counted environments of radius 0 to 2 of molecules, one row each.

    ``circular``: of elements, with chirality (ECFP4); ``pharmacophore``: of donors, acceptors,
    aromatic, halogen, acidic and basic atoms (FCFP4).
    """
    generator = _generator(kind)
    features: list[int] = []
    counts: list[int] = []
    lengths = [0]
    for mol in mols:
        found: dict[int, int] = generator.GetSparseCountFingerprint(mol).GetNonzeroElements()
        lengths.append(len(found))
        features += found.keys()
        counts += found.values()
    return Counts(
        np.cumsum(lengths, dtype=np.int64),
        np.asarray(features, dtype=np.uint32),
        np.minimum(np.asarray(counts, dtype=np.int64), MOST).astype(np.uint8),
    )


def descriptors(mols: Sequence[Mol]) -> NDArray[np.float32]:
    """The :data:`DESCRIPTORS` of molecules, shape (N, D), in their usual units."""
    rows = [_described(mol) for mol in mols]
    return np.asarray(rows, dtype=np.float32).reshape(len(rows), len(DESCRIPTORS))


def _described(mol: Mol) -> list[float]:
    logp, refractivity = crippen(mol, environments(mol))
    return [
        logp,
        refractivity,
        rdMolDescriptors.CalcTPSA(mol),
        rdMolDescriptors._CalcMolWt(mol),
        rdMolDescriptors.CalcNumHBD(mol),
        rdMolDescriptors.CalcNumHBA(mol),
        rdMolDescriptors.CalcNumRotatableBonds(mol, False),  # not strict: three times as fast
        rdMolDescriptors.CalcNumRings(mol),
        rdMolDescriptors.CalcNumAromaticRings(mol),
        rdMolDescriptors.CalcFractionCSP3(mol),
        rdMolDescriptors.CalcNumHeteroatoms(mol),
        Chem.GetFormalCharge(mol),
    ]
