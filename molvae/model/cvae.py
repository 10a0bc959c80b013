"""The recurrent conditional variational autoencoder: tensors in, tensors out.

Shapes: B molecules, T tokens, V vocabulary, Z latent, C conditions, H hidden, K context, L layers,
M memory.

Generative process: z ~ N(0, I); the decoder sees z through a channel of known quality,
``z_t = cos(πt/2)·z + sin(πt/2)·ε``, together with the noise level t and the conditions. At t = 0 it
is an autoencoder, at t = 1 a conditional language model, and one set of weights serves every level
between. Inference: q(z | x) = N(mean, diag exp(log_var)); the encoder does not see the conditions.
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from molvae.chem.vocabulary import BOS
from molvae.config import ModelConfig
from molvae.model.derivation import Derivation
from molvae.model.gru import GRU, Cell, compute_dtype, full_precision
from molvae.model.memory import Memory
from molvae.model.readout import Embedding, Forecast, ForecastOutput, Readout

__all__ = ["CVAE", "Decoding", "Output", "Posterior", "current_name", "noisy_latent"]

# Tensors of models and runs from before they were renamed.
RENAMED = {"memory.asked.weight": "memory.qkv.weight"}


def current_name(tensor: str) -> str:
    """The name of a stored tensor in this version's network."""
    return RENAMED.get(tensor, tensor)


class Posterior(NamedTuple):
    """q(z | x): a diagonal Gaussian."""

    mean: Tensor  # (B, Z)
    log_var: Tensor  # (B, Z)

    def sample(self, noise: Tensor) -> Tensor:
        """A point of the posterior, shape (B, Z), from standard normal ``noise`` of that shape."""
        return self.mean + torch.exp(0.5 * self.log_var) * noise


class Output(NamedTuple):
    """What a training pass needs for its loss; E ≤ B molecules (t < 1) were encoded."""

    logits: Tensor  # (B, T, V)
    posterior: Posterior  # of the E encoded molecules
    head_mean: Tensor  # (E, C)
    head_log_scale: Tensor  # (E, C)
    encoded: Tensor  # (E,) their indices in the batch
    # What every prefix and its next token predicted: mean and log spread, (B, T, C); None without.
    predicted: tuple[Tensor, Tensor] | None = None


