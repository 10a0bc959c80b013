"""How the realism critic and the table of ring systems of a model apply to a request.

A request without conditions takes the threshold log M of the share from the samples that the critic
was fitted to. For another request, p_data(x | c) / p_model(x | c) equals p_data(x) / p_model(x) up
to a factor that depends on c alone, so log M comes from candidates of the request, which are drawn
for this purpose and never written. Around given molecules each of them is a condition: candidates
around an unusual one would lose against those around the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.properties import measure_selfies
from molvae.chem.realism_features import describe
from molvae.errors import ConfigError
from molvae.generate.request import TRIES, Request
from molvae.model.checkpoint import SavedModel, find_model
from molvae.realism.critic import INPUTS_FILE, log_m_of
from molvae.realism.inputs import FactTable
from molvae.realism.plausibility import NOTHING, Exempt
from molvae.realism.screen import RealismScreen

__all__ = [
    "Thresholds",
    "applicable",
    "calibration_items",
    "has_condition",
    "realism_note",
    "realism_screen",
    "request_thresholds",
    "require_critic",
    "thresholds",
]

CALIBRATION = 256  # candidates from which log M of a request is estimated
EACH = 32  # of them around each given molecule, at least
MOST_GIVEN = 64  # given molecules with a threshold each; more of them share one
ENOUGH = 8  # usable candidates around a given molecule for its threshold
FIRST = 1 << 42  # wanted number of the first of them; no request gets there
NO_CRITIC = (
    "this model has no realism critic, which training fits at its end; train it again, or fit one "
    "with scripts/fit_realism.py"
)


def require_critic(name: str | Path | None, share: str) -> None:
    """Refuse ``--realism`` for a model, as :func:`find_model` takes it, without a critic."""
    folder = find_model(name)
    if not (folder / INPUTS_FILE).is_file():
        raise ConfigError(f"--realism {share}: '{folder.name}': {NO_CRITIC}, or use --realism off")


def applicable(request: Request, model: SavedModel) -> Request:
    """The request without realism if the model has no critic, or nothing is to be selected."""
    if not request.critic:
        return replace(request, realism=None, novel_rings=True)
    return request if model.critic is not None else replace(request, realism=None)


def realism_note(request: Request, model: SavedModel) -> list[str]:
    """A note if realism is requested of a model that has no critic."""
    if request.realism is None or model.critic is not None or not request.critic:
        return []
    return [f"{NO_CRITIC}, or hide this note with --realism off"]


def realism_screen(
    model: SavedModel, request: Request, log_m: float, starts: Sequence[str] = ()
) -> RealismScreen | None:
    """The screen of a request; None if nothing is to be screened.

    The table allows what the scaffold and the start molecules ``starts`` (SMILES) have.
    """
    critic = None if request.realism is None else model.critic
    table = None if request.novel_rings else model.plausibility
    if critic is None and table is None:
        return None
    exempt = NOTHING
    if table is not None:
        texts = [*starts, *request.scaffolds]
        exempt = Exempt.of(mol for mol in map(chem.parse, texts) if mol is not None)
    return RealismScreen(critic, log_m, table, exempt)


def has_condition(request: Request, model: SavedModel, *, grows: bool) -> bool:
    """Whether candidates have another distribution than samples without a request.

    ``grows``: the decoder builds around a scaffold.
    """
    shown = any(target.name in model.conditions.names for target in request.targets)
    return shown or grows or bool(request.like)


class Thresholds(NamedTuple):
    """log M of a request, and how much higher that of each given molecule is."""

    log_m: float
    higher: NDArray[np.float64] = np.zeros(1)  # (S,), in the order of the given molecules

    def numbers(
        self, items: NDArray[np.int64], uniform: NDArray[np.float32] | NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Log of the numbers (N,) from (0, 1) of candidates, to compare with s − log M.

        log u < s − log M of its given molecule, written with the log M that all candidates share.
        """
        return np.log(uniform) + self.higher[items // TRIES % len(self.higher)]


def calibration_items(given: int = 0) -> NDArray[np.int64]:
    """Numbers of the candidates that estimate log M; the same ones for every shard.

    Wanted molecules take turns with the ``given`` molecules, and so do these.
    """
    count = max(CALIBRATION, EACH * given) if given <= MOST_GIVEN else CALIBRATION
    return (FIRST + np.arange(count, dtype=np.int64)) * TRIES


def thresholds(
    model: SavedModel,
    request: Request,
    given: Sequence[str],
    draw: Callable[[NDArray[np.int64]], Sequence[str]],
    *,
    grows: bool,
) -> Thresholds:
    """Thresholds of a request, from samples or from candidates of the request.

    ``draw`` decodes candidates by their numbers; ``grows`` as of :func:`has_condition`.
    """
    share, critic = request.realism, model.critic
    if share is None or critic is None:
        return Thresholds(-math.inf)
    if share == 1 or not has_condition(request, model, grows=grows):
        return Thresholds(critic.log_m(share))
    items = calibration_items(len(given))
    return request_thresholds(model, share, items, draw(items), given)


def request_thresholds(
    model: SavedModel,
    share: float,
    items: NDArray[np.int64],
    texts: Sequence[str],
    given: Sequence[str] = (),
) -> Thresholds:
    """Thresholds from SELFIES of candidates ``items`` (N,) of a request.

    The ``given`` molecules (SMILES) themselves do not count, since they are never written. Without
    a usable candidate, log M of the critic's samples; around a molecule with few of them, that of
    the request.
    """
    critic = model.critic
    assert critic is not None
    measured = measure_selfies(texts, (), model.constraints)
    usable = [m.smiles if not m.radical and m.smiles not in given else "" for m in measured]
    owners, facts = [], []
    for item, mol in zip(items.tolist(), map(chem.parse, usable), strict=True):
        if mol is not None and mol.GetNumAtoms():
            owners.append(item // TRIES % max(len(given), 1))
            facts.append(describe(mol))
    if not facts:
        return Thresholds(critic.log_m(share))
    logits, owner = critic.logits(FactTable.of(facts)), np.asarray(owners)
    log_m = log_m_of(logits, share)
    if not 1 < len(given) <= MOST_GIVEN:
        return Thresholds(log_m)
    higher = np.zeros(len(given))
    for i in range(len(given)):
        if (own := logits[owner == i]).size >= ENOUGH:
            higher[i] = log_m_of(own, share) - log_m
    return Thresholds(log_m, higher)
