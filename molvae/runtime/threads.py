"""How many CPU threads the network uses: one, or for training as many as help by measurement.

OpenMP threads wait for each other in a busy loop. Where another program occupies one of their
CPUs, most of the time is spent in that loop, and two threads can be a hundred times slower than
one (research/log.md). Whether that is so is measured with products of the network's size.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from molvae.runtime.progress import say

__all__ = ["choose_threads", "fitting_threads", "one_thread"]

TRIAL_TIME = 0.3  # seconds a trial takes at most
GAIN = 0.75  # more threads must bring the time of one down to this share of it


def choose_threads(
    device: torch.device, rows: int, width: int, *, before: int | None = None
) -> int:
    """Set the number of CPU threads of this process for a long run, and return it.

    ``rows`` and ``width`` are the shape of the recurrent states; ``before`` is the number that a
    resumed run started with, which stays, since the last bits of sums depend on it. Nothing is
    changed on a GPU, or where ``OMP_NUM_THREADS`` is set, as torchrun does.
    """
    most = torch.get_num_threads()
    if device.type != "cpu" or most == 1 or "OMP_NUM_THREADS" in os.environ:
        return most
    count = fitting_threads(most, rows, width) if before is None else min(before, most)
    if count < most:
        say(f"note: other programs use the CPUs; using {count} of {most} threads")
    torch.set_num_threads(count)
    return count


@contextmanager
def one_thread() -> Iterator[None]:
    """One CPU thread for torch inside the context.

    For matrix products too small to be shared, and for results that must not depend on the number
    of threads: the last bits of sums do, and gradient steps amplify them.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fitting_threads(
    most: int, rows: int, width: int, measure: Callable[[int, int, int], float] | None = None
) -> int:
    """The largest of ``most``, half of it, … that brings the time of one thread down to 3/4; or 1.

    ``measure(threads, rows, width)`` gives seconds per product.
    """
    measure = measure or _seconds
    single, count = measure(1, rows, width), most
    while count > 1 and measure(count, rows, width) > GAIN * single:
        count //= 2
    return count


@torch.no_grad()
def _seconds(threads: int, rows: int, width: int) -> float:
    """Mean time of a step of a recurrent layer (rows, width)."""
    torch.set_num_threads(threads)
    state, weight = torch.zeros(rows, width), torch.zeros(3 * width, width)
    torch.nn.functional.linear(state, weight)  # the first product starts the threads
    count, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < TRIAL_TIME and count < 100:
        reset, _, new = torch.nn.functional.linear(state, weight).chunk(3, dim=1)
        state = torch.sigmoid(reset) * torch.tanh(new)
        count += 1
    return elapsed / max(count, 1)
