"""Fingerprints are RDKit's own."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

from molvae.chem import fingerprints


@pytest.mark.parametrize(("radius", "size"), [(2, 1024), (3, 2048)])
def test_fingerprint_bits_are_rdkits(radius, size):
    mols = [Chem.MolFromSmiles(s) for s in ("CCO", "Cc1ccccc1C(=O)N2CCOCC2", "C")]
    packed = fingerprints(mols, radius=radius, size=size)
    assert packed.shape == (3, size // 8)
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=size)
    for m, row in zip(mols, packed, strict=True):
        # Bit i of the packed row is RDKit's bit i within bytes of little-endian order.
        on = np.flatnonzero(np.unpackbits(row, bitorder="little"))
        assert on.tolist() == list(generator.GetFingerprint(m).GetOnBits())


def test_no_molecules_no_fingerprints():
    assert fingerprints([]).shape == (0, 128)
