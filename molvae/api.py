"""The Python interface: one class for training, generating, encoding and decoding."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from molvae.chem.selfies import use_constraints
from molvae.config import load_config
from molvae.errors import ConfigError, FileError, InputError, suggest
from molvae.generate.proposer import Proposer
from molvae.generate.request import Request, Span, Targets
from molvae.generate.run import (
    GenerationSummary,
    columns_of,
    extras_of,
    generate,
    molecule_row,
)
from molvae.latent.decode import decode
from molvae.latent.encode import encode
from molvae.latent.interpolate import COLUMNS, interpolate
from molvae.latent.predict import predict, prediction_columns, predictors_of
from molvae.model.checkpoint import SavedModel, load_model, save_model
from molvae.model.given import cleaned
from molvae.model.hub import push
from molvae.objectives import FunctionScorer, Objective, Part, parse_objective
from molvae.optimize.run import best_table, optimize
from molvae.predict.predictor import LEVEL
from molvae.runtime.randomness import Draws
from molvae.targets import Target
from molvae.train.run import train

if TYPE_CHECKING:
    from molvae.model.conditions import ConditionSet

__all__ = ["MolVAE"]

ENCODE_BATCH = 256


class MolVAE:
    """A trained model.

    >>> model = MolVAE.load()                                       # doctest: +SKIP
    >>> model.generate(10, targets=["logp=2:3", "qed=0.8:"])        # doctest: +SKIP
    """

    def __init__(self, model: SavedModel) -> None:
        self._model = model

    def __repr__(self) -> str:
        own = [c.name for c in self.conditions.conditions if not c.builtin]
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
        cls,
        inputs: str | Path | Sequence[str | Path],
        run: str | Path,
        *,
        preset: str | None = None,
        start: str | Path | None = None,
        device: str = "auto",
        workers: int | None = None,
        resume: bool = False,
        force: bool = False,
        **settings: Any,
    ) -> MolVAE:
        """Train on molecule files into a run folder and load the result.

        ``settings`` are configuration keys with ``__`` for the dot (``train__epochs=5``);
        ``start`` is a model to fine-tune (``--from``). The rest is as on the command line.
        """
        overrides = {key.replace("__", "."): value for key, value in settings.items()}
        paths = [inputs] if isinstance(inputs, str | Path) else list(inputs)
        config = load_config(preset=preset, overrides=overrides, fine_tuning=start is not None)
        train(
            paths,
            run,
            config,
            device=device,
            workers=workers,
            resume=resume,
            force=force,
            start=start,
        )
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

    # The names that other libraries use.
    from_pretrained = load
    save_pretrained = save

    def generate(
        self,
        n: int,
        targets: Targets = (),
        *,
        like: str | Sequence[str] = (),
        scaffold: str | Sequence[str] | None = None,
        fill: bool = False,
        noise: Span | None = None,
        guidance: Span | None = None,
        temperature: float = 1.0,
        epsilon_cutoff: float = 0.0,
        critic: bool = True,
        walk: bool | None = None,
        candidates: int = 8,
        max_tries: int | None = None,
        allow_misses: bool = False,
        unique: bool = True,
        alerts: Sequence[str] = (),
        elements: Sequence[str] = (),
        max_ring: int | None = None,
        nll: bool = False,
        realism: float | None = 0.5,
        novel_rings: bool = False,
        novel: str | Path | Sequence[str | Path] = (),
        seed: int = 0,
        device: str = "auto",
        precision: str = "auto",
        workers: int | None = None,
        **unknown: object,
    ) -> pd.DataFrame:
        """Up to ``n`` molecules as a table: SMILES, requested properties, distances of points.

        ``targets`` are texts, ``["logp=2:3", "pIC50=8"]``, or a table, ``{"pIC50": 8}``. The
        options up to ``novel_rings`` are fields of :class:`molvae.generate.request.Request`, the
        others arguments of :func:`molvae.generate.run.generate`. A warning says when fewer
        molecules were found, and why. With ``precision="fp32"`` the same seed gives the same
        molecules on any machine; otherwise on machines that compute in the same precision.

        Raises:
            TypeError: an option is unknown; the message suggests a similar one.
        """
        for name in unknown:
            known = ["n", "seed", "device", "precision", "workers", "novel"]
            known += [field.name for field in fields(Request)]
            raise TypeError(f"generate() has no option '{name}': {suggest(name, known)}")
        request = Request(
            like=tuple(_listed(like)),
            scaffold=scaffold,
            fill=fill,
            noise=noise,
            guidance=guidance,
            temperature=temperature,
            epsilon_cutoff=epsilon_cutoff,
            critic=critic,
            walk=walk,
            candidates=candidates,
            max_tries=max_tries,
            allow_misses=allow_misses,
            unique=unique,
            alerts=tuple(alerts),
            elements=tuple(elements),
            max_ring=max_ring,
            nll=nll,
            realism=realism,
            novel_rings=novel_rings,
        ).with_targets(targets, self._model)
        summary = GenerationSummary(wanted=n)
        molecules = generate(
            n,
            model=self._model,
            request=request,
            seed=seed,
            device=device,
            precision=precision,
            workers=workers,
            novel=[novel] if isinstance(novel, str | Path) else novel,
            summary=summary,
        )
        extras = extras_of(request, self._model)
        rows = [molecule_row(m, request.targets, extras) for m in molecules]
        if len(rows) < n:
            reasons = ", ".join(f"{count:,} × {why}" for why, count in summary.refusals.items())
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
        targets: Sequence[str | Target] = (),
        *,
        minimize: bool = False,
        pessimism: float = 1.0,
        pareto: bool = False,
        method: str = "auto",
        like: str | Sequence[str] = (),
        given: Sequence[str] = (),
        scaffold: str | Sequence[str] | None = None,
        fill: bool = False,
        alerts: Sequence[str] = (),
        elements: Sequence[str] = (),
        max_ring: int | None = None,
        realism: float | None = None,
        novel_rings: bool = False,
        novel: Sequence[str | Path] = (),
        keep: int = 100,
        timeout: float | None = None,
        call_size: int = 16,
        output: str | Path | None = None,
        report: str | Path | None = None,
        resume: bool = False,
        force: bool = False,
        seed: int = 0,
        device: str = "auto",
        precision: str = "auto",
        workers: int | None = None,
    ) -> pd.DataFrame:
        """The best molecules of a search, as a table: SMILES, scores, number of the call.

        ``objective`` is a function of a list of SMILES, or what ``--objective`` takes, such as the
        name of a measured column, scored ``pessimism`` deviations worse than its mean. A function
        runs in this process. ``budget`` is the number of molecules it may score; none is scored
        twice. Every molecule scored meets the ranges in ``targets``. Molecules of ``like`` and
        ``given`` are scored first. With ``output`` the calls are kept on disk and ``resume``
        continues them. The other options are those of :func:`molvae.optimize.optimize`.
        """
        if callable(objective):
            if pareto:
                raise ConfigError("pareto needs several objectives, got one function")
            scorer = FunctionScorer(objective)
            parsed = Objective((Part(scorer.name, scorer),), minimize)
            workers = 0
        else:
            parsed = parse_objective(
                _listed(objective), minimize=minimize, pareto=pareto, timeout=timeout,
                columns=lambda: self._model.predictors, pessimism=pessimism,
            )  # fmt: skip
        request = Request(
            like=tuple(_listed(like)),
            scaffold=scaffold,
            fill=fill,
            alerts=tuple(alerts),
            elements=tuple(elements),
            max_ring=max_ring,
            novel_rings=novel_rings,
        )
        summary = optimize(
            output,
            parsed,
            budget,
            model=self._model,
            method=method,
            constraints=targets,
            request=request,
            given=(*request.like, *given),
            realism=realism,
            novel=novel,
            pareto=pareto,
            keep=keep,
            seed=seed,
            device=device,
            precision=precision,
            workers=workers,
            timeout=timeout,
            call_size=call_size,
            report=report,
            resume=resume,
            force=force,
        )
        columns, rows = best_table(summary.molecules, parsed, pareto=pareto)
        return pd.DataFrame(rows, columns=columns)

    def encode(
        self, smiles: str | Sequence[str], *, invalid: Literal["raise", "nan"] = "raise"
    ) -> NDArray[np.float32]:
        """Latent means, shape (N, Z), of molecules that are cleaned as the training data were.

        A SMILES that is invalid, or has atoms that the model does not know, is an error that names
        it; with ``invalid="nan"`` it is a row of NaN.
        """
        ids: dict[int, NDArray[np.int64]] = {}
        texts = _checked_smiles(smiles)
        for i, molecule in enumerate(cleaned(texts, self._model)):
            if isinstance(molecule, str):
                with use_constraints(self._model.constraints):
                    ids[i] = self._model.vocabulary.encode(molecule)
            elif invalid == "raise":
                raise FileError(f"'{texts[i]}' is not valid for this model: {molecule.reason}")
        device = next(self._model.network.parameters()).device
        proposer = Proposer(
            self._model,
            Request(),
            draws=Draws(0),
            device=device,
            precision="fp32",
            batch_size=ENCODE_BATCH,
        )
        means = np.full((len(texts), self.latent_size), np.nan, dtype=np.float32)
        means[list(ids)] = proposer.encode(list(ids.values()))
        return means

    def decode(
        self, z: NDArray[np.floating[Any]], *, noise: float = 0.0, seed: int = 0
    ) -> list[str]:
        """Canonical SMILES of latent points (N, Z), decoded greedily at a noise level.

        A point that decodes to no molecule gives an empty text.
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

        Columns: ``smiles`` (empty where a point decodes to no molecule), ``share`` of the path, and
        the Tanimoto similarity to each end.
        """
        points = interpolate(self._model, first, last, points=n, noise=noise, seed=seed)
        rows = [[getattr(point, name) for name in COLUMNS] for point in points]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def neighbors(
        self, smiles: str, n: int = 10, *, noise: Span | None = None, **options: Any
    ) -> pd.DataFrame:
        """Up to ``n`` analogs of a molecule, with their Tanimoto similarity to it.

        ``noise`` is the level at which its latent point is decoded: near 0 the molecule itself and
        its closest relatives, near 1 any molecule. ``options`` are those of :meth:`generate`.
        """
        return self.generate(n, like=smiles, noise=noise, **options)

    def score(
        self,
        smiles: str | Sequence[str],
        *,
        device: str = "auto",
        precision: str = "auto",
        workers: int | None = None,
    ) -> pd.DataFrame:
        """How likely molecules are under the model: ``smiles``, ``nats``, ``distortion``, ``note``.

        ``nats`` is −log p of the molecule's SELFIES at t = 1, without conditions: exact, and high
        for molecules unlike the training data. ``distortion`` is −log p at t = 0, where the decoder
        sees the molecule's latent. Molecules are cleaned as the training data were; ``note`` says
        why a molecule has no values.
        """
        encoded = encode(
            _checked_smiles(smiles),
            self._model,
            score=True,
            device=device,
            precision=precision,
            workers=workers,
        )
        rows = [[m.text, m.nats, m.distortion, m.note] for m in encoded]
        return pd.DataFrame(rows, columns=["smiles", "nats", "distortion", "note"])

    def predict(
        self, smiles: str | Sequence[str], *, level: float = LEVEL, workers: int | None = None
    ) -> pd.DataFrame:
        """Predictions of the columns that the model was trained with (-p), one row per molecule.

        Columns: ``smiles``; of each measured column ``NAME`` (of a yes/no column the probability of
        yes), ``NAME_low`` and ``NAME_high`` (numbers only), between which a measurement lies with
        probability ``level``, the most similar training molecule ``NAME_nearest``, its
        ``NAME_similarity`` and its measured value ``NAME_nearest_value``, and ``NAME_inside``, yes
        if it is similar enough for the interval to hold; ``note`` as in :meth:`score`.

        Raises:
            ConfigError: the model was trained with RDKit's properties only.
        """
        predictors = predictors_of(self._model)
        predicted = predict(_checked_smiles(smiles), self._model, level=level, workers=workers)
        rows = [[m.text, *m.cells, m.note] for m in predicted]
        columns = ["smiles", *prediction_columns(predictors), "note"]
        return pd.DataFrame(rows, columns=columns)


def _listed(texts: str | Sequence[str]) -> Sequence[str]:
    """A list of texts, from one text or several."""
    return [texts] if isinstance(texts, str) else texts


def _checked_smiles(smiles: str | Sequence[str]) -> Sequence[str]:
    """The SMILES as a list.

    Raises:
        InputError: something among them is not text.
    """
    texts = _listed(smiles)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"molecule {i} is {text!r:.40}, expected a SMILES text")
    return texts
