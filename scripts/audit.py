#!/usr/bin/env python
"""What molvae depends on: licenses, a software bill of materials, known vulnerabilities.

    python scripts/audit.py licenses               the license of every installed dependency
    python scripts/audit.py licenses --strict      exit 1 if one is unknown
    python scripts/audit.py sbom > molvae.cdx.json a CycloneDX 1.6 bill of materials
    python scripts/audit.py vulnerabilities        pip-audit of constraints/py311.txt

The first two read the metadata of the packages that are installed here, extras included, and need
no network. The last one needs the network and `pip install pip-audit`.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

PINS = Path(__file__).parents[1] / "constraints" / "py311.txt"
UNKNOWN = "unknown"
LONGEST = 60  # characters; some packages give the whole text in place of the name


def normalized(name: str) -> str:
    """The name of a package as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(package: Distribution) -> Iterator[str]:
    """Names of the packages that one requires, extras included."""
    for text in package.requires or []:
        match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", text)
        if match is not None:
            yield normalized(match.group())


def installed(root: str = "molvae") -> dict[str, Distribution]:
    """Every installed package that ``root`` depends on, directly or not, by name."""
    packages: dict[str, Distribution] = {}
    names = [root]
    while names:
        name = names.pop()
        if name in packages:
            continue
        try:
            packages[name] = distribution(name)
        except PackageNotFoundError:  # an extra that is not installed, or for another system
            continue
        # Extras of dependencies are not ours; those that are installed were asked for by somebody.
        names += requirements(packages[name])
    return dict(sorted(packages.items()))


def license_of(package: Distribution) -> str:
    """The license by its SPDX expression, its classifiers, or the field of old metadata."""
    fields = package.metadata
    if "License-Expression" in fields:
        return fields["License-Expression"]
    classifiers = fields.get_all("Classifier") or []
    named = [text.split(" :: ")[-1] for text in classifiers if text.startswith("License ::")]
    if named := [text for text in named if text != "OSI Approved"]:
        return " and ".join(named)
    text = (fields.get_all("License") or [""])[0]
    first = (text.strip().splitlines() or [""])[0]
    return first if 0 < len(first) <= LONGEST else UNKNOWN


def bill(packages: dict[str, Distribution]) -> dict[str, Any]:
    """A bill of materials in CycloneDX 1.6: the same packages give the same bytes."""

    def component(name: str, package: Distribution) -> dict[str, Any]:
        license_ = license_of(package)
        expression = "License-Expression" in package.metadata
        address = f"pkg:pypi/{name}@{quote(package.version)}"
        entry = {"expression": license_} if expression else {"license": {"name": license_}}
        return {
            "type": "library",
            "bom-ref": address,
            "name": name,
            "version": package.version,
            "purl": address,
            **({} if license_ == UNKNOWN else {"licenses": [entry]}),
        }

    components = {name: component(name, package) for name, package in packages.items()}
    depends = [
        {
            "ref": components[name]["bom-ref"],
            "dependsOn": sorted(
                components[other]["bom-ref"] for other in {*requirements(package)} & {*components}
            ),
        }
        for name, package in packages.items()
    ]
    root = {**components.pop("molvae"), "type": "application"}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": list(components.values()),
        "dependencies": depends,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["licenses", "sbom", "vulnerabilities"])
    parser.add_argument("--strict", action="store_true", help="exit 1 if a license is unknown")
    options = parser.parse_args(arguments)
    if options.what == "vulnerabilities":
        if find_spec("pip_audit") is None:
            print("error: pip-audit is not installed: pip install pip-audit", file=sys.stderr)
            return 2
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip"]
        return subprocess.run([*command, "-r", str(PINS)], check=False).returncode
    packages = installed()
    if options.what == "sbom":
        print(json.dumps(bill(packages), indent=1))
        return 0
    unknown = 0
    for name, package in packages.items():
        text = license_of(package)
        unknown += text == UNKNOWN
        print(f"{name:<32}{package.version:<16}{text}")
    print(f"{len(packages)} packages, {unknown} of unknown license", file=sys.stderr)
    return int(options.strict and unknown > 0)


if __name__ == "__main__":
    sys.exit(main())
