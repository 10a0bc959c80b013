"""Imports go downwards only, and each foreign library has one door."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "molvae"

# From the ground up; a module may import only modules that stand before it.
ORDER = (
    # the ground
    "errors",
    "config",
    "runtime",
    "progress",
    "threads",
    "parallel",
    "work",
    "cache",
    "keys",
    "unfinished",
    # the vocabulary of the field
    "chem",
    "files",
    "kept",
    "readers",
    "tokens",
    "properties",
    "filters",
    "checks",
    "targets",
    "conditions",
    "labels",
    # what the rooms share
    "report",
    "objectives",
    "metrics",
    "dataset",
    "derivation",
    "recurrent",
    "memory",
    "readout",
    "model",
    "loss",
    "processes",
    "hub",
    "checkpoint",
    "sampler",
    "diagnostics",
    "noise",
    "runs",
    "blocks",
    # one room per verb
    "download",
    "fetch",
    "parts",
    "plans",
    "jobs",
    "splits",
    "assemble",
    "novelty",
    "outcome",
    "generate",
    "decode",
    "interpolate",
    "encode",
    "prepare",
    "examine",
    "evaluate",
    "pages",
    "train",
    "optimize",
    "info",
    # the door
    "api",
    "conventions",
    "cli",
    "__main__",
)

# Foreign library -> the only modules that may import it, anywhere in them.
DOORS = {
    "botorch": {"optimize"},
    "cma": {"optimize"},
    "click": {"cli"},
    "chembl_structure_pipeline": {"chem"},
    "distributed": {"parallel"},
    "gpytorch": {"optimize"},
    "huggingface_hub": {"hub"},
    "pyarrow": {"files", "readers"},
    "rdkit": {"chem", "filters", "properties"},
    "selfies": {"tokens"},
}

# Importing these must not load torch, not even through a module below.
WITHOUT_TORCH = {
    "errors",
    "config",
    "progress",
    "parallel",
    "work",
    "keys",
    "cache",
    "unfinished",
    "chem",
    "files",
    "kept",
    "readers",
    "tokens",
    "properties",
    "targets",
    "conditions",
    "labels",
    "dataset",
    "blocks",
    "download",
    "fetch",
    "parts",
    "plans",
    "jobs",
    "splits",
    "assemble",
    "prepare",
    "report",
    "objectives",
    "metrics",
    "filters",
    "checks",
    "hub",
    "cli",
}


def sources():
    """Module name -> its files; a module that has grown into a package keeps its one name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        found.setdefault(name, []).append(path)
    return found


SOURCES = sources()
MODULES = sorted(set(SOURCES) - {"__init__"})  # the package itself is checked apart


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
    """Dotted names a sequence of nodes imports; ``from a import b`` counts as ``a.b``."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: relative import; write it out"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_of(module, only_on_import=False):
    walk = on_import if only_on_import else ast.walk
    return {
        name for path in SOURCES[module] for name in imported(walk(ast.parse(path.read_text())))
    }


def own(names, of):
    """The molvae modules among imported names, without ``of`` itself."""
    parts = [name.split(".") for name in names]
    return {p[1] if len(p) > 1 else "__init__" for p in parts if p[0] == "molvae"} - {of}


def test_every_module_has_its_place():
    assert set(MODULES) <= set(ORDER), "a new module is entered in ORDER in the same commit"


def test_doors_and_lists_name_real_places():
    assert set().union(WITHOUT_TORCH, *DOORS.values()) <= set(ORDER)
    assert len(set(ORDER)) == len(ORDER)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    allowed = {*ORDER[: ORDER.index(module)], "__version__"}
    upward = own(imports_of(module), of=module) - allowed
    assert not upward, f"{module}.py imports {sorted(upward)}, which do not stand below it"


def test_package_itself_imports_lazily():
    assert not own(imports_of("__init__", only_on_import=True), of="__init__")


def test_no_cycles():
    graph = {module: own(imports_of(module), of=module) for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("library", DOORS)
def test_one_door(library):
    users = {
        module
        for module in SOURCES
        if any(name.split(".")[0] == library for name in imports_of(module))
    }
    assert users <= DOORS[library], f"{library} is imported outside {sorted(DOORS[library])}"


@pytest.mark.parametrize("module", sorted(WITHOUT_TORCH & set(MODULES)))
def test_loads_without_torch(module):
    todo = [[module]]
    seen = {module}
    while todo:
        chain = todo.pop()
        names = imports_of(chain[-1], only_on_import=True)
        assert not any(name.split(".")[0] == "torch" for name in names), (
            f"importing {module} loads torch: {' -> '.join(chain)} -> torch"
        )
        for below in own(names, of=chain[-1]) & set(MODULES) - seen:
            seen.add(below)
            todo.append([*chain, below])
