"""Ablations of the model: runs that differ in one setting.

Every run sees the same molecules in the same order for the same number of steps, in a separate
process with one thread; ``--jobs`` run in parallel. Finished runs are not repeated. A Markdown
table of held-out metrics goes to standard output; "logP shown" and "all shown" are the
nats by which D(1) falls when that condition, or all of them, are shown.

    molvae prepare moses_train.csv.gz -o moses.ds \
        --set data.valid_fraction=0.01 --set data.test_fraction=0.01
    python scripts/bench/architecture.py moses.ds -o runs/architecture --jobs 2
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from molvae.config import load_config
from molvae.data.dataset import Dataset
from molvae.evaluate.diagnostics.base import batches
from molvae.model import checkpoint
from molvae.model.loss import reconstruction
from molvae.runtime.files import write_json
from molvae.train.run import train
from molvae.train.run_folder import read_record

COMMON = (
    "train.validations=4", "train.patience=4", "train.valid_molecules=2048",
    "train.learning_rate=6e-3",
)  # fmt: skip

GAINS = "gains.json"

# name: settings beside COMMON
RUNS: dict[str, tuple[str, ...]] = {
    "baseline": (),
    "baseline seed 1": ("train.seed=1",),
    "baseline seed 2": ("train.seed=2",),
    # what SELFIES' grammar knows of the prefix
    "no derivation features": ("model.derivation=false",),
    # what stands between state and token
    "attention: 1 head of 64": ("model.attention_size=64", "model.attention_heads=1"),
    "attention: 4 heads of 32": ("model.attention_heads=4",),
    "attention: 4 heads of 64": ("model.attention_size=256", "model.attention_heads=4"),
    "forecast weight .3": ("train.forecast_weight=0.3",),
    "forecast weight 3": ("train.forecast_weight=3",),
    "forecast of rank 16": ("model.forecast_rank=16",),
    # how the context enters
    "no modulation": ("model.modulation=false",),
    # the encoder
    "encoder 384": ("model.encoder_size=384",),
    "latent 128": ("model.latent_size=128",),
    # sizes of the decoder
    "decoder 2 x 384": ("model.decoder_size=384", "model.decoder_layers=2"),
    "decoder 3 x 320": ("model.decoder_size=320", "model.decoder_layers=3"),
    "decoder 1 x 768": ("model.decoder_size=768",),
    "decoder 1 x 384": ("model.decoder_size=384",),
    # optimisation
    "AdamW, rate 3e-3": ("train.optimizer=adamw", "train.learning_rate=3e-3"),
    "rate 3e-3": ("train.learning_rate=3e-3",),
    "rate 1e-2": ("train.learning_rate=1e-2",),
    "batch 128": ("train.batch_size=128",),
    "batch 512": ("train.batch_size=512",),
    "batch 512, rate 1e-2": ("train.batch_size=512", "train.learning_rate=1e-2"),
    "clip 5": ("train.clip=5",),
    # which noise levels
    "t: .2 prior, .6 exact": ("train.prior_share=0.2", "train.exact_share=0.6"),
    "t: .4 prior, .6 exact": ("train.prior_share=0.4", "train.exact_share=0.6"),
    "t: .4 prior, 0 exact": ("train.prior_share=0.4", "train.exact_share=0"),
    "t: .6 prior, .3 exact": ("train.prior_share=0.6", "train.exact_share=0.3"),
    # rate
    "KL weight .02": ("train.kl_weight=0.02",),
    "KL weight .1": ("train.kl_weight=0.1",),
    "KL weight .2": ("train.kl_weight=0.2",),
    "KL warm-up .8": ("train.kl_warm_up=0.8",),
    "D(0) held at 1": ("train.distortion_target=1.0",),
    # conditions
    "always conditions": ("train.unconditioned_share=0.02",),
    # regularisation and head
    "dropout .1": ("model.dropout=0.1",),
    "head weight 0": ("train.head_weight=0",),
    "head weight 1": ("train.head_weight=1",),
}  # fmt: skip


# -- runs ---------------------------------------------------------------------------------------


def folder_of(root: Path, name: str) -> Path:
    """Where a run lies."""
    return root / "".join(c if c.isalnum() or c == "." else "_" for c in name)


def log_of(root: Path, name: str) -> Path:
    """The output of a run."""
    folder = folder_of(root, name)
    return folder.with_name(f"{folder.name}.log")


def run_one(dataset: Path, root: Path, name: str, epochs: float, preset: str) -> None:
    """Train one run to its end, here."""
    config = load_config(
        preset=preset, settings=(*COMMON, *RUNS[name]), overrides={"train.epochs": epochs}
    )
    train([dataset], folder_of(root, name), config, resume=True)
    gains = condition_gains(checkpoint.load_model(folder_of(root, name)), Dataset(dataset))
    write_json(folder_of(root, name) / GAINS, gains)


@torch.no_grad()
def condition_gains(model: checkpoint.SavedModel, dataset: Dataset) -> dict[str, float]:
    """Nats by which D(1) of held-out molecules falls when a condition is shown, or all are."""
    network, names = model.network.eval(), model.conditions.names
    columns = [dataset.names.index(name) for name in names]
    shown: dict[str, list[int]] = {"none": [], "all": list(range(len(names)))}
    shown |= {name: [k] for k, name in enumerate(names)}
    total = dict.fromkeys(shown, 0.0)
    items = dataset.part("valid")[:2048]
    for _, batch in batches(dataset, items):
        inputs, targets, lengths = map(
            torch.from_numpy, (batch.inputs, batch.targets, batch.lengths)
        )
        values = torch.from_numpy(model.conditions.standardize(batch.values[:, columns])[0])
        z, t = torch.zeros(len(values), network.config.latent_size), torch.ones(len(values))
        for name, which in shown.items():
            mask = torch.zeros_like(values)
            mask[:, which] = 1
            logits = network.decode(inputs, network.make_context(z, t, values, mask))
            total[name] += reconstruction(logits, targets, lengths).sum().item() / len(items)
    return {name: total["none"] - nats for name, nats in total.items() if name != "none"}


def start(dataset: Path, root: Path, name: str, epochs: float, preset: str) -> None:
    """Train one run in a separate process; its output goes into a file."""
    with open(log_of(root, name), "a", encoding="utf-8") as log:
        done = subprocess.run(
            [sys.executable, __file__, str(dataset), "-o", str(root), "--epochs", str(epochs),
             "--preset", preset, "--one", name],
            env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=log, check=False,
        )  # fmt: skip
    if done.returncode:
        sys.stderr.write(f"{name}: failed, see '{log_of(root, name)}'\n")


def last_record(folder: Path) -> dict[str, Any] | None:
    """The last validation of a finished run."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8").splitlines()
    records = [record for line in lines if (record := read_record(line))]
    if not any(record["kind"] == "final" for record in records) or not (folder / GAINS).exists():
        return None
    return dict([r for r in records if r["kind"] in ("validation", "final")][-1])


