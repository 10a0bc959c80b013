"""Molecules for tests of what RDKit finds in them: of the demo library, and hard ones."""

import csv
import gzip
import itertools
import random
from pathlib import Path

import selfies
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

# Charges, metals, radicals, isotopes, explicit hydrogens, wildcards, odd bonds, aromatic elements.
UNUSUAL = """C [CH3] [O] O [OH-] [NH4+] [H][H] [2H]C [13CH3]C([2H])([3H])O [H]O[H] *CC
    C1=CC=CN1[O] c1cccc[n]1->O CN(C)(C)->O F[B-](F)(F)F c1ccccn1->B(F)(F)F [Na+].[Cl-]
    [K+].[O-]C(=O)C [Li]CCCC C[Mg]Br [Fe] [U] [Fe+2].c1ccc[cH-]1 [I+] [I-] C[I+]C CCl(=O)=O
    c1ccsc1 c1cc[se]c1 c1ccoc1 c1cc[pH]c1 c1ccpcc1 c1cc[te]c1 c1cc[o+]cc1 c1cc[s+]cc1 C[n+]1ccccc1
    C[s+]1cccc1 b1ccccc1 c1ccc2[nH]c3ccccc3c2c1 O=c1cc[nH]cc1 [O-][n+]1ccccc1 N#[N+]c1ccccc1
    [N-]=[N+]=NC [N-]=[N+]=C [C-]#[O+] [C-]#[N+]C C[N+](=O)[O-] CN(=O)=O C[S+]([O-])C CS(C)=O
    CS(=O)(=O)[O-] C[S-] CS CS(=N)(=O)C S=C=S O=C=O O=S=O O=O OO OOO N=N NN NO CON C=NO C=O O=CN
    CC(=O)[O-] [O-]C(=O)[O-] OC(=O)C(=O)O NC(N)=O OC(=O)O CC(=S)O OC=C OC=N c1ccccc1O c1ccccc1C=O
    O=C(c1ccccc1)c1ccccc1 CC(=O)c1ccccc1 NC(=O)c1ccccc1 C=C=C C#C C=Cc1ccccc1 C1CC1=C2CC2 Cc1ccncc1
    C[Si](C)(C)O C[Se]C C[As](C)C CB(O)O CP(C)(C)=O OP(=O)(O)O P C[P+](C)(C)C [CH2]C [CH]C [NH]C
    CNc1ccccc1 CN(C)c1ccccc1 c1ccccc1N(c1ccccc1)c1ccccc1 C[NH2+]C C=[NH2+] C=[N+](C)C FC(F)(F)F
    BrC(Br)Br IC#N ClC=C c1ccccc1F c1ccccc1Cl c1ccccc1Br c1ccccc1I c1ccccc1[Si]
    C1=CC(=C2C=CC=C2)C=C1 FS(F)(F)(F)(F)F F[P-](F)(F)(F)(F)F Cl[Pt](Cl)(N)N [Zn+2]
    [Hg]C [SnH3]C [H+] [H-] [CH3-] [CH3+]
    [C] [Si] [cH-]1cccc1 [n-]1cccc1 O=[N+]=O [O-][Cl+3]([O-])([O-])[O-] N$C [Xe] F[Xe]F C~C C~O"""


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


def unusual_molecules():
    """The unusual ones: as written, without perception of aromaticity, and sanitized."""
    for smiles in UNUSUAL.split():
        raw = Chem.MolFromSmiles(smiles, sanitize=False)
        raw.UpdatePropertyCache(strict=False)
        Chem.FastFindRings(raw)
        yield from filter(None, (raw, Chem.MolFromSmiles(smiles)))


def random_molecules(count, seed=0):
    """Molecules of SELFIES with all symbols of a robust alphabet, charged ones among them."""
    alphabet = sorted(selfies.get_semantic_robust_alphabet())
    generator = random.Random(seed)
    for _ in range(count):
        text = "".join(generator.choices(alphabet, k=generator.randint(2, 40)))
        mol = Chem.MolFromSmiles(selfies.decoder(text))
        if mol is not None:
            yield mol
