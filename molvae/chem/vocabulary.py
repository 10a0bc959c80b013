"""SELFIES symbols ⇄ token ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import selfies
from numpy.typing import NDArray

from molvae.chem.selfies import (
    SYMBOL,
    from_selfies,
    index_of,
    meaning,
    split_selfies,
    to_selfies,
    use_constraints,
)
from molvae.errors import FileError, ModelFolderError
from molvae.runtime.untrusted import read_json

__all__ = [
    "ATOM",
    "BOS",
    "BRANCH",
    "EOS",
    "PAD",
    "RING",
    "SPECIAL_TOKENS",
    "Vocabulary",
    "grammar_table",
    "read_vocabulary",
]

PAD, BOS, EOS = 0, 1, 2
SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>")

ATOM, BRANCH, RING = 1, 2, 3
MAX_TOKENS = 1 << 16  # ids are stored in two bytes
MAX_BONDS = 16
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


class Vocabulary:
    """SELFIES symbols and their ids: three special tokens, then the symbols in sorted order.

    The order is stored with every model and never changes, so an id always means the same.
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
        bad = [token for token in symbols if SYMBOL.fullmatch(token) is None]
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


def read_vocabulary(path: Path) -> tuple[Vocabulary, dict[str, int]]:
    """The vocabulary and the bonding limits stored in a ``vocab.json``."""
    try:
        data = read_json(path)
        tokens, limits = data.get("tokens"), data.get("constraints")
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise ModelFolderError("tokens: expected a list of texts")
        if len(tokens) > MAX_TOKENS:
            raise ModelFolderError(f"tokens: got {len(tokens):,}, expected at most {MAX_TOKENS:,}")
        return Vocabulary(tokens), _limits(limits)
    except (OSError, ModelFolderError) as error:
        raise FileError(f"'{path}': not a vocabulary file ({error})") from None


def _limits(data: Any) -> dict[str, int]:
    """Bonding limits as SELFIES takes them."""
    if not isinstance(data, dict):
        raise ModelFolderError("constraints: expected an object of atoms and numbers of bonds")
    for atom, bonds in data.items():
        if type(bonds) is not int or not 0 <= bonds <= MAX_BONDS:
            raise ModelFolderError(
                f"constraints: {atom}: got {str(bonds)[:40]}, expected 0 to {MAX_BONDS} bonds"
            )
    try:
        with use_constraints(data):
            return data
    except ValueError as error:  # an atom that is none, or no "?"
        raise ModelFolderError(f"constraints: {error}") from None
