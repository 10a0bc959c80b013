"""Search for molecules that score higher on an objective.

An engine proposes, a gate lets through what may be scored, the objective is called within its
budget, and every call is written down (:mod:`molvae.optimize.calls`). A molecule is never scored
twice; a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from molvae import chem
from molvae.chem.hashing import KeySet
from molvae.chem.selfies import selfies_of
from molvae.data.writers import require_writer, write_rows
from molvae.errors import ConfigError, RunError, suggest
from molvae.evaluate.metrics import internal_diversity
from molvae.generate.novelty import known_molecules
from molvae.generate.proposer import Proposer
from molvae.generate.request import Request
from molvae.model.checkpoint import SavedModel, find_model, load_model
from molvae.objectives import Objective
from molvae.optimize.archive import POOL, Answer, Archive, fronts, mean, worths
from molvae.optimize.calls import Calls, method_before, open_calls
from molvae.optimize.engines.base import Engine, Sampling
from molvae.optimize.engines.cma import LatentCMA
from molvae.optimize.engines.evolution import Evolution
from molvae.optimize.engines.learning import Learning
from molvae.optimize.engines.trust import TrustRegion
from molvae.optimize.gate import Gate
from molvae.optimize.report import search_page
from molvae.optimize.scoring import Scoring
from molvae.optimize.search import TOP, Search, commonest, round_size
from molvae.report import write_html
from molvae.runtime.device import choose_device, keep_memory, versions
from molvae.runtime.files import fingerprint, require_absent
from molvae.runtime.pool import WorkerPool
from molvae.runtime.processes import process_pool, worker_count
from molvae.runtime.progress import Progress, say
from molvae.runtime.randomness import Draws
from molvae.runtime.threads import choose_threads
from molvae.targets import Target

__all__ = ["METHODS", "OptimizeSummary", "best_table", "calls_path", "choose_method", "optimize"]

METHODS = ("evolution", "learning", "cma", "trust", "sampling")
LEAST_ROWS = 64  # in the products by which the number of threads is chosen
INLINE = 500  # calls, up to which starting worker processes for RDKit costs more than it saves
KEPT = 100  # molecules in the output
UNWRITABLE = "cannot be written as SELFIES with the model's bonds"


@dataclass
class OptimizeSummary:
    """What a search did."""

    budget: int
    method: str
    calls: int = 0
    made: int = 0  # calls since the run began or was resumed
    failed: int = 0
    written: int = 0
    rounds: int = 0
    seconds: float = 0.0
    reason: str = ""
    best: float | None = None
    top: float | None = None  # mean value of the ten best
    diversity: float | None = None  # of the ten best: one minus mean similarity
    front: int | None = None  # molecules on the front of a Pareto search
    refused: dict[str, int] = field(default_factory=dict)
    moves: dict[str, int] = field(default_factory=dict)  # calls by the move that led to them
    failures: dict[str, int] = field(default_factory=dict)
    molecules: list[Answer] = field(default_factory=list)  # the best ones

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``--json``, without the molecules."""
        return {name: value for name, value in vars(self).items() if name != "molecules"}


def choose_method(name: str) -> str:
    """The engine of a name; ``auto`` is evolution: none found more at any budget measured."""
    if name == "auto":
        return "evolution"
    if name not in METHODS:
        raise ConfigError(f"unknown method '{name}': {suggest(name, {*METHODS, 'auto'})}")
    return name


