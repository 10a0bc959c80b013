"""Imports go from later stages to earlier ones only, and each foreign library has one package."""

import ast
import functools
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

import pytest

from molvae.runtime.processes import process_pool
from tests.repository.source import trees

# From bottom to top: a module imports from its own package and from those that stand before it.
ORDER = (
    "_version", "errors", "config", "targets",
    "runtime", "chem", "data", "realism", "predict", "model",
    "report", "objectives",
    "generate", "latent", "evaluate", "train", "optimize",
    "api", "integrations", "app", "cli", "__main__",
)  # fmt: skip

# Foreign library -> the only package that imports it, anywhere in its modules.
LIBRARIES = {
    "altair": "app",
    "botorch": "optimize",
    "chembl_structure_pipeline": "chem",
    "click": "cli",
    "cma": "optimize",
    "distributed": "runtime",
    "gpytorch": "optimize",
    "huggingface_hub": "model",
    "pyarrow": "data",
    "rdkit": "chem",
    "selfies": "chem",
    "starlette": "app",
    "streamlit": "app",
    "streamlit_jsme": "app",
}

# Importing these, or any module in them, loads no torch, not even through what they import.
WITHOUT_TORCH = (
    "errors", "config", "targets", "runtime", "chem", "data", "realism", "predict", "report",
    "objectives",
    "evaluate.metrics", "cli", "generate.blocks", "model.conditions", "model.hub",
)  # fmt: skip
WITH_TORCH = {"runtime.threads"}  # imported where they are needed
LIGHT = ("generate", "latent", "model", "optimize", "optimize.engines", "train")  # __init__ alone


class Module(NamedTuple):
    """Dotted names that a module imports; ``from a import b`` is ``a.b``."""

    anywhere: frozenset[str]
    at_once: frozenset[str]  # as the module is imported: not in functions, not for types


def on_import(node):
    """The nodes that run when the module is imported: no function bodies, no type-only blocks."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield other
                yield from on_import(other)
            continue
        yield child
        yield from on_import(child)


def imported(nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: relative import; write it out"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def modules():
    """Name of each module of the package -> what it imports."""
    result = {}
    for path, tree in trees().items():
        name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        result[name] = Module(
            frozenset(imported(ast.walk(tree))), frozenset(imported(on_import(tree)))
        )
    return result


def own(names):
    """The modules of molvae among imported names."""
    for name in names:
        if name.split(".")[0] == "molvae":
            known = name in modules()
            yield name if known else name.rpartition(".")[0]


def package(module):
    """``chem`` of ``molvae.chem.molecules``."""
    return module.split(".")[1] if "." in module else "molvae"


def test_every_package_has_its_place():
    there = {package(module) for module in modules()} - {"molvae"}
    assert there == set(ORDER), "a new package is entered in ORDER in the same commit"


def test_imports_go_down():
    upward = [
        f"{module} imports {other}"
        for module, names in modules().items()
        for other in own(names.anywhere)
        if "molvae" not in (module, other)
        and ORDER.index(package(other)) > ORDER.index(package(module))
    ]
    assert upward == []


def test_package_itself_imports_lazily():
    assert set(own(modules()["molvae"].at_once)) <= {"molvae._version"}


def test_no_cycles():
    """Nor does a module of a package import from the package, which imports it."""
    graph = {module: {*own(names.anywhere)} - {module} for module, names in modules().items()}
    graph["molvae"] = set()  # imports lazily
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_modules_do_not_import_their_own_package():
    inward = [
        f"{module} imports from {other}"
        for module, names in modules().items()
        for other in own(names.anywhere)
        if other != "molvae" and module.startswith(f"{other}.")
    ]
    assert inward == [], "import from the module that defines it"


def test_each_library_is_imported_by_one_package():
    strangers = [
        f"{module} imports {library}"
        for module, names in modules().items()
        for library in {name.split(".")[0] for name in names.anywhere} & set(LIBRARIES)
        if package(module) != LIBRARIES[library]
    ]
    assert strangers == []


def way_to(library, module):
    """The chain of imports by which a module loads a library (or part of molvae), or None."""
    todo, seen = [[module]], {module}
    while todo:
        chain = todo.pop()
        names = modules()[chain[-1]].at_once
        if any(f"{name}.".startswith(f"{library}.") for name in names):
            return " -> ".join([*chain, library])
        parents = chain[-1].split(".")
        above = {".".join(parents[:n]) for n in range(1, len(parents))}
        for below in {*own(names), *above} - seen:
            seen.add(below)
            todo.append([*chain, below])
    return None


def test_what_loads_without_torch():
    places = tuple(f"molvae.{name}" for name in WITHOUT_TORCH)
    light = {f"molvae.{name}" for name in LIGHT}
    heavy = {f"molvae.{name}" for name in WITH_TORCH}
    checked = {
        module
        for module in modules()
        if module in light or any(f"{module}.".startswith(f"{place}.") for place in places)
    } - heavy
    assert {*places, *light, *heavy} <= set(modules())
    assert [way for module in sorted(checked) if (way := way_to("torch", module))] == []


@pytest.mark.parametrize("module", ["molvae.api", "molvae.generate.run"])
def test_generation_starts_without_what_is_slow_to_import(module):
    slow = ["pandas", "jinja2", "scipy", "rdkit.Chem.Draw", "rdkit.Chem.AllChem", "rich"]
    slow += ["molvae.report", "molvae.objectives"]
    slow += ["rdkit.Chem.Scaffolds.MurckoScaffold", "molvae.data.prepare", "molvae.evaluate"]
    slow += ["molvae.train"]
    assert [way for library in slow if (way := way_to(library, module))] == []


def worker_tasks(folder):
    """What the workers of each verb compute, and an argument; of prepare the module alone."""
    from molvae.chem.screening import Decoded, MoleculeScreen
    from molvae.chem.selfies import constraints
    from molvae.config import CleaningConfig
    from molvae.data.tokenize import Tokenizer
    from molvae.evaluate.metrics import Wanted
    from molvae.evaluate.sample import description, scan
    from molvae.objectives import parse_objective
    from molvae.objectives.worker import ScoringCall

    (folder / "objective.py").write_text("def score(smiles):\n    return [1.0 for _ in smiles]\n")
    objective = parse_objective([f"{folder / 'objective.py'}:score"])
    return {
        "encode": (Tokenizer(CleaningConfig(), constraints(), frozenset({"[C]", "[O]"})), ["CCO"]),
        "evaluate": (scan, ["CCO"]),
        "evaluate: description": (description(Wanted(properties=("qed",))), ["CCO"]),
        "generate": (
            MoleculeScreen(("qed",), constraints(), alerts=("brenk",)),
            Decoded(["[C][C][O]"]),
        ),
        "optimize": (ScoringCall(objective, None, None), ["CCO"]),
        "prepare": (eval, "bool(__import__('molvae.data.prepare.jobs'))"),
    }


@pytest.mark.process
def test_workers_load_no_torch(tmp_path):
    """They would take three times the memory, and seconds to start."""
    loaded = {}
    with process_pool(1) as pool:
        for name, (task, texts) in worker_tasks(tmp_path).items():
            assert pool.submit(task, texts).result(), name
            loaded[name] = pool.submit(eval, "'torch' in __import__('sys').modules").result()
    assert [name for name, torch in loaded.items() if torch] == []
