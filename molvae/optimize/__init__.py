"""Search for molecules that score higher on an objective.

Names are resolved when first used, so that importing a module of this package loads no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from molvae.optimize.engines.base import Engine
    from molvae.optimize.run import optimize
    from molvae.optimize.summary import OptimizeSummary

__all__ = ["Engine", "OptimizeSummary", "optimize"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from molvae.optimize import run

        return getattr(run, name)
    raise AttributeError(f"module 'molvae.optimize' has no attribute '{name}'")
