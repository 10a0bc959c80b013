"""Walk and jump compared with proposals alone, at an equal number of decoded candidates.

For every target ``--each`` molecules are chosen among ``--candidates`` each. The error is that of
the molecules: for a column that is named like a descriptor of RDKit (one that molvae does not
compute), it is the descriptor's, not the prediction by which they were chosen.

    python - <<'END' > user.csv
    import csv, gzip, sys
    from rdkit import Chem
    from rdkit.Chem.GraphDescriptors import BertzCT
    rows = [row["SMILES"] for row in csv.DictReader(gzip.open("moses_train.csv.gz", "rt"))]
    print("smiles,BertzCT")
    for i, smiles in enumerate(rows[:20000]):
        print(smiles, "" if i % 4 else f"{BertzCT(Chem.MolFromSmiles(smiles)):.2f}", sep=",")
    END
    molvae train user.csv -p BertzCT --from runs/moses -o runs/user --max-time 10m
    python scripts/bench/walk.py runs/user logp=6 logp=8 tpsa=180 BertzCT=500 BertzCT=1200
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import Descriptors
from rdkit.Chem.Scaffolds import MurckoScaffold

from molvae.chem.properties import PROPERTIES
from molvae.generate.request import Generated, Request
from molvae.generate.run import GenerationSummary, generate
from molvae.model.checkpoint import load_model
from molvae.runtime.progress import say
from molvae.targets import parse_target

TRUTH = dict(Descriptors.descList)


def values_of(name: str, molecules: list[Generated]) -> NDArray[np.float64]:
    """Values of the molecules; predictions only if nothing else is known."""
    if name in PROPERTIES or name not in TRUTH:
        return np.asarray([molecule.values[name] for molecule in molecules])
    mols = [Chem.MolFromSmiles(molecule.smiles) for molecule in molecules]
    return np.asarray([TRUTH[name](mol) for mol in mols])


def main() -> None:
    """Ask every target both ways, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("targets", nargs="+", help="as for molvae generate; several joined by ,")
    parser.add_argument("--each", type=int, default=512, help="molecules per target")
    parser.add_argument("--candidates", type=int, default=32)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int)
    given = parser.parse_args()
    model = load_model(given.model)
    lines = [
        "| target | way | error | as predicted | unique scaffolds | decoded each | s |",
        "|---|---|---|---|---|---|---|",
    ]
    for text in given.targets:
        targets = text.split(",")
        for walk in (False, True):
            started, summary = time.monotonic(), GenerationSummary(wanted=given.each)
            request = Request(
                candidates=given.candidates, max_tries=given.candidates, allow_misses=True,
                walk=walk, guidance=given.guidance, realism=None, novel_rings=True,
            )  # fmt: skip
            generated = list(
                generate(
                    given.each, model=model, targets=targets, request=request, seed=given.seed,
                    workers=given.workers, summary=summary,
                )
            )  # fmt: skip
            true: list[str] = []
            requests: list[str] = []
            for target in map(parse_target, targets):
                for errors, values in (
                    (true, values_of(target.name, generated)),
                    (
                        requests,
                        np.asarray([molecule.values[target.name] for molecule in generated]),
                    ),
                ):
                    missed = np.abs(np.clip(values, target.low, target.high) - values)
                    errors.append(f"{missed.mean():.3g} ± {missed.std() / len(missed) ** 0.5:.2g}")
            cores = {scaffold(molecule.smiles) for molecule in generated}
            lines.append(
                f"| {text} | {'walk and jump' if walk else 'proposals alone'} | {', '.join(true)} "
                f"| {', '.join(requests)} | {len(cores) / len(generated):.2f} "
                f"| {summary.decoded / given.each:.1f} | {time.monotonic() - started:.0f} |"
            )
            say(lines[-1])
    sys.stdout.write("\n".join(lines) + "\n")


def scaffold(smiles: str) -> str:
    """Bemis and Murcko's."""
    return str(MurckoScaffold.MurckoScaffoldSmiles(smiles))


if __name__ == "__main__":
    main()
