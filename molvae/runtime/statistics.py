"""Figures of two classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["auc"]


def auc(scores: NDArray[np.floating[Any]], yes: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: probability that a yes scores above a no, ties counting half.

    NaN without both of them.
    """
    if yes.all() or not yes.any():
        return float("nan")
    order = np.sort(scores[~yes])
    below = np.searchsorted(order, scores[yes], side="left")
    not_above = np.searchsorted(order, scores[yes], side="right")
    return float((below + not_above).mean() / 2 / len(order))
