"""The realism critic: how much likelier a molecule is among the data than among own samples.

A logistic regression between training molecules and the model's own samples has logit
s ≈ log p_data(x) / p_model(x) once both classes weigh the same (Sugiyama et al. 2012, density
ratio estimation). A sample kept with probability min(1, exp(s − log M)) then follows the data more
closely; M sets how many are kept (discriminator rejection sampling, Azadi et al. 2019; optimal
budgeted rejection sampling, Verine et al. 2024, arXiv 2311.00460).

**It must not prefer copies.** A regression on a few thousand molecules memorizes them. Therefore
there are several, by cross-fitting (Chernozhukov et al. 2018): a hash of a molecule's inputs puts
it in one of five parts, and a molecule is judged by the regression that never saw its part. A copy
of a training molecule is judged like an unseen one, and the figures on held-out molecules (AUC,
calibration, shares kept) come from the very logits that are used. Above 20,000 molecules one
regression, fitted to nine tenths, is enough.

The penalty is chosen by the likelihood of held-out molecules. After ``--from`` the start model's
critic is the prior mean: what is rare in a few thousand molecules, such as each kind of broken
ring, is judged as before, and the new molecules decide the rest. Without it the regression fits
mostly how far the samples still are from the new molecules.

Shapes: ``N`` molecules, ``D`` inputs, ``K`` regressions (1 or 5), ``Q`` quantiles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from molvae.chem.realism_features import Facts, Outline
from molvae.errors import ConfigError, InputError, ModelFolderError
from molvae.realism.inputs import FactTable, InputDefinition, SparseRows
from molvae.realism.logistic import Fit, decision, fit_logistic, log_loss, some_rows
from molvae.runtime.files import write_json
from molvae.runtime.statistics import auc
from molvae.runtime.untrusted import read_json, read_tensors

__all__ = [
    "INPUTS_FILE",
    "LEAST_MOLECULES",
    "SHARE",
    "WEIGHTS_FILE",
    "RealismCritic",
    "accepts",
    "fit_critic",
    "kept_share",
    "load_critic",
    "log_m_of",
    "save_critic",
    "two_sample_auc",
]

_Vector = NDArray[np.float64]

WEIGHTS_FILE, INPUTS_FILE = "realism.safetensors", "realism.json"
SCHEMA = 1
SHARE = 0.5  # kept of the model's own samples, unless asked otherwise
LEAST_MOLECULES = 50  # of either class; fewer do not generalize
# C of the regression, ascending. Weaker ones gain little likelihood and lose the prior mean.
PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1)
PENALTIES_OF_TEST = (0.01, 0.03, 0.1)  # of two_sample_auc
PARTS = 5  # of small data: as many regressions, each without one part
SINGLE = 20_000  # from this many molecules of each class on, one regression is enough
PLENTY = 2000  # from this many on, two_sample_auc uses two of the parts
TENTHS = 10  # a single regression holds one tenth out
QUANTILES = 513
BINS = 10  # of the calibration
MAX_BYTES = 4_000_000  # of the weights


@dataclass(frozen=True)
class RealismCritic:
    """A fitted critic, small and picklable."""

    inputs: InputDefinition
    weights: _Vector  # (K, D) as stored, in half precision
    intercepts: _Vector  # (K,)
    quantiles: _Vector  # (Q,) logits of own samples that were not fitted, ascending
    record: Mapping[str, Any]  # how it was fitted, and how well

    def logit(self, facts: Facts | Outline) -> float:
        """s of one molecule."""
        part = facts.identity % len(self.weights) if len(self.weights) > 1 else 0
        return self.inputs.score(facts, self.weights[part]) + float(self.intercepts[part])

    def logits(self, table: FactTable) -> _Vector:
        """s of every molecule (N,)."""
        if not len(table):
            return np.empty(0)
        rows = self.inputs.rows(table)
        fits = [Fit(w, float(b)) for w, b in zip(self.weights, self.intercepts, strict=True)]
        all_logits = np.stack([decision(rows, fit) for fit in fits])  # (K, N)
        parts = table.identity % np.uint64(len(fits))
        chosen: _Vector = np.take_along_axis(all_logits, parts.astype(np.int64)[None], axis=0)[0]
        return chosen

    def log_m(self, share: float) -> float:
        """log M at which a share of own samples is kept; −∞ keeps all.

        The share is that of samples drawn as in fitting: without request, at temperature 1. Of
        others more or fewer are kept; for a request see :func:`log_m_of`.
        """
        return log_m_of(self.quantiles, share)

    def mean_weights(self, inputs: InputDefinition) -> _Vector:
        """The mean of the regressions' weights (D,) on inputs with finer bins."""
        return np.asarray(self.weights.mean(axis=0)[inputs.origins(self.inputs)])


