"""SMILES ⇄ SELFIES ⇄ token ids. The one place that imports selfies.

SELFIES (Krenn et al. 2020) describe a molecule by symbols of which every sequence is a valid
molecule; the bonding limits that make it so are global to the process and are set here alone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
import selfies
from numpy.typing import NDArray
from selfies import grammar_rules
from selfies.utils.smiles_utils import atom_to_smiles

from molvae.errors import FileError, ModelFolderError

__all__ = [
    "ATOM",
    "BOS",
    "BRANCH",
    "EOS",
    "PAD",
    "RING",
    "SPECIAL_TOKENS",
    "Meaning",
    "Vocabulary",
    "constraints",
    "from_selfies",
    "grammar_table",
    "index_of",
    "index_symbols",
    "meaning",
    "selfies_of",
    "split_selfies",
    "to_selfies",
    "use_constraints",
]

PAD, BOS, EOS = 0, 1, 2
SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>")

_SYMBOL = re.compile(r"\[[^\[\]]*\]|\.")


def split_selfies(text: str) -> list[str]:
    """The symbols of a SELFIES string.

    >>> split_selfies("[C][=O]")
    ['[C]', '[=O]']
    """
    return _SYMBOL.findall(text)


def to_selfies(smiles: str) -> str | None:
    """SELFIES of a SMILES, or None if it is malformed or exceeds the bonding limits in force."""
    try:
        return str(selfies.encoder(smiles))
    except (selfies.EncoderError, LookupError):  # its parser stumbles over some damage
        return None


@functools.lru_cache(maxsize=20_000)  # a search meets its molecules again and again
def selfies_of(smiles: str, limits: tuple[tuple[str, int], ...]) -> str:
    """SELFIES under bonding limits, pairs of atom and bonds; empty where there are none."""
    with use_constraints(dict(limits)):
        return to_selfies(smiles) or ""


def from_selfies(text: str) -> str:
    """SMILES of a SELFIES string; it may be empty, since a SELFIES can describe no atom.

    What ``selfies.decoder`` gives, in a third of its time: it keeps account of which symbol became
    which part of the SMILES, which is not needed here. Rare symbols are left to it.
    """
    steps, symbols = _steps(tuple(selfies.get_semantic_constraints().items())), split_selfies(text)
    try:
        known = [steps[symbol] for symbol in symbols]
    except KeyError:
        steps.update({symbol: _step(symbol) for symbol in symbols})
        known = [steps[symbol] for symbol in symbols]
    plain = [step for step in known if step is not None]
    if len(plain) < len(known) or sum(map(len, symbols)) < len(text):
        return str(selfies.decoder(text))
    return _written(*_derived(plain))


class _Step(NamedTuple):
    """A symbol at work; fields as in :class:`Meaning`."""

    kind: Literal["atom", "branch", "ring"]
    order: int
    size: int
    number: int  # what it counts where it is read as a digit
    text: str = ""  # of the atom in a SMILES
    mark: str = ""  # of its bond, if that is single: / or \


@functools.lru_cache(maxsize=8)
def _steps(limits: tuple[tuple[str, int], ...]) -> dict[str, _Step | None]:
    """The symbols met so far under these bonding limits."""
    return {}


def _step(symbol: str) -> _Step | None:
    """None for symbols that are left to the library: dots, [nop], rings with a mark, nonsense."""
    number = index_of([symbol])
    if (branch := grammar_rules.process_branch_symbol(symbol)) is not None:
        order, size = branch
        return _Step("branch", order, size, number)
    if (ring := grammar_rules.process_ring_symbol(symbol)) is not None:
        order, size, marks = ring
        return None if any(marks) else _Step("ring", order, size, number)
    if (found := grammar_rules.process_atom_symbol(symbol)) is not None:
        (order, mark), atom = found
        text = atom_to_smiles(atom)
        return _Step("atom", order, atom.bonding_capacity, number, text, mark or "")
    return None


class _Bond:
    """A bond while rings are formed; ``number`` is that of a ring closure, once it has one."""

    __slots__ = ("mark", "number", "order")

    def __init__(self, order: int, mark: str = "") -> None:
        self.order, self.mark, self.number = order, mark, 0

    def __str__(self) -> str:
        return self.mark if self.order == 1 else "=" if self.order == 2 else "#"


class _Atoms(NamedTuple):
    """A tree of atoms in the order of a SMILES."""

    texts: list[str]
    parents: list[int]  # -1 for the first
    bonds: list[_Bond]  # to the parent
    free: list[int]  # bonds each can still make


def _derived(steps: list[_Step]) -> tuple[_Atoms, list[tuple[int, int, int]]]:
    """The tree that SELFIES' grammar derives, and the rings asked for: two atoms, bond order.

    The state is the number of bonds the last atom can still make: 0 before the first atom, -1 when
    the chain is at its end.
    """
    atoms = _Atoms([], [], [], [])
    rings: list[tuple[int, int, int]] = []
    outer: list[tuple[int, int, int]] = []  # chains that wait for a branch: end, state, last atom
    at, end, state, last = 0, len(steps), 0, -1
    while True:
        if state < 0 or at >= end:
            if not outer:
                return atoms, rings
            at = max(at, end)
            end, state, last = outer.pop()
            continue
        kind, order, size, _, text, mark = steps[at]
        at += 1
        if kind == "atom":
            order = min(order, state, size)
            if order or state == 0:
                if state:
                    atoms.free[last] -= order
                atoms.texts.append(text)
                atoms.parents.append(last)
                atoms.bonds.append(_Bond(order, mark))
                atoms.free.append(size - order)
                last = len(atoms.texts) - 1
            state = size - order or -1
        elif state > (kind == "branch"):
            number = 0
            for step in steps[at : at + size]:
                number = number * 16 + step.number
            number *= 16 ** max(at + size - len(steps), 0)  # digits that are missing are 0
            at += size
            if kind == "branch":
                inner = min(state - 1, order)
                outer.append((end, state - inner, last))
                end, state = min(at + number + 1, len(steps)), inner
            else:
                order = min(order, state)
                rings.append((max(last - number - 1, 0), last, order))
                state = state - order or -1


def _written(atoms: _Atoms, rings: list[tuple[int, int, int]]) -> str:
    """SMILES of the atoms after as many of the rings as there is room for are formed, in order."""
    texts, parents, bonds, free = atoms
    formed: dict[tuple[int, int], _Bond] = {}
    closures: list[list[_Bond]] = [[] for _ in texts]
    for a, b, order in rings:
        order = min(order, free[a], free[b])
        if a == b or order <= 0:
            continue
        bond = bonds[b] if parents[b] == a else formed.get((a, b))
        if bond is None:
            bond = formed[a, b] = _Bond(0)
            closures[a].append(bond)
            closures[b].append(bond)
        order = min(order, 3 - bond.order)
        bond.order += order
        free[a] -= order
        free[b] -= order
    count, pieces, below = 0, [], [""] * len(texts)
    for text, here in zip(texts, closures, strict=True):
        for bond in here:
            if not bond.number:
                count += 1
                bond.number = count
            text += f"{bond}%{bond.number}" if bond.number > 9 else f"{bond}{bond.number}"
        pieces.append(text)
    # An atom stands before its children: from the last one on, each is complete when it is added.
    for i in range(len(texts) - 1, 0, -1):
        whole, parent = f"{bonds[i]}{pieces[i]}{below[i]}", parents[i]
        below[parent] = f"({whole}){below[parent]}" if below[parent] else whole
    return pieces[0] + below[0] if pieces else ""


class Meaning(NamedTuple):
    """What a SELFIES symbol does where it is not read as a number."""

    kind: Literal["atom", "branch", "ring", "other"]
    order: int = 0  # of the bond it makes, if there is room for it
    size: int = 0  # atom: bonds it can have; branch and ring: symbols after it that form a number


def meaning(symbol: str) -> Meaning:
    """The meaning of a symbol under the bonding limits in force; "other": a dot, [nop] and such.

    >>> meaning("[=N]"), meaning("[#Branch2]")
    (Meaning(kind='atom', order=2, size=3), Meaning(kind='branch', order=3, size=2))
    """
    if (branch := grammar_rules.process_branch_symbol(symbol)) is not None:
        return Meaning("branch", *branch)
    if (ring := grammar_rules.process_ring_symbol(symbol)) is not None:
        return Meaning("ring", *ring[:2])
    if (found := grammar_rules.process_atom_symbol(symbol)) is not None:
        (order, _), atom = found
        return Meaning("atom", order, atom.bonding_capacity)
    return Meaning("other")


ATOM, BRANCH, RING = 1, 2, 3
_KINDS = {"other": 0, "atom": ATOM, "branch": BRANCH, "ring": RING}


def grammar_table(tokens: Sequence[str], limits: dict[str, int]) -> NDArray[np.int64]:
    """What each token does under these bonding limits, shape (V, 4).

    Its kind (0, ``ATOM``, ``BRANCH`` or ``RING``), bond order and size as in :class:`Meaning`, and
    what it counts where it is read as a digit.
    """
    with use_constraints(limits):
        rows = [
            (0, 0, 0, 0) if token in SPECIAL_TOKENS else (*_grammar(token), index_of([token]))
            for token in tokens
        ]
    return np.asarray(rows, dtype=np.int64).reshape(-1, 4)


def _grammar(token: str) -> tuple[int, int, int]:
    what = meaning(token)
    return _KINDS[what.kind], what.order, what.size


def index_symbols(number: int) -> list[str]:
    """The symbols that stand for a number from 0 after a branch or ring symbol: base 16."""
    return list(grammar_rules.get_selfies_from_index(number))


def index_of(symbols: Sequence[str]) -> int:
    """The number that symbols stand for; those outside SELFIES' index alphabet count as 0."""
    return int(grammar_rules.get_index_from_selfies(*symbols))


