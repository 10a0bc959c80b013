"""The repository as a whole: versions agree, nothing huge, nothing of one machine only."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LARGEST = 16 * 2**20  # bytes
# An absolute path into somebody's home or workplace works nowhere else.
MACHINE_PATH = re.compile(r"(?<![\w.*~}>)-])/(?:home|opt|root|Users|work)/\w")


@pytest.fixture(scope="module")
def tracked():
    """The files that git tracks."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so there is no list of tracked files")
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"git cannot list the tracked files: {error}")
    # A file deleted but not yet committed is still listed.
    paths = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_large_files(tracked):
    assert [str(path) for path in tracked if path.stat().st_size > LARGEST] == []


def test_no_paths_of_one_machine(tracked):
    result = []
    for path in tracked:
        data = path.read_bytes()
        if b"\0" in data or data[:2] == b"\x1f\x8b":
            continue  # not text
        lines = data.decode("utf-8", errors="replace").splitlines()
        result += [
            f"{path.relative_to(ROOT)}:{number}"
            for number, line in enumerate(lines, 1)
            if MACHINE_PATH.search(line)
        ]
    assert result == []


def test_version_is_in_the_changelog():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    # "## [1.2.3] - 2026-01-31", with or without the brackets and the date
    entries = re.findall(r"^## \[?([^\]\s]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert entries, "CHANGELOG.md has no entry"
    assert entries[0] in {version, "Unreleased"}


def test_version_is_said_once():
    import molvae

    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert molvae.__version__ == version


@pytest.mark.parametrize("command", ["scripts/check", "scripts/demo"])
def test_readme_commands_can_be_run(command):
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
    assert os.access(ROOT / command, os.X_OK)
