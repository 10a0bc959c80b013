"""The log of a run: ``metrics.jsonl``, TensorBoard's files, progress lines and a summary."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molvae.runtime.progress import duration, say
from molvae.runtime.workdir import name_in_errors
from molvae.train.replay import START

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = [
    "BUDGET_SPENT",
    "Averages",
    "RunLog",
    "TrainSummary",
    "more_time_note",
    "scalars",
    "validation_line",
]

BUDGET_SPENT = "budget spent"  # the reason for the end of a run
FEW_PASSES = 3.0  # over the training molecules, below which a longer run is advised


class RunLog:
    """Appends records to ``metrics.jsonl`` and to TensorBoard's files."""

    def __init__(self, run: Path) -> None:
        self.path = run / "metrics.jsonl"
        self.folder = run / "tensorboard"
        self.purge = 0  # steps of an earlier process from here on are written again
        self._board: SummaryWriter | None = None
        self._looked = False

    def record(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """One line, flushed; numbers inside nested mappings become curves like ``D/0.5``."""
        line = {"kind": kind, "step": step, **values}
        with name_in_errors(self.path), open(self.path, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")
        board = self._tensorboard()
        if board is not None:
            for name, value in scalars(values):
                board.add_scalar(f"{kind}/{name}", value, step)
            board.flush()

    def _tensorboard(self) -> SummaryWriter | None:
        """TensorBoard's writer, opened after an older run's folder is gone; None without one."""
        if not self._looked:
            self._looked = True
            try:
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(str(self.folder), purge_step=self.purge)
            except ImportError:
                pass
            except Exception as error:  # a broken installation must not end a training
                say(f"note: no TensorBoard files: {type(error).__name__}: {error}")
        return self._board

    def close(self) -> None:
        """Finish TensorBoard's file."""
        if self._board is not None:
            self._board.close()


def scalars(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The finite numbers in nested mappings, by their path."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from scalars(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float)) and math.isfinite(value):
            yield f"{prefix}{key}", float(value)


class Averages:
    """Means of several figures since the last `take`."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, float] = {}

    def add(self, values: Mapping[str, float]) -> None:
        """One more step; a step with a figure that is not finite does not count."""
        if not all(map(math.isfinite, values.values())):
            return
        self.count += 1
        for key, value in values.items():
            self.sums[key] = self.sums.get(key, 0.0) + value

    def take(self) -> dict[str, float]:
        """The means; the next ones start from zero."""
        means = {key: value / max(self.count, 1) for key, value in self.sums.items()}
        self.count, self.sums = 0, {}
        return means

    def state(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"count": self.count, "sums": dict(self.sums)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state`."""
        self.count, self.sums = int(state["count"]), dict(state["sums"])


@dataclass
class TrainSummary:
    """What a training run did."""

    run: str
    finished: bool
    reason: str
    steps: int
    molecules: int
    seconds: float
    figures: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return asdict(self)


def more_time_note(summary: TrainSummary, training: int, prepared: float = 0.0) -> str:
    """Advice if the budget ended after few passes over the ``training`` molecules; else empty.

    ``prepared`` are the seconds before the first step, which count in ``--max-time``.
    """
    passes = summary.molecules / training
    if summary.reason != BUDGET_SPENT or passes >= FEW_PASSES:
        return ""
    note = f"each molecule was seen {passes:.1f} times: give it more time (--max-time or --epochs)"
    if prepared < summary.seconds / 2:
        return note
    return (
        f"{note}; predictors and new columns took {duration(prepared)} of "
        f"{duration(summary.seconds)} before the first step"
    )


def validation_line(metrics: dict[str, Any], latent_size: int) -> str:
    """The figures of a validation on one line."""
    d, information = metrics["D"], metrics["information"]
    return (
        f"D(0) {d['0']:.2f}  D(1) {d['1']:.2f}  R(0) {metrics['R']['0']:.1f} nats, "
        f"gap {metrics['gap']:.1f}, exact {metrics['exact']['value']:.1%}, "
        f"active {metrics['active_units']}/{latent_size}, "
        f"I {information['value']:.1f} of at most {information['cap']:.1f}"
        + (f", {START} {metrics[START]:.2f}" if START in metrics else "")
    )
