"""The functions of a Python file, read without running it."""

from __future__ import annotations

import ast
from pathlib import Path

from molvae.errors import FileError

__all__ = ["public_functions"]


def public_functions(path: str | Path) -> list[str]:
    """Names of the functions that a file defines at its top, in their order, without ``_…``.

    Raises:
        FileError: the file cannot be read, or is not Python.
    """
    try:
        tree = ast.parse(Path(path).read_bytes())
    except OSError as error:
        raise FileError(f"'{path}': {error.strerror or error}") from None
    except (SyntaxError, ValueError) as error:
        raise FileError(f"'{path}': not Python: {error}") from None
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]
