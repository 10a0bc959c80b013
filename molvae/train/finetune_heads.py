"""Fine-tuning: fit the last layer of the property head to columns that are new to the model."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from molvae.data.dataset import Dataset
from molvae.model.conditions import ConditionSet
from molvae.model.cvae import CVAE
from molvae.predict.classifier import Logistic
from molvae.runtime.progress import Progress
from molvae.runtime.randomness import Draws

__all__ = ["Ridge", "fit_new_heads", "ridge"]

SAMPLE = 20_000  # molecules
BATCH = 512
LEAST = 10  # molecules with a value
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # per molecule, of standardized features


def fit_new_heads(
    network: CVAE,
    conditions: ConditionSet,
    known: tuple[str, ...],
    dataset: Dataset,
    columns: list[int],
    draws: Draws,
) -> None:
    """Let the last layer of the head predict each new column from what it makes of the latents.

    Ridge regression on the head's hidden features of training molecules, in place of thousands of
    steps that would unlearn what the model knows. A yes/no column is regressed as +1 and -1, so
    that the same label ranks alike as a number; a logistic curve through the held-out decisions
    makes it a logit. ``known`` are the conditions the network was trained with, ``columns`` those
    of the dataset in the order of ``conditions``.
    """
    new = [i for i, condition in enumerate(conditions.conditions) if condition.name not in known]
    if not new:
        return
    items = dataset.part("train")
    items = items[draws.permutation("heads", len(items))[:SAMPLE]]
    values, mask = conditions.standardize(dataset.values[items][:, columns])
    features = _features(network, dataset, items)
    last, size = network.head.second, len(conditions)
    for i in new:
        rows = mask[:, i] > 0
        if rows.sum() < LEAST:
            continue
        fit = ridge(features[rows], values[rows, i].astype(np.float64))
        slope, offset, log_scale = 1.0, 0.0, float(np.log(max(fit.error, 1e-2)))
        if conditions.conditions[i].kind == "yesno":
            curve = Logistic.fit(fit.held_out, (values[rows, i][fit.held] > 0).astype(np.float64))
            slope, offset, log_scale = curve.slope, curve.offset, 0.0
        with torch.no_grad():
            last.weight[i] = torch.from_numpy(slope * fit.weight).to(last.weight)
            last.bias[i] = slope * fit.constant + offset
            last.weight[size + i] = 0.0
            last.bias[size + i] = log_scale


@torch.no_grad()
def _features(network: CVAE, dataset: Dataset, items: NDArray[np.int64]) -> NDArray[np.float64]:
    """The head's hidden layer at the latent means, (N, width of the head)."""
    device, parts = next(network.parameters()).device, []
    with Progress("new columns", total=len(items)) as progress:
        for first in range(0, len(items), BATCH):
            parts.append(_hidden(network, dataset, items[first : first + BATCH], device))
            progress.advance(len(parts[-1]))
    return np.concatenate(parts)


def _hidden(
    network: CVAE, dataset: Dataset, items: NDArray[np.int64], device: torch.device
) -> NDArray[np.float64]:
    batch = dataset.batch(items)
    targets, lengths = (
        torch.from_numpy(array).to(device) for array in (batch.targets, batch.lengths)
    )
    hidden = network.head.hidden(network.encode(targets, lengths).mean)
    return np.asarray(hidden.double().cpu().numpy())


class Ridge(NamedTuple):
    """A linear predictor, and its predictions of a held-out fifth of the N molecules."""

    weight: NDArray[np.float64]  # (F,)
    constant: float
    error: float  # root mean square, on the held-out fifth
    held: NDArray[np.bool_]  # (N,) which molecules that is
    held_out: NDArray[np.float64]  # predictions of these by the others


def ridge(features: NDArray[np.float64], values: NDArray[np.float64]) -> Ridge:
    """Fit features (N, F) to values (N,).

    The penalty is the best of :data:`PENALTIES` on the held-out fifth (Hoerl & Kennard 1970).
    """
    held = np.arange(len(values)) % 5 == 0
    predictions, errors = [], []
    for penalty in PENALTIES:
        weight, constant = _solve(features[~held], values[~held], penalty)
        predictions.append(features[held] @ weight + constant)
        errors.append(float(np.sqrt(np.mean((predictions[-1] - values[held]) ** 2))))
    best = int(np.argmin(errors))
    weight, constant = _solve(features, values, PENALTIES[best])
    return Ridge(weight, constant, errors[best], held, predictions[best])


def _solve(
    features: NDArray[np.float64], values: NDArray[np.float64], penalty: float
) -> tuple[NDArray[np.float64], float]:
    middle, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    x, y = (features - middle) / scale, values - values.mean()
    square = x.T @ x / len(x) + penalty * np.eye(x.shape[1])
    weight = np.linalg.solve(square, x.T @ y / len(x)) / scale
    return weight, float(values.mean() - middle @ weight)
