"""One training step of molvae on a CPU, against the published MOSES VAE and ``torch.nn.GRU``.

Contestants, each in a separate process with warm-up steps, take turns in every round:

    MOSES    the published code, by ``moses_vae.py`` in this folder, fp32: one-directional encoder
             GRU 256, decoder GRU 512 x 3, Z 128, one-hot embedding of some 30 characters
    molvae   at the sizes of MOSES: encoder GRU 256 in each direction, decoder GRU 512 x 3, Z 128,
             embedding 128, batch 512; and as the preset small, batch 256; in fp32 and bf16
    nn.GRU   the same two networks with ``torch.nn.GRU`` in place of our recurrence

A step is all that training does for a batch: read it, draw its noise, forward, loss, backward,
clipping, AdamW, the moving average; ours is the step of ``molvae train`` itself. Its batches hold
molecules of similar length, so those measured are spread evenly over the lengths; MOSES draws at
random. MOSES reads SMILES characters, we SELFIES tokens; the table has the mean number of steps per
molecule of both.

FLOPs are the textbook count, whatever an implementation does: 2 for every weight of the
GRUs and of the output layer and every token that is no padding, and twice as many backward. Of our
encoder they count for the molecules that are encoded (t < 1) only. The peak is that of the best of
some products of two matrices.

    molvae prepare moses_train.csv.gz -o moses.ds
    OMP_NUM_THREADS=2 python scripts/bench/train.py moses.ds -o train.json \
        --baseline molsets_env/bin/python --smiles moses_train.csv.gz

Ratios are of the median steps of one round; the table shows their median and range.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from turns import (  # type: ignore[import-not-found]
    checked,
    child,
    common_arguments,
    place,
    ratio,
    save,
)

from molvae.config import load_config
from molvae.data.dataset import Dataset, batch_plan
from molvae.model.gru import GRU
from molvae.runtime.device import keep_memory, versions
from molvae.train.batches import noise_levels
from molvae.train.trainer import Trainer

NETWORKS: dict[str, tuple[str, ...]] = {
    "MOSES": (
        "model.latent_size=128",
        "model.decoder_layers=3",
        "train.batch_size=512",
        # Theirs has neither memory nor forecast: as little of both as there can be.
        "model.tally_size=1",
        "model.attention_size=1",
        "model.attention_heads=1",
        "model.readout_size=1",
        "model.forecast_rank=1",
        "train.optimizer=adamw",
    ),
    "small": ("train.batch_size=256",),  # what training takes for large data
}
SHAPES = ((512, 512, 1536), (16384, 512, 1536), (2048, 2048, 2048), (4096, 1024, 4096))


class Contestant(NamedTuple):
    """A contestant: code, sizes of a network, precision."""

    network: str
    code: str
    precision: str


BASELINE = Contestant("MOSES", "MOSES", "fp32")
CONTESTANTS = [
    BASELINE,
    *(
        Contestant(network, code, precision)
        for network in NETWORKS
        for precision in ("fp32", "bf16")
        for code in ("molvae", "nn.GRU")
    ),
]


# -- one contestant, in a separate process --------------------------------------------------------


def use_library() -> None:
    """Replace our recurrence by ``torch.nn.GRU``."""

    def over_tokens(
        self: GRU,
        tokens: Tensor,
        embedding: Tensor,
        state: Tensor,
        shift: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Tensor:
        table = embedding if features is None else torch.cat([embedding, features])
        x = functional.embedding(tokens, table)
        return self._library(x if features is None else x.sum(-2), state, shift)

    def over_states(self: GRU, x: Tensor, state: Tensor, shift: Tensor | None = None) -> Tensor:
        return self._library(x, state, shift)

    GRU.over_tokens = over_tokens  # type: ignore[method-assign]
    GRU.over_states = over_states  # type: ignore[method-assign]


def spread_batches(trainer: Trainer, count: int) -> list[NDArray[np.int64]]:
    """Whole batches of an epoch, evenly spread over their lengths."""
    lengths = trainer.dataset.lengths(trainer.items)
    plan = batch_plan(trainer.items, lengths, trainer.batch_size, trainer.draws, epoch=0)
    plan = [batch for batch in plan if len(batch) == trainer.batch_size]
    if len(plan) < count:
        raise SystemExit(f"{len(trainer.items)} molecules are too few for {count} steps")
    plan.sort(key=lambda batch: int(trainer.dataset.lengths(batch).sum()))
    return [plan[int((i + 0.5) * len(plan) / count)] for i in range(count)]


def multiply_adds(trainer: Trainer, items: NDArray[np.int64]) -> int:
    """Of a batch forward, by the textbook: every weight once per token."""
    network, lengths = trainer.network, trainer.dataset.lengths(items) + 1  # with the end symbol
    # Work done once per molecule is left out, and so are table lookups.
    readout = [
        network.memory,
        network.readout.from_state,
        network.readout.from_memory,
        network.readout.output,
    ]
    forecast = [] if network.forecast is None else [
        network.forecast.from_state, network.forecast.from_memory, network.forecast.mean,
        network.forecast.log_spread, network.forecast.slope,
    ]  # fmt: skip
    encoded = noise_levels(items, trainer.options, trainer.draws, epoch=0) < 1
    encoder = (network.encoder_forward, network.encoder_backward)
    decoder = (network.decoder, network.output)
    per_token = _weights(*decoder, *readout, *forecast)
    return int(lengths[encoded].sum() * _weights(*encoder) + lengths.sum() * per_token)


def _weights(*layers: torch.nn.Module) -> int:
    return sum(p.numel() for layer in layers for p in layer.parameters() if p.ndim == 2)


def measure(dataset: Path, who: Contestant, options: argparse.Namespace) -> dict[str, Any]:
    """Time of the steps of one contestant of ours."""
    if who.code == "nn.GRU":
        use_library()
    config = load_config(
        settings=NETWORKS[who.network], overrides={"train.precision": who.precision}
    )
    keep_memory()
    with tempfile.TemporaryDirectory() as folder:  # a step writes nothing unless it fails
        trainer = Trainer(Dataset(dataset), Path(folder), config, torch.device("cpu"))
        trainer.items = trainer.items[: options.molecules]
        plan = spread_batches(trainer, options.steps)
        for number in range(options.warm_up):
            trainer.train_step(plan[-1 - number % len(plan)])  # the longest first, for its memory
        seconds = []
        for items in plan:
            started = time.perf_counter()
            trainer.train_step(items)
            seconds.append(time.perf_counter() - started)
            if trainer.bad_steps:
                raise SystemExit("the gradient is not finite")
    molecules, median = sum(map(len, plan)), statistics.median(seconds)
    return {
        "molecules_per_s": molecules / sum(seconds),
        "median_molecules_per_s": len(plan[0]) / median,
        "median_step_s": median,
        "steps_s": seconds,
        "batch": len(plan[0]),
        "tokens": sum(int(trainer.dataset.lengths(items).sum()) for items in plan) / molecules + 1,
        "gflop_per_step": 6e-9 * sum(multiply_adds(trainer, items) for items in plan) / len(plan),
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }


def peak(seconds: float = 0.3) -> dict[str, float]:
    """GFLOP/s of matrix products: the best time of the best shape, in each precision."""
    # torch.mm leaves fp32 to MKL, where there is one; oneDNN is measured too.
    onednn = torch.ops.mkldnn._linear_pointwise
    ways: dict[str, tuple[torch.dtype, Callable[[Tensor, Tensor], Tensor]]] = {
        "fp32": (torch.float32, lambda a, b: torch.mm(a, b.t())),
        "bf16": (torch.bfloat16, lambda a, b: torch.mm(a, b.t())),
    }
    if torch.backends.mkldnn.is_available():
        ways["fp32 by oneDNN"] = torch.float32, lambda a, b: onednn(a, b, None, "none", [], "")
    peaks = {}
    for name, (dtype, product) in ways.items():
        peaks[name] = 0.0
        for rows, inner, columns in SHAPES:
            a, b = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
            product(a, b)
            ends = time.perf_counter() + seconds
            while (started := time.perf_counter()) < ends:
                product(a, b)
                took = time.perf_counter() - started
                peaks[name] = max(peaks[name], 2e-9 * rows * inner * columns / took)
    return peaks


# -- all of them, in turn -----------------------------------------------------------------------


def take_turn(who: Contestant | None, options: argparse.Namespace) -> dict[str, Any]:
    """One contestant, or the peak, in a separate process."""
    common = ["--molecules", str(options.molecules)]
    common += ["--warm-up", str(options.warm_up), "--steps", str(options.steps)]
    if who == BASELINE:
        script = str(Path(__file__).with_name("moses_vae.py"))
        command = [options.baseline, script, str(options.smiles), *common]
    else:
        name = "peak" if who is None else "/".join(who)
        command = [sys.executable, __file__, str(options.dataset), *common, "--one", name]
    turn: dict[str, Any] = child(command)
    return turn


def table(result: dict[str, Any]) -> list[str]:
    """Rows of Markdown."""
    rounds = {Contestant(*name.split("/")): turns for name, turns in result["contestants"].items()}
    rows = [
        "| sizes | code | precision | molecules/s | step s | tokens | share of peak "
        "| × MOSES | × nn.GRU |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for who, turns in rounds.items():
        speed = statistics.median(_speeds(turns))
        step = statistics.median(turn["median_step_s"] for turn in turns)
        rate = statistics.median(_gflop_per_s(turn) for turn in turns)
        against = [
            BASELINE if who.network == BASELINE.network and who != BASELINE else None,
            who._replace(code="nn.GRU") if who.code == "molvae" else None,
        ]
        ratios = [
            ratio(_speeds(turns), _speeds(rounds[other])) if other in rounds else ""
            for other in against
        ]
        rows.append(
            f"| {who.network} | {who.code} | {who.precision} | {speed:.0f} | {step:.2f} "
            f"| {turns[0]['tokens']:.1f} | {rate / result['peak_gflop_per_s'][who.precision]:.0%} "
            f"| {' | '.join(ratios)} |"
        )
    return rows


def _speeds(turns: list[dict[str, Any]]) -> list[float]:
    return [turn["median_molecules_per_s"] for turn in turns]


def _gflop_per_s(turn: dict[str, Any]) -> float:
    return float(turn["gflop_per_step"] * len(turn["steps_s"]) / sum(turn["steps_s"]))


def arguments() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dataset", type=Path, help="folder made by molvae prepare")
    parser.add_argument("--molecules", type=int, default=32_768, help="first ones of the data")
    parser.add_argument("--warm-up", type=int, default=2, metavar="STEPS")
    parser.add_argument("--steps", type=int, default=3, help="measured per turn (default 3)")
    parser.add_argument("--only", default="", metavar="TEXT", help="contestants with it in a name")
    common_arguments(parser)
    given: argparse.Namespace = checked(parser)
    return given


def main() -> None:
    """Parse the command line; run the rounds, or the one turn that this process is for."""
    options = arguments()
    if options.one is not None:
        turn = (
            peak()
            if options.one == "peak"
            else measure(options.dataset, Contestant(*options.one.split("/")), options)
        )
        json.dump(turn, sys.stdout)
        return
    chosen = [who for who in CONTESTANTS if options.only in "/".join(who)]
    if options.baseline is None:
        chosen = [who for who in chosen if who != BASELINE]
    peaks: list[dict[str, float]] = []
    rounds: dict[str, list[dict[str, Any]]] = {"/".join(who): [] for who in chosen}
    result: dict[str, Any] = {
        **place(),
        "threads": torch.get_num_threads(),
        "peaks": peaks,
        "contestants": rounds,
    }
    for number in range(options.rounds):
        peaks.append(take_turn(None, options))
        for who in chosen:
            turn = take_turn(who, options)
            rounds["/".join(who)].append(turn)
            sys.stderr.write(
                f"round {number + 1}, {' '.join(who)}: {turn['median_molecules_per_s']:.0f}/s\n"
            )
        result["peak_gflop_per_s"] = {name: max(each[name] for each in peaks) for name in peaks[0]}
        save(result, options.output)
    best = ", ".join(f"{name} {rate:.0f}" for name, rate in result["peak_gflop_per_s"].items())
    lines = [*table(result), "", f"Peak in GFLOP/s: {best}; {result['threads']} threads."]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
