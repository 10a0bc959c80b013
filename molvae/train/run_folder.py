"""The run folder: start, refuse, resume; its metrics and its model card."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from molvae.config import Config, differences, validate
from molvae.data.dataset import Dataset
from molvae.errors import ConfigError, FileError, OutputExistsError
from molvae.model.checkpoint import folder_kind, load_state
from molvae.model.conditions import ConditionSet
from molvae.predict.assess import Assessment
from molvae.runtime.device import versions
from molvae.runtime.files import atomic_text, require_absent, write_json
from molvae.runtime.progress import say
from molvae.runtime.workdir import LOCK, is_unfinished

__all__ = [
    "check_run_folder",
    "cut_metrics",
    "dataset_of",
    "effective",
    "model_card",
    "read_log",
    "read_record",
    "start_run_folder",
    "state_to_resume",
    "stop_requests",
]

KIND = "molvae-run"


def check_run_folder(run: Path, *, resume: bool, force: bool) -> None:
    """Refuse to write into a folder that holds something, unless it is a run and asked for."""
    if run.exists() and not run.is_dir():
        raise OutputExistsError(f"'{run}' is a file; choose another name")
    # The folder around it must be there, or be possible to make.
    require_absent(run, force=True, folder=True)
    if resume and force:
        raise ConfigError("--resume and --force: one continues a run, the other starts it over")
    contents = run.iterdir() if run.is_dir() else ()
    if all(path.name == LOCK or is_unfinished(path) for path in contents):
        return
    if not (resume or force):
        raise OutputExistsError(
            f"'{run}' exists already; add --resume to continue it, --force to start it over, "
            "or choose another name"
        )
    if folder_kind(run) != KIND:
        raise OutputExistsError(f"'{run}' exists and is not a run folder; not writing into it")
    if resume and (run / "model").exists() and not (run / "state.pt").exists():
        raise OutputExistsError(
            f"'{run}' has a model but no state.pt to resume from; add --force to start it over, "
            "which replaces the model"
        )


def start_run_folder(run: Path, config: Config, dataset: Dataset) -> None:
    """Start a run: remove an older one, write the effective configuration and the rejects."""
    for name in ("state.pt", "metrics.jsonl"):
        (run / name).unlink(missing_ok=True)
    for name in ("model", ".model.old", "tensorboard"):
        shutil.rmtree(run / name, ignore_errors=True)
    record = {
        "kind": KIND,
        "schema": 1,
        "config": effective(config, dataset),
        "dataset": {
            "folder": str(dataset.folder.resolve()),
            "content_sha256": dataset.content_hash,
            "sources": dataset.manifest["sources"],
        },
        "versions": versions(),
    }
    # First: it marks the folder as a run's, which may then be resumed whatever is missing.
    write_json(run / "config.json", record)
    rejects = dataset.folder / "rejects.csv"
    if rejects.is_file() and not rejects.is_symlink():  # a dataset may be from a stranger
        with suppress(FileNotFoundError):  # the cache was cleared meanwhile
            shutil.copyfile(rejects, run / "rejects.csv")


def dataset_of(run: str | Path) -> Dataset | None:
    """The dataset that a run was trained on; None if it is gone, changed, or this is no run."""
    try:
        record = json.loads((Path(run) / "config.json").read_text(encoding="utf-8"))
        stored = record["dataset"]
        dataset = Dataset(stored["folder"])
        return dataset if dataset.content_hash == stored["content_sha256"] else None
    except (OSError, ValueError, KeyError, TypeError, FileError):
        return None


def effective(config: Config, dataset: Dataset) -> dict[str, Any]:
    """The configuration as plain data, its data section as the dataset was really made."""
    made = {**dataset.manifest["options"]}
    if config.data.conditions is not None:
        made["conditions"] = list(config.data.conditions)
    return {**config.model_dump(mode="json"), "data": made}


def state_to_resume(run: Path, config: Config, dataset: Dataset) -> dict[str, Any] | None:
    """The state to continue from, None if there is none; changed options or data are an error."""
    if not (run / "state.pt").is_file():
        say(f"nothing to resume in '{run}'; starting from scratch")
        return None
    state = load_state(run / "state.pt")
    try:
        config_before, trained_on = json.loads(state["config"]), state["dataset"]
        if config_before["train"].get("word_dropout") == 0.0:  # a setting that was removed
            del config_before["train"]["word_dropout"]
        if "replay" not in config_before["train"]:  # before there was replay
            settings = config.train.model_copy(update={"replay": 0.0})
            config = config.model_copy(update={"train": settings})
        before = validate(config_before)
    except (AttributeError, KeyError, TypeError, ValueError, ConfigError):
        raise FileError(f"'{run}/state.pt': not a training state of this molvae") from None
    if before.start is not None and config.start not in (None, before.start):
        raise ConfigError(
            "resume: the model given with --from is not, or no longer, the one this run started "
            "from; give that one, or start over with --force"
        )
    changed = differences(before.model_dump(), config.model_dump())
    if changed:
        raise ConfigError(
            f"resume: options differ from the interrupted run: {'; '.join(changed)}; "
            "use the same command, or another run folder"
        )
    if trained_on != dataset.content_hash:
        raise ConfigError("resume: the data differ from those of the interrupted run")
    return state


def cut_metrics(path: Path, step: int, *, concluded: bool) -> None:
    """Drop lines written after the checkpoint: the resumed run writes them again.

    ``concluded``: whether the checkpoint has the final figures already.
    """
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [
        line
        for line in lines
        if (record := read_record(line))
        and record["step"] <= step
        and (concluded or record["kind"] != "final")
    ]
    with atomic_text(path) as text:
        text.writelines(line + "\n" for line in kept)


def read_record(line: str) -> dict[str, Any] | None:
    """One line of metrics.jsonl, None if a kill cut it off."""
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return record


def read_log(run: str | Path) -> list[dict[str, Any]]:
    """The records of a run's metrics.jsonl, which may be in progress; none without one."""
    try:
        lines = (Path(run) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [record for line in lines if isinstance(record := read_record(line), dict)]


def model_card(training: dict[str, Any], conditions: ConditionSet) -> str:
    """The model card: what the model is, what it was trained on, how good it is."""
    data, metrics = training["data"], training["figures"]
    sources = ", ".join(source["file"] for source in data["sources"])
    lines = [
        "# Model card",
        "",
        "A molvae model: recurrent conditional variational autoencoder on SELFIES.",
        "",
        f"- {data['molecules']:,} molecules from {sources}; {training['step']:,} steps.",
        f"- Exact reconstruction of held-out molecules: {metrics['exact']['numerator']} of "
        f"{metrics['exact']['denominator']} ({metrics['exact']['value']:.1%}).",
        f"- In nats per molecule: D(0) {metrics['D']['0']:.2f}, D(1) {metrics['D']['1']:.2f}, "
        f"R(0) {metrics['R']['0']:.2f}; {metrics['active_units']} active latent units.",
        "",
        "| condition | unit | seen from | to | known | head error |",
        "|---|---|---|---|---|---|",
    ]
    for condition in conditions.conditions:
        low, high = condition.seen
        error = metrics["head"].get(condition.name, {})
        shown = ", ".join(f"{k} {v:.3g}" for k, v in error.items() if k != "n")
        lines.append(
            f"| {condition.name} | {condition.unit} | {low:g} | {high:g} | {condition.known:,} "
            f"| {shown} |"
        )
    columns = metrics.get("columns") or {}
    shown_columns = [f"- {Assessment.from_json(one).line(name)}" for name, one in columns.items()]
    lines += ["", "Measured columns:", "", *shown_columns] if shown_columns else []
    lines += [
        "",
        "Every output is a valid molecule; none was checked for synthesis, stability or safety.",
    ]
    return "\n".join(lines) + "\n"


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """A list that gets an entry when Ctrl-C or SIGTERM asks to stop; the training loop reads it."""
    requests: list[int] = []

    def remember(number: int, frame: object) -> None:
        # The second Ctrl-C does not wait. A second SIGTERM comes from launchers, which signal
        # their children although the system has done so already.
        if requests and number == signal.SIGINT:
            raise KeyboardInterrupt
        requests.append(number)

    previous = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, remember)
    except ValueError:
        pass  # not in the main thread: the caller handles signals
    try:
        yield requests
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
