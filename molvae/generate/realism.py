"""How the realism critic and the table of ring systems of a model apply to a request.

A request without conditions takes the threshold log M of the share from the samples that the critic
was fitted to. For another request, p_data(x | c) / p_model(x | c) equals p_data(x) / p_model(x) up
to a factor that depends on c alone, so log M comes from candidates of the request, which are drawn
for this purpose and never written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

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
    "applicable",
    "calibration_items",
    "has_condition",
    "realism_note",
    "realism_screen",
    "request_log_m",
    "require_critic",
]

CALIBRATION = 256  # candidates from which log M of a request is estimated
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


def calibration_items() -> NDArray[np.int64]:
    """Numbers of the candidates that estimate log M; the same ones for every shard."""
    return (FIRST + np.arange(CALIBRATION, dtype=np.int64)) * TRIES


def request_log_m(
    model: SavedModel, share: float, texts: Sequence[str], excluded: set[str]
) -> float:
    """log M from SELFIES of candidates of a request, apart from molecules that are never written.

    Without a usable candidate, log M of the critic's samples.
    """
    assert model.critic is not None
    measured = measure_selfies(texts, (), model.constraints)
    smiles = [m.smiles for m in measured if not m.radical and m.smiles not in excluded]
    facts = [describe(mol) for mol in map(chem.parse, filter(None, smiles)) if mol is not None]
    if not facts:
        return model.critic.log_m(share)
    return log_m_of(model.critic.logits(FactTable.of(facts)), share)