def log_m_of(logits: _Vector, share: float) -> float:
    """log M at which a share of molecules with these logits is kept; −∞ keeps all.

    With logits of some candidates for a request it is the threshold for that request: p_data and
    p_model under a condition c have the ratio p_data(x) / p_model(x) up to a factor that depends
    on c alone, which M absorbs.
    """
    if not 0 < share <= 1:
        raise ConfigError(
            f"realism: got {share:g}, expected the share of samples to keep, above 0 and at "
            "most 1, or off"
        )
    if share == 1 or not len(logits):
        return -math.inf
    # Beyond the highest logit the share falls by a factor of e per unit.
    low, high = float(logits.min()), float(logits.max()) - math.log(share) + 1.0
    for _ in range(60):
        middle = (low + high) / 2
        more = kept_share(logits, middle) > share
        low, high = (middle, high) if more else (low, middle)
    return (low + high) / 2


def kept_share(logits: _Vector, log_m: float) -> float:
    """Mean probability to be kept."""
    return float(np.exp(np.minimum(logits - log_m, 0.0)).mean())


def accepts(logits: _Vector, uniform: _Vector, log_m: float) -> NDArray[np.bool_]:
    """Which molecules are kept, (N,), by numbers (N,) from (0, 1) that belong to them.

    A molecule is compared with its own number alone, so batches and workers change nothing.
    """
    kept: NDArray[np.bool_] = np.log(uniform) < logits - log_m
    return kept


# -- fitting --------------------------------------------------------------------------------------


def fit_critic(
    real: FactTable, own: FactTable, *, prior: RealismCritic | None = None
) -> RealismCritic:
    """A critic between training molecules and the model's own samples, drawn without request.

    ``prior`` is the critic of the model that the training started from; its weights are the prior
    mean.

    Raises:
        InputError: too few molecules, or fewer own samples than training molecules.
    """
    _require_enough(real, own)
    inputs = InputDefinition.of(real)
    if prior is not None:
        inputs = inputs.refined(prior.inputs)
    rows = inputs.rows(FactTable.joined([real, own]))
    is_real = np.arange(len(real) + len(own)) < len(real)
    identity = np.concatenate([real.identity, own.identity])
    center = np.zeros(inputs.width) if prior is None else prior.mean_weights(inputs)
    parts = _held_out(identity, min(len(real), len(own)))
    _require_both(parts, is_real)
    chosen = _chosen(rows, is_real, parts, center)
    # The figures are those of the weights as the file holds them.
    weights = np.stack([fit.weights for fit in chosen.fits]).astype(np.float16).astype(np.float64)
    intercepts = np.asarray([fit.intercept for fit in chosen.fits], dtype=np.float32)
    out = np.full(len(is_real), np.nan)
    for part, w, b in zip(chosen.parts, weights, intercepts, strict=True):
        out[part] = decision(some_rows(rows, part), Fit(w, float(b)))
    own_out = out[~np.isnan(out) & ~is_real]
    quantiles = np.quantile(own_out, np.linspace(0, 1, QUANTILES)).astype(np.float32)
    bare = RealismCritic(
        inputs, weights, intercepts.astype(np.float64), quantiles.astype(np.float64), {}
    )
    record = {**_record(bare, out, is_real, chosen), "prior": prior is not None}
    return replace(bare, record=record)


def _require_enough(real: FactTable, own: FactTable) -> None:
    if min(len(real), len(own)) < LEAST_MOLECULES:
        raise InputError(
            f"realism critic: got {len(real)} training molecules and {len(own)} own samples, "
            f"expected {LEAST_MOLECULES} of each or more; the model gets no critic"
        )
    if len(own) < len(real):
        raise InputError(
            f"realism critic: got {len(own):,} own samples for {len(real):,} training molecules, "
            "expected as many or more; draw more samples or take part of the molecules"
        )


