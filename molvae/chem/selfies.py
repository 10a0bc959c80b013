"""SMILES ⇄ SELFIES, the meaning of SELFIES symbols, and the bonding limits.

SELFIES (Krenn et al. 2020) describe a molecule by symbols of which every sequence is a valid
molecule. The bonding limits that ensure this are global to the process; only this module sets them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import selfies
from selfies import grammar_rules

from molvae.chem.fast_decoder import decode_symbols
from molvae.chem.fast_encoder import encode_smiles

__all__ = [
    "Meaning",
    "constraints",
    "from_selfies",
    "index_of",
    "index_symbols",
    "meaning",
    "selfies_of",
    "split_selfies",
    "to_selfies",
    "use_constraints",
]

SYMBOL = re.compile(r"\[[^\[\]]*\]|\.")


def split_selfies(text: str) -> list[str]:
    """The symbols of a SELFIES string.

    >>> split_selfies("[C][=O]")
    ['[C]', '[=O]']
    """
    return SYMBOL.findall(text)


def to_selfies(smiles: str) -> str | None:
    """SELFIES of a SMILES, or None if it is malformed or exceeds the bonding limits in force."""
    text = encode_smiles(smiles)
    if text is not None:
        return text
    try:
        return str(selfies.encoder(smiles))
    except (selfies.EncoderError, LookupError):  # LookupError: its parser fails on some input
        return None


@functools.lru_cache(maxsize=20_000)  # a search sees its molecules repeatedly
def selfies_of(smiles: str, limits: tuple[tuple[str, int], ...]) -> str:
    """SELFIES under bonding limits, pairs of atom and bonds; empty where there are none."""
    with use_constraints(dict(limits)):
        return to_selfies(smiles) or ""


def from_selfies(text: str) -> str:
    """SMILES of a SELFIES string, as ``selfies.decoder`` gives it.

    It may be empty, since a SELFIES can describe no atom.
    """
    symbols = split_selfies(text)
    if sum(map(len, symbols)) == len(text):
        smiles = decode_symbols(symbols)
        if smiles is not None:
            return smiles
    return str(selfies.decoder(text))


class Meaning(NamedTuple):
    """What a SELFIES symbol does where it is not read as a number."""

    kind: Literal["atom", "branch", "ring", "other"]
    order: int = 0  # of the bond it makes, if the valence allows it
    size: int = 0  # atom: bonds it can have; branch, ring: symbols after it that form a number


def meaning(symbol: str) -> Meaning:
    """The meaning of a symbol under the bonding limits in force; "other": a dot, [nop] and such.

    >>> meaning("[=N]"), meaning("[#Branch2]")
    (Meaning(kind='atom', order=2, size=3), Meaning(kind='branch', order=3, size=2))
    """
    if (branch := grammar_rules.process_branch_symbol(symbol)) is not None:
        return Meaning("branch", *branch)
    if (ring := grammar_rules.process_ring_symbol(symbol)) is not None:
        return Meaning("ring", *ring[:2])
    if (parsed := grammar_rules.process_atom_symbol(symbol)) is not None:
        (order, _), atom = parsed
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
    """Set the bonding limits, which are global to the selfies library, while the block runs."""
    before = constraints()
    if limits == before:
        yield
        return
    selfies.set_semantic_constraints(limits)
    try:
        yield
    finally:
        selfies.set_semantic_constraints(before)
