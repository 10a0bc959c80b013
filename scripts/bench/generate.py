"""Generation on a CPU, end to end, against the published MOSES VAE.

Contestants, each in a separate process, take turns in every round:

    MOSES    ``VAE.sample`` and RDKit of the published code by ``moses_sample.py`` in this folder,
             in the batches it samples with by default (32) and in large ones (512)
    molvae   ``molvae generate`` for each model given: distinct valid molecules as canonical SMILES
             in a file, the start of the workers included; the same without realism (only for models
             that have a critic does it differ), and with three properties

The measure is distinct valid molecules per second. A model of the preset small shows the speed of
the shipped model, one of the sizes of MOSES (see ``train.py``) that of the code. The lengths of the
strings depend on the weights, so models must be trained, at least for minutes:

    molvae train moses.ds -o matched --max-time 150s --set model.latent_size=128 \
        --set model.decoder_layers=3 --set train.batch_size=512
    OMP_NUM_THREADS=2 python scripts/bench/generate.py -m small=moses -m matched=matched \
        --baseline molsets_env/bin/python --smiles moses_train.csv.gz -o generate.json

``tokens`` is the number of steps the network takes per molecule. An extra turn
per model measures where the time goes: without workers, in one thread, each stage timed where it is
called. Ratios are of one round, to the faster MOSES; the table shows their median and range.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from turns import (  # type: ignore[import-not-found]
    Stages,
    checked,
    child,
    common_arguments,
    place,
    ratio,
    save,
)

from molvae.chem import properties
from molvae.chem.screening import MoleculeScreen
from molvae.chem.selfies import split_selfies
from molvae.generate.proposer import Proposer
from molvae.generate.request import Request
from molvae.generate.run import generate_file
from molvae.runtime.device import versions
from molvae.targets import parse_target

BATCHES = (32, 512)  # of MOSES
OUTPUT = "out.csv"
PROPERTIES = ("logp=-20:20", "qed=0:1", "sas=1:10")  # ranges that hold every molecule


class Way(NamedTuple):
    """A request, and its options on the command line."""

    request: Request = Request()
    options: tuple[str, ...] = ()


NO_REALISM = " without realism"
WAYS = {
    "": Way(),
    NO_REALISM: Way(Request(realism=None, novel_rings=True), ("--realism", "off", "--novel-rings")),
    " + properties": Way(
        Request(targets=tuple(map(parse_target, PROPERTIES))),
        tuple(part for target in PROPERTIES for part in ("-t", target)),
    ),
}


class Contestant(NamedTuple):
    """A contestant: a row of the table and the command of its process."""

    name: str
    arguments: list[str]
    stages: bool = False  # not a race: where the time goes


# -- where the time goes, in a separate process ---------------------------------------------------


def measure_stages(model: str, n: int, request: Request) -> dict[str, Any]:
    """Seconds of each stage of the call in this process alone, in one thread."""
    torch.set_num_threads(1)
    stages, steps = Stages(), 0
    stages.watch(Proposer, "texts", "network")
    stages.watch(properties, "from_selfies", "SELFIES")
    stages.watch(MoleculeScreen, "__call__", "checks")
    decode = Proposer.texts

    def counted(*args: Any) -> list[str]:
        nonlocal steps
        texts = decode(*args)
        # With the end symbol, which is a step of the network, too.
        steps += sum(len(split_selfies(text)) + 1 for text in texts)
        return texts

    Proposer.texts = counted  # type: ignore[method-assign, assignment]
    with tempfile.TemporaryDirectory() as folder:
        summary = generate_file(Path(folder) / OUTPUT, n, model=model, request=request, workers=0)
    spent = {stage: stages.seconds[stage] for stage in ("network", "SELFIES")}
    spent["RDKit"] = stages.seconds["checks"] - spent["SELFIES"]
    spent["rest"] = summary.seconds - sum(spent.values())
    return {
        "molecules": summary.written,
        "seconds": summary.seconds,
        "stages": spent,
        "tokens": steps / summary.decoded,
        "versions": versions(),
    }


# -- all of them, in turn -------------------------------------------------------------------------


def contestants(options: argparse.Namespace, output: Path) -> list[Contestant]:
    """All that take part in a round; ours write to ``output``."""
    chosen = []
    if options.baseline is not None:
        script = [options.baseline, str(Path(__file__).with_name("moses_sample.py"))]
        size = [str(options.smiles), "-n", str(options.baseline_number)]
        chosen += [
            Contestant(f"MOSES, batch {batch}", [*script, *size, "--batch", str(batch)])
            for batch in BATCHES
        ]
    for label, model in options.model:
        for way, (_, given) in WAYS.items():
            race = [sys.executable, "-m", "molvae", "generate", "-m", model, "-o", str(output)]
            race += ["-n", str(options.number), *given]
            if options.workers is not None:
                race += ["--workers", str(options.workers)]
            chosen.append(Contestant(label + way, [*race, "--force", "--quiet", "--json"]))
            stages = [sys.executable, __file__, "-m", f"{label}={model}", "--one", way or "plain"]
            stages += ["-n", str(-(-options.number // 4))]
            chosen.append(Contestant(label + way, stages, stages=True))
    return chosen


def table(result: dict[str, Any]) -> list[str]:
    """Rows of Markdown: the race, and where the time goes."""
    races: dict[str, list[dict[str, Any]]] = result["contestants"]
    lines = [
        "| | molecules/s | tokens | × MOSES | network | SELFIES | RDKit | rest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    others = [turns for name, turns in races.items() if name.startswith("MOSES")]
    best = [max(turn["molecules_per_s"] for turn in turns) for turns in zip(*others, strict=True)]
    for name, turns in races.items():
        speeds = [turn["molecules_per_s"] for turn in turns]
        theirs = name.startswith("MOSES") or not best
        against = "" if theirs else ratio(speeds, best, digits=1)
        stages = result["stages"].get(name, turns[:1])
        number = stages[0]["molecules"]
        cells = []
        for stage in ("network", "SELFIES", "RDKit", "rest"):
            seconds = [turn["stages"].get(stage) for turn in stages]
            cells.append("" if None in seconds else f"{1e6 * min(seconds) / number:.0f}")
        lines.append(
            f"| {name} | {statistics.median(speeds):,.0f} | {stages[0]['tokens']:.1f} | {against} "
            f"| {' | '.join(cells)} |"
        )
    for name, turns in races.items():
        if name.removesuffix(NO_REALISM) != name:
            kept = races[name.removesuffix(NO_REALISM)]
            speeds = [[turn["molecules_per_s"] for turn in some] for some in (kept, turns)]
            lines += ["", f"{name}: with realism {ratio(*speeds)} × as fast."]
    return [*lines, "", "Stages in µs per molecule, ours of one thread, the best of all rounds."]


def arguments() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "-m", "--model", action="append", default=[], metavar="LABEL=MODEL",
        type=lambda text: tuple(text.split("=", 1)), help="a trained model (repeatable)",
    )  # fmt: skip
    parser.add_argument("-n", "--number", type=int, default=10_000, help="molecules of ours")
    parser.add_argument("--workers", type=int, help="as of molvae generate")
    parser.add_argument("--baseline-number", type=int, default=1024, help="molecules of MOSES")
    common_arguments(parser)
    given: argparse.Namespace = checked(parser)
    if not given.model or any(len(each) != 2 for each in given.model):
        parser.error("expected one or more of --model LABEL=MODEL")
    return given


def main() -> None:
    """Parse the command line; run the rounds, or the one turn that this process is for."""
    options = arguments()
    if options.one is not None:
        ((_, model),) = options.model
        request = WAYS.get(options.one, Way()).request
        json.dump(measure_stages(model, options.number, request), sys.stdout)
        return
    races: dict[str, list[dict[str, Any]]] = {}
    stages: dict[str, list[dict[str, Any]]] = {}
    result = {**place(), "contestants": races, "stages": stages}
    with tempfile.TemporaryDirectory() as folder:
        chosen = contestants(options, Path(folder) / OUTPUT)
        for number in range(options.rounds):
            for who in chosen:
                turn = child(who.arguments)
                if who.stages:
                    stages.setdefault(who.name, []).append(turn)
                    continue
                turn.setdefault("molecules", turn.get("written"))
                turn["molecules_per_s"] = turn["molecules"] / turn["seconds"]
                races.setdefault(who.name, []).append(turn)
                speed = f"{turn['molecules_per_s']:,.0f}/s"
                sys.stderr.write(f"round {number + 1}, {who.name}: {speed}\n")
            save(result, options.output)
    sys.stdout.write("\n".join(table(result)) + "\n")


if __name__ == "__main__":
    main()
