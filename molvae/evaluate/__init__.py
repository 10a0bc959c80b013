"""Generated molecules, with or without training and test sets → a report.

It judges molecules from any generator and never sees a model. On platforms that start processes
afresh (all of ours), a script calling :func:`evaluate` on more than a few thousand molecules needs
the usual ``if __name__ == "__main__":`` or ``workers=1``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypedDict, Unpack

from molvae.chem.alerts import load_filters
from molvae.chem.properties import PROPERTIES
from molvae.errors import ConfigError, FileError
from molvae.evaluate.judge import SAMPLE, Options, Request, judge
from molvae.evaluate.references import Reference
from molvae.evaluate.results import Comparison, Curves, PropertySummary, Report
from molvae.evaluate.sources import Paths, Source, from_files, from_list
from molvae.runtime.pool import WorkerPool
from molvae.targets import Target, parse_target, require_once

__all__ = [
    "Comparison",
    "Curves",
    "PropertySummary",
    "Report",
    "Settings",
    "compare",
    "evaluate",
    "evaluate_smiles",
]


FEWEST = 100  # draws; the ends of an interval from fewer are mostly chance


class Settings(TypedDict, total=False):
    """How to judge.

    ``targets``: texts such as ``logp=2:3`` or ``logp=@COLUMN``, the value requested for each row.
    One that names a column of the generated files which is not a built-in property is checked on
    that column. ``filters_from``: folder with the pattern files of MOSES. ``chemnet``: compute FCD
    where its weights are installed. ``sample``: describe no more than that many valid molecules,
    0 for all. ``replicates`` of the bootstrap, 0 for no intervals. ``draw``: molecules prepared for
    the drawings of a page. ``workers``: processes, 0 or 1 for this one alone.
    """

    targets: Sequence[str]
    filters_from: str | Path | None
    chemnet: bool
    guacamol: bool
    sample: int
    replicates: int
    seed: int
    device: str
    draw: int
    workers: int | None


def evaluate(
    paths: Paths,
    *,
    train: Paths | None = None,
    test: Paths | None = None,
    test_scaffolds: Paths | None = None,
    smiles_column: str | None = None,
    **settings: Unpack[Settings],
) -> Report:
    """Evaluate the molecules of a file, or of several that are one set.

    ``smiles_column`` is that of the generated files, and of the others if they have it.
    """
    source = from_files(paths, smiles_column=smiles_column)
    others = {"train": train, "test": test, "test_scaffolds": test_scaffolds}
    given = _references(others, smiles_column)
    [found] = _judge_all({source.files[0].name: source}, given, settings)
    return found


def evaluate_smiles(
    smiles: Sequence[str],
    *,
    train: Sequence[str] | None = None,
    test: Sequence[str] | None = None,
    test_scaffolds: Sequence[str] | None = None,
    **settings: Unpack[Settings],
) -> Report:
    """Evaluate a list of SMILES, as :func:`evaluate`, without files."""
    others = {"train": train, "test": test, "test_scaffolds": test_scaffolds}
    given = {role: from_list(t, f"the {role} set") for role, t in others.items() if t is not None}
    [found] = _judge_all({"molecules": from_list(smiles)}, given, settings)
    return found


def compare(
    files: Paths,
    *,
    train: Paths | None = None,
    test: Paths | None = None,
    test_scaffolds: Paths | None = None,
    smiles_column: str | None = None,
    **settings: Unpack[Settings],
) -> Comparison:
    """Evaluate several files alike, and how they differ from the first."""
    files = [files] if isinstance(files, str | Path) else list(files)
    others = {"train": train, "test": test, "test_scaffolds": test_scaffolds}
    given = _references(others, smiles_column)
    names = _distinct_names([Path(path) for path in files])
    sources = [from_files(path, smiles_column=smiles_column) for path in files]
    return Comparison(_judge_all(dict(zip(names, sources, strict=True)), given, settings))


def _references(given: Mapping[str, Paths | None], smiles_column: str | None) -> dict[str, Source]:
    return {
        role: from_files(paths, smiles_column=smiles_column, perhaps=True)
        for role, paths in given.items()
        if paths is not None
    }


def _distinct_names(files: Sequence[Path]) -> list[str]:
    """What to call each file: its name, with the folder where that alone is not enough."""
    names = [path.name for path in files]
    if len(set(names)) < len(names):
        names = [str(path) for path in files]
    if len(set(names)) < len(names):
        names = [f"{i}: {name}" for i, name in enumerate(names, 1)]
    return names


def _judge_all(
    sources: Mapping[str, Source], given: Mapping[str, Source], settings: Settings
) -> list[Report]:
    if not sources:
        raise FileError("no file was given; name at least one file of molecules")
    if unknown := set(settings) - set(Settings.__annotations__):
        raise TypeError(
            f"unknown settings {sorted(unknown)}; there are {[*Settings.__annotations__]}"
        )
    options = _options(list(sources.values()), settings)
    for source in sources.values():
        source.check("the file to evaluate" if source.files else "the list to evaluate")
    for role, source in given.items():
        source.check(f"the {role} set")
    with ExitStack() as stack:
        workers = stack.enter_context(WorkerPool(settings.get("workers")))
        references = {}
        for role, source in given.items():
            reference = Reference(role, source, workers, device=options.device)
            stack.callback(reference.close)
            references[role] = reference
        _require(references, options)
        return [
            judge(number, name, source, references, options, workers)
            for number, (name, source) in enumerate(sources.items())
        ]


def _require(references: Mapping[str, Reference], options: Options) -> None:
    """Everything that RDKit computes of a reference, in one pass over it."""
    for role, reference in references.items():
        if role == "train":
            drawn = ("smiles.txt", "fingerprints.bin") if options.draw else ()
            few = "test" not in references and reference.is_short()
            reference.require("keys.bin", *drawn, *(("values.bin",) if few else ()))
        else:
            values = ("values.bin",) if role == "test" else ()
            needed = ("fingerprints.bin", "fragments.json", "scaffolds.json", "smiles.txt")
            reference.require(*needed, *values)


def _options(sources: Sequence[Source], settings: Settings) -> Options:
    sample, replicates = settings.get("sample", SAMPLE), settings.get("replicates", 500)
    if sample < 0:
        raise ConfigError(f"sample: got {sample}, expected 0 (all molecules) or more")
    if replicates and replicates < FEWEST:
        raise ConfigError(
            f"bootstrap: got {replicates} draws, expected 0 (no intervals) or {FEWEST} and more"
        )
    targets = _targets(settings.get("targets", ()))
    columns = [target.name for target in targets if target.name not in PROPERTIES]
    requests = [target.column for target in targets if isinstance(target, Request)]
    for source in sources:
        source.check_columns(columns, requests)
    folder = settings.get("filters_from")
    return Options(
        targets=targets,
        filters=None if folder is None else load_filters(folder),
        chemnet=settings.get("chemnet", True),
        guacamol=settings.get("guacamol", False),
        sample=sample or None,
        replicates=replicates,
        seed=settings.get("seed", 0),
        device=settings.get("device", "auto"),
        draw=settings.get("draw", 0),
    )


def _targets(texts: Sequence[str]) -> list[Target | Request]:
    targets: list[Target | Request] = []
    for text in texts:
        by_row = re.fullmatch(r"([^\s=](?:[^=]*[^\s=])?)=@(.+)", text.strip())
        targets.append(parse_target(text) if by_row is None else Request(by_row[1], by_row[2]))
    require_once((target.name, target.text) for target in targets)
    return targets