def table(root: Path, names: list[str]) -> list[str]:
    """The finished runs as Markdown."""
    lines = [
        "| run | molecules | D(0) | D(½) | D(1) | R(0) | gap | exact | logP shown | all shown "
        "| molecules/s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        record = last_record(folder_of(root, name))
        if record is None:
            continue
        d = record["D"]
        gains = json.loads((folder_of(root, name) / GAINS).read_text(encoding="utf-8"))
        lines.append(
            f"| {name} | {record['molecules']:,} | {d['0']:.2f} | {d['0.5']:.2f} | {d['1']:.2f} "
            f"| {record['R']['0']:.1f} | {record['gap']:.1f} | {record['exact']['value']:.3f} "
            f"| {gains['logp']:.2f} | {gains['all']:.2f} | {record['molecules_per_second']:.0f} |"
        )
    return lines


def main() -> None:
    """Run the missing ones and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=0.4, help="of the dataset, per run")
    parser.add_argument("--preset", default="small", choices=["tiny", "mini", "small"])
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, one thread each")
    parser.add_argument("--only", action="append", choices=list(RUNS), metavar="NAME")
    parser.add_argument("--one", choices=list(RUNS), help=argparse.SUPPRESS)
    parser.add_argument("--minutes", type=float, help="begin no run later; 0 prints only")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    if given.one:
        run_one(given.dataset, given.output, given.one, given.epochs, given.preset)
        return
    names = given.only or list(RUNS)
    end = float("inf") if given.minutes is None else time.monotonic() + 60 * given.minutes

    def work(name: str) -> None:
        if time.monotonic() < end and last_record(folder_of(given.output, name)) is None:
            start(given.dataset, given.output, name, given.epochs, given.preset)

    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(work, names))
    sys.stdout.write("\n".join(table(given.output, names)) + "\n")


if __name__ == "__main__":
    main()
