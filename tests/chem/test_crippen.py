"""logP and refractivity by environment are RDKit's, to the last bit."""

import random
import re
from pathlib import Path

import selfies
from rdkit import Chem, RDConfig
from rdkit.Chem import rdMolDescriptors

from molvae.chem import crippen as module
from molvae.chem.crippen import crippen
from molvae.chem.properties import compute
from tests.molecules import demo_and_hard, demo_smiles

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


def by_rdkit(mol):
    return tuple(rdMolDescriptors.CalcCrippenDescriptors(mol))


def random_molecules(count, seed=0):
    """Molecules of SELFIES with all symbols of a robust alphabet, charged ones among them."""
    alphabet = sorted(selfies.get_semantic_robust_alphabet())
    generator = random.Random(seed)
    for _ in range(count):
        text = "".join(generator.choices(alphabet, k=generator.randint(2, 40)))
        mol = Chem.MolFromSmiles(selfies.decoder(text))
        if mol is not None:
            yield mol


def test_usual_molecules_equal_rdkit_and_no_search_is_needed():
    mols = demo_and_hard()
    assert [crippen(mol) for mol in mols] == [by_rdkit(mol) for mol in mols]
    smiles = [Chem.MolToSmiles(mol, doRandom=True) for mol in mols]  # atoms in another order
    again = [Chem.MolFromSmiles(text) for text in smiles]
    assert [crippen(mol) for mol in again] == [by_rdkit(mol) for mol in again]
    environments = [module._environments(mol) for mol in again]
    assert sum(found is None for found in environments) == 1  # that with deuterium
    table = module._contributions().table
    assert all(environment in table for found in environments for environment in found or ())


def test_unusual_molecules_equal_rdkit():
    different = []
    for smiles in UNUSUAL.split():
        raw = Chem.MolFromSmiles(smiles, sanitize=False)
        raw.UpdatePropertyCache(strict=False)
        Chem.FastFindRings(raw)
        mols = [raw, *filter(None, [Chem.MolFromSmiles(smiles)] * 2)]  # the second time from memory
        different += [smiles for mol in mols if crippen(mol) != by_rdkit(mol)]
    assert different == []


def test_random_molecules_equal_rdkit():
    different = [Chem.MolToSmiles(m) for m in random_molecules(400) if crippen(m) != by_rdkit(m)]
    assert different == []


def test_what_the_properties_use():
    for mol in map(Chem.MolFromSmiles, demo_smiles(20)):
        assert compute(mol, ["logp"]) == by_rdkit(mol)[0]
        assert crippen(mol, refractivity=False)[0] == by_rdkit(mol)[0]


def test_contributions_are_kept_in_bounded_memory(monkeypatch):
    fresh = module._Contributions()
    monkeypatch.setattr(module, "_contributions", lambda: fresh)
    monkeypatch.setattr(module, "MOST", 60)
    for mol in demo_and_hard():
        assert crippen(mol) == by_rdkit(mol)
        assert len(fresh.table) <= 60 + mol.GetNumAtoms()
    few = module._Contributions()
    monkeypatch.setattr(module, "_contributions", lambda: few)
    monkeypatch.setattr(module, "KINDS", 10)
    for mol in demo_and_hard():
        assert crippen(mol) == by_rdkit(mol)
    assert len(few.kinds) == 10


def test_another_definition_is_left_to_rdkit(monkeypatch):
    mol = Chem.MolFromSmiles("CCO")
    assert module._environments(mol) is not None
    monkeypatch.setattr(rdMolDescriptors, "_CalcCrippenDescriptors_version", "2.0.0")
    assert module._environments(mol) is None
    assert crippen(mol) == by_rdkit(mol)


def test_no_pattern_sees_more_than_an_environment():
    """RDKit's SMARTS: how far they reach, and what they ask of the neighbors."""
    lines = (Path(RDConfig.RDDataDir) / "Crippen.txt").read_text().splitlines()
    texts = [line.split("\t")[1] for line in lines if line.strip() and not line.startswith("#")]
    patterns = [Chem.MolFromSmarts(text) for text in texts if text]
    assert len(patterns) == 110
    for pattern in patterns:
        distances = Chem.GetDistanceMatrix(pattern)[0].tolist()
        atoms = [atom.GetSmarts() for atom in pattern.GetAtoms()]
        hydrogen = atoms[0] == "[#1]"
        oxygen = any(
            text.lstrip("[").startswith(("O", "o", "#8")) for text in atoms[: 1 + hydrogen]
        )
        assert max(distances) <= 1 + hydrogen + oxygen, atoms
        for text, distance in zip(atoms, distances, strict=True):
            if distance == 1 and not (hydrogen or oxygen):  # element, charge, aromaticity alone
                assert not re.search(r"[XDRrxv]\d|(?<!#)H|\$", text), atoms
