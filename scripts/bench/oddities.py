"""Hard oddities: what a medicinal chemist would not make, as SMARTS and rules on rings.

For measurement only: nothing of it is a filter of molvae. Each rule is meant to match fewer than
one in a thousand molecules of a purchasable library. Of what is merely rare, little is here.

    from oddities import oddities
    oddities(mol)  # names of the rules it breaks
"""

from __future__ import annotations

import functools

from rdkit import Chem

__all__ = ["RULES", "oddities"]

RULES = {
    # chains of heteroatoms
    "peroxide": "[OX2][OX2]",
    "O-N-O chain, not nitro or nitrate": "[OX2;!$(O[N+])][NX3;!$([N+])][OX2]",
    "N-N-N chain, not a triazene or azide": "[NX3;!a][NX3;!a][NX3;!a]",
    "four heteroatoms in a row": (
        "[N,O,S;!a;!$([N+]);!$([SX4]);!$([SX3])]~[N,O,S;!a;!$([N+]);!$([SX4]);!$([SX3])]"
        "~[N,O,S;!a;!$([N+]);!$([SX4]);!$([SX3])]~[N,O,S;!a;!$([N+]);!$([SX4]);!$([SX3])]"
    ),
    "disulfane of three or more": "[SX2][SX2][SX2]",
    "sulfenic ester or acid": "[SX2;!a][OX2]",
    "sulfenamide": "[SX2;!a;R0][NX3;!a]",
    "S-N in a ring, S two-valent": "[SX2;!a;R]~[#7;!a;R]",
    "N-halogen": "[#7][F,Cl,Br,I]",
    "O-halogen": "[OX2][F,Cl,Br,I]",
    "S-halogen, not sulfonyl fluoride": "[SX2][F,Cl,Br,I]",
    "hypervalent sulfur beside the usual": "[SX3;!$(S=O);!$([S+])]",
    "sulfur with two double bonds to carbon": "C=S=C",
    # unsaturation
    "allene or cumulene in a ring": "[R]=[#6;R]=[R]",
    "allene": "[#6]=[#6;X2]=[#6]",
    "ketene": "[#6]=[#6;X2]=[#8]",
    "carbodiimide or ketenimine": "[#6,#7]=[#6;X2]=[#7]",
    "triple bond in a small ring": "[r3,r4,r5,r6,r7]#[r3,r4,r5,r6,r7]",
    "enol": "[OX2H][CX3;!a]=[CX3;!a;!$(C~[C,S,N]=[O,N,S]);!$(C[C,c]#N);!$(CC#N)]",
    "enamine with N-H, not conjugated": (
        "[NX3;H1,H2;!$(N[C,S,P]=[O,S,N]);!$(N~a)][CX3;!a;!$(C=[O,N,S])]=[CX3;!a;"
        "!$(C[C,S,N,c]=,:[O,N,S,C,c]);!$(CC#N);!$(C[N+])]"
    ),
    "enethiol": "[SX2H][CX3;!a]=[CX3;!a]",
    "imine N-H": "[NX2H]=[CX3;!$(C[N,O,S])]",
    "imine of an aliphatic aldehyde or ketone, in no ring": (
        "[CX4,H][CX3;R0](=[NX2;R0][CX4])[CX4,H]"
    ),
    "nitrone or oxaziridine": "[#6;r3]1[#7;r3][#8;r3]1",
    "acyl imine in no ring": "[CX3;R0;!$(C[N,O,S])]=[NX2;R0][CX3]=[OX1]",
    "diene with exocyclic methylidene on a hetero ring": "[CH2]=[C;R][N,O,S;R]",
    # acetals and their kin
    "hemiaminal, open": "[OX2H][CX4;!$(C(F)(F)F)][NX3;!$(N[C,S]=[O,S,N]);!$(N~a)]",
    "hemiacetal": "[OX2H][CX4;R0][OX2;!$(O[P,S,Si])]",
    "gem-diol": "[OX2H][CX4;!$(CC(F)(F)F)][OX2H]",
    "gem-diamine with N-H": "[NX3;H2][CX4][NX3;!$(N[C,S]=[O,S,N])]",
    "geminal thiol": "[SX2H][CX4][O,N,S]",
    "alpha-halo amine or ether": "[Cl,Br,I][CX4][NX3,OX2]",
    "orthoester with a free hydroxyl": "[OX2H]C([OX2])[OX2]",
    # reactive
    "acyl halide": "[CX3](=O)[Cl,Br,I]",
    "anhydride of a carbamic acid": "[NX3]C(=O)O[CX3]=[O,N]",
    "carbamic acid": "[NX3]C(=O)[OX2H]",
    "carbonic acid half ester": "[OX2]C(=O)[OX2H]",
    "formyl on a heteroatom chain": "[CX3H1](=O)[OX2][N,S]",
    "thioaldehyde": "[CX3H1;!$(C[N,O,S])]=[SX1]",
    "phosphine P-H": "[PX3;H1,H2]",
    # broken aromatics
    "cyclohexatriene, cyclopentadienone and kin: methylidene cyclohexadiene": (
        "[CX3;R0]=[C;r6]1[C;r6]=[C;r6][C;r6][C;r6]=[C;r6]1"
    ),
    "cyclohexadiene with saturated CH2, not fused": "[CH2;r6]1[C;r6]=[C;r6][C;r6]=[C;r6][#6;r6]1",
    "2H- or 3H-azole: sp3 carbon in a ring of two C=N": "[CX4;r5]1[N;r5]=[C;r5][C,N;r5]=[C,N;r5]1",
    "antiaromatic four-ring": "[C,N;r4]1=[C,N;r4][C,N;r4]=[C,N;r4]1",
    "pyridine with saturated carbon": "[CX4;r6]1[C;r6]=[C,N;r6][C,N;r6]=[C,N;r6][N;r6]1",
}
LARGEST_RING = 7


