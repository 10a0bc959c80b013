"""Candidates that the realism critic and the plausibility table refuse."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from rdkit import Chem

from molvae import chem
from molvae.chem import properties
from molvae.chem.realism_features import describe
from molvae.chem.screening import Decoded
from molvae.chem.selfies import from_selfies
from molvae.cli import main
from molvae.data.shard import Shard
from molvae.errors import RunError, TargetError
from molvae.generate import blocks
from molvae.generate.realism import EACH, FIRST, request_thresholds
from molvae.generate.request import TRIES, Request
from molvae.generate.run import generate_file
from molvae.generate.sampler import Sampler
from molvae.realism.critic import accepts, kept_share, log_m_of
from molvae.realism.inputs import FactTable
from molvae.realism.screen import UNLIKE
from molvae.runtime.processes import process_pool
from molvae.runtime.randomness import Draws
from molvae.targets import parse_target

RING, ATOM = (f"{kind} without training molecules" for kind in ("ring system", "atom environment"))
FEWER = 16  # candidates that estimate a threshold, to save time
UNUSUAL = "O=C1CCCCCCCCCCC1N1CCC1"  # a ring of 12 atoms, which no training molecule has


@pytest.fixture(autouse=True)
def fewer_candidates(monkeypatch):
    monkeypatch.setattr("molvae.generate.realism.CALIBRATION", FEWER)


def sampler(model, *targets, seed=0, batch_size=1024, executor=None, workers=1, **options):
    request = Request(targets=tuple(map(parse_target, targets)), **options)
    parts = {"batch_size": batch_size, "executor": executor, "workers": workers}
    return Sampler(model, request, seed=seed, precision="fp32", **parts)


def smiles(sampler, n, first=0):
    return [molecule.smiles for molecule in sampler.stream(n, first)]


def candidates(model, numbers, turn):
    """Molecules decoded from the prior as candidates of wanted numbers."""
    items = np.asarray(numbers, dtype=np.int64) * TRIES + turn
    nothing = np.full((len(items), model.network.config.latent_size), np.nan, dtype=np.float32)
    proposer = sampler(model).proposer
    texts = proposer.texts(items, nothing, np.ones(len(items), dtype=np.float32))
    mols = [Chem.MolFromSmiles(from_selfies(text)) for text in texts]
    return items, [Chem.MolFromSmiles(Chem.MolToSmiles(mol)) for mol in mols]


def passes(model, items, mols):
    """Which candidates the critic and the table keep, from their definitions."""
    described = [describe(mol) for mol in mols]
    logits = model.critic.logits(FactTable.of(described))
    uniform = Draws(0).uniform("realism", items, 1)[:, 0]
    kept = accepts(logits, uniform, model.critic.log_m(0.5))
    seen = [model.plausibility.unseen(molecule) == ((), ()) for molecule in described]
    radical = [any(a.GetNumRadicalElectrons() for a in mol.GetAtoms()) for mol in mols]
    return kept, np.asarray(seen), np.asarray(radical)


def test_a_sample_is_the_first_candidate_that_critic_and_table_keep(realistic_model):
    n, turns = 20, 5
    expected, reasons = [None] * n, {UNLIKE: 0, "unseen": 0, "unpaired electrons": 0}
    for turn in range(turns):
        items, mols = candidates(realistic_model, range(n), turn)
        for i, (kept, seen, radical) in enumerate(
            zip(*passes(realistic_model, items, mols), strict=True)
        ):
            reason = "unpaired electrons" if radical else UNLIKE if not kept else "unseen"
            if not radical and kept and seen:
                expected[i] = expected[i] or Chem.MolToSmiles(mols[i])
            elif turn == 0:
                reasons[reason] += 1
    written = smiles(sampler(realistic_model, unique=False), n)
    assert len(written) == n
    assert sum(map(bool, expected)) > 12
    assert [text for text, wanted in zip(written, expected, strict=True) if wanted] == [
        wanted for wanted in expected if wanted
    ]
    assert min(reasons[UNLIKE], reasons["unseen"]) > 0
    first = sampler(realistic_model, unique=False, max_tries=1)
    smiles(first, n)
    assert first.refused[UNLIKE] == reasons[UNLIKE]
    assert first.refused[RING] + first.refused[ATOM] == reasons["unseen"]


@pytest.mark.parametrize(
    ("targets", "options"),
    [
        ((), {}),
        pytest.param(("logp=2.5",), {}, marks=pytest.mark.slow),
        pytest.param(("qed=0.2:", "assay=6"), {}, marks=pytest.mark.slow),
        (("sas=:4",), {"nll": True}),
    ],
)
def test_without_realism_the_molecules_are_those_of_a_model_without_critic(
    realistic_model, targets, options
):
    bare = replace(realistic_model, critic=None, plausibility=None)
    plain = sampler(bare, *targets, **options)
    free = sampler(realistic_model, *targets, realism=None, novel_rings=True, **options)
    assert list(free.stream(3)) == list(plain.stream(3))
    assert (free.refused, free.decoded) == (plain.refused, plain.decoded)


@pytest.mark.parametrize(
    "targets", [("logp=1:4",), pytest.param(("qed=0.5",), marks=pytest.mark.slow)]
)
def test_batches_and_first_number_change_nothing(realistic_model, targets):
    first = smiles(sampler(realistic_model, *targets, unique=False), 4)
    assert smiles(sampler(realistic_model, *targets, unique=False, batch_size=7), 4) == first
    later = smiles(sampler(realistic_model, *targets, unique=False), 2, first=2)
    if not any("=0.5" in target for target in targets):  # a choice depends on its block
        assert later == first[2:]
    assert smiles(sampler(realistic_model, *targets, unique=False, seed=1), 4) != first


@pytest.mark.process
def test_workers_change_nothing(realistic_model):
    alone = sampler(realistic_model, "logp=1:4", batch_size=20)
    first = smiles(alone, 30)
    with process_pool(2) as pool:
        parallel = sampler(realistic_model, "logp=1:4", batch_size=20, executor=pool, workers=2)
        assert smiles(parallel, 30) == first
    assert (parallel.refused, parallel.refused.examples) == (alone.refused, alone.refused.examples)


@pytest.fixture
def small_blocks(monkeypatch):
    for place in ("blocks", "run", "sampler"):
        monkeypatch.setattr(f"molvae.generate.{place}.BLOCK", 4)


@pytest.mark.slow  # without realism: tests/generate/test_run.py
def test_a_resumed_run_and_shards_write_the_same_molecules(
    realistic_folder, tmp_path, small_blocks, monkeypatch
):
    request = Request(unique=False)
    options = {"model": realistic_folder, "targets": ["logp=1:5"], "request": request, "workers": 1}
    whole = generate_file(tmp_path / "whole.smi", 12, **options)
    write = blocks.Blocks.write

    def stopping(self, number, rows, record):
        if self.finished:
            raise KeyboardInterrupt
        write(self, number, rows, record)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks.Blocks, "write", stopping)
        with pytest.raises(RunError, match="1 finished block"):
            generate_file(tmp_path / "again.smi", 12, **options)
    resumed = generate_file(tmp_path / "again.smi", 12, **options, resume=True)
    assert (tmp_path / "again.smi").read_bytes() == (tmp_path / "whole.smi").read_bytes()
    assert (resumed.refused, resumed.examples) == (whole.refused, whole.examples)
    assert whole.refused[UNLIKE] > 0
    lines = (tmp_path / "whole.smi").read_text().splitlines()
    for i, rows in ((1, lines[:4] + lines[8:]), (2, lines[4:8])):
        generate_file(tmp_path / f"{i}.smi", 12, **options, shard=Shard(i, 2))
        parts = (tmp_path / f"{i}.smi").read_text().splitlines()
        assert [line.split()[0] for line in parts] == [line.split()[0] for line in rows]


def test_the_threshold_of_a_request_is_that_of_its_own_candidates(realistic_model):
    drawn = sampler(realistic_model, "logp=4.5")
    items = (FIRST + np.arange(FEWER)) * TRIES
    latent_size = realistic_model.network.config.latent_size
    nothing = np.full((FEWER, latent_size), np.nan, dtype=np.float32)
    texts = drawn.proposer.texts(items, nothing, np.ones(FEWER, dtype=np.float32))
    mols = [chem.parse(chem.canonical_smiles(from_selfies(text)) or "") for text in texts]
    usable = [mol for mol in mols if mol is not None and not chem.has_radical(mol)]
    logits = realistic_model.critic.logits(FactTable.of([describe(mol) for mol in usable]))
    assert drawn._screen.realism.log_m == log_m_of(logits, 0.5)
    assert kept_share(logits, drawn._screen.realism.log_m) == pytest.approx(0.5, abs=1e-6)
    assert drawn._screen.realism.log_m != realistic_model.critic.log_m(0.5)
    for free in (sampler(realistic_model), sampler(realistic_model, "sas=1:5")):
        assert free._screen.realism.log_m == realistic_model.critic.log_m(0.5)


def test_without_a_usable_candidate_the_threshold_is_that_of_samples(realistic_model):
    items = (FIRST + np.arange(2)) * TRIES
    usual = request_thresholds(realistic_model, 0.5, items, ["", "[CH2]"])
    assert usual.log_m == realistic_model.critic.log_m(0.5)


def test_each_given_molecule_has_a_threshold(realistic_model):
    given = ("CCO", UNUSUAL)
    drawn = sampler(realistic_model, like=given, noise=0.3, novel_rings=True)
    items = (FIRST + np.arange(max(FEWER, 2 * EACH))) * TRIES
    texts = drawn.proposer.texts(items, *drawn._starts(items))
    mols = [chem.parse(chem.canonical_smiles(from_selfies(text)) or "") for text in texts]
    log_m, uniform = drawn._screen.realism.log_m, np.asarray([0.25])
    for i in range(2):
        own = [
            describe(mol)
            for mol in mols[i::2]
            if mol is not None
            and not chem.has_radical(mol)
            and Chem.MolToSmiles(mol) not in drawn.seed_molecules.smiles
        ]
        assert len(own) > EACH / 2
        logits = realistic_model.critic.logits(FactTable.of(own))
        number = drawn._thresholds.numbers(np.asarray([i * TRIES]), uniform)[0]
        own_log_m = log_m + number - math.log(0.25)
        assert kept_share(logits, own_log_m) == pytest.approx(0.5, abs=1e-6)
    assert len(set(drawn._thresholds.higher)) == 2


@pytest.mark.parametrize("options", [{"like": (UNUSUAL,)}, {"scaffold": "O=C1CCCCCCCCCCC1"}])
def test_what_start_molecules_and_the_scaffold_have_is_allowed(realistic_model, options):
    mol = Chem.MolFromSmiles(UNUSUAL)
    assert realistic_model.plausibility.refused(mol).startswith(RING)
    assert sampler(realistic_model)._screen.screen(mol).refusal in (RING, UNLIKE)
    screen = sampler(realistic_model, **options)._screen
    assert screen.realism.verdict(mol, frozenset(range(13))).refusal != RING
    other = Chem.MolFromSmiles("C1CCCCCCCCC1")
    assert screen.realism.verdict(other, frozenset()).refusal == RING


def test_analogs_are_found_around_an_unusual_molecule(realistic_model):
    # A critic that would refuse nearly everything by the threshold of its samples.
    critic = realistic_model.critic
    strict = replace(realistic_model, critic=replace(critic, quantiles=critic.quantiles + 8))
    assert smiles(sampler(strict, max_tries=4), 5) == []
    drawn = sampler(strict, like=(UNUSUAL,), noise=0.5)
    assert len(smiles(drawn, 4)) == 4


def test_refused_candidates_are_not_measured(realistic_model, monkeypatch):
    measured, compute = [], properties.compute
    monkeypatch.setattr(
        properties, "compute", lambda mol, names: measured.extend(names) or compute(mol, names)
    )
    drawn = sampler(realistic_model, "qed=0:1", unique=False)
    smiles(drawn, 15)
    refused = drawn.refused[UNLIKE] + drawn.refused[RING] + drawn.refused[ATOM]
    assert refused > 5
    assert len(measured) <= drawn.decoded - refused


def test_equal_texts_are_decided_by_their_own_numbers(realistic_model):
    screen = sampler(realistic_model, "qed=0:1")._screen
    text = "[C][C][O]"
    margin = screen.screen(Chem.MolFromSmiles("CCO")).margin
    low, high = margin - 0.1, margin + 0.1
    kept, refused, again = screen(Decoded([text] * 3, [low, high, low]))
    assert (kept.screened.refusal, refused.screened.refusal) == ("", UNLIKE)
    assert kept == again
    assert kept.values[0] == pytest.approx(0.4068, abs=1e-3)
    assert math.isnan(refused.values[0])
    (alone,) = screen(Decoded([text], [high]))
    assert alone.screened.refusal == UNLIKE


def test_each_kind_of_refusal_is_counted_with_an_example(realistic_folder, tmp_path, capsys):
    main(
        ["generate", "-m", str(realistic_folder), "-n", "40", "-o", str(tmp_path / "a.csv"),
         "--workers", "1", "--max-tries", "500"],
        standalone_mode=False,
    )  # fmt: skip
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if " × " in line]
    for reason in (UNLIKE, RING):
        (line,) = [line for line in lines if reason in line]
        example = line.partition(", such as ")[2]
        assert Chem.MolFromSmiles(example, sanitize=False) is not None
        assert example


def test_a_share_sets_how_many_are_kept(realistic_model):
    decoded = {}
    for share in (1.0, 0.5, 0.2):
        drawn = sampler(realistic_model, realism=share, novel_rings=True, unique=False)
        assert len(smiles(drawn, 30)) == 30
        decoded[share] = drawn.decoded
    assert decoded[1.0] < 0.75 * decoded[0.5] < decoded[0.2]


def test_by_default_as_many_are_tried_as_the_share_allows():
    assert Request(realism=None).tries == 64
    assert Request().tries == 128
    assert Request(realism=0.01, candidates=100).tries == 10_000
    assert Request(realism=0.01, max_tries=7).tries == 7


def test_as_many_candidates_are_compared_as_without_realism(realistic_model):
    assert (Request().drawn, Request(realism=None).drawn, Request(realism=0.3).drawn) == (16, 8, 27)
    for share, drawn in ((0.5, 16), (None, 8)):
        some = sampler(realistic_model, "qed=0.5", realism=share, novel_rings=True, max_tries=drawn)
        smiles(some, 2)
        assert some.decoded == 2 * drawn


@pytest.mark.parametrize("share", [0, -0.5, 1.5, math.nan])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(TargetError, match=r"realism: got .*above 0 and at most 1"):
        Request(realism=share)


def generated(folder, *options):
    given = ["generate", "-m", str(folder), "-n", "3", "--workers", "1", *options]
    return CliRunner().invoke(main, given)


def test_a_model_without_critic_says_so_once(tiny_run, tmp_path):
    def notes(*options):
        result = generated(tiny_run, "-o", str(tmp_path / "a.csv"), "--force", *options)
        assert result.exit_code == 0, result.output
        return result.stderr.count("no realism critic")

    assert notes() == 1
    assert notes("--realism", "off") == 0
    plain = (tmp_path / "a.csv").read_text()
    notes()
    assert (tmp_path / "a.csv").read_text() == plain


def test_what_the_network_does_by_itself_is_without_realism(realistic_model, realistic_folder):
    assert sampler(realistic_model, critic=False)._screen.realism is None
    result = generated(realistic_folder, "-o", "a.csv", "--no-critic", "--realism", "0.5")
    assert result.exit_code == 2
    assert "--no-critic and --realism 0.5: expected only one of them" in result.stderr


@pytest.mark.parametrize(
    ("share", "message"),
    [("0.5", "no realism critic.*train it again.*--realism off"), ("half", "'half'.*or off")],
)
def test_a_share_that_cannot_be_used_is_an_error(tiny_run, tmp_path, share, message):
    result = generated(tiny_run, "-o", str(tmp_path / "a.csv"), "--realism", share)
    assert result.exit_code == 2
    assert re.search(message, result.stderr)
    assert not (tmp_path / "a.csv").exists()
