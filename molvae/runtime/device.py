"""Device, precision, and the versions we ran on."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from molvae._version import __version__
from molvae.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = [
    "autocast",
    "available_cpus",
    "choose_device",
    "choose_precision",
    "keep_memory",
    "on_device",
    "versions",
]


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
    """``fp32`` or ``bf16`` for ``auto``, ``fp32`` or ``bf16``: bf16 where hardware computes it.

    On a GPU fp32 then is fp32: cuDNN's GRU would round to the 10 bits of TF32 otherwise.
    """
    import torch

    if name == "auto":
        name = "fp32"
        if device.type == "cuda":  # 8.0: without emulation
            capable = torch.cuda.is_bf16_supported(including_emulation=False)
            name = "bf16" if capable else "fp32"
        elif device.type == "cpu" and _cpu_computes_bf16():
            name = "bf16"
    if name not in ("fp32", "bf16"):
        raise ConfigError(f"precision: got '{name}', expected auto, fp32 or bf16")
    if name == "fp32" and device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
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


def on_device(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """The array as a tensor on the device.

    To a GPU it goes from page-locked memory, so that this process does not wait for the copy.
    """
    import torch

    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


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
    installed = {"python": platform.python_version(), "molvae": __version__}
    for name in ("numpy", "pandas", "rdkit", "selfies", "torch"):
        # selfies.__version__ is wrong in 2.2.0; the installed metadata is right.
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed[name] = "not installed"
    return installed


def available_cpus() -> int:
    """Number of CPUs this process may use (containers and job schedulers restrict it)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
