"""Fréchet ChemNet Distance (FCD; Preuer et al. 2018) between two sets of molecules.

ChemNet turns a SMILES into 512 numbers. A set is summed up by their mean and covariance
(:class:`Moments`), and two sets are compared by the Fréchet distance of the two normal
distributions (Dowson & Landau 1982). The weights come from the package ``fcd``, an extra; the
arithmetic is ours, and the activations are those of that package.

The network reads canonical SMILES. As in MOSES every molecule counts as often as it occurs; each
distinct string goes through the network once.

**Small sets score too high**, so only distances of equally many molecules compare.

Shapes: ``N`` molecules, ``B`` in a batch, ``K`` = 512 activations, ``T`` = 88 steps of the LSTMs,
``R`` of them not blank.
"""

from __future__ import annotations

import importlib.util
import itertools
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from molvae.errors import ConfigError, FileError, InputError
from molvae.evaluate.metrics.base import Metric
from molvae.evaluate.metrics.molecules import TEXTS, Molecules, as_set
from molvae.runtime.device import choose_device
from molvae.runtime.files import atomic_binary
from molvae.runtime.progress import Progress

if TYPE_CHECKING:
    import torch

__all__ = [
    "MISSING",
    "Moments",
    "activations",
    "available",
    "chemnet_distance",
    "compare",
    "frechet_distance",
    "influences",
    "moments",
]

MISSING = "needs ChemNet: pip install 'molvae[fcd]'"  # fits a table of 80 columns
WEIGHTS = "ChemNet_v0.13_pretrained.pt"
SIZE = 512  # activations per molecule
BATCH = 128
HELD = 8_192  # rows of activations, 16 MB, that are added up at a time
ROUNDING = 1e-11  # what rounding leaves of the distance of a set to itself, per variance

# ChemNet's input symbols, in order; everything else is X. A full stop marks the end.
SYMBOLS = (
    *("C", "N", "O", "H", "F", "Cl", "P", "B", "Br", "S", "I", "Si"),
    *("#", "(", ")", "+", "-", "1", "2", "3", "4", "5", "6", "7", "8", "=", "[", "]", "@"),
    *("c", "n", "o", "s", "X", "."),
)
PAIRS = {b"Cl": b"\x80", b"Br": b"\x81", b"Si": b"\x82"}  # no two of them can overlap
BLANK = len(SYMBOLS)  # what pads a string: all zeros in the one-hot code
LENGTH = 350  # symbols that ChemNet was trained to read

# The layers of the weights file: kind, what makes it, what surrounds it.
_CONV = {"kernel_size": 4, "stride": 2, "padding": 0, "dilation": (1,), "bias": False}
_SELU = {"activation": "selu", "padding": "same"}
_LAYERS = [
    ("Conv1d", {"in_channels": 35, "out_channels": 32, **_CONV}, _SELU),
    ("Conv1d", {"in_channels": 32, "out_channels": 32, **_CONV}, _SELU),
    (
        "LSTM",
        {"input_size": 32, "hidden_size": 128, "batch_first": True},
        {"reverse": True, "last": False},
    ),
    (
        "LSTM",
        {"input_size": 128, "hidden_size": 512, "batch_first": True},
        {"reverse": True, "last": True},
    ),
]


def available() -> bool:
    """Whether the weights are installed; :data:`MISSING` says what to do if not."""
    return _weights() is not None


def _weights() -> Path | None:
    spec = importlib.util.find_spec("fcd")  # finds it without importing it, and SciPy with it
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / WEIGHTS
        if path.is_file():
            return path
    return None


# From SMILES to activations


def _codes() -> NDArray[np.uint8]:
    table = np.full(256, SYMBOLS.index("X"), dtype=np.uint8)
    for number, symbol in enumerate(SYMBOLS):
        table[ord(PAIRS.get(symbol.encode(), symbol.encode()))] = number
    return table


_CODES = _codes()


def _encode(smiles: Sequence[str]) -> NDArray[np.uint8]:
    """Numbers of the symbols with the end mark, shape (B, longest), filled up with BLANK."""
    rows = []
    for text in smiles:
        code = text.encode("ascii", "replace")
        for pair, byte in PAIRS.items():
            code = code.replace(pair, byte)
        rows.append(_CODES[np.frombuffer(code + b".", dtype=np.uint8)])
    numbers = np.full((len(rows), max(map(len, rows))), BLANK, dtype=np.uint8)
    for place, row in zip(numbers, rows, strict=True):
        place[: len(row)] = row
    return numbers


