"""Whatever the network draws, the scaffold is in it; what may be decorated, and by what odds."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem, rdBase

from molvae import chem
from molvae.chem.selfies import constraints, from_selfies, split_selfies, to_selfies
from molvae.chem.vocabulary import EOS, Vocabulary
from molvae.errors import TargetError
from molvae.generate.decoding import Guidance
from molvae.generate.scaffold import Scaffold, decode_scaffold
from molvae.model.records import Context
from molvae.runtime.randomness import Draws

LIMIT = 70
ATOMS = """[C] [=C] [#C] [N] [=N] [#N] [O] [=O] [S] [=S] [F] [Cl] [NH1] [N+1] [=N+1] [O-1] [P]
[C@H1] [C@@H1] [C@] [C@@] [/C] [\\C] [/N] [\\N]"""
NUMBERED = (
    "[Ring1][Ring2][=Ring1][=Ring2][Branch1][Branch2][=Branch1][=Branch2][#Branch1][#Branch2]"
)
SYMBOLS = split_selfies(ATOMS + NUMBERED + "[nop].")
VOCABULARY = Vocabulary.of_symbols(SYMBOLS)

# Decorated where there is a hydrogen.
OPEN = ["CCO", "C1CCNCC1", "CC(=O)NC", "C1CCC2CCCCC2C1", "C[C@H](N)C(=O)O", "C[N+](=O)[O-]",
        "OC[C@H]1OC(O)[C@H](O)CC1", "C/C=C/CN", "CS(=O)(=O)N1CCCC1", "N#CCC1(C)CC1"]  # fmt: skip
# Decorated at their attachment points.
POINTS = ["*c1ccc(S(=O)(=O)N*)cc1", "C1CCN(*)CC1", "c1ccc2c(c1)ncn2*", "O=C1CSC(*)N1*",
          "*N[C@@H](C)C(=O)*", "N[C@@H](*)C(=O)O", "O=C(O)[C@]1(*)CCCN1", "*/C=C/C",
          "*C(*)=O", "C[N+](C)(C)*", "*/C(C)=C(C)/*", "c1cc2ccccc2cc1C1CCN(*)C1"]  # fmt: skip
AROMATIC = ["c1ccccc1", "c1ccc2[nH]ccc2c1", "O=C(Nc1ccccc1)c1ccccc1", "c1ccc(-c2ccncc2)cc1"]


def make(text, limit=LIMIT, *more, fill=False):
    return Scaffold([text, *more], VOCABULARY, constraints(), limit, fill=fill)


def context_of(values):
    """The context of a fake network, (B, 1)."""
    return Context(values, values, values, values)


def network(logits):
    """A network whose next token does not depend on anything but ``logits(rows)``."""

    def decoding(context):
        class Decoding:
            def __call__(self, tokens):
                return logits(len(tokens))

            def keep(self, rows):
                pass

        return Decoding()

    return SimpleNamespace(decoding=decoding)


def erratic(seed, sharpness=3.0):
    generator = torch.Generator().manual_seed(seed)
    return network(lambda n: sharpness * torch.randn(n, len(VOCABULARY), generator=generator))


def decode(
    net,
    scaffold,
    n,
    *,
    limit=LIMIT,
    particles=1,
    seed=0,
    temperature=1.0,
    first=0,
    cutoff=0.0,
    never=None,
):
    context = context_of(torch.zeros(n, 1))
    items = np.arange(first, first + n)
    return decode_scaffold(
        net, context, scaffold, items, Draws(seed), limit=limit, temperature=temperature,
        cutoff=cutoff, particles=particles, never=never,
    )  # fmt: skip


def molecules(texts):
    with rdBase.BlockLogs():
        result = [Chem.MolFromSmiles(from_selfies(text)) for text in texts]
    assert None not in result
    return result


# With other neighbours, or the same twice, an atom may be aromatic or no stereo centre.
FRAGILE = {*OPEN, "*C(*)=O", *(text for text in POINTS if "@" in text or "/" in text)}


def has_graph(mol, text):
    """Whether the atoms of the scaffold are there and bound, whatever the bonds."""
    options = Chem.AdjustQueryParameters.NoAdjustments()
    options.makeBondsGeneric = True
    core = Chem.RWMol(Chem.MolFromSmiles(text))
    for atom in reversed(list(core.GetAtoms())):
        if atom.GetAtomicNum() == 0:
            core.RemoveAtom(atom.GetIdx())
    return mol.HasSubstructMatch(Chem.AdjustQueryProperties(core.GetMol(), options))


@pytest.mark.parametrize("text", OPEN + POINTS)
@settings(max_examples=3)
@given(seed=st.integers(0, 2**31), extra=st.integers(0, 40))
def test_whatever_is_drawn_holds_the_scaffold(text, seed, extra):
    size = min(len(s.symbols) for s in make(text)._skeletons)
    scaffold = make(text, size + extra)
    drawn = decode(erratic(seed), scaffold, 20, limit=size + extra, seed=seed)
    assert all(len(split_selfies(each)) <= size + extra for each in drawn)
    result = molecules(drawn)
    assert all(has_graph(mol, text) for mol in result), drawn
    assert np.mean([scaffold.holds(mol) for mol in result]) >= (0.5 if text in FRAGILE else 1)


@pytest.mark.parametrize("text", AROMATIC)
def test_bonds_of_an_aromatic_scaffold_are_kept_up_to_aromaticity(text):
    scaffold = make(text)
    result = molecules(decode(erratic(1), scaffold, 60))
    assert all(has_graph(mol, text) for mol in result)
    one, eight = (
        np.mean(
            [scaffold.holds(m) for m in molecules(decode(erratic(1), scaffold, 50, particles=p))]
        )
        for p in (1, 8)
    )
    assert one > 0.5
    assert eight >= max(one, 0.99)


@pytest.mark.parametrize("text", ["CCO", "c1ccccc1", "*c1ccc(S(=O)(=O)N*)cc1", "C1CCN(*)CC1"])
def test_decorations_come_in_number_and_kind(text):
    scaffold = make(text)
    result = {Chem.MolToSmiles(mol) for mol in molecules(decode(erratic(2), scaffold, 100))}
    assert len(result) > 60
    sizes = {Chem.MolFromSmiles(smiles).GetNumHeavyAtoms() for smiles in result}
    assert len(sizes) > 10


@pytest.mark.parametrize("text", [*OPEN, *POINTS, *AROMATIC])
def test_at_the_length_limit_the_scaffold_is_bare(text):
    size = min(len(s.symbols) for s in make(text)._skeletons)
    for mol in molecules(decode(erratic(3), make(text, size), 8, limit=size)):
        marks = text.count("*")
        heavy = sum(a.GetAtomicNum() > 0 for a in Chem.MolFromSmiles(text).GetAtoms())
        assert heavy <= mol.GetNumAtoms() <= heavy + marks
        assert has_graph(mol, text)


def test_molecules_are_drawn_by_the_odds_of_the_network():
    """Chains of C and O around one N: all can be counted, and the network's odds of each."""
    logits = torch.full((len(VOCABULARY),), -60.0)
    drawn = {"[C]": 0.5, "[N]": 0.2}
    for symbol, share in drawn.items():
        logits[VOCABULARY.encode_symbols([symbol])[0]] = float(np.log(share))
    logits[EOS] = float(np.log(0.3))
    net = network(lambda n: logits.expand(n, -1).clone())
    decoded = decode(net, make("N", 30), 700, particles=16, limit=30)
    # A chain of the network with an N marked, of p = 0.5^carbons 0.2^nitrogens 0.3: by its length n
    # and the place of the mark, 0.3 (0.7)^(n-1) 0.2 each, so n 0.3 0.7^(n-1) in all.
    lengths = np.asarray([len(split_selfies(text)) for text in decoded])
    for n in (1, 2, 3, 4, 6):
        assert np.mean(lengths == n) == pytest.approx(0.09 * n * 0.7 ** (n - 1), abs=0.04)


def test_attachment_points_that_carry_stereo_or_a_charge_are_always_used():
    for text in ("N[C@@H](*)C(=O)O", "*/C=C/C", "C[N+](C)(C)*"):
        core = sum(a.GetAtomicNum() > 0 for a in Chem.MolFromSmiles(text).GetAtoms())
        result = molecules(decode(erratic(5), make(text), 50))
        assert min(mol.GetNumAtoms() for mol in result) > core


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_draws_belong_to_their_number(temperature):
    def logits(n):
        return torch.linspace(-2, 2, len(VOCABULARY)).expand(n, -1).clone()

    scaffold = make("c1ccccc1")
    options = {"particles": 3, "temperature": temperature}
    together = decode(network(logits), scaffold, 12, **options)
    apart = [decode(network(logits), scaffold, 1, first=i, **options)[0] for i in range(12)]
    assert together == apart
    assert together != decode(network(logits), scaffold, 12, seed=1, **options)


def test_tokens_without_training_molecules_come_in_the_scaffold_alone():
    names = VOCABULARY.tokens
    never = np.asarray([i for i, name in enumerate(names) if "O" in name or name == "[N]"])
    scaffold = make("CN")
    free = molecules(decode(erratic(1), scaffold, 60))
    assert any(atom.GetSymbol() == "O" for mol in free for atom in mol.GetAtoms())
    result = molecules(decode(erratic(1), scaffold, 60, never=never))
    for mol in result:
        assert mol.HasSubstructMatch(Chem.MolFromSmarts("CN"))
        assert all(atom.GetSymbol() != "O" for atom in mol.GetAtoms())
    # Where the scaffold leaves no other token, one of them is taken.
    everything = np.arange(3, len(names))
    bare = molecules(decode(erratic(1), scaffold, 20, never=everything))
    assert all(mol.HasSubstructMatch(Chem.MolFromSmarts("CN")) for mol in bare)


def test_a_cutoff_holds_among_the_tokens_that_are_allowed():
    """One that only the likeliest passes is temperature 0; a very low one changes nothing."""
    scaffold = make("c1ccccc1")
    cold = decode(erratic(5), scaffold, 20, temperature=0.0)
    assert decode(erratic(5), scaffold, 20, cutoff=0.999) == cold
    drawn = decode(erratic(5), scaffold, 20)
    assert drawn != cold
    assert decode(erratic(5), scaffold, 20, cutoff=1e-12) == drawn


def test_guidance_of_weight_one_is_none():
    scaffold = make("c1ccccc1")

    def by_context(context):
        class Decoding:
            rows = context.request.clone()

            def __call__(self, tokens):
                return self.rows * torch.linspace(-2, 2, len(VOCABULARY))

            def keep(self, rows):
                self.rows = self.rows[rows]

        return Decoding()

    net = SimpleNamespace(decoding=by_context)
    context, items = context_of(torch.linspace(0.5, 1.5, 9).unsqueeze(1)), np.arange(9)
    options = {"limit": 40, "temperature": 1.0, "particles": 2}
    plain = decode_scaffold(net, context, scaffold, items, Draws(0), **options)
    same = Guidance(context_of(torch.zeros(9, 1)), torch.ones(9))
    assert (
        decode_scaffold(net, context, scaffold, items, Draws(0), guidance=same, **options) == plain
    )
    none = Guidance(context, torch.zeros(9))
    zero = context_of(torch.zeros(9, 1))
    assert decode_scaffold(net, zero, scaffold, items, Draws(0), guidance=none, **options) == plain


def test_a_trained_model_writes_molecules_around_it(tiny_model):
    scaffold = Scaffold(
        ["c1ccccc1"], tiny_model.vocabulary, tiny_model.constraints, tiny_model.max_tokens
    )
    context = tiny_model.network.make_context(torch.zeros(30, 16), torch.ones(30))
    drawn = decode_scaffold(
        tiny_model.network.eval(), context, scaffold, np.arange(30), Draws(0),
        limit=tiny_model.max_tokens, temperature=1.0,
    )  # fmt: skip
    result = molecules(drawn)
    assert np.mean([scaffold.holds(mol) for mol in result]) >= 0.9
    assert len({Chem.MolToSmiles(mol) for mol in result}) > 20


# -- what is a scaffold ---------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["C*C", "[#6]-[O,N]", "[#6]~[#7]", "[c;R2]"])
def test_patterns_can_only_be_checked(text):
    scaffold = make(text)
    assert not scaffold.grows
    assert scaffold.texts == (text,)
    assert "rejection sampling" in scaffold.notes[0]


# -- several parts, SMARTS, filled points ---------------------------------------------------------

LINKED = ["*c1ccccc1.*N1CCOCC1", "*CCO.*NC(C)=O.C(*)C(*)O", "CCS.NC(=O)c1ccccc1",
          "*/C=C/C.*C1CCNC1", "N[C@@H](*)C(=O)O.*C1CCN(*)CC1",
          "*N1CCN(*)CC1.*C(=O)O.*C(F)(F)F"]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "fill"),
    [(text, fill) for text in LINKED for fill in (False, True)[: 1 + ("*" in text)]],
)
def test_parts_are_joined_by_linkers(text, fill):
    scaffold = make(text, fill=fill)
    drawn = decode(erratic(4), scaffold, 20, particles=8)
    result = molecules(drawn)
    assert all(len(split_selfies(each)) <= LIMIT for each in drawn)
    assert all(len(Chem.GetMolFrags(mol)) == 1 for mol in result)
    assert np.mean([has_parts(mol, text, fill=fill) for mol in result]) >= 0.9
    assert len({Chem.MolToSmiles(mol) for mol in result}) > 5


