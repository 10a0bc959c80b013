"""Adapters for other tools: scikit-learn, molfeat, GuacaMol."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.api import MolVAE
from molvae.errors import ConfigError, suggest

__all__ = ["GuacaMolGenerator", "GuacaMolScore", "LatentFeaturizer"]

_Model = MolVAE | str | Path | None


def _loaded(model: _Model) -> MolVAE:
    return model if isinstance(model, MolVAE) else MolVAE.load(model)


class LatentFeaturizer:
    """Latent points of molecules: a transformer for scikit-learn, a callable for molfeat.

    It needs neither library; :meth:`fit` learns nothing from its molecules.

    >>> from molvae.integrations import LatentFeaturizer
    >>> LatentFeaturizer()(["CCO", "c1ccccc1"]).shape
    (2, 64)

    Args:
        model: a :class:`molvae.MolVAE`, or what its ``load`` takes.
        invalid: ``"raise"`` for an error that names a molecule the model cannot encode; ``"nan"``
            for a row of NaN.
    """

    def __init__(self, model: _Model = None, *, invalid: str = "raise") -> None:
        # Stored unchecked: scikit-learn compares the parameters when it clones an estimator.
        self.model = model
        self.invalid = invalid

    def fit(self, X: Iterable[object] | None = None, y: object = None) -> Self:
        """Load the model; ``X`` and ``y`` are ignored."""
        if self.invalid not in ("raise", "nan"):
            raise ConfigError(f"invalid: got '{self.invalid}', expected 'raise' or 'nan'")
        self.model_ = _loaded(self.model)
        return self

    def transform(self, X: Iterable[object]) -> NDArray[np.float32]:
        """Latent means (N, Z) of SMILES or RDKit molecules; also a column of a table.

        Raises:
            FileError: a molecule cannot be encoded, and ``invalid`` is ``"raise"``.
        """
        if not hasattr(self, "model_"):
            self.fit()
        smiles = [_smiles(molecule) for molecule in _column(X)]
        return self.model_.encode(smiles, invalid="nan" if self.invalid == "nan" else "raise")

    def fit_transform(self, X: Iterable[object], y: object = None) -> NDArray[np.float32]:
        """:meth:`fit`, then :meth:`transform`."""
        return self.fit(X, y).transform(X)

    def __call__(self, molecules: Iterable[object]) -> NDArray[np.float32]:
        """:meth:`transform`, as molfeat calls it."""
        return self.transform(molecules)

    def __len__(self) -> int:
        return _loaded(getattr(self, "model_", self.model)).latent_size

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """``z0``, ``z1`` …"""
        return np.asarray([f"z{i}" for i in range(len(self))], dtype=object)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"model": self.model, "invalid": self.invalid}

    def set_params(self, **params: Any) -> Self:
        """Change the constructor's arguments; the model is loaded again."""
        for name, value in params.items():
            if name not in self.get_params():
                raise ConfigError(f"unknown parameter '{name}': {suggest(name, self.get_params())}")
            setattr(self, name, value)
        self.__dict__.pop("model_", None)
        return self

    def __repr__(self) -> str:
        return f"LatentFeaturizer(model={self.model!r}, invalid={self.invalid!r})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        """Required by scikit-learn 1.6 and later."""
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(),
            input_tags=InputTags(two_d_array=False, one_d_array=True, string=True),
            requires_fit=False,
        )


class GuacaMolScore(Protocol):
    """The part of GuacaMol's scoring functions that is used."""

    def score_list(self, smiles_list: list[str]) -> list[float]:
        """A score for each SMILES."""


class GuacaMolGenerator:
    """The methods that GuacaMol's two suites call (Brown et al. 2019).

    Distribution learning: ``assess_distribution_learning(GuacaMolGenerator(model), …)``. Goals:
    ``assess_goal_directed_generation(GuacaMolGenerator(model, budget=10_000))``.

    Args:
        model: a :class:`molvae.MolVAE`, or what its ``load`` takes.
        budget: calls of each scoring function.
        seed: of the first call; each later call uses the next one.
        options: of :meth:`molvae.MolVAE.generate`.
    """

    def __init__(
        self, model: _Model = None, *, budget: int = 10_000, seed: int = 0, **options: Any
    ) -> None:
        self.model, self.budget, self.seed = _loaded(model), budget, seed
        self.options = {"unique": False, **options}

    def generate(self, number_samples: int) -> list[str]:
        """That many SMILES as the model draws them, repeats included."""
        table = self.model.generate(number_samples, seed=self._next_seed(), **self.options)
        return [str(text) for text in table["smiles"]]

    def generate_optimized_molecules(
        self,
        scoring_function: GuacaMolScore,
        number_molecules: int,
        starting_population: Sequence[str] | None = None,
    ) -> list[str]:
        """The SMILES that score highest within the budget, the best first."""
        table = self.model.optimize(
            lambda smiles: scoring_function.score_list(list(smiles)),
            self.budget,
            given=tuple(starting_population or ()),
            keep=number_molecules,
            seed=self._next_seed(),
        )
        return [str(text) for text in table["smiles"]]

    def _next_seed(self) -> int:
        seed = self.seed
        self.seed += 1
        return seed


def _column(molecules: Any) -> list[object]:
    """A list of molecules, from a list, an array, a column, or a table of one column."""
    values = np.asarray(molecules, dtype=object) if hasattr(molecules, "shape") else molecules
    if getattr(values, "ndim", 1) == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if isinstance(values, str) or getattr(values, "ndim", 1) != 1:
        raise ConfigError("expected a list of molecules, one column")
    return list(values)


def _smiles(molecule: object) -> str:
    if isinstance(molecule, chem.Mol):
        return chem.to_smiles(molecule)
    if isinstance(molecule, str):
        return molecule
    raise ConfigError(f"expected a SMILES or an RDKit molecule, got {type(molecule).__name__}")
