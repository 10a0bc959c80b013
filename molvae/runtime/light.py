"""Optimizers of torch that do not import its compiler, which takes seconds."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar, cast

__all__ = ["light_optimizer"]

T = TypeVar("T")
METHODS = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


def light_optimizer(kind: type[T]) -> type[T]:
    """The class of an optimizer, with its methods as they are below the wrapper that torch adds.

    The wrapper hides them from ``torch.compile``, and imports it for that. So does that of Adam's
    steps, whose other effect, to compute no gradients, is kept.
    """
    import torch  # worker processes import this package without it

    plain: dict[str, Any] = {name: inspect.unwrap(getattr(kind, name)) for name in METHODS}
    plain["step"] = torch.no_grad()(inspect.unwrap(kind.step))  # type: ignore[attr-defined]
    return cast("type[T]", type(kind.__name__, (kind,), plain))
