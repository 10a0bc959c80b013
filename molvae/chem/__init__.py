"""The one place where molecules are parsed, standardised, compared and drawn with RDKit."""

from molvae.chem.cleaning import (
    Cleaned,
    Profile,
    Rejected,
    clean,
    require_elements,
    require_profile,
    standardize,
)
from molvae.chem.drawing import draw_grid, draw_svg, sdf_block
from molvae.chem.molecules import (
    Mol,
    bertz_complexity,
    block_smiles,
    brics_fragments,
    canonical_smiles,
    elements,
    fingerprints,
    fragment_count,
    has_radical,
    parse,
    ring_scaffold,
    scaffold,
    to_smiles,
)
from molvae.chem.substructures import MARKS, Writing, contains, is_pattern, writings

__all__ = [
    "MARKS",
    "Cleaned",
    "Mol",
    "Profile",
    "Rejected",
    "Writing",
    "bertz_complexity",
    "block_smiles",
    "brics_fragments",
    "canonical_smiles",
    "clean",
    "contains",
    "draw_grid",
    "draw_svg",
    "elements",
    "fingerprints",
    "fragment_count",
    "has_radical",
    "is_pattern",
    "parse",
    "require_elements",
    "require_profile",
    "ring_scaffold",
    "scaffold",
    "sdf_block",
    "standardize",
    "to_smiles",
    "writings",
]
