"""SELFIES and ids: every sequence is a molecule, every molecule comes back, order is for ever."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem, rdBase

from molvae.chem.selfies import split_selfies, to_selfies
from molvae.chem.vocabulary import BOS, EOS, PAD, SPECIAL_TOKENS, Vocabulary
from molvae.errors import FileError, ModelFolderError

# Medicines, sugars, terpenes, cages, fused aromatics; stereo centers, double bonds, ions, zwitter-
# ions, ylids, azides, boron, silicon, phosphorus, sulfur in three oxidation states, all halogens.
MOLECULES = [
    "CC(=O)Oc1ccccc1C(=O)O",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "CC(C)Cc1ccc(cc1)[C@@H](C)C(=O)O",
    "CC(=O)Nc1ccc(O)cc1",
    "C[C@]12CC[C@H]3[C@H]([C@@H]1CC[C@@H]2O)CCC4=CC(=O)CC[C@]34C",
    "CC1([C@@H](N2[C@H](S1)[C@@H](C2=O)NC(=O)Cc3ccccc3)C(=O)O)C",
    "CN(C)CCc1c[nH]c2ccccc12",
    "COc1ccc2cc(ccc2c1)[C@H](C)C(=O)O",
    "O=C(O)c1cn(C2CC2)c2cc(N3CCNCC3)c(F)cc2c1=O",
    "CCCc1nn(C)c2c1nc([nH]c2=O)-c1cc(ccc1OCC)S(=O)(=O)N1CCN(C)CC1",
    "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(n1)-c1cccnc1",
    "COc1cc2ncnc(Nc3ccc(F)c(Cl)c3)c2cc1OCCCN1CCOCC1",
    "CN1[C@H]2CC[C@@H]1[C@H]([C@H](C2)OC(=O)c3ccccc3)C(=O)OC",
    "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O",
    "C/C=C/C(=O)NCc1ccco1",
    r"C/C=C\C(=O)NCc1cccs1",
    "C[N+](C)(C)CCOC(C)=O",
    "[O-][N+](=O)c1ccc(Cl)cc1",
    "[NH3+][C@@H](Cc1ccccc1)C(=O)[O-]",
    "C[S+]([O-])c1ccccc1",
    "CS(=O)(=O)c1ccc(cc1)C1=C(C(=O)OC1)c1ccccc1",
    "CCOP(=O)(OCC)SCCN(C)C",
    "OB(O)c1ccc(F)cc1",
    "C[Si](C)(C)C#Cc1ccccc1",
    "BrCC(I)C(Cl)F",
    "C1CC2CCC1CC2",
    "C1C2CC3CC1CC(C2)C3",
    "c1ccc2c(c1)ccc1ccccc12",
    "O=C1CCC(N2C(=O)c3ccccc3C2=O)C(=O)N1",
    "N#Cc1ccc(cc1)C(=O)N=[N+]=[N-]",
    "CC#CCN1C(=O)c2ccccc2S1(=O)=O",
    "c1ccc(cc1)C1(CCCCC1)N1CCCCC1",
    "O=C(Nc1ccc(C(F)(F)F)cc1)Nc1cnccn1",
    "C[n+]1ccccc1/C=N/O",
    "CC(C)(C)OC(=O)N[C@@H](CO)C(=O)N1CCC[C@H]1C#N",
    "O=c1[nH]cnc2[nH]ncc12",
    "CSCC[C@H](N)C(=O)O",
    "C12C3C4C1C5C2C3C45",
    "CC1=C(C(=O)C[C@@H]1OC(=O)[C@@H]2[C@H](C2(C)C)C=C(C)C)CC=C",
    "c1cc2ccc3cccc4ccc(c1)c2c34",
    "Oc1ccc(cc1)-c1coc2cc(O)cc(O)c2c1=O",
]


def canonical(smiles):
    """Canonical SMILES by RDKit alone."""
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    assert mol is not None, smiles
    return Chem.MolToSmiles(mol)


@pytest.fixture(scope="module")
def vocabulary():
    symbols = set()
    for smiles in MOLECULES:
        symbols |= set(split_selfies(to_selfies(canonical(smiles)) or ""))
    return Vocabulary.of_symbols(symbols)


@pytest.mark.parametrize("smiles", MOLECULES)
def test_a_molecule_survives_encoding_and_decoding(vocabulary, smiles):
    written = canonical(smiles)
    ids = vocabulary.encode(written)
    assert len(ids) == len(split_selfies(to_selfies(written) or ""))
    assert (ids >= len(SPECIAL_TOKENS)).all()
    assert canonical(vocabulary.decode(ids)) == written


def test_the_molecules_above_cover_what_they_claim():
    text = " ".join(MOLECULES)
    for part in ("@@", "/", "\\", "[O-]", "+]", "B", "[Si]", "P", "I", "Br", "Cl", "F", "#"):
        assert part in text, part
    assert len({canonical(s) for s in MOLECULES}) == len(MOLECULES) >= 40


@settings(max_examples=3 * settings.default.max_examples)
@given(data=st.data())
def test_any_sequence_of_ids_is_a_molecule_or_nothing(vocabulary, data):
    ids = data.draw(st.lists(st.integers(0, len(vocabulary) - 1), max_size=60))
    smiles = vocabulary.decode(ids)
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    assert mol is not None, smiles
    assert (mol.GetNumAtoms() == 0) == (smiles == "")


@given(st.lists(st.integers(0, 30), max_size=30))
def test_decoding_stops_at_the_first_end_and_skips_other_special_tokens(ids):
    vocabulary = Vocabulary.of_symbols([f"[{i}C]" for i in range(1, 29)])
    expected = ""
    for i in ids:
        if i == 2:
            break
        expected += vocabulary.tokens[i] if i > 2 else ""
    assert vocabulary.selfies(ids) == expected
    assert vocabulary.selfies(np.asarray(ids, dtype=np.uint8)) == expected


def test_special_tokens_have_their_ids_for_ever():
    assert (PAD, BOS, EOS) == (0, 1, 2)
    assert SPECIAL_TOKENS == ("<pad>", "<bos>", "<eos>")
    assert Vocabulary.of_symbols([]).tokens == SPECIAL_TOKENS


@given(st.permutations(["[C]", "[=O]", "[N+1]", "[Ring1]", ".", "[#Branch1]", "[/C@@H1]"]))
def test_the_order_is_sorted_whatever_the_input_order(symbols):
    tokens = Vocabulary.of_symbols([*symbols, *symbols]).tokens
    assert tokens[3:] == (".", "[#Branch1]", "[/C@@H1]", "[=O]", "[C]", "[N+1]", "[Ring1]")


@pytest.mark.process
def test_the_order_does_not_depend_on_the_hash_seed():
    code = (
        "from molvae.chem.selfies import split_selfies, to_selfies\n"
        "from molvae.chem.vocabulary import Vocabulary\n"
        "print(Vocabulary.of_symbols(set(split_selfies(to_selfies('CC(=O)Nc1ccc(O)cc1')))).tokens)"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True, timeout=280,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(printed) == 1
    assert "[C]" in printed.pop()


def test_a_vocabulary_reads_back_and_compares_by_its_tokens(vocabulary):
    same = Vocabulary(list(vocabulary.tokens))
    assert same == vocabulary
    assert hash(same) == hash(vocabulary)
    assert vocabulary != Vocabulary(vocabulary.tokens[:-1])
    assert vocabulary != vocabulary.tokens
    assert len(same) == len(vocabulary.tokens)
    assert "[C]" in vocabulary
    assert "[Xx]" not in vocabulary


@pytest.mark.parametrize(
    ("tokens", "part"),
    [
        ([], "expected"),
        (["[C]", "[N]", "[O]"], r"'\[C\]'"),
        (["<bos>", "<pad>", "<eos>", "[C]"], "expected"),
        ([*SPECIAL_TOKENS, "[C]", "[C]"], "twice"),
        ([*SPECIAL_TOKENS, "C"], "'C'.*SELFIES symbol"),
        ([*SPECIAL_TOKENS, "[C][N]"], "SELFIES symbol"),
        ([*SPECIAL_TOKENS, ""], "SELFIES symbol"),
        ([*SPECIAL_TOKENS, "[C]", "[foo]"], r"'\[foo\]'"),
    ],
)
def test_damaged_vocabularies_are_refused(tokens, part):
    with pytest.raises(ModelFolderError, match=part):
        Vocabulary(tokens)


@pytest.mark.parametrize(("symbols", "dtype"), [(253, np.uint8), (254, np.uint16)])
def test_ids_are_stored_in_the_smallest_type(symbols, dtype):
    vocabulary = Vocabulary.of_symbols(f"[{i}C]" for i in range(1, symbols + 1))
    assert vocabulary.dtype is dtype
    assert np.iinfo(dtype).max >= len(vocabulary) - 1


def test_unknown_symbols_are_named(vocabulary):
    assert vocabulary.unknown(["[C]", "[Se]", "[As]", "[Se]"]) == ["[As]", "[Se]"]
    with pytest.raises(FileError, match=r"\[Se\].*vocabulary"):
        vocabulary.encode("C[Se]C")


def test_no_symbols_no_ids(vocabulary):
    ids = vocabulary.encode_symbols([])
    assert ids.dtype == np.int64
    assert ids.shape == (0,)


# The last two make the parser of selfies 2.2.0 stumble rather than complain.
@pytest.mark.parametrize("smiles", ["CC(", "c1cccc1", "CF(C)C", "C1CC", "xyz", "p22", "F:1cnc1"])
def test_what_selfies_cannot_write_is_none_or_a_named_error(vocabulary, smiles):
    assert to_selfies(smiles) is None
    with pytest.raises(FileError, match="SELFIES"):
        vocabulary.encode(smiles)
