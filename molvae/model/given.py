"""Molecules that a user gives to a model: they are cleaned as its training data were."""

from __future__ import annotations

import json
from collections.abc import Sequence

from molvae.chem import Rejected
from molvae.chem.selfies import use_constraints
from molvae.config import CleaningConfig
from molvae.data.tokenize import tokenize
from molvae.errors import InputError
from molvae.model.checkpoint import SavedModel
from molvae.runtime.progress import say

__all__ = ["clean_given", "cleaned", "cleaning_of"]

NAMED = 5  # molecules left out that a note names


def cleaning_of(model: SavedModel) -> CleaningConfig:
    """The cleaning of the model's training data; the default if the model does not store it."""
    try:
        stored = model.training["config"]["data"]["cleaning"]
        return CleaningConfig.model_validate_json(json.dumps(stored))
    except (KeyError, TypeError, ValueError):
        say("note: the model does not store how its data were cleaned; using the default")
        return CleaningConfig()


def cleaned(texts: Sequence[str], model: SavedModel) -> list[str | Rejected]:
    """The canonical SMILES of each text, without its salt, or why the model cannot take it."""
    cleaning, known = cleaning_of(model), frozenset(model.vocabulary.tokens)
    result: list[str | Rejected] = []
    with use_constraints(model.constraints):
        for text in texts:
            tokenized = tokenize(text, cleaning, known=known)
            result.append(tokenized if isinstance(tokenized, Rejected) else tokenized[0].smiles)
    return result


def clean_given(texts: Sequence[str], model: SavedModel, *, name: str) -> tuple[str, ...]:
    """The cleaned molecules of a list; a note counts and names those that cannot be used.

    ``name`` is what the list is called in the note and in the error.

    Raises:
        InputError: there are texts, but none can be used.
    """
    molecules = cleaned(texts, model) if texts else []
    bad = [
        (text, molecule.reason)
        for text, molecule in zip(texts, molecules, strict=True)
        if isinstance(molecule, Rejected)
    ]
    if bad:
        named = ", ".join(f"'{text[:60]}' ({reason})" for text, reason in bad[:NAMED])
        more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        if len(bad) == len(texts):
            raise InputError(f"{name}: no molecule can be used: {named}{more}")
        say(f"note: {name}: {len(bad)} of {len(texts)} molecules are left out: {named}{more}")
    return tuple(molecule for molecule in molecules if isinstance(molecule, str))
