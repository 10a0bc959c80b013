"""Rebuild the committed files of the tests: the golden model, or the tiny run of tests/assets.

    python scripts/regenerate_golden.py golden
    python scripts/regenerate_golden.py assets

`golden` is a tiny model and what it must generate, release after release. Rebuild it only when the
model folder's format or the meaning of a seed changes on purpose, and say in CHANGELOG.md why.

`assets` is the dataset and the run folder that tests use when they need some model. Nothing depends
on its exact weights; rebuild it when the network gets new parts.
"""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
import sys
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
ASSETS = ROOT / "tests" / "assets"

MOLECULES = 400  # of the demo library, from its start: few enough to memorize
SEED = 7
SMILES = (
    "O=C(Nc1ccc(-c2ccc(F)c(Cl)c2)cc1)c1cncnc1",
    "Cn1cc(-c2ccc(S(N)(=O)=O)cc2)cn1",
    "C[C@@H]1COCCN1C(=O)c1ccc(-c2ccccc2)o1",
)
TARGET = "logp=2.5"
OPTIONS: dict[str, Any] = {
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

ASSET_MOLECULES = 300
ASSET_OPTIONS: dict[str, Any] = {
    "data.properties": OPTIONS["data.properties"],
    "data.conditions": OPTIONS["data.conditions"],
    "train.epochs": 15,
    "train.validations": 2,
    "train.ema_decay": 0.9,
    "train.precision": "fp32",
}


def demo_table(scratch: Path, molecules: int) -> Path:
    """A CSV file of the first molecules of the demo library."""
    table = scratch / "demo.csv"
    with gzip.open(ROOT / "data" / "demo.csv.gz", "rt", encoding="utf-8") as rows:
        table.write_text("".join(itertools.islice(rows, molecules + 1)), encoding="utf-8")
    return table


def train_tiny(scratch: Path, table: Path, options: dict[str, Any]) -> None:
    """Prepare the table as ``scratch/tiny.ds`` and train the tiny preset as ``scratch/run``."""
    config = load_config(preset="tiny", overrides=options)
    prepare([table], scratch / "tiny.ds", config.data, workers=1)
    options = {key: value for key, value in options.items() if key != "data.properties"}
    settings = load_config(preset="tiny", overrides=options)
    train([scratch / "tiny.ds"], scratch / "run", settings, device="cpu")


def make_assets(scratch: Path) -> None:
    """The dataset and the run folder, without its training state and with 16-bit weights."""
    train_tiny(scratch, demo_table(scratch, ASSET_MOLECULES), ASSET_OPTIONS)
    shutil.rmtree(ASSETS, ignore_errors=True)
    shutil.copytree(scratch / "tiny.ds", ASSETS / "tiny.ds")
    run = ASSETS / "tiny_run"
    MolVAE.load(scratch / "run").save(run / "model", half=True)
    for name in ("metrics.jsonl", "rejects.csv"):
        shutil.copy(scratch / "run" / name, run / name)
    record = json.loads((scratch / "run" / "config.json").read_text(encoding="utf-8"))
    record["dataset"]["folder"] = "tiny.ds"  # tests/conftest.py puts the full path here
    (run / "config.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def make_model(scratch: Path) -> None:
    """Train on the first molecules of the demo library; store 16-bit weights."""
    train_tiny(scratch, demo_table(scratch, MOLECULES), OPTIONS)
    MolVAE.load(scratch / "run").save(MODEL, half=True)


def expectations() -> dict[str, Any]:
    """Output of the stored model; the test computes it too and compares."""
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


def rebuild_golden(scratch: Path) -> None:
    """Rebuild tests/golden and print what differs from before."""
    before = json.loads(EXPECTED.read_text(encoding="utf-8")) if EXPECTED.is_file() else {}
    GOLDEN.mkdir(parents=True, exist_ok=True)
    make_model(scratch)
    now = expectations()
    EXPECTED.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
    set_quiet(False)
    for key, value in now.items():
        if before.get(key) != value:
            say(f"changed: {key}")
    say("if anything changed, CHANGELOG.md must say why")


def main() -> None:
    """Rebuild one of the two folders and print its size."""
    if sys.argv[1:] not in (["golden"], ["assets"]):
        sys.exit("usage: regenerate_golden.py golden|assets")
    folder, rebuild = (GOLDEN, rebuild_golden) if sys.argv[1] == "golden" else (ASSETS, make_assets)
    torch.set_num_threads(1)
    set_quiet(True)
    with tempfile.TemporaryDirectory() as scratch:
        rebuild(Path(scratch))
    set_quiet(False)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    say(f"{folder.relative_to(ROOT)}: {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
