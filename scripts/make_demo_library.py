"""Enumerate the demo library: drug-like molecules for examples and tests.

The repository ships no public data set.  What it ships instead is made here: hand-written
building blocks, joined on paper by textbook reactions, filtered to lead-like ranges and given
a synthetic assay value.  No molecule is copied from a database.

How a molecule gets in.  A *recipe* is a route's name and the building blocks it uses, written
as in this file.  A recipe is kept when the SHA-256 of that text, read as a fraction of one,
lies below the route's ``keep`` constant; its product is then filtered.  So membership depends
on the recipe alone, never on other molecules, on the order of enumeration, or on how an RDKit
version happens to write SMILES, and any one route can be made again and compared by itself
(`enumerate_reaction`).  A product that several recipes give is written once.

The assay's noise and its gaps come from the SHA-256 of the SMILES as written to the file.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from rdkit import Chem, rdBase
from rdkit.Chem import Descriptors, rdChemReactions, rdMolDescriptors

REPOSITORY = Path(__file__).resolve().parents[1]
DEFAULT_OUTPUT = REPOSITORY / "data" / "demo.csv.gz"
COLUMNS = ("smiles", "id", "assay")

# --------------------------------------------------------------------------------------------
# Building blocks.  Each carries exactly one handle for the step it enters; a block that could
# react twice is refused at run time as "ambiguous", so mistakes show in the printed report.
# --------------------------------------------------------------------------------------------

BLOCKS: dict[str, list[str]] = {}

BLOCKS["primary_amines"] = """
    CC(C)N CC(C)CN CC(C)(C)N COCCN COC[C@H](C)N CC(C)(N)CO C[C@H](N)CO NCC(F)(F)F NCCC#N
    NC1CC1 NC1CCC1 NC1CCCC1 NC1CCCCC1 NC1CCOCC1 NCC1CCOCC1 NCC1CC1 NC[C@H]1CCCO1 NCC1CCCCC1
    N[C@H]1CCOC1 N[C@@H]1CCCC[C@H]1O O[C@H]1CC[C@H](N)CC1 NC1CCC(F)(F)CC1 NC1CC(F)(F)C1 NC1COC1
    NC1CCN(C(C)=O)CC1 NC1CCN(S(C)(=O)=O)CC1 NC1CCS(=O)(=O)CC1 NC1CC2(C1)COC2 NC12CC(C1)C2
    NC1Cc2ccccc2C1 N[C@H]1CCc2ccccc21 N[C@@H]1CCCc2ccccc21 NC1(c2ccccc2)CC1 C[C@H](N)C1CC1
    NCc1ccccc1 NCc1ccc(F)cc1 NCc1cccc(Cl)c1 COc1ccc(CN)cc1 NCc1ccccc1C(F)(F)F NCc1cccc(C#N)c1
    NCc1ccc2c(c1)OCO2 NCc1ccc(S(C)(=O)=O)cc1 NCc1ccc(N2CCOCC2)cc1 C[C@H](N)c1ccccc1
    C[C@@H](N)c1ccccc1 C[C@@H](N)c1ccc(F)cc1 C[C@H](N)c1ccccn1 NCc1ccccn1 NCc1cccnc1 NCc1ccncc1
    NCc1ccco1 NCc1cccs1 Cn1cc(CN)cn1 Cc1nc(CN)cs1 Cc1cc(CN)no1 Cc1noc(CN)n1 Cn1ccnc1CN
    NCc1cn2ccccc2n1 NCc1ccc2[nH]ccc2c1 NCCc1ccccc1 NCCc1ccc(OC)cc1 NCCc1c[nH]c2ccccc12
    NCCc1ccccn1 NCCc1cccs1 NCCn1cccn1 NCCN1CCOCC1 NCCCn1ccnc1 NCCNC(C)=O NC[C@@H](O)c1ccccc1
    NCC1(O)CCCCC1 NCCOc1ccccc1 CC(C)C[C@H](N)CO COC(=O)[C@@H](N)C(C)C CNC(=O)[C@@H](N)Cc1ccccc1
""".split()

BLOCKS["secondary_amines"] = """
    C1CCNC1 C1CCNCC1 C1CCCNCC1 C1COCCN1 C1COCCCN1 CN1CCNCC1 CN1CCCNCC1 CC(=O)N1CCNCC1
    CS(=O)(=O)N1CCNCC1 CC(C)N1CCNCC1 C1CN(C2CC2)CCN1 OCCN1CCNCC1 O=C1CNCCN1 CN1CCNCC1=O
    c1ccc(N2CCNCC2)cc1 Fc1ccc(N2CCNCC2)cc1 COc1ccccc1N1CCNCC1 c1ccc(N2CCNCC2)nc1
    c1cnc(N2CCNCC2)nc1 N#Cc1ccc(N2CCNCC2)nc1 c1ccc(CN2CCNCC2)cc1 O=C(c1ccco1)N1CCNCC1
    OC1CCNCC1 COC1CCNCC1 OCC1CCNCC1 FC1(F)CCNCC1 FC1(F)CCNC1 FC(F)(F)C1CCNCC1 CC1CCNCC1
    CN(C)C1CCNCC1 NC(=O)C1CCNCC1 CN(C)C(=O)C1CCNCC1 N#CC1CCNCC1 O=S1(=O)CCNCC1
    c1ccc(C2CCNCC2)cc1 Fc1ccc(C2CCNCC2)cc1 c1ccc(OC2CCNCC2)cc1 c1ccc(CC2CCNCC2)cc1
    OC1(c2ccccc2)CCNCC1 C1CC(n2cccn2)CCN1 C1CC(N2CCOCC2)CCN1 c1nc(C2CCNCC2)no1
    O[C@H]1CCNC1 CO[C@@H]1CCNC1 OC[C@@H]1CCCN1 COC[C@H]1CCCN1 CN(C)C(=O)[C@@H]1CCCN1
    c1ccc([C@@H]2CCCN2)cc1 c1cncc([C@@H]2CCCN2)c1 c1ccc(C2CCNC2)cc1 CN(C)[C@H]1CCNC1
    C[C@H]1COC[C@@H](C)N1 C[C@@H]1COCCN1 CC1(C)CNCCO1 c1ccc([C@H]2CNCCO2)cc1
    C1CC2(CCN1)COC2 C1CC2(CNC1)CCOCC2 C1NCC12COC2 C1NCC2COCC12 C1CC2CNCC2C1 C1CC2CNCC1O2
    C1OC2CNC1C2 FC1CNC1 COC1CNC1 c1ccc(C2CNC2)cc1 C1CC1C1CCCN1
    c1ccc2c(c1)CCNC2 COc1cc2c(cc1OC)CNCC2 c1ccc2c(c1)CNC2 Fc1ccc2c(c1)CNC2 c1cnc2c(c1)CNCC2
    c1cc2c(s1)CCNC2 c1cn2c(n1)CNCC2 Cc1nnc2n1CCNC2 Cn1ncc2c1CCNC2 FC(F)(F)c1nnc2n1CCNC2
    CNCc1ccccc1 CNCc1cccnc1 CNCc1ccccn1 CNC1CCCCC1 CNC1CCOCC1 CNCCOC CNCC(C)C CNCCc1ccccn1
    CCNCC CN[C@@H](C)c1ccccc1 C1CC1CNCC1CC1
""".split()

BLOCKS["anilines"] = """
    Nc1ccccc1 Nc1ccc(F)cc1 Nc1cccc(F)c1 Nc1ccc(Cl)cc1 Nc1cccc(Cl)c1 Nc1ccc(F)c(Cl)c1 Nc1ccccc1F
    Nc1ccc(F)cc1F Nc1cccc(C(F)(F)F)c1 Nc1ccc(OC(F)(F)F)cc1 COc1ccc(N)cc1 COc1cccc(N)c1
    COc1ccccc1N COc1cc(N)cc(OC)c1 COc1ccc(N)cc1OC Nc1ccc2c(c1)OCO2 Nc1ccc2c(c1)OCCO2 Cc1cccc(N)c1
    Cc1ccc(N)cc1C CC(C)c1ccc(N)cc1 Nc1cccc(C#N)c1 CC(=O)Nc1cccc(N)c1 CN(C)C(=O)c1ccc(N)cc1
    Nc1ccc(S(N)(=O)=O)cc1 CS(=O)(=O)c1cccc(N)c1 Nc1ccc(N2CCOCC2)cc1 Nc1ccc(-n2cccn2)cc1
    Nc1cccc(-c2cnco2)c1 Nc1ccc(Oc2ccccc2)cc1 CN1CCN(c2ccc(N)cc2)CC1 Nc1cccnc1 Nc1ccncc1
    Nc1ccccn1 Cc1ccc(N)cn1 COc1ccc(N)cn1 Nc1ccc(C(F)(F)F)nc1 Cc1ccnc(N)c1 Cn1cc(N)cn1
    CC(C)n1nccc1N Cc1csc(N)n1 Cc1cc(N)no1 Cn1ccc(N)n1 Nc1nc2ccccc2s1 Nc1cnc2ccccc2c1
    Nc1ccc2[nH]ncc2c1 Nc1ccc2ncsc2c1 Nc1ccc2[nH]ccc2c1 Nc1cccc2c1CCC2 Nc1ccc2c(c1)CCC(=O)N2
""".split()

BLOCKS["acids"] = """
    OC(=O)c1ccccc1 OC(=O)c1ccc(F)cc1 OC(=O)c1cccc(Cl)c1 OC(=O)c1ccc(C(F)(F)F)cc1 OC(=O)c1ccccc1F
    OC(=O)c1c(F)cccc1F Cc1ccccc1C(=O)O COc1ccc(C(=O)O)cc1 COc1ccccc1C(=O)O COc1ccc(C(=O)O)cc1OC
    OC(=O)c1cccc(C#N)c1 CS(=O)(=O)c1ccc(C(=O)O)cc1 CN(C)S(=O)(=O)c1cccc(C(=O)O)c1
    OC(=O)c1ccc(N2CCOCC2)cc1 OC(=O)c1ccc(-n2ccnc2)cc1 OC(=O)c1cccc(-n2cccn2)c1
    CC(=O)Nc1ccc(C(=O)O)cc1 OC(=O)c1ccc(OC(F)(F)F)cc1 OC(=O)c1ccc(Oc2ccccc2)cc1
    OC(=O)c1ccc2c(c1)OCO2 OC(=O)c1ccc2c(c1)OCCO2 OC(=O)c1ccc(-n2cnnn2)cc1 OC(=O)c1ccc(C2CC2)cc1
    OC(=O)c1cccnc1 OC(=O)c1ccccn1 OC(=O)c1ccncc1 Cc1ccc(C(=O)O)cn1 COc1ncccc1C(=O)O
    OC(=O)c1ccc(C(F)(F)F)nc1 OC(=O)c1cnccn1 OC(=O)c1cncnc1 OC(=O)c1ccco1 OC(=O)c1cccs1
    OC(=O)c1ccc(Cl)s1 Cc1nc(C)c(C(=O)O)s1 OC(=O)c1cscn1 Cc1cc(C(=O)O)no1 Cc1noc(C)c1C(=O)O
    Cc1ocnc1C(=O)O Cn1cc(C(=O)O)cn1 Cn1nccc1C(=O)O Cc1cc(C(=O)O)n(C)n1 Cn1cnc(C(=O)O)c1
    Cc1nnsc1C(=O)O Cn1c(C(=O)O)cc2ccccc21 OC(=O)c1cc2ccccc2[nH]1 OC(=O)c1c[nH]c2ccccc12
    OC(=O)c1n[nH]c2ccccc12 OC(=O)c1cc2ccccc2o1 OC(=O)c1cc2ccccc2s1 OC(=O)c1ccc2ncccc2c1
    OC(=O)c1ccnc2ccccc12 OC(=O)c1cn2ccccc2n1 OC(=O)c1ccc2nccn2c1 OC(=O)c1cnn2cccnc12
    OC(=O)c1ccc2nccnc2c1 OC(=O)c1ccc2ncsc2c1 OC(=O)c1ccc2[nH]cnc2c1 OC(=O)c1cc[nH]c(=O)c1
    Cn1cc(C(=O)O)ccc1=O OC(=O)C1CC1 OC(=O)C1CCC1 OC(=O)C1CCCC1 OC(=O)C1CCCCC1 OC(=O)C1CCOCC1
    CC(C)C(=O)O CC(C)CC(=O)O CC(C)(C)C(=O)O COCC(=O)O OC(=O)[C@@H]1CCCO1 OC(=O)C1CC(F)(F)C1
    OC(=O)C12CC(C1)C2 CC(=O)N1CCC(C(=O)O)CC1 CS(=O)(=O)N1CCC(C(=O)O)CC1 CC(=O)N1CCC[C@H]1C(=O)O
    OC(=O)[C@@H]1CCC(=O)N1 OC(=O)Cc1ccccc1 OC(=O)Cc1ccc(F)cc1 COc1ccc(CC(=O)O)cc1
    OC(=O)Cc1cccnc1 OC(=O)Cc1c[nH]c2ccccc12 OC(=O)Cc1cccs1 OC(=O)CCc1ccccc1 OC(=O)COc1ccc(Cl)cc1
    OC(=O)COc1ccccc1 OC(=O)C1(c2ccccc2)CC1 OC(=O)Cn1cccn1 OC(=O)CN1CCOCC1 C[C@H](C(=O)O)c1ccccc1
    OC(=O)[C@@H]1C[C@H]1c1ccccc1 CC(=O)N[C@@H](Cc1ccccc1)C(=O)O OC(=O)[C@H]1COc2ccccc2O1
    OC(=O)C1CCc2ccccc2C1 OC(=O)CN1C(=O)c2ccccc2C1 OC(=O)CCc1nc2ccccc2[nH]1 OC(=O)C1CC(=O)N(C)C1
""".split()

BLOCKS["bromo_acids"] = """
    OC(=O)c1ccc(Br)cc1 OC(=O)c1cccc(Br)c1 OC(=O)c1cc(F)cc(Br)c1 Cc1ccc(C(=O)O)cc1Br
    COc1ccc(Br)cc1C(=O)O OC(=O)c1cncc(Br)c1 OC(=O)c1ccc(Br)nc1 OC(=O)c1ccc(Br)cn1
    OC(=O)c1ccc(Br)s1 OC(=O)c1csc(Br)n1 OC(=O)c1ccc(Br)o1 OC(=O)Cc1ccc(Br)cc1 OC(=O)Cc1cccc(Br)c1
    OC(=O)c1cc2cc(Br)ccc2[nH]1 Cn1nc(C(=O)O)cc1Br OC(=O)C1CCN(c2ccc(Br)cn2)CC1
""".split()

BLOCKS["bromo_amines"] = """
    Nc1ccc(Br)cc1 Nc1cccc(Br)c1 Nc1ccc(Br)cc1F Cc1ccc(N)cc1Br Nc1ccc(Br)nc1 Nc1cncc(Br)c1
    Nc1ccc(Br)cn1 NCc1ccc(Br)cc1 NCc1cccc(Br)c1 C[C@H](N)c1ccc(Br)cc1 NCc1ccc(Br)cn1
    NCc1ccc(Br)s1 Brc1ccc2c(c1)CCNC2 Brc1ccc(C2CCNCC2)cc1 Brc1ccc(N2CCNCC2)nc1 Nc1nc(Br)cs1
    NCCc1ccc(Br)cc1 Brc1ccc2c(c1)CNC2
""".split()

BLOCKS["sulfonyl_chlorides"] = """
    CS(=O)(=O)Cl CCS(=O)(=O)Cl CC(C)S(=O)(=O)Cl O=S(=O)(Cl)C1CC1 O=S(=O)(Cl)Cc1ccccc1
    O=S(=O)(Cl)c1ccccc1 Cc1ccc(S(=O)(=O)Cl)cc1 O=S(=O)(Cl)c1ccc(F)cc1 O=S(=O)(Cl)c1cccc(Cl)c1
    COc1ccc(S(=O)(=O)Cl)cc1 O=S(=O)(Cl)c1cccc(C(F)(F)F)c1 O=S(=O)(Cl)c1ccc(OC(F)(F)F)cc1
    N#Cc1ccc(S(=O)(=O)Cl)cc1 O=S(=O)(Cl)c1ccccc1F COc1ccc(S(=O)(=O)Cl)cc1OC
    CC(=O)Nc1ccc(S(=O)(=O)Cl)cc1 O=S(=O)(Cl)c1ccc2c(c1)OCCO2 O=S(=O)(Cl)c1ccc2c(c1)CCO2
    O=S(=O)(Cl)c1cccs1 O=S(=O)(Cl)c1ccc(Cl)s1 O=S(=O)(Cl)c1cccnc1 O=S(=O)(Cl)c1cccc2cccnc12
    Cc1noc(C)c1S(=O)(=O)Cl Cn1cc(S(=O)(=O)Cl)cn1 Cn1cnc(S(=O)(=O)Cl)c1 Cc1nn(C)c(C)c1S(=O)(=O)Cl
    O=S(=O)(Cl)c1ccc(-n2cccn2)cc1 O=S(=O)(Cl)C1CCOCC1 O=S(=O)(Cl)c1cccc2ccccc12
    O=S(=O)(Cl)N1CCOCC1 CN(C)S(=O)(=O)Cl O=S(=O)(Cl)c1ccc2c(c1)CCC(=O)N2
""".split()

BLOCKS["boronic_acids"] = """
    OB(O)c1ccccc1 OB(O)c1ccc(F)cc1 OB(O)c1cccc(F)c1 OB(O)c1ccccc1F OB(O)c1ccc(Cl)cc1
    OB(O)c1cccc(Cl)c1 OB(O)c1ccc(F)c(Cl)c1 Cc1ccccc1B(O)O Cc1ccc(B(O)O)cc1 COc1ccc(B(O)O)cc1
    COc1ccccc1B(O)O COc1cccc(B(O)O)c1 OB(O)c1ccc(C(F)(F)F)cc1 OB(O)c1cccc(OC(F)(F)F)c1
    N#Cc1ccc(B(O)O)cc1 CS(=O)(=O)c1ccc(B(O)O)cc1 CNC(=O)c1ccc(B(O)O)cc1 NC(=O)c1cccc(B(O)O)c1
    CC(=O)Nc1cccc(B(O)O)c1 OCc1cccc(B(O)O)c1 OB(O)c1ccc(N2CCOCC2)cc1 CN(C)c1ccc(B(O)O)cc1
    OB(O)c1ccc2c(c1)OCO2 OB(O)c1ccc2c(c1)OCCO2 CC(C)(O)c1ccc(B(O)O)cc1 NS(=O)(=O)c1ccc(B(O)O)cc1
    OB(O)c1cccnc1 OB(O)c1ccncc1 COc1ccc(B(O)O)cn1 Cc1ccc(B(O)O)cn1 OB(O)c1cncc(F)c1
    OB(O)c1ccc(N2CCOCC2)nc1 OB(O)c1cncnc1 COc1ncc(B(O)O)cn1 OB(O)c1cccs1 OB(O)c1ccsc1 OB(O)c1ccoc1
    Cn1cc(B(O)O)cn1 CC(C)n1cc(B(O)O)cn1 Cn1nccc1B(O)O Cc1noc(C)c1B(O)O OB(O)c1cc2ccccc2o1
    OB(O)c1ccc2[nH]ccc2c1 Cn1ccc2cc(B(O)O)ccc21 OB(O)c1ccc2[nH]ncc2c1 OB(O)c1cnc2ccccc2c1
    OB(O)c1cnc2[nH]ccc2c1 OB(O)c1cnn2ccccc12 OB(O)C1CC1 OB(O)C1=CCOCC1 OB(O)C1=CCCC1
""".split()

BLOCKS["aryl_bromides"] = """
    Brc1cccnc1 Brc1ccncc1 Cc1ccc(Br)cn1 COc1ccc(Br)cn1 Brc1cncnc1 Brc1cnccn1 N#Cc1ccc(Br)cn1
    CC(=O)Nc1ccc(Br)cc1 CNC(=O)c1ccc(Br)cc1 CN(C)C(=O)c1cccc(Br)c1 CS(=O)(=O)c1cccc(Br)c1
    NS(=O)(=O)c1ccc(Br)cc1 CC(C)NS(=O)(=O)c1ccc(Br)cc1 N#Cc1cccc(Br)c1 COc1ccc(Br)cc1F
    COc1ccc(Br)cc1OC Brc1ccc(OCC2CCOCC2)cc1 Brc1ccc(CN2CCOCC2)cc1 CC(C)(O)c1cccc(Br)c1
    OCc1ccc(Br)cc1 Brc1ccc(-n2cccn2)cc1 Fc1cc(Br)cc(N2CCOCC2)c1 O=C1CCc2cc(Br)ccc2N1
    O=C1NCc2cc(Br)ccc21 Brc1ccc2ncccc2c1 Brc1ccc2nccnc2c1 Brc1cnc2ccccc2c1 Brc1ccc2[nH]ncc2c1
    Cn1ncc2cc(Br)ccc21 Brc1ccc2nccn2c1 Brc1cnn2ccccc12 Brc1ccc2ncsc2c1 Cn1cnc2cc(Br)ccc21
    Brc1cnc2[nH]ccc2c1 Cc1nc(Br)cs1 Brc1ccc2c(c1)OCO2 Cn1cc(Br)ccc1=O CC(C)n1cc(Br)cn1
    CN1CCN(c2ccc(Br)cn2)CC1 O=C(c1ccc(Br)cc1)N1CCOCC1 O=c1[nH]cnc2ccc(Br)cc12
""".split()

BLOCKS["heteroaryl_chlorides"] = """
    Clc1ncccn1 Clc1ccncn1 Cc1cc(Cl)nc(C)n1 Cc1ccnc(Cl)n1 Clc1ncc(F)cn1 COc1cc(Cl)ncn1
    Clc1nccc(C(F)(F)F)n1 Clc1cc(-c2ccccc2)ncn1 Clc1nccc(-c2cccnc2)n1 Clc1cnccn1 Clc1ccnnc1
    Clc1ccc(-c2ccccc2)nn1 Cc1ccc(Cl)nn1 N#Cc1ccc(Cl)nc1 FC(F)(F)c1ccc(Cl)nc1 CNC(=O)c1ccc(Cl)nc1
    NC(=O)c1ccc(Cl)nc1 Clc1ncnc2ccccc12 Cc1nc(Cl)c2ccccc2n1 COc1cc2ncnc(Cl)c2cc1OC Clc1cnc2ccccc2n1
    Clc1ccnc2ccccc12 Clc1ncnc2[nH]ccc12 Cn1cc2c(Cl)ncnc2n1 Clc1ncnc2sccc12 Clc1ccc2nnc(C)n2n1
    Clc1ncnc2c1CCC2 Clc1nc2ccccc2s1 Clc1nc2ccccc2o1 Clc1nccn2ccnc12 Clc1ncnc2cc(F)ccc12
    Cn1cnc2c(Cl)ncnc21
""".split()

BLOCKS["dichloropyrimidines"] = """
    Clc1ccnc(Cl)n1 Cc1cnc(Cl)nc1Cl Cc1cc(Cl)nc(Cl)n1 Fc1cnc(Cl)nc1Cl Clc1nc(Cl)c2ccccc2n1
    COc1cnc(Cl)nc1Cl Clc1nc(Cl)c2[nH]ccc2n1
""".split()

BLOCKS["aldehydes"] = """
    O=Cc1ccccc1 O=Cc1ccc(F)cc1 O=Cc1cccc(Cl)c1 COc1ccc(C=O)cc1 COc1ccc(C=O)cc1OC O=Cc1ccccc1F
    O=Cc1ccc(C(F)(F)F)cc1 N#Cc1ccc(C=O)cc1 CC(=O)Nc1ccc(C=O)cc1 O=Cc1ccc2c(c1)OCO2
    O=Cc1ccc2c(c1)OCCO2 CS(=O)(=O)c1ccc(C=O)cc1 O=Cc1ccc(N2CCOCC2)cc1 O=Cc1ccc(-n2cccn2)cc1
    O=Cc1cccc(Oc2ccccc2)c1 O=Cc1cccnc1 O=Cc1ccncc1 O=Cc1ccccn1 COc1ccc(C=O)cn1 O=Cc1ccco1
    O=Cc1cccs1 Cc1nc(C=O)cs1 Cn1cc(C=O)cn1 Cn1ccnc1C=O Cc1cc(C=O)no1 O=Cc1c[nH]c2ccccc12
    O=Cc1ccc2[nH]ccc2c1 O=Cc1cc2ccccc2o1 O=Cc1cn2ccccc2n1 O=Cc1ccc2ncccc2c1 O=Cc1cnc2ccccc2c1
    O=CC1CC1 O=CC1CCCCC1 O=CC1CCOCC1 CC(C)C=O O=Cc1cn(-c2ccccc2)nc1 O=Cc1ccc(-c2ccccn2)cc1
    O=CCCc1ccccc1
""".split()

BLOCKS["ketones"] = """
    O=C1CCCC1 O=C1CCCCC1 O=C1CCOCC1 O=C1COC1 CN1CCC(=O)CC1 O=C1CCC(F)(F)CC1 CC(=O)N1CCC(=O)CC1
    CS(=O)(=O)N1CCC(=O)CC1 O=C1CCN(c2ncccn2)CC1 O=C1Cc2ccccc2C1 CC(C)=O O=C1CN(C(=O)c2ccccc2)C1
""".split()

BLOCKS["formyl_acids"] = """
    O=Cc1ccc(C(=O)O)cc1 O=Cc1cccc(C(=O)O)c1 O=Cc1ccc(C(=O)O)nc1 O=Cc1ccc(C(=O)O)s1
    O=Cc1ccc(C(=O)O)o1
""".split()

BLOCKS["isocyanates"] = """
    O=C=Nc1ccccc1 O=C=Nc1ccc(F)cc1 O=C=Nc1ccc(Cl)cc1 O=C=Nc1cccc(C(F)(F)F)c1 COc1ccc(N=C=O)cc1
    COc1cccc(N=C=O)c1 O=C=Nc1ccc2c(c1)OCO2 O=C=Nc1ccccc1F Cc1cccc(N=C=O)c1 N#Cc1cccc(N=C=O)c1
    O=C=Nc1ccc(OC(F)(F)F)cc1 O=C=Nc1cccnc1 O=C=Nc1ccc(F)c(Cl)c1 O=C=NCc1ccccc1
    O=C=NCc1ccc(F)cc1 O=C=NC1CCCCC1 O=C=NC1CCCC1 CC(C)N=C=O O=C=NC1CCOCC1 C[C@H](N=C=O)c1ccccc1
    Cc1cc(N=C=O)no1 Cn1cc(N=C=O)cn1 O=C=Nc1ccc2ncsc2c1 O=C=NCc1cccnc1
""".split()

BLOCKS["phenols"] = """
    Oc1ccc(F)cc1 Oc1cccc(Cl)c1 COc1ccc(O)cc1 N#Cc1ccc(O)cc1 CC(=O)Nc1ccc(O)cc1 CNC(=O)c1ccc(O)cc1
    CNC(=O)c1cccc(O)c1 Oc1ccc(C(F)(F)F)cc1 CS(=O)(=O)c1ccc(O)cc1 Oc1ccc(N2CCOCC2)cc1
    Oc1ccc(-n2ccnc2)cc1 Oc1ccc2ncccc2c1 Oc1cccc2cccnc12 Oc1cccnc1 Cc1ccc(O)cn1
    Oc1ccc2[nH]ccc2c1 Oc1ccc2c(c1)OCO2 Oc1ccc2ncsc2c1 O=C1CCc2cc(O)ccc2N1 O=c1ccc2ccc(O)cc2o1
    CC(C)NC(=O)c1ccc(O)cc1 O=C(c1ccc(O)cc1)N1CCOCC1 Oc1cccc(-c2ccncc2)c1 Oc1ccc(-c2cn[nH]c2)cc1
    CN(C)C(=O)c1cccc(O)c1 Oc1ccc2c(c1)CCC2 Cn1ncc2cc(O)ccc21 Cc1nc2cc(O)ccc2o1
""".split()

BLOCKS["hydroxy_acids"] = """
    OC(=O)c1ccc(O)cc1 OC(=O)c1cccc(O)c1 COc1cc(C(=O)O)ccc1O OC(=O)c1ccc(O)cc1F OC(=O)c1cncc(O)c1
""".split()

BLOCKS["alkyl_halides"] = """
    BrCc1ccccc1 BrCc1ccc(F)cc1 BrCc1cccc(C#N)c1 COc1cccc(CBr)c1 BrCc1ccccc1Cl ClCc1ccccn1
    ClCc1cccnc1 ClCc1ccncc1 ClCc1csc(C)n1 ClCc1c(C)noc1C ClCc1nc(-c2ccccc2)no1 ClCc1cn2ccccc2n1
    BrCC1CC1 BrCC1CCC1 BrCC1CCOCC1 BrC1CCCC1 BrCCOC BrCC(C)C BrCCN1CCOCC1 ClCCCN1CCCCC1
    ClCC(=O)N1CCCC1 ClCC(=O)NC(C)C ClCC(=O)Nc1ccc(F)cc1 ClCC(=O)NCc1ccccc1 ClCC(=O)N1CCOCC1
    ClCC(N)=O BrCCc1ccccc1 BrCCOc1ccccc1 BrCC(F)F ClCCn1cccn1 BrC1CCOCC1
""".split()

BLOCKS["azides"] = """
    [N-]=[N+]=NCc1ccccc1 [N-]=[N+]=NCc1ccc(F)cc1 COc1ccc(CN=[N+]=[N-])cc1 [N-]=[N+]=NCc1cccc(Cl)c1
    [N-]=[N+]=NCc1ccccn1 [N-]=[N+]=NCc1cccnc1 [N-]=[N+]=Nc1ccccc1 [N-]=[N+]=Nc1ccc(F)cc1
    COc1ccc(N=[N+]=[N-])cc1 [N-]=[N+]=Nc1cccc(C(F)(F)F)c1 [N-]=[N+]=NC1CCOCC1 [N-]=[N+]=NC1CCCC1
    [N-]=[N+]=NCCc1ccccc1 [N-]=[N+]=NCCN1CCOCC1 [N-]=[N+]=NCC(=O)Nc1ccccc1 [N-]=[N+]=NCC(=O)NC(C)C
    [N-]=[N+]=NCC(=O)N1CCCC1 CN1CCC(N=[N+]=[N-])CC1 CC(=O)N1CCC(N=[N+]=[N-])CC1
    [N-]=[N+]=NCc1ccc(C#N)cc1 [N-]=[N+]=NCc1nc2ccccc2[nH]1 C[C@H](N=[N+]=[N-])c1ccccc1
    [N-]=[N+]=Nc1ccc2c(c1)OCO2 [N-]=[N+]=NCCOc1ccccc1 [N-]=[N+]=NCC1CCCCC1
""".split()

BLOCKS["alkynes"] = """
    C#Cc1ccccc1 C#Cc1ccc(F)cc1 C#Cc1ccc(OC)cc1 C#Cc1cccnc1 C#Cc1ccccn1 C#Cc1ccc(C(F)(F)F)cc1
    C#Cc1ccsc1 C#CC1CC1 C#CC1CCCCC1 C#CC(C)(C)O C#CC1(O)CCCC1 C#CCN1CCOCC1 C#CCN1CCN(C)CC1
    C#CCOc1ccccc1 C#CCOc1ccc(F)cc1 C#CCNC(=O)c1ccccc1 C#CCNC(=O)C1CC1 C#CCNS(=O)(=O)c1ccc(C)cc1
    C#CCOC C#Cc1cccc(NC(C)=O)c1 C#Cc1cnc2ccccc2c1 C#CCCc1ccccc1 C#CCN1C(=O)CCC1=O
    C#CC1(O)CCOCC1 C#Cc1cnn(C)c1
""".split()

BLOCKS["alkyne_amines"] = ["C#CCN", "C#CCNC", "C#CC1CCNCC1", "C#CCN1CCNCC1", "C#CC(C)(C)N"]

BLOCKS["hydrazines"] = """
    CNN NNc1ccccc1 NNc1ccc(F)cc1 NNc1ccc(Cl)cc1 COc1ccc(NN)cc1 Cc1ccc(NN)cc1 NNc1ccc(S(N)(=O)=O)cc1
    CS(=O)(=O)c1ccc(NN)cc1 NNc1cccc(C(F)(F)F)c1 NNc1ccccn1 NNc1ccc(C(F)(F)F)cn1 NNC1CCOCC1 CC(C)NN
    NNC1CCCCC1 NNCc1ccccc1 NNCc1ccc(F)cc1 NNCC(F)(F)F NNc1cccc(F)c1 NNc1ncccn1 NNc1ccc2c(c1)OCO2
    NNc1cccc(C#N)c1 NNC1CCCC1 NNc1ccc(C(N)=O)cc1
""".split()

BLOCKS["symmetric_diketones"] = """
    CC(=O)CC(C)=O CCC(=O)CC(=O)CC CC(=O)C(C)C(C)=O CC(=O)C(Cc1ccccc1)C(C)=O O=C(CC(=O)C1CC1)C1CC1
    CC(=O)C(CC(=O)N1CCOCC1)C(C)=O CC(=O)C(CCC(=O)NC(C)C)C(C)=O CC(=O)C(c1ccccc1)C(C)=O
    CC(=O)C(Cc1cccnc1)C(C)=O CC(=O)C(F)C(C)=O CC(=O)C(CC(=O)Nc1ccccc1)C(C)=O
    CC(=O)C(CC(=O)NCC1CC1)C(C)=O
""".split()

BLOCKS["trifluoro_diketones"] = """
    O=C(CC(=O)C(F)(F)F)c1ccccc1 Cc1ccc(C(=O)CC(=O)C(F)(F)F)cc1 COc1ccc(C(=O)CC(=O)C(F)(F)F)cc1
    O=C(CC(=O)C(F)(F)F)c1ccc(F)cc1 O=C(CC(=O)C(F)(F)F)c1cccs1 O=C(CC(=O)C(F)(F)F)c1cccnc1
    O=C(CC(=O)C(F)(F)F)c1ccc2c(c1)OCO2 O=C(CC(=O)C(F)(F)F)c1ccco1 O=C(CC(=O)C(F)(F)F)c1cccc(Cl)c1
""".split()

BLOCKS["ketonitriles"] = """
    N#CCC(=O)c1ccccc1 N#CCC(=O)c1ccc(F)cc1 COc1ccc(C(=O)CC#N)cc1 N#CCC(=O)c1cccnc1
    N#CCC(=O)c1cccs1 N#CCC(=O)C1CC1 CC(C)(C)C(=O)CC#N N#CCC(=O)C1CCOCC1 N#CCC(=O)C1CCC1
    N#CCC(=O)c1ccco1
""".split()

BLOCKS["bromoketones"] = """
    O=C(CBr)c1ccccc1 O=C(CBr)c1ccc(F)cc1 O=C(CBr)c1cccc(Cl)c1 COc1ccc(C(=O)CBr)cc1
    COc1cccc(C(=O)CBr)c1 N#Cc1ccc(C(=O)CBr)cc1 CS(=O)(=O)c1ccc(C(=O)CBr)cc1
    CC(=O)Nc1ccc(C(=O)CBr)cc1 O=C(CBr)c1ccc(C(F)(F)F)cc1 O=C(CBr)c1ccc2c(c1)OCO2
    O=C(CBr)c1ccc2c(c1)OCCO2 O=C(CBr)c1cccnc1 O=C(CBr)c1ccccn1 O=C(CBr)c1ccncc1 O=C(CBr)c1cccs1
    O=C(CBr)c1cc2ccccc2o1 O=C(CBr)C1CC1 CC(C)(C)C(=O)CBr O=C(CBr)c1ccc(N2CCOCC2)cc1
    O=C(CBr)c1ccccc1F CC(Br)C(=O)c1ccccc1 O=C(CBr)C1CCOCC1 NS(=O)(=O)c1cccc(C(=O)CBr)c1
    CNC(=O)c1ccc(C(=O)CBr)cc1
""".split()

BLOCKS["aminoazines"] = """
    Nc1ccccn1 Cc1ccnc(N)c1 Cc1ccc(N)nc1 Cc1cccnc1N Nc1ccc(F)cn1 Nc1ccc(Cl)cn1 Nc1ccc(C#N)cn1
    COc1ccnc(N)c1 CNC(=O)c1ccc(N)nc1 Nc1ccc(C(=O)N2CCOCC2)cn1 Nc1cc(C(F)(F)F)ccn1 Nc1cnccn1
    Cc1ccc(N)nn1 Nc1ccc(N2CCOCC2)nn1 Nc1nccs1 Cc1cnc(N)s1 Nc1nc2ccccc2s1 Nc1ccc(N2CCOCC2)cn1
    CC(=O)Nc1ccc(N)nc1 Nc1ccc(-c2ccccc2)cn1 Nc1nncs1 Nc1ccc(-c2cnn(C)c2)cn1
""".split()

BLOCKS["thioamides"] = """
    NC(=S)c1ccccc1 NC(=S)c1ccc(F)cc1 NC(=S)c1ccncc1 NC(=S)c1cccnc1 CC(N)=S NC(=S)Cc1ccccc1
    NC(=S)C1CC1 NC(=S)C1CCOCC1 CC(=O)N1CCC(C(N)=S)CC1 CNC(N)=S NC(=S)Nc1ccccc1 NC(=S)Nc1ccc(F)cc1
    NC(=S)Nc1cccnc1 NC(=S)Nc1ccc(OC)cc1 CN(C)C(N)=S NC(=S)N1CCOCC1 NC(=S)N1CCCC1 NC(=S)NC1CC1
    NC(=S)NCc1ccccc1 NC(=S)c1cnn(C)c1 NC(=S)NCCOC NC(=S)Nc1ccc(S(N)(=O)=O)cc1 CN1CCN(C(N)=S)CC1
    NC(=S)C1CCN(S(C)(=O)=O)CC1
""".split()

BLOCKS["amidines"] = """
    N=C(N)c1ccccc1 N=C(N)c1ccc(F)cc1 N=C(N)c1ccc(OC)cc1 N=C(N)c1cccnc1 N=C(N)c1ccncc1 N=C(N)c1ccccn1
    CC(=N)N N=C(N)C1CC1 N=C(N)Cc1ccccc1 N=C(N)C1CCOCC1 CC(C)C(=N)N N=C(N)c1cccs1
    N=C(N)c1ccc(C(F)(F)F)cc1 N=C(N)COc1ccccc1 N=C(N)c1cccc(Cl)c1
""".split()

BLOCKS["guanidines"] = """
    N=C(N)Nc1ccccc1 N=C(N)Nc1ccc(F)cc1 N=C(N)Nc1ccc(OC)cc1 N=C(N)Nc1ccc(N2CCOCC2)cc1 N=C(N)N1CCOCC1
    N=C(N)Nc1cccc(NC(C)=O)c1 N=C(N)NCc1ccccc1 N=C(N)N(C)C N=C(N)N1CCN(C)CC1 N=C(N)NC1CCOCC1
    N=C(N)Nc1ccc(S(N)(=O)=O)cc1 N=C(N)Nc1cccc(C#N)c1 N=C(N)NC1CCCC1 N=C(N)N1CCCC1
""".split()

BLOCKS["enaminones"] = """
    CN(C)C=CC(=O)c1ccccc1 CN(C)C=CC(=O)c1ccc(F)cc1 COc1ccc(C(=O)C=CN(C)C)cc1 CN(C)C=CC(=O)c1cccnc1
    CN(C)C=CC(=O)c1ccncc1 CN(C)C=CC(=O)c1ccccn1 CN(C)C=CC(=O)c1cccs1 CN(C)C=CC(=O)c1ccco1
    CN(C)C=CC(=O)c1cccc(C(F)(F)F)c1 CN(C)C=CC(=O)c1cnn(C)c1 CN(C)C=CC(=O)C1CC1
    CC(=O)Nc1cccc(C(=O)C=CN(C)C)c1 CN(C)C=CC(=O)c1c[nH]c2ccccc12 CN(C)C=CC(=O)c1ccc(Cl)cc1
    CN(C)C=CC(=O)c1cnc2ccccn12
""".split()

BLOCKS["amidoximes"] = """
    NC(=NO)c1ccccc1 NC(=NO)c1ccc(F)cc1 NC(=NO)c1ccc(OC)cc1 NC(=NO)c1cccnc1 NC(=NO)c1ccncc1
    NC(=NO)c1ccccn1 CC(N)=NO NC(=NO)C1CC1 NC(=NO)Cc1ccccc1 NC(=NO)c1cccc(Cl)c1 NC(=NO)C1CCOCC1
    NC(=NO)c1ccc(C(F)(F)F)cc1 NC(=NO)c1cccs1 NC(=NO)CN1CCOCC1 NC(=NO)C1CCN(C(C)=O)CC1 NC(=NO)COC
    NC(=NO)c1ccc(S(C)(=O)=O)cc1 NC(=NO)c1cnccn1
""".split()

BLOCKS["hydrazides"] = """
    NNC(=O)c1ccccc1 NNC(=O)c1ccc(F)cc1 COc1ccc(C(=O)NN)cc1 NNC(=O)c1cccnc1 NNC(=O)c1ccncc1
    NNC(=O)c1ccco1 NNC(=O)C1CC1 NNC(=O)Cc1ccccc1 NNC(=O)c1ccc(Cl)cc1 NNC(=O)C1CCOCC1
    NNC(=O)COc1ccccc1 NNC(=O)c1cccs1 CC(C)C(=O)NN NNC(=O)c1cnn(C)c1 NNC(=O)CN1CCOCC1
""".split()

BLOCKS["substituted_phenylenediamines"] = """
    CNc1ccccc1N CC(C)Nc1ccccc1N Nc1ccccc1NCc1ccccc1 Nc1ccccc1Nc1ccccc1 Nc1ccccc1NC1CC1
    Nc1ccccc1NC1CCOCC1 COCCNc1ccccc1N CNc1ccc(F)cc1N CNc1ccc(C(=O)N2CCOCC2)cc1N CNc1ccc(C#N)cc1N
    CNc1ccc(S(C)(=O)=O)cc1N CNc1ncccc1N CNc1ccc(OC)cc1N CC(C)Nc1ncccc1N CNc1ccc(C(=O)NC)cc1N
    Nc1cc(C(F)(F)F)ccc1NC1CCCC1 Nc1ccccc1NCCN1CCOCC1
""".split()

BLOCKS["symmetric_phenylenediamines"] = """
    Nc1ccccc1N Cc1cc(N)c(N)cc1C Nc1cc(F)c(F)cc1N Nc1cc2c(cc1N)OCO2 COc1cc(N)c(N)cc1OC
""".split()

BLOCKS["aminophenols"] = """
    Nc1ccccc1O Nc1cc(F)ccc1O Nc1cc(Cl)ccc1O Cc1ccc(O)c(N)c1 COc1ccc(O)c(N)c1 Nc1cccnc1O
    CNC(=O)c1ccc(O)c(N)c1 CS(=O)(=O)c1ccc(O)c(N)c1
""".split()

BLOCKS["anthranilic_acids"] = """
    Nc1ccccc1C(=O)O Nc1ccc(F)cc1C(=O)O Nc1cc(Cl)ccc1C(=O)O COc1cc(N)c(C(=O)O)cc1OC Nc1ncccc1C(=O)O
    Nc1sccc1C(=O)O Cc1cccc(C(=O)O)c1N
""".split()

# One nitrogen free, the other under Boc; the second step takes the Boc off and uses it.  The
# free one is secondary here, so that even an alkylation leaves nothing else to react ...
BLOCKS["boc_secondary_diamines"] = """
    CC(C)(C)OC(=O)N1CCNCC1 CC(C)(C)OC(=O)N[C@@H]1CCNC1 CC(C)(C)OC(=O)NC1CCNCC1
    CC(C)(C)OC(=O)N1CCCNCC1 CC(C)(C)OC(=O)N1CC2(CNC2)C1 CC(C)(C)OC(=O)N1CCC2(CCNC2)C1
    CC(C)(C)OC(=O)N1CC2CNCC2C1 CC(C)(C)OC(=O)N1CCN[C@H](C)C1 CC(C)(C)OC(=O)N1C[C@H]2C[C@@H]1CN2
    CC(C)(C)OC(=O)NCC1CCNCC1 CC(C)(C)OC(=O)N[C@H]1CCCNC1 CC(C)(C)OC(=O)N1CCC(NC)CC1
""".split()

# ... and primary here.
BLOCKS["boc_primary_diamines"] = """
    CC(C)(C)OC(=O)N1CCC(N)CC1 CC(C)(C)OC(=O)N1CC[C@H](N)C1 CC(C)(C)OC(=O)N1CC(N)C1
""".split()

BLOCKS["chloro_acids"] = """
    OC(=O)c1ccc(Cl)nc1 OC(=O)c1ccnc(Cl)c1 OC(=O)c1ccc(Cl)nn1 OC(=O)c1cnc(Cl)nc1 OC(=O)c1cnc(Cl)cn1
    OC(=O)c1cccnc1Cl
""".split()

BLOCKS["amines"] = BLOCKS["primary_amines"] + BLOCKS["secondary_amines"] + BLOCKS["anilines"]
BLOCKS["alkyl_amines"] = BLOCKS["primary_amines"] + BLOCKS["secondary_amines"]
BLOCKS["boc_diamines"] = BLOCKS["boc_secondary_diamines"] + BLOCKS["boc_primary_diamines"]

# --------------------------------------------------------------------------------------------
# Reactions
# --------------------------------------------------------------------------------------------

# A nitrogen that reacts as an amine: not an amide, sulfonamide, amidine, hydrazine or oxime.
_AMINE = "[NX3;H1,H2;!$(N-[#6]=[O,S,N]);!$(N-S=O);!$(N-[#7,#8]):9]"
_ACID = "[CX3:1](=[O:2])[OX2H1]"
_BOC = "[NX3:9]-C(=O)OC(C)(C)C"

TEMPLATES: dict[str, str] = {
    "amide": f"{_ACID}.{_AMINE}>>[C:1](=[O:2])-[N:9]",
    "boc_amide": f"{_BOC}.{_ACID}>>[C:1](=[O:2])-[N:9]",
    "sulfonamide": f"[SX4:1](=[O:2])(=[O:3])Cl.{_AMINE}>>[S:1](=[O:2])(=[O:3])-[N:9]",
    "boc_sulfonamide": f"{_BOC}.[SX4:1](=[O:2])(=[O:3])Cl>>[S:1](=[O:2])(=[O:3])-[N:9]",
    "urea": f"[N:1]=[C:2]=[O:3].{_AMINE}>>[N:1]-[C:2](=[O:3])-[N:9]",
    "boc_urea": f"{_BOC}.[N:1]=[C:2]=[O:3]>>[N:1]-[C:2](=[O:3])-[N:9]",
    "suzuki": "[c:1]Br.[#6:2]B(O)O>>[c:1]-[#6:2]",
    "sonogashira": "[c:1]Br.[C:2]#[CH1:3]>>[c:1]-[C:3]#[C:2]",
    "buchwald": f"[c:1]Br.{_AMINE}>>[c:1]-[N:9]",
    # The leaving chlorine sits ortho or para to a ring nitrogen.
    "snar": f"[c;$(c:n),$(c:c:c:n):1]-Cl.{_AMINE}>>[c:1]-[N:9]",
    # 2,4-Dichloropyrimidines react at C4 first.
    "snar_c4": (
        f"Cl-[c:1]:[n:2]:[c:3](-[Cl:4]):[n:5].{_AMINE}>>[N:9]-[c:1]:[n:2]:[c:3](-[Cl:4]):[n:5]"
    ),
    "reductive_amination": f"[CX3H1:1](=O)-[#6:2].{_AMINE}>>[#6:2]-[CH2:1]-[N:9]",
    "ketone_amination": f"[#6:2]-[CX3:1](=O)-[#6:3].{_AMINE}>>[#6:2]-[CH1:1](-[#6:3])-[N:9]",
    "ether": "[c:1]-[OX2H1:2].[CX4:3]-[Cl,Br]>>[c:1]-[O:2]-[C:3]",
    # Copper click: the 1,4-triazole only.
    "triazole": (
        "[C:1]#[CH1:2].[#6:6]-[N:3]=[N+:4]=[N-:5]>>[#6:6]-[n:3]1[n+0:4][n+0:5][c:1][cH:2]1"
    ),
    "pyrazole": (
        "[#6:7]-[CX3:1](=O)-[CX4:2]-[CX3:3](=O)-[#6:8].[#6:9]-[NH1:5]-[NH2:4]"
        ">>[#6:7]-[c:1]1[c:2][c:3](-[#6:8])[n:4][n:5]1-[#6:9]"
    ),
    # The substituted nitrogen ends beside the aryl carbon, away from CF3.
    "cf3_pyrazole": (
        "[c:7]-[CX3:1](=O)-[CH2:2]-[CX3:3](=O)-[$(C(F)(F)F):8].[#6:9]-[NH1:5]-[NH2:4]"
        ">>[c:7]-[c:1]1[cH:2][c:3](-[C:8])[n:4][n:5]1-[#6:9]"
    ),
    "aminopyrazole": (
        "[#6:7]-[CX3:1](=O)-[CH2:2]-[C:3]#[N:4].[#6:9]-[NH1:5]-[NH2:6]"
        ">>[#6:7]-[c:1]1[cH:2][c:3](-[NH2:4])[n:5](-[#6:9])[n:6]1"
    ),
    "thiazole": (
        "[#6:1]-[CX3:2](=O)-[CX4;H1,H2:3]-Br.[#6,#7:4]-[CX3:5](=[S:6])-[NH2:7]"
        ">>[#6:1]-[c:2]1[c:3][s:6][c:5](-[*:4])[n:7]1"
    ),
    "imidazoazine": (
        "[#6:1]-[CX3:2](=O)-[CX4;H1,H2:3]-Br.[NH2:4]-[c:5]:[n;H0;X2:6]"
        ">>[#6:1]-[c:2]1:[c:3]:[n:6]:[c:5]:[n:4]:1"
    ),
    "imidazole": (
        "[#6:1]-[CX3:2](=O)-[CX4;H1,H2:3]-Br.[#6:4]-[CX3:5](=[NH1:6])-[NH2:7]"
        ">>[#6:1]-[c:2]1[c:3][nH:6][c:5](-[#6:4])[n:7]1"
    ),
    "pyrimidine": (
        "[#6:1]-[CX3:2](=O)-[CH1:3]=[CH1:4]-N(C)C.[#6,#7:5]-[CX3:6](=[NH1:7])-[NH2:8]"
        ">>[#6:1]-[c:2]1[cH:3][cH:4][n:7][c:6](-[*:5])[n:8]1"
    ),
    "oxadiazole_124": (
        "[#6:3]-[CX3:4](=[N:5]-[OH1:6])-[NH2:7].[#6:8]-[CX3:1](=O)-[OX2H1]"
        ">>[#6:3]-[c:4]1[n:5][o:6][c:1](-[#6:8])[n:7]1"
    ),
    "oxadiazole_134": (
        "[#6:3]-[CX3:4](=[O:5])-[NH1:6]-[NH2:7].[#6:8]-[CX3:1](=O)-[OX2H1]"
        ">>[#6:3]-[c:4]1[o:5][c:1](-[#6:8])[n:7][n:6]1"
    ),
    "benzimidazole": (
        "[NH2:1]-[c:2]:[c:3]-[NX3;H1:4]-[#6:5].[#6:6]-[CX3H1:7]=O"
        ">>[#6:6]-[c:7]1:[n:1]:[c:2]:[c:3]:[n:4]:1-[#6:5]"
    ),
    "nh_benzimidazole": (
        "[NH2:1]-[c:2]:[c:3]-[NH2:4].[#6:6]-[CX3H1:7]=O>>[#6:6]-[c:7]1:[n:1]:[c:2]:[c:3]:[nH:4]:1"
    ),
    "benzoxazole": (
        "[NH2:1]-[c:2]:[c:3]-[OX2H1:4].[#6:6]-[CX3:7](=O)-[OX2H1]"
        ">>[#6:6]-[c:7]1:[n:1]:[c:2]:[c:3]:[o:4]:1"
    ),
    "quinazolinone": (
        "[NH2:1]-[c:2]:[c:3]-[CX3:4](=[O:5])-[NX3;H1:6]-[#6:10].[#6:7]-[CX3H1:8]=O"
        ">>[#6:7]-[c:8]1:[n:1]:[c:2]:[c:3]:[c:4](=[O:5]):[n:6]:1-[#6:10]"
    ),
}


@dataclass(frozen=True)
class Route:
    """One or two steps: the first joins `groups[0]` to `groups[1]`, the second adds `groups[2]`.

    `keep` is the share of recipes kept; it alone sets the route's size.  `swap` says, per step,
    whether what is in hand is the template's second reactant rather than its first.
    """

    name: str
    steps: tuple[str, ...]
    groups: tuple[str, ...]
    keep: float
    swap: tuple[bool, ...]


def _route(name: str, steps: str, groups: str, keep: float, swap: str = "") -> Route:
    """Write a route on one line: words for steps and groups, a step's name to swap it."""
    words = tuple(steps.split())
    swaps = tuple(step in swap.split() for step in words)
    return Route(name, words, tuple(groups.split()), keep, swaps)


_ROUTES = (
    _route("amide", "amide", "acids amines", 0.07),
    _route("sulfonamide", "sulfonamide", "sulfonyl_chlorides amines", 0.14),
    _route("urea", "urea", "isocyanates amines", 0.13),
    _route("suzuki", "suzuki", "aryl_bromides boronic_acids", 0.3),
    _route("sonogashira", "sonogashira", "aryl_bromides alkynes", 0.2),
    _route("buchwald", "buchwald", "aryl_bromides amines", 0.08),
    _route("snar", "snar", "heteroaryl_chlorides amines", 0.11),
    _route("reductive_amination", "reductive_amination", "aldehydes alkyl_amines", 0.11),
    _route("ketone_amination", "ketone_amination", "ketones alkyl_amines", 0.2),
    _route("ether", "ether", "phenols alkyl_halides", 0.55),
    _route("triazole", "triazole", "alkynes azides", 0.55),
    _route("pyrazole", "pyrazole", "symmetric_diketones hydrazines", 0.9),
    _route("cf3_pyrazole", "cf3_pyrazole", "trifluoro_diketones hydrazines", 0.8),
    _route("thiazole", "thiazole", "bromoketones thioamides", 0.6),
    _route("imidazoazine", "imidazoazine", "bromoketones aminoazines", 0.65),
    _route("imidazole", "imidazole", "bromoketones amidines", 0.6),
    _route("pyrimidine", "pyrimidine", "enaminones amidines", 0.8),
    _route("aminopyrimidine", "pyrimidine", "enaminones guanidines", 0.9),
    _route("oxadiazole_124", "oxadiazole_124", "amidoximes acids", 0.22),
    _route("oxadiazole_134", "oxadiazole_134", "hydrazides acids", 0.22),
    _route("benzimidazole", "benzimidazole", "substituted_phenylenediamines aldehydes", 0.55),
    _route("nh_benzimidazole", "nh_benzimidazole", "symmetric_phenylenediamines aldehydes", 0.8),
    _route("benzoxazole", "benzoxazole", "aminophenols acids", 0.3),
    _route("suzuki_amide", "suzuki amide", "bromo_acids boronic_acids amines", 0.0075),
    _route("suzuki_acylation", "suzuki amide", "bromo_amines boronic_acids acids", 0.009, "amide"),
    _route(
        "suzuki_sulfonylation",
        "suzuki sulfonamide",
        "bromo_amines boronic_acids sulfonyl_chlorides",
        0.015,
        "sulfonamide",
    ),
    _route("suzuki_urea", "suzuki urea", "bromo_amines boronic_acids isocyanates", 0.02, "urea"),
    _route("snar_amide", "snar amide", "chloro_acids alkyl_amines amines", 0.006),
    _route("double_snar", "snar_c4 snar", "dichloropyrimidines alkyl_amines amines", 0.005),
    _route(
        "amination_amide", "reductive_amination amide", "formyl_acids secondary_amines amines", 0.01
    ),
    _route("ether_amide", "ether amide", "hydroxy_acids alkyl_halides amines", 0.02),
    _route(
        "diamine_snar_amide", "snar boc_amide", "heteroaryl_chlorides boc_diamines acids", 0.013
    ),
    _route(
        "diamine_snar_sulfonamide",
        "snar boc_sulfonamide",
        "heteroaryl_chlorides boc_diamines sulfonyl_chlorides",
        0.03,
    ),
    _route("diamine_amide_urea", "amide boc_urea", "acids boc_diamines isocyanates", 0.013),
    _route(
        "diamine_amination_amide",
        "reductive_amination boc_amide",
        "aldehydes boc_secondary_diamines acids",
        0.016,
    ),
    _route("amide_triazole", "amide triazole", "acids alkyne_amines azides", 0.04),
    _route(
        "quinazolinone", "amide quinazolinone", "anthranilic_acids primary_amines aldehydes", 0.025
    ),
    _route(
        "aminopyrazole_amide",
        "aminopyrazole amide",
        "ketonitriles hydrazines acids",
        0.025,
        "amide",
    ),
)
ROUTES: dict[str, Route] = {route.name: route for route in _ROUTES}


def hash_fraction(text: str) -> float:
    """Read the SHA-256 of a text as a number in [0, 1): the script's only source of chance."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return int.from_bytes(digest[:7], "big") / 2.0**56


def selected_recipes(name: str) -> Iterator[tuple[str, ...]]:
    """Yield the building blocks of each recipe of a route that its hash keeps."""
    route = ROUTES[name]
    for blocks in itertools.product(*(BLOCKS[group] for group in route.groups)):
        if hash_fraction("|".join((name, *blocks))) < route.keep:
            yield blocks


@cache
def _template(name: str) -> rdChemReactions.ChemicalReaction:
    """Compile a reaction once."""
    return rdChemReactions.ReactionFromSmarts(TEMPLATES[name])


@cache
def _block(smiles: str) -> Chem.Mol:
    """Parse a building block or an intermediate once."""
    return Chem.MolFromSmiles(smiles)


@cache
def run_step(step: str, first: str, second: str) -> tuple[str, ...]:
    """Return the distinct products of one reaction as canonical SMILES, sorted.

    SMILES are written from the re-parsed product: a fresh parse drops what the reaction leaves
    behind (stale stereo marks, template flags), so the text is a fixed point.
    """
    products = set()
    for (product,) in _template(step).RunReactants((_block(first), _block(second))):
        if Chem.SanitizeMol(product, catchErrors=True) != Chem.SanitizeFlags.SANITIZE_NONE:
            continue
        parsed = Chem.MolFromSmiles(Chem.MolToSmiles(product))
        if parsed is not None:
            products.add(Chem.MolToSmiles(parsed))
    return tuple(sorted(products))


def make(name: str, blocks: Sequence[str]) -> tuple[str, str]:
    """Run a route on one recipe; return the product and "", or "" and why there is none."""
    route = ROUTES[name]
    current = blocks[0]
    for step, block, swap in zip(route.steps, blocks[1:], route.swap, strict=True):
        pair = (block, current) if swap else (current, block)
        products = run_step(step, *pair)
        if len(products) != 1:
            return "", "ambiguous" if products else "no product"
        current = products[0]
    return current, ""


# --------------------------------------------------------------------------------------------
# Filters
# --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Range:
    """A closed range of one descriptor."""

    name: str
    value: Callable[[Chem.Mol], float]
    low: float
    high: float


def molecular_weight(mol: Chem.Mol) -> float:
    """Average molecular weight."""
    return float(Descriptors.MolWt(mol))  # type: ignore[attr-defined]  # set at run time


def crippen_logp(mol: Chem.Mol) -> float:
    """Crippen logP, the lipophilicity that both the filter and the assay use."""
    return float(rdMolDescriptors.CalcCrippenDescriptors(mol)[0])


RANGES = (
    Range("heavy atoms", lambda mol: mol.GetNumHeavyAtoms(), 12, 36),
    Range("molecular weight", molecular_weight, 180.0, 480.0),
    Range("Crippen logP", crippen_logp, -1.0, 5.5),
    Range("TPSA", rdMolDescriptors.CalcTPSA, 0.0, 130.0),
    Range("H-bond donors", rdMolDescriptors.CalcNumHBD, 0, 4),
    Range("rotatable bonds", rdMolDescriptors.CalcNumRotatableBonds, 0, 8),
    Range("rings", rdMolDescriptors.CalcNumRings, 1, 5),
)

LEFTOVERS: dict[str, str] = {
    "acid or sulfonyl halide": "[C,S](=O)[F,Cl,Br,I]",
    "boron": "[#5]",
    "isocyanate": "N=C=O",
    "alkyl halide": "[CX4][Cl,Br,I]",
    "aldehyde": "[CX3H1](=O)[#6]",
    "azide": "[#7]=[#7]=[#7]",
    "free hydrazine": "[NX3;H1,H2]-[NH2]",
    "oxime": "[#7]-[OX2H1]",
    "thiocarbonyl": "[#6]=S",
    "carboxylic acid": "[CX3](=O)[OX2H1]",
    "Boc group": "[#7]C(=O)OC(C)(C)C",
    "activated chloride": "Cl-[c;$(c(:n):n),$(c:n:c:n),$(c:n:n)]",
    "bromine": "[Br]",
}
_LEFTOVER_QUERIES = {name: Chem.MolFromSmarts(smarts) for name, smarts in LEFTOVERS.items()}


def rejection(mol: Chem.Mol) -> str:
    """Say why a product does not belong in the library, or return "" where it does."""
    if len(Chem.GetMolFrags(mol)) != 1:
        return "several fragments"
    if any(atom.GetFormalCharge() for atom in mol.GetAtoms()):
        return "charged atom"
    for name, query in _LEFTOVER_QUERIES.items():
        if mol.HasSubstructMatch(query):
            return f"leftover: {name}"
    for limit in RANGES:
        if not limit.low <= limit.value(mol) <= limit.high:
            return limit.name
    return ""


def enumerate_outcomes(name: str) -> Iterator[tuple[str, str]]:
    """Yield (SMILES, "") or ("", reason) for each kept recipe of a route."""
    for blocks in selected_recipes(name):
        smiles, reason = make(name, blocks)
        if not reason:
            reason = rejection(Chem.MolFromSmiles(smiles))
        yield ("", reason) if reason else (smiles, "")


def enumerate_reaction(name: str) -> list[str]:
    """Return the accepted molecules of one route, sorted: each of them is in the library."""
    with rdBase.BlockLogs():
        return sorted({smiles for smiles, reason in enumerate_outcomes(name) if not reason})


# --------------------------------------------------------------------------------------------
# The synthetic assay
# --------------------------------------------------------------------------------------------

ASSAY_LOW, ASSAY_HIGH = 4.0, 9.0
NOISE_SD = 0.3
MISSING_SHARE = 0.4

_SULFONAMIDE = Chem.MolFromSmarts("[#6]S(=O)(=O)[#7]")
_PYRIDINE = Chem.MolFromSmarts("[nX2]1ccccc1")
_BASIC_AMINE = Chem.MolFromSmarts("[NX3;!$(N-[!#6]);!$(N-[#6]=[O,S,N]);!$(N-c);!$(N-C#*)]")


def assay_mean(mol: Chem.Mol) -> float:
    """Return the assay value without noise, a bounded sum that a model can learn in part.

    It rewards a logP near 3 and aromatic rings, adds three substructure bonuses and takes
    off for a large polar surface and for flexibility; data/README.md writes it out.
    """
    value = 4.6 + 1.2 * math.exp(-(((crippen_logp(mol) - 3.0) / 1.5) ** 2))
    value += 0.4 * min(rdMolDescriptors.CalcNumAromaticRings(mol), 3)
    value += 0.6 * mol.HasSubstructMatch(_SULFONAMIDE)
    value += 0.5 * mol.HasSubstructMatch(_PYRIDINE)
    value += 0.4 * mol.HasSubstructMatch(_BASIC_AMINE)
    value -= min(0.02 * max(0.0, rdMolDescriptors.CalcTPSA(mol) - 70.0), 1.0)
    value -= 0.15 * max(0, rdMolDescriptors.CalcNumRotatableBonds(mol) - 5)
    return min(max(value, ASSAY_LOW), ASSAY_HIGH)


def assay_noise(smiles: str) -> float:
    """Draw the Gaussian noise of a molecule from its own hash (Box-Muller)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - hash_fraction(f"radius|{smiles}")))
    return NOISE_SD * radius * math.cos(2.0 * math.pi * hash_fraction(f"angle|{smiles}"))


def assay_text(smiles: str) -> str:
    """Return the assay field of a molecule as the file writes it; empty where missing."""
    if hash_fraction(f"missing|{smiles}") < MISSING_SHARE:
        return ""
    value = assay_mean(Chem.MolFromSmiles(smiles)) + assay_noise(smiles)
    return f"{min(max(value, ASSAY_LOW), ASSAY_HIGH):.2f}"


# --------------------------------------------------------------------------------------------
# The file
# --------------------------------------------------------------------------------------------


@dataclass
class Report:
    """What the run did: molecules new with each route, and reasons for what was left out."""

    per_route: dict[str, int] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)


def build_library(names: Sequence[str] = tuple(ROUTES)) -> tuple[list[str], Report]:
    """Enumerate routes; return their molecules in hash order, so any head is a fair sample."""
    report = Report()
    seen: set[str] = set()
    with rdBase.BlockLogs():
        for name in names:
            before = len(seen)
            for smiles, reason in enumerate_outcomes(name):
                if smiles in seen:
                    reason = "duplicate"
                if reason:
                    report.rejected[reason] += 1
                else:
                    seen.add(smiles)
            report.per_route[name] = len(seen) - before
    return sorted(seen, key=lambda smiles: (hash_fraction(f"order|{smiles}"), smiles)), report


def csv_text(molecules: Sequence[str]) -> str:
    """Write the rows: SMILES, a running identifier, the assay value or nothing."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, smiles in enumerate(molecules, start=1):
        writer.writerow((smiles, f"DEMO-{number:06d}", assay_text(smiles)))
    return buffer.getvalue()


def write_gzip(path: Path, data: bytes) -> None:
    """Compress without a time or a name in the header, so equal data gives equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=raw, mtime=0) as out,
    ):
        out.write(data)


def print_report(report: Report, data: bytes, path: Path) -> None:
    """Print the counts that data/README.md quotes."""
    print("molecules per reaction")
    for name, count in report.per_route.items():
        print(f"  {name:<26}{count:>7}")
    print("rejected recipes")
    for reason, count in sorted(report.rejected.items(), key=lambda item: (-item[1], item[0])):
        print(f"  {reason:<36}{count:>7}")
    print(f"{sum(report.per_route.values())} molecules written to {path}")
    print(f"sha256 of the uncompressed csv: {hashlib.sha256(data).hexdigest()}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the library and write it."""
    parser = argparse.ArgumentParser(description="Enumerate the demo library.")
    parser.add_argument(
        "--output", type=Path, default=DEFAULT_OUTPUT, help="csv.gz to write (%(default)s)"
    )
    path: Path = parser.parse_args(arguments).output
    molecules, report = build_library()
    data = csv_text(molecules).encode("utf-8")
    write_gzip(path, data)
    print_report(report, data, path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
