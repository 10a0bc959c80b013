"""SELFIES are the library's, and the bonding limits are put back."""

import itertools

import pytest
import selfies
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rdkit import Chem, rdBase

from molvae.chem.selfies import (
    Meaning,
    constraints,
    from_selfies,
    index_of,
    index_symbols,
    meaning,
    split_selfies,
    to_selfies,
    use_constraints,
)
from tests.molecules import HARD, demo_smiles


def canonical(smiles):
    """Canonical SMILES by RDKit alone."""
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    assert mol is not None, smiles
    return Chem.MolToSmiles(mol)


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


@settings(max_examples=10 * settings.default.max_examples)
@given(
    st.lists(st.sampled_from(ORDINARY), max_size=70),
    st.sampled_from(["default", "octet_rule", "hypervalent"]),
)
@example(["[C]"] * 3 + ["[Ring1]", "[C]"] * 3, "default")  # a ring between neighbors: a bond grows
@example(["[C]", "[Ring1]", "[C]", "[C]"], "default")  # a ring to itself
@example(["[C]"] * 30 + ["[Ring2]", "[Ring1]", "[C]"] * 2, "default")  # twice the same ring
@example(["[C]", "[C]", "[C]", "[Ring1]", "[Ring1]"] * 12, "default")  # numbers beyond 9
@example(["[C]", "[Branch3]", "[Ring2]"], "default")  # digits are missing
@example(["[C]", "[Branch1]", "[C]", "[Branch1]", "[N]", "[O]", "[F]"], "default")  # it overruns
@example(["[C]", "[CH4]", "[C]"], "default")  # an atom without free valence
def test_the_decoder_is_that_of_the_library(symbols, limits):
    with use_constraints(selfies.get_preset_constraints(limits)):
        text = "".join(symbols)
        assert from_selfies(text) == selfies.decoder(text)


@given(st.lists(st.sampled_from(ORDINARY + RARE), max_size=30))
def test_rare_symbols_and_nonsense_mean_what_they_mean_to_the_library(symbols):
    text = "".join(symbols)
    assert decoded(from_selfies, text) == decoded(selfies.decoder, text)


def encoded(smiles):
    """What the library's encoder gives, or None where it refuses the text or fails."""
    try:
        return selfies.encoder(smiles)
    except (selfies.EncoderError, LookupError):
        return None


# Written in odd ways, and nonsense.
ODD = r"""
F/C=C\F C/1CCCC/C1=C/C C1CC/C=C\CC1 F/C=C/1CC\1 C1=CC=CC=CC=C1 c1cc[nH]c1 c1cc[nH+]cc1 c1ccoc1
c1cc[se]c1 c1cc[s+]cc1 [O-][n+]1ccccc1 O=c1cc[nH]cc1 c1ccc2c(c1)[nH]c1ccccc12 c1cc2cccc3ccc(c1)c23
C1=CC2=CC=CC2=C1 c1ccc(-c2ccccc2)cc1 c1cnn[cH-]1 [cH-]1cccc1 c1ccp[nH]1 b1ccccc1 c1c[bH]cc1
[c]1ccccc1 n1c[nH]c2c1ncnc2=O N[C@@H](C)C(=O)O C[C@]12CC[C@H](C1)C2 [C@@]1(C)(F)CCO1 C1C[C@]12CN2
O1CC[C@@]1(F)Cl C(F)1CC1 CC(C)(C)1CC1 [2H]C([2H])([2H])O [13CH4] [Fe+2] [H][H] [nH]1cccc1
C%10CC%10 C=1CC=1 C=1CC1 C1CC=1 C/1CC\1 C12C3C4C1C5C2C3C45 C#N C=[N+]=[N-]
[O-][Cl+3]([O-])([O-])[O-] CS(C)(=O)=O OP(O)(=O)O [CH2] C[CH]C [CH3-] [NH4+] C1CCCCCCCCCCCCCCCCC1
c1ccc2ccc3cccc4ccc1c2c34 s1c2ccccc2c2ccccc12 Cn1cnc2c1c(=O)n(C)c(=O)n2C C-C c1cc-ccc1 C:C
c:1:c:c:c:c:c:1 C.C F(C)C C(C)(C)(C)(C)C cccc c1ccc1 c1cccc1 n1ccccc1C(C)(C)(C)(C) [Xx] * C* C( C)
C(C)) (C) C1 C1CC2 C11 C1C1 C= =C C==C C(=) C1C()C1 C(1CC1) C$C C@C [C@@@H] [C C% C%1 c é CC\n
[nH] xyz Cl1CC1 C[te]C [as]1cccc1
"""
PIECES = "C c n [nH] o s N O = # - / ( ) 1 2 %12 . [C@H] [O-] Cl"


@pytest.mark.parametrize("limits", ["default", "octet_rule", "hypervalent"])
def test_the_encoder_is_that_of_the_library(limits):
    with use_constraints(selfies.get_preset_constraints(limits)):
        for smiles in (*ODD.split(), *HARD, "", " ", *demo_smiles(200)):
            assert to_selfies(smiles) == encoded(smiles), smiles


@given(st.lists(st.sampled_from(ORDINARY), max_size=70))
def test_the_encoder_is_that_of_the_library_for_decoded_symbols(symbols):
    smiles = selfies.decoder("".join(symbols))
    assert to_selfies(smiles) == encoded(smiles)
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    if mol is not None:  # aromatic, and with the rings elsewhere
        smiles = Chem.MolToSmiles(mol)
        assert to_selfies(smiles) == encoded(smiles)


@given(st.lists(st.sampled_from(PIECES.split())))
def test_nonsense_is_refused_as_by_the_library(tokens):
    assert to_selfies("".join(tokens)) == encoded("".join(tokens))


@pytest.mark.parametrize("part", [0.25, 0.5, 0.75])
def test_broken_texts_are_refused_as_by_the_library(part):
    for smiles in demo_smiles(100):
        cut = smiles[: int(part * len(smiles))]
        assert to_selfies(cut) == encoded(cut), cut


def test_usual_molecules_are_not_left_to_the_library(monkeypatch):
    monkeypatch.setattr(selfies, "encoder", lambda smiles: pytest.fail(smiles))
    assert all(map(to_selfies, demo_smiles(200)))


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
