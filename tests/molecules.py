"""Molecules for tests of what RDKit finds in them: of the demo library, and hard ones."""

import csv
import gzip
import itertools
from pathlib import Path

from rdkit import Chem

from molvae.chem.realism_features import describe

DEMO = Path(__file__).parents[1] / "data" / "demo.csv.gz"
HARD = (
    "C1CC2CCC1CC2",
    "C12C3C4C1C5C2C3C45",
    "CC[N+](C)(C)CC(=O)[O-]",
    "C1=CC=CC=CC=C1",
    "c1ccc2c(c1)[nH]c1ccccc12",
    "O=S1(=O)CCC2(CC1)OCCO2",
    "[2H]C([2H])([2H])O",
    "C[Si](C)(C)C#N",
    "OP(=O)(O)OB(O)O",
)


def demo_smiles(count):
    """The first SMILES of the demo library."""
    with gzip.open(DEMO, "rt") as rows:
        return [row["smiles"] for row in itertools.islice(csv.DictReader(rows), count)]


def demo_and_hard():
    """300 molecules of the demo library, then the hard ones."""
    return [Chem.MolFromSmiles(text) for text in (*demo_smiles(300), *HARD)]


def facts(smiles):
    """Facts of one molecule."""
    return describe(Chem.MolFromSmiles(smiles))
