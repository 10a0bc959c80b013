"""The demo library is what its script makes, and what data/README.md says it is."""

import csv
import gzip
import hashlib
import importlib.util
import io
import re
import statistics
import sys
from pathlib import Path

import pytest
from rdkit import Chem, rdBase

ROOT = Path(__file__).parents[2]
FILE = ROOT / "data" / "demo.csv.gz"
README = (ROOT / "data" / "README.md").read_text(encoding="utf-8")


def load_script():
    """Import the script by its path: scripts/ is a folder of files, not a package."""
    spec = importlib.util.spec_from_file_location(
        "make_demo_library", ROOT / "scripts" / "make_demo_library.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


demo = load_script()


def canonical(smiles):
    """Write SMILES as the installed RDKit does; the file may come from another version."""
    return Chem.MolToSmiles(Chem.MolFromSmiles(smiles))


@pytest.fixture(scope="module")
def text():
    return gzip.decompress(FILE.read_bytes())


@pytest.fixture(scope="module")
def rows(text):
    return list(csv.DictReader(io.StringIO(text.decode("utf-8"))))


@pytest.fixture(scope="module")
def library(rows):
    """Every molecule of the file, written by the installed RDKit."""
    return [canonical(row["smiles"]) for row in rows]


def same_rdkit():
    return f"RDKit {rdBase.rdkitVersion}" in README


def test_columns_and_identifiers(text, rows):
    assert text.startswith(b"smiles,id,assay\n")
    assert b"\r" not in text
    assert [row["id"] for row in rows] == [f"DEMO-{n:06d}" for n in range(1, len(rows) + 1)]


def test_readme_states_rows_and_hash(text, rows):
    assert 18_000 <= len(rows) <= 22_000
    assert f"{len(rows):,} molecules" in README
    assert hashlib.sha256(text).hexdigest() in README


def test_readme_counts_are_whole(rows):
    counts = dict(re.findall(r"^\| `(\w+)` \|.*\| (\d+) \|$", README, re.MULTILINE))
    assert list(counts) == list(demo.ROUTES)
    assert sum(map(int, counts.values())) == len(rows)


def test_gzip_header_has_no_time_and_no_name():
    head = FILE.read_bytes()[:10]
    assert head[3] == 0, "no flags, so no file name"
    assert head[4:8] == bytes(4), "no time"
    assert FILE.stat().st_size < 1_000_000


@pytest.mark.slow
def test_all_parse_and_are_unique(library):
    assert len(set(library)) == len(library)
    assert not any("." in smiles for smiles in library)


@pytest.mark.slow
def test_sample_is_lead_like(rows):
    sample = rows[::20]
    reasons = [demo.rejection(Chem.MolFromSmiles(row["smiles"])) for row in sample]
    # A descriptor may sit on a border and fall outside in another RDKit version.
    allowed = 0 if same_rdkit() else len(sample) // 100
    assert sum(bool(reason) for reason in reasons) <= allowed, set(reasons)


def test_missing_share(rows):
    missing = sum(not row["assay"] for row in rows) / len(rows)
    assert missing == pytest.approx(demo.MISSING_SHARE, abs=0.02)


@pytest.mark.slow
def test_assay_is_the_formula_plus_noise(rows):
    sample = [row for row in rows[:1500] if row["assay"]]
    assert all(re.fullmatch(r"\d\.\d\d", row["assay"]) for row in sample)
    noise = [
        float(row["assay"]) - demo.assay_mean(Chem.MolFromSmiles(row["smiles"])) for row in sample
    ]
    assert statistics.fmean(noise) == pytest.approx(0, abs=0.05)
    assert statistics.pstdev(noise) == pytest.approx(demo.NOISE_SD, abs=0.03)
    assert max(map(abs, noise)) < 5 * demo.NOISE_SD
    assert all(demo.ASSAY_LOW <= float(row["assay"]) <= demo.ASSAY_HIGH for row in sample)


def test_assay_has_something_to_learn(rows):
    values = [float(row["assay"]) for row in rows if row["assay"]]
    assert statistics.pstdev(values) > 1.5 * demo.NOISE_SD


@pytest.mark.slow
@pytest.mark.parametrize("name", ["amide", "thiazole", "cf3_pyrazole", "suzuki_urea"])
def test_a_reaction_made_again_is_in_the_file(name, library):
    made = {canonical(smiles) for smiles in demo.enumerate_reaction(name)}
    assert len(made) > 100
    absent = made - set(library)
    assert len(absent) <= (0 if same_rdkit() else len(made) // 100), sorted(absent)[:5]


@pytest.mark.slow
def test_a_reaction_alone_gives_what_it_gives_among_others():
    alone, report = demo.build_library(["cf3_pyrazole"])
    assert sorted(alone) == demo.enumerate_reaction("cf3_pyrazole")
    assert report.per_route == {"cf3_pyrazole": len(alone)}
    both, _ = demo.build_library(["pyrazole", "cf3_pyrazole"])
    assert set(alone) <= set(both)


@pytest.mark.parametrize(
    ("route", "blocks", "product"),
    [
        # celecoxib's pattern: the aryl hydrazine's ring beside the other ring, away from CF3
        (
            "cf3_pyrazole",
            ["Cc1ccc(C(=O)CC(=O)C(F)(F)F)cc1", "NNc1ccc(S(N)(=O)=O)cc1"],
            "Cc1ccc(-c2cc(C(F)(F)F)nn2-c2ccc(S(N)(=O)=O)cc2)cc1",
        ),
        # the 1,4-triazole, not the 1,5
        ("triazole", ["C#Cc1ccccc1", "[N-]=[N+]=NCc1ccccc1"], "c1ccc(Cn2cc(-c3ccccc3)nn2)cc1"),
        # aryl at C2, not at C3
        ("imidazoazine", ["O=C(CBr)c1ccccc1", "Nc1ccccn1"], "c1ccc(-c2cn3ccccc3n2)cc1"),
        ("thiazole", ["O=C(CBr)c1ccccc1", "CC(N)=S"], "Cc1nc(-c2ccccc2)cs1"),
        ("oxadiazole_124", ["NC(=NO)c1ccccc1", "OC(=O)C1CC1"], "c1ccc(-c2noc(C3CC3)n2)cc1"),
        # C4 of the dichloropyrimidine first
        (
            "double_snar",
            ["Clc1ccnc(Cl)n1", "C1COCCN1", "Nc1ccccc1"],
            "c1ccc(Nc2nccc(N3CCOCC3)n2)cc1",
        ),
        # a stereocentre stays as it was
        ("amide", ["OC(=O)C1CC1", "C[C@H](N)c1ccccc1"], "C[C@H](NC(=O)C1CC1)c1ccccc1"),
    ],
)
def test_regiochemistry(route, blocks, product):
    assert demo.make(route, blocks) == (canonical(product), "")


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("O=C(Cl)c1ccc(-c2ccccc2)cc1", "leftover: acid or sulfonyl halide"),
        ("OB(O)c1ccc(-c2ccccc2)cc1", "leftover: boron"),
        ("O=Cc1ccc(-c2ccccc2)cc1", "leftover: aldehyde"),
        ("ClCc1ccc(-c2ccccc2)cc1", "leftover: alkyl halide"),
        ("O=C=Nc1ccc(-c2ccccc2)cc1", "leftover: isocyanate"),
        ("Clc1nccc(-c2ccccc2)n1", "leftover: activated chloride"),
        ("C[N+](C)(C)c1ccc(-c2ccccc2)cc1", "charged atom"),
        ("c1ccccc1.c1ccccc1", "several fragments"),
        ("CCCCCCCCCCCCc1ccccc1", "Crippen logP"),
        ("Clc1ccc(-c2ccncc2)cc1", ""),
    ],
)
def test_rejection(smiles, reason):
    assert demo.rejection(Chem.MolFromSmiles(smiles)) == reason


