"""Facts of molecules: against RDKit's own functions, known molecules, and other atom orders."""

import hashlib
import os
import random
import subprocess
import sys
from collections import defaultdict

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors

from molvae.chem.realism_features import (
    FACTS,
    FINGERPRINT_SIZE,
    Parts,
    describe,
    environment_name,
    ring_system_name,
)
from tests.molecules import demo_and_hard, facts


@pytest.fixture(scope="module")
def molecules():
    return demo_and_hard()


def fact(smiles, name):
    return facts(smiles).integers[FACTS.index(name)]


def rings(smiles):
    return facts(smiles).ring_systems


def test_the_fingerprint_is_rdkits(molecules):
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=FINGERPRINT_SIZE)
    for mol in molecules:
        description = describe(mol)
        expected = generator.GetCountFingerprint(mol).GetNonzeroElements()
        assert (
            dict(zip(description.bins.tolist(), description.counts.tolist(), strict=True))
            == expected
        )


@pytest.mark.parametrize(
    ("name", "smarts"),
    [
        ("heavy_atoms", "[!#1]"),
        ("ring_double_bonds", "[!#1]=@[!#1]"),
        ("chain_double_bonds", "[!#1]=!@[!#1]"),
        ("hetero_hetero_bonds", "[!#6;!#1;!#5]~[!#6;!#1;!#5]"),
        ("charged_atoms", "[!+0]"),
        ("rotatable_bonds", "[!D1]-!@[!D1]"),
        ("S", "[#16]"),
        ("Cl", "[#17]"),
        ("N", "[#7]"),
        ("other_elements", "[!#1;!#6;!#7;!#8;!#9;!#15;!#16;!#17;!#35;!#53]"),
    ],
)
def test_counts_are_those_of_smarts(molecules, name, smarts):
    query = Chem.MolFromSmarts(smarts)
    for mol in molecules:
        expected = len(mol.GetSubstructMatches(query, uniquify=True, maxMatches=10_000))
        assert describe(mol).integers[FACTS.index(name)] == expected, Chem.MolToSmiles(mol)


def test_rings_are_those_of_rdkit(molecules):
    for mol in molecules:
        result = dict(zip(FACTS, describe(mol).integers, strict=True))
        sizes = [len(ring) for ring in mol.GetRingInfo().AtomRings()]
        assert result["rings"] == len(sizes)
        assert result["largest_ring"] == max(sizes, default=0)
        assert result["rings_of_6"] == sizes.count(6)
        assert result["rings_above_8"] == sum(size > 8 for size in sizes)
        aromatic = [result[name] for name in FACTS if "aromatic" in name]
        assert sum(aromatic) == rdMolDescriptors.CalcNumAromaticRings(mol)


def test_the_mass_is_exact():
    assert facts("CC(=O)Oc1ccccc1C(=O)O").mass == pytest.approx(180.0423, abs=1e-4)


# -- ring systems ---------------------------------------------------------------------------------


def test_substituents_hydrogens_and_charges_do_not_belong_to_a_ring_system():
    assert rings("c1ccccc1") == rings("Cc1ccc(O)cc1Br") == rings("c1ccccc1CCO")
    assert rings("c1cc[nH]c1") == rings("Cn1cccc1")
    assert rings("c1ccncc1") == rings("[O-][n+]1ccccc1")


def test_elements_aromaticity_and_bond_orders_belong_to_it():
    texts = (
        "c1ccccc1",
        "c1ccncc1",
        "C1CCCCC1",
        "C1=CCCCC1",
        "C1=CC=CCC1",
        "C1=CCC=CC1",
        "C1CCNCC1",
    )
    assert len({rings(text) for text in texts}) == len(texts)


def test_fused_and_spiro_rings_are_one_system_and_linked_ones_are_two():
    assert len(rings("c1ccc2ccccc2c1")) == 1
    assert len(rings("C1CCC2(CC1)CCNCC2")) == 1
    assert len(rings("C1CC2CCC1CC2")) == 1
    assert len(rings("c1ccccc1-c1ccccc1")) == 2
    assert len(set(rings("c1ccccc1-c1ccccc1"))) == 1
    assert rings("CCO") == ()


