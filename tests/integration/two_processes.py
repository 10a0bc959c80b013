"""Run by torchrun from the tests: what several processes compute together, into files.

    torchrun ... two_processes.py DATASET FOLDER

Every process writes ``gradients-RANK.pt``: in float64, gradients of one step of each kind, and
the losses of 20 steps of training.
"""

import sys
from pathlib import Path

import torch

from molvae.config import load_config
from molvae.data.dataset import Dataset
from molvae.train.distributed import joined
from molvae.train.trainer import Trainer

STEPS = 20


def work(dataset, run, *, prior_share=0.4, world=None):
    """(losses of some steps, gradients of the first) of training in float64."""
    config = load_config(
        preset="tiny",
        overrides={
            "train.epochs": 40, "train.batch_size": 10, "train.prior_share": prior_share,
            "train.exact_share": 0.3 if prior_share < 0.7 else 0.0, "train.precision": "fp32",
        },
    )  # fmt: skip
    torch.set_default_dtype(torch.float64)
    try:
        trainer = Trainer(Dataset(dataset), run, config, torch.device("cpu"), world)
        losses, gradients = [], {}
        plan = trainer._epoch()
        for step in range(STEPS):
            seen = trainer.train_step(next(plan))
            whole = trainer.world.total([v / trainer.world.size for v in seen.values()])
            losses.append(whole)
            if step == 0:
                gradients = {n: p.grad.clone() for n, p in trainer.network.named_parameters()}
        return losses, gradients
    finally:
        torch.set_default_dtype(torch.float32)


if __name__ == "__main__":
    data, folder = map(Path, sys.argv[1:])
    with joined("cpu") as (together, _):
        found = {
            share: work(data, folder, prior_share=share, world=together) for share in (0.4, 0.95)
        }
        torch.save(found, folder / f"found-{together.rank}.pt")
