"""Where a predictor can be believed: how near the nearest training molecule must be.

A molecule is inside the domain if its nearest training molecule is at least as similar as the
nearest *other* one is for all but 5 % of the training molecules themselves, and at least 0.2. So
the threshold is high for a tight series and low for a diverse set: outside means farther from the
data than the molecules were from each other on which the error bars were calibrated.
Similarity is Tanimoto's of counted ECFP4, the circular part of the kernel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_SIMILARITY", "domain_threshold"]

SHARE_OUTSIDE = 0.05  # of the training molecules would be outside if they were new
LEAST_SIMILARITY = 0.2  # below which two molecules share no more than any two do


def domain_threshold(nearest: NDArray[np.floating]) -> float:
    """The least similarity inside the domain.

    ``nearest``: similarity of training molecules to the nearest other one, (N,).
    """
    if not len(nearest):
        return LEAST_SIMILARITY
    return max(float(np.quantile(nearest, SHARE_OUTSIDE)), LEAST_SIMILARITY)