def has_parts(mol, text, *, fill):
    """Whether the parts are there, by a SMARTS with the degree of every atom, made here."""
    core = Chem.RWMol(Chem.MolFromSmiles(text))
    points = [atom.GetIdx() for atom in core.GetAtoms() if atom.GetAtomicNum() == 0]
    degrees = [atom.GetDegree() for atom in core.GetAtoms() if atom.GetIdx() not in points]
    for point in reversed(points):
        core.RemoveAtom(point)
    for match in mol.GetSubstructMatches(core, uniquify=False, maxMatches=10_000):
        have = [mol.GetAtomWithIdx(i).GetDegree() for i in match]
        if not points or all(
            (h == d) if fill else (h <= d) for h, d in zip(have, degrees, strict=True)
        ):
            return True
    return False


def test_linkers_differ_in_length_and_may_be_a_bond():
    scaffold = make("*c1ccccc1.*N1CCOCC1")
    result = molecules(decode(erratic(2), scaffold, 200))
    ends = Chem.MolFromSmarts("c1ccccc1.N1CCOCC1")
    distances = set()
    for mol in result:
        for match in mol.GetSubstructMatches(ends, uniquify=False):
            phenyl, nitrogen = match[:6], match[6]
            steps = Chem.GetDistanceMatrix(mol)
            distances.add(int(min(steps[nitrogen][i] for i in phenyl)))
    assert {1, 2, 3} <= distances


