"""What only a GPU would show: nothing in a step of the sampler or of a training waits for it.

Tensors on the device "meta" have no values, so whatever would read one from a GPU is an error.
"""

import copy
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from molvae.config import load_config
from molvae.data.dataset import Dataset
from molvae.generate import decoding
from molvae.generate.decoding import Guidance, decode_tokens
from molvae.model.checkpoint import load_model
from molvae.model.cvae import CVAE
from molvae.model.loss import Counts, LossWeights, elbo
from molvae.runtime.device import on_device
from molvae.runtime.randomness import Draws
from molvae.train.batches import drawn_batch, noise_levels

META = torch.device("meta")


@pytest.fixture
def no_autocast(monkeypatch):
    """The device "meta" has no autocast."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)


@pytest.fixture(scope="module")
def model(tiny_run):
    return load_model(tiny_run)


def given(model, network, device, count=40):
    """Contexts with and without conditions, and random numbers."""
    draws, items = Draws(3), np.arange(count)
    z = on_device(draws.normal("latent", items, network.config.latent_size), device)
    t = torch.full((count,), 0.8, device=device)
    shown = torch.ones(count, network.condition_count, device=device)
    uniform = on_device(draws.uniform("token", items, model.max_tokens), device)
    asked, free = network.make_context(z, t, 0.5 * shown, shown), network.make_context(z, t)
    return asked, Guidance(free, torch.full((count,), 1.5, device=device)), uniform


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("cutoff", [0.0, 0.01])
def test_a_step_of_the_sampler_waits_for_nothing(model, monkeypatch, no_autocast, guided, cutoff):
    monkeypatch.setattr(CVAE, "uses_forecast", lambda self, context: True)  # once per batch
    network = copy.deepcopy(model.network).to(META)
    context, guidance, uniform = given(model, network, META)
    steps = decoding.LOOKS - 1
    tokens = decode_tokens(
        network, context, steps, temperature=1.0, uniform=uniform, cutoff=cutoff,
        guidance=guidance if guided else None, never=np.asarray([5, 6]),
    )  # fmt: skip
    assert tokens.shape == (40, steps)
    with pytest.raises(RuntimeError, match="meta"):  # the first look would wait
        decode_tokens(network, context, steps + 1, temperature=1.0, uniform=uniform)


@pytest.mark.parametrize("guided", [False, True])
def test_looking_less_often_for_finished_rows_changes_no_molecule(model, monkeypatch, guided):
    context, guidance, uniform = given(model, model.network, torch.device("cpu"), 150)
    texts = []
    for looks in (1, 8):
        monkeypatch.setattr(decoding, "CPU_LOOKS", looks)
        tokens = decode_tokens(
            model.network, context, model.max_tokens, temperature=1.0, uniform=uniform,
            guidance=guidance if guided else None, never=np.asarray([5]),
        )  # fmt: skip
        texts.append([model.vocabulary.selfies(row) for row in tokens.tolist()])
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 20


@pytest.mark.parametrize("guided", [False, True])
def test_how_many_rows_leave_at_a_time_changes_no_molecule(model, monkeypatch, guided):
    context, guidance, uniform = given(model, model.network, torch.device("cpu"), 75)
    rows, keep, texts = [], decoding.Steps.keep, []
    monkeypatch.setattr(
        decoding.Steps, "keep", lambda self, stay: rows.append(int(stay.sum())) or keep(self, stay)
    )
    for multiple in (32, 8):
        monkeypatch.setattr(decoding, "FP32_MULTIPLE", multiple)
        rows.clear()
        tokens = decode_tokens(
            model.network, context, model.max_tokens, temperature=1.0, uniform=uniform,
            guidance=guidance if guided else None, never=np.asarray([5]),
        )  # fmt: skip
        texts.append([model.vocabulary.selfies(row) for row in tokens.tolist()])
        assert rows[-1] == multiple
        assert all(count % multiple == 0 for count in rows)
    assert texts[0] == texts[1]


def test_tokens_that_are_never_drawn(model):
    context, guidance, _ = given(model, model.network, torch.device("cpu"))
    with torch.no_grad():
        for steps in (
            decoding.Steps(model.network, context, None, np.asarray([5])),
            decoding.Steps(model.network, context, guidance, np.asarray([5])),
        ):
            logits = steps(torch.full((40,), 1))
            assert torch.isinf(logits[:, [0, 1, 5]]).all()
            assert torch.isfinite(logits[:, 2:5]).all()


def test_a_training_step_waits_for_nothing(model, tiny_dataset, no_autocast):
    dataset, config, draws = Dataset(tiny_dataset), load_config(preset="tiny"), Draws(0)
    items = dataset.part("train")[:32]
    levels = noise_levels(items, config.train, draws, epoch=0)
    columns = [dataset.names.index(name) for name in model.conditions.names]
    arguments = (dataset.batch(items), levels, columns, model.conditions, config, draws)
    batch = drawn_batch(*arguments, epoch=0, device=torch.device("cpu"))
    assert batch.encoded.tolist() == torch.nonzero(batch.t < 1).squeeze(1).tolist()
    network = copy.deepcopy(model.network).to(META)
    batch = drawn_batch(
        *arguments, epoch=0, device=META, features=copy.deepcopy(model.network).features
    )
    counts = Counts(molecules=len(items), encoded=int((levels < 1).sum()))
    terms = elbo(network(batch), batch, LossWeights(1.0, 1.0, 1.0, 0.1), counts)
    terms.total.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    assert all(p.grad is None or p.grad.is_meta for p in network.parameters())
