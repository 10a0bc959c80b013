"""Figures of two classes: by hand and against scikit-learn."""

import math

import numpy as np
import pytest

from molvae.runtime.statistics import auc


def test_auc_by_hand():
    yes = np.asarray([False, False, True, True])
    assert auc(np.asarray([0.1, 0.4, 0.35, 0.8]), yes) == 0.75
    assert auc(np.asarray([1.0, 1.0, 1.0, 1.0]), yes) == 0.5
    assert math.isnan(auc(np.asarray([1.0, 2.0]), np.asarray([True, True])))
    assert math.isnan(auc(np.empty(0), np.empty(0, dtype=np.bool_)))


def test_auc_with_ties_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(0)
    yes = draw.random(400) < 0.3
    scores = np.round(draw.normal(size=400) + yes, 1)
    assert auc(scores, yes) == pytest.approx(metrics.roc_auc_score(yes, scores))
