"""The kernel against RDKit's own similarity, and the shapes and edge cases of features."""

import numpy as np
import pytest
from rdkit import DataStructs
from rdkit.Chem import rdFingerprintGenerator

from molvae import chem
from molvae.chem.counts import DESCRIPTORS, Counts, count_features, descriptors
from molvae.predict.kernel import Features, Kernel, MinMax, hashed_bits, read_features

SMILES = [
    "CCO", "CCCCCCCCCCCC", "c1ccccc1O", "CC(=O)Nc1ccc(O)cc1", "C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O",
    "[Na+].[Cl-]", "C", "FC(F)(F)c1ccc(Cl)cc1", "O=C(O)c1ccccc1OC(C)=O", "CN1CCC[C@H]1c1cccnc1",
    "CC(C)Cc1ccc(cc1)C(C)C(=O)O", "c1ccc2ccccc2c1", "CCN(CC)CC", "NS(=O)(=O)c1ccccc1",
]  # fmt: skip


def mols():
    return [chem.parse(text) for text in SMILES]


@pytest.mark.parametrize("most_common", [4096, 3, 1])
def test_minmax_equals_rdkits_tanimoto_of_counts(monkeypatch, most_common):
    monkeypatch.setattr("molvae.predict.kernel._MOST_COMMON", most_common)
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, includeChirality=True)
    prints = [generator.GetSparseCountFingerprint(mol) for mol in mols()]
    expected = [DataStructs.BulkTanimotoSimilarity(one, prints[:9]) for one in prints]
    counts = count_features(mols())
    result = MinMax(counts.take(np.arange(9)))(counts)
    assert result.shape == (len(SMILES), 9)
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_stereoisomers_differ_and_equal_molecules_do_not():
    counts = count_features(mols())
    kernel = MinMax(counts)(counts)
    np.testing.assert_allclose(np.diag(kernel), 1)
    assert kernel[4, 5] < 1


def test_molecules_without_any_feature_are_alike():
    empty = Counts(np.zeros(3, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.uint8))
    np.testing.assert_array_equal(MinMax(empty)(empty), np.ones((2, 2)))
    assert MinMax(empty)(count_features(mols()[:2])).max() == 0


def test_blend_is_the_weighted_sum_of_positive_definite_parts():
    features, _ = read_features(SMILES)
    kernel = Kernel(features)
    parts = kernel.parts(features)
    blended, circular = kernel.blend(features, (0.5, 0.2, 0.3))
    np.testing.assert_allclose(blended, 0.5 * parts[0] + 0.2 * parts[1] + 0.3 * parts[2], rtol=1e-5)
    np.testing.assert_array_equal(circular, parts[0])
    for part in parts:
        assert np.linalg.eigvalsh(part.astype(np.float64)).min() > -1e-5


def test_take_and_join_are_inverse():
    features, _ = read_features(SMILES)
    again = Features.join([features.take(np.arange(4)), features.take(np.arange(4, 15))])
    np.testing.assert_array_equal(again.circular.starts, features.circular.starts)
    np.testing.assert_array_equal(again.pharmacophore.features, features.pharmacophore.features)
    np.testing.assert_array_equal(again.descriptors, features.descriptors)


def test_unreadable_smiles_are_marked():
    features, valid = read_features(["CCO", "no molecule", ""])
    assert valid.tolist() == [True, False, False]
    assert len(features) == 3
    assert np.isfinite(features.descriptors).all()


def test_no_molecules():
    features, valid = read_features([])
    assert len(features) == len(valid) == 0
    assert Kernel(read_features(SMILES)[0]).parts(features)[0].shape == (0, len(SMILES))


def test_descriptors_of_ethanol():
    result = dict(zip(DESCRIPTORS, descriptors([chem.parse("CCO")])[0], strict=True))
    assert result["donors"] == result["acceptors"] == result["heteroatoms"] == 1
    assert result["weight"] == pytest.approx(46.07, abs=0.01)
    assert result["tpsa"] == pytest.approx(20.23, abs=0.01)


def test_hashed_bits_come_near_the_true_similarity():
    counts = count_features(mols())
    bits = np.unpackbits(hashed_bits(counts), axis=1).astype(float)
    shared = bits @ bits.T
    sizes = bits.sum(axis=1)
    tanimoto = shared / (sizes[:, None] + sizes - shared)
    np.testing.assert_allclose(tanimoto, MinMax(counts)(counts), atol=0.1)