def optimize(
    output: str | Path | None,
    objective: Objective,
    budget: int,
    *,
    model: SavedModel | str | Path | None = None,
    method: str = "auto",
    constraints: Sequence[str | Target] = (),
    request: Request | None = None,
    given: Sequence[str] = (),
    novel: Sequence[str | Path] = (),
    pareto: bool = False,
    keep: int = KEPT,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    timeout: float | None = None,
    call_size: int = 16,
    report: str | Path | None = None,
    command: str = "",
    resume: bool = False,
    force: bool = False,
) -> OptimizeSummary:
    """Search for molecules with a high objective; the best are written and in the summary.

    Args:
        output: molecule file of the best; the calls go to ``STEM.calls.csv`` beside it. None:
            nothing is left on disk.
        objective: what is maximised, of :func:`molvae.objectives.parse_objective`.
        budget: calls of the objective, each of another molecule.
        model: as of :func:`molvae.generate.run.generate_file`.
        method: one of :data:`METHODS`, or ``auto``.
        constraints: ranges such as ``mw=:450`` that every molecule scored must meet, beside
            the targets of ``request``.
        request: alerts, elements, max_ring, scaffold, and the start molecules
            of ``similarity=0.4:``.
        given: SMILES that are scored first.
        novel: files of molecules that are not to be scored.
        pareto: search for the front of several objectives, not for the best of their mean.
        keep: molecules written, the best first; at most 1,000 of a Pareto search.
        seed, device, precision, workers: as for generation; workers call the objective.
        timeout: seconds per molecule after which its call has failed.
        call_size: molecules handed to the objective together, at most.
        report: HTML page to write: the curve over the calls, the best drawn.
        command: what stands on that page as the command.
        resume: go on with the calls that are there.
        force: overwrite them, and the output.

    Raises:
        ConfigError: something asked for does not fit, or the resumed run was another.
        OutputExistsError: an output is in the way.
        RunError: no molecule could be scored.
    """
    if budget < 1:
        raise ConfigError(f"budget: got {budget}, expected 1 call or more")
    if call_size < 1 or keep < 1:
        raise ConfigError(f"got {call_size} per call and {keep} kept, expected 1 or more of each")
    if pareto and keep > POOL:
        raise ConfigError(f"keep: got {keep:,}, expected {POOL:,} or fewer of a Pareto search")
    log = _checked_outputs(output, report, resume=resume, force=force)
    chem.require_elements(request.elements if request else ())
    before = method_before(log) if resume and log is not None else None
    name = choose_method(before if method == "auto" and before is not None else method)
    saved = model if isinstance(model, SavedModel) else load_model(model)
    label, identity = _identity(model)
    request = request or Request()
    request = replace(request.with_targets(constraints, saved), critic=True)
    plan = {
        "objective": [part.text for part in objective.parts],
        "minimize": objective.minimize, "pareto": pareto, "method": name, "seed": seed,
        "constraints": [target.text for target in request.targets],
        "like": list(request.like), "scaffold": request.scaffold,
        "alerts": list(request.alerts), "elements": list(request.elements),
        "max_ring": request.max_ring,
        "novel": [str(path) for path in novel],
        "model": identity,
    }  # fmt: skip
    summary = OptimizeSummary(budget=budget, method=name)
    started = time.monotonic()
    where, count = choose_device(device), worker_count(workers)
    keep_memory()
    with _stoppable(log), ExitStack() as stack:
        if log is None:
            log = Path(stack.enter_context(TemporaryDirectory())) / "calls.csv"
        pool = stack.enter_context(process_pool(count)) if count > 1 else None
        known = known_molecules(novel, workers=count, executor=pool) if novel else KeySet()
        proposer = Proposer(saved, request, draws=Draws(seed), device=where, precision=precision)
        inline = pool is None or budget <= INLINE
        gate = Gate(
            proposer, request, known=known, executor=None if inline else pool,
            workers=1 if inline else count,
        )  # fmt: skip
        width = saved.network.config.decoder_size
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        choose_threads(where, max(round_size(budget), LEAST_ROWS), width)
        archive = Archive(pareto=pareto)
        engine = _engine(name, proposer, archive, budget)
        calls = stack.enter_context(
            open_calls(
                log,
                objective,
                plan,
                pareto=pareto,
                resume=resume,
                force=force,
                outputs=[Path(path) for path in (output, report) if path is not None],
            )
        )
        scorers = stack.enter_context(WorkerPool(workers))
        printed = stack.enter_context(_printed(output, anew=force and not resume))
        scoring = Scoring(objective, scorers, timeout=timeout, size=call_size, log=printed)
        say(f"method {name}, {round_size(budget)} calls per round")
        starts, done = _given(gate, given, saved), len(calls.answers)
        with Progress("optimize", total=budget, done=done) as progress:
            search = Search(engine, gate, scoring, calls, archive, budget=budget, progress=progress)
            search.start(starts)
            search.run()
        summary.seconds, summary.made = time.monotonic() - started, len(calls.answers) - done
        _sum_up(summary, search, gate)
        # Fronts of very many are slow to find, and nobody looks beyond the first ones.
        scored = archive.pool if pareto else [a for a in calls.answers if not a.failed]
        best = archive.rank(scored)[:keep]
        if not best:
            raise RunError(_nothing(calls, gate))
        summary.molecules = best
        if output is not None:
            columns, rows = best_table(best, objective, pareto=pareto)
            summary.written = write_rows(output, columns, rows)
        if report is not None:
            page = search_page(
                summary.to_json(), calls.answers, best, objective, model=label, seed=seed,
                versions=versions(), command=command,
            )  # fmt: skip
            write_html(report, page)
    return summary


def calls_path(output: Path) -> Path:
    """Where the calls of a run are written down: beside its output."""
    name = output.name.removesuffix(".gz")
    return output.with_name(f"{name.rpartition('.')[0] or name}.calls.csv")


@contextmanager
def _printed(output: str | Path | None, *, anew: bool) -> Iterator[Path | None]:
    """The file for what the objective prints; there is none at the end if it printed nothing."""
    if output is None:
        yield None
        return
    calls = calls_path(Path(output))
    path = calls.with_name(f"{calls.name.removesuffix('.calls.csv')}.objective.log")
    if anew:
        path.unlink(missing_ok=True)
    try:
        yield path
    finally:
        if path.exists() and path.stat().st_size == 0:
            path.unlink()
        if path.exists():
            say(f"note: the objective printed something, see '{path}'")