def test_two_ways_to_react_are_refused():
    with rdBase.BlockLogs():
        assert demo.make("amide", ["OC(=O)C1CC1", "NCCCNC"]) == ("", "ambiguous")
        assert demo.make("amide", ["c1ccccc1", "NCCC"]) == ("", "no product")


def test_blocks_are_written_once_per_group():
    for group, blocks in demo.BLOCKS.items():
        assert len({canonical(block) for block in blocks}) == len(blocks), group


def test_write_gzip_gives_the_same_bytes(tmp_path):
    demo.write_gzip(tmp_path / "one.csv.gz", b"smiles\nCCO\n")
    demo.write_gzip(tmp_path / "folder" / "two.csv.gz", b"smiles\nCCO\n")
    one, two = (tmp_path / "one.csv.gz").read_bytes(), tmp_path / "folder" / "two.csv.gz"
    assert one == two.read_bytes()
    assert gzip.decompress(one) == b"smiles\nCCO\n"


@pytest.mark.nightly
def test_the_whole_file_made_again(tmp_path, capsys, text, library):
    again = tmp_path / "demo.csv.gz"
    assert demo.main(["--output", str(again)]) == 0
    assert "molecules per reaction" in capsys.readouterr().out
    made = gzip.decompress(again.read_bytes())
    if same_rdkit():
        assert made == text
        return
    fresh = {canonical(row["smiles"]) for row in csv.DictReader(io.StringIO(made.decode()))}
    assert len(fresh ^ set(library)) <= len(library) // 100
