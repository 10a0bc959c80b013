"""Training in several processes: started by ``torchrun``, joined by ``torch.distributed``.

Each process has a rank. All of them compute; only the first one prepares data, writes files and
reports progress. Without ``torchrun`` there is one process and nothing here does anything.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn, ParamSpec, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from molvae.errors import ConfigError, ElsewhereError, MolvaeError, RunError
from molvae.runtime.device import choose_device
from molvae.runtime.progress import set_quiet

__all__ = ["World", "is_first", "joined"]

# Preparing millions of molecules takes hours, and the others wait for the first process.
PATIENCE = timedelta(hours=24)
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@dataclass(frozen=True)
class World:
    """The processes that train together."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports progress for all."""
        return self.rank == 0

    def on_first(
        self,
        action: Callable[Parameters, Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Call ``action`` in the first process; its result, or its error, reaches every process."""
        if self.size == 1:
            return action(*args, **kwargs)
        answer: list[object] = [None, None]
        failure: BaseException | None = None
        if self.is_first:
            try:
                answer[0] = action(*args, **kwargs)
            except BaseException as error:
                failure, answer[1] = error, f"{type(error).__name__}: {error}"
        distributed.broadcast_object_list(answer, src=0)
        if failure is not None:
            raise failure
        if answer[1] is not None:
            raise ElsewhereError(f"the first process gave up: {answer[1]}")
        return answer[0]  # type: ignore[return-value]

    def everywhere(
        self,
        action: Callable[Parameters, Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Call ``action`` in every process; if it fails in any of them, all give up."""
        if self.size == 1:
            return action(*args, **kwargs)
        failure: BaseException | None = None
        result: list[Result] = []
        try:
            result.append(action(*args, **kwargs))
        except BaseException as error:
            failure = error
        failed: list[bool] = [False] * self.size
        distributed.all_gather_object(failed, failure is not None)
        if failure is not None and failed.index(True) == self.rank:
            raise failure  # reported by one of them
        if any(failed):
            raise ElsewhereError(f"process {failed.index(True)} gave up") from failure
        return result[0]

    def raise_once(self, error: MolvaeError) -> NoReturn:
        """Raise an error that all processes hit alike; only the first one reports it."""
        raise error if self.is_first else ElsewhereError(str(error))

    def largest(self, values: Sequence[float]) -> list[float]:
        """The greatest of each value over all processes."""
        return self._joint(values, distributed.ReduceOp.MAX) if self.size > 1 else list(values)

    def total(self, values: Sequence[float]) -> list[float]:
        """The sum of each value over all processes."""
        return self._joint(values, distributed.ReduceOp.SUM) if self.size > 1 else list(values)

    def _joint(self, values: Sequence[float], how: object) -> list[float]:
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        joint = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(joint, op=how)
        result: list[float] = joint.tolist()
        return result

    def hand_out(self, tensors: Sequence[Tensor], owner: int) -> None:
        """Fill the tensors with the values that the process ``owner`` has computed."""
        if self.size > 1 and tensors:
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            distributed.broadcast(flat, src=owner)
            sizes = [tensor.numel() for tensor in tensors]
            for tensor, part in zip(tensors, flat.split(sizes), strict=True):
                tensor.copy_(part.view_as(tensor))

    def share(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network with gradients averaged over all processes, from equal weights."""
        if self.size == 1:
            return network
        # DistributedDataParallel takes device positions for GPUs only.
        places = [device] if device.type == "cuda" else None
        with warnings.catch_warnings():
            # Newer versions of torch have another name for it, which older ones do not know.
            warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)
            # Buffers are constants, the same everywhere.
            return DistributedDataParallel(
                network, device_ids=places, gradient_as_bucket_view=True, broadcast_buffers=False
            )


def is_first() -> bool:
    """Whether this process is the only one, or the first of those that ``torchrun`` started."""
    return _processes() == 1 or _number("RANK") == 0


def _processes() -> int:
    return max(_number("WORLD_SIZE", 1), 1) if "RANK" in os.environ else 1


def _number(variable: str, default: int = 0) -> int:
    """A number that torchrun sets in the environment."""
    text = os.environ.get(variable, str(default))
    if not text.isdecimal():
        raise ConfigError(
            f"several processes: the environment variable {variable} is '{text}', expected a "
            "number as torchrun sets it"
        )
    return int(text)


@contextmanager
def joined(device: str) -> Iterator[tuple[World, torch.device]]:
    """The world of this process, joined while the block runs, and the device it computes on."""
    size = _processes()
    if size == 1:
        yield World(), choose_device(device)
        return
    place = choose_device(device)
    if place.type == "mps":
        raise ConfigError("several processes: --device mps cannot be shared; use --device cpu")
    if place.type == "cuda":
        place = torch.device("cuda", _local_gpu())
        torch.cuda.set_device(place)
    world = World(_number("RANK"), size)
    backend = "nccl" if place.type == "cuda" else "gloo"
    try:
        distributed.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise RunError(f"several processes: process {world.rank} of {size}: {error}") from None
    if not world.is_first:
        set_quiet(True)
    try:
        yield world, place
        distributed.barrier()  # nobody leaves while others still need an answer
    finally:
        # Threads of the group must end before the interpreter does: nothing may hold it then.
        gc.collect()
        distributed.destroy_process_group()


def _local_gpu() -> int:
    """The GPU of this process: one for each of a machine."""
    index, there = _number("LOCAL_RANK"), torch.cuda.device_count()
    if index >= there:
        raise ConfigError(
            f"several processes: {index + 1} or more on this machine, which has {there} GPUs; "
            f"use torchrun --nproc-per-node {there}, or --device cpu"
        )
    return index
