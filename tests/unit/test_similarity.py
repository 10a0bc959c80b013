"""Similarity of fingerprints is RDKit's, and the nearest is found without looking at every pair."""

import numpy as np
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from molvae.chem import fingerprints
from molvae.metrics import nearest, tanimoto


def some_mols():
    return [
        Chem.MolFromSmiles(s)
        for s in (
            "CCO", "CCN", "CCOC", "c1ccccc1", "Cc1ccccc1", "c1ccncc1", "CC(=O)Oc1ccccc1C(=O)O",
            "Cc1ccccc1C", "O=C(O)c1ccccc1", "CC(=O)O",
        )
    ]  # fmt: skip


def test_similarity_is_rdkits():
    mols = some_mols()
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    rdkit = [generator.GetFingerprint(m) for m in mols]
    expected = [DataStructs.BulkTanimotoSimilarity(f, rdkit) for f in rdkit]
    packed = fingerprints(mols)
    got = tanimoto(packed[:4], packed)
    assert got.shape == (4, 10)
    np.testing.assert_allclose(got, np.asarray(expected)[:4], atol=1e-6)


def test_empty_fingerprints_are_alike_and_unlike_anything_else():
    empty, full = np.zeros((1, 16), np.uint8), np.full((1, 16), 255, np.uint8)
    both = np.concatenate([empty, full])
    assert tanimoto(both, both).tolist() == [[1, 0], [0, 1]]


def test_the_nearest_is_found_across_blocks_and_the_first_of_equals_wins():
    rng = np.random.default_rng(0)
    reference = rng.integers(0, 256, (2500, 16), dtype=np.uint8)
    reference[2300] = reference[7]
    queries = reference[[7, 2300, 2400, 0]]
    best, where = nearest(queries, reference)
    assert best.tolist() == [1, 1, 1, 1]
    assert where.tolist() == [7, 7, 2400, 0]
    many = rng.integers(0, 256, (600, 16), dtype=np.uint8)
    best, where = nearest(many, reference)
    full = tanimoto(many, reference)
    np.testing.assert_allclose(best, full.max(axis=1))
    assert where.tolist() == full.argmax(axis=1).tolist()


def test_nothing_is_near_nothing():
    query = np.ones((2, 16), np.uint8)
    best, where = nearest(query, np.empty((0, 16), np.uint8))
    assert best.tolist() == where.tolist() == [-1, -1]