def _padded_length(text: str) -> int:
    """How many symbols the network sees; a longer string is read as if it were alone."""
    return max(LENGTH, len(text) + 1)


class _ChemNet:
    """Two convolutions and two LSTMs, the second from the start of the string through its padding.

    The padding is most of the input and may not be left out: the state after it is the result.
    But what the first LSTM makes of it is the same for all molecules. It reads from the end, the
    blank steps first, which are exactly zero as the convolutions have no bias and selu(0) = 0. So
    it is computed once per number of blank steps; nothing changes but rounding.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        import torch

        try:
            layers = torch.load(path, map_location="cpu", weights_only=True)
            if [(kind, made, around) for kind, (_, made, around) in layers] != _LAYERS:
                raise ValueError("its layers are not those of ChemNet")
            states = [state for _, (state, _, _) in layers]
            self.convolutions = [
                torch.nn.Conv1d(35, 32, 4, stride=2, bias=False),
                torch.nn.Conv1d(32, 32, 4, stride=2, bias=False),
            ]
            # Time first, (T, B, channels): a little faster than the order of the file.
            self.backward = torch.nn.LSTM(32, 128)
            self.forward = torch.nn.LSTM(128, SIZE)
            modules = [*self.convolutions, self.backward, self.forward]
            for module, state in zip(modules, states, strict=True):
                module.load_state_dict(state)
                module.to(device).eval()
        except Exception as error:  # the unpickler promises no particular ones
            raise FileError(
                f"'{path}': {error}; install the package again: pip install "
                "--force-reinstall 'molvae[fcd]'"
            ) from None
        self.device = device
        self._blanks: dict[int, tuple[torch.Tensor, ...]] = {}

    def __call__(self, smiles: Sequence[str], length: int) -> NDArray[np.float32]:
        """The activations (B, K) of strings that are padded to the same length."""
        import torch

        # TensorFloat-32, the default of cuDNN, would cost three digits.
        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            numbers = torch.from_numpy(_encode(smiles)).to(self.device).long()
            x = torch.nn.functional.one_hot(numbers, BLANK + 1)[..., :BLANK] / BLANK
            x = x.transpose(1, 2)  # (B, 35, longest)
            steps = length
            for convolution in self.convolutions:
                steps = -(-steps // 2)
                # One zero before, as in the whole padded string; enough behind.
                x = convolution(torch.nn.functional.pad(x, (1, 4)))[..., :steps]
                x = torch.nn.functional.selu(x)
            used = int(x.any(dim=1).any(dim=0).nonzero().max()) + 1
            x = x[..., :used].permute(2, 0, 1).flip(0)  # (R, B, 32), from the end
            tail, hidden, cell = self._blank(steps - used)
            batch = len(smiles)
            x, _ = self.backward(x, (hidden.repeat(1, batch, 1), cell.repeat(1, batch, 1)))
            _, state = self.forward(x.flip(0))
            if len(tail):
                _, state = self.forward(tail.expand(-1, batch, -1), state)
            result: NDArray[np.float32] = state[0][0].cpu().numpy()
        return result

    def _blank(self, steps: int) -> tuple[torch.Tensor, ...]:
        """Output of the first LSTM for blank steps: (T, 1, 128) from the front, and its state."""
        import torch

        if steps not in self._blanks:
            start = torch.zeros(1, 1, 128, device=self.device)
            outputs, hidden, cell = start[:0], start, start
            if steps:
                blank = torch.zeros(steps, 1, 32, device=self.device)
                outputs, (hidden, cell) = self.backward(blank)
            self._blanks[steps] = (outputs.flip(0), hidden, cell)
        return self._blanks[steps]


@lru_cache(maxsize=2)
def _network(path: Path, device: torch.device) -> _ChemNet:
    return _ChemNet(path, device)


def _batches(
    smiles: Sequence[str], batch_size: int, device: str
) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """Each distinct string once, with its activations, in an order that the strings alone set."""
    if batch_size < 1:
        raise ConfigError(f"batch size: got {batch_size}, expected 1 or more")
    path = _weights()
    if path is None:
        raise ConfigError(MISSING)
    network = _network(path, choose_device(device))
    # Strings of about the same length share a batch, so that few blank steps are in it.
    order = sorted(set(smiles), key=lambda text: (len(text), text))
    for length, group in itertools.groupby(order, key=_padded_length):
        while batch := list(itertools.islice(group, batch_size)):
            yield batch, network(batch, length)


def activations(
    smiles: Sequence[str], *, batch_size: int = BATCH, device: str = "cpu"
) -> NDArray[np.float32]:
    """ChemNet activations of canonical SMILES, shape (N, 512), in their order."""
    rows: dict[str, NDArray[np.float32]] = {}
    with Progress("ChemNet", len(set(smiles))) as progress:
        for batch, outputs in _batches(smiles, batch_size, device):
            rows.update(zip(batch, outputs, strict=True))
            progress.advance(len(batch))
    result = np.empty((len(smiles), SIZE), dtype=np.float32)
    for place, text in zip(result, smiles, strict=True):
        place[:] = rows[text]
    return result


# From activations to a distance


@dataclass(frozen=True, eq=False)
class Moments:
    """Number of rows, their mean (K,) and their covariance (K, K) with the divisor n - 1.

    Of a single row, and of none, the covariance is zero.
    """

    n: int
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def of(cls, rows: NDArray[np.floating[Any]], counts: Sequence[int] | None = None) -> Self:
        """Of the rows of an array, shape (N, K), each taken ``counts`` times if that is given."""
        weights = np.ones(len(rows)) if counts is None else np.asarray(counts, dtype=np.float64)
        n = int(weights.sum())
        values = rows.astype(np.float64)
        mean = weights @ values / max(n, 1)
        values -= mean
        scatter = (values * weights[:, None]).T @ values
        return cls(n, mean, (scatter + scatter.T) / (2 * max(n - 1, 1)))

    def add(self, other: Moments) -> Moments:
        """Of the rows of both; the update of Chan, Golub & LeVeque (1979), which loses no digits.

        >>> a, b = Moments.of(np.array([[0.0], [2.0]])), Moments.of(np.array([[4.0]]))
        >>> both = a.add(b)
        >>> both.n, float(both.mean[0]), float(both.covariance[0, 0])
        (3, 2.0, 4.0)
        """
        n = self.n + other.n
        share = other.n / max(n, 1)
        gap = other.mean - self.mean
        scatter = self.covariance * max(self.n - 1, 0) + other.covariance * max(other.n - 1, 0)
        scatter += np.outer(gap, gap) * (self.n * share)
        return Moments(n, self.mean + gap * share, scatter / max(n - 1, 1))

    def save(self, path: str | Path) -> None:
        """Write them as an .npz file, whole or not at all."""
        with atomic_binary(path) as handle:
            np.savez(handle, n=np.int64(self.n), mean=self.mean, covariance=self.covariance)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote; anything else is an error. Runs no code from the file."""
        try:
            with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as arrays:
                n, mean, covariance = arrays["n"], arrays["mean"], arrays["covariance"]
        except OSError as error:
            raise FileError(f"'{path}': {(error.strerror or str(error)).lower()}") from None
        except DAMAGE as error:
            raise FileError(f"'{path}': not a file of moments, or damaged ({error})") from None
        sound = (
            (n.shape, n.dtype) == ((), np.int64)
            and int(n) >= 0
            and mean.ndim == 1
            and covariance.shape == (len(mean), len(mean))
            and mean.dtype == covariance.dtype == np.float64
            and bool(np.isfinite(mean).all() and np.isfinite(covariance).all())
        )
        if not sound:
            raise FileError(f"'{path}': does not hold a count, a mean and a covariance")
        return cls(int(n), mean, covariance)


