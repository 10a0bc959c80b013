"""Results go to files or through the command line's writer, progress through progress.py."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "molvae"


def test_no_print():
    calls = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert calls == []
