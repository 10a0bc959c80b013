"""Molecules generated for a measured column, judged by a forest that has seen all its values.

    molvae train FOLDER/seh_chembl.csv.gz --smiles-column Smiles -p "pIC50=pChEMBL Value" \
        --from default -o runs/seh --max-time 20m
    python scripts/bench/columns_judge.py FOLDER runs/seh pIC50=9 --set seh_chembl [--seeds 3]

Every row is ``--number`` novel molecules: without a target, and with it, with and without the walk
in the latent space. The judge is a forest of 500 trees on 2,048 Morgan bits of *all* molecules of
the set, the held-out ones of the run too. Overstatement is the mean of the model's predictions
minus that of the judge. Oddities are the share of molecules that break a rule of oddities.py.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from columns import SETS, read  # type: ignore[import-not-found]
from numpy.typing import NDArray
from oddities import oddities  # type: ignore[import-not-found]
from rdkit import Chem

from molvae import chem
from molvae.generate.request import Request
from molvae.generate.run import generate
from molvae.model.checkpoint import SavedModel, load_model

TREES = 500
_Floats = NDArray[np.float64]


def bits(smiles: list[str]) -> NDArray[np.uint8]:
    """Morgan bits (N, 2048)."""
    mols = [mol for mol in map(chem.parse, smiles) if mol is not None]
    assert len(mols) == len(smiles)
    return np.unpackbits(chem.fingerprints(mols, size=2048), axis=1)


class Judge:
    """A forest fitted to all molecules of a set."""

    def __init__(self, smiles: list[str], values: _Floats, *, yesno: bool) -> None:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        kind = RandomForestClassifier if yesno else RandomForestRegressor
        self.yesno = yesno
        self.forest = kind(TREES, random_state=0, n_jobs=-1).fit(bits(smiles), values)

    def __call__(self, smiles: list[str]) -> _Floats:
        """Values, or probabilities of yes."""
        if self.yesno:
            return np.asarray(self.forest.predict_proba(bits(smiles))[:, 1])
        return np.asarray(self.forest.predict(bits(smiles)))


def row(
    way: str, seed: int, model: SavedModel, target: str, judge: Judge, novel: Path, number: int
) -> str:
    """Generate one way and return a row of the table."""
    started = time.monotonic()
    name = target.partition("=")[0]
    asked = way != "no target"
    request = Request(walk={"walk": True, "no walk": False}.get(way), allow_misses=True)
    generated = [
        molecule.smiles
        for molecule in generate(
            number, model=model, targets=[target] if asked else [], request=request, seed=seed,
            novel=[novel],
        )
    ]  # fmt: skip
    seconds = time.monotonic() - started
    assert model.predictors is not None
    predicted, judged = model.predictors.predict(generated, [name])[name], judge(generated)
    odd = np.mean([bool(oddities(Chem.MolFromSmiles(text))) for text in generated])
    error = judged.std() / max(len(judged), 1) ** 0.5
    cells = [
        way, str(seed), f"{len(generated)}", f"{predicted.mean.mean():.2f}",
        f"{judged.mean():.2f} ± {error:.2f}", f"{predicted.mean.mean() - judged.mean():+.2f}",
        f"{np.quantile(judged, 0.9):.2f}", f"{predicted.inside.mean():.0%}", f"{odd:.1%}",
        f"{seconds:.0f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the sets are")
    parser.add_argument("model", help="a run trained on the set")
    parser.add_argument("target", help="as for molvae generate, such as pIC50=9")
    parser.add_argument("--set", choices=SETS, default="seh_chembl")
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    source = SETS[options.set]
    table = read(options.folder, source)
    judge = Judge(table.smiles, table.values, yesno=source.kind == "yesno")
    model = load_model(options.model)
    columns = ["way", "seed", "molecules", "predicted", "judge", "overstatement",
               "judge, best tenth", "inside", "oddities", "s"]  # fmt: skip
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    with tempfile.TemporaryDirectory() as name:
        novel = Path(name) / "known.smi"
        novel.write_text("\n".join(table.smiles) + "\n")
        for seed in range(options.seeds):
            for way in ("no target", "no walk", "walk"):
                line = row(way, seed, model, options.target, judge, novel, options.number)
                print(line, flush=True)


if __name__ == "__main__":
    main()
