"""Texts → molecules as predictors see them, in worker processes, which load no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from molvae import chem
from molvae.chem.selfies import from_selfies, use_constraints
from molvae.config import CleaningConfig
from molvae.predict.kernel import Features, molecule_features
from molvae.runtime.pool import WorkerPool

__all__ = ["Cleaner", "Decoder", "Read", "read_texts"]


class Read(NamedTuple):
    """Of N texts; one that gives no molecule has an empty SMILES, a note, methane's features."""

    smiles: list[str]  # canonical
    notes: list[str]
    features: Features


@dataclass(frozen=True)
class Cleaner:
    """Reads SMILES and cleans the molecules, without their salts for example."""

    cleaning: CleaningConfig

    def __call__(self, texts: Sequence[str]) -> Read:
        """Of N SMILES."""
        cleaned = [chem.clean(text, self.cleaning) for text in texts]
        return Read(
            ["" if isinstance(result, chem.Rejected) else result.smiles for result in cleaned],
            [result.reason if isinstance(result, chem.Rejected) else "" for result in cleaned],
            molecule_features(
                [None if isinstance(result, chem.Rejected) else result.mol for result in cleaned]
            ),
        )


@dataclass(frozen=True)
class Decoder:
    """Reads SELFIES that were written under these bonding limits."""

    limits: dict[str, int]

    def __call__(self, texts: Sequence[str]) -> Read:
        """Of N SELFIES."""
        with use_constraints(self.limits):
            mols = [chem.parse(from_selfies(text)) for text in texts]
        return Read(
            ["" if mol is None else chem.to_smiles(mol) for mol in mols],
            ["describes no molecule" if mol is None else "" for mol in mols],
            molecule_features(mols),
        )


def read_texts(
    texts: Iterable[str],
    reader: Callable[[Sequence[str]], Read],
    *,
    label: str,
    workers: int | None = None,
    total: int | None = None,
) -> Iterator[tuple[Sequence[str], Read]]:
    """(texts, what was read of them) in chunks, in order, with a progress bar ``label``."""
    with WorkerPool(workers) as pool:
        yield from pool.map_texts(label, reader, texts, total)
