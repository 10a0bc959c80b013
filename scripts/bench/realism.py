"""What the realism critic and the table of the known do for the molecules of a model.

    python scripts/bench/realism.py -m moses --train TRAIN -o FOLDER [--test TEST] [--filters F]

Samples are drawn without request at temperature 1. Some fit the critic, against as many training
molecules; others are the candidates. From them ``-n`` molecules each are kept in four ways: all,
with the critic, with the table of ring systems and environments, with both. The table counts

- FCD of ``--fcd-number`` against equally many of ``--test``, if the extra is installed,
- novelty to all of ``--train``, MOSES' filters (``--filters``), uniqueness,
- hard oddities (``oddities.py``), ring systems and environments that no known molecule has,
- the AUC against real molecules that nothing was fitted to, and candidates per molecule kept.

Known are ``--known`` training molecules at random, without those held back: of all, more samples
would have a known ring system. Everything slow is kept in FOLDER, so that another run is quick.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from oddities import oddities  # type: ignore[import-not-found]

from molvae import chem
from molvae.chem.alerts import load_filters
from molvae.chem.realism_features import Facts, describe
from molvae.data.readers import read_smiles
from molvae.evaluate.metrics import frechet
from molvae.generate.request import Request
from molvae.generate.run import generate_file
from molvae.realism.critic import (
    RealismCritic,
    accepts,
    fit_critic,
    load_critic,
    save_critic,
    two_sample_auc,
)
from molvae.realism.inputs import FactTable
from molvae.realism.plausibility import Plausibility, load_plausibility, save_plausibility
from molvae.runtime.device import versions
from molvae.runtime.randomness import Draws

WAYS = ("all", "critic", "plausibility", "both")


class Real(NamedTuple):
    """Training molecules, at random."""

    fitted: list[str]
    held_back: list[str]  # nothing knows them
    known: list[str]
    everything: set[str]  # as the file has them


class Candidates(NamedTuple):
    """Molecules that can be kept, C of them."""

    smiles: list[str]
    facts: list[Facts]
    logits: NDArray[np.float64]  # (C,)
    refusals: list[str | None]  # by the table


def read_real(options: argparse.Namespace) -> Real:
    """Training molecules of the files, equal parts of each."""
    files = [[text for text in read_smiles([path]) if text] for path in options.train]
    for rows in files:
        random.Random(0).shuffle(rows)

    def part(first: int, last: int) -> list[str]:
        share = [slice(first // len(files), last // len(files))] * len(files)
        return [text for rows, some in zip(files, share, strict=True) for text in rows[some]]

    back, fit = options.held_back, options.fit
    return Real(
        part(back, back + fit),
        part(0, back),
        part(back, back + options.known),
        {text for rows in files for text in rows},
    )


def samples(options: argparse.Namespace, name: str, n: int, seed: int) -> list[str]:
    """Samples of the model, drawn once."""
    path = options.output / f"{name}.csv"
    if not path.is_file():
        request = Request(unique=False, realism=None, novel_rings=True)
        generate_file(path, n, model=options.model, request=request, seed=seed, workers=0)
    return read_smiles([path])[:n]


def facts_of(smiles: Sequence[str]) -> list[Facts]:
    """Facts of molecules that RDKit can read."""
    mols = (chem.parse(text) for text in smiles)
    return [describe(mol) for mol in mols if mol is not None]


def fitted(options: argparse.Namespace, real: Real) -> tuple[RealismCritic, Plausibility]:
    """The critic and the table, made once."""
    folder: Path = options.output
    if not (folder / "realism.json").is_file():
        own = samples(options, "fit", options.fit, seed=1)
        tables = FactTable.of(facts_of(real.fitted)), FactTable.of(facts_of(own))
        started = time.process_time()
        save_critic(folder, fit_critic(*tables))
        say(f"critic fitted in {time.process_time() - started:.1f} s of CPU")
    if not (folder / "plausibility.safetensors").is_file():
        known = (chem.parse(text) for text in real.known)
        table = Plausibility.of(describe(mol) for mol in known if mol is not None)
        save_plausibility(folder, table)
    return load_critic(folder), load_plausibility(folder)


def candidates(smiles: list[str], critic: RealismCritic, table: Plausibility) -> Candidates:
    """Candidates with what is thought of them."""
    facts, refusals = [], []
    for text in smiles:
        mol = chem.parse(text)
        assert mol is not None, text
        facts.append(describe(mol))
        refusals.append(table.refused(mol, facts=facts[-1]))
    return Candidates(smiles, facts, critic.logits(FactTable.of(facts)), refusals)


def measure(
    options: argparse.Namespace, drawn: Candidates, kept: NDArray[np.bool_], real: Real,
    table: Plausibility, held_back: list[Facts],
) -> dict[str, Any]:  # fmt: skip
    """Figures of the first ``-n`` candidates that are kept."""
    places = np.flatnonzero(kept)[: options.number]
    smiles = [drawn.smiles[i] for i in places]
    facts = [drawn.facts[i] for i in places]
    mols = [mol for mol in map(chem.parse, smiles) if mol is not None]
    rules = [oddities(mol) for mol in mols]
    shares = table.shares(facts)
    result: dict[str, Any] = {
        "kept": len(smiles),
        "decoded_per_kept": (int(places[-1]) + 1) / len(places),
        "unique": len(set(smiles)) / len(smiles),
        "novelty": sum(text not in real.everything for text in set(smiles)) / len(set(smiles)),
        "hard_oddities": sum(map(bool, rules)) / len(rules),
        "rules": dict(Counter(rule for each in rules for rule in each).most_common(8)),
        "unseen_ring_systems": shares["ring_systems"]["value"],
        "unseen_environments": shares["environments"]["value"],
        "auc": two_sample_auc(FactTable.of(held_back), FactTable.of(facts)),
    }
    if options.filters is not None:
        screen = load_filters(options.filters)
        result["filters"] = sum(screen.passes(mol) for mol in mols) / len(mols)
    if options.test is not None and frechet.available():
        result["fcd"] = fcd(options, smiles[: options.fcd_number])
    return result


_ACTIVATIONS: dict[str, NDArray[np.float32]] = {}  # of candidates, which several ways keep


def activations(smiles: list[str]) -> NDArray[np.float32]:
    """ChemNet's numbers of molecules, computed once."""
    new = [text for text in dict.fromkeys(smiles) if text not in _ACTIVATIONS]
    if new:
        _ACTIVATIONS.update(zip(new, frechet.activations(new), strict=True))
    return np.stack([_ACTIVATIONS[text] for text in smiles])


