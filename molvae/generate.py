"""Targets → latent points → tokens → molecules that RDKit has checked."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from molvae.checkpoint import SavedModel, load_model
from molvae.conditions import Target
from molvae.errors import InputError
from molvae.files import file_format, require_absent, write_rows
from molvae.parallel import worker_count, worker_pool
from molvae.progress import Progress, say
from molvae.runtime import choose_device
from molvae.sampler import Generated, Request, Sampler

__all__ = ["GenerationSummary", "columns_of", "generate", "generate_file", "molecule_row"]

# Below this many molecules starting worker processes costs more than it saves.
INLINE = 2000


@dataclass
class GenerationSummary:
    """What a generation run did."""

    wanted: int
    written: int = 0
    decoded: int = 0
    seconds: float = 0.0
    refused: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return dict(self.__dict__)


def columns_of(targets: Sequence[Target]) -> list[str]:
    """Columns of the output: SMILES, each requested property, the error of each point target."""
    names = [target.name for target in targets]
    return ["smiles", *names, *(f"error_{t.name}" for t in targets if t.is_point)]


def molecule_row(molecule: Generated, targets: Sequence[Target]) -> list[object]:
    """The cells of :func:`columns_of` for one molecule."""
    errors = [molecule.values[t.name] - t.low for t in targets if t.is_point]
    return [molecule.smiles, *(molecule.values[t.name] for t in targets), *errors]


def generate(
    n: int,
    *,
    model: SavedModel | str | Path | None = None,
    targets: Sequence[str] = (),
    request: Request | None = None,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    summary: GenerationSummary | None = None,
) -> Iterator[Generated]:
    """Stream up to ``n`` molecules that meet the targets.

    ``targets`` are texts such as ``logp=2.5`` or ``qed=0.8:``; ``request`` holds the other knobs;
    ``summary``, if given, is filled in as the run goes. The same seed gives the same molecules.
    """
    if n < 1:
        raise InputError(f"number of molecules: got {n}, expected 1 or more")
    saved = model if isinstance(model, SavedModel) else load_model(model)
    request = request or Request()
    parsed = request.parse(targets, saved)
    request = replace(request, targets=parsed)
    count = worker_count(workers)
    with ExitStack() as stack:
        pool = None
        if count > 1 and n * (request.candidates if parsed else 1) > INLINE:
            pool = stack.enter_context(worker_pool(count))
        sampler = Sampler(
            saved, request, seed=seed, device=choose_device(device), executor=pool,
            workers=count if pool is not None else 1,
        )  # fmt: skip
        for note in sampler.notes():
            say(f"note: {note}")
        started = time.monotonic()
        with Progress("generate", total=n) as progress:
            for molecule in sampler.stream(n):
                progress.advance(1)
                if summary is not None:
                    summary.written += 1
                yield molecule
        if summary is not None:
            summary.decoded = sampler.decoded
            summary.seconds = time.monotonic() - started
            summary.refused = dict(sampler.refused.most_common())
            summary.notes = sampler.notes()


def generate_file(
    output: str | Path,
    n: int,
    *,
    model: str | Path | None = None,
    targets: Sequence[str] = (),
    request: Request | None = None,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    force: bool = False,
) -> GenerationSummary:
    """Generate molecules into a file whose format follows its name; see :func:`generate`."""
    file_format(Path(output))
    require_absent(output, force=force)
    saved = load_model(model)
    parsed = (request or Request()).parse(targets, saved)
    summary = GenerationSummary(wanted=n)
    stream = generate(
        n, model=saved, targets=targets, request=request, seed=seed, device=device,
        workers=workers, summary=summary,
    )  # fmt: skip
    write_rows(output, columns_of(parsed), (molecule_row(molecule, parsed) for molecule in stream))
    return summary