def noisy_latent(z: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """The latent after the channel at noise levels ``t`` in [0, 1], shape (B,): (B, Z).

    The map keeps N(0, I) as it is (variance-preserving, Ho et al. 2020 with a cosine angle).
    """
    angle = t.unsqueeze(-1) * (math.pi / 2)
    return torch.cos(angle) * z + torch.sin(angle) * noise


class Decoding:
    """Molecules on their way: what the decoder knows after the tokens given so far."""

    def __init__(self, network: CVAE, context: Tensor) -> None:
        """Begin a molecule for every context (B, K); what depends on that alone is computed now."""
        layers = cast("list[GRU]", list(network.decoder))
        states, shifts = network.initial_state(context), network.shifts(context)
        dtype = compute_dtype(states)
        self._network = network
        self._cells = [Cell(layer, dtype) for layer in layers]
        self._derivation = None
        vectors = network.embedding.weight
        if network.derivation is not None:
            self._derivation = network.derivation.begin(len(context))
            vectors = torch.cat([vectors, network.derivation.weight])
        self._table = self._cells[0].project_input(vectors)  # (V, 3H), then rows of the features
        self._vocabulary = network.vocabulary_size
        # Of every molecule: L × (B, H) states, L × (B, 3H) terms of the context, the context
        # itself, and the memory of the prefix.
        self._states = [state.to(dtype) for state in states]
        self._offsets = [
            cell.offset(shift) for cell, shift in zip(self._cells, shifts, strict=True)
        ]
        self._context = context
        changes = network.modulation(context)
        self._modulation = None if changes is None else tuple(each.to(dtype) for each in changes)
        self._memory = None if network.memory is None else network.memory.cache(len(context))
        # Where nothing is asked for, a forecast has nothing to add.
        self._uses_forecast = network.uses_forecast(context)

    def __call__(self, tokens: Tensor) -> Tensor:
        """Logits (B, V) of the token after these, (B,)."""
        if self._derivation is None:
            x = self._table.index_select(0, tokens)
        else:
            features = self._derivation.step(tokens) + self._vocabulary
            rows = torch.cat([tokens.unsqueeze(1), features], dim=1)
            x = functional.embedding_bag(rows, self._table, mode="sum")
        for i, cell in enumerate(self._cells):
            given = x if i == 0 else cell.project_input(x)
            x = self._states[i] = cell(given, self._offsets[i], self._states[i])
        if self._modulation is not None:
            x = torch.addcmul(self._modulation[1], x, self._modulation[0])
        memory = None if self._memory is None else self._memory.add(x).unsqueeze(1)
        steps = x.unsqueeze(1), memory, self._context
        return self._network.read(*steps, with_forecast=self._uses_forecast)[0].squeeze(1)

    def keep(self, rows: Tensor) -> None:
        """Go on with these molecules only: a mask or indices; one may be taken more than once."""
        self._states = [state[rows] for state in self._states]
        self._offsets = [offset[rows] for offset in self._offsets]
        self._context = self._context[rows]
        if self._modulation is not None:
            self._modulation = tuple(each[rows] for each in self._modulation)
        if self._memory is not None:
            self._memory.keep(rows)
        if self._derivation is not None:
            self._derivation.keep(rows)


class CVAE(nn.Module):
    """Bidirectional GRU encoder, noise-level conditioned GRU decoder, property head."""

    def __init__(
        self,
        config: ModelConfig,
        vocabulary_size: int,
        condition_count: int,
        grammar: NDArray[np.int64] | None = None,
    ) -> None:
        """``grammar`` (V, 4) of `grammar_table` is what derivation features are made of."""
        super().__init__()
        self.config = config
        self.vocabulary_size = vocabulary_size
        self.condition_count = condition_count
        z, e, h = config.latent_size, config.embedding_size, config.decoder_size
        k, layers = config.context_size, config.decoder_layers
        self.embedding = Embedding(vocabulary_size, e)
        self.derivation: Derivation | None = None
        if config.derivation:
            if grammar is None or len(grammar) != vocabulary_size:
                raise ValueError("derivation features need a row of the grammar for each token")
            self.derivation = Derivation(e, grammar)
        self.encoder_forward = GRU(e, config.encoder_size)
        self.encoder_backward = GRU(e, config.encoder_size)
        self.posterior = nn.Linear(2 * config.encoder_size, 2 * z)
        self.context = nn.Sequential(
            nn.Linear(z + 3 + 2 * condition_count, k), nn.SiLU(), nn.Linear(k, k), nn.SiLU()
        )
        self.initial = nn.Linear(k, layers * h)
        self.shift = nn.ModuleList(nn.Linear(k, e if i == 0 else h) for i in range(layers))
        self.decoder = nn.ModuleList(GRU(e if i == 0 else h, h) for i in range(layers))
        self.film = nn.Linear(k, 2 * h) if config.modulation else None
        self.output = nn.Linear(h, vocabulary_size)
        self.memory = Memory(config) if config.tally_size else None
        self.readout: Readout | None = None
        self.forecast: Forecast | None = None
        if self.memory is not None:
            size = self.memory.size
            self.readout = Readout(config, vocabulary_size, size)
            if config.forecast_rank and condition_count:
                self.forecast = Forecast(config, vocabulary_size, condition_count, size)
        with warnings.catch_warnings():
            # Without conditions the head is empty; that is meant.
            warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
            self.head = nn.Sequential(
                nn.Linear(z, config.head_size),
                nn.SiLU(),
                nn.Linear(config.head_size, 2 * condition_count),
            )

    def features(self, targets: Tensor) -> Tensor | None:
        """Derivation features (B, T, F) that say how each of these ids (B, T) is read, if used."""
        if self.derivation is None:
            return None
        first = torch.full_like(targets[:, :1], BOS)
        return self.derivation.features(torch.cat([first, targets[:, :-1]], dim=1))

    def _with_features(self, tokens: Tensor, features: Tensor | None) -> Tensor:
        """Token ids (B, T), behind them the rows of their features: (B, T, 1 + F)."""
        if features is None:
            return tokens
        return torch.cat([tokens.unsqueeze(-1), features + self.vocabulary_size], dim=-1)

    def encode(self, targets: Tensor, lengths: Tensor, features: Tensor | None = None) -> Posterior:
        """Posterior of token ids (B, T) that end in <eos>; ``lengths`` (B,) counts it too.

        The backward GRU reads each row reversed within its own length, so padding changes nothing.
        ``features`` are those of `features`, where they are there already.
        """
        if features is None:
            features = self.features(targets)
        rows = torch.arange(targets.shape[0], device=targets.device)
        position = torch.arange(targets.shape[1], device=targets.device)
        last = lengths - 1
        read = self._with_features(targets, features)
        backwards = read[rows.unsqueeze(1), (last.unsqueeze(1) - position).clamp(min=0)]
        table, marks = self.embedding.weight, self._marks
        start = table.new_zeros(len(targets), self.config.encoder_size)
        ahead = self.encoder_forward.over_tokens(read, table, start, features=marks)  # (B, T, H)
        behind = self.encoder_backward.over_tokens(backwards, table, start, features=marks)
        summary = full_precision(torch.cat([ahead[rows, last], behind[rows, last]], dim=-1))
        mean, log_var = full_precision(self.posterior(summary)).chunk(2, dim=-1)
        # Bounds far outside anything useful keep exp() finite when a run goes wrong.
        return Posterior(mean, log_var.clamp(-12.0, 6.0))

    @property
    def _marks(self) -> Tensor | None:
        return None if self.derivation is None else self.derivation.weight

    def make_context(self, z: Tensor, t: Tensor, conditions: Tensor, mask: Tensor) -> Tensor:
        """What the decoder is given: noisy latents (B, Z), levels (B,), conditions, mask (B, C).

        z enters multiplied by cos(πt/2), so that it vanishes exactly at t = 1. The result (B, …) is
        a context of width K; with a forecast one with and one without the conditions, then these.
        """
        angle = t.unsqueeze(-1) * (math.pi / 2)
        # cos(π/2) in floating point is not quite 0.
        quality = torch.cos(angle).masked_fill(t.unsqueeze(-1) >= 1, 0.0)
        parts = [quality * z, t.unsqueeze(-1), quality, torch.sin(angle)]
        shown = [conditions * mask, mask]
        context: Tensor = self.context(torch.cat([*parts, *shown], dim=-1))
        if self.forecast is None:
            return context
        hidden = torch.zeros_like(mask)
        free = self.context(torch.cat([*parts, hidden, hidden], dim=-1))
        return torch.cat([context.to(z.dtype), free.to(z.dtype), *shown], dim=-1)

    def _latent_context(self, context: Tensor) -> Tensor:
        """The part that the recurrent layers see, (B, K): with a forecast no conditions."""
        width = self.config.context_size
        return context if self.forecast is None else context[:, width : 2 * width]

    def decode(self, inputs: Tensor, context: Tensor, dropout: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) of the next token, given the true previous tokens (B, T).

        ``dropout`` (B, H) multiplies the decoder's output: one mask for all steps of a molecule.
        """
        return self._read_all(self.states(inputs, context), context, dropout)[0]

    def states(self, inputs: Tensor, context: Tensor, features: Tensor | None = None) -> Tensor:
        """What the last layer puts out (B, T, H) over the true tokens (B, T), modulated.

        ``features`` are those of the tokens that follow, where they are there already.
        """
        if features is None and self.derivation is not None:
            features = self.derivation.features(inputs)
        layers = cast("list[GRU]", list(self.decoder))
        states, shifts = self.initial_state(context), self.shifts(context)
        read, table = self._with_features(inputs, features), self.embedding.weight
        x = layers[0].over_tokens(read, table, states[0], shifts[0], self._marks)
        for gru, state, shift in zip(layers[1:], states[1:], shifts[1:], strict=True):
            x = gru.over_states(x, state, shift)
        changes = self.modulation(context)
        if changes is None:
            return x
        factor, term = (each.to(x.dtype).unsqueeze(1) for each in changes)
        return torch.addcmul(term, x, factor)

    def _read_all(
        self, x: Tensor, context: Tensor, dropout: Tensor | None
    ) -> tuple[Tensor, ForecastOutput | None]:
        if dropout is not None:
            x = x * dropout.unsqueeze(1)
        return self.read(x, None if self.memory is None else self.memory(x), context)

    def read(
        self, x: Tensor, memory: Tensor | None, context: Tensor, *, with_forecast: bool = True
    ) -> tuple[Tensor, ForecastOutput | None]:
        """(logits (B, T, V), forecast) from the last layer's states (B, T, H), memory (B, T, M).

        Without ``with_forecast`` there is no forecast, and the logits are those without conditions.
        """
        logits = full_precision(self.output(x))
        if self.readout is None or memory is None:
            return logits, None
        width = self.config.context_size
        request = context[:, :width].unsqueeze(1)
        logits = logits + full_precision(self.readout(x, memory, request))
        if self.forecast is None or not with_forecast:
            return logits, None
        forecast = self.forecast(x, memory)
        conditions, mask = self._shown(context).unsqueeze(1).chunk(2, dim=-1)
        return logits + self.forecast.scores(forecast, conditions, mask), forecast

    def _shown(self, context: Tensor) -> Tensor:
        """Conditions and mask as they stand in a context with a forecast, (B, 2C)."""
        return context[:, 2 * self.config.context_size :]

    def uses_forecast(self, context: Tensor) -> bool:
        """Whether the forecast has a say in any of these molecules (B, …)."""
        if self.forecast is None:
            return False
        return bool(self._shown(context).chunk(2, dim=-1)[1].any())

    def initial_state(self, context: Tensor) -> Tensor:
        """First hidden state of every decoder layer, shape (L, B, H)."""
        flat = torch.tanh(self.initial(self._latent_context(context)))
        sizes = (len(context), self.config.decoder_layers, self.config.decoder_size)
        return flat.view(sizes).transpose(0, 1).contiguous()

    def shifts(self, context: Tensor) -> list[Tensor]:
        """The context's term at each layer's input, once per molecule: L × (B, E or H)."""
        return [shift(self._latent_context(context)) for shift in self.shift]

    def modulation(self, context: Tensor) -> tuple[Tensor, ...] | None:
        """Factor and term, each (B, H), for what the last layer puts out (FiLM, Perez et al. 2018).

        The state that goes from step to step stays as it is.
        """
        if self.film is None:
            return None
        scale, shift = self.film(self._latent_context(context)).chunk(2, dim=-1)
        return 1 + scale, shift

    def decoding(self, context: Tensor) -> Decoding:
        """The decoder one token at a time, from contexts (B, K); for use without gradients."""
        return Decoding(self, context)

    def predict(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The property head: mean and log scale of every standardised condition, each (B, C)."""
        mean, log_scale = full_precision(self.head(z)).chunk(2, dim=-1)
        return mean, log_scale.clamp(-5.0, 3.0)

    def forward(
        self,
        inputs: Tensor,
        targets: Tensor,
        lengths: Tensor,
        t: Tensor,
        conditions: Tensor,
        mask: Tensor,
        posterior_noise: Tensor,
        channel_noise: Tensor,
        dropout: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Output:
        """One training pass; both noises are (B, Z). Molecules at t = 1 are not encoded."""
        if features is None:
            features = self.features(targets)
        encoded = torch.nonzero(t < 1).squeeze(-1)
        posterior = self.encode(
            targets[encoded], lengths[encoded], None if features is None else features[encoded]
        )
        sample = posterior.sample(posterior_noise[encoded])
        z = sample.new_zeros(channel_noise.shape).index_copy(0, encoded, sample)
        context = self.make_context(noisy_latent(z, t, channel_noise), t, conditions, mask)
        head_mean, head_log_scale = self.predict(sample)
        logits, forecast = self._read_all(self.states(inputs, context, features), context, dropout)
        predicted = None
        if self.forecast is not None and forecast is not None:
            predicted = self.forecast.given(forecast, targets), forecast.log_spread
        return Output(logits, posterior, head_mean, head_log_scale, encoded, predicted)
