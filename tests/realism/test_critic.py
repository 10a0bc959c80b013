"""The critic: densities that are known, copies that must not be preferred, files."""

import json
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from rdkit import Chem

from molvae.chem.realism_features import FACTS, describe
from molvae.errors import ConfigError, InputError, ModelFolderError
from molvae.realism import critic as module
from molvae.realism.critic import (
    accepts,
    fit_critic,
    kept_share,
    load_critic,
    log_m_of,
    save_critic,
    two_sample_auc,
)
from molvae.realism.inputs import FactTable

P = np.asarray([0.1, 0.2, 0.3, 0.4])  # of the data, over the values of one fact
Q = np.asarray([0.4, 0.3, 0.2, 0.1])  # of the model


def table(values, seed=0, noise=2):
    """Molecules that differ in one fact, and in fingerprints that say nothing."""
    draw = np.random.default_rng(seed)
    n = len(values)
    integers = np.zeros((n, len(FACTS)), dtype=np.uint8)
    integers[:, 3] = values
    bins = draw.integers(0, noise, size=(n, 1)).astype(np.uint16)
    return FactTable(
        offsets=np.arange(n + 1, dtype=np.int64),
        bins=bins[:, 0],
        counts=np.ones(n, dtype=np.uint16),
        integers=integers,
        mass=np.full(n, 300.0),
        identity=draw.integers(0, 2**63, size=n).astype(np.uint64),
    )


def drawn(odds, n, seed):
    return np.random.default_rng(seed).choice(len(odds), size=n, p=odds)


@pytest.fixture(scope="module")
def known_densities():
    real, own = drawn(P, 6000, 1), drawn(Q, 8000, 2)
    return fit_critic(table(real, 1), table(own, 2))


def test_the_logit_is_the_log_ratio_of_the_densities(known_densities):
    values = np.arange(4)
    result = known_densities.logits(table(values, noise=1))
    np.testing.assert_allclose(result, np.log(P / Q), atol=0.15)


def test_what_is_kept_follows_the_data(known_densities):
    values = drawn(Q, 60_000, 3)
    logits = known_densities.logits(table(values, 3))
    log_m = math.log((P / Q).max())  # all of the budget that rejection needs
    kept = values[accepts(logits, np.random.default_rng(4).uniform(size=len(values)), log_m)]
    np.testing.assert_allclose(np.bincount(kept) / len(kept), P, atol=0.02)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_the_share_asked_for_is_kept(known_densities, share):
    values = drawn(Q, 40_000, 5)
    logits = known_densities.logits(table(values, 5))
    log_m = known_densities.log_m(share)
    assert kept_share(logits, log_m) == pytest.approx(share, abs=0.02)
    kept = accepts(logits, np.random.default_rng(6).uniform(size=len(values)), log_m)
    assert kept.mean() == pytest.approx(share, abs=0.02)


def test_every_request_has_its_own_threshold(known_densities):
    """Candidates for a request are others than free samples; their share is kept all the same."""
    logits = known_densities.logits(table(drawn([0.7, 0.3, 0, 0], 20_000, 9), 9))
    assert kept_share(logits, known_densities.log_m(0.5)) < 0.4
    assert kept_share(logits, log_m_of(logits[:256], 0.5)) == pytest.approx(0.5, abs=0.05)


def test_a_share_of_one_keeps_all_and_none_is_an_error(known_densities):
    logits = known_densities.logits(table(drawn(Q, 100, 7)))
    assert accepts(logits, np.full(100, 0.999), known_densities.log_m(1)).all()
    for share in (0, -1, 1.5, math.nan):
        with pytest.raises(ConfigError, match="realism: got"):
            known_densities.log_m(share)


def test_equal_densities_are_not_separated():
    real, own = table(drawn(P, 3000, 1), 1), table(drawn(P, 3000, 2), 2)
    assert fit_critic(real, own).record["auc"] == pytest.approx(0.5, abs=0.03)
    assert two_sample_auc(real, own) == pytest.approx(0.5, abs=0.03)


def test_auc_and_shares_are_stated_of_what_was_not_fitted(known_densities):
    record = known_densities.record
    better = sum(P[i] * Q[j] * ((i > j) + 0.5 * (i == j)) for i in range(4) for j in range(4))
    assert record["auc"] == pytest.approx(better, abs=0.02)
    assert record["kept"]["own"] == pytest.approx(0.5, abs=0.01)
    for predicted, observed in record["calibration"]:
        assert predicted == pytest.approx(observed, abs=0.1)


def test_copies_of_training_molecules_are_not_preferred():
    """Fingerprints of its own for every molecule: all that could be learned is which they were."""
    draw = np.random.default_rng(0)

    def molecules(n):
        bins = np.sort(draw.integers(0, 2048, size=(n, 20)), axis=1).astype(np.uint16)
        identity = np.asarray([hash(row.tobytes()) % 2**63 for row in bins], dtype=np.uint64)
        return FactTable(
            np.arange(n + 1, dtype=np.int64) * 20, bins.reshape(-1), np.ones(20 * n, np.uint16),
            np.zeros((n, len(FACTS)), np.uint8), np.full(n, 300.0), identity,
        )  # fmt: skip

    real, own, unseen = molecules(300), molecules(300), molecules(3000)
    fitted = fit_critic(real, own)
    log_m = fitted.log_m(0.5)
    copies = kept_share(fitted.logits(real), log_m)
    others = kept_share(fitted.logits(unseen), log_m)
    assert copies == pytest.approx(others, abs=0.08)


