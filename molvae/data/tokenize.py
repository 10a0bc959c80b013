"""Texts → SELFIES symbols, in worker processes: nothing here loads torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from molvae import chem
from molvae.chem.selfies import split_selfies, to_selfies, use_constraints
from molvae.config import CleaningConfig

__all__ = ["Tokenizer"]


@dataclass(frozen=True)
class Tokenizer:
    """Texts → symbols, or why there are none; runs in the workers, without torch."""

    cleaning: CleaningConfig
    constraints: dict[str, int]
    known: frozenset[str]

    def __call__(self, texts: Sequence[str]) -> list[tuple[list[str], str]]:
        """The symbols of each text, and a note where there are none."""
        with use_constraints(self.constraints):
            return [self._read(text) for text in texts]

    def _read(self, text: str) -> tuple[list[str], str]:
        cleaned = chem.clean(text, self.cleaning)
        if isinstance(cleaned, chem.Rejected):
            return [], cleaned.reason
        selfies = to_selfies(cleaned.smiles)
        if selfies is None:
            return [], "cannot be written as SELFIES"
        symbols = split_selfies(selfies)
        strange = [symbol for symbol in symbols if symbol not in self.known]
        return (symbols, "") if not strange else ([], f"unknown to the model: {strange[0]}")
