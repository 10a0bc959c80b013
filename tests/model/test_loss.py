"""Every term against torch.distributions or by hand; schedules at their corners."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal
from torch.distributions import kl_divergence as reference_kl

from molvae.config import TrainConfig
from molvae.errors import ConfigError
from molvae.model.loss import (
    Counts,
    LossWeights,
    elbo,
    forecast_nll,
    head_nll,
    kl_divergence,
    reconstruction,
)
from molvae.model.records import Output, Posterior, TrainingBatch
from molvae.train.schedules import kl_weight, learning_rate

NUMBERS = torch.zeros(4, dtype=torch.bool)


def batch_of(targets, lengths, values, known, yesno=NUMBERS):
    """A batch as far as the loss looks at it."""
    none = torch.zeros(0)
    return TrainingBatch(none, targets, lengths, none, values, none, known, yesno, none, none)


def test_kl_is_that_of_the_normal_distributions():
    mean, log_var = torch.randn(20, 6), torch.randn(20, 6)
    expected = reference_kl(Normal(mean, torch.exp(log_var / 2)), Normal(0.0, 1.0)).sum(dim=-1)
    torch.testing.assert_close(kl_divergence(Posterior(mean, log_var)), expected)


def test_kl_of_the_prior_is_zero():
    assert torch.equal(
        kl_divergence(Posterior(torch.zeros(2, 3), torch.zeros(2, 3))), torch.zeros(2)
    )


def test_a_uniform_decoder_has_a_loss_of_log_v_per_token():
    lengths = torch.tensor([1, 5, 9])
    nats = reconstruction(torch.zeros(3, 9, 17), torch.randint(17, (3, 9)), lengths)
    torch.testing.assert_close(nats, lengths * math.log(17))


def test_known_probabilities_give_the_known_likelihood():
    probabilities = torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [1 / 3, 1 / 3, 1 / 3]]])
    nats = reconstruction(probabilities.log(), torch.tensor([[1, 2, 0]]), torch.tensor([2]))
    assert nats.item() == pytest.approx(-math.log(0.25 * 0.8), rel=1e-5)


def test_padding_adds_nothing_to_the_loss():
    logits, lengths = torch.randn(2, 6, 5), torch.tensor([3, 6])
    targets = torch.randint(5, (2, 6))
    before = reconstruction(logits, targets, lengths)
    logits[0, 3:], targets[0, 3:] = 1e4, 0
    assert torch.equal(reconstruction(logits, targets, lengths), before)


def test_half_precision_logits_are_scored_in_full():
    logits = torch.randn(2, 30, 50).bfloat16()
    targets, lengths = torch.randint(50, (2, 30)), torch.tensor([30, 12])
    nats = reconstruction(logits, targets, lengths)
    assert nats.dtype == torch.float32
    assert torch.equal(nats, reconstruction(logits.float(), targets, lengths))


def test_head_of_numbers_is_a_normal_density():
    mean, log_scale, values = torch.randn(3, 8, 4)
    known = torch.ones(8, 4)
    expected = -Normal(mean, log_scale.exp()).log_prob(values).sum(dim=-1)
    torch.testing.assert_close(head_nll(mean, log_scale, values, known, NUMBERS), expected)


def test_head_of_yes_and_no_is_a_bernoulli():
    logit, values = torch.randn(8, 4), torch.randn(8, 4)
    expected = -Bernoulli(logits=logit).log_prob((values > 0).float()).sum(dim=-1)
    nll = head_nll(logit, torch.randn(8, 4), values, torch.ones(8, 4), ~NUMBERS)
    torch.testing.assert_close(nll, expected)


def test_missing_values_count_nothing():
    mean, log_scale, values = torch.randn(3, 8, 4)
    known = torch.rand(8, 4) < 0.5
    kinds = torch.tensor([False, True, False, True])
    nll = head_nll(mean, log_scale, values, known, kinds)
    other = torch.where(known, values, torch.full_like(values, 50.0))
    assert torch.equal(head_nll(mean, log_scale, other, known, kinds), nll)
    whole = sum(
        head_nll(*(x[:, [k]] for x in (mean, log_scale, values)), known[:, [k]], kinds[[k]])
        for k in range(4)
    )
    torch.testing.assert_close(nll, whole)


def test_terms_are_means_over_their_own_molecules():
    logits, targets, lengths = (
        torch.randn(3, 4, 5),
        torch.randint(5, (3, 4)),
        torch.tensor([4, 2, 3]),
    )
    posterior = Posterior(torch.randn(2, 6), torch.randn(2, 6))
    head, scale, values = torch.randn(2, 4), torch.randn(2, 4), torch.randn(3, 4)
    encoded, known = torch.tensor([0, 2]), torch.rand(3, 4) < 0.5
    terms = elbo(
        Output(logits, posterior, head, scale, encoded),
        batch_of(targets, lengths, values, known),
        LossWeights(kl=0.3, head=0.2),
    )
    torch.testing.assert_close(
        terms.reconstruction, reconstruction(logits, targets, lengths).sum() / 3
    )
    torch.testing.assert_close(terms.kl, kl_divergence(posterior).sum() / 2)
    nats = head_nll(head, scale, values[encoded], known[encoded], NUMBERS)
    torch.testing.assert_close(terms.head, nats.sum() / 2)
    torch.testing.assert_close(
        terms.total, terms.reconstruction + 0.3 * terms.kl + 0.2 * terms.head
    )


def test_the_forecast_weighs_as_the_head_where_there_is_a_latent():
    logits, targets = torch.randn(3, 4, 5), torch.randint(5, (3, 4))
    lengths, encoded = torch.tensor([4, 2, 3]), torch.tensor([0, 2])
    posterior = Posterior(torch.randn(2, 6), torch.randn(2, 6))
    head, scale, values = torch.randn(2, 4), torch.randn(2, 4), torch.randn(3, 4)
    known = torch.rand(3, 4) < 0.5
    predicted = torch.randn(3, 4, 4), 0.1 * torch.randn(3, 4, 4)

    def total(predicted):
        output = Output(logits, posterior, head, scale, encoded, predicted)
        batch = batch_of(targets, lengths, values, known)
        return elbo(output, batch, LossWeights(kl=0.3, head=0.2, forecast=0.7))

    nats = forecast_nll(predicted, lengths, values, known)
    torch.testing.assert_close(total(predicted).forecast, nats.mean())
    added = (0.2 * nats[0] + 0.7 * nats[1] + 0.2 * nats[2]) / 3
    torch.testing.assert_close(total(predicted).total - total(None).total, added)


def test_shares_of_a_step_add_up_to_it():
    """The terms and gradients of two processes, whatever each of them got."""
    logits = torch.randn(4, 6, 5, requires_grad=True)
    mean, log_var = torch.randn(2, 3, 6, requires_grad=True)
    head, scale, values = torch.randn(3, 4), torch.randn(3, 4), torch.randn(4, 4)
    targets, lengths = torch.randint(5, (4, 6)), torch.tensor([6, 2, 5, 3])
    encoded, known = torch.tensor([0, 1, 3]), torch.ones(4, 4)
    kinds = torch.tensor([True, False, False, False])

    def terms(rows, counts=None):
        inside = torch.isin(encoded, torch.tensor(rows))
        places = torch.tensor([rows.index(i) for i in encoded[inside].tolist()], dtype=torch.long)
        output = Output(
            logits[rows], Posterior(mean[inside], log_var[inside]), head[inside], scale[inside],
            places,
        )  # fmt: skip
        batch = batch_of(targets[rows], lengths[rows], values[rows], known[rows], kinds)
        return elbo(output, batch, LossWeights(kl=0.3, head=0.2), counts)

    whole = terms([0, 1, 2, 3])
    parts = [terms(rows, Counts(4, 3)) for rows in ([0, 3, 1], [2])]
    for name in ("total", "reconstruction", "kl", "head"):
        torch.testing.assert_close(sum(getattr(p, name) for p in parts), getattr(whole, name))
    torch.testing.assert_close(torch.cat([p.nats for p in parts]), whole.nats[[0, 3, 1, 2]])
    leaves = (logits, mean, log_var)
    expected = torch.autograd.grad(whole.total, leaves)
    result = torch.autograd.grad(parts[0].total + parts[1].total, leaves)
    for a, b in zip(result, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_free_nats_are_charged_to_every_unit_that_carries_less():
    posterior = Posterior(torch.tensor([[2.0, 0.0, 0.1]]), torch.zeros(1, 3))
    assert kl_divergence(posterior).item() == pytest.approx(2.0 + 0.0 + 0.005)
    assert kl_divergence(posterior, 0.5).item() == pytest.approx(2.0 + 0.5 + 0.5)


def test_free_nats_leave_a_unit_alone_until_it_carries_more():
    mean = torch.tensor([[2.0, 0.3]], requires_grad=True)
    kl_divergence(Posterior(mean, torch.zeros(1, 2)), 0.5).sum().backward()
    assert mean.grad.tolist() == [[2.0, 0.0]]


@pytest.mark.parametrize(
    ("progress", "expected"),
    [(0, 0), (0.1, 0.01), (0.2, 0.02), (0.4, 0.04), (0.7, 0.04), (1, 0.04)],
)
def test_kl_weight_rises_to_its_value_and_stays(progress, expected):
    config = TrainConfig(kl_weight=0.04, kl_warm_up=0.4)
    assert kl_weight(progress, config) == pytest.approx(expected)


def test_kl_weight_without_warm_up_is_there_at_once():
    assert kl_weight(0, TrainConfig(kl_weight=0.04, kl_warm_up=0)) == 0.04


@pytest.mark.parametrize(
    ("progress", "share"),
    [(0, 0.01), (0.05, 0.5), (0.1, 1), (0.55, 0.02 + 0.98 / 2), (1, 0.02), (1.2, 0.02)],
)
def test_learning_rate_warms_up_and_falls_to_two_percent(progress, share):
    config = TrainConfig(learning_rate=2e-3, warm_up=0.1)
    assert learning_rate(progress, config) == pytest.approx(2e-3 * share)


@pytest.mark.parametrize("schedule", [kl_weight, learning_rate])
@pytest.mark.parametrize("progress", [-0.1, math.nan])
def test_a_position_outside_the_budget_is_refused(schedule, progress):
    with pytest.raises(ConfigError, match="progress"):
        schedule(progress, TrainConfig())
