"""SELFIES and ids: every sequence is a molecule, every molecule comes back, order is for ever."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import selfies
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rdkit import Chem, rdBase

from molvae.errors import FileError, ModelFolderError
from molvae.tokens import (
    BOS,
    EOS,
    PAD,
    SPECIAL_TOKENS,
    Meaning,
    Vocabulary,
    constraints,
    from_selfies,
    index_of,
    index_symbols,
    meaning,
    split_selfies,
    to_selfies,
    use_constraints,
)

# Medicines, sugars, terpenes, cages, fused aromatics; stereo centres, double bonds, ions, zwitter-
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


@settings(max_examples=300)
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


def test_the_order_does_not_depend_on_the_hash_seed():
    code = (
        "from molvae.tokens import Vocabulary, split_selfies, to_selfies\n"
        "print(Vocabulary.of_symbols(set(split_selfies(to_selfies('CC(=O)Nc1ccc(O)cc1')))).tokens)"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True, timeout=120,
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
        (["[C]", "[N]", "[O]"], r"got first tokens \['\[C\]'"),
        (["<bos>", "<pad>", "<eos>", "[C]"], "expected"),
        ([*SPECIAL_TOKENS, "[C]", "[C]"], "twice"),
        ([*SPECIAL_TOKENS, "C"], "'C' is not a SELFIES symbol"),
        ([*SPECIAL_TOKENS, "[C][N]"], "not a SELFIES symbol"),
        ([*SPECIAL_TOKENS, ""], "not a SELFIES symbol"),
        ([*SPECIAL_TOKENS, "[C]", "[foo]"], r"'\[foo\]' has no meaning"),
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
    with pytest.raises(FileError, match=r"token \[Se\] is not in this vocabulary of \d+ tokens"):
        vocabulary.encode("C[Se]C")


def test_no_symbols_no_ids(vocabulary):
    ids = vocabulary.encode_symbols([])
    assert ids.dtype == np.int64
    assert ids.shape == (0,)


# The last two make the parser of selfies 2.2.0 stumble rather than complain.
@pytest.mark.parametrize("smiles", ["CC(", "c1cccc1", "CF(C)C", "C1CC", "xyz", "p22", "F:1cnc1"])
def test_what_selfies_cannot_write_is_none_or_a_named_error(vocabulary, smiles):
    assert to_selfies(smiles) is None
    with pytest.raises(FileError, match="cannot be written as SELFIES"):
        vocabulary.encode(smiles)


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("", []),
        ("[C][=O]", ["[C]", "[=O]"]),
        ("[Na+1].[Cl-1]", ["[Na+1]", ".", "[Cl-1]"]),
        ("[C@@H1][=Branch1][Ring2]", ["[C@@H1]", "[=Branch1]", "[Ring2]"]),
    ],
)
def test_splitting_loses_nothing(text, symbols):
    assert split_selfies(text) == symbols
    assert "".join(symbols) == text


def test_selfies_may_describe_no_atom():
    assert from_selfies("") == ""
    assert from_selfies("[nop]") == ""


# Symbols of which any sequence makes sense, and those that are left to the library.
ATOMS = r"""[C] [=C] [#C] [N] [=N] [O] [=O] [F] [S] [=S] [P] [=P] [H] [Br] [N+1] [O-1] [C@@H1]
[C@H1] [/C] [\C] [13C] [NH1] [CH4] [CH3-1] [Fe] [Cu+2] [BH0]"""
LINKS = itertools.product(("", "=", "#"), ("Branch", "Ring"), (1, 2, 3))
ORDINARY = [*ATOMS.split(), *("[{}{}{}]".format(*link) for link in LINKS)]
RARE = ["[nop]", ".", "[-/Ring1]", "[\\/Ring2]", "[CH9]", "[epsilon]", "[X]", "[C", "C]", "x"]


def decoded(decode, text):
    """What a decoder gives, or that it refuses the text."""
    try:
        return decode(text)
    except selfies.DecoderError:
        return selfies.DecoderError


@settings(max_examples=1000)
@given(
    st.lists(st.sampled_from(ORDINARY), max_size=70),
    st.sampled_from(["default", "octet_rule", "hypervalent"]),
)
@example(["[C]"] * 3 + ["[Ring1]", "[C]"] * 3, "default")  # a ring between neighbours: a bond grows
@example(["[C]", "[Ring1]", "[C]", "[C]"], "default")  # a ring to itself
@example(["[C]"] * 30 + ["[Ring2]", "[Ring1]", "[C]"] * 2, "default")  # twice the same ring
@example(["[C]", "[C]", "[C]", "[Ring1]", "[Ring1]"] * 12, "default")  # numbers beyond 9
@example(["[C]", "[Branch3]", "[Ring2]"], "default")  # digits are missing
@example(["[C]", "[Branch1]", "[C]", "[Branch1]", "[N]", "[O]", "[F]"], "default")  # it overruns
@example(["[C]", "[CH4]", "[C]"], "default")  # an atom without room
def test_the_decoder_is_that_of_the_library(symbols, limits):
    with use_constraints(selfies.get_preset_constraints(limits)):
        text = "".join(symbols)
        assert from_selfies(text) == selfies.decoder(text)


@given(st.lists(st.sampled_from(ORDINARY + RARE), max_size=30))
def test_rare_symbols_and_nonsense_mean_what_they_mean_to_the_library(symbols):
    text = "".join(symbols)
    assert decoded(from_selfies, text) == decoded(selfies.decoder, text)


def test_the_decoder_follows_limits_that_others_set():
    assert from_selfies("[C][=C]") == "C=C"
    selfies.set_semantic_constraints({**constraints(), "C": 1})
    assert from_selfies("[C][=C]") == "CC"


def test_limits_are_in_force_inside_and_restored_after():
    before = constraints()
    tight = {**before, "C": 2}
    with use_constraints(tight):
        assert constraints() == tight
        assert to_selfies("C=C=C") is None  # four bonds at the middle carbon
        assert canonical(from_selfies("[C][#C][#C]")) == "C=C"
    assert constraints() == before
    assert canonical(from_selfies("[C][#C]")) == "C#C"


def leave_by_an_error(limits):
    with use_constraints(limits):
        raise KeyError("x")


def test_limits_are_restored_after_an_exception():
    before = constraints()
    with pytest.raises(KeyError):
        leave_by_an_error({**before, "N": 1})
    assert constraints() == before


def test_limits_nest_and_equal_limits_change_nothing():
    before = constraints()
    with use_constraints(before), use_constraints({**before, "C": 3}):
        with use_constraints({**before, "C": 2}):
            assert constraints()["C"] == 2
        assert constraints()["C"] == 3
    assert constraints() == before


def test_the_limits_given_out_are_a_copy():
    constraints()["C"] = 99
    assert constraints()["C"] == 4


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("[=N]", Meaning("atom", 2, 3)),
        ("[/C@@H1]", Meaning("atom", 1, 3)),
        ("[N+1]", Meaning("atom", 1, 4)),
        ("[#Branch2]", Meaning("branch", 3, 2)),
        ("[-/Ring1]", Meaning("ring", 1, 1)),
        (".", Meaning("other")),
        ("[nop]", Meaning("other")),
        ("<eos>", Meaning("other")),
    ],
)
def test_what_symbols_mean(symbol, expected):
    assert meaning(symbol) == expected


def test_bonds_of_an_atom_are_those_of_the_limits_in_force():
    with use_constraints({**constraints(), "N": 2}):
        assert meaning("[N]").size == 2
    assert meaning("[N]").size == 3


@given(st.integers(0, 4095))
def test_numbers_are_written_in_base_16_and_read_back(number):
    symbols = index_symbols(number)
    assert index_of(symbols) == number
    assert len(symbols) == max(1, len(f"{number:x}"))


def test_a_ring_number_is_a_distance():
    # Six atoms in a chain, closed with the atom `distance` before the last one.
    for distance in (2, 3, 5):
        text = "[C]" * 6 + "[Ring1]" + "".join(index_symbols(distance - 1))
        mol = Chem.MolFromSmiles(from_selfies(text))
        assert [len(ring) for ring in mol.GetRingInfo().AtomRings()] == [distance + 1]