def test_a_start_models_critic_helps_a_small_data_set():
    start = fit_critic(table(drawn(P, 5000, 1), 1), table(drawn(Q, 5000, 2), 2))
    real, own = table(drawn(P, 80, 3), 3), table(drawn(Q, 80, 4), 4)
    alone, helped = fit_critic(real, own), fit_critic(real, own, prior=start)
    assert helped.record["prior"]
    assert not alone.record["prior"]
    truth = np.log(P / Q)
    values = table(np.arange(4), noise=1)
    assert np.abs(helped.logits(values) - truth).max() < np.abs(alone.logits(values) - truth).max()


def test_too_few_molecules_or_samples_are_an_error():
    with pytest.raises(InputError, match="expected 50 of each"):
        fit_critic(table(drawn(P, 49, 1)), table(drawn(Q, 100, 2)))
    with pytest.raises(InputError, match="as many or more"):
        fit_critic(table(drawn(P, 200, 1)), table(drawn(Q, 100, 2)))


def test_one_molecule_is_judged_as_in_a_table(tmp_path):
    smiles = ["C" * n + "O" for n in range(1, 61)] + ["N" + "C" * n for n in range(1, 61)]
    facts = [describe(Chem.MolFromSmiles(text)) for text in smiles]
    fitted = fit_critic(FactTable.of(facts[:60]), FactTable.of(facts[60:]))
    result = [fitted.logit(one) for one in facts]
    np.testing.assert_allclose(result, fitted.logits(FactTable.of(facts)), atol=1e-9)


# -- files ----------------------------------------------------------------------------------------


def test_a_critic_is_the_same_after_loading(known_densities, tmp_path):
    save_critic(tmp_path, known_densities)
    loaded = load_critic(tmp_path)
    values = table(drawn(Q, 200, 8))
    np.testing.assert_array_equal(loaded.logits(values), known_densities.logits(values))
    assert loaded.log_m(0.5) == known_densities.log_m(0.5)
    assert loaded.record == json.loads(json.dumps(known_densities.record))
    assert pickle.loads(pickle.dumps(loaded)).log_m(0.3) == loaded.log_m(0.3)


def test_the_same_critic_gives_the_same_bytes(known_densities, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_critic(tmp_path / name, known_densities)
    for name in (module.WEIGHTS_FILE, module.INPUTS_FILE):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def damage(folder, fitted, how):
    weights, inputs = folder / module.WEIGHTS_FILE, folder / module.INPUTS_FILE
    match how:
        case "no weights":
            weights.unlink()
        case "no inputs":
            inputs.unlink()
        case "cut":
            weights.write_bytes(weights.read_bytes()[:-7])
        case "not safetensors":
            weights.write_bytes(b"\x80\x04pickle")
        case "not JSON":
            inputs.write_text("{")
        case "schema":
            inputs.write_text(json.dumps({**json.loads(inputs.read_text()), "schema": 9}))
        case "no record":
            inputs.write_text(json.dumps({"schema": 1, "inputs": fitted.inputs.to_json()}))
        case "other inputs":
            data = json.loads(inputs.read_text())
            data["inputs"]["facts"]["heavy_atoms"] += 1
            inputs.write_text(json.dumps(data))
        case "NaN":
            broken = fitted.weights.copy()
            broken[0, 0] = np.nan
            save_critic(folder, replace(fitted, weights=broken))
        case "infinity":
            save_critic(folder, replace(fitted, intercepts=fitted.intercepts + np.inf))
        case "disorder":
            save_critic(folder, replace(fitted, quantiles=fitted.quantiles[::-1].copy()))
        case "two regressions":
            save_critic(
                folder,
                replace(fitted, weights=fitted.weights[:2], intercepts=fitted.intercepts[:2]),
            )
        case "large":
            with open(weights, "ab") as handle:
                handle.truncate(module.MAX_BYTES + 1)


@pytest.mark.parametrize(
    "how",
    [
        "no weights", "no inputs", "cut", "not safetensors", "not JSON", "schema", "no record",
        "other inputs", "NaN", "infinity", "disorder", "two regressions", "large",
    ],
)  # fmt: skip
def test_a_damaged_critic_is_refused(known_densities, tmp_path, how):
    save_critic(tmp_path, known_densities)
    damage(tmp_path, known_densities, how)
    with pytest.raises(ModelFolderError):
        load_critic(tmp_path)


@pytest.mark.parametrize("kinds", [1, 2])
def test_too_few_different_molecules_give_no_critic(kinds):
    """Stereoisomers of one scaffold, or a model that always writes the same."""
    one = [describe(Chem.MolFromSmiles(smiles)) for smiles in ("CCO", "CCN")[:kinds]]
    many = [describe(Chem.MolFromSmiles(f"{'C' * i}O")) for i in range(2, 62)]
    same = FactTable.of(one * (240 // kinds))
    with pytest.raises(InputError, match="too few different molecules"):
        fit_critic(FactTable.of(many), same)
    with pytest.raises(InputError, match="too few different molecules"):
        fit_critic(FactTable.of(one * (60 // kinds)), FactTable.of(many * 4))
