"""The Python interface: one class for training, generating, encoding and decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from molvae.api.generation import Generation, frame
from molvae.chem.selfies import use_constraints
from molvae.config import load_config, parse_duration
from molvae.errors import ConfigError, InputError
from molvae.generate.proposer import Proposer
from molvae.generate.request import Request, Targets
from molvae.latent.decode import decode
from molvae.latent.encode import encode
from molvae.latent.interpolate import COLUMNS, interpolate
from molvae.latent.predict import predict, prediction_columns, predictors_of
from molvae.latent.realism import realism
from molvae.model.checkpoint import load_model, require_model_place, save_model
from molvae.model.given import cleaned
from molvae.model.hub import push
from molvae.model.info import model_info
from molvae.predict.predictor import LEVEL
from molvae.runtime.given import paths, texts
from molvae.runtime.randomness import Draws
from molvae.targets import target_list

if TYPE_CHECKING:  # slow to import: methods do it when they need them
    import pandas as pd

    from molvae.evaluate import Molecules, Report
    from molvae.model.conditions import ConditionSet

__all__ = ["MolVAE"]

ENCODE_BATCH = 256


class MolVAE(Generation):
    """A trained model.

    >>> model = MolVAE.load()                                       # doctest: +SKIP
    >>> model.generate(10, targets=["logp=2:3", "qed=0.8:"])        # doctest: +SKIP
    """

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
        properties: Sequence[str] | Mapping[str, str] | None = None,
        conditions: Sequence[str] | None = None,
        preset: str | None = None,
        epochs: float | None = None,
        max_time: float | str | None = None,
        seed: int | None = None,
        start: str | Path | None = None,
        device: str = "auto",
        workers: int | None = None,
        resume: bool = False,
        force: bool = False,
        **settings: Any,
    ) -> MolVAE:
        """Train on molecule files into a run folder and load the result.

        ``properties`` are measured columns (``-p``), or a table of names and columns; ``max_time``
        is in seconds, or a text such as ``"30m"``; ``start`` is a model to fine-tune (``--from``).
        The rest is as on the command line. ``settings`` are any other configuration keys, with
        ``__`` for the dot (``train__batch_size=128``).

        Raises:
            ConfigError: a key is unknown, or is given twice.
        """
        from molvae.train.run import train

        columns = properties
        if columns is not None and not isinstance(columns, Mapping):
            columns = {name: name for name in texts(columns, "properties")}
        seconds = parse_duration(max_time) if isinstance(max_time, str) else max_time
        explicit = {
            "data.properties": columns,
            "data.conditions": None if conditions is None else texts(conditions, "conditions"),
            "train.epochs": epochs,
            "train.max_time": seconds,
            "train.seed": seed,
        }
        overrides = {key.replace("__", "."): value for key, value in settings.items()}
        for key, value in explicit.items():
            if value is not None and key in overrides:
                raise ConfigError(f"{key} is given twice: {value} and {overrides[key]}")
        overrides |= {key: value for key, value in explicit.items() if value is not None}
        files = paths(inputs, "inputs")
        config = load_config(preset=preset, overrides=overrides, fine_tuning=start is not None)
        train(
            files,
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
        """Write a model folder; ``half`` stores 16-bit weights.

        An older model folder of that name is replaced, and nothing else.

        Raises:
            FileError: ``folder`` is a file, or a folder that holds something else.
        """
        require_model_place(folder)
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

    def encode(
        self, smiles: str | Sequence[str], *, invalid: Literal["raise", "nan"] = "raise"
    ) -> NDArray[np.float32]:
        """Latent means, shape (N, Z), of molecules that are cleaned as the training data were.

        A SMILES that is invalid, or has atoms that the model does not know, is an error that names
        it; with ``invalid="nan"`` it is a row of NaN.
        """
        if invalid not in ("raise", "nan"):
            raise ConfigError(f"invalid: got {invalid!r}, expected 'raise' or 'nan'")
        ids: dict[int, NDArray[np.int64]] = {}
        given = texts(smiles, "molecule", kind="SMILES text")
        for i, molecule in enumerate(cleaned(given, self._model)):
            if isinstance(molecule, str):
                with use_constraints(self._model.constraints):
                    ids[i] = self._model.vocabulary.encode(molecule)
            elif invalid == "raise":
                raise InputError(f"'{given[i]}' is not valid for this model: {molecule.reason}")
        device = next(self._model.network.parameters()).device
        proposer = Proposer(
            self._model,
            Request(),
            draws=Draws(0),
            device=device,
            precision="fp32",
            batch_size=ENCODE_BATCH,
        )
        means = np.full((len(given), self.latent_size), np.nan, dtype=np.float32)
        means[list(ids)] = proposer.encode(list(ids.values()))
        return means

    def decode(
        self, z: NDArray[np.floating[Any]] | torch.Tensor, *, noise: float = 0.0, seed: int = 0
    ) -> list[str]:
        """Canonical SMILES of latent points (N, Z), decoded greedily at a noise level.

        ``z`` is an array or a tensor, of any device and with or without gradients.
        A point that decodes to no molecule gives an empty text.
        """
        try:
            if isinstance(z, torch.Tensor):
                z = z.detach().float().cpu().numpy()
            points = np.asarray(z, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"latents: {error}; expected numbers of shape (N, {self.latent_size})"
            ) from None
        if points.ndim != 2 or points.shape[1] != self.latent_size:
            raise InputError(f"latents: got shape {points.shape}, expected (N, {self.latent_size})")
        device = next(self._model.network.parameters()).device.type
        return list(decode(points, self._model, noise=noise, seed=seed, device=device))

    def interpolate(
        self, first: str, last: str, n: int = 11, *, noise: float = 0.0, seed: int = 0
    ) -> pd.DataFrame:
        """``n`` points on the path between two molecules, ends included, one row each.

        Columns: ``smiles`` (empty where a point decodes to no molecule), ``share`` of the path, and
        the Tanimoto similarity to each end.
        """
        for end in (first, last):
            if not isinstance(end, str):
                raise InputError(f"interpolate: got {end!r:.40}, expected one SMILES text")
        points = interpolate(self._model, first, last, points=n, noise=noise, seed=seed)
        rows = [[getattr(point, name) for name in COLUMNS] for point in points]
        return frame(rows, COLUMNS)

    def info(self) -> dict[str, Any]:
        """Parameters, tokens, conditions, predictors and training figures, as plain data."""
        return model_info(self._model)

    @staticmethod
    def evaluate(
        molecules: Molecules | pd.DataFrame,
        *,
        train: Molecules | pd.DataFrame | None = None,
        test: Molecules | pd.DataFrame | None = None,
        test_scaffolds: Molecules | pd.DataFrame | None = None,
        targets: Targets = (),
        filters_from: str | Path | None = None,
        chemnet: bool = True,
        guacamol: bool = False,
        sample: int = 30_000,
        replicates: int = 500,
        seed: int = 0,
        device: str = "auto",
        workers: int | None = None,
        scheduler: str | None = None,
    ) -> Report:
        """Metrics of molecules: a list of SMILES, a table of :meth:`generate`, or a file.

        ``train``, ``test`` and ``test_scaffolds`` are lists, tables or files too, and ``targets``
        are written as in :meth:`generate`. The other options are those of
        :class:`molvae.evaluate.Options`. ``report.metrics["novelty"].value`` is one metric of the
        result.
        """
        from molvae.evaluate import Options, evaluate_molecules

        options = Options(
            targets=target_list(targets),
            filters_from=filters_from,
            chemnet=chemnet,
            guacamol=guacamol,
            sample=sample,
            replicates=replicates,
            seed=seed,
            device=device,
            workers=workers,
            scheduler=scheduler,
        )
        return evaluate_molecules(
            molecules, train=train, test=test, test_scaffolds=test_scaffolds, options=options
        )

    def score(
        self,
        smiles: str | Sequence[str],
        *,
        device: str = "auto",
        precision: str = "auto",
        workers: int | None = None,
        scheduler: str | None = None,
    ) -> pd.DataFrame:
        """How likely molecules are under the model: ``smiles``, ``nats``, ``distortion``, ``note``.

        ``nats`` is −log p of the molecule's SELFIES at t = 1, without conditions: exact, and high
        for molecules unlike the training data. ``distortion`` is −log p at t = 0, where the decoder
        sees the molecule's latent. Molecules are cleaned as the training data were; ``note`` says
        why a molecule has no values.
        """
        encoded = encode(
            texts(smiles, "molecule", kind="SMILES text"),
            self._model,
            score=True,
            device=device,
            precision=precision,
            workers=workers,
            scheduler=scheduler,
        )
        rows = [[m.text, m.nats, m.distortion, m.note] for m in encoded]
        return frame(rows, ["smiles", "nats", "distortion", "note"])

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
        predicted = predict(
            texts(smiles, "molecule", kind="SMILES text"), self._model, level=level, workers=workers
        )
        rows = [[m.text, *m.cells, m.note] for m in predicted]
        columns = ["smiles", *prediction_columns(predictors), "note"]
        return frame(rows, columns)

    def realism(self, smiles: str | Sequence[str]) -> pd.DataFrame:
        """How realistic molecules are: ``smiles``, ``realism``, ``unseen``, ``note``.

        ``realism`` is the share of the model's own samples that look less like training molecules,
        ``unseen`` the first ring system or atom environment that no training molecule has.

        Raises:
            ConfigError: the model has no critic and no plausibility table.
        """
        judged = realism(texts(smiles, "molecule", kind="SMILES text"), self._model)
        return frame(judged, ["smiles", "realism", "unseen", "note"])
