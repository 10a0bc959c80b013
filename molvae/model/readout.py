"""From the decoder's states to the next token: readout and property forecast.

Shapes: B molecules, T tokens, V vocabulary, C conditions, H hidden, K context, M memory, W width,
R rank.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from molvae.config import ModelConfig
from molvae.model.gru import full_precision

__all__ = ["Embedding", "Forecast", "ForecastOutput", "Readout"]

SHARPEST, WIDEST = -2.5, 1.0  # logarithms of a forecast's spread, in standard deviations
FARTHEST = 3.0  # distance of a request, in standard deviations, beyond which its pull is constant
STRONGEST = 30.0  # bound of its pull


class Embedding(nn.Embedding):
    """``nn.Embedding`` that draws no weights on the "meta" device, where loading a model begins.

    To draw there torch would import its compiler, which takes longer than the rest of a load.
    """

    def reset_parameters(self) -> None:
        """Draw the weights, where there are any."""
        if not self.weight.is_meta:
            super().reset_parameters()


class Readout(nn.Module):
    """A hidden layer that reads state, memory and context, and its logits."""

    def __init__(self, config: ModelConfig, vocabulary_size: int, memory_size: int) -> None:
        super().__init__()
        width = config.readout_size
        self.from_state = nn.Linear(config.decoder_size, width)
        self.from_memory = nn.Linear(memory_size, width, bias=False)
        self.from_context = nn.Linear(config.context_size, width, bias=False)
        self.output = nn.Linear(width, vocabulary_size, bias=False)

    def inputs(self) -> list[nn.Linear]:
        """The layers that lead to the hidden units."""
        return [self.from_state, self.from_memory, self.from_context]

    def forward(self, states: Tensor, memory: Tensor, context: Tensor) -> Tensor:
        """Logits (…, V) from states (…, H), memory (…, M) and context (…, K)."""
        return self.logits(states, memory, self.from_context(context))

    def logits(self, states: Tensor, memory: Tensor, term: Tensor) -> Tensor:
        """Logits from states, memory and the term (…, W) of the context, the same at all steps."""
        hidden = self.from_state(states) + self.from_memory(memory) + term
        logits: Tensor = self.output(functional.silu(hidden))
        return logits


class ForecastOutput(NamedTuple):
    """Prediction of the finished molecule's standardized conditions from a prefix.

    If token v comes next, condition c is N(mean_c + slope_c · e_v, spread_c²), with a vector e_v
    for every token.
    """

    mean: Tensor  # (…, C)
    log_spread: Tensor  # (…, C)
    slope: Tensor  # (…, C, R)


class Forecast(nn.Module):
    """Predicts the conditions of the finished molecule and turns that into token probabilities.

    By Bayes' rule p(token | prefix, y) ∝ p(token | prefix) · p(y | prefix, token): requests act
    through what the decoder knows of the properties. The forecast itself sees no conditions; it
    learns from all molecules whose values are known, shown or not.
    """

    def __init__(
        self, config: ModelConfig, vocabulary_size: int, condition_count: int, memory_size: int
    ) -> None:
        super().__init__()
        width, self.rank = config.readout_size, config.forecast_rank
        self.from_state = nn.Linear(config.decoder_size, width)
        self.from_memory = nn.Linear(memory_size, width, bias=False)
        self.mean = nn.Linear(width, condition_count)
        self.log_spread = nn.Linear(width, condition_count)
        self.slope = nn.Linear(width, condition_count * self.rank)
        self.token = Embedding(vocabulary_size, self.rank)
        # Conditions are correlated: the gain keeps their pulls from adding up to too much.
        self.gain = nn.Parameter(torch.full((condition_count,), 0.5))

    def inputs(self) -> list[nn.Linear]:
        """The layers that lead to the hidden units."""
        return [self.from_state, self.from_memory]

    def forward(self, states: Tensor, memory: Tensor) -> ForecastOutput:
        """The forecast from states (…, H) and memory (…, M)."""
        hidden = functional.silu(self.from_state(states) + self.from_memory(memory))
        slope = full_precision(self.slope(hidden))
        return ForecastOutput(
            full_precision(self.mean(hidden)),
            full_precision(self.log_spread(hidden)).clamp(SHARPEST, WIDEST),
            slope.unflatten(-1, (-1, self.rank)),
        )

    def given(self, forecast: ForecastOutput, tokens: Tensor) -> Tensor:
        """Expected conditions (…, C) if these tokens (…) come next."""
        with torch.autocast(forecast.mean.device.type, enabled=False):
            change: Tensor = (forecast.slope @ self.token(tokens).unsqueeze(-1)).squeeze(-1)
        return forecast.mean + change

    def scores(self, forecast: ForecastOutput, conditions: Tensor, mask: Tensor) -> Tensor:
        """Logits (…, V) that shown conditions (…, C) add: log p(y | prefix, token) + constant.

        Expanded in powers of the token's vector, so that no tensor of size C × V is needed.
        """
        with torch.autocast(forecast.mean.device.type, enabled=False):
            return self._scores(forecast, conditions, mask)

    def _scores(self, forecast: ForecastOutput, conditions: Tensor, mask: Tensor) -> Tensor:
        weight = self.gain * mask * torch.exp(-2 * forecast.log_spread)  # (…, C)
        distance = (conditions - forecast.mean).clamp(-FARTHEST, FARTHEST)
        pull = (distance * weight).clamp(-STRONGEST, STRONGEST)
        linear = (pull.unsqueeze(-2) @ forecast.slope).squeeze(-2)  # (…, R)
        square = forecast.slope.transpose(-1, -2) @ (weight.unsqueeze(-1) * forecast.slope)
        vectors = self.token.weight  # (V, R)
        products = (vectors.unsqueeze(-1) * vectors.unsqueeze(-2)).flatten(1)  # (V, R²)
        scores: Tensor = linear @ vectors.t() - 0.5 * (square.flatten(-2) @ products.t())
        return scores
