"""Building a molecule around a skeleton, token by token."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molvae.chem.selfies import index_symbols
from molvae.chem.vocabulary import EOS
from molvae.generate.scaffold.skeleton import (
    Atom,
    Branch,
    Close,
    End,
    Item,
    Link,
    Must,
    Open,
    Ring,
    Skeleton,
    written,
)

__all__ = ["Row"]


@dataclass
class _Frame:
    """A chain of a decoration, which the network draws freely."""

    items: list[Item]
    state: int  # bonds that its last atom has left
    left: int  # symbols that it may still have
    atom: int  # its last atom, in the order of writing
    tail: bool = False  # continues a chain of the skeleton
    last: bool = False  # ends the molecule: <eos> may come
    head: bool = False  # precedes a part of the skeleton, which may begin at its last atom
    must: Must | None = None  # an atom has to come next


@dataclass
class _Number:
    """A number that is being read, symbol by symbol."""

    left: int  # symbols to come
    allowed: Sequence[int]  # ascending
    then: Callable[[int], None]  # called with the number
    value: int = 0


_ANY = Must("")


class Row:
    """One molecule being built: `choices` are the tokens that may come, `take` adds one."""

    def __init__(self, skeleton: Skeleton, limit: int) -> None:
        self.steps, self.grammar = skeleton.steps, skeleton.grammar
        self.free = list(skeleton.free)
        self.items: list[Item] = []  # of the chain of the skeleton that is being built
        self.whole = self.items
        self.places: list[int] = []  # positions of the skeleton's atoms among all atoms
        self.owners: list[int] = []  # for each atom: its number in the skeleton, -1 in decorations
        self.at = 0  # index of the next step
        self.current = -1  # last atom of the skeleton
        # Symbols left for decorations: in the molecule, then in each open branch of the skeleton.
        self.spare = [max(0, limit - len(skeleton.symbols) - skeleton.slack)]
        self.left = limit
        self.branches: list[tuple[list[Item], int]] = []
        self.frames: list[_Frame] = []
        self.forced: list[int] = []  # tokens without a choice, the next one last
        self.number: _Number | None = None
        self.done = False
        if self.free[0] and self.spare[0]:
            self.frames.append(_Frame(self.items, 0, self.spare[0], -1, head=True))

    def text(self) -> str:
        """The SELFIES written so far."""
        return "".join(written(self.whole))

    def choices(self) -> NDArray[np.bool_]:
        """The tokens that may come."""
        grammar = self.grammar
        if self.forced:
            return grammar.single[self.forced[-1]]
        if self.number is not None:
            number = self.number
            return grammar.number(number.allowed, number.value, number.left - 1)
        if self.frames:
            return self._drawn_freely(self.frames[-1])
        step = self.steps[self.at]
        if isinstance(step, Atom):
            # SELFIES does not read a branch at the beginning of a branch.
            free = self.free[self.current] if self.current >= 0 and self.items else 0
            digits = _digits(self.spare[-1])
            if not free or not digits:
                return grammar.single[step.token]
            return self._opening(free, digits, step.token)
        if isinstance(step, Open):
            least, most = step.digits, self._most_digits(step)
            return grammar.mask(
                ("own", step.order, least, most),
                lambda m: m.kind == "branch" and m.order == step.order and least <= m.size <= most,
            )
        return self._opening(1, max(_digits(self.spare[-1] + 3), 1), -1)

    @property
    def may_begin(self) -> bool:
        """Whether the next part of the skeleton may begin here, or the chain before it grow."""
        if len(self.frames) != 1 or self.number is not None:
            return False
        return self.frames[0].head and self.frames[0].must is None

    def begin(self) -> None:
        """Begin the next part of the skeleton, bound to the chain before it, if any."""
        head = self.frames.pop()
        if head.atom >= 0:
            self.free[len(self.places)] -= 1
        self.spare[0] = max(0, head.left)

    def _opening(self, free: int, digits: int, also: int) -> NDArray[np.bool_]:
        return self.grammar.mask(
            ("opening", free, digits, also),
            lambda m: m.kind == "branch" and m.order <= free and m.size <= digits,
            also,
        )

    def _drawn_freely(self, frame: _Frame) -> NDArray[np.bool_]:
        end = EOS if frame.last and frame.must is None else -1
        if frame.atom < 0 or (frame.must is not None and not frame.head):
            return self.grammar.mask("atoms", lambda m: m.kind == "atom" and m.size > 0)
        if frame.head and self.owners[frame.atom] >= 0:
            return self.grammar.mask(
                "link", lambda m: m.kind == "atom" and m.order == 1 and m.size > 1
            )
        if frame.head:
            # One bond is reserved for the skeleton.
            most = frame.state - 1
            return self.grammar.mask(
                ("head", most),
                lambda m: (
                    (m.kind == "atom" and m.size > min(m.order, most + 1))
                    or (m.kind in ("branch", "ring") and m.order <= most)
                ),
            )
        if self.owners[frame.atom] >= 0:
            # More bonds than replaceable hydrogens would change the skeleton.
            most = frame.state
            return self.grammar.mask(
                ("tail", most, end),
                lambda m: (
                    (m.kind == "atom" and 0 < m.order <= min(most, m.size))
                    or (m.kind == "branch" and m.order < most)
                ),
                end,
            )
        return self.grammar.mask(("free", end), lambda m: m.kind != "other", end)

    def _most_digits(self, step: Open) -> int:
        digits, spare = step.digits, self.spare[-1] if step.grows else 0
        while 16**digits < step.size + spare - (digits + 1 - step.digits):
            digits += 1
        return digits

    def take(self, token: int) -> None:
        """Add a token, one of `choices`."""
        self.left -= 1
        if token == EOS:
            self.done = True
        # The network reads forced tokens for its state; they are in the items already.
        elif self.forced:
            self.forced.pop()
        # Numbers (branch lengths, ring distances) have 16 digits; the last one completes them.
        elif self.number is not None:
            number = self.number
            number.value = number.value * 16 + self.grammar.values[token]
            number.left -= 1
            if number.left == 0:
                self.number = None
                # A vocabulary without all digits cannot write every number: take the next allowed.
                place = bisect_left(number.allowed, number.value)
                number.then(number.allowed[min(place, len(number.allowed) - 1)])
        # The innermost decoration comes before the next step of the skeleton.
        elif self.frames:
            self._take_freely(token)
        else:
            self._take_step(token)
        # Ends of chains and ring closures of the skeleton need no choice.
        self._advance()

    def _take_step(self, token: int) -> None:
        step, what = self.steps[self.at], self.grammar.meanings[token]
        if isinstance(step, Atom) and what.kind != "branch":
            self.current = len(self.places)
            self.places.append(len(self.owners))
            self.owners.append(self.current)
            self.items.append(step.symbol)
            self.at += 1
        elif isinstance(step, Open):
            spare = self.spare[-1] if step.grows else 0
            growth = what.size - step.digits
            low = max(step.size - 1, 16 ** (what.size - 1) if growth else 0)
            high = min(step.size - 1 + max(0, spare - growth), 16**what.size - 1)

            def enter(value: int) -> None:
                inside = value + 1 - step.size
                self.spare[-1] -= min(inside + growth, self.spare[-1])
                self.spare.append(inside)
                self.branches.append((self.items, self.current))
                branch = Branch(step.order, own=True)
                self.items.append(branch)
                self.items = branch

            self.at += 1
            self.number = _Number(what.size, range(low, max(low, high) + 1), enter)
        else:
            must = step if isinstance(step, Must) else None
            if must is None:
                self.free[self.current] -= what.order
            else:
                self.spare[-1] += 3
                self.at += 1
            high = min(16**what.size, self.spare[-1] - 1 - what.size)
            low = 16 ** (what.size - 1) if what.size > 1 else 0

            def decorate(value: int) -> None:
                self.spare[-1] -= min(2 + what.size + value, self.spare[-1])
                branch = Branch(what.order)
                self.items.append(branch)
                place = self.places[self.current]
                self.frames.append(_Frame(branch, what.order, value + 1, place, must=must or _ANY))

            self.number = _Number(what.size, range(low, max(low + 1, high)), decorate)

    def _take_freely(self, token: int) -> None:
        """The derivation of SELFIES (Krenn et al. 2020), a symbol at a time."""
        frame, what = self.frames[-1], self.grammar.meanings[token]
        frame.left -= 1
        if what.kind == "atom":
            symbol = self.grammar.symbols[token]
            if frame.must is not None and frame.must.bond:
                symbol = "[" + frame.must.bond + symbol.lstrip("[=#/\\")
            frame.must = None
            frame.items.append(symbol)
            frame.atom = len(self.owners)
            self.owners.append(-1)
            # The first atom of all has no bond to one before it.
            frame.state = what.size - min(what.order, frame.state, what.size)
        elif what.kind == "branch":
            if frame.state > 1:
                order = min(frame.state - 1, what.order)
                frame.state -= order
                self._expect(frame, what.size, range(16**what.size), self._nested(frame, order))
        else:
            order = min(frame.state, what.order)
            targets = self._targets(frame, order)[: 16**what.size]
            allowed = [i for i, target in enumerate(targets) if target]
            if allowed:  # otherwise it is not written
                frame.state -= order
            self._expect(
                frame,
                what.size,
                allowed or range(16**what.size),
                self._ring(frame, token, order, bool(allowed)),
            )

    def _expect(
        self, frame: _Frame, size: int, allowed: Sequence[int], then: Callable[[int], None]
    ) -> None:
        """Expect a number in a free chain, unless the chain ends before it."""
        frame.left -= size
        if frame.left >= 0:
            self.number = _Number(size, allowed, then)

    def _nested(self, frame: _Frame, order: int) -> Callable[[int], None]:
        def then(value: int) -> None:
            length = min(value + 1, frame.left)
            if length > 0:
                frame.left -= length
                branch = Branch(order)
                frame.items.append(branch)
                self.frames.append(_Frame(branch, order, length, frame.atom, must=_ANY))

        return then

    def _ring(self, frame: _Frame, token: int, order: int, possible: bool) -> Callable[[int], None]:
        def then(value: int) -> None:
            if possible:
                symbol = self.grammar.symbols[token]
                frame.items.append(Ring(symbol[1 : symbol.index("Ring")], value + 1))
                owner = self.owners[frame.atom - value - 1]
                if owner >= 0:
                    self.free[owner] -= order

        return then

    def _targets(self, frame: _Frame, order: int) -> list[bool]:
        """Whether a ring may be closed to each atom before the last one, the nearest first."""
        before = reversed(self.owners[: frame.atom])
        return [owner < 0 or self.free[owner] >= order for owner in before]

    def _advance(self) -> None:
        """Advance to the next step that needs a token."""
        while not (self.done or self.forced or self.number is not None):
            if self.frames:
                frame = self.frames[-1]
                if frame.left > 0 and frame.state > 0:
                    return
                if frame.head:
                    self.begin()
                    continue
                self.frames.pop()
                if frame.tail:
                    self._leave()
                continue
            step = self.steps[self.at]
            if isinstance(step, Close):
                self._close(step)
            elif isinstance(step, End):
                self._finish(step)
            elif isinstance(step, Link):
                self._link(step)
            else:
                return

    def _close(self, step: Close) -> None:
        distance = self.places[self.current] - self.places[step.target]
        self.items.append(Ring(step.bond, distance))
        number = index_symbols(distance - 1)
        self.spare[-1] -= min(len(number) - step.digits, self.spare[-1])
        ids, first = self.grammar.ids, self.grammar.digits[0]
        known = ids[f"[{step.bond}Ring{step.digits}]"]
        self.forced = [ids.get(symbol, first) for symbol in reversed(number)]
        self.forced.append(ids.get(f"[{step.bond}Ring{len(number)}]", known))
        self.at += 1

    def _finish(self, step: End) -> None:
        """The end of a chain, which the network may extend."""
        last = not self.branches
        left = self.left if last else self.spare[-1] + (step.must is not None)
        free = self.free[self.current] + (step.must is not None)
        self.free[self.current] = 0
        if free and left > 0:
            place = self.places[self.current]
            self.frames.append(
                _Frame(self.items, free, left, place, tail=True, last=last, must=step.must)
            )
        else:
            self._leave()

    def _link(self, step: Link) -> None:
        """A chain to the next part of the skeleton."""
        left = self.spare[0] + (step.must is not None)
        place = self.places[self.current]
        self.frames.append(_Frame(self.items, 1, left, place, head=True, must=step.must))
        self.free[self.current], self.current = 0, -1
        self.at += 1

    def _leave(self) -> None:
        if self.branches:
            self.items, self.current = self.branches.pop()
            self.spare.pop()
            self.at += 1
        elif self.left > 0:
            self.forced = [EOS]  # its probability is part of the weight
        else:
            self.done = True


def _digits(spare: int) -> int:
    """Most digits of the length of a branch that takes at most ``spare`` symbols."""
    return sum(spare >= least for least in (3, 20, 261))  # 1 + k + 16^(k-1) + 1, or + 1
