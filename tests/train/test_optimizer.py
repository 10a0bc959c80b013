"""Muon against singular value decompositions and torch's own optimizers."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from molvae.config import ModelConfig, TrainConfig
from molvae.model.cvae import CVAE
from molvae.train.distributed import World
from molvae.train.optimizer import Muon, make_optimizer, orthogonal, shares

SIZES = ModelConfig(
    latent_size=5, embedding_size=6, encoder_size=7, decoder_size=8, decoder_layers=2,
    context_size=9, head_size=4, tally_size=3, attention_size=6, readout_size=10,
)  # fmt: skip


def network(**changes):
    torch.manual_seed(0)
    return CVAE(SIZES.model_copy(update=changes), 11, 3, np.zeros((11, 4), dtype=np.int64))


def with_gradients(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize("shape", [(4, 6, 6), (1, 20, 7), (2, 5, 30)])
def test_singular_values_become_one_and_vectors_stay(shape):
    torch.manual_seed(0)
    matrices = torch.randn(shape, dtype=torch.float64)
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    turned = left.mT @ orthogonal(matrices) @ right.mT
    values = turned.diagonal(dim1=-2, dim2=-1)
    assert values.min() > 0.6
    assert values.max() < 1.25
    torch.testing.assert_close(turned, torch.diag_embed(values), atol=1e-9, rtol=0)


def test_a_matrix_of_zeros_stays_one():
    assert torch.equal(orthogonal(torch.zeros(1, 3, 4)), torch.zeros(1, 3, 4))


def test_half_precision_turns_almost_as_well():
    torch.manual_seed(0)
    matrices = torch.randn(1, 64, 128)
    exact, rough = orthogonal(matrices), orthogonal(matrices.bfloat16()).float()
    assert (exact - rough).norm() < 0.03 * exact.norm()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"modulation": False},
        {"derivation": False},
    ],
)
def test_matrices_between_hidden_layers_are_those_without_an_end(changes):
    """Neither of their sides counts tokens or conditions (but the first layer of the context)."""
    model = network(**changes)
    named = dict(model.named_parameters())
    ends = {"embedding", "derivation", "output", "readout.output", "head.2"}
    ends |= {f"forecast.{name}" for name in ("mean", "log_spread", "slope", "token")}
    expected = {
        name
        for name, p in named.items()
        if p.ndim == 2 and name.removesuffix(".weight") not in ends
    }
    parts = model.hidden_matrices()
    assert set(parts) == expected
    for name, count in parts.items():
        assert named[name].shape[0] % count == 0


def test_every_weight_is_given_once():
    model = network()
    optimizer = make_optimizer(model, TrainConfig(), "fp32")
    given = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(given) == sorted(id(p) for p in model.parameters())


def test_the_rest_goes_by_adamw():
    ours, theirs = network(), network()
    a = Muon(ours, rate=1e-2, weight_decay=0.1)
    rest = [n for n, _ in ours.named_parameters() if n not in ours.hidden_matrices()]
    named = dict(theirs.named_parameters())
    b = torch.optim.AdamW(
        [
            {"params": [named[n] for n in rest if named[n].ndim > 1]},
            {"params": [named[n] for n in rest if named[n].ndim <= 1], "weight_decay": 0.0},
        ],
        lr=1e-2, betas=(0.9, 0.98), weight_decay=0.1,
    )  # fmt: skip
    for seed in range(5):
        with_gradients(ours, seed), with_gradients(theirs, seed)
        a.step(), b.step()
    moved = dict(ours.named_parameters())
    for name in rest:
        torch.testing.assert_close(moved[name], named[name])


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_matrices_go_as_by_the_muon_of_torch():
    """Theirs rounds to 16 bits; each gate of a layer is a separate matrix."""
    ours = network()
    start = {name: p.detach().clone() for name, p in ours.named_parameters()}
    optimizer = Muon(ours, rate=1e-2, weight_decay=0.1)
    pieces = {
        name: [nn.Parameter(part.clone()) for part in start[name].chunk(count)]
        for name, count in ours.hidden_matrices().items()
    }
    theirs = torch.optim.Muon(
        [part for parts in pieces.values() for part in parts],
        lr=1e-2, weight_decay=0.1, momentum=0.95, nesterov=True, adjust_lr_fn="match_rms_adamw",
    )  # fmt: skip
    for seed in range(4):
        with_gradients(ours, seed)
        named = dict(ours.named_parameters())
        for name, parts in pieces.items():
            for part, gradient in zip(parts, named[name].grad.chunk(len(parts)), strict=True):
                part.grad = gradient.clone()
        optimizer.step(), theirs.step()
    for name, parts in pieces.items():
        moved = named[name] - start[name]
        expected = torch.cat(parts) - start[name]
        assert (moved - expected).norm() < 0.05 * expected.norm(), name


def test_steps_are_as_long_as_those_of_adamw():
    """An element moves by .2 rates in the root mean square, whatever the gradient's size."""
    for scale in (1e-4, 1e4):
        model = with_gradients(network(decoder_size=64, embedding_size=64))
        weight = model.decoder[1].weight_hh_l0
        before = weight.detach().clone()
        weight.grad *= scale
        Muon(model, rate=1e-3, weight_decay=0.0).step()
        moved = (weight - before).square().mean().sqrt().item()
        assert moved == pytest.approx(0.2e-3, rel=0.25)
        assert math.isfinite(moved)


def test_its_state_is_saved_and_read():
    ours, other = network(), network()
    a, b = (make_optimizer(m, TrainConfig(), "fp32") for m in (ours, other))
    with_gradients(ours, 1)
    a.step()
    other.load_state_dict(ours.state_dict())
    b.load_state_dict(copy.deepcopy(a.state_dict()))
    for model, optimizer in ((ours, a), (other, b)):
        with_gradients(model, 2)
        optimizer.step()
    for p, q in zip(ours.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)


def test_adamw_alone():
    assert isinstance(
        make_optimizer(network(), TrainConfig(optimizer="adamw"), "fp32"), torch.optim.AdamW
    )


def test_matrices_are_shared_evenly():
    """The greatest share is at most the mean and one matrix; every matrix has an owner."""
    shapes = [(3, 512, 512), (3, 512, 128), (1, 256, 512), (3, 256, 256), (3, 256, 256)]
    owners = shares(shapes, 2)
    assert set(owners) == {0, 1}
    assert owners[0] != owners[3] == owners[4]
    assert shares(shapes, 1) == [0] * 5
    assert set(shares(shapes, 9)) == {0, 1, 2, 3, 4}


def test_a_share_is_handed_out():
    """What a process does not own comes from the one that does."""

    class Other(World):
        """The second of two, whose first process answers with ones."""

        def hand_out(self, tensors, owner):
            if owner == 0:
                for each in tensors:
                    each.fill_(1.0)

    model = with_gradients(network())
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    alone = with_gradients(network())
    Muon(alone, rate=1e-2, weight_decay=0.0).step()
    Muon(model, rate=1e-2, weight_decay=0.0, world=Other(1, 2)).step()
    named, parts = dict(model.named_parameters()), model.hidden_matrices()
    shapes = [named[n].unflatten(0, (k, -1)).shape for n, k in parts.items()]
    owners = shares(shapes, 2)
    assert set(owners) == {0, 1}
    expected = dict(alone.named_parameters())
    for name, shape, owner in zip(parts, shapes, owners, strict=True):
        if owner == 1:
            assert torch.equal(named[name], expected[name])
        else:
            step = torch.full_like(named[name], -1e-2 * 0.2 * max(shape[-2:]) ** 0.5)
            torch.testing.assert_close(named[name] - start[name], step)
