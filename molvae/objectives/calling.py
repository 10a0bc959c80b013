"""Calls of a user's scoring function, of a list of SMILES or of a single one."""

from __future__ import annotations

import contextlib
import inspect
import math
import textwrap
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

from molvae.errors import RunError

__all__ = ["as_scores", "call"]

# Whether a function takes one SMILES at a time. By identity, as callables need not be hashable; the
# function is held, so that no later one gets the same identity.
_takes_one: dict[int, tuple[Callable[[Any], Any], bool]] = {}


def call(function: Callable[[Any], Any], smiles: Sequence[str]) -> list[float]:
    """Scores from a function of a list of SMILES or, as its first call shows, of a single one."""
    key = id(function)
    if key not in _takes_one and _is_for_one(function):
        _takes_one[key] = function, True
    known = key in _takes_one
    if known and _takes_one[key][1]:
        return as_scores([function(text) for text in smiles], len(smiles))
    try:
        result = function(list(smiles))
    except (TypeError, AttributeError) as error:  # such as RDKit's, given a list
        if known:
            raise
        try:
            first = _score_of_one(function, smiles[0])
        except Exception as error_of_one:  # neither call works: show both errors
            raise TypeError(
                f"given one SMILES: {_brief(error_of_one)}; given a list of them: {_brief(error)}"
            ) from error
        if first is None:
            raise
    else:
        # A function of one SMILES may return None, or a number, for a list.
        first = None
        if not known and (result is None or isinstance(result, Real)):
            with contextlib.suppress(Exception):  # if it raises, it is not for one SMILES
                first = _score_of_one(function, smiles[0])
        if first is None:
            scores = as_scores(result, len(smiles))
            _takes_one[key] = function, False
            return scores
    _takes_one[key] = function, True
    return as_scores([first, *(function(text) for text in smiles[1:])], len(smiles))


def _is_for_one(function: Callable[[Any], Any]) -> bool:
    """Whether the annotation of the first parameter is a single string."""
    try:
        first = next(iter(inspect.signature(function).parameters.values()))
    except (TypeError, ValueError, StopIteration):
        return False
    return first.annotation in (str, "str")


def _score_of_one(function: Callable[[Any], Any], smiles: str) -> float | None:
    score = function(smiles)
    return float(score) if isinstance(score, Real) else None


def _brief(error: Exception) -> str:
    """The beginning of an error message; RDKit's list every signature of a function."""
    return textwrap.shorten(str(error) or type(error).__name__, 90, placeholder=" …")
