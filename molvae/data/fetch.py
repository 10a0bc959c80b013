"""Public data sets: their files, licenses and citations, and their download."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molvae._version import __version__
from molvae.errors import FileError, InputError, RunError, suggest
from molvae.runtime.cache import cache_folder, lock_folder
from molvae.runtime.files import require_absent
from molvae.runtime.progress import Progress, say

__all__ = ["SETS", "DataFile", "DataSet", "fetch", "summary_lines"]


RETRIES = 3
CHUNK = 1 << 16  # bytes
TIMEOUT = 30.0  # seconds a server may be silent


@dataclass(frozen=True)
class DataFile:
    """One file of a data set: size in bytes, and published hash, ``md5:…`` or ``sha256:…``."""

    name: str
    url: str
    size: int
    hash: str


@dataclass(frozen=True)
class DataSet:
    """A public data set: its files, license and citation."""

    title: str
    license: str
    citation: str
    files: tuple[DataFile, ...]


def _moses(split: str, size: int, sha256: str) -> DataFile:
    # sizes and hashes: the git-LFS pointers of the repository
    home = "https://media.githubusercontent.com/media/molecularsets/moses/master/data"
    return DataFile(f"{split}.csv", f"{home}/{split}.csv", size, f"sha256:{sha256}")


def _guacamol(split: str, number: int, size: int, md5: str) -> DataFile:
    # hashes: the README of GuacaMol
    url = f"https://ndownloader.figshare.com/files/{number}"
    return DataFile(f"guacamol_v1_{split}.smiles", url, size, f"md5:{md5}")


SETS: dict[str, DataSet] = {
    "zinc250k": DataSet(
        "ZINC250k: 249,455 drug-like molecules of ZINC, with logP, QED and SAS",
        "Apache-2.0 (the chemical_vae repository); for the molecules, the terms of ZINC",
        "Gómez-Bombarelli et al., Automatic Chemical Design Using a Data-Driven Continuous "
        "Representation of Molecules, ACS Cent. Sci. 2018, 4, 268-276, "
        "doi:10.1021/acscentsci.7b00572",
        (
            DataFile(
                "250k_rndm_zinc_drugs_clean_3.csv",
                "https://raw.githubusercontent.com/aspuru-guzik-group/chemical_vae/master/"
                "models/zinc_properties/250k_rndm_zinc_drugs_clean_3.csv",
                22_606_589,
                # not published by its authors; recorded by several who downloaded it
                "sha256:35e3f1a52b1badc0697e373d73a18ad773f415936ff992f4c6baa2e067b3e6ae",
            ),
        ),
    ),
    "moses": DataSet(
        "MOSES: 1.9 million lead-like molecules of ZINC in three splits",
        "MIT (the MOSES repository); for the molecules, the terms of ZINC",
        "Polykovskiy et al., Molecular Sets (MOSES): A Benchmarking Platform for Molecular "
        "Generation Models, Front. Pharmacol. 2020, 11, 565644, doi:10.3389/fphar.2020.565644",
        (
            _moses(
                "train",
                67_916_778,
                "49fe1aae29604ec0f5023ea34edc8789415f954138f2903dabd005a4b888a961",
            ),
            _moses(
                "test",
                7_370_473,
                "257165e8f1e1be2d5712db51c93d2b1544564b782dc303d7d19c887c21a858e6",
            ),
            _moses(
                "test_scaffolds",
                9_195_363,
                "8bc942dd807147e07b506151fe8675f58780ed8e494801b705c4bdadb3df3440",
            ),
        ),
    ),
    "guacamol": DataSet(
        "GuacaMol v1: 1.6 million molecules of ChEMBL 24 in three splits",
        "MIT (the GuacaMol repository); for the molecules, CC BY-SA 3.0 (ChEMBL)",
        "Brown et al., GuacaMol: Benchmarking Models for de Novo Molecular Design, "
        "J. Chem. Inf. Model. 2019, 59, 1096-1108, doi:10.1021/acs.jcim.8b00839",
        (
            _guacamol("train", 13612760, 61_841_218, "05ad85d871958a05c02ab51a4fde8530"),
            _guacamol("valid", 13612766, 3_859_125, "e53db4bff7dc4784123ae6df72e3b1f0"),
            _guacamol("test", 13612757, 11_590_126, "677b757ccec4809febd83850b43e1616"),
        ),
    ),
}


def fetch(name: str, output: str | Path | None = None, *, force: bool = False) -> list[Path]:
    """Download the files of a public data set into the cache, and copy them into ``output``.

    ``output`` is a folder, where ``force`` overwrites files; the returned paths are those in it, or
    in the cache without it.
    """
    if name not in SETS:
        raise InputError(f"unknown data set '{name}': {suggest(name, SETS)}")
    chosen = SETS[name]
    folder = cache_folder() / "downloads" / name
    paths = [folder / file.name for file in chosen.files]
    copies = [] if output is None else [Path(output) / path.name for path in paths]
    for copy in copies:
        require_absent(copy, force=force)
    with _locked(folder):
        for file in chosen.files:
            _download(file, folder)
        for path, copy in zip(paths, copies, strict=False):  # no copies without an output
            _copy(path, copy)
    say(chosen.title)
    say(f"license: {chosen.license}")
    say(f"please cite: {chosen.citation}")
    return copies or paths


def _download(file: DataFile, folder: Path) -> None:
    """Download a file into a folder, unless it is there already, and verify its hash."""
    import pooch  # loads requests: only where something is to be fetched
    from requests.exceptions import HTTPError, RequestException

    pooch.get_logger().setLevel("ERROR")
    registry = pooch.create(
        folder,
        base_url="",
        registry={file.name: file.hash},
        urls={file.name: file.url},
        retry_if_failed=RETRIES,
    )
    by_hand = f"or download {file.url} by hand and save it as '{folder / file.name}'"
    try:
        registry.fetch(file.name, downloader=functools.partial(_receive, file))
    except HTTPError as error:
        answer = str(error).partition(" for url")[0]
        raise RunError(
            f"{file.url}: the server answered {answer}, expected the file; see whether a newer "
            f"molvae knows another address, {by_hand}"
        ) from None
    except RequestException as error:
        reason = str(error).partition("\n")[0]
        raise RunError(
            f"{file.url}: no connection: {reason}; check the connection and run the same command "
            f"again, {by_hand}"
        ) from None
    except ValueError as error:  # names both hashes
        raise RunError(
            f"{file.url}: {error} See whether a newer molvae knows another hash, {by_hand}"
        ) from None
    say(f"{file.name}: verified, {file.hash}")


def _receive(file: DataFile, url: str, output: str, registry: Any) -> None:
    """One attempt to download a file, with a progress bar on standard error."""
    import pooch

    with Progress(file.name, file.size / 1e6, unit="MB") as progress:
        receive = pooch.HTTPDownloader(
            progressbar=_Bar(progress, file.size),
            chunk_size=CHUNK,
            timeout=TIMEOUT,
            headers={"User-Agent": f"molvae/{__version__}"},
        )
        receive(url, output, registry)


class _Bar:
    """What pooch expects of a progress bar, in bytes, shown on ours, in megabytes."""

    def __init__(self, progress: Progress, size: int) -> None:
        self.total, self._size, self._done, self._progress = size, size, 0, progress

    def update(self, count: int) -> None:
        before, self._done = self._done, min(self._done + count, self._size)
        self._progress.advance(self._done // 10**6 - before // 10**6, done=self._done / 1e6)

    def reset(self) -> None:
        """At the end pooch reports all bytes once more, which ``update`` cuts off."""

    def close(self) -> None:
        """The bar closes with :class:`Progress`."""


def summary_lines(name: str, paths: Sequence[Path]) -> list[str]:
    """The fetched files as a person reads them: sizes and paths, and what to do next."""
    lines = [SETS[name].title]
    lines += [f"  {f'{path.stat().st_size / 1e6:,.1f} MB':>8}  {path}" for path in paths]
    return [*lines, f"train on it: molvae train '{paths[0]}' -o runs/{name}"]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder of the cache, and remove what a killed process left there."""
    busy = f"another process is fetching into '{folder}'; waiting for it"
    with _writing(folder):
        lock = lock_folder(folder, busy)
    with lock, _writing(folder):
        for unfinished in folder.glob("tmp*"):  # pooch downloads into a file of tempfile
            unfinished.unlink()
        yield


def _copy(path: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    with _writing(target):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What the disk refuses while ``path`` is written becomes one line for the user."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise FileError(f"'{path}': cannot be written: {reason}") from None
