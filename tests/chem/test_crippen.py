"""logP and refractivity by environment are RDKit's, to the last bit."""

import re
from pathlib import Path

import numpy as np
from rdkit import Chem, RDConfig
from rdkit.Chem import rdMolDescriptors

from molvae.chem.counts import descriptors
from molvae.chem.crippen import crippen
from molvae.chem.environments import Environments, environments
from molvae.chem.properties import compute
from tests.molecules import demo_and_hard, demo_smiles, random_molecules, unusual_molecules


def by_rdkit(mol):
    return tuple(rdMolDescriptors.CalcCrippenDescriptors(mol))


def different(mols):
    """SMILES of those for which RDKit differs, the first time or when all is known."""
    twice = [(mol, crippen(mol, environments(mol))) for mol in mols for _ in range(2)]
    return [Chem.MolToSmiles(mol) for mol, values in twice if values != by_rdkit(mol)]


def test_usual_molecules_equal_rdkit():
    mols = demo_and_hard()
    assert different(mols) == []
    texts = [Chem.MolToSmiles(mol, doRandom=True) for mol in mols]  # atoms in another order
    assert different(map(Chem.MolFromSmiles, texts)) == []


def test_unusual_molecules_equal_rdkit():
    assert different(unusual_molecules()) == []


def test_random_molecules_equal_rdkit():
    assert different(random_molecules(400)) == []


def test_properties_and_descriptors_use_it():
    mols = [Chem.MolFromSmiles(text) for text in demo_smiles(20)]
    logp, refractivity = zip(*map(by_rdkit, mols), strict=True)
    assert tuple(compute(mol, ["logp"])[0] for mol in mols) == logp
    assert descriptors(mols)[:, :2].tolist() == np.float32([logp, refractivity]).T.tolist()


def test_another_definition_is_left_to_rdkit(monkeypatch):
    mol = Chem.MolFromSmiles("CCO")
    monkeypatch.setattr(rdMolDescriptors, "_CalcCrippenDescriptors_version", "2.0.0")
    assert crippen(mol, Environments([0] * 3, [0] * 3)) == by_rdkit(
        mol
    )  # environments that do not exist


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
