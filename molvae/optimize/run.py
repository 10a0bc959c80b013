"""Search for molecules that score higher on an objective.

An engine proposes molecules, a gate rejects those that break a constraint, and the objective is
called within its budget. Every call is logged (:mod:`molvae.optimize.calls`). No molecule is scored
twice, and a run that was killed can be resumed.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from molvae import chem
from molvae.chem.hashing import KeySet
from molvae.chem.selfies import selfies_of
from molvae.data.writers import require_writer, write_rows
from molvae.errors import ConfigError, RunError
from molvae.generate.columns import count_inside
from molvae.generate.novelty import known_molecules
from molvae.generate.proposer import Proposer
from molvae.generate.request import Request
from molvae.model.checkpoint import SavedModel, find_model, load_model
from molvae.model.given import clean_given, cleaned
from molvae.objectives import ColumnScorer, Objective
from molvae.optimize.archive import POOL, Answer, Archive
from molvae.optimize.calls import method_before, open_calls
from molvae.optimize.engines.base import Engine, TunesModel
from molvae.optimize.engines.choice import EngineMaker, choose_method, make_engine
from molvae.optimize.engines.evolution import Evolution
from molvae.optimize.gate import Gate
from molvae.optimize.known import KnownFiles
from molvae.optimize.report import search_page
from molvae.optimize.scoring import Scoring
from molvae.optimize.search import Search, round_size
from molvae.optimize.summary import OptimizeSummary, best_answers, best_table, summarize
from molvae.optimize.tuned import check_model_output, save_tuned
from molvae.report import write_html
from molvae.runtime.device import choose_device, keep_memory
from molvae.runtime.files import fingerprint, require_absent, require_distinct
from molvae.runtime.pool import WorkerPool
from molvae.runtime.processes import process_pool, worker_count
from molvae.runtime.progress import Progress, say
from molvae.runtime.randomness import Draws
from molvae.runtime.threads import one_thread
from molvae.targets import Target

__all__ = ["calls_path", "optimize"]

INLINE = 500  # up to this budget, starting worker processes for RDKit costs more than it saves
MOST_AHEAD = 10  # rounds, a fifth of most searches
KEPT = 100  # molecules in the output
UNWRITABLE = "cannot be written as SELFIES with the model's bonds"


def optimize(
    output: str | Path | None,
    objective: Objective,
    budget: int,
    *,
    patience: int | None = None,
    ahead: int = 0,
    model: SavedModel | str | Path | None = None,
    method: str | Engine | EngineMaker = "auto",
    constraints: Sequence[str | Target] = (),
    request: Request | None = None,
    given: Sequence[str] = (),
    realism: float | None = None,
    novel: Sequence[str | Path] = (),
    known: Sequence[str | Path] = (),
    known_columns: Mapping[str, str] | None = None,
    smiles_column: str | None = None,
    pareto: bool = False,
    keep: int = KEPT,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    scheduler: str | None = None,
    timeout: float | None = None,
    call_size: int = 16,
    report: str | Path | None = None,
    save_model: str | Path | None = None,
    command: str = "",
    resume: bool = False,
    force: bool = False,
) -> OptimizeSummary:
    """Search for molecules with a high objective; the best are written and in the summary.

    Args:
        output: molecule file of the best; the calls go to ``STEM.calls.csv`` beside it. None:
            no file is kept.
        objective: what is maximised, of :func:`molvae.objectives.parse_objective`.
        budget: calls of the objective, each with a new molecule.
        patience: end the search after so many calls without improvement: none of their molecules
            is among the ten best, or on the front of a Pareto search.
        ahead: rounds that are proposed while earlier ones are still being scored, so that slow
            molecules leave no worker idle. Other numbers make other searches.
        model: as of :func:`molvae.generate.run.generate_file`.
        method: one of :data:`molvae.optimize.engines.choice.METHODS`, ``auto``, the name of an
            engine of an installed package, an engine, or a function of proposer, archive and
            budget that makes one.
        constraints: ranges such as ``mw=:450`` that every molecule scored must meet, beside
            the targets of ``request``.
        request: alerts, elements, max_ring, scaffold, novel_rings, and the start molecules
            of ``similarity=0.4:``.
        given: SMILES to score first.
        realism: share of samples that the realism critic keeps; what it refuses is not scored.
            It replaces that of ``request``. None: all.
        novel: files of molecules that must not be scored.
        known: files of molecules with scores, such as an assay or the calls of another search.
            They cost no calls, are where the search starts, and are neither scored nor written.
            Scores are on the scale of the objective, before its desirability.
        known_columns: their columns by the names of the objective's parts, which are the default.
            Without a column, properties, tasks and measured columns are computed.
        smiles_column: the SMILES column of these files, if it has no usual name.
        pareto: search for the Pareto front of several objectives, not for their best mean.
        keep: molecules written, the best first; at most 1,000 of a Pareto search.
        seed, device, precision, workers: as for generation; workers call the objective.
        scheduler: address of a running Dask scheduler, whose workers call it instead.
        timeout: seconds per molecule; slower calls count as failed.
        call_size: molecules per call of the objective, at most.
        report: HTML page to write: progress curves, drawings of the best.
        save_model: folder for the generator that the method ``learning`` tuned, a model with one
            more measured column, ``score``: the rank of a molecule as a quantile of N(0, 1).
        command: the command shown on that page.
        resume: continue with the calls logged so far.
        force: overwrite the log of calls and the output.

    Raises:
        ConfigError: options do not fit together, or the run to resume had other options.
        OutputExistsError: an output exists.
        RunError: no molecule could be scored.
    """
    sizes = {"budget": budget, "call size": call_size, "keep": keep, "patience": patience}
    _check_sizes(sizes, pareto=pareto)
    if not hasattr(ahead, "__index__") or not 0 <= ahead <= MOST_AHEAD:
        raise ConfigError(f"ahead: got {ahead!r}, expected from 0 to {MOST_AHEAD} rounds")
    log = _checked_outputs(output, report, known, resume=resume, force=force)
    files = KnownFiles(known, objective, columns=known_columns, smiles_column=smiles_column)
    chem.require_elements(request.elements if request else ())
    method_then = method_before(log) if resume and log is not None else None
    name = choose_method(method_then if method == "auto" and method_then is not None else method)
    saved = model if isinstance(model, SavedModel) else load_model(model)
    label, identity = _identity(model)
    if save_model is not None:
        resumed = resume and log is not None and log.exists()
        check_model_output(save_model, model, force=force or resumed)
    request = request or Request()
    request = replace(request.with_targets(constraints, saved), critic=True, realism=realism)
    plan = {
        **_plan(objective, request, novel, files, ahead),
        **{"pareto": pareto, "method": name, "seed": seed, "model": identity},
    }
    request = replace(request, like=clean_given(request.like, saved, name="like"))
    started = time.monotonic()
    where, count = choose_device(device), worker_count(workers)
    keep_memory()
    with _stoppable(log), ExitStack() as stack:
        if log is None:
            log = Path(stack.enter_context(TemporaryDirectory())) / "calls.csv"
        pool = stack.enter_context(process_pool(count)) if count > 1 else None
        excluded = known_molecules(novel, workers=count, executor=pool) if novel else KeySet()
        proposer = Proposer(saved, request, draws=Draws(seed), device=where, precision=precision)
        if pool is None or budget <= INLINE:
            pool, count = None, 1
        shared: dict[str, Any] = {"executor": pool, "workers": count}
        # Before the log, so that a constraint that cannot be met leaves none.
        gate = Gate(proposer, request, known=excluded, starts=given, **shared)
        stack.enter_context(one_thread())
        archive = Archive(pareto=pareto)
        engine = make_engine(name if isinstance(method, str) else method, proposer, archive, budget)
        _require_abilities(engine, name, ahead=ahead > 0, tunes=save_model is not None)
        outputs = [Path(path) for path in (output, report) if path is not None]
        options = {"pareto": pareto, "resume": resume, "force": force}
        scorers = WorkerPool(workers, scheduler=scheduler)
        if scheduler is not None:  # before there is a log, as it may not answer
            stack.enter_context(scorers)
        calls = stack.enter_context(open_calls(log, objective, plan, outputs=outputs, **options))
        before = _known(files, saved, archive, proposer, workers, shared)
        if archive.known:
            starts = [*given, *(answer.smiles for answer in archive.known)]
            gate = Gate(proposer, request, known=excluded, starts=starts, **shared)
        if isinstance(engine, Evolution):
            gate.keep_fingerprints(engine.fingerprints)
        # Before the workers, so that it is checked after they have ended.
        printed = stack.enter_context(_printed(output, clear=force and not resume))
        if scheduler is None:
            stack.enter_context(scorers)
        if not scorers.protected:
            stack.enter_context(_output_aside())
        scoring = Scoring(objective, scorers, timeout=timeout, size=call_size, log=printed)
        say(f"method {name}, {round_size(budget)} calls per round")
        first, done = _given(gate, given, saved), len(calls.answers)
        with Progress("optimize", total=budget, done=done) as progress:
            search = Search(
                engine, gate, scoring, calls, archive, progress=progress,
                budget=budget, patience=patience, ahead=ahead,
            )  # fmt: skip
            search.start(first)
            search.run()
        summary = summarize(search, gate, name, before)
        summary.seconds, summary.made = time.monotonic() - started, len(calls.answers) - done
        summary.molecules = best_answers(search, gate, keep)
        if save_model is not None and isinstance(engine, TunesModel):
            about = {"name": label, "calls": summary.calls, **plan}
            save_tuned(save_model, engine.tuned_model(), saved, archive, about)
        if output is not None:
            table = best_table(summary.molecules, objective, pareto=pareto)
            summary.written = write_rows(output, *table)
            summary.inside = count_inside(*table)
        if report is not None:
            shown = (summary.to_json(), calls.answers, summary.molecules, objective)
            write_html(report, search_page(*shown, model=label, seed=seed, command=command))
    return summary


def _require_abilities(engine: Engine, name: str, *, ahead: bool, tunes: bool) -> None:
    """An error if the engine of this name cannot do what the options ask for."""
    if tunes and not isinstance(engine, TunesModel):
        raise ConfigError(f"save model: method {name} tunes no model; use --method learning")
    if ahead and not getattr(engine, "ahead", False):
        raise ConfigError(
            f"ahead: method {name} needs the answers of a round before the next; leave out --ahead"
        )


def _check_sizes(sizes: Mapping[str, int | None], *, pareto: bool) -> None:
    for name, size in sizes.items():
        if size is not None and not hasattr(size, "__index__"):
            raise ConfigError(f"{name}: got {size!r}, expected an integer")
        if size is not None and size < 1:
            raise ConfigError(f"{name}: got {size}, expected 1 or more")
    if pareto and (keep := sizes["keep"] or 0) > POOL:
        raise ConfigError(f"keep: got {keep:,}, expected {POOL:,} or fewer of a Pareto search")


def _plan(
    objective: Objective,
    request: Request,
    novel: Sequence[str | Path],
    known: KnownFiles,
    ahead: int,
) -> dict[str, Any]:
    """What a resumed run must have in common with the run before."""
    scorers = [part.scorer for part in objective.parts]
    deviations = [scorer.deviations for scorer in scorers if isinstance(scorer, ColumnScorer)]
    return {
        "objective": [part.text for part in objective.parts],
        "minimize": objective.minimize,
        "constraints": [target.text for target in request.targets],
        "like": list(request.like),
        "scaffold": request.scaffold if len(request.scaffolds) < 2 else list(request.scaffolds),
        "alerts": list(request.alerts),
        "elements": list(request.elements),
        "max_ring": request.max_ring,
        **({"fill": True} if request.fill else {}),
        "novel": [str(path) for path in novel],
        # Only where given, so that older searches can be resumed.
        **({"deviations": deviations} if deviations else {}),
        **({} if request.realism is None else {"realism": request.realism}),
        **({"novel_rings": True} if request.novel_rings else {}),
        **({"known": known.record()} if known.paths else {}),
        **({"ahead": ahead} if ahead else {}),
    }


def calls_path(output: Path) -> Path:
    """Path of the log of calls, next to the output."""
    name = output.name.removesuffix(".gz")
    return output.with_name(f"{name.rpartition('.')[0] or name}.calls.csv")


@contextmanager
def _printed(output: str | Path | None, *, clear: bool) -> Iterator[Path | None]:
    """Path of the file for what the objective prints; removed at the end if empty."""
    if output is None:
        yield None
        return
    calls = calls_path(Path(output))
    path = _printed_path(calls)
    if clear:
        path.unlink(missing_ok=True)
    try:
        yield path
    finally:
        if path.exists() and path.stat().st_size == 0:
            path.unlink()
        if path.exists():
            say(f"note: the objective printed something, see '{path}'")


def _printed_path(calls: Path) -> Path:
    return calls.with_name(f"{calls.name.removesuffix('.calls.csv')}.objective.log")


@contextmanager
def _output_aside() -> Iterator[None]:
    """Send standard output to standard error, also that of C libraries and threads.

    The file descriptor belongs to the process: only its main thread redirects it.
    """
    with redirect_stdout(sys.stderr), ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            with suppress(OSError):  # either is closed
                before = os.dup(1)
                stack.callback(os.close, before)
                os.dup2(2, 1)
                stack.callback(os.dup2, before, 1)
        yield


def _known(
    files: KnownFiles,
    model: SavedModel,
    archive: Archive,
    proposer: Proposer,
    workers: int | None,
    shared: Mapping[str, Any],
) -> list[Answer]:
    """The molecules of ``files``, with which the archive begins."""
    if not files.paths:
        return []
    known = files.read(model, pareto=archive.pareto, workers=workers)
    # Known rings are not new, and known molecules may be among those that --novel excludes.
    request = replace(proposer.request, novel_rings=True, realism=None)
    known.seed(archive, Gate(proposer, request, **shared), model.constraints)
    return known.answers


@contextmanager
def _stoppable(log: Path | None) -> Iterator[None]:
    """On Ctrl-C, say how to continue the search."""
    try:
        yield
    except KeyboardInterrupt:
        kept = f"; the answers so far are in '{log}': continue with --resume" if log else ""
        raise RunError(f"stopped{kept}") from None


def _checked_outputs(
    output: str | Path | None,
    report: str | Path | None,
    known: Sequence[str | Path],
    *,
    resume: bool,
    force: bool,
) -> Path | None:
    """Path of the log of calls, after checking that no file is overwritten or used twice."""
    log = None
    if output is None:
        if resume:
            raise ConfigError("resume needs an output, beside which the calls are")
    else:
        require_writer(Path(output))
        log = calls_path(Path(output))
    paths = [Path(path).absolute() for path in (output, report, log) if path is not None]
    if len(set(paths)) < len(paths):
        raise ConfigError(f"'{report}': the report needs another file than the other outputs")
    resumed = resume and log is not None and log.exists()
    for path in (output, report):
        if path is not None:
            require_absent(path, force=force or resumed)
    beside = () if log is None else (log, log.with_suffix(".json"), _printed_path(log))
    require_distinct((output, report, *beside))
    written = {os.path.realpath(path) for path in (output, report, *beside) if path is not None}
    for path in known:
        if os.path.realpath(path) in written:
            raise ConfigError(
                f"'{path}': this search would write to the file of known molecules; choose another "
                "output, or copy the file"
            )
    for path in beside:
        require_absent(path, force=True)  # what is there is overwritten, or refused, later
    return log


def _given(gate: Gate, smiles: Sequence[str], model: SavedModel) -> list[tuple[str, str]]:
    """Given molecules that may be scored; a note says why others may not."""
    limits = tuple(model.constraints.items())
    molecules = cleaned(smiles, model)
    usable = [molecule for molecule in molecules if isinstance(molecule, str)]
    texts = [selfies_of(text, limits) for text in usable]
    passed = gate([text for text in texts if text])
    refused = len(smiles) - sum(text is not None for text in passed)
    if refused:
        reasons = gate.refused + Counter({UNWRITABLE: sum(not text for text in texts)})
        reasons += Counter(m.reason for m in molecules if not isinstance(m, str))
        why = ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common() if count)
        say(f"note: {refused} of {len(smiles)} given molecules are not scored ({why})")
    return [(text, "given") for text in passed if text is not None]


def _identity(model: SavedModel | str | Path | None) -> tuple[str, str]:
    """Name of a model, and a hash that identifies it."""
    if not isinstance(model, SavedModel):
        folder = find_model(model)
        return folder.name, str(fingerprint(folder / "config.json")["sha256"])
    digest = hashlib.sha256()
    for name, value in model.network.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().numpy().tobytes())
    for name, predictor in (model.predictors or {}).items():
        digest.update(name.encode() + predictor.values.tobytes())
    return "", digest.hexdigest()