# Errors that NumPy's reader raises for files with flipped or missing bytes, and more.
DAMAGE = (
    *(ValueError, KeyError, EOFError, MemoryError, NotImplementedError, RuntimeError, TypeError),
    *(zipfile.BadZipFile, zlib.error),
)


def frechet_distance(a: Moments, b: Moments) -> float:
    """``|m_a - m_b|² + Tr(C_a + C_b - 2 (C_a^½ C_b C_a^½)^½)`` of two normal distributions.

    With ``C = R Rᵀ`` the last trace is the sum of the singular values of ``R_aᵀ R_b``. That is as
    good as the covariances even where they are singular, as those of few molecules are; square
    roots of eigenvalues of a product of covariances would keep half of the digits there.
    """
    if a.mean.shape != b.mean.shape:
        raise InputError(f"moments of {len(a.mean)} and of {len(b.mean)} numbers do not compare")
    if min(a.n, b.n) < 2:
        raise InputError(f"moments of {a.n:,} and {b.n:,} rows: a covariance needs at least 2")
    overlap = np.linalg.svd(_root(a.covariance).T @ _root(b.covariance), compute_uv=False).sum()
    gap = a.mean - b.mean
    spread = np.trace(a.covariance) + np.trace(b.covariance)
    distance = float(gap @ gap + spread - 2 * overlap)
    return distance if distance > ROUNDING * spread else 0.0


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """R with R Rᵀ = C; eigenvalues that are zero but for rounding are set to zero."""
    values, vectors = np.linalg.eigh(covariance)
    floor = values.max(initial=0.0) * len(values) * np.finfo(np.float64).eps
    root: NDArray[np.float64] = vectors * np.sqrt(np.where(values > floor, values, 0.0))
    return root


