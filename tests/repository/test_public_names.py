"""``__all__`` says exactly what is public, in alphabetical order."""

import ast
from pathlib import Path

import pytest

import molvae

PACKAGE = Path(__file__).parents[2] / "molvae"
FILES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name not in ("__init__.py", "_version.py")
]


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


def is_knob(name):
    """Constants are details of their module unless it lists them."""
    return name == name.upper()


def declared(tree):
    for node in tree.body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return ast.literal_eval(node.value)
    return None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_all_is_what_is_public(path):
    tree = ast.parse(path.read_text())
    names = declared(tree)
    assert names is not None, "no __all__"
    public = set(defined(tree))
    unlisted = {name for name in public - set(names) if not is_knob(name)}
    assert sorted(unlisted) == [], "not in __all__; private names start with _"
    assert sorted(set(names) - public) == [], "in __all__ but not defined here"
    assert len(names) == len(set(names))


def test_package_names():
    assert molvae.__all__ == sorted(molvae.__all__)
    for name in molvae.__all__:
        assert getattr(molvae, name) is not None
