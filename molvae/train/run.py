"""``molvae train``: one training, from files or a dataset to a run folder.

Run folder: ``config.json`` (effective configuration and provenance), ``metrics.jsonl``, ``model/``
(the best weights so far, ready for ``molvae generate``), ``state.pt`` (all a resumed run needs),
``rejects.csv``, and ``tensorboard/`` where TensorBoard is installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from molvae.chem.selfies import use_constraints
from molvae.config import Config, DataConfig, differences
from molvae.data.dataset import Dataset
from molvae.data.prepare import cached_dataset, summary_lines
from molvae.errors import ConfigError, FileError, RunError
from molvae.model.checkpoint import SavedModel, find_model, load_model
from molvae.runtime.device import keep_memory
from molvae.runtime.files import fingerprint
from molvae.runtime.progress import say
from molvae.runtime.workdir import LOCK, clear_unfinished, exclusive_lock, restore_folder
from molvae.train.distributed import joined
from molvae.train.finetune import adapted_config, adapted_dataset
from molvae.train.log import TrainSummary, more_time_note
from molvae.train.run_folder import check_run_folder, start_run_folder, state_to_resume
from molvae.train.trainer import Trainer

__all__ = ["train"]


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
    start: str | Path | None = None,
) -> TrainSummary:
    """Train a model on molecule files or on one dataset folder; see the module for what it writes.

    With ``resume`` an interrupted run of the same command continues; on a finished run nothing is
    done, and with nothing to resume it starts from scratch. Changed options are an error.
    ``start`` is a model, run folder or shipped name to continue from: its weights, sizes and
    tokens, on the conditions of the data, which may be others. Under ``torchrun`` all processes
    train one model together; the first one prepares, validates and writes.

    Raises:
        ConfigError: options, dataset and model do not fit each other.
        FileError: an input cannot be read, or the run folder is in use.
        OutputExistsError: the run folder exists and may not be written to.
        RunError: training was stopped, or its loss stayed infinite.
    """
    run = Path(run)
    with _stoppable(run), joined(device) as (world, where), ExitStack() as stack:
        model, config = world.everywhere(_start, start, run, config)
        opened: list[Dataset] = []  # by the first process; the others open it by its folder

        def prepared() -> str:
            check_run_folder(run, resume=resume, force=force)
            opened.append(_open_dataset(inputs, config, workers, scheduler, model))
            for line in summary_lines(opened[0]):
                say(line)
            return str(opened[0].folder.resolve())

        folder = world.on_first(prepared)
        dataset = world.everywhere(_adapted, opened[0] if opened else folder, config, model)
        world.on_first(_hold, run, stack)
        stack.enter_context(use_constraints(dataset.constraints))
        # Before an older run is replaced: whatever is wrong with the request is reported here.
        state = world.on_first(state_to_resume, run, config, dataset) if resume else None
        keep_memory()
        trainer = world.everywhere(Trainer, dataset, run, config, where, world, model, workers)
        stack.callback(trainer.close)
        if state is None:
            world.on_first(start_run_folder, run, config, dataset)
            return _noted(trainer.run_to_end(), trainer)
        world.on_first(restore_folder, run / "model")
        world.everywhere(trainer.load, state)
        if trainer.finished:
            return trainer.conclude()
        say(f"resuming at step {trainer.step:,}")
        return _noted(trainer.run_to_end(), trainer)


def _noted(summary: TrainSummary, trainer: Trainer) -> TrainSummary:
    if note := more_time_note(summary, len(trainer.items), trainer.prepared):
        say(f"note: {note}")
    return summary


@contextmanager
def _stoppable(run: Path) -> Iterator[None]:
    """Report what is left of a training that is stopped where it cannot finish its step."""
    try:
        yield
    except KeyboardInterrupt:
        kept = (run / "state.pt").exists()
        raise RunError(
            f"stopped; '{run}' keeps the last checkpoint: continue with --resume"
            if kept
            else "stopped before the first checkpoint; start it again"
        ) from None


def _start(start: str | Path | None, run: Path, config: Config) -> tuple[SavedModel | None, Config]:
    """The model to continue from, if any, and the configuration that fits it."""
    if start is None:
        if config.start is not None:
            raise ConfigError("start: says which model a run started from; give it with --from")
        if config.train.replay:
            raise ConfigError(
                f"train.replay: got {config.train.replay:g}, expected 0 without --from, as there "
                "is no model to draw samples of"
            )
        return None, config
    place = find_model(start)
    if place.resolve().is_relative_to(run.resolve()):
        raise ConfigError(f"'{start}': the model to start from lies in the run folder to write")
    identity, model = fingerprint(place / "config.json")["sha256"], load_model(start)
    if fingerprint(place / "config.json")["sha256"] != identity:
        raise ConfigError(f"'{start}': this model is being written; wait for its training to end")
    return model, adapted_config(config, model, str(identity))


def _adapted(dataset: Dataset | str, config: Config, model: SavedModel | None) -> Dataset:
    """The dataset, opened if only its folder is given, in the token ids of the model, if any."""
    if isinstance(dataset, str):
        dataset = Dataset(dataset)
    if model is not None:
        adapted_dataset(dataset, model, learn=config.data.unknown_tokens == "learn")
    return dataset


def _hold(run: Path, stack: ExitStack) -> None:
    """Make the run folder and lock it until the stack is left."""
    run.mkdir(parents=True, exist_ok=True)
    busy = f"'{run}': another training is writing into this folder"
    stack.callback(exclusive_lock(run / LOCK, busy).release)
    clear_unfinished(run, ("config.json", "metrics.jsonl", "model", "state.pt"))


def _open_dataset(
    inputs: Sequence[str | Path],
    config: Config,
    workers: int | None,
    scheduler: str | None,
    model: SavedModel | None,
) -> Dataset:
    folders = [path for path in inputs if Path(path).is_dir()]
    if not folders:
        learn = config.data.unknown_tokens == "learn"
        data = config.data.model_copy(update={"unknown_tokens": "error"}) if learn else config.data
        return cached_dataset(
            inputs,
            data,
            workers=workers,
            scheduler=scheduler,
            vocabulary=None if model is None or learn else model.vocabulary,
            constraints=None if model is None else model.constraints,
        )
    if len(inputs) != 1:
        raise FileError("train: give molecule files, or one dataset folder, not both")
    dataset = Dataset(folders[0])
    asked = config.data.model_dump(mode="json", exclude={"conditions", "unknown_tokens"})
    # -p NAME is a column of the dataset, whatever its name was in the files.
    columns = dataset.manifest["options"]["properties"]
    asked["properties"] = {
        name: columns.get(name, column) if column == name else column
        for name, column in asked["properties"].items()
    }
    plain = DataConfig().model_dump(mode="json")
    given = {change.split(" was ")[0] for change in differences(plain, asked, dropped=False)}
    changed = differences({**plain, **dataset.manifest["options"]}, asked, "data.", dropped=False)
    ignored = [c for c in changed if c.split(" was ")[0].removeprefix("data.") in given]
    if ignored:
        raise ConfigError(
            f"'{dataset.folder}' is prepared already, so these options would be ignored: "
            + "; ".join(ignored)
            + "; give them to molvae prepare"
        )
    return dataset
