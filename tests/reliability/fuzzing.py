"""What must hold for any bytes: for hypothesis in the tests, for atheris in scripts/fuzz.py."""

import gzip
import math
import tempfile
from pathlib import Path

from rdkit import Chem, rdBase

from molvae.chem.selfies import split_selfies, to_selfies
from molvae.chem.vocabulary import Vocabulary
from molvae.data.readers import read_rows, smiles_of
from molvae.errors import MolvaeError
from molvae.targets import parse_target

SUFFIXES = [".smi", ".csv", ".tsv", ".sdf", ".smi.gz", ".csv.gz", ".parquet"]
SYMBOLS = [
    "[C]", "[=C]", "[#C]", "[N]", "[=N]", "[O]", "[=O]", "[F]", "[S]", "[C@@H1]", "[C@H1]", "[O-1]",
    "[NH3+1]", "[/C]", "[\\C]", "[Branch1]", "[=Branch1]", "[#Branch2]", "[Ring1]", "[=Ring1]",
    "[Ring2]", "[-/Ring1]", "[P]", "[nop]", ".",
]  # fmt: skip
VOCABULARY = Vocabulary.of_symbols(SYMBOLS)


def reader(data: bytes) -> None:
    """A file is refused by a line, or every record of it is text, counted from 1."""
    if not data:
        return
    suffix, content = SUFFIXES[data[0] % len(SUFFIXES)], data[1:]
    if suffix.endswith(".gz") and data[0] % 2:
        content = gzip.compress(content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"any{suffix}"
        path.write_bytes(content)
        try:
            rows, refusal = list(read_rows(path)), None
        except MolvaeError as error:
            rows, refusal = [], str(error)
    assert refusal != ""
    assert "\n" not in (refusal or "")
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    for row in rows:
        assert isinstance(row.text, str)
        if suffix == ".sdf" and not row.fault:
            assert smiles_of(row) is None or isinstance(smiles_of(row), str)


def symbols(data: bytes) -> None:
    """Any ids are a molecule or nothing; splitting any text loses nothing but what is no symbol."""
    smiles = VOCABULARY.decode(byte % len(VOCABULARY) for byte in data[:200])
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    assert mol is not None, smiles
    assert (mol.GetNumAtoms() == 0) == (smiles == "")
    text = data[:200].decode("utf-8", "replace")
    encoded = to_selfies(text)
    if encoded is not None:
        assert "".join(split_selfies(encoded)) == encoded


def target(data: bytes) -> None:
    """A target is refused by a line, or reads back from its own text."""
    try:
        result = parse_target(data.decode("utf-8", "replace"))
    except MolvaeError:
        return
    assert result.low <= result.high
    assert not math.isnan(result.low)
    assert result.name == result.name.strip() != ""
    assert parse_target(result.text) == result


TARGETS = {"reader": reader, "symbols": symbols, "target": target}
SEEDS = {
    "reader": [
        b"\x00CCO a\nCCN b\n", b"\x01smiles,y\nCCO,1\n", b'\x01smiles\n"CC\nO"\n',
        b"\x02smiles\ty\nC\t1\n",
        b"\x03x\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n$$$$\n",
        b"\x06PAR1\x00\x00PAR1",
    ],
    "symbols": [bytes(range(40)), b"CC(=O)Oc1ccccc1", b"[C][=O]"],
    "target": [b"logp=2:3", b"qed=0.8:", b"y=yes", b"x=1e-3:.5"],
}  # fmt: skip
