"""Results go to files or through the command line's writer, progress through progress.py."""

import ast

from tests.repository.source import trees


def test_no_print():
    calls = [
        f"{path}:{node.lineno}"
        for path, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert calls == []
