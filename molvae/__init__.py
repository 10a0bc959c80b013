"""Molecular generation with a recurrent conditional variational autoencoder.

``molvae.MolVAE`` is the interface for Python; each verb has a module or package
(``molvae.data.prepare``, ``molvae.train``, ``molvae.generate``, ``molvae.evaluate``).
Importing this package loads neither torch nor RDKit: names are resolved when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from molvae._version import __version__

if TYPE_CHECKING:
    from molvae.api import MolVAE
    from molvae.errors import MolvaeError

__all__ = ["MolVAE", "MolvaeError", "__version__"]

_HOME = {"MolVAE": "molvae.api", "MolvaeError": "molvae.errors"}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'molvae' has no attribute '{name}'")