def constraints() -> dict[str, int]:
    """The bonding limits in force: greatest number of bonds per atom symbol."""
    return dict(selfies.get_semantic_constraints())


@contextmanager
def use_constraints(limits: dict[str, int]) -> Iterator[None]:
    """Put bonding limits in force for a while; they are a global of the selfies library."""
    before = constraints()
    if limits == before:
        yield
        return
    selfies.set_semantic_constraints(limits)
    try:
        yield
    finally:
        selfies.set_semantic_constraints(before)


class Vocabulary:
    """SELFIES symbols and their ids: three special tokens, then the symbols in sorted order.

    The order is stored with every model and never changes, so an id means the same for ever.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        """``tokens`` in id order, the special tokens first."""
        if tuple(tokens[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS:
            raise ModelFolderError(
                f"vocabulary: got first tokens {list(tokens[:3])}, expected {list(SPECIAL_TOKENS)}"
            )
        if len(set(tokens)) != len(tokens):
            raise ModelFolderError("vocabulary: a token appears twice")
        symbols = tokens[len(SPECIAL_TOKENS) :]
        bad = [token for token in symbols if _SYMBOL.fullmatch(token) is None]
        if bad:
            raise ModelFolderError(f"vocabulary: {bad[0]!r} is not a SELFIES symbol")
        for symbol in symbols:
            try:
                selfies.decoder(symbol)
            except selfies.DecoderError:
                raise ModelFolderError(
                    f"vocabulary: {symbol!r} has no meaning in SELFIES"
                ) from None
        self.tokens = tuple(tokens)
        self._ids = {token: i for i, token in enumerate(tokens)}

    @classmethod
    def of_symbols(cls, symbols: Iterable[str]) -> Vocabulary:
        """The vocabulary of a set of symbols."""
        return cls([*SPECIAL_TOKENS, *sorted(set(symbols))])

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.tokens == other.tokens

    def __hash__(self) -> int:
        return hash(self.tokens)

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """The smallest integer type that holds every id."""
        return np.uint8 if len(self) <= 256 else np.uint16

    def extended(self, symbols: Iterable[str]) -> Vocabulary:
        """These tokens with their ids, then the symbols among the given ones that are new."""
        return Vocabulary([*self.tokens, *self.unknown(set(symbols) - set(SPECIAL_TOKENS))])

    def unknown(self, symbols: Iterable[str]) -> list[str]:
        """Symbols this vocabulary lacks, sorted."""
        return sorted({symbol for symbol in symbols if symbol not in self._ids})

    def encode_symbols(self, symbols: Sequence[str]) -> NDArray[np.int64]:
        """Ids of the symbols, without <bos> or <eos>; an unknown symbol is an error."""
        try:
            return np.asarray([self._ids[symbol] for symbol in symbols], dtype=np.int64)
        except KeyError as error:
            raise FileError(
                f"token {error.args[0]} is not in this vocabulary of {len(self)} tokens: "
                "the model has never seen it"
            ) from None

    def encode(self, smiles: str) -> NDArray[np.int64]:
        """Ids of the SELFIES of ``smiles``, without <bos> or <eos>."""
        text = to_selfies(smiles)
        if text is None:
            raise FileError(f"'{smiles}' cannot be written as SELFIES")
        return self.encode_symbols(split_selfies(text))

    def decode(self, ids: Iterable[int]) -> str:
        """SMILES of the ids up to the first <eos>; other special tokens are skipped."""
        return from_selfies(self.selfies(ids))

    def selfies(self, ids: Iterable[int]) -> str:
        """SELFIES of the ids up to the first <eos>; other special tokens are skipped."""
        symbols = []
        for token in ids:
            if token == EOS:
                break
            if token >= len(SPECIAL_TOKENS):
                symbols.append(self.tokens[token])
        return "".join(symbols)