def _held_out(identity: NDArray[np.uint64], smaller: int) -> list[NDArray[np.int64]]:
    """The molecules that each regression does not see.

    By a hash of the inputs: molecules with equal ones are held out together, and a molecule that
    is generated later belongs to the same part as its copy among the training molecules.
    """
    if smaller >= SINGLE:
        return [np.flatnonzero(identity % np.uint64(TENTHS) == 0)]
    return [np.flatnonzero(identity % np.uint64(PARTS) == part) for part in range(PARTS)]


def _require_both(parts: list[NDArray[np.int64]], is_real: NDArray[np.bool_]) -> None:
    """Refuse parts without both kinds of molecules, inside or outside of them."""
    for part in parts:
        inside = np.zeros(len(is_real), dtype=np.bool_)
        inside[part] = True
        if any(not (s & k).any() for s in (inside, ~inside) for k in (is_real, ~is_real)):
            raise InputError(
                "realism critic: too few different molecules to hold some of them out; the model "
                "gets no critic"
            )


class _Chosen(NamedTuple):
    """The regressions of the best held-out likelihood."""

    c: float
    fits: list[Fit]
    parts: list[NDArray[np.int64]]  # what each of them has not seen
    losses: list[tuple[float, float]]  # (c, held-out loss) of all that were tried


def _chosen(
    rows: SparseRows,
    is_real: NDArray[np.bool_],
    parts: list[NDArray[np.int64]],
    center: _Vector,
    penalties: Sequence[float] = PENALTIES,
) -> _Chosen:
    """Regressions for every penalty in turn; those with the best held-out likelihood."""
    everything = np.arange(len(is_real))
    inside = [np.setdiff1d(everything, part) for part in parts]
    train = [some_rows(rows, which) for which in inside]
    held = [some_rows(rows, part) for part in parts]
    fits: list[Fit | None] = [None] * len(parts)
    losses: list[tuple[float, float]] = []
    best: _Chosen | None = None
    for c in penalties:
        made = [
            fit_logistic(part_rows, is_real[which], c=c, mean=center, start=fit)
            for part_rows, which, fit in zip(train, inside, fits, strict=True)
        ]
        lost = [
            log_loss(decision(part_rows, fit), is_real[part])
            for part_rows, fit, part in zip(held, made, parts, strict=True)
        ]
        losses.append((c, float(np.mean(lost))))
        if best is not None and losses[-1][1] > losses[-2][1]:
            break  # weaker penalties are worse, and slower to fit
        best, fits = _Chosen(c, made, parts, losses), [*made]
    if best is None:
        raise ValueError("got no penalties, expected at least one")
    return best


def _record(
    critic: RealismCritic, out: _Vector, is_real: NDArray[np.bool_], chosen: _Chosen
) -> dict[str, Any]:
    """Plain data on a critic: ``out`` are held-out logits (NaN: never held out)."""
    held = ~np.isnan(out)
    log_m = critic.log_m(SHARE)
    return {
        "molecules": int(is_real.sum()),
        "own_samples": int((~is_real).sum()),
        "c": chosen.c,
        "held_out": {"real": int((held & is_real).sum()), "own": int((held & ~is_real).sum())},
        "auc": round(auc(out[held], is_real[held]), 4),
        "log_loss": round(log_loss(out[held], is_real[held]), 4),
        "losses": [[c, round(loss, 5)] for c, loss in chosen.losses],
        "calibration": _calibration(out[held], is_real[held]),
        # At the usual share, of molecules that were not fitted.
        "kept": {
            "own": round(kept_share(out[held & ~is_real], log_m), 4),
            "real": round(kept_share(out[held & is_real], log_m), 4),
        },
    }


