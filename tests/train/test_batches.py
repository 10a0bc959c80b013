"""What training adds to a batch: shares, subsets, and nothing where there is no value."""

import numpy as np
import pytest
import torch

from molvae.config import load_config
from molvae.data.dataset import Dataset
from molvae.model.conditions import ConditionSet
from molvae.runtime.randomness import Draws
from molvae.train.batches import drawn_batch, noise_levels, shown

OPTIONS = load_config(preset="tiny").train
DRAWS = Draws(3)


def drawn(dataset, **changes):
    items = dataset.part("train")
    config = load_config(preset="tiny", overrides=changes)
    columns = list(range(len(dataset.names)))
    conditions = ConditionSet.fit(dataset.names, np.asarray(dataset.values[items]), dataset.kinds)
    batch = dataset.batch(items[:50])
    device = torch.device("cpu")
    levels = noise_levels(batch.items, config.train, DRAWS, epoch=0)
    return batch, drawn_batch(
        batch, levels, columns, conditions, config, DRAWS, epoch=0, device=device
    )


def test_noise_levels_come_in_the_configured_shares():
    t = noise_levels(np.arange(20_000), OPTIONS, DRAWS, epoch=0)
    assert (t == 1).mean() == pytest.approx(0.4, abs=0.015)
    assert (t == 0).mean() == pytest.approx(0.3, abs=0.015)
    between = t[(t > 0) & (t < 1)]
    assert np.quantile(between, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.03)


def test_molecules_show_every_number_of_conditions():
    visible = shown(np.arange(20_000), 4, OPTIONS, DRAWS, epoch=0)
    share = np.bincount(visible.sum(axis=1), minlength=5) / len(visible)
    assert share[0] > 0.2  # a fifth see none, and some of the rest drew none
    assert (share > 0.02).all()


def test_missing_values_are_never_shown(tiny_dataset):
    dataset = Dataset(tiny_dataset)
    assay = dataset.names.index("assay")
    batch, made = drawn(dataset)
    missing = np.isnan(batch.values[:, assay])
    assert missing.any()
    assert not made.known.numpy()[missing, assay].any()
    assert not made.mask.numpy()[missing, assay].any()
    assert np.isfinite(made.conditions.numpy()).all()


def test_each_epoch_has_new_draws():
    items = np.arange(200)
    first, second = (noise_levels(items, OPTIONS, DRAWS, epoch=e) for e in (0, 1))
    assert (first != second).any()
    first, second = (shown(items, 4, OPTIONS, DRAWS, epoch=e) for e in (0, 1))
    assert (first != second).any()


def test_dropout_keeps_the_mean(tiny_dataset):
    batch, made = drawn(Dataset(tiny_dataset), **{"model.dropout": 0.25})
    assert set(np.unique(made.dropout.numpy()).round(4)) == {0.0, np.float32(1.3333)}
    assert made.dropout.mean().item() == pytest.approx(1.0, abs=0.05)
    assert (made.inputs.numpy() == batch.inputs).all()
    assert (made.targets.numpy() == batch.targets).all()
