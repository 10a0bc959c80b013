"""Similarity of fingerprints is RDKit's, and the nearest is found without looking at every pair."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from molvae.chem.fingerprints import fingerprints, tanimoto
from molvae.evaluate.metrics import internal_diversity, nearest, nearest_similarity, similarity
from molvae.evaluate.metrics.similarity import similarity_sums


def some_mols():
    return [
        Chem.MolFromSmiles(s)
        for s in (
            "CCO", "CCN", "CCOC", "c1ccccc1", "Cc1ccccc1", "c1ccncc1", "CC(=O)Oc1ccccc1C(=O)O",
            "Cc1ccccc1C", "O=C(O)c1ccccc1", "CC(=O)O",
        )
    ]  # fmt: skip


def plainly(a, b):
    """All similarities, the way they are defined."""
    a, b = (np.unpackbits(packed, axis=1).astype(np.float64) for packed in (a, b))
    common = a @ b.T
    union = a.sum(axis=1)[:, None] + b.sum(axis=1) - common
    return np.where(union == 0, 1, common / np.maximum(union, 1)).astype(np.float32)


def assert_nearest(queries, reference):
    best, where = nearest(queries, reference)
    every = plainly(queries, reference)
    assert (best.dtype, where.dtype) == (np.float32, np.int64)
    assert best.tolist() == every.max(axis=1).tolist()
    assert where.tolist() == every.argmax(axis=1).tolist()


def molecule_like(n, *, bits=1024, set_bits=45, seed=0):
    """Fingerprints with some common and many rare bits, of families, with some of them empty."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, bits + 1)
    often = np.minimum(weights / weights.sum() * set_bits, 0.9)
    founders = rng.random((n // 30 + 1, bits)) < often
    result = founders[rng.integers(len(founders), size=n)]
    change = rng.random((n, bits)) < 0.25
    result = np.where(change, rng.random((n, bits)) < often, result)
    result[:: n // 5 + 1] = False
    return np.packbits(result, axis=1)


# -- every pair -----------------------------------------------------------------------------------


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


@pytest.mark.parametrize("rare", [0, 0.002, 0.1, 1])
def test_rare_bits_are_counted_like_the_others(rare, monkeypatch):
    monkeypatch.setattr(sys.modules["molvae.chem.fingerprints"], "_RARE", rare)
    a, b = molecule_like(70), molecule_like(130, seed=1)
    assert (tanimoto(a, b) == plainly(a, b)).all()
    assert (tanimoto(a[::3], b[:, ::-1]) == plainly(a[::3], b[:, ::-1])).all()  # not contiguous


def test_numpy_1_has_no_bitwise_count(monkeypatch):
    a = molecule_like(70)
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert (tanimoto(a, a) == plainly(a, a)).all()


def test_nothing_is_like_nothing():
    none, some = np.empty((0, 16), np.uint8), np.ones((3, 16), np.uint8)
    assert tanimoto(none, some).shape == (0, 3)
    assert tanimoto(some, none).shape == (3, 0)
    assert similarity_sums(none).shape == (2, 0)


@pytest.mark.parametrize("n", [1, 3, 100])
def test_sums_are_over_all_pairs(n, monkeypatch):
    monkeypatch.setattr(similarity, "_ROWS", 16)
    monkeypatch.setattr(similarity, "_COLUMNS", 40)
    prints = molecule_like(n)
    every = plainly(prints, prints).astype(np.float64)
    sums = similarity_sums(prints, (1, 2, 3))
    np.testing.assert_allclose(sums, [(every**p).sum(axis=1) for p in (1, 2, 3)], rtol=1e-6)
    if n > 1:
        one, two = internal_diversity(prints)
        assert one.value == pytest.approx(1 - np.mean(sums[0] / n))
        assert two.value == pytest.approx(1 - np.mean(np.sqrt(sums[1] / n)))


# -- the nearest ----------------------------------------------------------------------------------


def test_the_nearest_is_found_across_blocks_and_the_first_of_equals_wins():
    rng = np.random.default_rng(0)
    reference = rng.integers(0, 256, (2500, 16), dtype=np.uint8)
    reference[2300] = reference[7]
    queries = reference[[7, 2300, 2400, 0]]
    best, where = nearest(queries, reference)
    assert best.tolist() == [1, 1, 1, 1]
    assert where.tolist() == [7, 7, 2400, 0]
    assert_nearest(rng.integers(0, 256, (600, 16), dtype=np.uint8), reference)


@pytest.mark.parametrize("bits", [64, 1024, 1048])
@pytest.mark.parametrize("set_bits", [3, 45])
def test_the_nearest_of_many(bits, set_bits):
    queries, reference = np.split(molecule_like(3600, bits=bits, set_bits=set_bits), [600])
    queries[100:200] = reference[2000:2100]
    assert_nearest(queries, reference)


def test_most_pairs_are_not_compared(monkeypatch):
    queries, reference = np.split(molecule_like(6600), [600])
    looked_at = 0

    def counted(original, pairs):
        def call(search, i, j):
            nonlocal looked_at
            looked_at += pairs(i, j)
            original(search, i, j)

        return call

    search = similarity._Search
    monkeypatch.setattr(search, "compare", counted(search.compare, lambda i, j: len(i)))
    monkeypatch.setattr(
        search,
        "compare_all",
        counted(search.compare_all, lambda i, j: (i.stop - i.start) * (j.stop - j.start)),
    )
    assert_nearest(queries, reference)
    assert 600 * 512 <= looked_at < 600 * 6000 / 4  # the first 512 are compared in any case


@st.composite
def packed(draw, width):
    """Few or many set bits, with repeated and empty fingerprints, and many ties."""
    rows = draw(st.lists(st.binary(min_size=width, max_size=width), min_size=1, max_size=12))
    sparse = draw(st.booleans())
    result = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, width)
    if sparse:
        result = result & np.roll(result, 1, axis=1) & np.roll(result, 1, axis=0)
    again = draw(st.lists(st.integers(-1, len(result) - 1), min_size=1, max_size=40))
    return np.concatenate([result, np.zeros((1, width), np.uint8)])[again]


@given(data=st.data())
def test_every_path_finds_the_nearest(data):
    width = data.draw(st.sampled_from([1, 3, 8, 16]))
    queries, reference = data.draw(packed(width)), data.draw(packed(width))
    with pytest.MonkeyPatch.context() as patch:
        for name, values in {
            "_FEW": [1, 4],
            "_ROWS": [3, 100],
            "_COLUMNS": [5, 100],
            "_SLAB": [7, 100],
            "_SAMPLE": [2, 100],
            "_MANY": [0, 0.3, 1],
            "_RARE": [0, 0.1, 1],
        }.items():
            place = sys.modules["molvae.chem.fingerprints"] if name == "_RARE" else similarity
            patch.setattr(place, name, data.draw(st.sampled_from(values), label=name))
        patch.setattr(similarity._Fold, "GROUPS", data.draw(st.sampled_from([1, 3, 20])))
        patch.setattr(similarity._Fold, "LEVELS", data.draw(st.sampled_from([1, 4])))
        assert_nearest(queries, reference)


def test_what_is_alike_to_nothing_is_nearest_to_the_first():
    queries, reference = np.zeros((2, 600, 16), np.uint8)
    queries[:, 0], reference[:, 1] = 1, 1
    assert_nearest(queries, reference)
    reference[550] = 0  # empty, and so is one query
    queries[7] = 0
    reference[580, 0] = 3
    assert_nearest(queries, reference)


def test_nothing_is_near_nothing():
    query = np.ones((2, 16), np.uint8)
    best, where = nearest(query, np.empty((0, 16), np.uint8))
    assert best.tolist() == where.tolist() == [-1, -1]
    assert [len(result) for result in nearest(query[:0], query)] == [0, 0]


def test_the_mean_of_the_nearest():
    reference = fingerprints(some_mols())
    result = nearest_similarity(reference[:4], reference[4:])
    assert result.value == pytest.approx(plainly(reference[:4], reference[4:]).max(axis=1).mean())
    assert nearest_similarity(reference[:0], reference).value is None
    assert nearest_similarity(reference, reference[:0]).note == "no valid molecule in the reference"