def test_several_texts_must_all_be_there():
    scaffold = make("CCO", LIMIT, "CC(=O)N", "[#6]S")
    assert scaffold.grows
    result = molecules(decode(erratic(4), scaffold, 40, particles=8))
    patterns = [Chem.MolFromSmarts(text) for text in ("[CX4][CX4][OX2]", "[CX4]C(=O)N", "[#6]S")]
    assert np.mean([all(map(mol.HasSubstructMatch, patterns)) for mol in result]) >= 0.8


def test_a_text_within_another_is_not_built_twice():
    scaffold, alone = make("c1ccccc1C(=O)N", LIMIT, "C(=O)N"), make("c1ccccc1C(=O)N")
    assert [s.symbols for s in scaffold._skeletons] == [s.symbols for s in alone._skeletons]


@pytest.mark.parametrize(
    "text", ["[*:1]Cc2ccc1cncc(C[*:2])c1c2", "*N[C@@H](C)C(=O)*", "N[C@@H](*)C(=O)N*", "*C(*)=O"]
)
def test_every_point_is_filled(text):
    result = molecules(decode(erratic(3), make(text, fill=True), 40, particles=8))
    assert np.mean([has_parts(mol, text, fill=True) for mol in result]) >= 0.95
    unfilled = molecules(decode(erratic(3), make(text), 40, particles=8))
    assert np.mean([has_parts(mol, text, fill=True) for mol in unfilled]) < 0.95