def _engine(name: str, proposer: Proposer, archive: Archive, budget: int) -> Engine:
    first = int(np.clip(budget // 10, 4, 200))
    parents = int(np.clip(budget // 20, 5, 100))
    if name == "learning":
        return Learning(proposer, archive, parents=parents, first=first)
    if name == "evolution":
        return Evolution(proposer, archive, parents=parents, first=first)
    if name == "cma":
        return LatentCMA(proposer, archive, first=first)
    if name == "trust":
        return TrustRegion(proposer, archive, first=first)
    return Sampling(proposer, archive)


@contextmanager
def _stoppable(log: Path | None) -> Iterator[None]:
    """Say what is left of a search that the user stops."""
    try:
        yield
    except KeyboardInterrupt:
        kept = f"; what was answered is in '{log}': go on with --resume" if log else ""
        raise RunError(f"stopped{kept}") from None


def _checked_outputs(
    output: str | Path | None, report: str | Path | None, *, resume: bool, force: bool
) -> Path | None:
    """The file of calls. Nothing that is there is written over, nor two things into one file."""
    log = None
    if output is None:
        if resume:
            raise ConfigError("resume needs an output, beside which the calls are")
    else:
        require_writer(Path(output))
        log = calls_path(Path(output))
    paths = [Path(path).absolute() for path in (output, report, log) if path is not None]
    if len(set(paths)) < len(paths):
        raise ConfigError(f"'{report}': a file of its own is needed for the report")
    for path in (output, report):
        if path is not None and not (resume and log is not None and log.exists()):
            require_absent(path, force=force)
    return log


def _nothing(calls: Calls, gate: Gate) -> str:
    """Why there is no molecule to write."""
    if calls.answers:
        return f"none of {len(calls.answers)} molecules could be scored{commonest(calls.answers)}"
    why = ", ".join(f"{count} × {reason}" for reason, count in gate.refused.most_common(3))
    return f"no molecule met the constraints ({why}); widen them"


def _given(gate: Gate, smiles: Sequence[str], model: SavedModel) -> list[tuple[str, str]]:
    """Given molecules that may be scored; of the others it is said why not."""
    limits = tuple(model.constraints.items())
    texts = [selfies_of(text, limits) for text in smiles]
    passed = gate([text for text in texts if text])
    lost = len(texts) - sum(one is not None for one in passed)
    if lost:
        reasons = gate.refused + Counter({UNWRITABLE: sum(not text for text in texts)})
        why = ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common() if count)
        say(f"note: {lost} of {len(smiles)} given molecules are not scored ({why})")
    return [(one, "given") for one in passed if one is not None]


def _sum_up(summary: OptimizeSummary, search: Search, gate: Gate) -> None:
    answers, pool = search.calls.answers, search.archive.pool
    summary.calls, summary.rounds, summary.reason = len(answers), search.round, search.reason
    summary.failed = sum(answer.failed for answer in answers)
    summary.refused = dict(gate.refused.most_common())
    summary.moves = dict(Counter(answer.origin for answer in answers))
    summary.failures = dict(Counter(answer.note for answer in answers if answer.failed))
    if search.archive.pareto:
        summary.front = len(fronts(worths(pool))[0]) if pool else 0
    elif pool:
        told = search.calls.objective.told
        summary.best = told(pool[0].value)
        summary.top = told(mean([answer.value for answer in pool[:TOP]]))
    if len(pool) > 1:
        mols = [mol for one in pool[:TOP] if (mol := chem.parse(one.smiles)) is not None]
        (diversity,) = internal_diversity(chem.fingerprints(mols), powers=(1,))
        summary.diversity = diversity.value


def best_table(
    best: Sequence[Answer], objective: Objective, *, pareto: bool = False
) -> tuple[list[str], list[list[object]]]:
    """Columns and rows: the molecules, their value, what each part said, the call, its origin.

    Of a Pareto search the number of the front in place of the value; no other beats those of 1.
    """
    names = list(objective.names)
    head: list[str] = []
    first: list[list[object]] = [[] for _ in best]
    if pareto:
        numbers = {i: n for n, front in enumerate(fronts(worths(best)), start=1) for i in front}
        head, first = ["front"], [[numbers[i]] for i in range(len(best))]
    elif len(names) > 1:
        head, first = ["value"], [[one.value] for one in best]
    columns = ["smiles", *head, *names, "call", "origin"]
    return columns, [
        [one.smiles, *cells, *one.scores, one.number, one.origin]
        for one, cells in zip(best, first, strict=True)
    ]


def _identity(model: SavedModel | str | Path | None) -> tuple[str, str]:
    """Name of a model, and what tells it from others."""
    if not isinstance(model, SavedModel):
        folder = find_model(model)
        return folder.name, str(fingerprint(folder / "config.json")["sha256"])
    digest = hashlib.sha256()
    for name, value in model.network.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().numpy().tobytes())
    return "", digest.hexdigest()
