"""SMILES ⇄ SELFIES ⇄ token ids. The one place that imports selfies.

SELFIES (Krenn et al. 2020) describe a molecule by symbols of which every sequence is a valid
molecule; the bonding limits that make it so are global to the process and are set here alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
import selfies
from numpy.typing import NDArray
from selfies import grammar_rules

from molvae.errors import FileError, ModelFolderError

__all__ = [
    "BOS",
    "EOS",
    "PAD",
    "SPECIAL_TOKENS",
    "Meaning",
    "Vocabulary",
    "constraints",
    "from_selfies",
    "index_of",
    "index_symbols",
    "meaning",
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


def from_selfies(text: str) -> str:
    """SMILES of a SELFIES string; it may be empty, since a SELFIES can describe no atom."""
    return str(selfies.decoder(text))


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
