"""What a resumed run needs of a trainer, as tensors and plain values.

Whether a run can be resumed is decided in :mod:`molvae.train.run_folder`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from torch.optim import Optimizer

from molvae.config import Config
from molvae.data.dataset import Dataset
from molvae.errors import FileError
from molvae.model.cvae import CVAE, current_name
from molvae.train.log import Averages
from molvae.train.replay import Replay
from molvae.train.schedules import KLWeight
from molvae.train.validations import Validations

__all__ = ["Resumable", "restore", "state_of"]


class Resumable(Protocol):
    """The parts of a trainer that have a state; its position are the names in `_POSITION`."""

    run: Path
    config: Config
    dataset: Dataset
    network: CVAE
    average: CVAE
    optimizer: Optimizer
    kl_weight: KLWeight
    averages: Averages
    validations: Validations
    replay: Replay
    threads: int
    prepared: float


# Keys of a state: parts with a state, and attributes of the trainer.
_PARTS = ("network", "average", "optimizer", "kl", "averages")
_POSITION = (
    "step", "epoch", "position", "molecules", "bad_steps", "elapsed", "finished", "reason", "final",
)  # fmt: skip


def state_of(trainer: Resumable) -> dict[str, Any]:
    """Weights, moving average, optimizer, position, and the configuration of the run."""
    return {
        "config": json.dumps(trainer.config.model_dump(mode="json")),
        "dataset": trainer.dataset.content_hash,
        "network": trainer.network.state_dict(),
        "average": trainer.average.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "kl": trainer.kl_weight.state(),
        "averages": trainer.averages.state(),
        "threads": trainer.threads,
        "prepared": trainer.prepared,
        "replay": trainer.replay.state(),
        **trainer.validations.state(),
        **{name: getattr(trainer, name) for name in _POSITION},
    }


def restore(trainer: Resumable, state: dict[str, Any]) -> None:
    """Set a trainer to a saved state.

    Raises:
        FileError: the state lacks something.
    """
    needed = (*_PARTS, *trainer.validations.state(), *_POSITION)
    missing = [key for key in needed if key not in state]
    if missing:
        raise FileError(
            f"'{trainer.run}/state.pt': written by another version of molvae (it lacks "
            f"'{missing[0]}'); continue with that version, or start over with --force"
        )
    for network, name in ((trainer.network, "network"), (trainer.average, "average")):
        network.load_state_dict({current_name(key): t for key, t in state[name].items()})
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.kl_weight.restore(state["kl"])
    trainer.averages.restore(state["averages"])
    trainer.validations.restore(state)
    trainer.replay.restore(state.get("replay", {}))  # older states lack it
    for name in _POSITION:
        setattr(trainer, name, state[name])
    trainer.prepared = float(state.get("prepared", 0.0))  # older states lack it
