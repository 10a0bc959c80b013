"""The one training loop: schedule, validation, early stop, checkpoints, exact resume."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from molvae.config import Config
from molvae.data.dataset import Dataset, check_shares
from molvae.errors import RunError
from molvae.evaluate.diagnostics import figures
from molvae.model.checkpoint import SavedModel, load_model, save_model, save_state
from molvae.model.cvae import CVAE
from molvae.model.loss import Counts, LossTerms, LossWeights, elbo
from molvae.realism.summary import realism_lines
from molvae.runtime.device import autocast, choose_precision, versions
from molvae.runtime.progress import Progress, duration, say
from molvae.runtime.randomness import Draws
from molvae.runtime.threads import choose_threads
from molvae.train.batches import drawn_batch, noise_levels
from molvae.train.conditions import fitted_conditions, known_columns
from molvae.train.distributed import World
from molvae.train.finetune import first_network, known_tokens, note_rare_tokens
from molvae.train.finetune_heads import fit_new_heads
from molvae.train.log import BUDGET_SPENT, Averages, RunLog, TrainSummary, validation_line
from molvae.train.measured import MeasuredColumns
from molvae.train.optimizer import make_optimizer
from molvae.train.realism import lacks_realism, with_realism
from molvae.train.replay import Replay
from molvae.train.run_folder import cut_metrics, effective, model_card, stop_requests
from molvae.train.schedules import KLWeight, batch_size_for, learning_rate, score, total_steps
from molvae.train.state import restore, state_of
from molvae.train.validations import Validations

__all__ = ["Trainer"]

FINAL_MOLECULES = 2000
MAX_BAD_STEPS = 20


class Trainer:
    """One training run: weights, moving average, optimizer, position, best score so far.

    A step draws a noise level t for each molecule, encodes those with t < 1, and minimizes

        −log p(x | z_t, t, c) + β · KL(q(z | x) ‖ N(0, I)) + w · (loss of head and forecast)

    in nats per molecule (see `model.cvae.CVAE` and `model.loss`). β and the learning rate follow
    the share of the budget that is spent (`train.schedules`). An exponential moving average of the
    weights is what is validated, saved and sampled. A batch is a pure function of seed, epoch and
    position, so that a resumed run takes the same steps as one that was never stopped.
    """

    def __init__(
        self,
        dataset: Dataset,
        run: Path,
        config: Config,
        device: torch.device,
        world: World | None = None,
        start: SavedModel | None = None,
        workers: int | None = None,
    ) -> None:
        """``workers`` processes for RDKit at the end of the training; None takes all CPUs."""
        self.dataset, self.run, self.config, self.device = dataset, run, config, device
        self.world, self.start, self.workers = world or World(), start, workers
        self.options = config.train
        self.precision = choose_precision(self.options.precision, device)
        self.draws = Draws(self.options.seed)
        self.columns = known_columns(dataset, config)
        self.items, self.held_out = dataset.part("train"), dataset.part("valid")
        self.replay = Replay(dataset, self.options)
        self.conditions = fitted_conditions(dataset, self.columns, self.items, self.draws, start)
        counts = None if start is None else dataset.token_counts("train")
        self.token_counts = known_tokens(dataset, start)
        self.network = first_network(
            config, dataset.vocabulary, dataset.constraints, self.conditions, start, counts
        ).to(device)
        # Conditions that the weights know already; None where they are random.
        self._known = None if start is None else start.conditions.names
        self.measured = MeasuredColumns(dataset, self.columns, self.conditions, self.draws, workers)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = make_optimizer(self.network, self.options, self.precision, self.world)
        self.batch_size = batch_size_for(self.options, len(self.items))
        check_shares(len(self.items), self.batch_size, self.world.size)
        self.total_steps = total_steps(self.options, len(self.items), self.batch_size)
        self.kl_weight = KLWeight(self.options)
        self._threads_before = self.threads = torch.get_num_threads()
        self.log, self.averages = RunLog(run), Averages()
        self.validations = Validations(
            self.options, timed=self.total_steps is None, molecules=len(self.held_out)
        )
        self.step = self.epoch = self.position = self.molecules = self.bad_steps = 0
        self.elapsed = self.prepared = 0.0  # seconds; prepared: of elapsed, before the first step
        self._ready, self.finished, self.reason = False, False, ""
        self.final: dict[str, Any] = {}

    @cached_property
    def shared(self) -> torch.nn.Module:
        """The network as all processes train it; made when all of them have reached this point."""
        return self.world.share(self.network, self.device)

    def close(self) -> None:
        """Close the log, leave the other processes and restore the number of threads."""
        self.log.close()
        torch.set_num_threads(self._threads_before)
        self.__dict__.pop("shared", None)

    # -- the loop ---------------------------------------------------------------------------

    def run_to_end(self) -> TrainSummary:
        """Train until the budget, early stop, or a request to stop; always leaves a checkpoint."""
        parameters = sum(p.numel() for p in self.network.parameters())
        processes = f", {self.world.size} processes" if self.world.size > 1 else ""
        say(
            f"{parameters / 1e6:.1f} M parameters on {self.device}, {self.precision}{processes}; "
            f"{len(self.conditions)} conditions, {self.batch_size} molecules per step"
        )
        if not self._ready:
            self._prepare()
        started = time.monotonic() - self.elapsed
        saved, stopped = time.monotonic(), False
        with (
            stop_requests() as stop,
            Progress("train", total=1.0, done=self._progress()) as progress,
        ):
            while not self.finished and not stopped:
                for items in self._epoch():
                    terms = self.train_step(items)
                    # Processes must agree on the time spent, and stop together.
                    now = time.monotonic() - started
                    asked, self.elapsed = self.world.largest([float(bool(stop)), now])
                    stopped = asked > 0
                    note, count = f"loss {terms['loss']:.1f}", self.replay.real(items)
                    progress.advance(count, done=self._progress(), note=note)
                    self._record_when_due()
                    self._validate_when_due()
                    if stopped or self.finished:
                        break
                    if time.monotonic() - saved > self.options.checkpoint_every:
                        self.save()
                        saved = time.monotonic()
            if not self.finished:
                # While a second signal is still caught, and before any process ends, since a
                # launcher then ends the others.
                self.world.on_first(self.save)
        if not self.finished:
            self.world.raise_once(
                RunError(f"stopped at step {self.step:,}; continue with --resume")
            )
        self._finish()
        return self.summary()

    def _prepare(self) -> None:
        """What comes before the first step of a new run; its time is part of the budget."""
        began = time.monotonic()
        self._choose_threads()
        if self._known is not None:
            fit_new_heads(
                self.network, self.conditions, self._known, self.dataset, self.columns, self.draws
            )
            self.average.load_state_dict(self.network.state_dict())
        self.world.on_first(self.measured.fit)
        samples = self.world.on_first(
            self.replay.draw, self.start, self.columns, self.device.type, self.workers
        )
        self.replay.restore(samples)
        (self.prepared,) = self.world.largest([time.monotonic() - began])
        self.elapsed, self._ready = self.prepared, True
        # Before the first model: a run with a model but no state could not be resumed.
        self.world.on_first(self.save)

    def _progress(self) -> float:
        """Share of the budget that is spent, by steps or by time, whichever is greater.

        The schedules begin with the first step, so the time before it is no part of the share.
        """
        shares = []
        if self.total_steps is not None:
            shares.append(self.step / self.total_steps)
        if self.options.max_time is not None:
            left = self.options.max_time - self.prepared
            shares.append((self.elapsed - self.prepared) / left if left > 0 else 1.0)
        return min(max(shares), 1.0)

    def _epoch(self) -> Iterator[NDArray[np.int64]]:
        """The batches of this epoch that are still to come, of all processes together."""
        plan = self.replay.plan(self.batch_size, self.draws, epoch=self.epoch)
        while self.position < len(plan):
            self.position += 1
            yield plan[self.position - 1]
        self.epoch, self.position = self.epoch + 1, 0

    def train_step(self, items: NDArray[np.int64]) -> dict[str, float]:
        """One step on these molecules, of which each process takes its share."""
        share = self._progress()
        rate = learning_rate(share, self.options)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        terms, levels = self.loss(items, self.kl_weight.at(share))
        self.optimizer.zero_grad(set_to_none=True)
        # Gradients are averaged over processes, whose terms add up to the mean.
        (terms.total * self.world.size).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip)
        # All numbers at once: each read from a GPU waits for it.
        *values, length = torch.stack([*terms[:-1], norm]).tolist()
        self._apply(math.isfinite(length))
        self.molecules += self.replay.real(items)
        self._hold_distortion(share, terms, levels)
        names = ("loss", "reconstruction", "KL", "head", "forecast")
        losses = {k: v * self.world.size for k, v in zip(names, values, strict=True)}
        self.averages.add({**losses, "gradient_norm": length})
        return losses

    def loss(self, items: NDArray[np.int64], kl_weight: float) -> tuple[LossTerms, torch.Tensor]:
        """Terms of this process's share of a step's molecules, and their noise levels."""
        levels = noise_levels(items, self.options, self.draws, epoch=self.epoch)
        share = slice(self.world.rank, None, self.world.size)
        batch = drawn_batch(
            self.replay.batch(items[share]),
            levels[share],
            self.columns,
            self.conditions,
            self.config,
            self.draws,
            epoch=self.epoch,
            device=self.device,
            features=self.network.features,
        )
        with autocast(self.device, self.precision):
            output = self.shared(batch)
        options = self.options
        weights = LossWeights(
            kl_weight, options.head_weight, options.forecast_weight, options.kl_free
        )
        # The means are over the whole step, of which this process knows its share only.
        counts = Counts(molecules=len(items), encoded=int((levels < 1).sum()))
        return elbo(output, batch, weights, counts), batch.t

    def _hold_distortion(self, share: float, terms: LossTerms, levels: torch.Tensor) -> None:
        if self.options.distortion_target is None:
            return
        exact = levels == 0
        sums = torch.stack([terms.nats.masked_fill(~exact, 0.0).sum(), exact.sum()]).tolist()
        nats, count = self.world.total(sums)
        self.kl_weight.observe(share, nats, count)

    def _apply(self, finite: bool) -> None:
        """Step unless the gradient is not finite; too many such steps in a row end the run."""
        self.step += 1
        if not finite:
            self.bad_steps += 1
            self._record("skipped step", {"in_a_row": self.bad_steps})
            if self.bad_steps >= MAX_BAD_STEPS:
                self.world.raise_once(
                    RunError(
                        f"the loss was not finite in {MAX_BAD_STEPS} steps running (step "
                        f"{self.step}); lower train.learning_rate or use --precision fp32"
                    )
                )
            return
        self.bad_steps = 0
        self.optimizer.step()
        # A shorter average at first, to forget the random start.
        decay = min(self.options.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.network.parameters()), 1 - decay
            )

    # -- validation ---------------------------------------------------------------------------

    def _record_when_due(self) -> None:
        """Record means of the training loss, ten times per validation."""
        if self.validations.records_due(self._progress()):
            self._record("train", self.averages.take())

    def _validate_when_due(self) -> None:
        share = self._progress()
        if not self.validations.due(share, elapsed=self.elapsed, trained=self.molecules):
            return
        began = time.monotonic()
        order = self.draws.permutation("valid", len(self.held_out))
        chosen = self.held_out[order[: self.options.valid_molecules]]
        metrics = self._figures(self.average, chosen, self.options.reconstructions)
        reached = score(metrics["D"], metrics["R"]["0"], self.options)
        if not math.isfinite(reached):
            self.world.raise_once(
                RunError(f"validation gave {reached} at step {self.step}; the run has diverged")
            )
        better = self.validations.judge(reached)
        self._record("validation", {"score": reached, "best": better, **metrics})
        say(
            f"validation {self.validations.number}/{self.options.validations} after "
            f"{duration(self.elapsed)}: {validation_line(metrics, self.config.model.latent_size)}"
            f"{' *' if better else ''}"
        )
        if share >= 1.0:
            self.finished, self.reason = True, BUDGET_SPENT
        elif self.validations.patience_lost:
            self.finished = True
            self.reason = f"no improvement in {self.validations.stale} validations"
        if better and self.world.is_first:
            save_model(self.run / "model", self._saved_model(metrics))
        self.save()
        (seconds,) = self.world.largest([time.monotonic() - began])
        self.validations.took(seconds)

    def _figures(
        self, network: CVAE, items: NDArray[np.int64], reconstructions: int
    ) -> dict[str, Any]:
        """Figures on these molecules, computed by the first process, for all of them."""
        values: dict[str, Any] = self.world.on_first(
            figures,
            network,
            self.dataset,
            self.conditions,
            self.columns,
            items,
            reconstructions=reconstructions,
            draws=self.draws,
            precision=self.precision,
        )
        values |= self.world.on_first(self.replay.figures, network, self.device, self.precision)
        return values

    def _finish(self) -> None:
        """Figures of the best weights on held-out molecules, into the log and the model folder."""
        part = "test" if len(self.dataset.part("test")) else "valid"
        items = self.dataset.part(part)
        order = self.draws.permutation("final", len(items))[:FINAL_MOLECULES]
        # The others compute nothing here, so their weights do not matter.
        best = load_model(self.run / "model").network if self.world.is_first else self.average
        self.final = self._figures(best.to(self.device), items[order], FINAL_MOLECULES)
        self.final["split"] = part
        columns = self.world.on_first(self.measured.assess, best, part)
        if columns:
            self.final["columns"] = {name: one.to_json() for name, one in columns.items()}
        realism = self.world.on_first(self._complete, self._saved_model(self.final, best))
        self._record("final", {"reason": self.reason, **self.final, "realism": realism})
        self.save()
        exact = self.final["exact"]
        say(
            f"finished: {self.reason}; exact reconstruction {exact['numerator']}/"
            f"{exact['denominator']} = {exact['value']:.1%} of held-out molecules"
        )
        for name, assessment in columns.items():
            say(assessment.line(name))

    def _complete(self, saved: SavedModel) -> dict[str, Any]:
        """Save the final model with its critic and table, and describe them; first process only."""
        where = self.device.type
        saved = with_realism(
            saved, self.dataset, self.options, self.start, self.molecules, where, self.workers
        )
        saved.network.to("cpu")
        save_model(self.run / "model", saved)
        note_rare_tokens(saved, self.start)
        return realism_lines(saved.critic, saved.plausibility)[0]

    # -- files --------------------------------------------------------------------------------

    def _record(self, kind: str, values: dict[str, Any]) -> None:
        if not self.world.is_first:
            return
        share = self._progress()
        position = {
            "epoch": self.epoch,
            "molecules": self.molecules,
            "seconds": round(self.elapsed, 3),
            "molecules_per_second": round(self.molecules / max(self.elapsed, 1e-9), 1),
            "kl_weight": self.kl_weight.at(share),
            "learning_rate": learning_rate(share, self.options),
        }
        self.log.record(kind, self.step, {**position, **values})

    def _saved_model(self, metrics: dict[str, Any], network: CVAE | None = None) -> SavedModel:
        training = {
            "config": effective(self.config, self.dataset),
            "data": {
                "content_sha256": self.dataset.content_hash,
                "molecules": len(self.items),
                "sources": self.dataset.manifest["sources"],
            },
            "step": self.step,
            "figures": {k: v for k, v in metrics.items() if k != "seconds"},
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
            predictors=self.measured.predictors,
            token_counts=self.token_counts,
        )

    def save(self) -> None:
        """Write everything a resumed run needs, in one file."""
        if self.world.is_first:
            save_state(self.run / "state.pt", state_of(self))

    def load(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`save` was called. Everything random is addressed, not streamed."""
        restore(self, state)
        self._ready = True
        self._choose_threads(before=state.get("threads"))
        self.world.on_first(self.measured.restore, self.run / "model")
        self.log.purge = self.step + 1
        if self.world.is_first:
            cut_metrics(self.run / "metrics.jsonl", self.step, concluded=bool(self.final))

    def _choose_threads(self, before: int | None = None) -> None:
        width = self.config.model.decoder_size
        self.threads = choose_threads(self.device, self.batch_size, width, before=before)

    def conclude(self) -> TrainSummary:
        """Summary of a run that finished before; completes what a kill may have cut off."""
        if not self.final or (self.measured.own and "columns" not in self.final):
            self._finish()
        elif self.world.is_first and self.options.critic_samples:
            saved = load_model(self.run / "model")
            if lacks_realism(saved, len(self.items)):
                self._complete(saved)
        say(f"'{self.run}' is finished ({self.reason}); nothing to do")
        return self.summary()

    def summary(self) -> TrainSummary:
        """What the run did so far."""
        return TrainSummary(
            run=str(self.run),
            finished=self.finished,
            reason=self.reason,
            steps=self.step,
            molecules=self.molecules,
            seconds=self.elapsed,
            figures=self.final,
        )
