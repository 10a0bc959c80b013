"""Without what only POSIX has (fork, process groups, alarms, signal masks), as on Windows.

Simulated: the names are removed in the process and in its workers, so that nothing can use them.
"""

import functools
import os
import signal
from pathlib import Path

import pytest

from molvae.cli import main
from tests import warm

ONLY_POSIX = {
    os: ("fork", "forkpty", "getpgid", "killpg", "mkfifo", "posix_spawnp", "sched_getaffinity",
         "setsid"),
    signal: ("alarm", "pthread_kill", "pthread_sigmask", "setitimer", "SIGALRM"),
}  # fmt: skip


def remove(place: Path) -> None:
    """Remove the names from their modules; workers find ``place`` when they start."""
    os.environ["PYTHONPATH"] = f"{place}{os.pathsep}{Path(__file__).parents[2]}"
    for module, names in ONLY_POSIX.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)


@pytest.fixture
def portable(tmp_path):
    """Runs molvae without the names; workers remove them when they start."""
    place = tmp_path / "start"
    place.mkdir()
    lines = [
        f"import {module.__name__} as module\nfor name in {names}:\n"
        "    if hasattr(module, name):\n        delattr(module, name)\n"
        for module, names in ONLY_POSIX.items()
    ]
    (place / "sitecustomize.py").write_text("".join(lines))

    def run(*words):
        done = warm.run(*words, first=functools.partial(remove, place))
        assert done.returncode == 0, done.stderr

    return run


@pytest.mark.process
@pytest.mark.slow
def test_the_verbs_give_the_same_results(portable, tiny_run, demo_csv, tmp_path):
    rows = Path(demo_csv).read_text().splitlines()[:60]
    table = tmp_path / "some.csv"
    table.write_text("\n".join(rows) + "\n")
    objective = tmp_path / "score.py"
    objective.write_text(
        "import os, signal\n"
        "def score(smiles):\n"
        "    assert not hasattr(os, 'fork') and not hasattr(signal, 'setitimer')\n"
        "    return len(smiles) / 100\n"
    )
    commands = {
        "a.ds": ["prepare", table, "--timeout", "20"],
        "b.csv": ["generate", "-m", tiny_run, "-n", "5", "--realism", "off", "--novel-rings"],
        "c.csv": ["optimize", "-m", tiny_run, "--objective", f"{objective}:score",
                  "--budget", "20", "--timeout", "30", "--novel-rings"],
    }  # fmt: skip
    for name, command in commands.items():
        plain, bare = tmp_path / f"plain-{name}", tmp_path / f"bare-{name}"
        portable(*command, "-o", bare, "--workers", "2")
        if name == "c.csv":
            calls = (tmp_path / "bare-c.calls.csv").read_text()
            assert calls.count(",answered,") == 20
            continue
        main([*map(str, command), "-o", str(plain), "--workers", "0"], standalone_mode=False)
        files = [Path()] if bare.is_file() else [Path("tokens.bin"), Path("molecules.csv.gz")]
        for file in files:
            assert (bare / file).read_bytes() == (plain / file).read_bytes()
