"""``python -m molvae``: the same as the ``molvae`` command; torchrun needs a module."""

from molvae.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
