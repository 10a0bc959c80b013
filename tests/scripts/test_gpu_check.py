"""The check of a GPU, with a CPU in its place: that right results pass and wrong ones are named."""

import importlib.machinery
import importlib.util
import os
from pathlib import Path

import pytest
import torch

from molvae.data.dataset import Dataset
from molvae.model.checkpoint import load_model
from molvae.runtime.device import choose_precision

SCRIPT = Path(__file__).parents[2] / "scripts" / "gpu_check"
CPU = torch.device("cpu")
SMILES = ["CC(=O)Nc1ccc(O)cc1", "CCOc1ccccc1", "CCN(CC)CC", "O=C(O)c1ccncc1"]


@pytest.fixture(scope="module")
def check():
    """The script by its path; it has no suffix."""
    loader = importlib.machinery.SourceFileLoader("gpu_check", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu_check", loader))
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(tiny_run):
    return load_model(tiny_run)


def test_right_results_pass(check, model, tiny_dataset):
    assert "100.0% of the decoded molecules are the same" in check.check_numbers(model, CPU, SMILES)
    assert "20 of 20 molecules are the same" in check.check_seed(model, CPU, 20)
    assert check.check_waiting(model, CPU, 40) == (
        "7 steps of the sampler wait for nothing (nothing to wait for here)"
    )
    assert "differ by 0.0e+00" in check.check_gradients(Dataset(tiny_dataset), CPU, "tiny")


def test_other_numbers_and_other_molecules_are_named(check, model, monkeypatch):
    right, calls = check.moved, []

    def wrong(model, device):
        copy = right(model, device)
        if not calls:  # the one that stands for the GPU
            with torch.no_grad():
                copy.network.posterior.bias.add_(0.01)
        calls.append(device)
        return copy

    monkeypatch.setattr(check, "moved", wrong)
    with pytest.raises(check.Wrong, match=r"latents differ by at most 1\.0e-02 \(limit 0\.002\)"):
        check.check_numbers(model, CPU, SMILES)
    lists = iter([["C", "CC"], ["C", "CO"]])
    monkeypatch.setattr(check.MolVAE, "generate", lambda *_, **__: {"smiles": next(lists)})
    with pytest.raises(check.Wrong, match="1 of 2 molecules are the same"):
        check.check_seed(model, CPU, 2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_types(check, model, monkeypatch, precision):
    monkeypatch.setattr(check, "choose_precision", lambda *_: precision)
    text = check.check_types(model, CPU, SMILES)
    assert text.startswith(f"precision {precision}: ")
    monkeypatch.setattr(check, "autocast", lambda *_: torch.autocast("cpu", torch.bfloat16))
    if precision == "fp32":
        with pytest.raises(check.Wrong, match="0 of"):
            check.check_types(model, CPU, SMILES)


def test_memory_that_grows_is_named(check, model):
    assert check.check_memory(model, CPU) == "memory is measured on a GPU only"
    sizes = iter([50 << 20, 7 << 20, 7 << 20])
    assert "+0.0 MiB" in check.check_memory(model, CPU, lambda: next(sizes), times=2, number=2)
    sizes = iter([5 << 20, 7 << 20, 10 << 20])
    with pytest.raises(check.Wrong, match=r"\+3\.0 MiB \(at most 1\)"):
        check.check_memory(model, CPU, lambda: next(sizes), times=2, number=2)


def test_a_wait_is_named(check, model, monkeypatch):
    def waits(*_, **__):
        raise RuntimeError("called a synchronizing CUDA operation")

    monkeypatch.setattr(check, "decode_tokens", waits)
    with pytest.raises(check.Wrong, match="waits for the GPU: called a synchronizing"):
        check.check_waiting(model, CPU)


def test_speeds(check, model, tiny_dataset):
    dataset = Dataset(tiny_dataset)
    assert "training, preset tiny: " in check.train_speed(dataset, CPU, "tiny", 0.1)
    assert "molecules/s" in check.encode_speed(model, CPU, 1024)


@pytest.mark.process
def test_generation_is_measured_and_failures_end_with_1(check, model, monkeypatch, capsys):
    real = check.MolVAE.generate
    monkeypatch.setattr(
        check.MolVAE, "generate",
        lambda self, n, *a, **k: real(self, 3, *a, **{**k, "workers": 0}),
    )  # fmt: skip
    assert check.generate_speed(model, CPU, 0.01).startswith("generating: ")
    assert check.report("numbers", lambda: "fine")

    def fails():
        raise check.Wrong("bad")

    assert not check.report("numbers", fails)
    assert capsys.readouterr().out == "ok    numbers: fine\nWRONG numbers: bad\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so(check, capsys):
    assert check.main([]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: device: 'cuda' is not available here; ")
    assert error.count("\n") == 1
    assert check.main(["--device", "cpu", "--presets", "huge"]) == 2
    assert "'huge', expected some of tiny, mini" in capsys.readouterr().err
    assert os.access(SCRIPT, os.X_OK)


def test_fp32_on_a_gpu_is_not_tf32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert choose_precision("fp32", CPU) == "fp32"
    assert torch.backends.cudnn.allow_tf32
    assert choose_precision("bf16", torch.device("cuda")) == "bf16"
    assert torch.backends.cudnn.allow_tf32
    assert choose_precision("fp32", torch.device("cuda")) == "fp32"
    assert not torch.backends.cudnn.allow_tf32
