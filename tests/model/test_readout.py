"""The readout and the forecast against plain loops and torch.distributions."""

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from molvae.config import ModelConfig
from molvae.model.cvae import CVAE
from molvae.model.loss import forecast_nll
from molvae.model.readout import Forecast, ForecastOutput, Readout

V, C, H, M, K, R = 7, 3, 8, 10, 5, 2
GRAMMAR = np.zeros((V, 4), dtype=np.int64)
SIZES = ModelConfig(
    latent_size=5, embedding_size=6, encoder_size=7, decoder_size=H, context_size=K, head_size=4,
    tally_size=4, attention_size=6, attention_heads=2, readout_size=10, forecast_rank=R,
)  # fmt: skip


def forecast_output(*shape):
    return ForecastOutput(
        torch.randn(*shape, C), 0.3 * torch.randn(*shape, C), torch.randn(*shape, C, R)
    )


def test_a_readout_is_a_layer_over_state_memory_and_context():
    readout = Readout(SIZES, V, M)
    x, memory, context = torch.randn(2, 6, H), torch.randn(2, 6, M), torch.randn(2, K)
    result = readout(x, memory, context.unsqueeze(1))
    for row in range(2):
        for step in range(6):
            parts = torch.cat([x[row, step], memory[row, step], context[row]])
            layers = (readout.from_state, readout.from_memory, readout.from_context)
            weight = torch.cat([layer.weight for layer in layers], dim=1)
            hidden = weight @ parts + readout.from_state.bias
            expected = readout.output.weight @ (hidden * torch.sigmoid(hidden))
            torch.testing.assert_close(result[row, step], expected, atol=1e-5, rtol=1e-5)


def test_scores_are_bayes_rule():
    """Up to a constant, gain · log N(y; mean + slope · e_v, spread²), summed over what is shown."""
    forecast = Forecast(SIZES, V, C, M)
    torch.nn.init.uniform_(forecast.gain, 0.2, 1.0)
    seen, y = forecast_output(4, 6), torch.randn(4, 1, C)
    seen = seen._replace(mean=y + torch.randn(4, 6, C).clamp(-2.9, 2.9))  # near enough
    mask = torch.tensor([[1.0, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1]]).unsqueeze(1)
    result = forecast.scores(seen, y, mask).log_softmax(dim=-1)
    expected = torch.zeros(4, 6, V)
    for token in range(V):
        mean = forecast.given(seen, torch.full((4, 6), token))
        nats = Normal(mean, seen.log_spread.exp()).log_prob(y.expand_as(mean))
        expected[..., token] = (nats * forecast.gain * mask).sum(dim=-1)
    torch.testing.assert_close(result, expected.log_softmax(dim=-1), atol=1e-4, rtol=1e-4)


def test_what_is_not_shown_has_no_say():
    forecast = Forecast(SIZES, V, C, M)
    seen, mask = forecast_output(2, 3), torch.zeros(2, 1, C)
    mask[..., 1] = 1
    a, b = torch.randn(2, 1, C), torch.randn(2, 1, C)
    b[..., 1] = a[..., 1]
    assert torch.equal(forecast.scores(seen, a, mask), forecast.scores(seen, b, mask))


def test_a_far_request_pulls_no_more_than_it_may():
    forecast = Forecast(SIZES, V, C, M)
    seen = forecast_output(2, 3)
    near, far = (
        forecast.scores(seen, torch.full((2, 1, C), y), torch.ones(2, 1, C)) for y in (1e2, 1e9)
    )
    assert torch.equal(near, far)
    assert torch.isfinite(far).all()


def test_the_loss_is_the_mean_over_tokens_of_known_values():
    mean, log_spread = torch.randn(3, 5, C), 0.3 * torch.randn(3, 5, C)
    lengths, values = torch.tensor([5, 2, 3]), torch.randn(3, C)
    known = torch.tensor([[1.0, 1, 1], [1, 0, 1], [0, 0, 0]])
    result = forecast_nll((mean, log_spread), lengths, values, known)
    for row, length in enumerate(lengths.tolist()):
        total = 0.0
        for step in range(length):
            for c in range(C):
                density = Normal(mean[row, step, c], log_spread[row, step, c].exp())
                total -= density.log_prob(values[row, c]).item() * known[row, c].item()
        assert result[row].item() == pytest.approx(total / length, rel=1e-5)


def test_the_forecast_does_not_see_the_conditions():
    """Else it would learn to repeat the request instead of what the molecule says."""
    network = CVAE(SIZES, V, C, GRAMMAR).eval()
    z, t, tokens = torch.randn(2, 5), torch.rand(2), torch.randint(3, V, (2, 6))
    result = []
    for _ in range(2):
        context = network.make_context(z, t, torch.randn(2, C), torch.ones(2, C))
        states = network.states(tokens, context)
        result.append(network.read(states, network.memory(states), context))
    assert torch.equal(result[0][1].mean, result[1][1].mean)
    assert not torch.equal(result[0][0], result[1][0])


def test_without_conditions_there_is_no_forecast():
    network = CVAE(SIZES, V, 0, GRAMMAR)
    assert network.forecast is None
    assert network.readout is not None
