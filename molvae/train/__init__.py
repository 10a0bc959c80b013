"""Training: from molecule files or a dataset to a run folder.

Names are resolved when first used, so that importing a module of this package loads no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from molvae.train.log import TrainSummary
    from molvae.train.run import train

__all__ = ["TrainSummary", "train"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from molvae.train import run

        return getattr(run, name)
    raise AttributeError(f"module 'molvae.train' has no attribute '{name}'")
