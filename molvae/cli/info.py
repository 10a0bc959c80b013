"""``molvae info``: what a model, run or dataset folder holds, or the cache."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from molvae.cli.options import PATH, Verb, show
from molvae.errors import ConfigError

if TYPE_CHECKING:
    from molvae.model.checkpoint import SavedModel

__all__ = ["describe", "describe_cache", "describe_shipped"]


@click.command(cls=Verb)
@click.argument("what", type=PATH, required=False)
@click.option("--cache", is_flag=True, help="List the datasets and downloads in the cache.")
@click.option("--clear", is_flag=True, help="With --cache: delete everything in it.")
@click.option(
    "--verify", is_flag=True, help="Compare a dataset of any size with its stored checksum."
)
def info(what: Path | None, cache: bool, clear: bool, verify: bool, as_json: bool) -> None:
    """Show what a model, run, dataset or shard folder holds: sizes, conditions, figures.

    Without an argument, list the shipped models.

    Example: molvae info runs/mine
    """
    if (what is not None and cache) or (clear and not cache):
        raise ConfigError("info: give a folder or model, or --cache, or --cache --clear")
    if cache:
        data, lines = describe_cache(clear=clear)
    elif what is None:
        data, lines = describe_shipped()
    else:
        data, lines = describe(what, verify=verify)
    show(as_json, data, lines)


def describe(what: str | Path, *, verify: bool = False) -> tuple[dict[str, Any], list[str]]:
    """(plain data, lines of text) about a dataset, run or model folder, or a model name.

    ``verify`` compares the contents of a dataset with its checksum; models always are.
    """
    from molvae.data.dataset import Dataset
    from molvae.data.prepare import summary_lines
    from molvae.data.prepare.plan import read_shard
    from molvae.model.checkpoint import find_model, load_model
    from molvae.model.info import model_info
    from molvae.realism.summary import realism_lines

    path = Path(what)
    if (path / "manifest.json").is_file():
        dataset = Dataset(path, verify=verify)
        return dataset.manifest, [f"dataset {path}", *summary_lines(dataset)]
    if (path / "shard.json").is_file():
        plan, shard, chunks = read_shard(path)
        data = {**plan.to_json(), "shard": [shard.index, shard.count], "chunks": chunks}
        return data, [f"shard {shard.index} of {shard.count} of {chunks:,} chunks"]
    folder = find_model(what)
    model = load_model(folder)
    data = {"folder": str(folder), **model_info(model)}
    realism = realism_lines(model.critic, model.plausibility)[1]
    lines = [f"model {folder}", *_model_lines(model, data["parameters"]), "", *realism]
    log = path / "metrics.jsonl"
    if log.is_file() and (last := _last_record(log)) is not None:
        data["run"] = {key: last[key] for key in ("kind", "step", "molecules", "seconds")}
        lines += _run_lines(last)
    return data, lines


def describe_shipped() -> tuple[dict[str, Any], list[str]]:
    """(plain data, lines of text) about the shipped models."""
    from molvae.model.checkpoint import find_model, load_model, shipped_models

    default = find_model(None).name
    models: list[dict[str, Any]] = []
    lines = [f"{'model':<12}{'parameters':>11}{'tokens':>8}{'exact':>8}  trained on"]
    for name in sorted(shipped_models(), key=lambda name: (name != default, name)):
        model = load_model(name)
        count = sum(p.numel() for p in model.network.parameters())
        exact = model.training["figures"]["exact"]["value"]
        molecules = model.training["data"]["molecules"]
        models.append(
            {
                "name": name,
                "default": name == default,
                "parameters": count,
                "tokens": len(model.vocabulary),
                "exact": exact,
                "molecules": molecules,
            }
        )
        lines.append(
            f"{name:<12}{count / 1e6:>9.2f} M{len(model.vocabulary):>8}{exact:>8.1%}"
            f"  {molecules:,} molecules"
        )
    lines += [
        "",
        f"The default model is '{default}'. More about a model, a run or a dataset:",
        "molvae info NAME, or molvae info FOLDER.",
    ]
    return {"models": models}, lines


def describe_cache(*, clear: bool = False) -> tuple[dict[str, Any], list[str]]:
    """(plain data, lines of text) about the cache folder; ``clear`` empties it."""
    from molvae.runtime import cache

    folder, entries = cache.cache_folder(), cache.entries()
    plain = [{**asdict(entry), "path": str(entry.path)} for entry in entries]
    data: dict[str, Any] = {"folder": str(folder), "entries": plain}
    size = sum(entry.size for entry in entries)
    lines = [f"cache {folder}: {len(entries)} entries, {size / 1e6:.1f} MB"]
    lines += [f"{e.kind:<11}{e.size / 1e6:>9.1f} MB  {e.name}  {e.about}" for e in entries]
    if clear:
        data["freed"] = cache.clear()
        lines = [f"cache {folder}: {data['freed'] / 1e6:.1f} MB freed"]
    return data, lines


def _model_lines(model: SavedModel, parameters: int) -> list[str]:
    from molvae.model.conditions import head_error

    sizes = model.network.config
    lines = [
        f"{parameters / 1e6:.2f} M parameters; latent {sizes.latent_size}, decoder GRU "
        f"{sizes.decoder_size} × {sizes.decoder_layers}; {len(model.vocabulary)} tokens, "
        f"up to {model.max_tokens} per molecule",
        "",
        f"{'condition':<12}{'unit':<9}{'seen from':>10}{'to':>10}{'known':>12}  head error",
    ]
    figures = model.training.get("figures") or {}
    for condition in model.conditions.conditions:
        low, high = condition.seen
        unit = "yes/no" if condition.kind == "yesno" else condition.unit
        lines.append(
            f"{condition.name:<12}{unit:<9}{low:>10.4g}{high:>10.4g}{condition.known:>12,}  "
            f"{head_error(figures, condition.name)}"
        )
    columns = _column_lines(model)
    lines += ["", *columns] if columns else []
    if about := model.training.get("optimized"):
        what = f"{about['calls']:,} calls of {', '.join(about['objective'])}"
        lines += ["", f"tuned by a search of {what}; the score is '{about['condition']}'"]
    if all(figures.get(name) for name in ("exact", "R", "D")):
        exact = figures["exact"]
        lines += [
            "",
            f"exact reconstruction {exact['numerator']}/{exact['denominator']} "
            f"({exact['value']:.1%}), active units {figures.get('active_units')}",
            "noise level t " + "".join(f"{t:>9}" for t in figures["R"]),
            "R(t), nats    " + "".join(f"{v:>9.2f}" for v in figures["R"].values()),
            "D(t), nats    " + "".join(f"{v:>9.2f}" for v in figures["D"].values()),
        ]
    return lines


def _column_lines(model: SavedModel) -> list[str]:
    """Lines of text about the predictors of measured columns."""
    from molvae.predict.assess import Assessment

    lines: list[str] = []
    stored = (model.training.get("figures") or {}).get("columns") or {}
    for name, predictor in (model.predictors or {}).items():
        if name in stored:
            lines.append(Assessment.from_json(stored[name]).line(name))
        lines.append(
            f"{name}, predictor: fitted to {len(predictor.values):,} molecules; its domain are "
            f"molecules with a similarity of {predictor.threshold:.2f} or more to one of them"
        )
    return lines


def _last_record(log: Path) -> dict[str, Any] | None:
    from molvae.train.run_folder import read_record

    records = [read_record(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return next((record for record in reversed(records) if record), None)


def _run_lines(last: dict[str, Any]) -> list[str]:
    state = "finished" if last["kind"] == "final" else "not finished"
    return [
        "",
        f"run {state}: {last['step']:,} steps, {last['molecules']:,} molecules in "
        f"{last['seconds']:.0f} s ({last['molecules_per_second']:.0f}/s)",
    ]
