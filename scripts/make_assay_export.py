"""Write ``data/assay_export.csv``: the demo library's assay as an assay database would export it.

The rows are made from the first molecules of ``data/demo.csv.gz`` that have an assay value. What
an export makes hard is put in on purpose, decided by the SHA-256 of the identifier: values in nM
and uM, values beyond the highest concentration (``>``), repeated measurements, rows of another
endpoint, units that are no concentration, hydrochlorides, and rows without a structure.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

from rdkit import Chem

DATA = Path(__file__).resolve().parents[1] / "data"
MOLECULES = 1200
HIGHEST = 10_000.0  # nM, the highest concentration of the assay
COLUMNS = (
    "Compound ID", "Smiles", "Standard Type", "Standard Relation", "Standard Value",
    "Standard Units",
)  # fmt: skip
Row = tuple[str, str, str, str, str, str]
# A basic amine: bound to carbon only, and not to one with a double bond or to an aromatic ring.
AMINE = Chem.MolFromSmarts("[NX3;!$(N~[!#6]);!$(N[#6]=*);!$(N[#6]:*);!$(N[#6]#*)]")


def fraction(text: str) -> float:
    """A number between 0 and 1 that depends on the text only."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def concentration(name: str, exponent: float) -> tuple[str, str, str]:
    """Relation, value and unit of a pIC50; a fifth of the values is in uM."""
    value = 10 ** (9 - exponent)  # nM
    relation = ">" if value > HIGHEST else "="
    value = min(value, HIGHEST)
    if fraction(f"{name} unit") < 0.2:
        return relation, f"{value / 1000:.3g}", "uM"
    return relation, f"{value:.0f}" if value >= 100 else f"{value:.3g}", "nM"


def rows_of(name: str, smiles: str, exponent: float) -> Iterator[Row]:
    """The rows of one molecule: its IC50, and sometimes a repetition or another endpoint."""
    mol = Chem.MolFromSmiles(smiles)
    if mol.HasSubstructMatch(AMINE) and fraction(f"{name} salt") < 0.25:
        smiles += ".Cl"
    if fraction(f"{name} structure") < 0.004:
        smiles = ""
    if fraction(f"{name} mass") < 0.01:
        yield name, smiles, "IC50", "=", f"{5 + 20 * fraction(f'{name} value'):.1f}", "ug.mL-1"
        return
    yield name, smiles, "IC50", *concentration(name, exponent)
    if fraction(f"{name} again") < 0.12:
        shift = 0.6 * (fraction(f"{name} shift") - 0.5)
        yield name, smiles, "IC50", *concentration(f"{name} again", exponent + shift)
    if fraction(f"{name} inhibition") < 0.15:
        percent = 100 / (1 + 10 ** (6 - exponent))  # at 1 uM, slope 1
        yield name, smiles, "Inhibition", "=", f"{percent:.0f}", "%"


def export() -> str:
    """The whole file as text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    with gzip.open(DATA / "demo.csv.gz", "rt", encoding="utf-8", newline="") as file:
        measured = [row for row in csv.DictReader(file) if row["assay"]]
    for row in measured[:MOLECULES]:
        writer.writerows(rows_of(row["id"], row["smiles"], float(row["assay"])))
    return text.getvalue()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "-o", "--output", type=Path, default=DATA / "assay_export.csv", help="file (%(default)s)"
    )
    parser.parse_args().output.write_text(export(), encoding="utf-8")
