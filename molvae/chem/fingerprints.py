"""Fingerprints of molecules, and the Tanimoto similarity of two molecules."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rdkit import DataStructs
from rdkit.Chem import rdFingerprintGenerator
from rdkit.Chem.Pharm2D import Generate, Gobbi_Pharm2D

from molvae.chem.molecules import Mol, parse
from molvae.errors import TargetError

__all__ = [
    "Features",
    "Likeness",
    "count_bits",
    "fingerprints",
    "set_bits",
    "tanimoto",
    "unpack_bits",
]

_Floats = NDArray[np.float32]
_Bytes = NDArray[np.uint8]
_Ints = NDArray[np.int64]


@functools.cache
def _morgan(radius: int, size: int, counts: bool) -> rdFingerprintGenerator.FingerprintGenerator64:
    return rdFingerprintGenerator.GetMorganGenerator(
        radius=radius, fpSize=size, countSimulation=counts
    )


def fingerprints(
    mols: list[Mol], *, radius: int = 2, size: int = 1024, counts: bool = False
) -> NDArray[np.uint8]:
    """Morgan bit fingerprints packed into bytes, shape (len(mols), size / 8).

    ``counts``: bits also encode whether an environment occurs once, twice, four or eight times.
    """
    generator = _morgan(radius, size, counts)
    rows = np.empty((len(mols), size // 8), dtype=np.uint8)
    for i, mol in enumerate(mols):
        bits = DataStructs.BitVectToBinaryText(generator.GetFingerprint(mol))
        rows[i] = np.frombuffer(bits, dtype=np.uint8)
    return rows


def unpack_bits(fingerprints: _Bytes) -> _Bytes:
    """Shape (bits, N): the molecules side by side, so that whole bits can be picked and summed."""
    shifts = np.arange(8, dtype=np.uint8)[:, None]
    spread = (np.ascontiguousarray(fingerprints.T)[:, None] >> shifts) & np.uint8(1)
    return spread.reshape(8 * fingerprints.shape[1], len(fingerprints))


_BITS_OF_BYTE = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)


def count_bits(fingerprints: _Bytes) -> _Floats:
    """How many bits of each are set."""
    if hasattr(np, "bitwise_count"):  # numpy 2
        packed = np.ascontiguousarray(fingerprints)
        counts = np.bitwise_count(packed if packed.shape[1] % 8 else packed.view(np.uint64))
    else:
        counts = _BITS_OF_BYTE[fingerprints]
    sizes: _Floats = counts.astype(np.float32) @ np.ones(counts.shape[1], dtype=np.float32)
    return sizes


_RARE = 0.002  # of all pairs: bits shared by fewer are cheaper to count one by one


def tanimoto(a: _Bytes, b: _Bytes) -> _Floats:
    """Tanimoto similarity of every packed fingerprint in ``a`` to every one in ``b``.

    Shape (len(a), len(b)): for long lists call it on blocks. Two empty fingerprints are alike.
    """
    common, size_a, size_b = _common(unpack_bits(a), unpack_bits(b)), count_bits(a), count_bits(b)
    union = np.add.outer(size_a, size_b)
    union -= common
    if not size_a.all() and not size_b.all():
        empty = union == 0
        common[empty] = union[empty] = 1
    common /= union
    return common


def _common(a: _Bytes, b: _Bytes) -> _Floats:
    """How many bits each molecule of ``a``, (bits, N), shares with each of ``b``, (bits, M)."""
    shared = a.sum(axis=1, dtype=np.int32) * b.sum(axis=1, dtype=np.int64)
    often = shared > _RARE * a.shape[1] * b.shape[1]
    # float32 products of 0/1 rows count shared bits exactly, at the speed of a matrix product.
    common: _Floats = a[often].astype(np.float32).T @ b[often].astype(np.float32)
    rare = ~often & (shared > 0)
    if rare.any():
        # Each time a molecule of a has the bit meets all times that a molecule of b has it.
        bit, row = set_bits(a[rare])
        other, column = set_bits(b[rare])
        first = np.searchsorted(other, np.arange(other[-1] + 2))
        times = np.diff(first)[bit]
        skipped = first[bit] - (times.cumsum() - times)
        meets = column[np.arange(times.sum()) + np.repeat(skipped, times)]
        meets += np.repeat(row * b.shape[1], times)
        np.add.at(common.reshape(-1), meets, np.float32(1))
    return common


def set_bits(bits: NDArray[np.uint8] | NDArray[np.bool_]) -> tuple[_Ints, _Ints]:
    """Row and column of all set bits, in order; faster than nonzero() for sparse arrays."""
    row, column = np.divmod(np.flatnonzero(bits.view(np.bool_)), bits.shape[1])
    return row, column


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
