"""Peak memory of a `molvae` process."""

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from molvae.cli import main

if __name__ == "__main__":  # worker processes import this file again
    try:
        main(standalone_mode=False)
    finally:
        status = open("/proc/self/status").read().splitlines()
        print("peak", next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads the memory from /proc"
)


def peak_memory(folder: Path, *arguments: object, timeout: float = 1000) -> int:
    """Bytes that the main process of `molvae ARGUMENTS` held at most; it must succeed.

    Not `resource.getrusage`: that starts with the memory of the process which started it,
    the whole test run.
    """
    script = folder / "peak_memory.py"
    script.write_text(CODE, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout.split("peak")[-1]) * 1024
