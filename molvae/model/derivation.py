"""Derivation features: the state of SELFIES' grammar after a prefix, for encoder and decoder.

Whether the next symbol is read as a number, how many bonds the current atom has left and how many
symbols its branch has left follow exactly from the symbols before (Krenn et al. 2020), but a
recurrent layer would have to count them. Here they are computed step by step, for many molecules at
once.

Shapes: B molecules, T tokens, V vocabulary, F = 5 features, E embedding.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from molvae.chem.vocabulary import ATOM, BRANCH, RING

__all__ = ["SIZES", "Derivation", "DerivationState"]

_Ints = NDArray[np.int64]

# Numbers of values of the features, in the order of their rows in the table of vectors:
# how the next symbol is read (as itself, as a digit of a branch's or a ring's number with one to
# three digits to come, or not at all), bonds left on the current atom (-1: the chain has ended),
# symbols left in the innermost branch (0: no branch), branches open, atoms so far.
SIZES = (8, 8, 20, 6, 45)
_FIRST = tuple(sum(SIZES[:i]) for i in range(len(SIZES)))
_SKIPPED = 7  # how symbols after the end of their chain are read
_DEEPEST = 8  # nested branches; a deeper one replaces the last
_FAR = 1 << 20  # a position after every symbol


class Derivation(nn.Module):
    """Vectors of the features, which are added to the embedding of a token."""

    moves: Tensor
    looks: Tensor

    def __init__(self, embedding_size: int, grammar: NDArray[np.int64]) -> None:
        """``grammar`` (V, 4) comes from `vocabulary.grammar_table`."""
        super().__init__()
        # Zero at first, so that adding them to an older network changes nothing.
        self.weight = nn.Parameter(torch.zeros(sum(SIZES), embedding_size))
        moves, looks = _automaton(grammar)
        self.plain = int(grammar[:, 2].max(initial=0)) + 2  # states without digits, the first ones
        self.register_buffer("moves", torch.from_numpy(moves), persistent=False)
        self.register_buffer("looks", torch.from_numpy(looks), persistent=False)

    def begin(self, rows: int) -> DerivationState:
        """The state of this many molecules before their first token."""
        return DerivationState(self, rows, self.moves.device)

    def features(self, inputs: Tensor) -> Tensor:
        """Rows of ``weight`` (B, T, F) that say how each next symbol is read.

        ``inputs`` (B, T) begin with <bos>: the features at t are those after the tokens up to t.
        They may be on another device: training computes the features before it moves a batch to a
        GPU.
        """
        state = DerivationState(self, len(inputs), inputs.device)
        return torch.stack([state.step(tokens) for tokens in inputs.unbind(1)], dim=1)


def _automaton(grammar: _Ints) -> tuple[_Ints, _Ints]:
    """What a token does to a chain: moves (S, V + 1, 6), and looks (S, 2) of each of S states.

    A state is the number of bonds that the last atom can still make (0 before the first atom of
    all, -1 when the chain has ended) and, while a number is read, the digits to come, the kind of
    symbol that began it and its bond order. Columns of the moves: the next state; atoms made; the
    factor and the summand of the number so far; whether a branch opens, and the state in which it
    begins. The last row of a state is a token that is not read. Looks are the first two features.
    """
    bonds = np.arange(-1, int(grammar[:, 2].max(initial=0)) + 1)
    orders = np.arange(int(grammar[:, 1].max(initial=0)) + 1)
    # States without digits first, so that the ended chain is 0 and the first of all is 1.
    axes = np.meshgrid([1, 2, 3], [BRANCH, RING], orders, bonds, indexing="ij")
    columns = np.stack([axis.ravel() for axis in axes], axis=1)
    plain = np.zeros((len(bonds), 4), dtype=np.int64)
    plain[:, 3] = bonds
    digits, kind, order, left = np.concatenate([plain, columns]).T[:, :, None]  # (S, 1) each

    def number(digits: _Ints, kind: _Ints, order: _Ints, left: _Ints) -> _Ints:
        """The number of a state."""
        place = ((digits - 1) * 2 + (kind == RING)) * len(orders) + order
        return np.where(digits > 0, (place + 1) * len(bonds), 0) + left + 1

    unread = np.zeros((1, 4), dtype=np.int64)
    does, makes, takes, counts = np.concatenate([grammar, unread]).T[:, None, :]  # (1, V + 1) each
    digit = digits > 0
    reads = ~digit & (left >= 0)
    # A branch needs a bond more than it takes; without it the symbol means nothing.
    begins = reads & (((does == BRANCH) & (left > 1)) | ((does == RING) & (left > 0)))
    # An atom takes what is left of the bond it asks for; the first one needs none.
    is_atom = reads & (does == ATOM)
    bound = np.minimum(np.minimum(makes, left), takes)
    # The last digit opens a branch or closes a ring.
    last = digits == 1
    inside = np.minimum(left - 1, order)
    used = np.where(kind == BRANCH, inside, np.minimum(left, order)) * last
    after = np.where(is_atom, takes - bound, left - used)
    after = np.where((is_atom | (last & (kind == RING))) & (after == 0), -1, after)
    opens = last & (kind == BRANCH)
    following = number(
        np.where(begins, takes, np.maximum(digits - 1, 0)),
        np.where(begins, does, kind),
        np.where(begins, makes, order),
        after,
    )
    columns_of_moves = (
        following,
        is_atom & ((bound > 0) | (left == 0)),
        digit * 16,
        digit * counts,
        opens,
        np.where(opens, inside + 1, 0),
    )
    moves = np.stack(np.broadcast_arrays(*columns_of_moves), axis=-1)
    way = np.where(left < 0, _SKIPPED, np.where(digit, digits + 3 * (kind == RING), 0))
    looks = np.concatenate([way, np.clip(left + 1, 0, SIZES[1] - 1) + _FIRST[1]], axis=1)
    return moves.astype(np.int64), looks.astype(np.int64)


class DerivationState:
    """The derivation of B molecules as far as their tokens go; all have as many tokens.

    The derivation is that of `selfies.from_selfies`. A frame is a chain: the main one, then nested
    branches. Nothing here waits for a GPU.
    """

    def __init__(self, derivation: Derivation, rows: int, device: torch.device) -> None:
        moves = derivation.moves.to(device)
        self._unread = moves.shape[1] - 1
        self._moves, self._looks = moves.flatten(0, 1), derivation.looks.to(device)
        self._plain = derivation.plain
        self._at = -1  # symbols read; <bos> is none
        zero = moves.new_zeros(rows)
        self._state = zero + 1  # of the innermost frame
        self._value = zero  # of the number that is being read
        self._atoms = zero
        self._resume = zero  # symbols before this position are not read
        self._depth = zero.unsqueeze(1)  # (B, 1) the innermost frame
        self._states = moves.new_zeros(rows, _DEEPEST + 1)  # of each frame
        self._ends = moves.new_full((rows, _DEEPEST + 1), -1)  # of each frame, as a position
        self._ends[:, 0] = _FAR
        self._levels = torch.arange(_DEEPEST + 1, device=device)

    def step(self, tokens: Tensor) -> Tensor:
        """Read one more token of each molecule, (B,); the features of what follows, (B, F)."""
        tokens = tokens.masked_fill(self._resume > self._at, self._unread)
        self._at += 1
        place = self._state * (self._unread + 1) + tokens
        moves = self._moves.index_select(0, place)
        state, atoms, times, plus, opens, inner = moves.unbind(-1)
        self._atoms = self._atoms + atoms
        self._value = torch.addcmul(plus, self._value, times)
        self._open(state, opens, inner)
        self._close()
        return self._features()

    def _open(self, state: Tensor, opens: Tensor, inner: Tensor) -> None:
        """Write the state of the innermost frame, and begin those of new branches."""
        begun = opens.unsqueeze(1) > 0
        end = (self._value + (self._at + 1)).unsqueeze(1)
        self._states.scatter_(1, self._depth, state.unsqueeze(1))
        # When a branch ends at or behind the end of chains around it, they have ended with it.
        self._states.masked_fill_(begun & (self._ends <= end), 0)
        self._depth = (self._depth + opens.unsqueeze(1)).clamp(max=_DEEPEST)
        inner = torch.where(begun, inner.unsqueeze(1), self._states.gather(1, self._depth))
        self._states.scatter_(1, self._depth, inner)
        end = torch.where(begun, end, self._ends.gather(1, self._depth))
        self._ends.scatter_(1, self._depth, end)

    def _close(self) -> None:
        """Leave the frames that have ended; one that ended early skips the rest of its symbols."""
        position = self._resume.clamp(min=self._at).unsqueeze(1)
        alive = (self._ends > position) & (self._states > 0)
        frame = self._levels.masked_fill(~alive, -1).amax(dim=1, keepdim=True)
        # A number is read to its end, whatever its chain.
        counting = self._states.gather(1, self._depth) >= self._plain
        frame = torch.where(counting, self._depth, frame)
        left = self._levels > frame
        ended = self._ends.masked_fill(~left, -1).amax(dim=1, keepdim=True)
        self._ends.masked_fill_(left, -1)
        self._resume = torch.maximum(position, ended).squeeze(1)
        self._depth = frame.clamp(min=0)
        self._state = self._states.gather(1, self._depth).squeeze(1)

    def _features(self) -> Tensor:
        looks = self._looks.index_select(0, self._state)
        looks[:, 0].masked_fill_(self._resume > self._at, _SKIPPED)
        left = self._ends.gather(1, self._depth) - self._at
        left.masked_fill_(self._depth == 0, 0).clamp_(max=SIZES[2] - 1).add_(_FIRST[2])
        depth = self._depth.clamp(max=SIZES[3] - 1) + _FIRST[3]
        atoms = (self._atoms.clamp(max=SIZES[4] - 1) + _FIRST[4]).unsqueeze(1)
        return torch.cat([looks, left, depth, atoms], dim=1)

    def keep(self, rows: Tensor) -> None:
        """Continue with these molecules only: a mask, or indices, which may repeat."""
        for name in ("state", "value", "atoms", "resume", "depth", "states", "ends"):
            setattr(self, f"_{name}", getattr(self, f"_{name}")[rows])
