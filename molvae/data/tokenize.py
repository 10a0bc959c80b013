"""SMILES → clean molecules and SELFIES symbols, or why not; worker processes load no torch."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from molvae import chem
from molvae.chem.selfies import split_selfies, to_selfies, use_constraints
from molvae.config import CleaningConfig

__all__ = ["UNKNOWN_TOKEN", "Clean", "Tokenizer", "tokenize"]

UNKNOWN_TOKEN = "unknown token "  # how the reason begins where a vocabulary lacks a symbol

Clean = Callable[[str, CleaningConfig], chem.Cleaned | chem.Rejected]


def tokenize(
    text: str,
    cleaning: CleaningConfig,
    *,
    known: Container[str] | None = None,
    max_tokens: int | None = None,
    clean: Clean = chem.clean,
) -> tuple[chem.Cleaned, list[str]] | chem.Rejected:
    """The cleaned molecule of a SMILES and its SELFIES symbols, or the reason of a refusal.

    The SELFIES bonding limits in force apply. ``known`` are the only symbols allowed, and
    ``max_tokens`` is how many a molecule may have.
    """
    cleaned = clean(text, cleaning)
    if isinstance(cleaned, chem.Rejected):
        return cleaned
    selfies = to_selfies(cleaned.smiles)
    if selfies is None:
        return chem.Rejected("cannot be written as SELFIES")
    symbols = split_selfies(selfies)
    if max_tokens is not None and len(symbols) > max_tokens:
        return chem.Rejected("too many tokens")
    if known is not None:
        for symbol in symbols:
            if symbol not in known:
                return chem.Rejected(f"{UNKNOWN_TOKEN}{symbol}")
    return cleaned, symbols


@dataclass(frozen=True)
class Tokenizer:
    """SMILES → SELFIES symbols of a model's vocabulary; can be pickled."""

    cleaning: CleaningConfig
    constraints: dict[str, int]
    known: frozenset[str]

    def __call__(self, texts: Sequence[str]) -> list[tuple[list[str], str]]:
        """The symbols of each SMILES, and a note where there are none."""
        with use_constraints(self.constraints):
            return [self._tokenize(text) for text in texts]

    def _tokenize(self, text: str) -> tuple[list[str], str]:
        tokenized = tokenize(text, self.cleaning, known=self.known)
        if isinstance(tokenized, chem.Rejected):
            return [], tokenized.reason
        return tokenized[1], ""
