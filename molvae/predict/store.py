"""All predictors of a model, and how they are stored: tensors and plain data, never code.

Folder: ``predictors.safetensors`` (training molecules once, and what each column adds) and
``predictors.json`` (names, kinds, hyperparameters, calibration). Some 0.5 kB per molecule, and 8 MB
per column of more than 5,000 molecules. What can be computed from these, such as the Cholesky
factor, is not stored: the first prediction after loading computes it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae.chem.counts import DESCRIPTORS, Counts
from molvae.errors import ModelFolderError, PropertyError, suggest
from molvae.predict.calibration import Calibration
from molvae.predict.classifier import Logistic
from molvae.predict.gaussian_process import Hyperparameters
from molvae.predict.kernel import PARTS, Features, read_features
from molvae.predict.predictor import ColumnPredictor, Kind, Predictions
from molvae.predict.regression import LOCAL, ExactRegression, Raw, Regression, SparseRegression
from molvae.runtime.files import write_json
from molvae.runtime.untrusted import read_json, read_tensors

__all__ = ["FILES", "Predictors"]

FILES = ("predictors.safetensors", "predictors.json")
SCHEMA = 1
MAX_BYTES = 10_000_000_000  # of the tensors; the most columns and molecules need less
_MOST_COLUMNS = 1000

_Tensors = dict[str, NDArray[Any]]


class Predictors(Mapping[str, ColumnPredictor]):
    """The predictors of a model by column name; they share the training molecules."""

    def __init__(
        self,
        smiles: Sequence[str],
        features: Features,
        columns: Mapping[str, ColumnPredictor],
    ) -> None:
        """``smiles`` and ``features`` of all molecules with a value in any of the columns."""
        self.smiles, self.features = tuple(smiles), features
        self._columns = dict(columns)

    @classmethod
    def fit(
        cls,
        smiles: Sequence[str],
        columns: Mapping[str, NDArray[np.floating[Any]]],
        kinds: Mapping[str, Kind],
        *,
        features: Features | None = None,
    ) -> Predictors:
        """Fit one predictor per column of values (N,); NaN is a gap.

        Columns without any value are left out. ``features``, if they are known already, are of all
        N molecules, and all SMILES then count as valid.
        """
        valid = np.ones(len(smiles), dtype=np.bool_)
        if features is None:
            features, valid = read_features(smiles)
        given = {
            name: np.where(valid, np.asarray(values, dtype=np.float64), np.nan)
            for name, values in columns.items()
        }
        known = np.zeros(len(smiles), dtype=np.bool_)
        for values in given.values():
            known |= np.isfinite(values)
        items = np.flatnonzero(known).astype(np.int64)
        kept, shared = [smiles[i] for i in items.tolist()], features.take(items)
        fitted = {
            name: ColumnPredictor.fit(
                kept, values[items], kinds.get(name, "number"), features=shared, name=name
            )
            for name, values in given.items()
            if np.isfinite(values).any()
        }
        return cls(kept, shared, fitted)

    @classmethod
    def of(cls, name: str, predictor: ColumnPredictor) -> Predictors:
        """A single predictor under the name of its column."""
        return cls(predictor.smiles, predictor.features, {name: predictor})

    def __getitem__(self, name: str) -> ColumnPredictor:
        if name not in self._columns:
            raise PropertyError(f"unknown column '{name}': {suggest(name, self._columns)}")
        return self._columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def predict(self, smiles: Sequence[str], names: Sequence[str] = ()) -> dict[str, Predictions]:
        """Predictions of M molecules by each column, or by those of these names."""
        features, valid = read_features(smiles)
        usable = [text if ok else "" for text, ok in zip(smiles, valid, strict=True)]
        return {
            name: self[name].predict(usable, features=features).blanked(valid)
            for name in (names or self)
        }

    def save(self, folder: str | Path) -> None:
        """Write the two files into a folder that exists or not."""
        from safetensors.numpy import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        places = {text: i for i, text in reversed(list(enumerate(self.smiles)))}
        tensors, entries = _features_to_tensors(self.features), []
        text = "\n".join(self.smiles).encode()
        tensors["smiles"] = np.frombuffer(text or b"\n", dtype=np.uint8)
        for number, (name, column) in enumerate(self._columns.items()):
            rows = np.asarray([places[text] for text in column.smiles], dtype=np.int32)
            more, entry = _column_to_data(column)
            more |= {"rows": rows, "values": column.values}
            tensors |= {f"column.{number}.{key}": value for key, value in more.items()}
            entries.append({"name": name, **entry})
        plain = {"schema": SCHEMA, "molecules": len(self.smiles), "columns": entries}
        contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
        (folder / FILES[0]).write_bytes(save(contiguous))
        write_json(folder / FILES[1], plain)

    @classmethod
    def load(cls, folder: str | Path) -> Predictors:
        """Read and verify what :meth:`save` wrote; no code of it is run.

        Raises:
            ModelFolderError: a file is missing, damaged, or does not fit the other.
        """
        folder = Path(folder)
        plain = read_json(folder / FILES[1], schema=SCHEMA)
        tensors = read_tensors(folder / FILES[0], MAX_BYTES)
        try:
            return _from_data(cls, plain, tensors)
        except ModelFolderError as error:
            raise ModelFolderError(f"'{folder}': {error}") from None
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise ModelFolderError(
                f"'{folder}': the files of the predictors are damaged ({error!r}); train again, or "
                "copy the folder again"
            ) from None


class _Later:
    """A regression that is rebuilt when it is first asked."""

    def __init__(self, rebuild: Any) -> None:
        self._rebuild = rebuild

    @functools.cached_property
    def regression(self) -> ExactRegression | SparseRegression:
        """The regression itself."""
        regression: ExactRegression | SparseRegression = self._rebuild()
        return regression

    def predict(self, queries: Features) -> Raw:
        """Of M molecules."""
        return self.regression.predict(queries)


# Out ---------------------------------------------------------------------------------------------


def _features_to_tensors(features: Features) -> _Tensors:
    tensors: _Tensors = {"descriptors": features.descriptors}
    for name, counts in zip(PARTS, (features.circular, features.pharmacophore), strict=False):
        tensors[f"{name}.lengths"] = np.diff(counts.starts).astype(np.uint32)
        tensors[f"{name}.features"] = counts.features
        tensors[f"{name}.counts"] = counts.counts
    return tensors


def _column_to_data(column: ColumnPredictor) -> tuple[_Tensors, dict[str, Any]]:
    regression: Regression = column.regression
    if isinstance(regression, _Later):
        regression = regression.regression
    entry: dict[str, Any] = {
        "kind": column.kind,
        "calibration": column.calibration.to_json(),
        "threshold": column.threshold,
        "logistic": None,
    }
    if column.logistic is not None:
        entry["logistic"] = [column.logistic.slope, column.logistic.offset]
    assert isinstance(regression, ExactRegression | SparseRegression)
    entry |= {"weights": list(regression.hyper.weights), "noise": regression.hyper.noise}
    tensors: _Tensors = {"ratios": regression.ratios}
    if isinstance(regression, SparseRegression):
        entry |= {
            "scales": [regression.process.amplitude, regression.process.noise],
            "local": list(regression.local),
        }
        tensors |= {"inducing": regression.inducing.astype(np.int32)}
        tensors |= {"residuals": regression.residuals, **regression.process.state()}
    return tensors, entry


# In ----------------------------------------------------------------------------------------------


def _tensor(tensors: _Tensors, name: str, dtype: type, shape: tuple[int, ...]) -> NDArray[Any]:
    """A tensor of this type and shape (-1: any length), or an error that names it."""
    tensor = tensors.get(name)
    if tensor is None:
        raise ModelFolderError(f"predictors.safetensors: no tensor '{name}'")
    fits = len(tensor.shape) == len(shape) and all(
        wanted in (-1, got) for got, wanted in zip(tensor.shape, shape, strict=True)
    )
    if tensor.dtype != dtype or not fits:
        raise ModelFolderError(
            f"predictors.safetensors: tensor '{name}' is {tensor.dtype} {tensor.shape}, "
            f"expected {np.dtype(dtype)} {shape}"
        )
    return tensor


def _numbers(tensors: _Tensors, name: str, count: int, limit: int) -> NDArray[np.int64]:
    """Numbers from 0 up to ``limit``."""
    numbers = _tensor(tensors, name, np.int32, (count,)).astype(np.int64)
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < limit):
        raise ModelFolderError(
            f"predictors.safetensors: tensor '{name}' points outside its {limit:,} molecules"
        )
    return numbers


def _counts(tensors: _Tensors, name: str, molecules: int) -> Counts:
    lengths = _tensor(tensors, f"{name}.lengths", np.uint32, (molecules,))
    total = int(lengths.sum(dtype=np.int64))
    return Counts(
        np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        _tensor(tensors, f"{name}.features", np.uint32, (total,)),
        _tensor(tensors, f"{name}.counts", np.uint8, (total,)),
    )


def _from_data(kind: type[Predictors], plain: dict[str, Any], tensors: _Tensors) -> Predictors:
    text = _tensor(tensors, "smiles", np.uint8, (-1,)).tobytes().decode()
    smiles = tuple(text.split("\n")) if plain["molecules"] else ()
    if len(smiles) != plain["molecules"]:
        raise ModelFolderError(
            f"predictors.json states {plain['molecules']} molecules, predictors.safetensors has "
            f"{len(smiles)}"
        )
    count = len(smiles)
    features = Features(
        _counts(tensors, PARTS[0], count),
        _counts(tensors, PARTS[1], count),
        _tensor(tensors, "descriptors", np.float32, (count, len(DESCRIPTORS))),
    )
    entries = list(plain["columns"])
    if len(entries) > _MOST_COLUMNS:
        raise ModelFolderError(f"predictors.json: {len(entries)} columns are too many")
    columns = {
        str(entry["name"]): _column(entry, f"column.{number}.", tensors, smiles, features)
        for number, entry in enumerate(entries)
    }
    return kind(smiles, features, columns)


def _column(
    entry: dict[str, Any], prefix: str, tensors: _Tensors, smiles: Sequence[str], shared: Features
) -> ColumnPredictor:
    values = _tensor(tensors, f"{prefix}values", np.float64, (-1,))
    count = len(values)
    if not count:
        raise ModelFolderError(f"predictors.safetensors: '{prefix}values' is empty")
    rows = _numbers(tensors, f"{prefix}rows", count, len(smiles))
    ratios = _tensor(tensors, f"{prefix}ratios", np.float32, (count,))
    features = shared.take(rows)
    weights = tuple(_positive(weight) for weight in entry["weights"])
    if len(weights) != len(PARTS) or entry["kind"] not in ("number", "yesno"):
        raise ModelFolderError(
            f"predictors.json: column '{entry['name']}': got kind {entry['kind']!r} and "
            f"{len(weights)} weights, expected number or yesno and {len(PARTS)}"
        )
    hyper = Hyperparameters(weights, _positive(entry["noise"]))
    rebuild = functools.partial(ExactRegression.rebuild, features, values, hyper, ratios)
    if "scales" in entry:
        rebuild = _sparse(entry, prefix, tensors, features, hyper, ratios)
    logistic = entry["logistic"]
    if logistic is not None:
        logistic = Logistic(*(_finite(number) for number in logistic))
    return ColumnPredictor(
        entry["kind"], tuple(smiles[i] for i in rows.tolist()), features, values,
        _Later(rebuild), Calibration.from_json(entry["calibration"]), logistic,
        _finite(entry["threshold"]),
    )  # fmt: skip


def _sparse(
    entry: dict[str, Any], prefix: str, tensors: _Tensors, features: Features,
    hyper: Hyperparameters, ratios: NDArray[np.float32],
) -> Any:  # fmt: skip
    """What rebuilds a sparse regression."""
    count = len(features)
    size = _tensor(tensors, f"{prefix}coefficients", np.float64, (-1,)).shape[0]
    inducing = _numbers(tensors, f"{prefix}inducing", size - 1, count)
    state = {
        "coefficients": tensors[f"{prefix}coefficients"],
        "posterior": _tensor(tensors, f"{prefix}posterior", np.float32, (size * (size + 1) // 2,)),
    }
    power, noise = entry["local"]
    if (power, noise) not in LOCAL:
        raise ModelFolderError(f"predictors.json: local: got {entry['local']}, expected of {LOCAL}")
    amplitude, sparse_noise = (_positive(scale) for scale in entry["scales"])
    residuals = _tensor(tensors, f"{prefix}residuals", np.float32, (count,))
    return functools.partial(
        SparseRegression.rebuild, features, hyper, inducing, state, (amplitude, sparse_noise),
        residuals, ratios, (int(power), float(noise)),
    )  # fmt: skip


def _finite(number: object) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise ModelFolderError(f"predictors.json: got {number!r}, expected a number")
    return float(number)


def _positive(number: object) -> float:
    value = _finite(number)
    if value < 0:
        raise ModelFolderError(f"predictors.json: got {number!r}, expected no negative number")
    return value
