"""Quality of a model during training (``curve``) and at many noise levels (``dial``).

``curve`` trains, keeps a copy of each best model so far, and then evaluates the copies on held-out
molecules. ``dial`` evaluates one model at many noise levels. Results are saved as they come: the
same command continues an interrupted run.

The FCD compares molecules sampled as by ``molvae generate`` without targets, but with repeats, with
a random sample of a reference file. So radicals are refused, among neighbors of held-out molecules
too. Its interval accounts for the generated molecules only. All other values are measured on the
test part of the dataset, without conditions.

    python scripts/bench/quality.py curve moses.ds -o runs/curve --test moses_test.csv.gz \
        --max-time 150m
    python scripts/bench/quality.py dial runs/curve/run moses.ds --test moses_test.csv.gz \
        -o runs/curve/dial.json
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from noise_level import Level  # type: ignore[import-not-found]
from numpy.typing import NDArray

from molvae.chem.selfies import use_constraints
from molvae.data.dataset import Dataset
from molvae.errors import ModelFolderError
from molvae.evaluate.diagnostics import figures
from molvae.evaluate.metrics.frechet import (
    MISSING,
    Moments,
    activations,
    available,
    compare,
    influences,
    moments,
)
from molvae.evaluate.metrics.molecules import TEXTS, describe
from molvae.evaluate.sources import from_files
from molvae.generate.request import Request
from molvae.generate.run import generate
from molvae.model.checkpoint import SavedModel, find_model, load_model
from molvae.runtime.device import choose_device
from molvae.runtime.files import fingerprint, write_json
from molvae.runtime.progress import say
from molvae.runtime.randomness import Draws
from molvae.train.run_folder import read_record, stop_requests

POLL = 2.0  # seconds between looks at the run
WEIGHTS = "model.safetensors"
NEAR = 0.5  # mean Tanimoto similarity from which a decoded molecule counts as near its source


class Kept:
    """Results by name in a JSON file, all of them made with the same settings."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self.data: dict[str, Any] = {"settings": settings, "results": {}}
        if path.is_file():
            self.data = json.loads(path.read_text(encoding="utf-8"))
            if self.data["settings"] != settings:
                raise SystemExit(
                    f"'{path}' was made with {self.data['settings']}, now asked for {settings}; "
                    "give the old options or another output"
                )

    def get(self, name: str, compute: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
        """The result of that name, computed if it is not there yet."""
        results: dict[str, dict[str, Any]] = self.data["results"]
        if name not in results:
            results[name] = compute(*given)
            write_json(self.path, self.data)
        return results[name]


@dataclass(frozen=True)
class Bench:
    """The data that models are evaluated on."""

    dataset: Dataset
    items: NDArray[np.int64]  # held-out molecules in a random order
    reference: Moments
    molecules: int  # held-out ones to encode
    samples: int  # to draw for an FCD
    draws: Draws
    device: str

    @classmethod
    def open(cls, given: argparse.Namespace, folder: Path) -> Bench:
        """From the command line; the moments of the reference are kept in the folder."""
        if not available():
            raise SystemExit(MISSING)
        dataset, draws = Dataset(given.dataset), Draws(given.seed)
        part = dataset.part("test")
        name = f"reference-{fingerprint(given.test)['sha256'][:8]}-{given.reference}-{given.seed}"
        path = folder / f"{name}.npz"
        if not path.is_file():
            texts = list(from_files(given.test))
            chosen = draws.permutation("reference", len(texts))[: given.reference]
            smiles = describe([texts[i] for i in chosen], TEXTS).smiles
            moments(smiles, device=given.device).save(path)
        return cls(
            dataset,
            part[draws.permutation("final", len(part))],  # the order of a run's final figures
            Moments.load(path),
            given.molecules,
            given.samples,
            draws,
            given.device,
        )

    def load(self, folder: Path) -> SavedModel:
        """A model that can read the dataset, on the device."""
        model = load_model(folder)
        if model.vocabulary != self.dataset.vocabulary:
            raise SystemExit(f"'{folder}' has another vocabulary than the dataset")
        if model.training["data"]["content_sha256"] != self.dataset.content_hash:
            say("note: trained on another dataset, which may hold the molecules called held-out")
        model.network.to(choose_device(self.device))
        return model

    def free_fcd(self, model: SavedModel, t: float) -> dict[str, Any]:
        """FCD of molecules decoded from N(0, I) at a noise level."""
        request = Request(noise=t, unique=False, realism=None, novel_rings=True)
        drawn = generate(
            self.samples, model=model, request=request, seed=self.draws.seed, device=self.device,
            workers=0,
        )  # fmt: skip
        return self.fcd([molecule.smiles for molecule in drawn])

    def fcd(self, smiles: list[str]) -> dict[str, Any]:
        """FCD of canonical SMILES to the reference, with a 95 % interval.

        The interval is from the variance of the influences (infinitesimal jackknife).
        """
        rows = activations(smiles, device=self.device)
        mine = Moments.of(rows)
        fcd = compare(mine, self.reference)
        if fcd.value is not None:
            pulls = influences(rows, mine, self.reference)
            half = 1.96 * float(np.sqrt(np.mean(pulls**2) / len(rows)))
            fcd = replace(fcd, interval=(fcd.value - half, fcd.value + half))
        return fcd.to_json()

    def floor(self) -> dict[str, Any]:
        """FCD of as many held-out molecules: what a perfect model of the dataset would have."""
        ids = (self.dataset.ids(int(item)) for item in self.items[: self.samples])
        texts = [self.dataset.vocabulary.decode(row.tolist()) for row in ids]
        return self.fcd(describe(texts, TEXTS).smiles)


# -- along the training ----------------------------------------------------------------------------


def follow(given: argparse.Namespace) -> None:
    """Train, and copy each new model of the run; ends with the training."""
    command = [sys.executable, "-m", "molvae", "train", str(given.dataset)]
    command += ["-o", str(given.output / "run"), "--max-time", given.max_time, "--resume"]
    command += ["--preset", given.preset, "--device", given.device]
    command += [word for setting in given.settings for word in ("--set", setting)]
    environment = dict(os.environ)
    if given.threads:
        environment["OMP_NUM_THREADS"] = str(given.threads)
    terminated = False
    # In a new session: Ctrl-C must reach it once, a second one would lose work.
    with (
        stop_requests() as stop,
        subprocess.Popen(
            command, env=environment, stdout=sys.stderr, start_new_session=True
        ) as child,
    ):
        try:
            while child.poll() is None:
                if stop and not terminated:
                    child.terminate()
                    terminated = True
                try:
                    child.wait(POLL)
                except subprocess.TimeoutExpired:
                    take_snapshot(given.output)
        finally:
            child.kill()  # after a second Ctrl-C; nothing happens to one that has ended
    take_snapshot(given.output)
    if child.returncode:
        raise SystemExit(
            f"training ended with {child.returncode}; run the same command to continue"
        )


def take_snapshot(folder: Path) -> None:
    """Copy the run's model into the next snapshot, if its weights are new."""
    place = folder / "snapshots"
    scratch = place / "unfinished"
    shutil.rmtree(scratch, ignore_errors=True)
    known = [json.loads(path.read_text())["weights"] for path in place.glob("*/snapshot.json")]
    try:
        config = json.loads((folder / "run" / "model" / "config.json").read_text())
        if config["files"][WEIGHTS]["sha256"] in known:
            return
        shutil.copytree(folder / "run" / "model", scratch)
        step = load_model(scratch).training["step"]
        lines = (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        # Written before the model; the model is written once more at the end, with another step.
        records = [r for line in lines if (r := read_record(line)) and r.get("best") is True]
        record = [r for r in records if r["step"] <= step][-1]
    except (OSError, ValueError, IndexError, ModelFolderError):
        return  # not there yet, or replaced in the meantime: the next look will find it whole
    about = {name: record[name] for name in ("step", "molecules", "seconds", "score")}
    weights = fingerprint(scratch / WEIGHTS)["sha256"]
    write_json(scratch / "snapshot.json", {"weights": weights, **about})
    scratch.rename(place / f"{len(known) + 1:03d}")


def judge_snapshot(bench: Bench, folder: Path) -> dict[str, Any]:
    """The held-out figures and the FCD of a snapshot."""
    say(f"judging {folder.name}")
    model, dataset = bench.load(folder), bench.dataset
    conditions, items = model.conditions, bench.items[: bench.molecules]
    with use_constraints(model.constraints):
        measured = figures(
            model.network, dataset, conditions,
            [dataset.names.index(name) for name in conditions.names], items,
            reconstructions=len(items), draws=bench.draws,
        )  # fmt: skip
    about = json.loads((folder / "snapshot.json").read_text())
    return {**about, "figures": measured, "fcd": bench.free_fcd(model, 1.0)}


def curve(given: argparse.Namespace) -> list[str]:
    """Train if asked to, judge all snapshots; Markdown."""
    bench = Bench.open(given, given.output)
    kept = Kept(given.output / "curve.json", settings_of(given, bench.dataset))
    if not given.judge_only:
        follow(given)
    floor = kept.get("floor", bench.floor)
    lines = [
        "| molecules seen | minutes | exact | D(0) | D(½) | D(1) | R(0) | gap | FCD |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for folder in sorted((given.output / "snapshots").glob("[0-9]*")):
        snapshot = kept.get(folder.name, judge_snapshot, bench, folder)
        f, d = snapshot["figures"], snapshot["figures"]["D"]
        lines.append(
            f"| {snapshot['molecules']:,} | {snapshot['seconds'] / 60:.1f} "
            f"| {f['exact']['value']:.3f} "
            f"| {d['0']:.2f} | {d['0.5']:.2f} | {d['1']:.2f} | {f['R']['0']:.1f} | {f['gap']:.1f} "
            f"| {shown(snapshot['fcd'])} |"
        )
    return [*lines, "", f"FCD of {floor['n']:,} held-out molecules: {shown(floor)}"]


# -- along the dial --------------------------------------------------------------------------------


def judge_level(bench: Bench, model: SavedModel, t: float) -> dict[str, Any]:
    """All figures of one noise level."""
    level = Level(bench.dataset, model, t, bench.draws, bench.device)
    items = bench.items[: bench.molecules]
    level.add(items, whole=True)
    done, neighbors = len(items), level.decoded["sample", "sampled"]
    # As many as are compared from N(0, I), whatever is refused.
    while (missing := bench.samples - len(neighbors.usable())) and done < len(bench.items):
        more = bench.items[done : done + missing]
        level.add(more, whole=False)
        done += len(more)
    return {
        "n": len(items),
        "R": level.rate / len(items),
        "D": level.distortion / len(items),
        "decoded": {
            ", ".join(way): decoded.means(len(items)) for way, decoded in level.decoded.items()
        },
        "fcd": bench.free_fcd(model, t),
        "fcd_neighbours": bench.fcd(neighbors.usable()),
    }


def dial(given: argparse.Namespace) -> list[str]:
    """Judge a model at every level; Markdown."""
    given.output.parent.mkdir(parents=True, exist_ok=True)
    bench = Bench.open(given, given.output.parent)
    model = bench.load(given.model)
    settings = {**settings_of(given, bench.dataset), "weights": weights_of(given.model)}
    kept = Kept(given.output, settings)
    floor = kept.get("floor", bench.floor)
    levels = {t: kept.get(f"{t:g}", judge_level, bench, model, t) for t in sorted(given.levels)}
    lines = [
        "From a posterior sample, and in brackets from the mean:",
        "",
        "| t | R(t) | D(t) | exact, greedy | exact, sampled | Tanimoto, greedy "
        "| Tanimoto, sampled | FCD from N(0, I) | FCD of neighbours |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for t, level in levels.items():
        cells = [
            f"{level['decoded'][f'sample, {how}'][figure]:.3f} "
            f"({level['decoded'][f'mean, {how}'][figure]:.3f})"
            for figure in ("exact", "tanimoto")
            for how in ("greedy", "sampled")
        ]
        cells += [shown(level["fcd"]), shown(level["fcd_neighbours"])]
        lines.append(f"| {t:g} | {level['R']:.2f} | {level['D']:.2f} | {' | '.join(cells)} |")
    lines += ["", f"FCD of {floor['n']:,} held-out molecules: {shown(floor)}"]
    return [*lines, *(summary(levels, how) for how in ("sampled", "greedy"))]


def summary(levels: dict[float, dict[str, Any]], how: str) -> str:
    """The lowest FCD from N(0, I) at a level where decoded molecules are near their sources."""
    near = [
        (level["fcd"]["value"], t)
        for t, level in levels.items()
        if level["decoded"][f"sample, {how}"]["tanimoto"] >= NEAR
    ]
    what = f"Lowest FCD from N(0, I) where the {how} neighbour has a mean Tanimoto of {NEAR:g}"
    if not near:
        return f"{what} or more: there is no such level"
    value, t = min(near)
    level = levels[t]["decoded"][f"sample, {how}"]
    return f"{what} or more: {value:.2f}, at t = {t:g} (Tanimoto {level['tanimoto']:.3f})"


# -- the command line ------------------------------------------------------------------------------


def settings_of(given: argparse.Namespace, dataset: Dataset) -> dict[str, Any]:
    """Settings that saved results depend on, besides the models."""
    return {
        "dataset": dataset.content_hash,
        "test": fingerprint(given.test)["sha256"],
        **{name: getattr(given, name) for name in ("molecules", "samples", "reference", "seed")},
    }


def weights_of(model: Path) -> str:
    """A hash that identifies a model."""
    return str(fingerprint(find_model(model) / WEIGHTS)["sha256"])


def add_options(command: argparse.ArgumentParser) -> None:
    """Arguments of every evaluation of a model."""
    command.add_argument("dataset", type=Path, help="dataset folder that it is trained on")
    command.add_argument("--test", type=Path, required=True, help="reference of the FCD")
    command.add_argument("--molecules", type=int, default=2000, help="held-out, to encode")
    command.add_argument("--samples", type=int, default=5000, help="per FCD")
    command.add_argument("--reference", type=int, default=10_000, help="molecules of --test")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--threads", type=int, help="of training and of judging")
    command.add_argument("--device", default="cpu")


def shown(fcd: dict[str, Any]) -> str:
    """An FCD with half its interval."""
    if fcd["value"] is None:
        return "none"
    return f"{fcd['value']:.2f} ± {(fcd['interval'][1] - fcd['interval'][0]) / 2:.2f}"


def main() -> None:
    """Parse the command line, run, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    along, through = commands.add_parser("curve"), commands.add_parser("dial")
    through.add_argument("model", type=Path, help="model or run folder")
    for command in (along, through):
        add_options(command)
    along.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    along.add_argument("--max-time", default="150m", help="of training")
    along.add_argument("--preset", default="small")
    along.add_argument(
        "--set", dest="settings", action="extend", nargs="+", default=[], metavar="KEY=VALUE"
    )
    along.add_argument("--judge-only", action="store_true", help="do not train")
    through.add_argument("-o", "--output", type=Path, required=True, metavar="JSON")
    through.add_argument(
        "--levels", type=float, nargs="+", default=[i / 10 for i in range(11)], metavar="T"
    )
    given = parser.parse_args()
    if given.command == "dial" and given.samples < given.molecules:
        parser.error("--samples: fewer than --molecules")
    if given.threads:
        torch.set_num_threads(given.threads)
    lines = curve(given) if given.command == "curve" else dial(given)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
