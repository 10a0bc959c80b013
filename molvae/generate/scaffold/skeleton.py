"""A scaffold as steps for the decoder, and the chains that the decoder builds.

SELFIES states lengths of branches and distances of ring closures before they are known. The items
of chains leave them open; :func:`written` fills them in.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.selfies import Meaning, index_of, index_symbols, meaning
from molvae.chem.vocabulary import EOS, SPECIAL_TOKENS, Vocabulary

__all__ = [
    "Atom", "Branch", "Close", "Compiler", "End", "Grammar", "Item", "Link", "Must", "Open", "Ring",
    "Skeleton", "Step", "joined", "written",
]  # fmt: skip

ORGANIC = re.compile(r"\[[=#/\\]?[A-Z][a-z]?\]")  # names no hydrogens, charge, stereo, isotope
OPTIONAL, NEEDED = (mark.strip("[]") for mark in chem.MARKS)
BONDS = ("", "", "=", "#")


@dataclass(frozen=True)
class Ring:
    """A ring closure to an earlier atom."""

    bond: str
    distance: int  # in atoms, back in the order of writing


class Branch(list["Item"]):
    """The items of a branch, with the highest bond order that its symbol allows."""

    def __init__(self, order: int, *, own: bool = False) -> None:
        super().__init__()
        self.bond = BONDS[order]
        self.own = own  # part of the skeleton


Item = str | Ring | Branch  # the text is the symbol of an atom


def written(items: Sequence[Item]) -> list[str]:
    """The symbols of a chain, with true lengths and distances."""
    symbols: list[str] = []
    for place, item in enumerate(items, 1):
        if place == len(items) and isinstance(item, Branch) and item.own:
            # Nothing follows: the last bond of a chain needs no branch in SELFIES.
            symbols += written(item)
        elif isinstance(item, str):
            symbols.append(item)
        elif isinstance(item, Ring):
            number = index_symbols(item.distance - 1)
            symbols += [f"[{item.bond}Ring{len(number)}]", *number]
        elif inside := written(item):
            number = index_symbols(len(inside) - 1)
            symbols += [f"[{item.bond}Branch{len(number)}]", *number, *inside]
    return symbols


# What a skeleton is made of ----------------------------------------------------------------------


@dataclass(frozen=True)
class Atom:
    """An atom of the scaffold."""

    symbol: str
    token: int


@dataclass(frozen=True)
class Close:
    """A ring closure from the atom before it."""

    bond: str
    target: int  # atom of the skeleton
    digits: int  # of its distance without decorations


@dataclass(frozen=True)
class Open:
    """The symbol that opens a branch."""

    order: int
    size: int  # symbols inside, without decorations
    digits: int  # of that number
    grows: bool  # it has an atom that may be decorated


@dataclass(frozen=True)
class Must:
    """An attachment point that must be used; left open, stereo or a charge would be lost."""

    bond: str  # direction beside a double bond


@dataclass(frozen=True)
class End:
    """The end of a branch, or of the molecule."""

    must: Must | None  # the chain has to continue


@dataclass(frozen=True)
class Link:
    """A chain, drawn freely and possibly empty, to the first atom of the next part."""

    must: Must | None  # the direction of its first bond, which then has an atom


Step = Atom | Close | Open | Must | End | Link


class Grammar:
    """The meaning of every token of a vocabulary, and masks of the tokens that may be drawn."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Uses the bonding limits in force."""
        tokens = vocabulary.tokens
        self.symbols = tokens
        self.ids = {token: i for i, token in enumerate(tokens)}
        self.meanings = [
            Meaning("other") if token in SPECIAL_TOKENS else meaning(token) for token in tokens
        ]
        self.values = [index_of([token]) for token in tokens]
        self.digits = [i for i, t in enumerate(tokens) if index_symbols(self.values[i]) == [t]]
        self.single: list[NDArray[np.bool_]] = list(np.eye(len(tokens), dtype=np.bool_))
        self._masks: dict[Hashable, NDArray[np.bool_]] = {}

    def mask(
        self, key: Hashable, allowed: Callable[[Meaning], bool], also: int = -1
    ) -> NDArray[np.bool_]:
        """Tokens that are ``allowed`` by their meaning, and one more; cached under a key."""
        if key not in self._masks:
            mask = np.asarray([allowed(m) for m in self.meanings])
            if also >= 0:
                mask[also] = True
            self._masks[key] = mask
        return self._masks[key]

    def number(self, allowed: Sequence[int], before: int, left: int) -> NDArray[np.bool_]:
        """Symbols that continue a number to one of ``allowed``, an ascending sequence.

        ``before`` is the part that was drawn, ``left`` the symbols after the next one.
        """
        mask, size = np.zeros(len(self.symbols), dtype=np.bool_), 16**left
        for token in self.digits:
            low = (before * 16 + self.values[token]) * size
            place = bisect_left(allowed, low)
            mask[token] = place < len(allowed) and allowed[place] < low + size
        if not mask.any():  # the vocabulary lacks the digits: any will do, `written` corrects them
            mask[self.digits] = True
        return mask


