"""The wheel holds the package and nothing else; the sdist what builds and tests it."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KINDS = {
    ".css", ".j2", ".js", ".json", ".md", ".py", ".safetensors", ".smi", ".svg", ".toml", ".txt",
    ".typed",
}  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        check=True, cwd=ROOT, capture_output=True,
    )  # fmt: skip
    (file,) = folder.glob("*.whl")
    return file


@pytest.mark.process
def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "molvae").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == package
    assert {Path(name).suffix for name in names} <= KINDS
    for model in ("default", "moses"):
        assert f"molvae/pretrained/{model}/model.safetensors" in names


@pytest.mark.process
def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size < 15e6


@pytest.mark.process
def test_the_sdist_holds_what_builds_and_tests_the_package(tmp_path):
    pytest.importorskip("hatchling")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path],
        check=True, cwd=ROOT, capture_output=True,
    )  # fmt: skip
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size < 20e6
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("molvae", "tests", "docs", "data", "constraints", "packaging", ".github"):
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
        expected = {path.relative_to(ROOT).as_posix() for path in files}
        built = ("/_build/", "/notebooks/", "__pycache__", "_cache/")
        assert {n for n in expected if not any(part in n for part in built)} <= names
    assert not any(name.startswith("scripts/bench/models/") for name in names)
