"""The recurrent conditional variational autoencoder: tensors in, tensors out.

Shapes: B molecules, T tokens, V vocabulary, Z latent, C conditions, H hidden, K context, L layers,
M memory, F derivation features.
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
from molvae.model.records import Context, Output, Posterior, TrainingBatch

__all__ = ["CVAE", "ConditionSlice", "Decoding", "TwoLayers", "current_name", "noisy_latent"]

# Tensors of models and runs from before they were renamed.
RENAMED = {"memory.asked.weight": "memory.qkv.weight"}


def current_name(tensor: str) -> str:
    """The name of a stored tensor in this version's network."""
    return RENAMED.get(tensor, tensor)


def noisy_latent(z: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """The latent after the channel at noise levels ``t`` in [0, 1], shape (B,): (B, Z).

    The map keeps N(0, I) as it is (variance-preserving, Ho et al. 2020 with a cosine angle).
    """
    angle = t.unsqueeze(-1) * (math.pi / 2)
    return torch.cos(angle) * z + torch.sin(angle) * noise


class Decoding:
    """Molecules in progress: what the decoder knows after the tokens given so far."""

    def __init__(self, network: CVAE, context: Context) -> None:
        """Begin one molecule per context; what depends on the context alone is computed now."""
        layers = cast("list[GRU]", list(network.decoder))
        states, shifts = network.initial_state(context), network.shifts(context)
        dtype = compute_dtype(states)
        self._network = network
        self._cells = [Cell(layer, dtype) for layer in layers]
        self._derivation = None
        vectors = network.embedding.weight
        if network.derivation is not None:
            self._derivation = network.derivation.begin(context.size)
            vectors = torch.cat([vectors, network.derivation.weight])
        self._table = self._cells[0].project_input(vectors)  # (V, 3H), then rows of the features
        self._vocabulary = network.vocabulary_size
        # Of every molecule: L × (B, H) states, L × (B, 3H) terms of the context, its term in the
        # readout, the context itself, and the memory of the prefix.
        self._states = [state.to(dtype) for state in states]
        self._offsets = [
            cell.offset(shift) for cell, shift in zip(self._cells, shifts, strict=True)
        ]
        self._term = network.readout.from_context(context.request.unsqueeze(1))
        self._context = context
        modulation = network.modulation(context)
        self._modulation = modulation and tuple(part.to(dtype) for part in modulation)
        self._memory = network.memory.cache(context.size)
        # Where no condition is shown, a forecast has nothing to add.
        self._with_forecast = network.uses_forecast(context)

    def __call__(self, tokens: Tensor) -> Tensor:
        """Logits (B, V) of the token after these, (B,)."""
        if self._derivation is None:
            x = self._table.index_select(0, tokens)
        else:
            features = self._derivation.step(tokens) + self._vocabulary
            rows = torch.cat([tokens.unsqueeze(1), features], dim=1)
            x = functional.embedding_bag(rows, self._table, mode="sum")
        for i, cell in enumerate(self._cells):
            projected = x if i == 0 else cell.project_input(x)
            x = self._states[i] = cell(projected, self._offsets[i], self._states[i])
        if self._modulation is not None:
            x = torch.addcmul(self._modulation[1], x, self._modulation[0])
        step = x.unsqueeze(1), self._memory.add(x).unsqueeze(1), self._context
        logits, _ = self._network.read(*step, with_forecast=self._with_forecast, term=self._term)
        return logits.squeeze(1)

    def keep(self, rows: Tensor) -> None:
        """Continue with these molecules only: a mask, or indices, which may repeat."""
        self._states = [state[rows] for state in self._states]
        self._offsets = [offset[rows] for offset in self._offsets]
        self._term = self._term[rows]
        if self._with_forecast:
            self._context = self._context.rows(rows)
        if self._modulation is not None:
            self._modulation = tuple(part[rows] for part in self._modulation)
        self._memory.keep(rows)
        if self._derivation is not None:
            self._derivation.keep(rows)


class TwoLayers(nn.Sequential):
    """Two linear layers with SiLU after the first one, and after the second if ``bounded``.

    A Sequential, since stored models name the tensors of the layers "0" and "2".
    """

    def __init__(self, first: nn.Linear, second: nn.Linear, *, bounded: bool = False) -> None:
        super().__init__(first, nn.SiLU(), second, *([nn.SiLU()] if bounded else []))

    @property
    def first(self) -> nn.Linear:
        """The layer from the input to the hidden units."""
        return cast("nn.Linear", self[0])

    @property
    def second(self) -> nn.Linear:
        """The layer from the hidden units to the output."""
        return cast("nn.Linear", self[2])

    def hidden(self, x: Tensor) -> Tensor:
        """The hidden units of inputs (…, I)."""
        units: Tensor = functional.silu(self.first(x))
        return units


class ConditionSlice(NamedTuple):
    """Where a tensor of the network keeps the part of each condition, along one dimension.

    Before ``start`` is what belongs to no condition; after it come ``blocks``, each with one part
    per condition, in order.
    """

    dim: int
    start: int = 0
    blocks: int = 1

    def shared(self, tensor: Tensor) -> Tensor:
        """A view of the part that belongs to no condition."""
        return tensor.narrow(self.dim, 0, self.start)

    def parts(self, tensor: Tensor, count: int) -> Tensor:
        """A view (C, …) of the parts of the ``count`` conditions."""
        parts = tensor.narrow(self.dim, self.start, tensor.shape[self.dim] - self.start)
        view: Tensor = parts.unflatten(self.dim, (self.blocks, count, -1))
        return view.movedim(self.dim + 1, 0)


class CVAE(nn.Module):
    """Bidirectional GRU encoder, GRU decoder conditioned on a noise level, property head.

    A molecule x is a sequence of SELFIES tokens with properties c. Its latent z is drawn from
    N(0, I), and the decoder sees z through a channel of known quality:

        z_t = cos(πt/2) · z + sin(πt/2) · ε,    p(x | z_t, t, c) = Π p(x_i | x_<i, z_t, t, c)

    At noise level t = 0 this is an autoencoder, at t = 1 a conditional language model, and one set
    of weights serves every level between. The encoder gives q(z | x) = N(mean, diag exp(log_var))
    and does not see the conditions. The loss (`loss.elbo`) is −log p(x | z_t, t, c) + β · KL(q ‖
    N(0, I)) plus the terms of head and forecast, each of which predicts c: the head from z, the
    forecast from every prefix of x (see `readout.Forecast`).

    Three verbs: `encode` (x → q), `decode` (x_<i, context → logits of x_i), `forward` (both, for
    training); `decoding` is `decode` one token at a time.
    """

    def __init__(
        self,
        config: ModelConfig,
        vocabulary_size: int,
        condition_count: int,
        grammar: NDArray[np.int64] | None = None,
    ) -> None:
        """``grammar`` (V, 4) of `vocabulary.grammar_table`: derivation features are made of it."""
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
        self.context = TwoLayers(
            nn.Linear(z + 3 + 2 * condition_count, k), nn.Linear(k, k), bounded=True
        )
        self.initial = nn.Linear(k, layers * h)
        self.shift = nn.ModuleList(nn.Linear(k, e if i == 0 else h) for i in range(layers))
        self.decoder = nn.ModuleList(GRU(e if i == 0 else h, h) for i in range(layers))
        self.film = nn.Linear(k, 2 * h) if config.modulation else None
        self.output = nn.Linear(h, vocabulary_size)
        self.memory = Memory(config)
        self.readout = Readout(config, vocabulary_size, self.memory.size)
        self.forecast: Forecast | None = None
        if condition_count:
            self.forecast = Forecast(config, vocabulary_size, condition_count, self.memory.size)
        with warnings.catch_warnings():
            # Without conditions the head is empty; that is meant.
            warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
            self.head = TwoLayers(
                nn.Linear(z, config.head_size), nn.Linear(config.head_size, 2 * condition_count)
            )

    def features(self, targets: Tensor) -> Tensor | None:
        """Derivation features (B, T, F) that say how each of these ids (B, T) is read, if used."""
        if self.derivation is None:
            return None
        first = torch.full_like(targets[:, :1], BOS)
        return self.derivation.features(torch.cat([first, targets[:, :-1]], dim=1))

    def _with_features(self, tokens: Tensor, features: Tensor | None) -> Tensor:
        """Token ids (B, T), followed by the rows of their features: (B, T, 1 + F)."""
        if features is None:
            return tokens
        return torch.cat([tokens.unsqueeze(-1), features + self.vocabulary_size], dim=-1)

    def encode(self, targets: Tensor, lengths: Tensor, features: Tensor | None = None) -> Posterior:
        """Posterior of token ids (B, T) that end in <eos>; ``lengths`` (B,) counts it too.

        The backward GRU reads each row reversed within its own length, so padding changes nothing.
        ``features`` are the result of `features`, if it is computed already.
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

    def make_context(
        self, z: Tensor, t: Tensor, conditions: Tensor | None = None, mask: Tensor | None = None
    ) -> Context:
        """What the decoder is given: noisy latents (B, Z), levels (B,), conditions, mask (B, C).

        Without conditions none is shown. z enters multiplied by cos(πt/2), so that it vanishes
        exactly at t = 1.
        """
        if conditions is None or mask is None:
            conditions = mask = z.new_zeros(len(z), self.condition_count)
        angle = t.unsqueeze(-1) * (math.pi / 2)
        # cos(π/2) in floating point is not quite 0.
        quality = torch.cos(angle).masked_fill(t.unsqueeze(-1) >= 1, 0.0)
        given = [quality * z, t.unsqueeze(-1), quality, torch.sin(angle)]
        visible, hidden = conditions * mask, torch.zeros_like(mask)
        request = self.context(torch.cat([*given, visible, mask], dim=-1)).to(z.dtype)
        latent = request
        if self.forecast is not None:
            latent = self.context(torch.cat([*given, hidden, hidden], dim=-1)).to(z.dtype)
        return Context(request, latent, visible, mask)

    def decode(self, inputs: Tensor, context: Context, dropout: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) of the next token, given the true previous tokens (B, T).

        ``dropout`` (B, H) multiplies the decoder's output: one mask for all steps of a molecule.
        """
        return self._read_all(self.states(inputs, context), context, dropout)[0]

    def states(self, inputs: Tensor, context: Context, features: Tensor | None = None) -> Tensor:
        """The modulated output (B, T, H) of the last layer over the true tokens (B, T).

        ``features`` are those of the tokens that follow, if they are computed already.
        """
        if features is None and self.derivation is not None:
            features = self.derivation.features(inputs)
        layers = cast("list[GRU]", list(self.decoder))
        states, shifts = self.initial_state(context), self.shifts(context)
        read, table = self._with_features(inputs, features), self.embedding.weight
        x = layers[0].over_tokens(read, table, states[0], shifts[0], self._marks)
        for gru, state, shift in zip(layers[1:], states[1:], shifts[1:], strict=True):
            x = gru.over_states(x, state, shift)
        modulation = self.modulation(context)
        if modulation is None:
            return x
        factor, term = (part.to(x.dtype).unsqueeze(1) for part in modulation)
        return torch.addcmul(term, x, factor)

    def _read_all(
        self, x: Tensor, context: Context, dropout: Tensor | None
    ) -> tuple[Tensor, ForecastOutput | None]:
        if dropout is not None:
            x = x * dropout.unsqueeze(1)
        return self.read(x, self.memory(x), context)

    def read(
        self,
        x: Tensor,
        memory: Tensor,
        context: Context,
        *,
        with_forecast: bool = True,
        term: Tensor | None = None,
    ) -> tuple[Tensor, ForecastOutput | None]:
        """Logits (B, T, V) and forecast from the last layer's states (B, T, H), memory (B, T, M).

        Without a forecast the logits are those without conditions. ``term`` (B, 1, W) is that of
        the context in the readout, if it is computed already.
        """
        if term is None:
            term = self.readout.from_context(context.request.unsqueeze(1))
        logits = full_precision(self.output(x))
        logits = logits + full_precision(self.readout.logits(x, memory, term))
        if self.forecast is None or not with_forecast:
            return logits, None
        forecast = self.forecast(x, memory)
        conditions, mask = context.conditions.unsqueeze(1), context.mask.unsqueeze(1)
        return logits + self.forecast.scores(forecast, conditions, mask), forecast

    def uses_forecast(self, context: Context) -> bool:
        """Whether the forecast changes the logits of any of these molecules."""
        return self.forecast is not None and bool(context.mask.any())

    def initial_state(self, context: Context) -> Tensor:
        """First hidden state of every decoder layer, shape (L, B, H)."""
        flat = torch.tanh(self.initial(context.latent))
        sizes = (context.size, self.config.decoder_layers, self.config.decoder_size)
        return flat.view(sizes).transpose(0, 1).contiguous()

    def shifts(self, context: Context) -> list[Tensor]:
        """The context's term at each layer's input, once per molecule: L × (B, E or H)."""
        return [shift(context.latent) for shift in self.shift]

    def modulation(self, context: Context) -> tuple[Tensor, ...] | None:
        """Factor and term, each (B, H), for the last layer's output (FiLM, Perez et al. 2018).

        The state that passes from step to step stays as it is.
        """
        if self.film is None:
            return None
        scale, shift = self.film(context.latent).chunk(2, dim=-1)
        return 1 + scale, shift

    def decoding(self, context: Context) -> Decoding:
        """The decoder one token at a time; for use without gradients."""
        return Decoding(self, context)

    def predict(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The property head: mean and log scale of every standardized condition, each (B, C)."""
        mean, log_scale = full_precision(self.head(z)).chunk(2, dim=-1)
        return mean, log_scale.clamp(-5.0, 3.0)

    def forward(self, batch: TrainingBatch) -> Output:
        """One training pass. Molecules at t = 1 are not encoded."""
        targets = batch.targets
        features = self.features(targets) if batch.features is None else batch.features
        encoded = batch.encoded
        if encoded is None:
            encoded = torch.nonzero(batch.t < 1).squeeze(-1)
        posterior = self.encode(
            targets[encoded],
            batch.lengths[encoded],
            None if features is None else features[encoded],
        )
        sample = posterior.sample(batch.posterior_noise[encoded])
        z = sample.new_zeros(batch.channel_noise.shape).index_copy(0, encoded, sample)
        noisy = noisy_latent(z, batch.t, batch.channel_noise)
        context = self.make_context(noisy, batch.t, batch.conditions, batch.mask)
        head_mean, head_log_scale = self.predict(sample)
        states = self.states(batch.inputs, context, features)
        logits, forecast = self._read_all(states, context, batch.dropout)
        predicted = None
        if self.forecast is not None and forecast is not None:
            predicted = self.forecast.given(forecast, targets), forecast.log_spread
        return Output(logits, posterior, head_mean, head_log_scale, encoded, predicted)

    # -- which weight is what: for the optimizer and for training from another model ------------

    def hidden_matrices(self) -> dict[str, int]:
        """Weights between hidden layers, by name, and how many matrices each one stacks.

        Those that meet the vocabulary or the conditions are not among them. The order is that of
        the optimizer's state in stored runs.
        """
        grus = [self.encoder_forward, self.encoder_backward, *cast("list[GRU]", self.decoder)]
        stacks = [(weight, 3) for gru in grus for weight in (gru.weight_ih_l0, gru.weight_hh_l0)]
        stacks += [(self.memory.tally.weight, 1), (self.memory.qkv.weight, 3)]
        if self.film is not None:
            stacks.append((self.film.weight, 2))
        stacks += [(layer.weight, 1) for layer in (self.posterior, self.context.first)]
        stacks += [(layer.weight, 1) for layer in (self.context.second, self.head.first)]
        stacks.append((self.initial.weight, self.config.decoder_layers))
        readers = [*cast("list[nn.Linear]", self.shift), *self.readout.inputs()]
        readers += self.forecast.inputs() if self.forecast is not None else []
        stacks += [(layer.weight, 1) for layer in readers]
        names = {id(parameter): name for name, parameter in self.named_parameters()}
        return {names[id(weight)]: count for weight, count in stacks}

    def token_rows(self) -> set[str]:
        """Names of the tensors with one row for each token."""
        names = {"embedding.weight", "output.weight", "output.bias", "readout.output.weight"}
        return names | ({"forecast.token.weight"} if self.forecast is not None else set())

    def condition_slices(self) -> dict[str, ConditionSlice]:
        """Tensors with a part for each condition, by name."""
        inputs = self.config.latent_size + 3  # of the context, which are no conditions
        slices = {
            "context.0.weight": ConditionSlice(1, inputs, blocks=2),  # values, mask
            "head.2.weight": ConditionSlice(0, blocks=2),  # means, log scales
            "head.2.bias": ConditionSlice(0, blocks=2),
        }
        if self.forecast is not None:
            slices["forecast.gain"] = ConditionSlice(0)
            for layer in ("mean", "log_spread", "slope"):
                slices |= {
                    f"forecast.{layer}.{kind}": ConditionSlice(0) for kind in ("weight", "bias")
                }
        return slices
