"""Files for package indexes, services and readers agree with pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import molvae

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PREFIX = "Programming Language :: Python :: "
PYTHONS = {
    line.removeprefix(PREFIX) for line in PROJECT["classifiers"] if line.startswith(PREFIX + "3.")
}
YAML = [
    *ROOT.glob(".github/**/*.yml"), ROOT / ".readthedocs.yaml", ROOT / ".pre-commit-config.yaml",
    ROOT / "CITATION.cff", ROOT / "packaging" / "conda" / "recipe.yaml",
]  # fmt: skip


def read(name):
    return yaml.safe_load((ROOT / name).read_text())


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_is_well_formed(path):
    assert isinstance(yaml.safe_load(path.read_text()), dict)


def test_the_version_is_the_same_everywhere():
    recipe, citation = read("packaging/conda/recipe.yaml"), read("CITATION.cff")
    readme = re.search(r"\*molvae\* (\S+), 20", (ROOT / "README.md").read_text())[1]
    assert {citation["version"], recipe["context"]["version"], readme} == {molvae.__version__}


def test_the_address_is_the_same_everywhere():
    home = PROJECT["urls"]["Homepage"]
    assert read("CITATION.cff")["repository-code"] == home
    assert read("packaging/conda/recipe.yaml")["about"]["homepage"] == home
    assert all(
        url.startswith((home, "https://molvae.readthedocs.io")) for url in PROJECT["urls"].values()
    )


def test_every_python_of_the_classifiers_is_checked():
    matrix = read(".github/workflows/check.yml")["jobs"]["quick"]["strategy"]["matrix"]
    assert set(matrix["python"]) == PYTHONS


def test_the_recipe_needs_what_the_package_needs():
    names = {"torch": "pytorch"}
    wanted = {re.sub(r"^\w+", lambda m: names.get(m[0], m[0]), d) for d in PROJECT["dependencies"]}
    run = read("packaging/conda/recipe.yaml")["requirements"]["run"]
    assert {line.replace(" ", "") for line in run} == {
        f"python{PROJECT['requires-python']}", *wanted
    }  # fmt: skip


def test_the_image_runs_as_an_ordinary_user():
    lines = (ROOT / "packaging" / "Dockerfile").read_text().splitlines()
    commands = [line.split(" ", 1) for line in lines if line and line[0].isupper()]
    assert ["USER", "1000"] in commands
    assert [rest for name, rest in commands if name == "ENTRYPOINT"] == ['["molvae"]']
    extras = set(re.search(r"'\.\[(.*)\]'", "\n".join(lines))[1].split(","))
    assert extras <= set(PROJECT["optional-dependencies"])


def test_commits_are_checked_by_the_tools_of_the_check():
    script = (ROOT / "scripts" / "check").read_text()
    entries = [
        hook["entry"] for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]
    ]
    assert entries == ["ruff format", "ruff check", "scripts/check"]
    assert all(entry in script for entry in entries)
