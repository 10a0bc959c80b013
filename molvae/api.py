"""What a Python user holds: one object for training, generating, encoding and decoding."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.selfies import use_constraints
from molvae.config import load_config
from molvae.errors import ConfigError, FileError, InputError, suggest
from molvae.generate.proposer import Proposer
from molvae.generate.request import Request
from molvae.generate.run import GenerationSummary, columns_of, generate, molecule_row
from molvae.latent.decode import decode
from molvae.latent.encode import encode, own_columns
from molvae.latent.interpolate import COLUMNS, interpolate
from molvae.model.checkpoint import SavedModel, load_model, save_model
from molvae.model.hub import push
from molvae.objectives import FunctionScorer, Objective, Part, parse_objective
from molvae.optimize.run import best_table, optimize
from molvae.runtime.randomness import Draws
from molvae.train.run import train

if TYPE_CHECKING:
    from molvae.model.conditions import ConditionSet

__all__ = ["MolVAE"]

ENCODE_BATCH = 256
DOOR = ("device", "precision", "workers", "novel")  # of generate, beside the request


class MolVAE:
    """A trained model.

    >>> model = MolVAE.load()                                       # doctest: +SKIP
    >>> model.generate(10, targets=["logp=2:3", "qed=0.8:"])        # doctest: +SKIP
    """

    def __init__(self, model: SavedModel) -> None:
        self._model = model

    def __repr__(self) -> str:
        own = [one.name for one in self.conditions.conditions if not one.builtin]
        columns = f", own columns {', '.join(own)}" if own else ""
        return (
            f"<MolVAE: {len(self.conditions)} conditions, latent size {self.latent_size}{columns}>"
        )

    @classmethod
    def load(cls, name: str | Path | None = None) -> MolVAE:
        """A model folder, a run folder, the name of a shipped model, or the default model.

        ``hf://OWNER/NAME`` (or ``…@REVISION``) is a model on the hub; it needs the extra ``hub``.
        """
        return cls(load_model(name))

    @classmethod
    def train(
        cls, inputs: str | Path | Sequence[str | Path], run: str | Path, **options: Any
    ) -> MolVAE:
        """Train on molecule files into a run folder and load the result.

        ``options`` are dotted configuration keys with ``__`` for the dot (``train__epochs=5``), and
        ``preset``, ``device``, ``workers``, ``resume``, ``force`` as on the command line; ``start``
        is a model to train on (there: ``--from``).
        """
        names = ("device", "workers", "resume", "force", "start")
        door = {k: options.pop(k) for k in names if k in options}
        preset = options.pop("preset", None)
        overrides = {key.replace("__", "."): value for key, value in options.items()}
        paths = [inputs] if isinstance(inputs, str | Path) else list(inputs)
        config = load_config(
            preset=preset, overrides=overrides, fine_tuning=door.get("start") is not None
        )
        train(paths, run, config, **door)
        return cls.load(run)

    @property
    def conditions(self) -> ConditionSet:
        """The properties the model was trained with, and their statistics."""
        return self._model.conditions

    @property
    def latent_size(self) -> int:
        """Number of latent dimensions Z."""
        return self._model.network.config.latent_size

    def save(self, folder: str | Path, *, half: bool = False) -> None:
        """Write a model folder; ``half`` stores 16-bit weights."""
        save_model(folder, self._model, half=half)

    def push_to_hub(self, name: str, *, private: bool = False) -> str:
        """Put the model on the hub as ``OWNER/NAME``; its address.

        Whoever has that name loads it with ``MolVAE.load("hf://OWNER/NAME")``. Needs the extra
        ``hub`` and a login.
        """
        with TemporaryDirectory() as folder:
            self.save(Path(folder) / "model")
            return push(Path(folder) / "model", name, private=private)

    # The names that libraries of models have for the two.
    from_pretrained = load
    save_pretrained = save

    def generate(
        self,
        n: int,
        targets: str | Sequence[str] | Mapping[str, object] = (),
        *,
        seed: int = 0,
        **knobs: Any,
    ) -> pd.DataFrame:
        """Up to ``n`` molecules as a table: SMILES, requested properties, errors of points.

        ``targets`` are texts, ``["logp=2:3", "pIC50=8"]``, or a table, ``{"pIC50": 8}``.
        ``knobs`` are the fields of :class:`molvae.generate.request.Request`
        and ``device``, ``precision``,
        ``workers``, ``novel``. A warning says when fewer were found, and why. The same seed gives
        the same molecules on any machine with ``precision="fp32"``; elsewise on machines that
        compute in the same precision.
        """
        door = {k: knobs.pop(k) for k in DOOR if k in knobs}
        if isinstance(door.get("novel"), str | Path):
            door["novel"] = [door["novel"]]
        if isinstance(knobs.get("like"), str):
            knobs["like"] = (knobs["like"],)
        request = _request(knobs)
        request = replace(request, targets=request.parse(targets, self._model))
        extras = request.extras
        summary = GenerationSummary(wanted=n)
        rows = [
            molecule_row(molecule, request.targets, extras)
            for molecule in generate(
                n, model=self._model, targets=[t.text for t in request.targets],
                request=request, seed=seed,
                summary=summary, **door,
            )
        ]  # fmt: skip
        if len(rows) < n:
            reasons = ", ".join(f"{count:,} × {why}" for why, count in summary.refused.items())
            warnings.warn(
                f"only {len(rows):,} of {n:,} molecules were found (refused: {reasons or 'none'}); "
                "widen a range, raise max_tries, or set allow_misses",
                stacklevel=2,
            )
        return pd.DataFrame(rows, columns=columns_of(request.targets, extras))

    def optimize(
        self,
        objective: str | Sequence[str] | Callable[[Sequence[str]], Any],
        budget: int,
        targets: Sequence[str] = (),
        *,
        minimize: bool = False,
        pareto: bool = False,
        **knobs: Any,
    ) -> pd.DataFrame:
        """The best molecules of a search, as a table: SMILES, what the objective said, the call.

        ``objective`` is a function of a list of SMILES, or what ``--objective`` takes; ``budget``
        counts its calls, of molecules that are scored once. ``targets`` are ranges that all of them
        must meet. ``knobs`` are those of :func:`molvae.optimize.optimize` (``output`` keeps the
        calls on disk, so that ``resume`` can go on with them) and the fields of
        :class:`molvae.generate.request.Request`; molecules of ``like`` and ``given`` are
        scored first. A function is called in this process, which must survive it.
        """
        if callable(objective):
            if pareto:
                raise ConfigError("pareto needs several objectives, got one function")
            scorer = FunctionScorer(objective)
            found = Objective((Part(scorer.name, scorer),), minimize)
            knobs["workers"] = 0
        else:
            texts = [objective] if isinstance(objective, str) else list(objective)
            found = parse_objective(
                texts, minimize=minimize, pareto=pareto, timeout=knobs.get("timeout")
            )
        if isinstance(knobs.get("like"), str):
            knobs["like"] = (knobs["like"],)
        names = ("like", "scaffold", "alerts", "elements", "max_ring")
        request = Request(**{k: knobs.pop(k) for k in names if k in knobs})
        summary = optimize(
            knobs.pop("output", None), found, budget, model=self._model, constraints=targets,
            request=request, given=(*request.like, *knobs.pop("given", ())), pareto=pareto, **knobs,
        )  # fmt: skip
        columns, rows = best_table(summary.molecules, found, pareto=pareto)
        return pd.DataFrame(rows, columns=columns)

    def encode(
        self, smiles: Sequence[str], *, invalid: Literal["raise", "nan"] = "raise"
    ) -> NDArray[np.float32]:
        """Latent means, shape (N, Z).

        A SMILES that is not valid, or has atoms that the model does not know, is an error naming
        it, or a row of NaN.
        """
        ids: dict[int, NDArray[np.int64]] = {}
        smiles = _several(smiles)
        for i, text in enumerate(smiles):
            try:
                ids[i] = self._ids(text)
            except FileError:
                if invalid == "raise":
                    raise
        device = next(self._model.network.parameters()).device
        proposer = Proposer(
            self._model, Request(), draws=Draws(0), device=device, precision="fp32",
            batch_size=ENCODE_BATCH,
        )  # fmt: skip
        means = np.full((len(smiles), self.latent_size), np.nan, dtype=np.float32)
        means[list(ids)] = proposer.encode(list(ids.values()))
        return means

    def decode(
        self, z: NDArray[np.floating[Any]], *, noise: float = 0.0, seed: int = 0
    ) -> list[str]:
        """Canonical SMILES of latent points (N, Z), decoded at a noise level with likeliest tokens.

        An empty text stands for a point whose tokens describe no atom.
        """
        points = np.asarray(z, dtype=np.float32)
        if points.ndim != 2 or points.shape[1] != self.latent_size:
            raise FileError(f"latents: got shape {points.shape}, expected (N, {self.latent_size})")
        device = next(self._model.network.parameters()).device.type
        return list(decode(points, self._model, noise=noise, seed=seed, device=device))

    def interpolate(
        self, first: str, last: str, n: int = 11, *, noise: float = 0.0, seed: int = 0
    ) -> pd.DataFrame:
        """``n`` points on the path between two molecules, ends included, one row each.

        ``smiles`` (empty where a point decodes to no molecule), ``share`` of the path, and the
        Tanimoto similarity to either end.
        """
        points = interpolate(self._model, first, last, points=n, noise=noise, seed=seed)
        rows = [[getattr(one, name) for name in COLUMNS] for one in points]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def neighbors(
        self,
        smiles: str,
        n: int = 10,
        *,
        noise: float | tuple[float, float] | None = None,
        **knobs: Any,
    ) -> pd.DataFrame:
        """Up to ``n`` other molecules around one, with their Tanimoto similarity to it.

        ``noise`` is the level at which its latent point is decoded: near 0 the molecule itself and
        its closest relatives, towards 1 any molecule. ``knobs`` are those of :meth:`generate`.
        """
        return self.generate(n, like=(smiles,), noise=noise, **knobs)

    def score(self, smiles: Sequence[str], **knobs: Any) -> pd.DataFrame:
        """How likely the model finds molecules: ``smiles``, ``nats``, ``distortion``, ``note``.

        ``nats`` is −log p of the molecule's SELFIES at t = 1, without conditions: exact, and high
        for molecules unlike the training data. ``distortion`` is what is left of it when the
        decoder sees the molecule's own latent. Molecules are cleaned as the training data were;
        ``note`` says why one has no figures. ``knobs``: ``device``, ``precision``, ``workers``.
        """
        rows = [
            [one.text, one.nats, one.distortion, one.note]
            for one in encode(_several(smiles), self._model, score=True, **knobs)
        ]
        return pd.DataFrame(rows, columns=["smiles", "nats", "distortion", "note"])

    def predict(self, smiles: Sequence[str], **knobs: Any) -> pd.DataFrame:
        """Own columns of the model as its property head predicts them from the latent means.

        ``smiles``, each ``NAME`` and the spread ``NAME_sd`` that the head expects (none for yes/no
        columns, of which the probability of yes is told), and ``note`` as of :meth:`score`.

        Raises:
            ConfigError: the model knows no column but RDKit's properties.
        """
        columns = own_columns(self._model)
        rows = [
            [one.text, *one.prediction, one.note]
            for one in encode(_several(smiles), self._model, **knobs)
        ]
        return pd.DataFrame(rows, columns=["smiles", *columns, "note"])

    def _ids(self, smiles: str) -> NDArray[np.int64]:
        canonical = chem.canonical_smiles(smiles)
        if canonical is None:
            raise FileError(f"'{smiles}' is not a valid SMILES")
        with use_constraints(self._model.constraints):
            return self._model.vocabulary.encode(canonical)


def _several(smiles: Sequence[str]) -> Sequence[str]:
    """A single SMILES is a text, and a sequence too: of characters, which nobody means.

    Raises:
        InputError: something among them is no text.
    """
    found = [smiles] if isinstance(smiles, str) else smiles
    for i, one in enumerate(found):
        if not isinstance(one, str):
            raise InputError(f"molecule {i} is {one!r:.40}, expected a SMILES text")
    return found


def _request(knobs: Mapping[str, Any]) -> Request:
    known = [field.name for field in fields(Request)]
    for name in knobs:
        if name not in known:
            others = ["n", "targets", "seed", *DOOR, *known]
            raise TypeError(f"generate() has no option '{name}': {suggest(name, others)}")
    return Request(**knobs)
