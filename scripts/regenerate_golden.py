"""Rebuild tests/golden: a tiny trained model and what it must give for ever.

    python scripts/regenerate_golden.py

Run it only when the model folder's format or the meaning of a seed changes on purpose, and say in
CHANGELOG.md why. It prints what changed.
"""

from __future__ import annotations

import gzip
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from molvae.api import MolVAE
from molvae.config import load_config
from molvae.data.prepare import prepare
from molvae.runtime.progress import say, set_quiet
from molvae.train.run import train

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
MODEL = GOLDEN / "model-v1"
EXPECTED = GOLDEN / "expected.json"

MOLECULES = 400  # of the demo library, from its start: few enough to be learnt by heart
SEED = 7
SMILES = (
    "O=C(Nc1ccc(-c2ccc(F)c(Cl)c2)cc1)c1cncnc1",
    "Cn1cc(-c2ccc(S(N)(=O)=O)cc2)cn1",
    "C[C@@H]1COCCN1C(=O)c1ccc(-c2ccccc2)o1",
)
TARGET = "logp=2.5"
OPTIONS = {
    "data.properties": {"assay": "assay"},
    "data.conditions": ["logp", "qed", "mw", "assay"],
    "model.latent_size": 24,
    "train.epochs": 300,
    "train.kl_weight": 0.005,
    "train.exact_share": 0.5,
    "train.prior_share": 0.3,
    "train.validations": 1,
    "train.ema_decay": 0.98,
    "train.seed": SEED,
    "train.precision": "fp32",
}


def make_model(scratch: Path) -> None:
    """Train on the first molecules of the demo library; store 16-bit weights."""
    table = scratch / "demo.csv"
    with gzip.open(ROOT / "data" / "demo.csv.gz", "rt", encoding="utf-8") as rows:
        table.write_text("".join(itertools.islice(rows, MOLECULES + 1)), encoding="utf-8")
    config = load_config(preset="tiny", overrides=OPTIONS)
    prepare([table], scratch / "ds", config.data, workers=1)
    plain = {key: value for key, value in OPTIONS.items() if key != "data.properties"}
    settings = load_config(preset="tiny", overrides=plain)
    train([scratch / "ds"], scratch / "run", settings, device="cpu")
    MolVAE.load(scratch / "run").save(MODEL, half=True)


def expectations() -> dict[str, Any]:
    """What the stored model gives; the test computes the same and compares."""
    model = MolVAE.load(MODEL)
    z = model.encode(SMILES)
    options: dict[str, Any] = {"seed": SEED, "device": "cpu", "precision": "fp32", "workers": 0}
    return {
        "seed": SEED,
        "target": TARGET,
        "unconditioned": model.generate(20, **options)["smiles"].tolist(),
        "targeted": model.generate(20, [TARGET], guidance=1.0, **options)["smiles"].tolist(),
        "guided": model.generate(20, [TARGET], **options)["smiles"].tolist(),
        "smiles": list(SMILES),
        "latent_means": [[round(float(v), 5) for v in row] for row in z],
        "reconstructed": model.decode(z),
    }


def main() -> None:
    """Rebuild the folder and say what differs from before."""
    torch.set_num_threads(1)
    set_quiet(True)
    before = json.loads(EXPECTED.read_text(encoding="utf-8")) if EXPECTED.is_file() else {}
    GOLDEN.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        make_model(Path(scratch))
    now = expectations()
    EXPECTED.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
    set_quiet(False)
    for key, value in now.items():
        if before.get(key) != value:
            say(f"changed: {key}")
    size = sum(path.stat().st_size for path in MODEL.iterdir())
    say(f"{MODEL.relative_to(ROOT)}: {size / 1000:.0f} kB")
    say("if anything changed, CHANGELOG.md must say why")


if __name__ == "__main__":
    main()