@functools.cache
def _queries() -> dict[str, Chem.Mol]:
    queries = {name: Chem.MolFromSmarts(smarts) for name, smarts in RULES.items()}
    bad = [name for name, query in queries.items() if query is None]
    if bad:
        raise ValueError(f"not SMARTS: {', '.join(bad)}")
    return queries


def oddities(mol: Chem.Mol) -> list[str]:
    """Names of the rules a molecule breaks."""
    problems = [name for name, query in _queries().items() if mol.HasSubstructMatch(query)]
    rings = mol.GetRingInfo().AtomRings()
    if max(map(len, rings), default=0) > LARGEST_RING:
        problems.append("ring of 8 or more atoms")
    if _bridgehead_double_bond(mol):
        problems.append("double bond at a bridgehead (Bredt)")
    if _crowded(mol):
        problems.append("atom in three rings of three or four atoms")
    if any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
        problems.append("radical")
    return problems


def _bridgehead_double_bond(mol: Chem.Mol) -> bool:
    """A non-aromatic double bond of a bridged system's bridgehead within its rings (Bredt 1924)."""
    rings = [set(ring) for ring in mol.GetRingInfo().AtomRings()]
    for i, one in enumerate(rings):
        for other in rings[:i]:
            shared = one & other
            if len(shared) < 3:
                continue
            ends = [a for a in shared if _neighbors_in(mol, a, shared) == 1]
            for atom in ends:
                for bond in mol.GetAtomWithIdx(atom).GetBonds():
                    double = bond.GetBondType() == Chem.BondType.DOUBLE
                    if double and bond.IsInRing() and min(len(one), len(other)) < 8:
                        return True
    return False


def _neighbors_in(mol: Chem.Mol, atom: int, atoms: set[int]) -> int:
    return sum(a.GetIdx() in atoms for a in mol.GetAtomWithIdx(atom).GetNeighbors())


def _crowded(mol: Chem.Mol) -> bool:
    small = [ring for ring in mol.GetRingInfo().AtomRings() if len(ring) <= 4]
    return any(sum(a in ring for ring in small) >= 3 for a in {a for ring in small for a in ring})
