"""Public data sets: which there are, where they live, what they ask for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from molvae.errors import InputError, suggest
from molvae.runtime.cache import cache_folder, take
from molvae.runtime.download import download, writing
from molvae.runtime.files import require_absent
from molvae.runtime.progress import say

__all__ = ["SETS", "DataFile", "DataSet", "fetch", "summary_lines"]


@dataclass(frozen=True)
class DataFile:
    """One file of a data set: its size in bytes, and ``md5:…`` or ``sha256:…`` if published."""

    name: str
    url: str
    size: int | None = None
    hash: str | None = None


@dataclass(frozen=True)
class DataSet:
    """A public data set: where it comes from and what its makers ask for."""

    title: str
    licence: str
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
    """Bring the files of a public data set into the cache, and from there into ``output``.

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
    with _alone(folder):
        for file, path in zip(chosen.files, paths, strict=True):
            download(file.url, path, size=file.size, published=file.hash)
        for path, copy in zip(paths, copies, strict=False):  # no copies without an output
            _copy(path, copy)
    say(chosen.title)
    say(f"licence: {chosen.licence}")
    say(f"please cite: {chosen.citation}")
    return copies or paths


def summary_lines(name: str, paths: Sequence[Path]) -> list[str]:
    """The fetched files as a person reads them: sizes and paths, and what to do next."""
    lines = [SETS[name].title]
    lines += [f"  {f'{path.stat().st_size / 1e6:,.1f} MB':>8}  {path}" for path in paths]
    return [*lines, f"train on it: molvae train '{paths[0]}' -o runs/{name}"]


def _alone(folder: Path) -> AbstractContextManager[object]:
    """A folder of the cache for one process at a time, under the lock that its clearing heeds."""
    with writing(folder):
        busy = f"another process is fetching into '{folder}'; waiting for it"
        return take(FileLock(f"{folder}.lock"), busy)


def _copy(path: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    with writing(target):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
