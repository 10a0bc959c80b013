"""Derivation features against a derivation of single molecules, symbol by symbol."""

import gzip
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from molvae import chem
from molvae.chem.selfies import (
    constraints,
    from_selfies,
    index_of,
    meaning,
    split_selfies,
    to_selfies,
)
from molvae.chem.vocabulary import Vocabulary, grammar_table
from molvae.data.dataset import pad_tokens
from molvae.model.derivation import SIZES, Derivation

FAR = 10**6
SYMBOLS = [
    "[C]", "[=C]", "[#C]", "[N]", "[=N]", "[O]", "[=O]", "[F]", "[=S]", "[P]", "[NH1]", "[O-1]",
    "[N+1]", "[C@@H1]", *(f"[{bond}{kind}{n}]" for bond in ("", "=") for kind in ("Branch", "Ring")
                 for n in (1, 2, 3)),
]  # fmt: skip
VOCABULARY = Vocabulary.of_symbols(SYMBOLS)


def derived(symbols):
    """The features before each symbol and after the last one, by a derivation with a stack."""
    at = resume = atoms = digits = value = order = 0
    kind = ""
    frames = [[FAR, 0]]  # of each chain: where it ends, bonds of its last atom

    def features():
        end, bonds = frames[-1]
        way = 7 if resume > at or bonds < 0 else 0
        if digits:
            way = digits + 3 * (kind == "ring")
        left = 0 if len(frames) == 1 else min(end - at, 19)
        return way, min(bonds + 1, 7), left, min(len(frames) - 1, 5), min(atoms, 44)

    result = [features()]
    for symbol in symbols:
        what, frame = meaning(symbol), frames[-1]
        if digits:
            value, digits = 16 * value + index_of([symbol]), digits - 1
            if not digits and kind == "ring":
                frame[1] = frame[1] - min(order, frame[1]) or -1
            elif not digits:
                inside = min(frame[1] - 1, order)
                frame[1] -= inside
                frames.append([at + 1 + value + 1, inside])
        elif at >= resume and frame[1] >= 0:
            if what.kind == "atom":
                bond = min(what.order, frame[1], what.size)
                atoms += bool(bond) or frame[1] == 0
                frame[1] = what.size - bond or -1
            elif frame[1] > (what.kind == "branch"):
                digits, value, order, kind = what.size, 0, what.order, what.kind
        at += 1
        while not digits and len(frames) > 1:
            end, bonds = frames[-1]
            if bonds >= 0 and end > max(at, resume):
                break
            resume = max(at, resume, end)
            frames.pop()
        result.append(features())
    return result


def features(vocabulary, molecules):
    """The features of each molecule, as `derived` gives them."""
    network = Derivation(3, grammar_table(vocabulary.tokens, constraints()))
    inputs, _, _ = pad_tokens([vocabulary.encode_symbols(symbols) for symbols in molecules])
    first = torch.tensor(np.cumsum([0, *SIZES[:-1]]))
    rows = network.features(torch.from_numpy(inputs)) - first
    return [
        [tuple(each) for each in row[: len(symbols) + 1].tolist()]
        for row, symbols in zip(rows, molecules, strict=True)
    ]


def test_a_molecule_derived_by_hand():
    """Propanoic acid: its branch holds one atom, which the end of the branch follows."""
    symbols = split_selfies("[C][C][C][=Branch1][C][=O][O]")
    way, bonds, left, depth, atoms = zip(*features(VOCABULARY, [symbols])[0], strict=True)
    assert way == (0, 0, 0, 0, 1, 0, 0, 0)  # one digit
    assert bonds == (1, 5, 4, 4, 4, 3, 2, 2)  # one more than there are, since -1 is the first
    assert left == (0, 0, 0, 0, 0, 1, 0, 0)
    assert depth == (0, 0, 0, 0, 0, 1, 0, 0)
    assert atoms == (0, 1, 2, 3, 3, 3, 4, 5)


def test_real_molecules():
    source = Path(__file__).parents[2] / "data" / "demo.csv.gz"
    with gzip.open(source, "rt", encoding="utf-8") as rows:
        smiles = [row.split(",")[0] for row in islice(rows, 1, 301)]
    molecules = [split_selfies(to_selfies(each)) for each in smiles]
    vocabulary = Vocabulary.of_symbols(symbol for each in molecules for symbol in each)
    result = features(vocabulary, molecules)
    assert result == [derived(each) for each in molecules]
    sizes = [chem.parse(from_selfies("".join(each))).GetNumAtoms() for each in molecules]
    assert [each[-1][4] for each in result] == [min(size, 44) for size in sizes]


@given(st.lists(st.lists(st.sampled_from(SYMBOLS), max_size=60), min_size=1, max_size=20))
def test_any_symbols(molecules):
    """Branches that end behind their chain, numbers behind an end, chains without bonds."""
    shallow = [each for each in molecules if max(row[3] for row in derived(each)) < 5]
    assert features(VOCABULARY, [[], *shallow])[1:] == [derived(each) for each in shallow]


def test_deep_branches_do_not_end_it():
    result = features(VOCABULARY, [["[C]", *["[Branch3]", "[C]", "[P]", "[P]", "[C]"] * 20]])
    assert max(row[3] for row in result[0]) == 5


def test_molecules_that_leave_change_nothing():
    rng = np.random.default_rng(0)
    tokens = torch.from_numpy(rng.integers(3, len(VOCABULARY), (40, 30)))
    network = Derivation(3, grammar_table(VOCABULARY.tokens, constraints()))
    whole, state = network.features(tokens), network.begin(40)
    rows = torch.arange(40)
    for step in range(30):
        assert torch.equal(state.step(tokens[rows, step]), whole[rows, step])
        stay = torch.from_numpy(rng.random(len(rows)) < 0.95)
        rows = rows[stay]
        state.keep(stay)


@pytest.mark.parametrize("grammar", [None, np.zeros((3, 4), dtype=np.int64)])
def test_a_network_needs_the_grammar_of_its_tokens(grammar):
    from molvae.config import ModelConfig
    from molvae.model.cvae import CVAE

    with pytest.raises(ValueError, match="grammar"):
        CVAE(ModelConfig(), 11, 3, grammar)
