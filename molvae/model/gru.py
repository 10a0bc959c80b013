"""GRU layers (Cho et al. 2014, in the form of cuDNN and ``torch.nn.GRU``), fast on a CPU.

``torch.nn.GRU`` differentiates every time step separately: on a CPU it spends much of its time in
small operations, and in bf16 it sums the gradient of its weights step by step in 16 bits. Here the
whole recurrence is one differentiable function: the gradient of the weights is one product over
all steps, the input's products are looked up per token, and the data of a step stays in the cache.
On other devices ``torch.nn.GRU`` runs as it is, on a GPU by cuDNN.

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
    """One layer of ``torch.nn.GRU``, with weights of the same names and a faster CPU path."""

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
        (N, I) the tokens are (B, T, 1 + F): each id is followed by the rows of its features plus
        V, and these vectors are added as well.
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
        return self._on_cpu(table, tokens.transpose(0, 1).contiguous(), state, shift)

    def over_states(self, x: Tensor, state: Tensor, shift: Tensor | None = None) -> Tensor:
        """States (B, T, H) over inputs (B, T, I), such as the states of the layer below."""
        if x.device.type != "cpu":
            return self._library(x, state, shift)
        inputs = functional.linear(x.transpose(0, 1), self.weight_ih_l0, self.bias_ih_l0)
        return self._on_cpu(inputs, None, state, shift)

    def _library(self, x: Tensor, state: Tensor, shift: Tensor | None) -> Tensor:
        if shift is not None:
            x = x + shift.unsqueeze(1)
        states: Tensor = self(x, state.unsqueeze(0).contiguous())[0]
        return states

    def _on_cpu(
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
    """A layer without gradients, one step per call, its weights in one dtype.

    Biases that no gate scales are part of the offset, which is added once per step.
    """

    def __init__(self, gru: GRU, dtype: torch.dtype) -> None:
        self._gates = 2 * gru.hidden_size
        # Copied in the order in which a product reads them: a tenth faster, the same bits.
        self._from_input = gru.weight_ih_l0.to(dtype).t().contiguous()
        self._from_state = gru.weight_hh_l0.to(dtype).t().contiguous()
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

    def __call__(self, projected: Tensor, offset: Tensor, state: Tensor) -> Tensor:
        """The next state (B, H); the projected input (B, 3H) is overwritten."""
        gates, size = self._gates, state.shape[-1]
        product = state @ self._from_state
        reset_update = projected.add_(offset)[:, :gates].add_(product[:, :gates]).sigmoid_()
        recalled = product[:, gates:].add_(self._candidate_bias)
        candidate = projected[:, gates:].addcmul_(reset_update[:, :size], recalled).tanh_()
        return torch.lerp(candidate, state, reset_update[:, size:])


def compute_dtype(like: Tensor) -> torch.dtype:
    """The dtype in which autocast multiplies matrices on a tensor's device, or its own dtype."""
    kind = like.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype


def full_precision(x: Tensor) -> Tensor:
    """The tensor in 32 bits, or in more if it has more."""
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
        sequence = inputs if tokens is None else tokens
        steps, (batch, size) = len(sequence), state.shape
        gates = 2 * size
        states = inputs.new_empty(steps + 1, batch, size)
        states[0] = state
        # Kept for the backward pass: r and z, Wh + b of the candidate, and n of every step.
        reset_update = inputs.new_empty(steps, batch, gates)
        recalled = inputs.new_empty(steps, batch, size)
        candidate = inputs.new_empty(steps, batch, size)
        x, product = inputs.new_empty(batch, 3 * size), inputs.new_empty(batch, 3 * size)
        gate_offset = offset[:, :gates] + bias[:gates]
        candidate_offset, candidate_bias = offset[:, gates:].contiguous(), bias[gates:]
        transposed, h = weight.t(), states[0]
        arrays = (sequence, reset_update, recalled, candidate, states[1:])
        # Every result is written in place: a step allocates no memory.
        for now, rz, wh, n, after in zip(*(array.unbind() for array in arrays), strict=True):
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
        ctx.save_for_backward(states, reset_update, recalled, candidate, weight, tokens)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        states, reset_update, recalled, candidate, weight, tokens = ctx.saved_tensors
        steps, batch, size = candidate.shape
        gates = 2 * size
        # Gradients of what enters the gates and the candidate: dr, dz and dn side by side, and
        # d(Wh + b) = dn·r of the candidate, which alone passes through the reset gate.
        d_inputs = candidate.new_empty(steps, batch, 3 * size)
        d_recalled = torch.empty_like(candidate)
        dh = torch.zeros_like(candidate[0])
        carried, a, b = (torch.empty_like(dh) for _ in range(3))
        tanh_backward = torch.ops.aten.tanh_backward.grad_input
        arrays = (gradient, states[:-1], reset_update, recalled, candidate, d_inputs, d_recalled)
        backwards = zip(*(array.unbind()[::-1] for array in arrays), strict=True)
        for d_out, h, rz, wh, n, d_x, d_wh in backwards:
            r, z = rz[:, :size], rz[:, size:]
            d_r, d_z, d_n = d_x[:, :size], d_x[:, size:gates], d_x[:, gates:]
            # dh' has two sources: the output of this step, and the step after it.
            dh.add_(d_out)
            # h' = (1 − z)·n + z·h: the share z goes to the state before, the rest to n.
            torch.mul(dh, z, out=carried)
            # dz = dh·(h − n)·z·(1 − z), computed as a − a·z with a = (h − n)·dh·z
            torch.sub(h, n, out=a).mul_(carried)
            torch.mul(a, z, out=b)
            torch.sub(a, b, out=d_z)
            # dn = dh·(1 − z)·(1 − n²)
            tanh_backward(dh.sub_(carried), n, grad_input=d_n)
            torch.mul(d_n, r, out=d_wh)
            # dr = dn·(Wh + b)·r·(1 − r), again as a − a·r
            torch.mul(d_wh, wh, out=a)
            torch.mul(a, r, out=b)
            torch.sub(a, b, out=d_r)
            # The state before: its share of h', and through W into gates and candidate.
            torch.addmm(carried, d_x[:, :gates], weight[:gates], out=dh)
            dh.addmm_(d_wh, weight[gates:])
        # W meets the states of all steps in one product each for gates and candidate: one sum in
        # full precision where summing step by step would round in 16 bits.
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
    """The gradient of a table of ``size`` rows, as matrix products, which sum in 32 bits.

    At each place the table's ``rows`` (…, N), all different, were added up; ``gradient`` is that of
    the sums.
    """
    parts = []
    for part, indices in zip(gradient.split(_ROWS), rows.split(_ROWS), strict=True):
        one_hot = part.new_zeros(len(part), size).scatter_(1, indices, 1.0)
        parts.append(one_hot.t() @ part)
    return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]
