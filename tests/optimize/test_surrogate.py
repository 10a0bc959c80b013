"""The Gaussian process that predicts scores, against its formulas written out."""

import numpy as np
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from molvae import chem
from molvae.chem.fingerprints import tanimoto
from molvae.optimize.archive import Answer
from molvae.optimize.engines import surrogate as surrogate_module
from molvae.optimize.engines.surrogate import (
    BEST,
    NOISES,
    SAME,
    Fingerprints,
    Surrogate,
    gp_posterior,
    leaders,
)
from molvae.runtime.randomness import normal_quantile

CHAINS = [f"{'C' * k}O" for k in range(4, 15)]
RINGS = [f"c1ccccc1{'C' * k}N" for k in range(1, 12)]


def ranked(smiles):
    return [Answer(i, 0, "sample", one, (0.0,), (0.0,), float(-i)) for i, one in enumerate(smiles)]


def bits_of(smiles):
    return chem.fingerprints([chem.parse(one) for one in smiles], size=2048, counts=True)


def test_fingerprints_count_how_often():
    """Bits of a chain twice as long differ; without counts they are the same."""
    generator = rdFingerprintGenerator.GetMorganGenerator(
        radius=2, fpSize=2048, countSimulation=True
    )
    for one in CHAINS:
        bits = np.unpackbits(bits_of([one])[0], bitorder="little")
        assert set(np.flatnonzero(bits)) == set(
            generator.GetFingerprint(Chem.MolFromSmiles(one)).GetOnBits()
        )
    assert (bits_of(["CCCCCCO"]) != bits_of(["CCCCCCCCCCCCO"])).any()
    plain = chem.fingerprints([chem.parse(one) for one in ("CCCCCCO", "CCCCCCCCCCCCO")], size=2048)
    assert (plain[0] == plain[1]).all()


def test_mean_and_spread_are_those_of_a_gaussian_process():
    known, new = CHAINS[::2] + RINGS[::2], CHAINS[1::2] + RINGS[1::2]
    values = np.random.default_rng(0).normal(size=len(known))
    generator = rdFingerprintGenerator.GetMorganGenerator(
        radius=2, fpSize=2048, countSimulation=True
    )
    prints = [generator.GetFingerprint(Chem.MolFromSmiles(one)) for one in known + new]
    kernel = np.asarray([DataStructs.BulkTanimotoSimilarity(one, prints) for one in prints])
    n, best = len(known), None
    for noise in NOISES:
        covariance = kernel[:n, :n] + noise * np.eye(n)
        _, determinant = np.linalg.slogdet(covariance)
        likelihood = -0.5 * values @ np.linalg.inv(covariance) @ values - 0.5 * determinant
        if best is None or likelihood > best[0]:
            best = likelihood, np.linalg.inv(covariance)
    cross = kernel[:n, n:]
    variance = 1 - np.einsum("im,ij,jm->m", cross, best[1], cross)
    bits = bits_of(known)
    mean, sd = gp_posterior(tanimoto(bits, bits), values, tanimoto(bits, bits_of(new)))
    assert mean == pytest.approx(cross.T @ best[1] @ values, rel=1e-5, abs=1e-6)
    assert sd == pytest.approx(np.sqrt(variance), rel=1e-4, abs=1e-6)


def test_one_of_each_kind_leads():
    """Sphere exclusion, by RDKit's similarities."""
    smiles = CHAINS + RINGS
    generator = rdFingerprintGenerator.GetMorganGenerator(
        radius=2, fpSize=2048, countSimulation=True
    )
    prints = [generator.GetFingerprint(Chem.MolFromSmiles(one)) for one in smiles]
    expected: list[int] = []
    for i, one in enumerate(prints):
        near = DataStructs.BulkTanimotoSimilarity(one, [prints[k] for k in expected])
        if max(near, default=0.0) < SAME:
            expected.append(i)
    assert 2 <= len(expected) < len(smiles) - 2
    bits = bits_of(smiles)
    assert leaders(tanimoto(bits, bits)) == expected
    surrogate = Surrogate()
    assert surrogate.kinds(ranked(smiles)) == [smiles[i] for i in expected]
    # The kernel is that of the answers last read, in their order.
    surrogate.kinds(ranked(smiles[::-1]))
    assert surrogate.kinds(ranked(smiles)) == [smiles[i] for i in expected]


def test_what_is_like_the_best_comes_first():
    surrogate, best = Surrogate(), RINGS[::2]
    candidates = [*CHAINS[1::2], *RINGS[1::2]]
    chosen = surrogate.order(candidates, ranked([*best, *CHAINS[::2]]))
    assert sorted(chosen) == sorted(candidates)
    assert set(chosen[:4]) <= set(RINGS)
    assert set(chosen[-3:]) <= set(CHAINS)
    assert surrogate.order(candidates[::-1], ranked([*best, *CHAINS[::2]])) == chosen


def test_it_remembers_the_best_alone():
    """Of more than it is fitted to; and equal ones do no harm."""
    surrogate = Surrogate()
    many = [
        f"{'C' * (1 + i % 40)}{'N' * (i // 40 % 40)}{'O' * (1 + i // 1600)}" for i in range(1200)
    ]
    surrogate.order(["CCO", "CCN", "CCO"], ranked(many))
    assert surrogate._known == many[:BEST]


def test_the_kernel_is_brought_up_to_date(monkeypatch):
    """Where answers come and go, it is that of all pairs to the last bit."""
    surrogate, smiles = Surrogate(), CHAINS + RINGS
    monkeypatch.setattr(surrogate_module, "BEST", 15)
    for some in (smiles[:10], smiles[5:], smiles[::-1], ["CCO", *smiles[3:9], "[H][H]"]):
        surrogate.kinds(ranked(some))
        bits = bits_of(some[:15])
        assert surrogate._kernel.tolist() == tanimoto(bits, bits).tolist()
        candidates = ["CCCN", *smiles[::4]]
        share = 1 - (np.arange(len(bits)) + 0.5) / len(bits)
        cross = tanimoto(bits, bits_of(candidates))
        mean, sd = gp_posterior(tanimoto(bits, bits), normal_quantile(share), cross)
        order = np.argsort(-(mean + surrogate_module.HOPE * sd), kind="stable")
        assert surrogate.order(candidates, ranked(some)) == [candidates[i] for i in order]


def test_kinds_up_to_a_number():
    surrogate, smiles = Surrogate(), ranked(CHAINS + RINGS)
    assert surrogate.kinds(smiles, 3) == surrogate.kinds(smiles)[:3]
    assert surrogate.kinds(smiles, 1000) == surrogate.kinds(smiles)


def test_fingerprints_are_computed_once_and_the_recent_ones_kept(monkeypatch):
    monkeypatch.setattr(surrogate_module, "RECENT", 3)
    prints, parsed = Fingerprints(), []
    monkeypatch.setattr(chem, "parse", lambda text: parsed.append(text) or Chem.MolFromSmiles(text))
    some = ["CCO", "CCN", "CCO"]
    expected = chem.fingerprints(
        [Chem.MolFromSmiles(text) for text in some], size=2048, counts=True
    )
    assert (prints.of(some) == expected).all()
    assert (prints.of(some) == expected).all()
    assert parsed == ["CCO", "CCN"]
    prints.add({"CCC": expected[0].tobytes(), "CCCC": expected[1].tobytes()})
    assert (prints.of(["CCC", "CCCC"]) == expected[:2]).all()
    prints.of(["CCN"])  # the oldest but one
    assert parsed == ["CCO", "CCN"]
    prints.of(["CCO"])
    assert parsed == ["CCO", "CCN", "CCO"]