def test_isomers_differ():
    texts = (
        "c1ccc2cccc-2cc1",
        "c1ccc2ccccc2c1",
        "C1CCC2CCCC2CC1",
        "C1CCC2CCCCC2C1",
        "C1CC2CCC1CC2C1CCCC1",
    )
    result = [rings(text)[0] for text in texts]
    assert len(set(result)) == len(texts)
    assert rings("c1ccc2[nH]ccc2c1") != rings("c1ccc2c[nH]cc2c1")
    assert rings("c1cnc2nccnc2n1") != rings("c1cnc2cncnc2n1")


def test_ids_are_one_to_one_with_canonical_smiles_of_the_ring_system(molecules):
    forward, backward = defaultdict(set), defaultdict(set)
    for mol in molecules:
        description = describe(mol)
        for key, atoms in zip(description.ring_systems, description.ring_atoms, strict=True):
            text = canonical_ring_system(mol, atoms)
            forward[key].add(text)
            backward[text].add(key)
    assert len(forward) > 30
    assert all(len(texts) == 1 for texts in forward.values())
    assert all(len(keys) == 1 for keys in backward.values())


def canonical_ring_system(mol, atoms):
    """SMILES of the bare ring system, from a molecule of its own."""
    bare, place = Chem.RWMol(), {}
    for atom in atoms:
        new = Chem.Atom(mol.GetAtomWithIdx(atom).GetAtomicNum())
        new.SetIsAromatic(mol.GetAtomWithIdx(atom).GetIsAromatic())
        place[atom] = bare.AddAtom(new)
    for bond in mol.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        if bond.IsInRing() and i in place and j in place:
            bare.AddBond(place[i], place[j], bond.GetBondType())
    bare.UpdatePropertyCache(strict=False)
    return Chem.MolToSmiles(bare)


def test_the_order_of_atoms_does_not_matter(molecules):
    shuffle = random.Random(0)
    for mol in molecules[::3]:
        order = list(range(mol.GetNumAtoms()))
        shuffle.shuffle(order)
        result, other = describe(mol), describe(Chem.RenumberAtoms(mol, order))
        assert sorted(result.ring_systems) == sorted(other.ring_systems)
        assert sorted(result.environments) == sorted(other.environments)
        assert result.identity == other.identity
        assert result.integers == other.integers


def test_facts_are_those_of_earlier_versions(molecules):
    """Critics and tables of stored models were made of them; the digest is of version 0.2."""
    digest = hashlib.blake2b(digest_size=8)
    for mol in molecules:
        result = describe(mol)
        assert (np.diff(result.bins) > 0).all()
        read = (result.identity, result.ring_systems, result.environments, result.integers)
        digest.update(repr(read).encode())
    assert digest.hexdigest() == "9965e9a5acab5c6c"


def test_what_the_critic_needs_is_part_of_the_facts(molecules):
    for mol in molecules[::10]:
        part, whole = Parts(mol).outline(), describe(mol)
        assert part.bins.tolist() == whole.bins.tolist()
        assert part.counts.tolist() == whole.counts.tolist()
        assert (part.integers, part.mass, part.identity) == (
            whole.integers, whole.mass, whole.identity,
        )  # fmt: skip


@pytest.mark.process
def test_ids_are_the_same_on_every_machine_and_in_every_process():
    """A table of a model that was shipped must keep its meaning."""
    result = facts("c1ccncc1")
    assert result.ring_systems == (PYRIDINE,)
    assert facts("CO").environments == METHANOL
    code = (
        "from rdkit import Chem; from molvae.chem.realism_features import describe;"
        "f = describe(Chem.MolFromSmiles('c1ccncc1')); print(f.ring_systems[0], f.identity)"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert done.stdout.split() == [str(PYRIDINE), str(result.identity)]


PYRIDINE = 9338142621115828503
METHANOL = (9447136664002918823, 4223584542305708707)


def test_names_can_be_read():
    mol = Chem.MolFromSmiles("OCc1ccc2[nH]ccc2c1")
    assert ring_system_name(mol, describe(mol).ring_atoms[0]) == "c1ccc2[nH]ccc2c1"
    mol = Chem.MolFromSmiles("C[NH+](C)CC=O")
    assert environment_name(mol, 1) == "N+H(-C)(-C)(-C)"
    assert environment_name(mol, 4) == "CH(-C)(=O)"


def test_environments_see_bonds_hydrogens_charges_rings_and_neighbors():
    texts = ("CO", "C=O", "CN", "CCO", "C[O-]", "C1OC1")
    assert len({facts(text).environments[0] for text in texts}) == len(texts)