@dataclass(frozen=True)
class Skeleton:
    """One way to write a scaffold, as steps for the decoder."""

    steps: tuple[Step, ...]
    free: tuple[int, ...]  # for each atom: bonds it may have to decorations
    symbols: tuple[str, ...]  # without decorations, but with a carbon where one is required
    slack: int  # additional symbols that its numbers may need with decorations
    grammar: Grammar
    led: bool = False  # written after a mark: the first atom is bound to a part before it
    last: int = 0  # the atom at which a part after it may begin

    def follows(self) -> bool:
        """Whether it may be bound to a part before it."""
        return self.free[0] > 0

    def precedes(self, *, follows: bool) -> bool:
        """Whether a part may be bound to its last atom."""
        end = self.steps[-1]
        taken = follows and self.last == 0
        return (isinstance(end, End) and end.must is not None) or self.free[self.last] > taken


def joined(parts: Sequence[Skeleton]) -> Skeleton:
    """Several parts in one chain, with a link after each but the last."""
    steps: list[Step] = []
    free: list[int] = []
    for part in parts:
        if steps:
            end = steps.pop()
            must = end.must if isinstance(end, End) else None
            steps.append(Link(must if must and must.bond else None))
        steps += [
            replace(step, target=step.target + len(free)) if isinstance(step, Close) else step
            for step in part.steps
        ]
        free += part.free
    symbols = tuple(symbol for part in parts for symbol in part.symbols)
    slack = sum(part.slack for part in parts)
    return Skeleton(tuple(steps), tuple(free), symbols, slack, parts[0].grammar)


def _is_mark(symbol: str) -> bool:
    return OPTIONAL in symbol or NEEDED in symbol


class Compiler:
    """Makes a skeleton from the SELFIES symbols of a writing, under the bonding limits in force."""

    def __init__(self, symbols: list[str], hydrogens: Sequence[int], grammar: Grammar) -> None:
        self.symbols, self.hydrogens, self.grammar = symbols, hydrogens, grammar
        self.marked = any(_is_mark(symbol) for symbol in symbols)
        self.steps: list[Step] = []
        self.atoms: list[int] = []  # number of each atom as written; -1 for a mark
        # For each atom: its symbol, bonds to decorations, bonds left.
        self.names: list[str] = []
        self.free: list[int] = []
        self.bonds_left: list[int] = []
        self.slack = 0
        self.last = -1  # atom of the chain that ended last

    def skeleton(self) -> Skeleton:
        """The steps, and what decorations may use."""
        led = _is_mark(self.symbols[0])
        if led:
            self.atoms.append(-1)
        items = self._chain(int(led), len(self.symbols), -1)
        if led:
            self.free[0] += 1
        free = tuple(min(pair) for pair in zip(self.free, self.bonds_left, strict=True))
        symbols = tuple(written(items))
        steps = tuple(self.steps)
        return Skeleton(steps, free, symbols, self.slack, self.grammar, led, self.last)

    def _chain(self, at: int, end: int, current: int) -> list[Item]:
        """The items of the symbols from ``at`` to ``end``, bound to the atom ``current``."""
        items: list[Item] = []
        must: Must | None = None
        while at < end:
            symbol, what = self.symbols[at], meaning(self.symbols[at])
            number = index_of(self.symbols[at + 1 : at + 1 + what.size])
            at += 1
            if what.kind == "atom":
                if _is_mark(symbol):
                    must = self._point(symbol, current)
                    items += ["[C]"] if must else []
                else:
                    current = self._atom(symbol, what, current)
                    items.append(symbol)
                continue
            at += what.size
            if what.kind == "ring":
                target = self.atoms[self.atoms.index(current) - number - 1]
                for atom in (current, target):
                    self.bonds_left[atom] -= what.order
                bond, distance = symbol[1 : symbol.index("Ring")], current - target
                items.append(Ring(bond, distance))
                digits = len(index_symbols(distance - 1))
                self.steps.append(Close(bond, target, digits))
                self.slack += 1
                continue
            branch = Branch(what.order)
            if number == 0 and _is_mark(self.symbols[at]):
                if (point := self._point(self.symbols[at], current)) is not None:
                    self.steps.append(point)
                    branch.append("[C]")
            else:
                place, first = len(self.steps), len(self.free)
                branch += self._chain(at, at + number + 1, current)
                size = len(written(branch))
                inside = self.steps[place:]
                grows = any(self.free[first:]) or any(
                    isinstance(step, Must) or (isinstance(step, End) and step.must is not None)
                    for step in inside
                )
                own = Open(what.order, size, len(index_symbols(size - 1)), grows)
                self.steps.insert(place, own)
                self.slack += 1
            items.append(branch)
            at += number + 1
        self.steps.append(End(must))
        self.last = current
        return items

    def _atom(self, symbol: str, what: Meaning, before: int) -> int:
        number = len(self.free)
        hydrogens = self.hydrogens[len(self.atoms)]
        self.atoms.append(number)
        self.names.append(symbol)
        self.free.append(0 if self.marked else hydrogens)
        self.bonds_left.append(what.size)
        if before >= 0:
            for atom in (number, before):
                self.bonds_left[atom] -= what.order
        self.steps.append(Atom(symbol, self.grammar.ids.get(symbol, EOS)))
        return number

    def _point(self, symbol: str, current: int) -> Must | None:
        """An attachment point at an atom: a free bond, or a required step."""
        self.atoms.append(-1)
        bond = symbol[1] if symbol[1] in "/\\" else ""
        if OPTIONAL in symbol and ORGANIC.fullmatch(self.names[current]):
            self.free[current] += 1
            return None
        return Must(bond)
