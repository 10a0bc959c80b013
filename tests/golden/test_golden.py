"""A stored model must load and give what it always gave.

If a test here fails, mend the code. Only a change made on purpose may rebuild the folder, with
scripts/regenerate_golden.py golden, and CHANGELOG.md must then say why.
"""

import json
from pathlib import Path

import pytest

from molvae import MolVAE

FOLDER = Path(__file__).parent
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
EQUAL = 18  # of 20 molecules: sums in another order, on another machine, may break a tie


@pytest.fixture(scope="module")
def model():
    return MolVAE.load(FOLDER / "model-v1")


@pytest.mark.parametrize(
    ("key", "targets", "options"),
    [
        ("unconditioned", [], {}),
        ("targeted", [EXPECTED["target"]], {"guidance": 1.0}),
        ("guided", [EXPECTED["target"]], {}),
    ],
)
def test_a_seed_gives_the_molecules_it_always_gave(model, key, targets, options):
    table = model.generate(
        20, targets, seed=EXPECTED["seed"], device="cpu", precision="fp32", workers=0, **options
    )
    equal = sum(a == b for a, b in zip(table["smiles"], EXPECTED[key], strict=True))
    assert equal >= EQUAL


def test_latent_means_stay_within_a_thousandth(model):
    z = model.encode(EXPECTED["smiles"])
    for row, expected in zip(z.tolist(), EXPECTED["latent_means"], strict=True):
        assert row == pytest.approx(expected, abs=1e-3)


def test_molecules_come_back_from_their_latent_means(model):
    decoded = model.decode(model.encode(EXPECTED["smiles"]))
    assert decoded == EXPECTED["reconstructed"] == EXPECTED["smiles"]


def test_the_folder_is_small():
    assert sum(path.stat().st_size for path in (FOLDER / "model-v1").iterdir()) < 310_000
