"""GRU layers (Cho et al. 2014, in the form of cuDNN and ``torch.nn.GRU``), fast on a CPU.

``torch.nn.GRU`` differentiates every time step by itself: on a CPU much of its time goes into small
operations, and in bf16 it adds up the gradient of its weights step by step in 16 bits. Here the
whole recurrence is one differentiable function: the gradient of the weights is one product over
all steps, the input's products are looked up per token, and what a step needs stays in the cache.
Elsewhere ``torch.nn.GRU`` runs itself, on a GPU by cuDNN.

Shapes: T tokens, B molecules, I inputs, H hidden units, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

__all__ = ["GRU", "Cell", "compute_dtype", "full_precision", "recurrence"]

_ROWS = 65_536  # bounds the memory of a large vocabulary; an ordinary batch has fewer


class GRU(nn.GRU):
    """One layer of ``torch.nn.GRU``, its weights under the same names, with faster ways in."""

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, batch_first=True)

    def over_tokens(
        self,
        tokens: Tensor,
        embedding: Tensor,
        state: Tensor,
        shift: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Tensor:
        """States (B, T, H) over token ids (B, T), embedded by (V, I), from state (B, H).

        ``shift`` (B, I), the same at every step, is added to the embedded tokens. With ``features``
        (N, I) the tokens are (B, T, 1 + F): behind each id come V plus the rows of its features,
        which are added, too.
        """
        if tokens.device.type != "cpu":
            if features is None:
                x = functional.embedding(tokens, embedding)
            else:
                x = functional.embedding(tokens, torch.cat([embedding, features])).sum(-2)
            return self._library(x, state, shift)
        # There are few tokens: their products with the weights are computed once each.
        table = functional.linear(embedding, self.weight_ih_l0, self.bias_ih_l0)
        if features is not None:
            table = torch.cat([table, functional.linear(features, self.weight_ih_l0)])
        table = table.to(compute_dtype(table))
        return self._ours(table, tokens.transpose(0, 1).contiguous(), state, shift)

    def over_states(self, x: Tensor, state: Tensor, shift: Tensor | None = None) -> Tensor:
        """States (B, T, H) over inputs (B, T, I), such as the states of the layer below."""
        if x.device.type != "cpu":
            return self._library(x, state, shift)
        inputs = functional.linear(x.transpose(0, 1), self.weight_ih_l0, self.bias_ih_l0)
        return self._ours(inputs, None, state, shift)

    def _library(self, x: Tensor, state: Tensor, shift: Tensor | None) -> Tensor:
        if shift is not None:
            x = x + shift.unsqueeze(1)
        states: Tensor = self(x, state.unsqueeze(0).contiguous())[0]
        return states

    def _ours(
        self, inputs: Tensor, tokens: Tensor | None, state: Tensor, shift: Tensor | None
    ) -> Tensor:
        dtype = inputs.dtype
        if shift is None:
            offset = inputs.new_zeros(len(state), inputs.shape[-1])
        else:
            offset = functional.linear(shift, self.weight_ih_l0).to(dtype)
        weight, bias = self.weight_hh_l0.to(dtype), self.bias_hh_l0.to(dtype)
        states = recurrence(inputs, tokens, offset, state.to(dtype), weight, bias)
        return states.transpose(0, 1)


class Cell:
    """A layer at work without gradients, one step per call, its weights in one type.

    Biases that no gate scales are part of the offset, which is added once per step.
    """

    def __init__(self, gru: GRU, dtype: torch.dtype) -> None:
        self._gates = 2 * gru.hidden_size
        self._from_input = gru.weight_ih_l0.to(dtype).t()
        self._from_state = gru.weight_hh_l0.to(dtype).t()
        bias = gru.bias_hh_l0.clone()
        bias[self._gates :] = 0.0
        self._bias = gru.bias_ih_l0 + bias
        self._candidate_bias = gru.bias_hh_l0[self._gates :].to(dtype)

    def project_input(self, x: Tensor) -> Tensor:
        """The input's products with its weights (B, 3H), from inputs (B, I)."""
        return x.to(self._from_input.dtype) @ self._from_input

    def offset(self, shift: Tensor) -> Tensor:
        """What the layer adds at every step (B, 3H), from a constant part (B, I) of its input."""
        return (self.project_input(shift) + self._bias).to(self._from_input.dtype)

    def __call__(self, given: Tensor, offset: Tensor, state: Tensor) -> Tensor:
        """The next state (B, H) from the input's products, which are used up, and the state."""
        gates, size = self._gates, state.shape[-1]
        product = state @ self._from_state
        opened = given.add_(offset)[:, :gates].add_(product[:, :gates]).sigmoid_()
        recalled = product[:, gates:].add_(self._candidate_bias)
        candidate = given[:, gates:].addcmul_(opened[:, :size], recalled).tanh_()
        return torch.lerp(candidate, state, opened[:, size:])


def compute_dtype(like: Tensor) -> torch.dtype:
    """The type in which autocast multiplies matrices on the device of a tensor, or its own type."""
    kind = like.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype


