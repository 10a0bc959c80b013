"""Device, precision, addressable randomness and the versions we ran on.

Randomness is *addressed*, not streamed: a draw is a pure function of (seed, purpose, item, column).
What a molecule sees therefore does not depend on batch size, on workers, on shards, or on what was
drawn before it, and a resumed run needs no generator state.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np

from molvae.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

__all__ = [
    "Draws",
    "autocast",
    "available_cpus",
    "choose_device",
    "choose_precision",
    "keep_memory",
    "normal_cdf",
    "normal_quantile",
    "versions",
]


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014), elementwise."""
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
        if not 0 <= seed < 2**63:
            raise ConfigError(f"seed: got {seed}, expected an integer from 0 to 2**63 - 1")
        self.seed = seed

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


def choose_device(name: str = "auto") -> torch.device:
    """The torch device for ``auto``, ``cpu``, ``cuda`` or ``mps``; an absent one is an error."""
    import torch

    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        return torch.device(next(n for n in ("cuda", "mps", "cpu") if available[n]))
    if name not in available:
        raise ConfigError(f"device: got '{name}', expected auto, cpu, cuda or mps")
    if not available[name]:
        raise ConfigError(f"device: '{name}' is not available here; use --device auto or cpu")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> str:
    """``fp32`` or ``bf16`` for ``auto``, ``fp32`` or ``bf16``: bf16 where hardware computes it."""
    import torch

    if name == "auto":
        if device.type == "cuda":
            return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
        if device.type == "cpu":
            return "bf16" if _cpu_computes_bf16() else "fp32"
        return "fp32"
    if name not in ("fp32", "bf16"):
        raise ConfigError(f"precision: got '{name}', expected auto, fp32 or bf16")
    return name


def _cpu_computes_bf16() -> bool:
    """Whether oneDNN runs bf16 products natively here (elsewhere they are emulated, slowly)."""
    import torch

    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and _has_avx512_bf16()


def _has_avx512_bf16() -> bool:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as handle:
            flags = next((line for line in handle if line.startswith(("flags", "Features"))), "")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags or " bf16" in flags


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which matrix products run in ``precision``; everything else stays fp32."""
    import torch

    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def keep_memory() -> None:
    """Let this process keep the memory it frees, where the C library is glibc.

    A training step frees and takes a hundred megabytes. By default they go back to the kernel,
    which clears each page again when it is touched: a fifth of a step (docs/benchmarks.md).
    """
    if platform.libc_ver()[0] != "glibc":
        return
    # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD of malloc.h
    for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**26)):
        ctypes.CDLL(None).mallopt(option, value)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries a result can depend on."""
    found = {"python": platform.python_version()}
    for name in ("molvae", "numpy", "pandas", "rdkit", "selfies", "torch"):
        # selfies.__version__ is wrong in 2.2.0; the installed metadata is right.
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def available_cpus() -> int:
    """Number of CPUs this process may use (containers and job schedulers restrict it)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