def _calibration(logits: _Vector, is_real: NDArray[np.bool_]) -> list[list[float]]:
    """[mean predicted, observed share of real] in ten bins of equal number, classes reweighted."""
    weight = np.where(is_real, 0.5 / is_real.sum(), 0.5 / (~is_real).sum())
    p = 0.5 * (1.0 + np.tanh(0.5 * logits))
    bins = []
    for part in np.array_split(np.argsort(logits, kind="stable"), BINS):
        total = weight[part].sum()
        pair = (weight[part] @ p[part] / total, weight[part] @ is_real[part] / total)
        bins.append([round(float(value), 4) for value in pair])
    return bins


def two_sample_auc(real: FactTable, other: FactTable) -> float:
    """How well the critic's inputs separate two sets of molecules, held out.

    0.5: not at all, 1: always. The classifier two-sample test of Lopez-Paz & Oquab 2017.
    """
    smaller = min(len(real), len(other))
    if smaller < LEAST_MOLECULES:
        raise InputError(
            f"realism AUC: got {len(real)} and {len(other)} molecules, expected "
            f"{LEAST_MOLECULES} of each or more"
        )
    inputs = InputDefinition.of(real)
    rows = inputs.rows(FactTable.joined([real, other]))
    is_real = np.arange(len(real) + len(other)) < len(real)
    parts = _held_out(np.concatenate([real.identity, other.identity]), smaller)
    if smaller >= PLENTY:
        parts = parts[:2]
    _require_both(parts, is_real)
    chosen = _chosen(rows, is_real, parts, np.zeros(inputs.width), PENALTIES_OF_TEST)
    values = [
        auc(decision(some_rows(rows, part), fit), is_real[part])
        for part, fit in zip(parts, chosen.fits, strict=True)
    ]
    return float(np.mean(values))


# -- files ----------------------------------------------------------------------------------------


def save_critic(folder: Path, critic: RealismCritic) -> None:
    """Write the two files of a critic into a folder. The same critic gives the same bytes."""
    tensors: dict[str, NDArray[Any]] = {
        "weights": critic.weights.astype(np.float16),
        "intercepts": critic.intercepts.astype(np.float32),
        "quantiles": critic.quantiles.astype(np.float32),
    }
    (folder / WEIGHTS_FILE).write_bytes(save(tensors))
    data = {"schema": SCHEMA, "inputs": critic.inputs.to_json(), "record": dict(critic.record)}
    write_json(folder / INPUTS_FILE, data)


def load_critic(folder: Path) -> RealismCritic:
    """The critic in a folder.

    Raises:
        ModelFolderError: a file is missing, damaged, or not a critic's.
    """
    data = read_json(folder / INPUTS_FILE, schema=SCHEMA)
    try:
        inputs = InputDefinition.from_json(data["inputs"])
        record = dict(data["record"])
        kept = (record["kept"][kind] for kind in ("own", "real"))
        if not np.isfinite(
            [record["auc"], record["molecules"], record["own_samples"], *kept]
        ).all():
            raise ValueError("record")
    except ModelFolderError as error:
        raise ModelFolderError(f"'{folder / INPUTS_FILE}': {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFolderError(f"'{folder / INPUTS_FILE}': not a critic ({error!r})") from None
    tensors = _tensors(folder / WEIGHTS_FILE, inputs.width)
    return RealismCritic(
        inputs,
        tensors["weights"].astype(np.float64),
        tensors["intercepts"].astype(np.float64),
        tensors["quantiles"].astype(np.float64),
        record,
    )


def _tensors(path: Path, width: int) -> dict[str, NDArray[Any]]:
    """The arrays of a critic with D inputs, checked."""
    tensors = read_tensors(path, MAX_BYTES)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    for count in (1, PARTS):
        if shapes == {"weights": (count, width), "intercepts": (count,), "quantiles": (QUANTILES,)}:
            break
    else:
        raise ModelFolderError(
            f"'{path}': got the shapes {shapes}, expected weights (K, {width}) and intercepts "
            f"(K,), K 1 or {PARTS}, and quantiles ({QUANTILES},), by {INPUTS_FILE}"
        )
    if any(tensor.dtype.kind != "f" for tensor in tensors.values()):
        raise ModelFolderError(f"'{path}': expected floating-point tensors")
    if (np.diff(tensors["quantiles"]) < 0).any():
        raise ModelFolderError(f"'{path}': quantiles are not ascending")
    return tensors
