"""How like one given molecule others are: Tanimoto similarity of counted features."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

from rdkit import DataStructs
from rdkit.Chem import rdFingerprintGenerator
from rdkit.Chem.Pharm2D import Generate, Gobbi_Pharm2D

from molvae.chem.molecules import Mol, parse
from molvae.errors import TargetError

__all__ = ["Features", "Likeness"]

Features = Literal["ECFP4", "ECFP6", "FCFP4", "AP", "PHCO"]


class Likeness:
    """Tanimoto similarity to one molecule, from 0 to 1, by the features of a kind.

    ``ECFP4``, ``ECFP6``: counted circular environments of radius 2 and 3 (Rogers & Hahn 2010);
    ``FCFP4``: those of radius 2 over pharmacophoric atom types; ``AP``: counted pairs of atoms up
    to ten bonds apart (Carhart et al. 1985); ``PHCO``: pairs and triples of pharmacophores in two
    dimensions, present or not (Gobbi & Poppinger 1998), a hundred times as slow.
    """

    def __init__(self, smiles: str, kind: Features = "ECFP4") -> None:
        mol = parse(smiles)
        if mol is None:
            raise TargetError(f"similarity: '{smiles}' is not a valid SMILES")
        self._features = _FEATURES[kind]
        self._reference = self._features(mol)

    def __call__(self, mol: Mol) -> float:
        """The similarity of a molecule."""
        return float(DataStructs.TanimotoSimilarity(self._features(mol), self._reference))


@functools.cache
def _circular(radius: int, typed: bool) -> Any:
    types = rdFingerprintGenerator.GetMorganFeatureAtomInvGen() if typed else None
    return rdFingerprintGenerator.GetMorganGenerator(radius=radius, atomInvariantsGenerator=types)


@functools.cache
def _pairs() -> Any:
    return rdFingerprintGenerator.GetAtomPairGenerator(maxDistance=10)


_FEATURES: dict[Features, Callable[[Mol], Any]] = {
    "ECFP4": lambda mol: _circular(2, False).GetSparseCountFingerprint(mol),
    "ECFP6": lambda mol: _circular(3, False).GetSparseCountFingerprint(mol),
    "FCFP4": lambda mol: _circular(2, True).GetSparseCountFingerprint(mol),
    "AP": lambda mol: _pairs().GetSparseCountFingerprint(mol),
    "PHCO": lambda mol: Generate.Gen2DFingerprint(mol, Gobbi_Pharm2D.factory),
}
