"""How many threads of a CPU the network uses: as many as do not get into each other's way.

OpenMP's threads wait for each other in a loop. Where another program has taken one of their CPUs,
most of the time is spent in that loop, and two threads can be a hundred times slower than one
(docs/experiments.md). Whether that is so now is measured with products of the network's own size.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch

from molvae.runtime.progress import say

__all__ = ["Threads", "fitting_threads"]

PATIENCE = 0.3  # seconds a trial takes at most
GAIN = 0.75  # more threads must bring the time of one down to this share of it
EVERY = 60.0  # seconds between trials


class Threads:
    """The number of threads of this process, chosen anew now and then.

    Nothing is chosen where ``OMP_NUM_THREADS`` is set, on a GPU, or with several processes. With
    ``keep`` the first choice stands, since the last bits of sums depend on the number.
    """

    def __init__(self, device: torch.device, rows: int, width: int, *, keep: bool) -> None:
        """``rows`` and ``width`` of the states that a step turns into others."""
        self.most = torch.get_num_threads()
        self.count = self.most
        self._trial = rows, width
        self._free = device.type == "cpu" and self.most > 1 and "OMP_NUM_THREADS" not in os.environ
        self._keep, self._tried = keep, -EVERY

    def choose(self, before: int | None = None) -> None:
        """Find the number for now; ``before`` is that of the run which goes on."""
        if not self._free:
            return
        if self._keep and before is not None:
            self._set(min(before, self.most))
            return
        self._tried = time.monotonic()
        self._set(fitting_threads(self.most, *self._trial))

    def look_again(self) -> None:
        """Choose again if that is allowed and it is time."""
        if self._free and not self._keep and time.monotonic() - self._tried > EVERY:
            self.choose()

    def restore(self) -> None:
        """As it was before."""
        torch.set_num_threads(self.most)

    def _set(self, count: int) -> None:
        if count != self.count:
            why = "other programs use the CPUs; " if count < self.count else ""
            say(f"note: {why}using {count} of {self.most} threads from here on")
        self.count = count
        torch.set_num_threads(count)


def fitting_threads(
    most: int, rows: int, width: int, measure: Callable[[int, int, int], float] | None = None
) -> int:
    """The greatest of ``most``, half of it … that brings the time of one thread down to 3/4; or 1.

    ``measure(threads, rows, width)`` gives seconds per product.
    """
    measure = measure or _seconds
    alone, count = measure(1, rows, width), most
    while count > 1 and measure(count, rows, width) > GAIN * alone:
        count //= 2
    return count


@torch.no_grad()
def _seconds(threads: int, rows: int, width: int) -> float:
    """Mean time of a step of a recurrent layer (rows, width)."""
    torch.set_num_threads(threads)
    state, weight = torch.zeros(rows, width), torch.zeros(3 * width, width)
    torch.nn.functional.linear(state, weight)  # the first makes the threads
    count, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < PATIENCE and count < 100:
        reset, _, new = torch.nn.functional.linear(state, weight).chunk(3, dim=1)
        state = torch.sigmoid(reset) * torch.tanh(new)
        count += 1
    return elapsed / max(count, 1)
