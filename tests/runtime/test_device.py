"""Devices, precision, memory, versions."""

import platform
import subprocess
import sys

import numpy as np
import pytest
import torch

import molvae
from molvae.errors import ConfigError
from molvae.runtime import device
from molvae.runtime.device import (
    autocast,
    available_cpus,
    choose_device,
    choose_precision,
    versions,
)


def test_cpu_is_always_there_and_auto_is_something_that_works():
    assert choose_device("cpu") == torch.device("cpu")
    assert torch.zeros(2, device=choose_device("auto")).sum().item() == 0


def test_absent_and_unknown_devices_are_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    for name in ("cuda", "mps"):
        with pytest.raises(ConfigError, match=f"'{name}'"):
            choose_device(name)
    with pytest.raises(ConfigError, match=r"'gpu'.* auto, cpu, cuda"):
        choose_device("gpu")


def test_auto_prefers_cuda_then_mps(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "mps"


def test_precision_is_what_was_requested_or_what_the_hardware_computes(monkeypatch):
    cpu, cuda, mps = (torch.device(n) for n in ("cpu", "cuda", "mps"))
    for name in ("fp32", "bf16"):
        assert choose_precision(name, cpu) == name
    monkeypatch.setattr(device, "_cpu_computes_bf16", lambda: False)
    assert choose_precision("auto", cpu) == "fp32"
    monkeypatch.setattr(device, "_cpu_computes_bf16", lambda: True)
    assert choose_precision("auto", cpu) == "bf16"
    for there, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda there=there, **_: there)
        assert choose_precision("auto", cuda) == expected
    assert choose_precision("auto", mps) == "fp32"
    with pytest.raises(ConfigError, match=r"'fp16'.* auto, fp32"):
        choose_precision("fp16", cpu)


def test_the_processor_answers_whether_it_computes_bf16():
    assert isinstance(device._cpu_computes_bf16(), bool)


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor: 0\nflags: sse avx512_bf16 avx\n", True),
        ("flags: sse amx_bf16\n", True),
        ("Features: fp asimd bf16\n", True),
        ("flags: sse avx512f\n", False),
        ("", False),
        (None, False),
    ],
)
def test_bf16_is_found_among_the_flags_of_the_processor(tmp_path, monkeypatch, cpuinfo, expected):
    file = tmp_path / "cpuinfo"
    if cpuinfo is not None:  # elsewhere than on Linux there is no such file
        file.write_text(cpuinfo)
    real = open
    monkeypatch.setattr("builtins.open", lambda path, **options: real(file, **options))
    assert device._has_avx512_bf16() == expected


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_autocast_sets_the_precision_of_products_only(precision, dtype):
    a = torch.ones(4, 4)
    with autocast(torch.device("cpu"), precision):
        assert (a @ a).dtype == dtype
        assert (a + a).dtype == torch.float32
    assert (a @ a).dtype == torch.float32


def test_versions_name_what_we_run_on():
    result = versions()
    assert list(result) == ["python", "molvae", "numpy", "pandas", "rdkit", "selfies", "torch"]
    assert result["numpy"] == np.__version__
    assert result["molvae"] == molvae.__version__
    assert "not installed" not in result.values()


def test_an_absent_library_is_reported_as_absent(monkeypatch):
    def absent(name):
        raise device.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(device.importlib.metadata, "version", absent)
    assert versions()["torch"] == "not installed"


def test_available_cpus_counts_what_this_process_may_use(monkeypatch):
    assert available_cpus() >= 1
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert available_cpus() == 3
    monkeypatch.delattr(device.os, "sched_getaffinity")
    monkeypatch.setattr(device.os, "cpu_count", lambda: None)
    assert available_cpus() == 1


@pytest.mark.process
@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="without glibc keep_memory leaves memory as it is"
)
def test_kept_memory_is_not_cleared_again():
    """Page faults of filling fresh arrays again and again, in a new process."""
    code = (
        "import resource, torch\n"
        "from molvae.runtime.device import keep_memory\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(10):\n"
        "        torch.empty(16_000_000).fill_(1)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "before = faults()\n"
        "keep_memory()\n"
        "faults()\n"
        "print(before, faults())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < before / 10
