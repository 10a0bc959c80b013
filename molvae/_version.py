"""The version; pyproject.toml and the documentation read it here."""

__all__ = ["__version__"]

__version__ = "0.2.0"
