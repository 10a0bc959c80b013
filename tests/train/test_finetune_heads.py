"""What a model that is trained on says of new columns before its first step."""

import copy

import numpy as np
import pytest
import torch

from molvae import chem
from molvae.chem.properties import compute
from molvae.config import DataConfig, load_config
from molvae.data.dataset import Dataset
from molvae.data.prepare import prepare
from molvae.model.checkpoint import load_model
from molvae.model.conditions import ConditionSet
from molvae.runtime.randomness import Draws
from molvae.runtime.statistics import auc
from molvae.train.finetune import adapted_conditions, first_network
from molvae.train.finetune_heads import fit_new_heads, ridge


def test_ridge_finds_a_linear_rule_and_its_noise():
    rng = np.random.default_rng(0)
    features = rng.normal(3.0, [1.0, 5.0, 0.1, 2.0], size=(4000, 4))
    truth = np.asarray([0.5, -0.2, 3.0, 0.0])
    values = features @ truth + 7 + rng.normal(0, 0.3, 4000)
    weight, bias, error, held, held_out = ridge(features, values)
    np.testing.assert_allclose(weight * features.std(axis=0), truth * [1, 5, 0.1, 2], atol=0.05)
    middle = features.mean(axis=0)
    assert bias + weight @ middle == pytest.approx(7 + truth @ middle, abs=0.03)
    assert error == pytest.approx(0.3, abs=0.02)
    assert held.sum() == 800
    assert np.sqrt(np.mean((held_out - values[held]) ** 2)) == pytest.approx(error)


def test_ridge_gives_no_weight_to_irrelevant_features():
    rng = np.random.default_rng(1)
    features, values = rng.normal(size=(100, 60)), rng.normal(size=100)
    weight, _, error, _, _ = ridge(features, values)
    plain = np.linalg.lstsq(features, values - values.mean(), rcond=None)[0]
    assert np.linalg.norm(weight) < 0.5 * np.linalg.norm(plain)
    assert error < 1.5 * values.std()
    weight, bias, error, _, _ = ridge(np.ones((20, 3)), np.full(20, 2.5))  # nothing varies
    assert (weight.tolist(), bias, error) == ([0, 0, 0], 2.5, 0)


@pytest.fixture(scope="module")
def columns_dataset(tmp_path_factory, demo_csv):
    """The demo molecules with columns that follow from logP: numbers, few numbers, yes or no."""
    folder = tmp_path_factory.mktemp("columns")
    rows = demo_csv.read_text(encoding="utf-8").splitlines()[1:]
    lines = ["smiles,twice,few,active,label"]
    for i, row in enumerate(rows):
        smiles = row.split(",")[0]
        logp = compute(chem.parse(smiles), ["logp"])[0]
        few = f"{logp}" if i < 5 else ""
        active = logp > 2
        word, label = ("yes", 3) if active else ("no", 2)
        lines.append(f"{smiles},{2 * logp + 1},{few},{word},{label}")
    (folder / "c.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    names = ("twice", "few", "active", "label")
    config = DataConfig(properties={n: n for n in names}, conditions=("logp", *names))
    prepare([folder / "c.csv"], folder / "c.ds", config, workers=0)
    return folder / "c.ds"


def test_new_columns_are_predicted_before_the_first_step(tiny_run, columns_dataset):
    model, dataset = load_model(tiny_run), Dataset(columns_dataset)
    dataset.translate(model.vocabulary.extended(dataset.vocabulary.tokens))
    names = ["logp", "twice", "few", "active", "label"]
    columns = [dataset.names.index(name) for name in names]
    fitted = ConditionSet.fit(names, dataset.values[:, columns], dataset.kinds)
    conditions = adapted_conditions(fitted, model)
    config = load_config(fine_tuning=True).model_copy(update={"model": model.network.config})
    network = first_network(
        config, dataset.vocabulary, dataset.constraints, conditions, model,
        dataset.token_counts("train"),
    )  # fmt: skip
    before = copy.deepcopy(network.head.state_dict())
    known = model.conditions.names
    fit_new_heads(network, conditions, known, dataset, columns, Draws(0))
    batch = dataset.batch(dataset.part("train"))
    with torch.no_grad():
        z = network.encode(torch.from_numpy(batch.targets), torch.from_numpy(batch.lengths)).mean
        mean, log_scale = network.predict(z)
    values, _ = conditions.standardize(batch.values[:, columns])
    error = np.abs(mean[:, 1].numpy() - values[:, 1])
    assert error.mean() < 0.9 * np.abs(values[:, 1]).mean()
    squares = float((error**2).mean())
    assert squares**0.5 < 1.2 * float(log_scale[0, 1].exp())
    for name, value in network.head.state_dict().items():
        changed = [i for i in range(len(value)) if not torch.equal(value[i], before[name][i])]
        assert changed == ([1, 3, 4, 6, 8, 9] if name.startswith("2.") else []), name
    # The same label ranks alike as yes/no and as a number; of the former the head gives a logit.
    yes = values[:, 3] > 0
    assert auc(mean[:, 3].numpy(), yes) == pytest.approx(auc(mean[:, 4].numpy(), yes), abs=0.01)
    assert auc(mean[:, 3].numpy(), yes) > 0.7
    assert float(torch.sigmoid(mean[:, 3]).mean()) == pytest.approx(yes.mean(), abs=0.1)


def test_nothing_new_changes_nothing(tiny_run, tiny_dataset):
    model, dataset = load_model(tiny_run), Dataset(tiny_dataset)
    names = model.conditions.names
    columns = [dataset.names.index(name) for name in names]
    before = copy.deepcopy(model.network.state_dict())
    fit_new_heads(model.network, model.conditions, names, dataset, columns, Draws(0))
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, before[name])