def full_precision(x: Tensor) -> Tensor:
    """In 32 bits if it has fewer, as it is if it has more."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def recurrence(
    inputs: Tensor,
    tokens: Tensor | None,
    offset: Tensor,
    state: Tensor,
    weight: Tensor,
    bias: Tensor,
) -> Tensor:
    """States (T, B, H) of a GRU that starts from ``state`` (B, H); all in one dtype.

    ``inputs`` (T, B, 3H) are the products of the inputs with their weights, bias included, for the
    reset gate, the update gate and the candidate. With ``tokens`` (T, B) they are those of every
    token of the vocabulary, (V, 3H); with (T, B, N) the sum of N rows is taken. ``offset``
    (B, 3H) is added to them at every step; ``weight`` (3H, H) and ``bias`` (3H,) are those of the
    state.
    """
    states: Tensor = _Recurrence.apply(  # type: ignore[no-untyped-call]
        inputs, tokens, offset, state, weight, bias
    )
    return states


class _Recurrence(torch.autograd.Function):
    """h' = n + z·(h − n), n = tanh(x + o + r·(Wh + b)), r and z = σ(x + o + Wh + b)."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        tokens: Tensor | None,
        offset: Tensor,
        state: Tensor,
        weight: Tensor,
        bias: Tensor,
    ) -> Tensor:
        given = inputs if tokens is None else tokens
        steps, (batch, size) = len(given), state.shape
        gates = 2 * size
        states = inputs.new_empty(steps + 1, batch, size)
        states[0] = state
        opened = inputs.new_empty(steps, batch, gates)  # r and z
        recalled = inputs.new_empty(steps, batch, size)  # Wh + b of the candidate
        candidate = inputs.new_empty(steps, batch, size)  # n
        x, product = inputs.new_empty(batch, 3 * size), inputs.new_empty(batch, 3 * size)
        gate_offset = offset[:, :gates] + bias[:gates]
        candidate_offset, candidate_bias = offset[:, gates:].contiguous(), bias[gates:]
        transposed, h = weight.t(), states[0]
        arrays = (given, opened, recalled, candidate, states[1:])
        for now, rz, wh, n, after in zip(*(each.unbind() for each in arrays), strict=True):
            if tokens is None:
                x = now
            elif now.ndim == 1:
                torch.index_select(inputs, 0, now, out=x)
            else:
                x = functional.embedding_bag(now, inputs, mode="sum")
            torch.mm(h, transposed, out=product)
            torch.add(product[:, gates:], candidate_bias, out=wh)
            torch.add(x[:, :gates], product[:, :gates], out=rz)
            rz.add_(gate_offset).sigmoid_()
            torch.addcmul(x[:, gates:], rz[:, :size], wh, out=n)
            n.add_(candidate_offset).tanh_()
            torch.lerp(n, h, rz[:, size:], out=after)
            h = after
        ctx.vocabulary = len(inputs)
        ctx.save_for_backward(states, opened, recalled, candidate, weight, tokens)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        states, opened, recalled, candidate, weight, tokens = ctx.saved_tensors
        steps, batch, size = candidate.shape
        gates = 2 * size
        d_inputs = candidate.new_empty(steps, batch, 3 * size)
        d_recalled = torch.empty_like(candidate)
        dh = torch.zeros_like(candidate[0])
        kept, a, b = (torch.empty_like(dh) for _ in range(3))
        tanh_backward = torch.ops.aten.tanh_backward.grad_input
        arrays = (gradient, states[:-1], opened, recalled, candidate, d_inputs, d_recalled)
        backwards = zip(*(each.unbind()[::-1] for each in arrays), strict=True)
        for d_out, h, rz, wh, n, d_x, d_wh in backwards:
            r, z = rz[:, :size], rz[:, size:]
            d_r, d_z, d_n = d_x[:, :size], d_x[:, size:gates], d_x[:, gates:]
            dh.add_(d_out)
            torch.mul(dh, z, out=kept)
            # dz = dh·(h − n)·z·(1 − z)
            torch.sub(h, n, out=a).mul_(kept)
            torch.mul(a, z, out=b)
            torch.sub(a, b, out=d_z)
            tanh_backward(dh.sub_(kept), n, grad_input=d_n)
            torch.mul(d_n, r, out=d_wh)
            # dr = dn·(Wh + b)·r·(1 − r)
            torch.mul(d_wh, wh, out=a)
            torch.mul(a, r, out=b)
            torch.sub(a, b, out=d_r)
            torch.addmm(kept, d_x[:, :gates], weight[:gates], out=dh)
            dh.addmm_(d_wh, weight[gates:])
        before, flat = states[:-1].reshape(-1, size), d_inputs.view(-1, 3 * size)
        d_weight = torch.empty_like(weight)
        torch.mm(flat[:, :gates].t(), before, out=d_weight[:gates])
        torch.mm(d_recalled.view(-1, size).t(), before, out=d_weight[gates:])
        d_offset = d_inputs.sum(0)
        d_bias = torch.cat([d_offset[:, :gates].sum(0), d_recalled.sum((0, 1))])
        if tokens is not None:
            rows = tokens.flatten(0, 1).view(len(flat), 1 if tokens.ndim == 2 else tokens.shape[2])
            d_inputs = _lookup_gradient(flat, rows, ctx.vocabulary)
        return d_inputs, None, d_offset, dh, d_weight, d_bias


def _lookup_gradient(gradient: Tensor, rows: Tensor, size: int) -> Tensor:
    """The gradient of a table of ``size`` rows, as matrix products: those add up in 32 bits.

    ``rows`` (…, N), no two of a place alike, were added to give what has the ``gradient``.
    """
    parts = []
    for some, which in zip(gradient.split(_ROWS), rows.split(_ROWS), strict=True):
        chosen = some.new_zeros(len(some), size).scatter_(1, which, 1.0)
        parts.append(chosen.t() @ some)
    return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]
