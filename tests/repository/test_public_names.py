"""``__all__`` says exactly what is public, in alphabetical order."""

import ast
import importlib
import re
from pathlib import Path

import molvae
from tests.repository.source import trees

ROOT = Path(__file__).parents[2]


def is_type_variable(value):
    return isinstance(value, ast.Call) and ast.unparse(value.func).split(".")[-1] in {
        "TypeVar",
        "ParamSpec",
    }


def is_command(node):
    """Whether click registers a function: it is reached by its verb, not by import."""
    calls = [d.func for d in node.decorator_list if isinstance(d, ast.Call)]
    return any(isinstance(f, ast.Attribute) and f.attr in {"command", "group"} for f in calls)


def defined(tree):
    """Public names that a module defines at its top level; imported ones are not its own."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if is_command(node) and node.name != "main":
                continue
            names = [node.name]
        elif isinstance(node, ast.Assign) and not is_type_variable(node.value):
            names = [
                name.id
                for target in node.targets
                for name in ast.walk(target)
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
            ]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            continue
        yield from (name for name in names if not name.startswith("_"))


def is_constant(name):
    """Constants are details of their module unless it lists them."""
    return name == name.upper()


def declared(tree):
    for node in tree.body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return ast.literal_eval(node.value)
    return None


def faults(tree):
    """What is wrong with the ``__all__`` of a module."""
    names = declared(tree)
    if names is None:
        return ["no __all__"]
    public = set(defined(tree))
    unlisted = sorted(name for name in public - set(names) if not is_constant(name))
    absent = sorted(set(names) - public)
    return [
        *(f"{name} is not in __all__; private names start with _" for name in unlisted),
        *(f"{name} is in __all__ but not defined here" for name in absent),
        *(["a name is in __all__ twice"] if len(names) != len(set(names)) else []),
    ]


def test_all_is_what_is_public():
    modules = {p: t for p, t in trees().items() if p.name not in ("__init__.py", "_version.py")}
    assert len(modules) > 50
    wrong = {str(path): result for path, tree in modules.items() if (result := faults(tree))}
    assert wrong == {}


def test_package_names():
    assert molvae.__all__ == sorted(molvae.__all__)
    for name in molvae.__all__:
        assert getattr(molvae, name) is not None


# Modules whose functions and classes users call.
DOCUMENTED = (
    "molvae.chem", "molvae.errors", "molvae.evaluate", "molvae.evaluate.metrics",
    "molvae.integrations", "molvae.latent.decode", "molvae.latent.encode",
    "molvae.latent.interpolate", "molvae.latent.predict", "molvae.latent.realism",
    "molvae.objectives", "molvae.optimize", "molvae.targets", "molvae.train",
)  # fmt: skip


def test_public_functions_and_classes_are_on_the_page_of_the_api():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    whole = set(re.findall(r"\.\. automodule:: (\S+)", page))
    single = set(re.findall(r"\.\. auto(?:function|class):: (\S+)", page))
    missing = [
        f"{module}.{name}"
        for module in DOCUMENTED
        if module not in whole
        for name in importlib.import_module(module).__all__
        if not is_constant(name) and f"{module}.{name}" not in single
    ]
    assert missing == []
