"""Diagnostics of a model on held-out molecules.

Unlike ``evaluate``, which sees molecules only, this measures the network: how much information the
latent holds, what is reconstructed from it, how smooth it is, and how well requested properties are
met. The formulas are in ``docs/diagnostics.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from molvae import chem
from molvae.chem.selfies import use_constraints
from molvae.errors import ConfigError
from molvae.evaluate.diagnostics.base import LEVELS
from molvae.evaluate.diagnostics.calibration import calibrate, requests
from molvae.evaluate.diagnostics.head import head_errors
from molvae.evaluate.diagnostics.held_out import HeldOut, Origin, held_out
from molvae.evaluate.diagnostics.latent import encode_molecules, latent_map, mutual_information
from molvae.evaluate.diagnostics.paths import random_pairs, smoothness
from molvae.evaluate.diagnostics.rates import figures
from molvae.evaluate.diagnostics.reconstruction import reconstructions
from molvae.evaluate.diagnostics.results import ModelReport
from molvae.evaluate.metrics import Metric
from molvae.model.checkpoint import SavedModel, find_model, load_model
from molvae.runtime.device import choose_device, versions
from molvae.runtime.files import fingerprint
from molvae.runtime.progress import Progress, say
from molvae.runtime.randomness import Draws

__all__ = ["examine"]

PATHS, POINTS = 100, 11  # interpolations, and the points of each
ASKED = 100  # molecules drawn per requested value


def examine(
    what: str | Path,
    *,
    test: str | Path | Sequence[str | Path] | None = None,
    number: int = 2000,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
) -> ModelReport:
    """Examine a model on a seeded sample of ``number`` molecules it was not trained on.

    Args:
        what: a run folder, a model folder or the name of a shipped model.
        test: molecule files, or one dataset folder, prepared as the training data were. Molecules
            that are known to be training molecules are left out. If not given, the test part (or
            else the validation part) of the dataset in the run's configuration.
        number: molecules to examine, at most.
        seed: of the sample and of all noise; the same seed gives the same report on a CPU.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        workers: processes that prepare ``test`` (default: all CPUs; 0: this process).

    Raises:
        ConfigError: no held-out molecules are known and none were given.
        FileError: a test file cannot be read, or none of its molecules can be used.
    """
    if number < 1:
        raise ConfigError(f"number of molecules to examine: got {number}, expected 1 or more")
    draws, where = Draws(seed), choose_device(device)
    folder = find_model(what)
    model = load_model(folder)
    with use_constraints(model.constraints):
        molecules, origin = held_out(
            model, folder, test=test, number=number, draws=draws, workers=workers
        )
        for note in origin.notes:
            say(f"note: {note}")
        model.network.to(where).eval()
        return _examined(model, folder, molecules, origin, draws)


def _examined(
    model: SavedModel, folder: Path, molecules: HeldOut, origin: Origin, draws: Draws
) -> ModelReport:
    network, conditions = model.network, model.conditions
    device = next(network.parameters()).device
    items = np.arange(origin.n, dtype=np.int64)
    pairs = random_pairs(origin.n, PATHS, draws)
    asked = sum(
        len(requests(condition, molecules.values[:, k])[0])
        for k, condition in enumerate(conditions.conditions)
    )
    work = 2 * len(LEVELS) * origin.n + POINTS * len(pairs) + ASKED * asked
    with Progress("examine", total=work, unit="decodings") as progress:
        rate = figures(
            network,
            molecules,
            conditions,
            list(range(len(conditions))),
            items,
            reconstructions=0,
            draws=draws,
            advance=progress.advance,
        )
        encoded = encode_molecules(network, molecules, items, draws=draws)
        back = reconstructions(network, molecules, items, draws=draws, advance=progress.advance)
        paths = smoothness(
            model,
            encoded.mean,
            _smiles(molecules),
            pairs,
            points=POINTS,
            draws=draws,
            advance=progress.advance,
        )
        control = calibrate(
            model,
            molecules.values,
            draws_per_value=ASKED,
            seed=draws.seed,
            device=device,
            advance=progress.advance,
        )
    information = mutual_information(encoded.mean, encoded.log_var, encoded.sample)
    names = ("n", "R", "D", "nats_per_token", "gap", "active_units")
    note = "an upper bound: I(x; z) is at its cap" if information.note else ""
    return ModelReport(
        model={
            "folder": str(folder),
            "sha256": fingerprint(folder / "model.safetensors")["sha256"],
            "parameters": sum(p.numel() for p in network.parameters()),
        },
        molecules=origin,
        rate={**{k: rate[k] for k in names}, "latent_size": network.config.latent_size},
        information=information,
        marginal_kl=Metric(rate["R"]["0"] - information.value, origin.n, note=note),
        reconstruction=tuple(back),
        head=tuple(head_errors(conditions, encoded.heads, molecules.values)),
        interpolation=paths,
        control=tuple(control),
        latent_map=latent_map(encoded.mean, conditions.names, molecules.values),
        seed=draws.seed,
        device=str(device),
        versions=versions(),
    )


def _smiles(molecules: HeldOut) -> list[str]:
    """Canonical isomeric SMILES of the molecules."""
    texts = (molecules.vocabulary.decode(row.tolist()) for row in molecules.rows)
    return [chem.canonical_smiles(text) or "" for text in texts]
