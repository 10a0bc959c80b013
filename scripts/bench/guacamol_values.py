"""Scores of some drugs by the published code of GuacaMol (PyPI package ``guacamol`` 0.5.5).

It runs in a separate environment and imports nothing from molvae:

    python -m venv guacamol_env
    guacamol_env/bin/pip install --no-deps guacamol==0.5.5
    guacamol_env/bin/pip install rdkit scipy numpy joblib tqdm
    guacamol_env/bin/python scripts/bench/guacamol_values.py > tests/golden/guacamol_values.json

Prints {task: {SMILES: score}} under the names of the practical molecular optimization benchmark.
``tests/objectives/test_objectives.py`` compares our scores with them.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from typing import Any

DRUGS = (
    "CC(=O)Oc1ccccc1C(=O)O",  # aspirin
    "CN1C(=O)N(C)c2ncn(C)c2C1=O",  # caffeine
    "CC1=CC=C(C=C1)C1=CC(=NN1C1=CC=C(C=C1)S(N)(=O)=O)C(F)(F)F",  # celecoxib
    "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1",  # albuterol
    "COc1ccc2[C@H]3CC[C@@]4(C)[C@@H](CC[C@@]4(O)C#C)[C@@H]3CCc2c1",  # mestranol
    "Fc1cc(c(F)cc1F)CC(N)CC(=O)N3Cc2nnc(n2CC3)C(F)(F)F",  # sitagliptin
    "CCCOc1cc2ncnc(Nc3ccc4ncsc4c3)c2cc1S(=O)(=O)C(C)(C)C",  # of the hops
    "COc1cc(N(C)CCN(C)C)c(NC(=O)C=C)cc1Nc2nccc(n2)c3cn(C)c4ccccc34",  # osimertinib
    "CCCCC(=O)N(Cc1ccc(cc1)-c1ccccc1-c1nnn[nH]1)C(C(C)C)C(=O)O",  # valsartan
    "CN(C=O)Cc1ccc(cc1)-c1ccccc1",
    "O=C(C)N(CC)C1=CC=CC(C2=CC=NC3=C(C=NN23)C#N)=C1",  # zaleplon
    "NC(=O)c1ccc(O)cc1N",
    "COc1ccccc1OCC(O)CN2CCN(CC(=O)Nc3c(C)cccc3C)CC2",  # ranolazine
    "CC1(C)C2CCC1(C)C(=O)C2",  # camphor
)


# Arguments of its function ``similarity``, as its suites give them.
SIMILAR = {
    "aripiprazole_similarity": (
        "Clc4cccc(N3CCN(CCCCOc2ccc1c(NC(=O)CC1)c2)CC3)c4Cl", "ECFP4", 0.75,
    ),
    "albuterol_similarity": ("CC(C)(C)NCC(O)c1ccc(O)c(CO)c1", "FCFP4", 0.75),
    "celecoxib_rediscovery": (
        "CC1=CC=C(C=C1)C1=CC(=NN1C1=CC=C(C=C1)S(N)(=O)=O)C(F)(F)F", "ECFP4", 1.0,
    ),
    "mestranol_similarity": (
        "COc1ccc2[C@H]3CC[C@@]4(C)[C@@H](CC[C@@]4(O)C#C)[C@@H]3CCc2c1", "AP", 0.75,
    ),
    "thiothixene_rediscovery": (
        "CN(C)S(=O)(=O)c1ccc2Sc3ccccc3C(=CCCN4CCN(C)CC4)c2c1", "ECFP4", 1.0,
    ),
    "troglitazone_rediscovery": (
        "Cc1c(C)c2OC(C)(COc3ccc(CC4SC(=O)NC4=O)cc3)CCc2c(C)c1O", "ECFP4", 1.0,
    ),
}  # fmt: skip


def benchmarks() -> dict[str, Any]:
    """Name in PMO → the benchmark of GuacaMol."""
    scipy: Any = importlib.import_module("scipy")
    scipy.histogram = importlib.import_module("numpy").histogram  # it imports that from there
    sys.modules["fcd"] = types.ModuleType("fcd")  # of no use here
    given: Any = importlib.import_module("guacamol.standard_benchmarks")
    similar = {
        name: given.similarity(smiles, name, fp_type=kind, threshold=threshold)
        for name, (smiles, kind, threshold) in SIMILAR.items()
    }
    return {
        **similar,
        "amlodipine_mpo": given.amlodipine_rings(),
        "deco_hop": given.decoration_hop(),
        "fexofenadine_mpo": given.hard_fexofenadine(),
        "isomers_c11h24": given.isomers_c11h24(),
        "isomers_c7h8n2o2": given.isomers_c7h8n2o2(),
        "isomers_c9h10n2o2pf2cl": given.isomers_c9h10n2o2pf2cl(),
        "median1": given.median_camphor_menthol(),
        "median2": given.median_tadalafil_sildenafil(),
        "osimertinib_mpo": given.hard_osimertinib(),
        "perindopril_mpo": given.perindopril_rings(),
        "qed": given.qed_benchmark(),
        "ranolazine_mpo": given.ranolazine_mpo(),
        "scaffold_hop": given.scaffold_hop(),
        "sitagliptin_mpo": given.sitagliptin_replacement(),
        "valsartan_smarts": given.valsartan_smarts(),
        "zaleplon_mpo": given.zaleplon_with_other_formula(),
    }


def main() -> None:
    """Score, print."""
    scores = {
        name: {smiles: float(benchmark.objective.score(smiles)) for smiles in DRUGS}
        for name, benchmark in benchmarks().items()
    }
    json.dump(scores, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
