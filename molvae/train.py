"""The one training loop: schedule, validation, early stop, checkpoints, exact resume.

Run folder: ``config.json`` (effective configuration and provenance), ``metrics.jsonl``, ``model/``
(the best weights so far, ready for ``molvae generate``), ``state.pt`` (all a resumed run needs),
``rejects.csv``.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from molvae import tokens
from molvae.checkpoint import (
    SavedModel,
    load_model,
    restore_model,
    save_model,
    save_state,
)
from molvae.conditions import ConditionSet
from molvae.config import Config, DataConfig, TrainConfig, differences
from molvae.dataset import Dataset, batch_plan
from molvae.diagnostics import figures
from molvae.errors import ConfigError, FileError, RunError
from molvae.loss import LossTerms, elbo, kl_weight, learning_rate
from molvae.model import CVAE
from molvae.noise import drawn_batch
from molvae.prepare import cached_dataset, summary_lines
from molvae.progress import Progress, duration, say
from molvae.runs import (
    check_run_folder,
    cut_metrics,
    effective,
    model_card,
    start_run_folder,
    state_to_resume,
    stop_requests,
)
from molvae.runtime import Draws, autocast, choose_device, choose_precision, versions

__all__ = ["TrainSummary", "batch_size_for", "train"]

FINAL_MOLECULES = 2000
MAX_BAD_STEPS = 20
DEFAULT_EPOCHS = 30
MIN_STEPS = 6_000
SMALL_DATA = 50_000
STATISTICS_SAMPLE = 1_000_000


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


def train(
    inputs: Sequence[str | Path],
    run: str | Path,
    config: Config,
    *,
    device: str = "auto",
    workers: int | None = None,
    scheduler: str | None = None,
    resume: bool = False,
    force: bool = False,
) -> TrainSummary:
    """Train a model on molecule files or on one dataset folder; see the module for what it writes.

    With ``resume`` an interrupted run of the same command continues; on a finished run nothing is
    done, and with nothing to resume it starts afresh. Changed options are an error.
    """
    run, where = Path(run), choose_device(device)
    check_run_folder(run, resume=resume, force=force)
    dataset = _open_dataset(inputs, config, workers, scheduler)
    for line in summary_lines(dataset):
        say(line)
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / ".lock")
    try:
        with lock.acquire(timeout=0):
            return _train_locked(dataset, run, config, where, resume)
    except Timeout:
        raise FileError(f"'{run}': another training is writing into this folder") from None


def _train_locked(
    dataset: Dataset, run: Path, config: Config, device: torch.device, resume: bool
) -> TrainSummary:
    state = state_to_resume(run, config, dataset) if resume else None
    with tokens.use_constraints(dataset.constraints):
        # Before an older run is replaced: whatever is wrong with the request is said here.
        trainer = _Trainer(dataset, run, config, device)
        if state is None:
            start_run_folder(run, config, dataset)
            return trainer.run_to_end()
        restore_model(run / "model")
        trainer.load(state)
        if trainer.finished:
            return trainer.conclude()
        say(f"resuming at step {trainer.step:,}")
        return trainer.run_to_end()


def _open_dataset(
    inputs: Sequence[str | Path], config: Config, workers: int | None, scheduler: str | None
) -> Dataset:
    folders = [path for path in inputs if Path(path).is_dir()]
    if not folders:
        return cached_dataset(inputs, config.data, workers=workers, scheduler=scheduler)
    if len(inputs) != 1:
        raise FileError("train: give molecule files, or one dataset folder, not both")
    dataset = Dataset(folders[0])
    asked = config.data.model_dump(mode="json", exclude={"conditions"})
    plain = DataConfig().model_dump(mode="json")
    ignored = differences(plain, asked, "data.", dropped=False)
    if ignored and differences(dataset.manifest["options"], asked, dropped=False):
        raise ConfigError(
            f"'{dataset.folder}' is prepared already, so these options would be ignored: "
            + "; ".join(ignored)
            + "; give them to molvae prepare"
        )
    return dataset


def _known_columns(dataset: Dataset, config: Config) -> list[int]:
    wanted = dataset.names if config.data.conditions is None else list(config.data.conditions)
    missing = [name for name in wanted if name not in dataset.names]
    if missing:
        raise ConfigError(
            f"condition '{missing[0]}' is not in the dataset, which has {', '.join(dataset.names)}"
        )
    return [dataset.names.index(name) for name in wanted]


def batch_size_for(options: TrainConfig, molecules: int) -> int:
    """Molecules per step: small data need many small steps more than they need large ones."""
    if options.batch_size is not None:
        return options.batch_size
    return 64 if molecules <= SMALL_DATA else 256


def _budget(options: TrainConfig, molecules: int, batch_size: int) -> int | None:
    """Steps of the whole run; None if time alone is the budget."""
    per_epoch = math.ceil(molecules / batch_size)
    if options.epochs is not None:
        return max(math.ceil(per_epoch * options.epochs), 1)
    if options.max_time is not None:
        return None
    return max(per_epoch * DEFAULT_EPOCHS, MIN_STEPS)


def _score(distortion: dict[str, float], rate: float, options: TrainConfig) -> float:
    """Mean of D(0), D(½), D(1) plus β·R(0), of the noise levels that training visits."""
    between = 1 - options.prior_share - options.exact_share > 1e-9
    visited = {"0": between or options.exact_share > 0, "0.5": between}
    visited["1"] = between or options.prior_share > 0
    chosen = [distortion[level] for level, yes in visited.items() if yes]
    encoded = options.prior_share < 1
    return sum(chosen) / len(chosen) + (options.kl_weight * rate if encoded else 0.0)


class _Trainer:
    """Holds a run's state: weights, moving average, optimiser, position, best score so far."""

    def __init__(self, dataset: Dataset, run: Path, config: Config, device: torch.device) -> None:
        self.dataset, self.run, self.config, self.device = dataset, run, config, device
        self.options = config.train
        self.precision = choose_precision(self.options.precision, device)
        self.draws = Draws(self.options.seed)
        self.columns = _known_columns(dataset, config)
        self.items, self.held_out = dataset.part("train"), dataset.part("valid")
        self.lengths = dataset.lengths(self.items)
        names = [dataset.names[c] for c in self.columns]
        # A million values tell a distribution well enough, and all of ten million fill the memory.
        sample = self.items
        if len(sample) > STATISTICS_SAMPLE:
            sample = sample[np.sort(self.draws.permutation("fit", len(sample))[:STATISTICS_SAMPLE])]
        columns = np.asarray(self.columns, dtype=np.int64)
        self.conditions = ConditionSet.fit(
            names, dataset.values[np.ix_(sample, columns)], dataset.kinds
        )
        self.yesno = torch.from_numpy(self.conditions.yesno).to(device)
        # Initial weights come from the seed alone; the global generator is left as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.options.seed)
            self.network = CVAE(config.model, len(dataset.vocabulary), len(names))
        self.network.to(device)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        plain = [p for p in self.network.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": decayed},
            {"params": plain, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            groups,
            lr=self.options.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=self.options.weight_decay,
            foreach=True,
        )
        self.batch_size = batch_size_for(self.options, len(self.items))
        self.total_steps = _budget(self.options, len(self.items), self.batch_size)
        self.step = self.epoch = self.position = self.molecules = 0
        self.validations = self.stale = self.bad_steps = 0
        self.elapsed, self.best = 0.0, math.inf
        self.finished, self.reason = False, ""
        self.final: dict[str, Any] = {}

    # -- the loop ---------------------------------------------------------------------------

    def run_to_end(self) -> TrainSummary:
        """Train until the budget, early stop, or a request to stop; always leaves a checkpoint."""
        parameters = sum(p.numel() for p in self.network.parameters())
        say(
            f"{parameters / 1e6:.1f} M parameters on {self.device}, {self.precision}; "
            f"{len(self.conditions)} conditions, {self.batch_size} molecules per step"
        )
        started = time.monotonic() - self.elapsed
        saved = time.monotonic()
        with (
            stop_requests() as stop,
            Progress("train", total=1.0, done=self._progress()) as progress,
        ):
            while not self.finished and not stop:
                for batch in self._epoch():
                    terms = self._train_step(batch)
                    self.elapsed = time.monotonic() - started
                    progress.advance(
                        len(batch), done=self._progress(), note=f"loss {terms.total.item():.1f}"
                    )
                    self._validate_when_due()
                    if stop or self.finished:
                        break
                    if time.monotonic() - saved > self.options.checkpoint_every:
                        self.save()
                        saved = time.monotonic()
        self.elapsed = time.monotonic() - started
        if not self.finished:
            self.save()
            raise RunError(f"stopped at step {self.step:,}; continue with --resume")
        self._finish()
        return self.summary()

    def _progress(self) -> float:
        """Share of the budget that is spent, by steps or by time, whichever is further."""
        shares = []
        if self.total_steps is not None:
            shares.append(self.step / self.total_steps)
        if self.options.max_time is not None:
            shares.append(self.elapsed / self.options.max_time)
        return min(max(shares), 1.0)

    def _epoch(self) -> Iterator[NDArray[np.int64]]:
        """The batches of this epoch that are still to come."""
        plan = batch_plan(self.items, self.lengths, self.batch_size, self.draws, epoch=self.epoch)
        while self.position < len(plan):
            self.position += 1
            yield plan[self.position - 1]
        self.epoch, self.position = self.epoch + 1, 0

    def _train_step(self, items: NDArray[np.int64]) -> LossTerms:
        batch = drawn_batch(
            self.dataset.batch(items), self.columns, self.conditions, self.config, self.draws,
            epoch=self.epoch, device=self.device,
        )  # fmt: skip
        share = self._progress()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(share, self.options)
        with autocast(self.device, self.precision):
            output = self.network(
                batch.inputs, batch.targets, batch.lengths, batch.t, batch.conditions, batch.mask,
                batch.posterior_noise, batch.channel_noise, batch.dropout,
            )  # fmt: skip
        terms = elbo(
            output, batch.targets, batch.lengths, batch.conditions, batch.known, self.yesno,
            kl_weight=kl_weight(share, self.options), head_weight=self.options.head_weight,
        )  # fmt: skip
        self.optimizer.zero_grad(set_to_none=True)
        terms.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip)
        self._apply(bool(torch.isfinite(norm)))
        self.molecules += len(items)
        return terms

    def _apply(self, finite: bool) -> None:
        """Step unless the gradient is not finite; too many such steps in a row end the run."""
        self.step += 1
        if not finite:
            self.bad_steps += 1
            self._record("skipped step", {"in_a_row": self.bad_steps})
            if self.bad_steps >= MAX_BAD_STEPS:
                raise RunError(
                    f"the loss was not finite in {MAX_BAD_STEPS} steps running (step {self.step}); "
                    "lower train.learning_rate or use --precision fp32"
                )
            return
        self.bad_steps = 0
        self.optimizer.step()
        # The average must not remember the random start for ever.
        decay = min(self.options.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.network.parameters()), 1 - decay
            )

    # -- validation ---------------------------------------------------------------------------

    def _validate_when_due(self) -> None:
        due = math.floor(self._progress() * self.options.validations + 1e-9)
        ended = self._progress() >= 1.0
        if due <= self.validations and not ended:
            return
        self.validations = max(due, self.validations)
        chosen = self.held_out[
            self.draws.permutation("valid", len(self.held_out))[: self.options.valid_molecules]
        ]
        found = figures(
            self.average, self.dataset, self.conditions, self.columns, chosen,
            reconstructions=self.options.reconstructions, draws=self.draws,
            precision=self.precision,
        )  # fmt: skip
        d, r = found["D"], found["R"]
        score = _score(d, r["0"], self.options)
        better = score < self.best
        if not math.isfinite(score):
            raise RunError(f"validation gave {score} at step {self.step}; the run has diverged")
        self.best, self.stale = (score, 0) if better else (self.best, self.stale + 1)
        self._record("validation", {"score": score, "best": better, **found})
        say(
            f"validation {self.validations}/{self.options.validations} after "
            f"{duration(self.elapsed)}: D(0) {d['0']:.2f}  D(1) {d['1']:.2f}  R(0) {r['0']:.1f} "
            f"nats, gap {found['gap']:.1f}, exact {found['exact']['value']:.1%}, "
            f"active {found['active_units']}/{self.config.model.latent_size}"
            f"{' *' if better else ''}"
        )
        if ended:
            self.finished, self.reason = True, "budget spent"
        elif self.stale >= self.options.patience:
            self.finished = True
            self.reason = f"no improvement in {self.stale} validations"
        if better:
            save_model(self.run / "model", self._saved_model(found))
        self.save()

    def _finish(self) -> None:
        """Figures of the best weights on held-out molecules, into the log and the model folder."""
        best = load_model(self.run / "model")
        part = "test" if len(self.dataset.part("test")) else "valid"
        items = self.dataset.part(part)
        order = self.draws.permutation("final", len(items))[:FINAL_MOLECULES]
        self.final = figures(
            best.network.to(self.device), self.dataset, self.conditions, self.columns,
            items[order], reconstructions=FINAL_MOLECULES, draws=self.draws,
            precision=self.precision,
        )  # fmt: skip
        self.final["split"] = part
        self._record("final", {"reason": self.reason, **self.final})
        best.network.to("cpu")
        save_model(self.run / "model", self._saved_model(self.final, best.network))
        self.save()
        exact = self.final["exact"]
        say(
            f"finished: {self.reason}; exact reconstruction {exact['numerator']}/"
            f"{exact['denominator']} = {exact['value']:.1%} of held-out molecules"
        )

    # -- files --------------------------------------------------------------------------------

    def _record(self, kind: str, values: dict[str, Any]) -> None:
        line = {
            "kind": kind, "step": self.step, "epoch": self.epoch, "molecules": self.molecules,
            "seconds": round(self.elapsed, 3),
            "molecules_per_second": round(self.molecules / max(self.elapsed, 1e-9), 1),
            "kl_weight": kl_weight(self._progress(), self.options),
            "learning_rate": learning_rate(self._progress(), self.options), **values,
        }  # fmt: skip
        with open(self.run / "metrics.jsonl", "a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")

    def _saved_model(self, found: dict[str, Any], network: CVAE | None = None) -> SavedModel:
        training = {
            "config": effective(self.config, self.dataset),
            "data": {
                "content_sha256": self.dataset.content_hash,
                "molecules": len(self.items),
                "sources": self.dataset.manifest["sources"],
            },
            "step": self.step,
            "figures": {k: v for k, v in found.items() if k != "seconds"},
            "versions": versions(),
        }
        return SavedModel(
            network=network or self.average,
            vocabulary=self.dataset.vocabulary,
            constraints=self.dataset.constraints,
            conditions=self.conditions,
            training=training,
            card=model_card(training, self.conditions),
            max_tokens=int(self.dataset.manifest["longest"]),
        )

    def save(self) -> None:
        """Write everything a resumed run needs, in one file."""
        save_state(
            self.run / "state.pt",
            {
                "config": json.dumps(self.config.model_dump(mode="json")),
                "dataset": self.dataset.content_hash,
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                **{name: getattr(self, name) for name in _POSITION},
            },
        )

    def load(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`save` was called. Everything random is addressed, not streamed."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name in _POSITION:
            setattr(self, name, state[name])
        cut_metrics(self.run / "metrics.jsonl", self.step, concluded=bool(self.final))

    def conclude(self) -> TrainSummary:
        """A run that was finished before: nothing to do but what a kill may have cut off."""
        if not self.final:
            self._finish()
        say(f"'{self.run}' is finished ({self.reason}); nothing to do")
        return self.summary()

    def summary(self) -> TrainSummary:
        """What the run did so far."""
        return TrainSummary(
            str(self.run), self.finished, self.reason, self.step, self.molecules, self.elapsed,
            self.final,
        )  # fmt: skip


_POSITION = (
    "step", "epoch", "position", "molecules", "validations", "stale", "bad_steps", "elapsed",
    "best", "finished", "reason", "final",
)  # fmt: skip
