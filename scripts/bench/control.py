"""How well requested property values are met: MolGPT's protocol, ranges, out-of-range values.

For every target value of the published MOSES lists (Bagal et al. 2022; their code) ``--each``
molecules are drawn at temperature 1, and the mean absolute deviation (MAD) from the target is taken
over all of them, valid ones only, repeats included. *One shot* is one candidate per molecule
without the critic, to compare with published rows. *Critic* keeps the nearest of ``--candidates``.

``--parts stgg`` requests the values far from ZINC250k of STGG+ (arXiv 2407.09357), one property at
a time; give a model of ZINC250k, ``--each 2000`` and its file as ``--train``. *Nearest* is the
distance of the best molecule, which is the published measure.

``--parts realism`` tests whether conditional molecules are as realistic as others. It computes the
FCD to the test molecules that meet a request for ``--drawn`` molecules of that request, for as many
unconditional molecules that meet it (ranges only), and for as many other test molecules. Test
molecules meet a value when they are within a tenth of a standard deviation.

    python scripts/bench/control.py runs/moses --train moses_train.csv.gz -o control.json
    python scripts/bench/control.py runs/moses --parts realism --test moses_test.csv.gz
    python scripts/bench/control.py runs/zinc --parts stgg --each 2000 --train zinc250k.csv.gz
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from molvae.chem.hashing import among, keys_of
from molvae.chem.molecules import parse, to_smiles
from molvae.chem.properties import compute
from molvae.evaluate.metrics.frechet import compare, moments
from molvae.evaluate.references import Reference
from molvae.evaluate.sources import from_files
from molvae.generate.request import Request
from molvae.generate.run import GenerationSummary, generate
from molvae.model.checkpoint import find_model, load_model
from molvae.runtime.files import write_json
from molvae.runtime.pool import WorkerPool
from molvae.runtime.progress import say, set_quiet
from molvae.targets import Target, hit, parse_target

SINGLE = {
    "logp": (1, 2, 3),
    "tpsa": (30, 60, 90),
    "sas": (2, 2.75, 3.5),
    "qed": (0.6, 0.725, 0.85),
}
GRIDS: tuple[dict[str, tuple[float, ...]], ...] = (
    {"logp": SINGLE["logp"]},
    {"tpsa": SINGLE["tpsa"]},
    {"sas": SINGLE["sas"]},
    {"qed": SINGLE["qed"]},
    {"sas": (2, 3.5), "logp": (1, 3)},
    {"tpsa": (40, 80), "sas": (2, 3.5)},
    {"tpsa": (40, 80), "logp": (2, 4)},
    {"tpsa": (40, 80), "logp": (1, 3), "sas": (2, 3.5)},
)
# Their targets for a model of GuacaMol: of other training data, not to be compared.
GUACAMOL: tuple[dict[str, tuple[float, ...]], ...] = (
    {"logp": (2, 4, 6)},
    {"tpsa": (40, 80, 120)},
    {"sas": (2, 3, 4)},
    {"qed": (0.3, 0.5, 0.7)},
    {"sas": (2, 3, 4), "logp": (2, 4, 6)},
    {"tpsa": (40, 80, 120), "sas": (2, 3, 4)},
    {"tpsa": (40, 80, 120), "logp": (2, 4, 6)},
    {"tpsa": (40, 80), "logp": (2, 6), "sas": (2, 4)},
)
# Four standard deviations from the mean of ZINC250k. QED ends at .948; 84 Da are about six atoms.
STGG = {"mw": (580, 84), "logp": (8.194, -3.281), "qed": (1.2861, 0.1778)}
RANGES = (
    ("logp=2:3",), ("qed=0.8:",), ("tpsa=60:80",), ("mw=:300",), ("sas=:2.5",),
    ("logp=2:3", "qed=0.8:"), ("logp=1:2", "tpsa=70:90", "mw=300:350"),
    ("rings=3", "rotb=:4", "hbd=1:2"), ("logp=3:", "tpsa=90:"),
)  # fmt: skip
REAL = (
    ("logp=2:3",), ("tpsa=60:80",), ("qed=0.85:",), ("logp=1:2", "tpsa=70:90"),
    ("logp=2.5",), ("tpsa=70",), ("qed=0.85",),
)  # fmt: skip
NEAR = 0.1  # standard deviations from a value
SHUFFLED = 60_000  # test molecules of which those in a range are taken
FAR = (-4, -3, 3, 4)  # standard deviations from the mean of what the model saw


def table(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Markdown."""
    yield (
        "| request | mode | n | decoded each | valid | unique | novel | error (MAD) or hit rate "
        "| nearest |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for r in records:
        shown = ", ".join(f"{name} {value:.3g}" for name, value in r["error"].items())
        novel = "" if r["novel"] is None else f"{r['novel']:.3f}"
        # Over a grid it would be the nearest to one of its values.
        nearest = f"{r['best'][0]:.2g}" if len(r.get("best", ())) == 1 else ""
        yield (
            f"| {r['name']} | {r['mode']} | {r['n']:,} | {r['decoded'] / max(r['asked'], 1):.1f} "
            f"| {r['n'] / r['asked']:.3f} | {r['unique']:.3f} | {novel} | {shown} "
            f"| {nearest} |"
        )


class Bench:
    """A model under questions."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.model = given, load_model(find_model(given.model))
        self.records: list[dict[str, Any]] = []
        self.known: Any = None  # keys of the training molecules
        if given.train:
            with WorkerPool(given.workers) as workers:
                # As evaluate keeps them.
                self.known = Reference("train", from_files(given.train), workers).keys

    def _request(self) -> Request:
        share = self.given.realism
        span = _span(self.given.guidance)
        return Request(guidance=span, realism=share, novel_rings=share is None)

    def requests(self) -> dict[str, Request]:
        """Mode → request."""
        k, base = self.given.candidates, self._request()
        return {
            "one shot": replace(base, critic=False, candidates=1, max_tries=1, unique=False),
            f"critic, {k}": replace(base, candidates=k, max_tries=k, allow_misses=True),
        }

    def ask(
        self, request: Request, targets: Sequence[str], seed: int, n: int | None = None
    ) -> tuple[Any, Any, int]:
        """(SMILES, values (n, targets), decoded)."""
        summary = GenerationSummary(wanted=n or self.given.each)
        generated = list(
            generate(
                summary.wanted, model=self.model, targets=targets, request=request, seed=seed,
                device=self.given.device, workers=self.given.workers, summary=summary,
            )
        )  # fmt: skip
        names = [parse_target(text).name for text in targets]
        values = [[molecule.values[name] for name in names] for molecule in generated]
        smiles = [molecule.smiles for molecule in generated]
        return smiles, np.asarray(values).reshape(len(generated), len(names)), summary.decoded

    def points(self, name: str, grid: Sequence[Sequence[Target]]) -> None:
        """The mean deviation over a grid of points."""
        for mode, request in self.requests().items():
            parts, smiles, decoded, started = [], [], 0, time.monotonic()
            for seed, targets in enumerate(grid, start=self.given.seed * 1000):
                generated, values, count = self.ask(request, [t.text for t in targets], seed)
                parts.append(np.abs(values - [t.low for t in targets]))
                smiles.append(generated)
                decoded += count
            deviations = np.concatenate(parts)
            names = [t.name for t in grid[0]]
            everything = [text for part in smiles for text in part]
            best = [float(part.sum(axis=1).min()) for part in parts]
            self.note(
                name, mode, everything, len(grid) * self.given.each, decoded,
                float(np.mean([len(set(part)) / max(len(part), 1) for part in smiles])),
                dict(zip(names, deviations.mean(axis=0).tolist(), strict=True)),
                seconds=time.monotonic() - started, best=best,
                deviation_sd=deviations.std(axis=0).tolist(),
            )  # fmt: skip

    def ranges(self) -> None:
        """Share of molecules within all ranges, one shot; with the critic, decoded per hit."""
        for texts in RANGES:
            targets = [parse_target(text) for text in texts]
            modes = self.requests()
            critic = next(mode for mode in modes if mode != "one shot")
            modes[critic] = replace(modes[critic], allow_misses=False, max_tries=None)
            for mode, request in modes.items():
                smiles, values, decoded = self.ask(request, texts, self.given.seed)
                inside = np.ones(len(values), dtype=np.bool_)
                for k, target in enumerate(targets):
                    inside &= _met(target, values[:, k])
                unique = len(set(smiles)) / max(len(smiles), 1)
                rate = {"hit": float(inside.mean()) if len(inside) else 0.0}
                self.note(" ".join(texts), mode, smiles, self.given.each, decoded, unique, rate)

    def far(self) -> None:
        """Points far from what the model saw, alone."""
        for name in SINGLE:
            condition = self.model.conditions[name]
            for sd in FAR:
                value = condition.mean + sd * condition.std
                self.points(f"{name} {sd:+d} sd = {value:.4g}", [[Target(name, value, value)]])

    def stgg(self) -> None:
        """The published values far from ZINC250k, alone."""
        for name, values in STGG.items():
            for value in values:
                self.points(f"{name} = {value:g}", [[Target(name, value, value)]])

    def realism(self) -> None:
        """FCD to test molecules that meet a request: asked for, met by chance, and real."""
        test = list(from_files(self.given.test))
        order = np.random.default_rng(self.given.seed).permutation(len(test))[:SHUFFLED]
        shuffled, values = _measured([test[i] for i in order])
        request = self._request()
        for texts in REAL:
            targets = [parse_target(text) for text in texts]
            inside = np.logical_and.reduce([self.meets(t, values[t.name]) for t in targets])
            real = [shuffled[i] for i in np.flatnonzero(inside)]
            drawn = min(self.given.drawn, len(real) // 2)
            others, reference = real[:drawn], moments(real[drawn : drawn + 10_000])
            modes = {"asked": request}
            if not any(target.is_point for target in targets):
                # Chosen from what was drawn without a request: the same filter, no condition.
                modes["not asked, met"] = replace(request, guidance=0.0, max_tries=10_000)
            for mode, asked in modes.items():
                generated, _, decoded = self.ask(asked, texts, self.given.seed, drawn)
                distance = compare(moments(generated), reference).value or float("nan")
                unique = len(set(generated)) / len(generated)
                self.note(" ".join(texts), mode, generated, drawn, decoded, unique,
                          {"FCD": distance})  # fmt: skip
            distance = compare(moments(others), reference).value or float("nan")
            self.note(" ".join(texts), "test molecules", others, drawn, 0, 1.0,
                      {"FCD": distance})  # fmt: skip

    def meets(self, target: Target, values: Any) -> Any:
        """Which values meet a range, or are near a point."""
        if not target.is_point:
            return hit(target, values)
        return np.abs(values - target.low) < NEAR * self.model.conditions[target.name].std

    def note(
        self, name: str, mode: str, smiles: Sequence[str], asked: int, decoded: int, unique: float,
        error: dict[str, float], **more: Any,
    ) -> None:  # fmt: skip
        """Keep a row, and say it."""
        novel = None
        if self.known is not None and smiles:
            novel = 1 - float(np.mean(among(keys_of(smiles), self.known)))
        self.records.append(
            {"name": name, "mode": mode, "n": len(smiles), "asked": asked, "decoded": decoded,
             "unique": unique, "novel": novel, "error": error, **more}
        )  # fmt: skip
        say(list(table(self.records[-1:]))[-1])


def _measured(texts: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Canonical SMILES and what :data:`REAL` asks about."""
    names = sorted({parse_target(text).name for texts in REAL for text in texts})
    mols = [mol for mol in map(parse, texts) if mol is not None]
    rows = np.asarray([compute(mol, names) for mol in mols])
    return [to_smiles(mol) for mol in mols], dict(zip(names, rows.T, strict=True))


def _met(target: Target, values: Any) -> Any:
    return hit(target, values) if not target.is_point else np.abs(values - target.low) < 1e-6


def _span(text: str | None) -> float | tuple[float, float] | None:
    if text is None:
        return None
    low, colon, high = text.partition(":")
    return (float(low), float(high)) if colon else float(low)


def main() -> None:
    """Ask everything, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("--each", type=int, default=1000, help="molecules per target")
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--guidance", help="weight or LOW:HIGH; as generate, if not given")
    parser.add_argument("--realism", type=float, help="share that the critic keeps; default: off")
    parser.add_argument("--parts", nargs="+", default=["points", "ranges", "far"])
    parser.add_argument("--test", type=Path, help="test molecules, for realism")
    parser.add_argument("--train", type=Path, help="training molecules, for novelty")
    parser.add_argument("--drawn", type=int, default=3000, help="molecules per range, for realism")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    bench = Bench(given)
    set_quiet(False)
    for part, grids in (("points", GRIDS), ("guacamol", GUACAMOL)):
        for grid in grids if part in given.parts else ():
            cells = itertools.product(*grid.values())
            bench.points(
                " + ".join(grid),
                [
                    [Target(name, v, v) for name, v in zip(grid, values, strict=True)]
                    for values in cells
                ],
            )
    if "ranges" in given.parts:
        bench.ranges()
    if "far" in given.parts:
        bench.far()
    if "stgg" in given.parts:
        bench.stgg()
    if "realism" in given.parts:
        if given.test is None:
            raise SystemExit("realism needs --test, a file of test molecules")
        bench.realism()
    sys.stdout.write("\n".join(table(bench.records)) + "\n")
    if given.output:
        write_json(given.output, {"options": json.loads(json.dumps(vars(given), default=str)),
                                  "records": bench.records})  # fmt: skip


if __name__ == "__main__":
    main()
