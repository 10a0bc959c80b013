"""The memory against plain loops, and step by step against all at once."""

import math

import pytest
import torch

from molvae.config import ModelConfig
from molvae.model.memory import Memory

H = 12


def memory(**sizes):
    given = {"tally_size": 3, "attention_size": 8, "attention_heads": 2, **sizes}
    return Memory(ModelConfig(decoder_size=H, **given))


def test_sums_are_over_the_steps_so_far():
    module = memory()
    states = torch.randn(2, 6, H)
    result = module(states)[..., :3]
    for step in range(6):
        torch.testing.assert_close(
            result[:, step], module.tally(states[:, : step + 1]).sum(dim=1) / 20
        )


def test_sums_are_kept_in_full_precision():
    module = memory(tally_size=1)
    torch.nn.init.zeros_(module.tally.weight)
    torch.nn.init.constant_(module.tally.bias, 0.1)
    result = module.to(torch.bfloat16)(torch.zeros(1, 3000, H, dtype=torch.bfloat16))
    assert result.dtype == torch.float32
    assert result[0, -1, 0].item() == pytest.approx(0.1 * 3000 / 20, rel=2e-3)


def test_attention_weighs_what_came_before():
    module = memory()
    states = torch.randn(3, 7, H)
    result = module(states).detach()[..., 3:]
    query, key, value = (states @ w.t() for w in module.qkv.weight.detach().chunk(3))
    for row in range(3):
        for step in range(7):
            for head in range(2):
                part = slice(4 * head, 4 * head + 4)
                near = [
                    math.exp(float(query[row, step, part] @ key[row, k, part]) / 2)
                    for k in range(step + 1)
                ]
                expected = sum(
                    weight / sum(near) * value[row, k, part] for k, weight in enumerate(near)
                )
                torch.testing.assert_close(result[row, step, part], expected, atol=1e-5, rtol=1e-5)


def test_step_by_step_it_is_the_same():
    """Across a growth of the cache, and after molecules left or were taken twice."""
    module = memory().double()
    states = torch.randn(4, 70, H, dtype=torch.float64)
    everything = module(states)
    cache, rows = module.cache(4), torch.arange(4)
    for step in range(70):
        if step == 20:
            chosen = torch.tensor([True, False, True, True])
            rows = rows[chosen]
            cache.keep(chosen)
        if step == 40:
            chosen = torch.tensor([2, 0, 0])
            rows = rows[chosen]
            cache.keep(chosen)
        result = cache.add(states[rows, step])
        torch.testing.assert_close(result, everything[rows, step])


def test_nothing_is_remembered_of_what_comes_later():
    module = memory()
    states = torch.randn(2, 6, H)
    changed = states.clone()
    changed[:, 4:] = torch.randn(2, 2, H)
    assert torch.equal(module(states)[:, :4], module(changed)[:, :4])
    assert not torch.equal(module(states)[:, 4:], module(changed)[:, 4:])
