"""The wheel holds the package, the shipped models and nothing else, and stays small."""

import subprocess
import sys
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
