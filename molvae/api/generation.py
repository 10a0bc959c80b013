"""The methods of :class:`molvae.MolVAE` that make molecules."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from molvae.errors import ConfigError, suggest
from molvae.generate.columns import columns_of, extras_of, molecule_row
from molvae.generate.request import Request, Span, Targets
from molvae.generate.run import GenerationSummary, generate
from molvae.model.checkpoint import SavedModel
from molvae.runtime.given import paths, texts
from molvae.targets import Target

if TYPE_CHECKING:  # slow to import: methods do it when they need them
    import pandas as pd

    from molvae.objectives import DockOptions
    from molvae.optimize.engines.base import Engine
    from molvae.optimize.engines.choice import EngineMaker

__all__ = ["Generation", "frame"]


class Generation:
    """Generation and optimization with a model."""

    def __init__(self, model: SavedModel) -> None:
        self._model = model

    def generate(
        self,
        n: int,
        targets: Targets = (),
        *,
        like: str | Sequence[str] = (),
        scaffold: str | Sequence[str] | None = None,
        fill: bool = False,
        noise: Span | None = None,
        guidance: Span | None = None,
        temperature: float = 1.0,
        epsilon_cutoff: float = 0.0,
        critic: bool = True,
        walk: bool | None = None,
        candidates: int = 8,
        max_tries: int | None = None,
        allow_misses: bool = False,
        unique: bool = True,
        alerts: Sequence[str] = (),
        elements: Sequence[str] = (),
        max_ring: int | None = None,
        nll: bool = False,
        realism: float | None = 0.5,
        novel_rings: bool = False,
        novel: str | Path | Sequence[str | Path] = (),
        seed: int = 0,
        device: str = "auto",
        precision: str = "auto",
        workers: int | None = None,
        scheduler: str | None = None,
        **unknown: object,
    ) -> pd.DataFrame:
        """Up to ``n`` molecules as a table: SMILES, requested properties, distances of points.

        ``targets`` are texts, ``["logp=2:3", "pIC50=8"]``, or a table,
        ``{"logp": (2, 3), "mw": (None, 450), "pIC50": 8}``, in which a pair is a range. The options
        up to ``novel_rings`` are fields of :class:`molvae.generate.request.Request`, the
        others arguments of :func:`molvae.generate.run.generate`. A warning says when fewer
        molecules were found, and why. With ``precision="fp32"`` the same seed gives the same
        molecules on any machine; otherwise on machines that compute in the same precision.

        Raises:
            TypeError: an option is unknown; the message suggests a similar one.
        """
        for name in unknown:
            known = ["n", "seed", "device", "precision", "workers", "scheduler", "novel"]
            known += [field.name for field in fields(Request)]
            raise TypeError(f"generate() has no option '{name}': {suggest(name, known)}")
        request = Request(
            like=tuple(texts(like, "like", kind="SMILES text")),
            scaffold=scaffold,
            fill=fill,
            noise=noise,
            guidance=guidance,
            temperature=temperature,
            epsilon_cutoff=epsilon_cutoff,
            critic=critic,
            walk=walk,
            candidates=candidates,
            max_tries=max_tries,
            allow_misses=allow_misses,
            unique=unique,
            alerts=tuple(texts(alerts, "alerts")),
            elements=tuple(texts(elements, "elements")),
            max_ring=max_ring,
            nll=nll,
            realism=realism,
            novel_rings=novel_rings,
        ).with_targets(targets, self._model)
        summary = GenerationSummary(wanted=n)
        molecules = generate(
            n,
            model=self._model,
            request=request,
            seed=seed,
            device=device,
            precision=precision,
            workers=workers,
            scheduler=scheduler,
            novel=paths(novel, "novel"),
            summary=summary,
        )
        extras = extras_of(request, self._model)
        rows = [molecule_row(m, request.targets, extras) for m in molecules]
        if len(rows) < n:
            reasons = ", ".join(f"{count:,} × {why}" for why, count in summary.refusals.items())
            warnings.warn(
                f"only {len(rows):,} of {n:,} molecules were found (refused: {reasons or 'none'}); "
                "widen a range, raise max_tries, or set allow_misses",
                stacklevel=2,
            )
        return frame(rows, columns_of(request.targets, extras))

    def optimize(
        self,
        objective: str | Sequence[str] | Callable[[Sequence[str]], Any],
        budget: int,
        targets: Sequence[str | Target] = (),
        *,
        patience: int | None = None,
        ahead: int = 0,
        minimize: bool = False,
        pessimism: float = 1.0,
        docking: DockOptions | None = None,
        pareto: bool = False,
        method: str | Engine | EngineMaker = "auto",
        like: str | Sequence[str] = (),
        given: Sequence[str] = (),
        scaffold: str | Sequence[str] | None = None,
        fill: bool = False,
        alerts: Sequence[str] = (),
        elements: Sequence[str] = (),
        max_ring: int | None = None,
        realism: float | None = None,
        novel_rings: bool = False,
        novel: str | Path | Sequence[str | Path] = (),
        known: str | Path | pd.DataFrame | Sequence[str | Path] = (),
        known_columns: str | Mapping[str, str] | None = None,
        keep: int = 100,
        timeout: float | None = None,
        call_size: int = 16,
        output: str | Path | None = None,
        report: str | Path | None = None,
        save_model: str | Path | None = None,
        resume: bool = False,
        force: bool = False,
        seed: int = 0,
        device: str = "auto",
        precision: str = "auto",
        workers: int | None = None,
        scheduler: str | None = None,
    ) -> pd.DataFrame:
        """The best molecules of a search, as a table: SMILES, scores, number of the call.

        ``objective`` is a function of a list of SMILES, or what ``--objective`` takes, such as the
        name of a measured column, scored ``pessimism`` deviations worse than its mean; ``docking``
        has the options of ``dock:TARGET``. A function
        runs in this process, or on the workers of a Dask ``scheduler``. ``budget`` is the number of
        molecules it may score; none is scored twice. Every molecule scored meets the ranges in
        ``targets``. Molecules of ``like`` and ``given`` are scored first. ``known`` is a table or
        files of molecules with scores, which cost no calls; ``known_columns`` is the column with
        the scores, or the column of each objective. ``method`` is a name, or your own engine or
        what makes one (proposer, archive, budget → engine). With ``output`` the calls are kept on
        disk and ``resume`` continues them. The other options are those of
        :func:`molvae.optimize.optimize`.
        """
        import pandas as pd

        from molvae.objectives import FunctionScorer, Objective, Part, parse_objective
        from molvae.optimize.known import parse_columns
        from molvae.optimize.run import optimize
        from molvae.optimize.summary import best_table

        if callable(objective):
            if pareto:
                raise ConfigError("pareto needs several objectives, got one function")
            scorer = FunctionScorer(objective)
            parsed = Objective((Part(scorer.name, scorer),), minimize)
            workers = 0 if scheduler is None else workers
        else:
            parsed = parse_objective(
                texts(objective, "objective"), minimize=minimize, pareto=pareto, timeout=timeout,
                columns=lambda: self._model.predictors, pessimism=pessimism,
                docking=docking,
            )  # fmt: skip
        request = Request(
            like=tuple(texts(like, "like", kind="SMILES text")),
            scaffold=scaffold,
            fill=fill,
            alerts=tuple(texts(alerts, "alerts")),
            elements=tuple(texts(elements, "elements")),
            max_ring=max_ring,
            novel_rings=novel_rings,
        )
        if isinstance(known_columns, str):
            known_columns = parse_columns([known_columns], parsed.names)
        with TemporaryDirectory() as folder:
            if isinstance(known, pd.DataFrame):
                known.to_csv(path := Path(folder) / "known.csv", index=False)
                known = path
            summary = optimize(
                output,
                parsed,
                budget,
                patience=patience,
                ahead=ahead,
                known=paths(known, "known"),
                known_columns=known_columns,
                model=self._model,
                method=method,
                constraints=targets,
                request=request,
                given=(*request.like, *texts(given, "given", kind="SMILES text")),
                realism=realism,
                novel=paths(novel, "novel"),
                pareto=pareto,
                keep=keep,
                seed=seed,
                device=device,
                precision=precision,
                workers=workers,
                scheduler=scheduler,
                timeout=timeout,
                call_size=call_size,
                report=report,
                save_model=save_model,
                resume=resume,
                force=force,
            )
        columns, rows = best_table(summary.molecules, parsed, pareto=pareto)
        return frame(rows, columns)

    def neighbors(
        self,
        smiles: str,
        n: int = 10,
        *,
        noise: Span | None = None,
        targets: Targets = (),
        scaffold: str | Sequence[str] | None = None,
        alerts: Sequence[str] = (),
        elements: Sequence[str] = (),
        max_ring: int | None = None,
        max_tries: int | None = None,
        unique: bool = True,
        novel: str | Path | Sequence[str | Path] = (),
        seed: int = 0,
        device: str = "auto",
        precision: str = "auto",
        workers: int | None = None,
    ) -> pd.DataFrame:
        """Up to ``n`` analogs of a molecule, with their Tanimoto similarity to it.

        ``noise`` is the level at which its latent point is decoded: near 0 the molecule itself and
        its closest relatives, near 1 any molecule. The other options are those of :meth:`generate`.
        """
        return self.generate(
            n,
            targets,
            like=smiles,
            noise=noise,
            scaffold=scaffold,
            alerts=alerts,
            elements=elements,
            max_ring=max_ring,
            max_tries=max_tries,
            unique=unique,
            novel=novel,
            seed=seed,
            device=device,
            precision=precision,
            workers=workers,
        )


def frame(rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Rows as a table of pandas, which is imported at the first one, as that takes a while."""
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns))
