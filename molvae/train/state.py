"""Everything a resumed run needs, in one dictionary of tensors and plain values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from molvae.errors import FileError

if TYPE_CHECKING:
    from molvae.train.engine import Trainer

__all__ = ["restore", "state_of"]

# What has a state of its own, and what is a value of the trainer itself.
_PARTS = ("network", "average", "optimizer", "kl", "averages")
_POSITION = (
    "step", "epoch", "position", "molecules", "bad_steps", "elapsed", "finished", "reason", "final",
)  # fmt: skip


def state_of(trainer: Trainer) -> dict[str, Any]:
    """Weights, moving average, optimiser, position, and of which run they are."""
    return {
        "config": json.dumps(trainer.config.model_dump(mode="json")),
        "dataset": trainer.dataset.content_hash,
        "network": trainer.network.state_dict(),
        "average": trainer.average.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "kl": trainer.kl_weight.state(),
        "averages": trainer.averages.state(),
        "threads": trainer.threads.count,
        **trainer.validations.state(),
        **{name: getattr(trainer, name) for name in _POSITION},
    }


def restore(trainer: Trainer, state: dict[str, Any]) -> None:
    """Put a trainer where another one was when its state was taken.

    Raises:
        FileError: the state lacks something.
    """
    needed = (*_PARTS, *trainer.validations.state(), *_POSITION)
    missing = [key for key in needed if key not in state]
    if missing:
        raise FileError(
            f"'{trainer.run}/state.pt': written by another version of molvae (it lacks "
            f"'{missing[0]}'), which can go on with it; or start anew with --force"
        )
    trainer.network.load_state_dict(state["network"])
    trainer.average.load_state_dict(state["average"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.kl_weight.restore(state["kl"])
    trainer.averages.restore(state["averages"])
    trainer.validations.restore(state)
    for name in _POSITION:
        setattr(trainer, name, state[name])