def test_a_smarts_without_hydrogens_is_built():
    scaffold = make("[#7]C(=O)c1ccccc1")
    result = molecules(decode(erratic(1), scaffold, 40, particles=8))
    amide = Chem.MolFromSmarts("[#7]C(=O)c1ccccc1")
    assert np.mean([mol.HasSubstructMatch(amide) for mol in result]) >= 0.9
    assert "NC(=O)c1ccccc1" in scaffold.notes[0]


def test_parts_that_make_no_chain_are_refused():
    with pytest.raises(TargetError, match="two attachment points"):
        make("*c1ccccc1.*N1CCOCC1.*C1CC1")


def test_fill_needs_points():
    with pytest.raises(TargetError, match=r"fill: 'c1ccccc1'.*\*"):
        make("c1ccccc1", fill=True)


@pytest.mark.parametrize("text", ["", " ", "xyz", "C(", "CC\nCC"])
def test_what_is_neither_is_refused(text):
    with pytest.raises(TargetError, match=r"SMILES .*SMARTS"):
        make(text)


def test_tokens_that_the_model_lacks_are_named():
    with pytest.raises(TargetError, match=r"\[I\]"):
        make("Ic1ccccc1")


def test_a_scaffold_must_fit():
    with pytest.raises(TargetError, match=r"13 symbols.*12"):
        make("C" * 13, 12)
    assert make("C" * 13, 13).grows


def test_it_travels_to_other_processes():
    scaffold = pickle.loads(pickle.dumps(make("C1CCN(*)CC1")))
    assert scaffold.holds(Chem.MolFromSmiles("CN1CCCCC1"))
    assert not scaffold.holds(Chem.MolFromSmiles("CN1CCCCC1C"))
    assert decode(erratic(0), scaffold, 5) == decode(erratic(0), make("C1CCN(*)CC1"), 5)


@pytest.mark.parametrize(
    "text",
    [t for t in (*OPEN, *POINTS, *AROMATIC) if "*" not in t or not {"@", "/", "+"} & set(t)],
)
def test_every_skeleton_is_the_scaffold(text):
    """Alone it is the scaffold as RDKit reads it."""
    for skeleton in make(text)._skeletons:
        bare = "".join(skeleton.symbols)
        mol = chem.parse(from_selfies(bare))
        assert mol is not None
        assert chem.contains(mol, text)
        assert to_selfies(Chem.MolToSmiles(mol)) is not None