def influences(rows: NDArray[np.floating[Any]], a: Moments, b: Moments) -> NDArray[np.float64]:
    """How much each row (N, K) of ``a`` weighs in its distance to ``b``; they sum to zero.

    The derivative of :func:`frechet_distance` with respect to the share of a row: with the map
    ``T = C_a^-½ (C_a^½ C_b C_a^½)^½ C_a^-½`` that carries one normal distribution to the other, it
    is ``2 (m_a - m_b)ᵀ x + xᵀ (1 - T) x`` for ``x`` measured from ``m_a``, less its mean. The mean
    of the squares over N is the variance of the distance (infinitesimal jackknife, Jaeckel 1972).
    """
    values, vectors = np.linalg.eigh(a.covariance)
    floor = values.max(initial=0.0) * len(values) * np.finfo(np.float64).eps
    known = values > floor
    root = np.sqrt(values[known])
    basis = vectors[:, known]
    inner = (basis * root).T @ b.covariance @ (basis * root)
    middle, turned = np.linalg.eigh((inner + inner.T) / 2)
    half = (turned * np.sqrt(np.clip(middle, 0.0, None))) @ turned.T
    carry = (basis / root) @ half @ (basis / root).T
    x = rows.astype(np.float64) - a.mean
    linear = x @ (2 * (a.mean - b.mean))
    squared = np.einsum("nk,nk->n", x - x @ carry, x)
    total = linear + squared
    return np.asarray(total - total.mean())


# The metric


def moments(smiles: Sequence[str], *, batch_size: int = BATCH, device: str = "cpu") -> Moments:
    """Moments of the activations of canonical SMILES; no array of all of them is held."""
    counts = Counter(smiles)
    total = Moments.of(np.empty((0, SIZE)))
    rows: list[NDArray[np.float32]] = []
    times: list[int] = []

    def add() -> Moments:
        return total.add(Moments.of(np.concatenate(rows), times)) if rows else total

    with Progress("ChemNet", len(counts)) as progress:
        for batch, outputs in _batches(smiles, batch_size, device):
            rows.append(outputs)
            times += [counts[text] for text in batch]
            # Seldom: the threads of NumPy and those of torch get into each other's way.
            if len(times) >= HELD:
                total = add()
                rows, times = [], []
            progress.advance(len(batch))
    return add()


def compare(generated: Moments, reference: Moments) -> Metric:
    """:func:`frechet_distance` as a metric; up to 512 molecules it carries a note."""
    n, known = generated.n, reference.n
    if n < 2:
        return Metric(None, n, note="needs at least 2 valid molecules")
    if known < 2:
        return Metric(None, n, note="needs at least 2 valid molecules in the reference")
    few = [
        f"{count:,} {what}"
        for count, what in ((n, "molecules"), (known, "reference molecules"))
        if count <= SIZE
    ]
    note = f"{' and '.join(few)} do not fill a covariance of {SIZE} dimensions" if few else ""
    return Metric(frechet_distance(generated, reference), n, note=note)


def chemnet_distance(
    generated: Molecules,
    reference: Molecules | Moments,
    *,
    batch_size: int = BATCH,
    device: str = "cpu",
) -> Metric:
    """FCD between two sets of molecules; of the reference the moments will do.

    As in MOSES it is computed for any two molecules or more.
    """
    smiles = as_set(generated, TEXTS).smiles
    if not available():
        return Metric(None, len(smiles), note=MISSING)
    if len(smiles) < 2:
        return Metric(None, len(smiles), note="needs at least 2 valid molecules")
    if not isinstance(reference, Moments):
        texts = as_set(reference, TEXTS).smiles
        reference = moments(texts, batch_size=batch_size, device=device)
    return compare(moments(smiles, batch_size=batch_size, device=device), reference)
