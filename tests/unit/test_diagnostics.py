"""Rate, distortion and exact reconstruction against independent estimates."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from molvae.dataset import Dataset
from molvae.diagnostics import LEVELS, _noisy_posterior, figures
from molvae.model import Posterior, noisy_latent
from molvae.runtime import Draws


@pytest.fixture
def dataset(tiny_dataset):
    return Dataset(tiny_dataset)


def measure(model, dataset, n=40, reconstructions=40, **options):
    return figures(
        model.network, dataset, model.conditions, list(range(len(dataset.names))),
        dataset.part("train")[:n], reconstructions=reconstructions, draws=Draws(0), **options,
    )  # fmt: skip


@pytest.mark.parametrize("t", LEVELS)
def test_the_noisy_posterior_is_that_of_the_channel(t):
    posterior = Posterior(torch.tensor([[1.5, -2.0]]), torch.tensor([[-1.0, 0.7]]))
    z = posterior.sample(torch.randn(200_000, 2))
    mixed = noisy_latent(z, torch.full((len(z),), t), torch.randn(200_000, 2))
    mean, log_var = _noisy_posterior(posterior, t)
    torch.testing.assert_close(mixed.mean(dim=0), mean[0], rtol=0, atol=0.02)
    torch.testing.assert_close(mixed.var(dim=0), log_var[0].exp(), rtol=0, atol=0.04)


def test_rates_are_those_of_the_normal_distributions(tiny_model, dataset):
    found = measure(tiny_model, dataset, n=10)
    batch = dataset.batch(dataset.part("train")[:10])
    posterior = tiny_model.network.encode(
        torch.from_numpy(batch.targets), torch.from_numpy(batch.lengths)
    )
    for t in LEVELS:
        a = math.cos(math.pi * t / 2)
        scale = (a * a * posterior.log_var.exp() + 1 - a * a).sqrt()
        rate = kl_divergence(Normal(a * posterior.mean, scale), Normal(0.0, 1.0)).sum(dim=-1)
        assert found["R"][f"{t:g}"] == pytest.approx(rate.mean().item(), rel=1e-4, abs=1e-4)
    assert found["R"]["1"] == 0


def test_distortion_is_the_cost_of_the_tokens(tiny_model, dataset):
    item = dataset.part("train")[:1]
    found = figures(
        tiny_model.network, dataset, tiny_model.conditions, [0, 1, 2, 3], item,
        reconstructions=0, draws=Draws(0),
    )  # fmt: skip
    batch, network = dataset.batch(item), tiny_model.network
    zero = torch.zeros(1, len(tiny_model.conditions))
    context = network.make_context(torch.zeros(1, 16), torch.ones(1), zero, zero)
    log_p = network.decode(torch.from_numpy(batch.inputs), context).log_softmax(dim=-1)
    nats = -sum(log_p[0, i, token].item() for i, token in enumerate(batch.targets[0].tolist()))
    assert found["D"]["1"] == pytest.approx(nats, rel=1e-4)
    assert found["nats_per_token"] == pytest.approx(nats / batch.lengths[0], rel=1e-4)


def test_the_gap_adds_up(tiny_model, dataset):
    found = measure(tiny_model, dataset)
    assert found["gap"] == pytest.approx(found["R"]["0"] + found["D"]["0"] - found["D"]["1"])
    assert found["n"] == 40


def test_the_order_of_the_molecules_does_not_matter(tiny_model, dataset):
    items = dataset.part("train")[:30]
    options = {"reconstructions": 0, "draws": Draws(0)}
    args = (tiny_model.network, dataset, tiny_model.conditions, [0, 1, 2, 3])
    a, b = (figures(*args, order, **options) for order in (items, items[::-1]))
    assert a["D"] == pytest.approx(b["D"], rel=1e-5)


def rig(monkeypatch, rows_of):
    """Let the decoder give back these rows for the molecules of the batch."""
    batches = []
    real = Dataset.batch

    def remember(self, items):
        batches.append(real(self, items))
        return batches[-1]

    monkeypatch.setattr(Dataset, "batch", remember)
    monkeypatch.setattr(
        "molvae.diagnostics.decode_tokens",
        lambda *_, **__: torch.from_numpy(rows_of(batches[-1].targets)),
    )


def test_a_decoder_that_returns_the_truth_is_exact(tiny_model, dataset, monkeypatch):
    rig(monkeypatch, lambda targets: targets)
    assert measure(tiny_model, dataset)["exact"] == {
        "value": 1.0, "numerator": 40, "denominator": 40,
    }  # fmt: skip


def test_each_wrong_molecule_counts(tiny_model, dataset, monkeypatch):
    def spoil(targets):
        rows = targets.copy()
        rows[:7] = np.roll(targets, 1, axis=0)[:7]  # another molecule
        return rows

    rig(monkeypatch, spoil)
    assert measure(tiny_model, dataset)["exact"]["numerator"] == 33


def test_other_tokens_for_the_same_molecule_are_exact(tiny_model, dataset, monkeypatch):
    from rdkit.Chem import MolFromSmiles, MolToSmiles

    from molvae.chem import canonical_smiles
    from molvae.diagnostics import _same_molecule

    item = int(dataset.part("train")[0])
    truth = dataset.ids(item)
    smiles = dataset.vocabulary.decode(truth.tolist())
    mol = MolFromSmiles(smiles)
    writings = {MolToSmiles(mol, rootedAtAtom=a.GetIdx(), canonical=False) for a in mol.GetAtoms()}
    rows = [dataset.vocabulary.encode(text) for text in writings if canonical_smiles(text)]
    others = [row for row in rows if row.tolist() != truth.tolist()]
    assert others
    assert all(_same_molecule(dataset, row, truth) for row in others)
    assert not _same_molecule(dataset, truth[:-6], truth)


def test_head_errors_are_mean_distances_in_units(tiny_model, dataset):
    found = measure(tiny_model, dataset)["head"]
    items = dataset.part("train")[:40]
    batch = dataset.batch(items)
    posterior = tiny_model.network.encode(
        torch.from_numpy(batch.targets), torch.from_numpy(batch.lengths)
    )
    mean, _ = tiny_model.network.predict(posterior.mean)
    k = dataset.names.index("mw")
    condition = tiny_model.conditions["mw"]
    predicted = mean[:, k].detach().numpy() * condition.std + condition.mean
    errors = np.abs(predicted - dataset.values[items, k])
    assert found["mw"] == {"mae": pytest.approx(errors.mean(), rel=1e-3), "n": 40}
    known = int((~np.isnan(dataset.values[items][:, dataset.names.index("assay")])).sum())
    assert found["assay"]["n"] == known < 40


def test_bf16_figures_are_near_those_of_fp32(tiny_model, dataset):
    exact, rough = measure(tiny_model, dataset), measure(tiny_model, dataset, precision="bf16")
    assert rough["D"]["1"] == pytest.approx(exact["D"]["1"], rel=0.01)
    assert rough["R"]["0"] == pytest.approx(exact["R"]["0"], rel=0.02)
