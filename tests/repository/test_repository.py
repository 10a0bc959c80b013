"""The repository as a whole: versions agree, nothing huge, nothing of one machine only."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import molvae

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


def test_the_newest_release_in_the_changelog_is_this_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    entries = re.findall(r"^## (.+)$", text, re.MULTILINE)  # "Unreleased", "1.2.3 - 2026-01-31"
    released = entries[1:] if entries[0] == "Unreleased" else entries
    version, date = released[0].split(" - ")
    assert version == molvae.__version__
    assert f"date-released: {date}" in (ROOT / "CITATION.cff").read_text().replace('"', "")


def test_version_is_set_once():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in settings["project"]
    assert settings["tool"]["hatch"]["version"]["path"] == "molvae/_version.py"


@pytest.mark.parametrize("command", ["scripts/check", "scripts/demo"])
def test_readme_commands_can_be_run(command):
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
    assert os.access(ROOT / command, os.X_OK)
