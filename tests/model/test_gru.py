"""The fast GRU against torch.nn.GRU, which is what it must be equal to."""

import pytest
import torch
from torch.nn import functional

from molvae.model.gru import GRU, compute_dtype, recurrence

V, E, H, B, T = 11, 6, 8, 5, 9


def case(dtype=torch.float32, seed=0):
    """A layer, tokens, an embedding, a first state, a shift, and weights of every output."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()

    torch.manual_seed(seed)
    gru = GRU(E, H).to(dtype)
    tokens = torch.randint(V, (B, T), generator=generator)
    return gru, tokens, normal(V, E), normal(B, H), normal(B, E), normal(B, T, H).detach()


def gradients(gru, leaves, output, weights):
    wanted = [*leaves, *gru.parameters()]
    return torch.autograd.grad((output.to(weights.dtype) * weights).sum(), wanted)


@pytest.mark.parametrize("shifted", [True, False])
def test_over_tokens_is_torchs_gru_of_the_embedded_tokens(shifted):
    gru, tokens, embedding, state, shift, weights = case(torch.float64)
    leaves = [embedding, state, *([shift] if shifted else [])]
    ours = gru.over_tokens(tokens, embedding, state, shift if shifted else None)
    x = functional.embedding(tokens, embedding)
    theirs = gru(x + shift.unsqueeze(1) if shifted else x, state.unsqueeze(0))[0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    for a, b in zip(
        gradients(gru, leaves, ours, weights), gradients(gru, leaves, theirs, weights), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("shifted", [True, False])
def test_over_states_is_torchs_gru(shifted):
    gru, _, _, state, shift, weights = case(torch.float64)
    x = torch.randn(B, T, E, dtype=torch.float64, requires_grad=True)
    leaves = [x, state, *([shift] if shifted else [])]
    ours = gru.over_states(x, state, shift if shifted else None)
    theirs = gru(x + shift.unsqueeze(1) if shifted else x, state.unsqueeze(0))[0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    for a, b in zip(
        gradients(gru, leaves, ours, weights), gradients(gru, leaves, theirs, weights), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def test_what_runs_on_other_devices_is_the_same_function():
    gru, tokens, embedding, state, shift, _ = case(torch.float64)
    x = functional.embedding(tokens, embedding)
    library = gru._library(x, state, shift)
    torch.testing.assert_close(gru.over_tokens(tokens, embedding, state, shift), library)
    torch.testing.assert_close(gru.over_states(x, state, shift), library)


def test_in_bf16_states_and_gradients_are_close_to_fp32():
    gru, tokens, embedding, state, shift, weights = case()
    leaves = [embedding, state, shift]
    exact = gru.over_tokens(tokens, embedding, state, shift)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = gru.over_tokens(tokens, embedding, state, shift)
    assert rounded.dtype is torch.bfloat16
    assert (rounded - exact).abs().max() < 0.03  # states are in (-1, 1), bf16 has 8 bits
    pairs = zip(
        gradients(gru, leaves, exact, weights), gradients(gru, leaves, rounded, weights),
        strict=True,
    )  # fmt: skip
    assert all((a - b).norm() < 0.03 * a.norm() for a, b in pairs)


def test_the_gradient_agrees_with_finite_differences():
    gru, tokens, embedding, state, shift, _ = case(torch.float64)
    assert torch.autograd.gradcheck(
        lambda e, s, o: gru.over_tokens(tokens, e, s, o), (embedding, state, shift)
    )


def test_without_gradients():
    gru, tokens, embedding, state, *_ = case()
    with torch.no_grad():
        states = gru.over_tokens(tokens, embedding, state)
    assert not states.requires_grad
    torch.testing.assert_close(states, gru.over_tokens(tokens, embedding, state).detach())


def test_one_step_and_no_molecules():
    gru, tokens, embedding, state, *_ = case()
    assert gru.over_tokens(tokens[:, :1], embedding, state).shape == (B, 1, H)
    assert gru.over_tokens(tokens[:0], embedding, state[:0]).shape == (0, T, H)
    gru.over_tokens(tokens[:0], embedding, state[:0]).sum().backward()


def test_the_type_of_products():
    x = torch.zeros(1)
    assert compute_dtype(x) is torch.float32
    assert compute_dtype(x.double()) is torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert compute_dtype(x) is torch.bfloat16


def test_a_recurrence_by_hand():
    """One unit, one step, all numbers written out."""
    one = torch.ones(1, 1, dtype=torch.float64)
    inputs = torch.tensor([[[0.1, 0.2, 0.3]]], dtype=torch.float64)
    weight = torch.tensor([[0.5], [-0.5], [2.0]], dtype=torch.float64)
    bias = torch.tensor([0.01, 0.02, 0.03], dtype=torch.float64)
    offset = torch.tensor([[0.4, 0.6, -0.7]], dtype=torch.float64)
    r = 1 / (1 + torch.tensor(-(0.1 + 0.4 + 0.5 + 0.01), dtype=torch.float64).exp())
    z = 1 / (1 + torch.tensor(-(0.2 + 0.6 - 0.5 + 0.02), dtype=torch.float64).exp())
    n = torch.tanh(0.3 - 0.7 + r * (2.0 + 0.03))
    result = recurrence(inputs, None, offset, one, weight, bias)
    torch.testing.assert_close(result.squeeze(), (1 - z) * n + z * 1.0)
