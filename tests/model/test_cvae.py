"""The network against independent derivations; shapes as its docstrings state them."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from molvae.chem.selfies import constraints
from molvae.chem.vocabulary import Vocabulary, grammar_table
from molvae.config import ModelConfig
from molvae.data.dataset import pad_tokens
from molvae.model.cvae import CVAE, noisy_latent
from molvae.model.loss import LossWeights, elbo, kl_divergence, reconstruction
from molvae.model.records import Posterior, TrainingBatch

VOCABULARY = Vocabulary.of_symbols(
    ["[C]", "[=C]", "[N]", "[O]", "[Branch1]", "[=Branch1]", "[Ring1]", "[Ring2]"]
)
GRAMMAR = grammar_table(VOCABULARY.tokens, constraints())
V, C, Z = len(VOCABULARY), 3, 5
SIZES = ModelConfig(
    latent_size=Z, embedding_size=6, encoder_size=7, decoder_size=8, decoder_layers=2,
    context_size=9, head_size=4, tally_size=3, attention_size=6, readout_size=10, forecast_rank=2,
)  # fmt: skip
KINDS = {
    "all": {}, "rigid": {"modulation": False}, "tokens": {"derivation": False},
}  # fmt: skip


@pytest.fixture(params=list(KINDS))
def network(request):
    network = CVAE(SIZES.model_copy(update=KINDS[request.param]), V, C, GRAMMAR).eval()
    if network.derivation is not None:  # as if trained: at first they have no say
        nn.init.normal_(network.derivation.weight, std=0.3)
    return network


def rows(*lengths, seed=0):
    """Token rows of these lengths, padded: inputs, targets, lengths."""
    rng = np.random.default_rng(seed)
    return tuple(map(torch.from_numpy, pad_tokens([rng.integers(3, V, n) for n in lengths])))


def random_context(network, n):
    """Contexts of random latents, noise levels and conditions."""
    z, t = torch.randn(n, Z), torch.rand(n)
    return network.make_context(z, t, torch.randn(n, C), torch.ones(n, C))


def forward(network, inputs, targets, lengths, t):
    """The output of a training pass, and its batch."""
    n = len(lengths)
    batch = TrainingBatch(
        inputs, targets, lengths, t, torch.randn(n, C), torch.ones(n, C), torch.ones(n, C),
        torch.tensor([False, True, False]), torch.randn(n, Z), torch.randn(n, Z),
    )  # fmt: skip
    return network(batch), batch


def loss(output, batch):
    return elbo(output, batch, LossWeights(kl=0.5, head=0.5))


def test_outputs_have_the_stated_shapes(network):
    inputs, targets, lengths = rows(4, 9, 2)
    output, _ = forward(network, inputs, targets, lengths, torch.tensor([0.0, 1.0, 0.5]))
    assert output.logits.shape == (3, 10, V)
    assert output.posterior.mean.shape == output.posterior.log_var.shape == (2, Z)
    assert output.head_mean.shape == output.head_log_scale.shape == (2, C)
    assert output.encoded.tolist() == [0, 2]
    context = random_context(network, 3)
    assert context.request.shape == context.latent.shape == (3, SIZES.context_size)
    assert context.conditions.shape == context.mask.shape == (3, C)
    assert context.size == 3
    assert network.initial_state(context).shape == (2, 3, SIZES.decoder_size)
    assert [tuple(s.shape) for s in network.shifts(context)] == [(3, 6), (3, 8)]


def test_encoder_equals_a_packed_bidirectional_gru(network):
    reference = nn.GRU(6, 7, batch_first=True, bidirectional=True)
    weights = dict(network.encoder_forward.state_dict())
    weights |= {f"{k}_reverse": v for k, v in network.encoder_backward.state_dict().items()}
    reference.load_state_dict(weights)
    _, targets, lengths = rows(12, 1, 7, 30, 0)
    x = network.embedding(targets)
    if network.derivation is not None:
        x = x + network.derivation.weight[network.features(targets)].sum(-2)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    _, last = reference(packed)
    mean, log_var = network.posterior(torch.cat([last[0], last[1]], dim=-1)).chunk(2, dim=-1)
    latents = network.encode(targets, lengths)
    torch.testing.assert_close(latents.mean, mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(latents.log_var, log_var, rtol=0, atol=1e-5)


def test_padding_and_company_change_nothing(network):
    inputs, targets, lengths = rows(5, 40, 17, 3)
    context = random_context(network, 4)
    logits = network.decode(inputs, context)
    nats = reconstruction(logits, targets, lengths)
    posterior = network.encode(targets, lengths)
    for i, length in enumerate(lengths.tolist()):
        one = slice(i, i + 1)
        alone = network.decode(inputs[one, :length], context.rows(one))
        torch.testing.assert_close(alone, logits[one, :length], rtol=0, atol=1e-5)
        single = network.encode(targets[one, :length], lengths[one])
        torch.testing.assert_close(single.mean, posterior.mean[one], rtol=0, atol=1e-5)
        torch.testing.assert_close(single.log_var, posterior.log_var[one], rtol=0, atol=1e-5)
        torch.testing.assert_close(
            reconstruction(alone, targets[one, :length], lengths[one]), nats[one], rtol=0, atol=1e-4
        )


def test_bf16_stays_within_a_hundredth_of_fp32(network):
    inputs, targets, lengths = rows(20, 33)
    context = random_context(network, 2)
    exact, posterior = network.decode(inputs, context), network.encode(targets, lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, rough_posterior = network.decode(inputs, context), network.encode(targets, lengths)
    assert rough.dtype == torch.float32  # the last sum is in full precision
    assert not torch.equal(rough, exact)
    assert rough_posterior.mean.dtype == torch.float32
    torch.testing.assert_close(rough.float(), exact, rtol=0, atol=0.01)
    torch.testing.assert_close(rough_posterior.mean, posterior.mean, rtol=0, atol=0.01)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.5, 1.0])
def test_the_channel_keeps_a_standard_normal_as_it_is(t):
    z, noise = torch.randn(2, 100_000, dtype=torch.float64)
    mixed = noisy_latent(z.unsqueeze(-1), torch.full((len(z),), t), noise.unsqueeze(-1))
    assert abs(mixed.mean()) < 0.02
    assert mixed.var() == pytest.approx(1, abs=0.02)
    correlation = (mixed.squeeze(-1) * z).mean()
    assert correlation == pytest.approx(math.cos(math.pi * t / 2), abs=0.02)


def test_the_latent_vanishes_exactly_at_pure_noise(network):
    t, known = torch.ones(4), torch.ones(4, C)
    values = torch.randn(4, C)
    a = network.make_context(torch.randn(4, Z) * 1e6, t, values, known)
    b = network.make_context(torch.randn(4, Z), t, values, known)
    assert all(map(torch.equal, a, b))
    c = network.make_context(torch.randn(4, Z), t * 0.99, values, known)
    assert not torch.equal(a.request, c.request)
    assert not torch.equal(a.latent, c.latent)


def test_a_hidden_condition_has_no_influence(network):
    z, t = torch.randn(4, Z), torch.rand(4)
    mask = torch.tensor([1.0, 0.0, 1.0]).expand(4, C)
    values = torch.randn(4, C)
    other = values.clone()
    other[:, 1] = 1e6
    a, b = (network.make_context(z, t, given, mask) for given in (values, other))
    assert all(map(torch.equal, a, b))


@torch.no_grad()
def test_single_steps_give_the_logits_of_teacher_forcing(network):
    inputs, _, _ = rows(12, 12)
    context = random_context(network, 2)
    together = network.decode(inputs, context)
    decoding = network.decoding(context)
    for i in range(inputs.shape[1]):
        logits = decoding(inputs[:, i])
        torch.testing.assert_close(logits, together[:, i], rtol=0, atol=1e-5)


@torch.no_grad()
def test_rows_that_stay_or_are_taken_twice_continue_unchanged(network):
    inputs, _, _ = rows(12, 12, 12)
    context = random_context(network, 3)
    together = network.decode(inputs, context)
    decoding = network.decoding(context)
    decoding(inputs[:, 0])
    chosen = torch.tensor([2, 0, 2])
    decoding.keep(chosen)
    for i in range(1, inputs.shape[1]):
        logits = decoding(inputs[chosen, i])
        torch.testing.assert_close(logits, together[chosen, i], rtol=0, atol=1e-5)


def test_gradients_reach_every_parameter(network):
    inputs, targets, lengths = rows(8, 3, 15, 6)
    t = torch.tensor([0.0, 1.0, 0.4, 0.9])
    loss(*forward(network, inputs, targets, lengths, t)).total.backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_a_batch_of_pure_noise_trains_the_decoder_alone(network):
    inputs, targets, lengths = rows(8, 3)
    terms = loss(*forward(network, inputs, targets, lengths, torch.ones(2)))
    terms.total.backward()
    assert terms.kl == terms.head == 0
    assert terms.total == terms.reconstruction  # the forecast has no weight
    assert network.output.weight.grad.any()
    encoder = network.encoder_forward.weight_hh_l0.grad
    # There, but zero: processes that average gradients would wait for a missing one.
    assert encoder is not None
    assert not encoder.any()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_posterior_samples_have_its_mean_and_variance():
    posterior = Posterior(torch.tensor([[2.0]]), torch.tensor([[math.log(9.0)]]))
    sample = posterior.sample(torch.randn(100_000, 1))
    assert sample.mean() == pytest.approx(2, abs=0.05)
    assert sample.std() == pytest.approx(3, abs=0.05)


def test_absurd_weights_keep_the_kl_finite(network):
    nn.init.constant_(network.posterior.bias, 1e4)
    _, targets, lengths = rows(5, 5)
    assert torch.isfinite(kl_divergence(network.encode(targets, lengths))).all()


def test_dropout_is_one_mask_for_all_steps(network):
    inputs, _, _ = rows(6, 6)
    context = random_context(network, 2)
    full = network.decode(inputs, context)
    assert torch.equal(network.decode(inputs, context, torch.ones(2, 8)), full)
    nothing = network.decode(inputs, context, torch.zeros(2, 8))
    states = torch.zeros(2, inputs.shape[1], 8)
    assert torch.equal(nothing, network.read(states, network.memory(states), context)[0])


def test_a_model_without_conditions_is_a_plain_vae():
    network = CVAE(SIZES, V, 0, GRAMMAR)
    inputs, targets, lengths = rows(6, 9)
    empty = torch.zeros(2, 0)
    batch = TrainingBatch(
        inputs, targets, lengths, torch.zeros(2), empty, empty, empty,
        torch.zeros(0, dtype=torch.bool), torch.randn(2, Z), torch.randn(2, Z),
    )  # fmt: skip
    terms = elbo(network(batch), batch, LossWeights(kl=1.0, head=1.0))
    assert terms.head == 0
    assert terms.total == terms.reconstruction + terms.kl


def test_one_batch_can_be_memorized():
    sizes = ModelConfig(
        latent_size=8, embedding_size=16, encoder_size=24, decoder_size=48, context_size=32
    )
    network = CVAE(sizes, V, 0, GRAMMAR)
    inputs, targets, lengths = rows(8, 5, 11, 7)
    t = torch.zeros(len(lengths))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(70):
        z = network.encode(targets, lengths).mean
        logits = network.decode(inputs, network.make_context(z, t))
        nats = reconstruction(logits, targets, lengths).mean()
        optimizer.zero_grad()
        nats.backward()
        optimizer.step()
    assert nats < 0.1