def fcd(options: argparse.Namespace, smiles: list[str]) -> float:
    """FCD against equally many test molecules, whose moments are kept."""
    path = options.output / f"test_{len(smiles)}.npz"
    if not path.is_file():
        test = [text for text in read_smiles([options.test]) if text]
        some = random.Random(1).sample(test, min(len(smiles), len(test)))
        frechet.Moments.of(frechet.activations(some)).save(path)
    mine = frechet.Moments.of(activations(smiles))
    return frechet.frechet_distance(mine, frechet.Moments.load(path))


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All ways to keep candidates, and what real molecules make of it."""
    options.output.mkdir(parents=True, exist_ok=True)
    real = read_real(options)
    critic, table = fitted(options, real)
    drawn = candidates(samples(options, "candidates", options.candidates, 2), critic, table)
    held_back = facts_of(real.held_back)
    uniform = Draws(0).uniform("realism", np.arange(len(drawn.smiles), dtype=np.int64), 1)[:, 0]
    by_critic = accepts(drawn.logits, uniform, critic.log_m(options.share))
    by_table = np.asarray([refusal is None for refusal in drawn.refusals])
    masks = dict(
        zip(WAYS, (by_table | True, by_critic, by_table, by_critic & by_table), strict=True)
    )
    real_logits = critic.logits(FactTable.of(held_back))
    real_uniform = np.random.default_rng(0).uniform(size=len(real_logits))
    result: dict[str, Any] = {
        "model": str(options.model),
        "share": options.share,
        "critic": {k: v for k, v in critic.record.items() if k != "losses"},
        "bytes": {path.name: path.stat().st_size for path in options.output.glob("*.safetensors")},
        "kinds": {"rings": len(table.ring_systems), "environments": len(table.environments)},
        "known_molecules": table.molecules,
        "real_held_back": {
            "kept": float(accepts(real_logits, real_uniform, critic.log_m(options.share)).mean()),
            **{name: share["value"] for name, share in table.shares(held_back).items()},
        },
        "versions": versions(),
        "ways": {},
    }
    for way, mask in masks.items():
        result["ways"][way] = measure(options, drawn, mask, real, table, held_back)
        say(f"{way}: {json.dumps(result['ways'][way])}")
        (options.output / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def table_of(result: dict[str, Any]) -> list[str]:
    """Rows of Markdown."""
    names = (
        "fcd", "novelty", "unique", "filters", "hard_oddities", "unseen_ring_systems",
        "unseen_environments", "auc", "decoded_per_kept", "kept",
    )  # fmt: skip
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for way, figures in result["ways"].items():
        cells = [f"{figures[name]:.4g}" if name in figures else "" for name in names]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return lines


def say(text: str) -> None:
    """A line for people."""
    sys.stderr.write(text + "\n")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-m", "--model", default="default", help="model, run folder or name")
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="training files")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for everything")
    parser.add_argument("-n", "--number", type=int, default=5000, help="molecules to keep")
    parser.add_argument("--candidates", type=int, default=12_000)
    parser.add_argument("--fit", type=int, default=24_000, help="molecules, and own samples")
    parser.add_argument("--known", type=int, default=200_000)
    parser.add_argument("--held-back", type=int, default=5000, help="real molecules")
    parser.add_argument("--share", type=float, default=0.5, help="kept by the critic")
    parser.add_argument("--fcd-number", type=int, default=10_000, help="of them, for the FCD")
    parser.add_argument("--test", type=Path, help="for the FCD")
    parser.add_argument("--filters", type=Path, help="folder of MOSES' pattern files")
    return parser.parse_args()


def main() -> None:
    """Parse the command line, measure, print the table."""
    sys.stdout.write("\n".join(table_of(run(arguments()))) + "\n")


if __name__ == "__main__":
    main()
