"""Evaluation of generated molecules, with or without training and test sets.

It evaluates molecules from any generator and never sees a model. Worker processes import the main
module again, so a script calling :func:`evaluate` on more than a few thousand molecules needs
the usual ``if __name__ == "__main__":`` or ``workers=1``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from molvae.errors import FileError
from molvae.evaluate.judge import Judge
from molvae.evaluate.options import Options
from molvae.evaluate.references import KINDS, Reference
from molvae.evaluate.results import Comparison, Curves, PropertySummary, Report
from molvae.evaluate.sources import Paths, Source, from_files, from_list
from molvae.runtime.pool import WorkerPool

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Comparison",
    "Curves",
    "Molecules",
    "Options",
    "PropertySummary",
    "Report",
    "compare",
    "evaluate",
    "evaluate_molecules",
    "evaluate_smiles",
]

DEFAULTS = Options()
Molecules = Sequence[str] | str | Path  # a list of SMILES, or a file


def evaluate(
    paths: Paths,
    *,
    train: Paths | None = None,
    test: Paths | None = None,
    test_scaffolds: Paths | None = None,
    smiles_column: str | None = None,
    options: Options = DEFAULTS,
) -> Report:
    """Evaluate the molecules of a file, or of several that are one set.

    ``smiles_column`` of the generated files, and of the reference files that have it.
    """
    source = from_files(paths, smiles_column=smiles_column)
    paths_of = {"train": train, "test": test, "test_scaffolds": test_scaffolds}
    references = _references(paths_of, smiles_column)
    [result] = _judge_all({source.files[0].name: source}, references, options)
    return result


def evaluate_smiles(
    smiles: Sequence[str],
    *,
    train: Sequence[str] | None = None,
    test: Sequence[str] | None = None,
    test_scaffolds: Sequence[str] | None = None,
    options: Options = DEFAULTS,
) -> Report:
    """Evaluate a list of SMILES, like :func:`evaluate` but without files."""
    from_list(smiles)  # a single text is an error here
    return evaluate_molecules(
        smiles, train=train, test=test, test_scaffolds=test_scaffolds, options=options
    )


def evaluate_molecules(
    molecules: Molecules | pd.DataFrame,
    *,
    train: Molecules | pd.DataFrame | None = None,
    test: Molecules | pd.DataFrame | None = None,
    test_scaffolds: Molecules | pd.DataFrame | None = None,
    options: Options = DEFAULTS,
) -> Report:
    """Evaluate a list of SMILES, a table with the column ``smiles`` or a file, against the same."""
    given = {"train": train, "test": test, "test_scaffolds": test_scaffolds}
    references = {
        role: _source(some, f"the {role} set") for role, some in given.items() if some is not None
    }
    source = _source(molecules, "the list")
    name = source.files[0].name if source.files else "molecules"
    [result] = _judge_all({name: source}, references, options)
    return result


def _source(molecules: Molecules | pd.DataFrame, name: str) -> Source:
    if isinstance(molecules, str | Path):
        return from_files(molecules)
    return from_list(molecules, name)


def compare(
    files: Paths,
    *,
    train: Paths | None = None,
    test: Paths | None = None,
    test_scaffolds: Paths | None = None,
    smiles_column: str | None = None,
    options: Options = DEFAULTS,
) -> Comparison:
    """Evaluate several files with the same options, and compare them with the first."""
    files = [files] if isinstance(files, str | Path) else list(files)
    paths_of = {"train": train, "test": test, "test_scaffolds": test_scaffolds}
    references = _references(paths_of, smiles_column)
    names = _distinct_names([Path(path) for path in files])
    sources = [from_files(path, smiles_column=smiles_column) for path in files]
    return Comparison(_judge_all(dict(zip(names, sources, strict=True)), references, options))


def _references(given: Mapping[str, Paths | None], smiles_column: str | None) -> dict[str, Source]:
    return {
        role: from_files(paths, smiles_column=smiles_column, perhaps=True)
        for role, paths in given.items()
        if paths is not None
    }


def _distinct_names(files: Sequence[Path]) -> list[str]:
    """A distinct name per file: its name, or its path where names are equal."""
    names = [path.name for path in files]
    if len(set(names)) < len(names):
        names = [str(path) for path in files]
    if len(set(names)) < len(names):
        names = [f"{i}: {name}" for i, name in enumerate(names, 1)]
    return names


def _judge_all(
    sources: Mapping[str, Source], reference_sources: Mapping[str, Source], options: Options
) -> list[Report]:
    if not sources:
        raise FileError("no file was given; name at least one file of molecules")
    options.check(list(sources.values()))
    for source in sources.values():
        source.check("the file to evaluate" if source.files else "the list to evaluate")
    for role, source in reference_sources.items():
        source.check(f"the {role} set")
    with ExitStack() as stack:
        workers = stack.enter_context(WorkerPool(options.workers, scheduler=options.scheduler))
        references = {}
        for role, source in reference_sources.items():
            reference = Reference(role, source, workers, device=options.device)
            stack.callback(reference.close)
            references[role] = reference
        _require(references, draw=options.draw > 0)
        return [
            Judge(number, name, source, references, options, workers).run()
            for number, (name, source) in enumerate(sources.items())
        ]


def _require(references: Mapping[str, Reference], *, draw: bool) -> None:
    """Compute everything that RDKit computes of a reference in one pass over it."""
    for role, reference in references.items():
        if role == "train":
            drawn = ("smiles.txt", "fingerprints.bin") if draw else ()
            few = "test" not in references and reference.is_short()
            reference.require("keys.bin", KINDS, *drawn, *(("values.bin",) if few else ()))
        else:
            values = ("values.bin",) if role == "test" else ()
            needed = ("fingerprints.bin", "fragments.json", "scaffolds.json", "smiles.txt")
            reference.require(*needed, *values)
