"""Addressable randomness.

Randomness is *addressed*, not streamed: a draw is a pure function of (seed, purpose, item, column).
What a molecule sees therefore does not depend on batch size, on workers, on shards, or on what was
drawn before it, and a resumed run needs no generator state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molvae.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Draws", "normal_cdf", "normal_quantile"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea & Flood 2014), elementwise."""
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


class Draws:
    """Random numbers addressed by (seed, purpose, item, column).

    Counter-based: a SplitMix64 sequence per item, started at a hash of its address.

    >>> draws = Draws(7)
    >>> a = draws.uniform("t", np.arange(4), 2)
    >>> bool((a[2:3] == draws.uniform("t", np.array([2]), 2)).all())
    True
    """

    def __init__(self, seed: int) -> None:
        if not hasattr(seed, "__index__") or not 0 <= seed < 2**63:
            raise ConfigError(f"seed: got {seed!r}, expected an integer from 0 to 2**63 - 1")
        self.seed = int(seed)

    def uniform(
        self, purpose: str, items: NDArray[np.int64], columns: int, *, epoch: int = 0
    ) -> NDArray[np.float64]:
        """Uniform numbers in the open interval (0, 1), shape (len(items), columns)."""
        with np.errstate(over="ignore"):
            key = np.asarray([self.seed], dtype=np.uint64)
            text = purpose.encode()
            words = [text[i : i + 8].ljust(8, b"\0") for i in range(0, max(len(text), 1), 8)]
            for part in (*(int.from_bytes(word, "little") for word in words), epoch):
                key = _mix((key + _GOLDEN) ^ np.uint64(part))
            start = _mix(items.astype(np.uint64) * _GOLDEN + key)
            start = _mix(start ^ key)
            counter = np.arange(1, columns + 1, dtype=np.uint64) * _GOLDEN
            bits = _mix(start[:, None] + counter[None, :])
        return ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52

    def normal(
        self, purpose: str, items: NDArray[np.int64], columns: int, *, epoch: int = 0
    ) -> NDArray[np.float32]:
        """Standard normal numbers, shape (len(items), columns), by the inverse distribution."""
        return normal_quantile(self.uniform(purpose, items, columns, epoch=epoch)).astype(
            np.float32
        )

    def permutation(self, purpose: str, n: int, *, epoch: int = 0) -> NDArray[np.int64]:
        """A permutation of 0 … n-1, the same for the same seed, purpose and epoch."""
        keys = self.uniform(purpose, np.arange(n, dtype=np.int64), 1, epoch=epoch)[:, 0]
        return np.argsort(keys, kind="stable").astype(np.int64)


def normal_cdf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The standard normal distribution function, elementwise."""
    import torch

    result: NDArray[np.float64] = torch.special.ndtr(torch.tensor(x, dtype=torch.float64)).numpy()
    return result


def normal_quantile(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of the standard normal distribution function, elementwise."""
    import torch

    result: NDArray[np.float64] = torch.special.ndtri(torch.tensor(p, dtype=torch.float64)).numpy()
    return result
