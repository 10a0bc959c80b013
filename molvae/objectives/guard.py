"""Runs a scoring program, and ends it with its child processes when the process that asked dies.

A script that imports nothing of molvae: ``python -I -S guard.py SECONDS INPUT COMMAND ...``. Its
standard input is a pipe that is never written to: it ends with the process at the other end,
however that process dies. The program reads the file INPUT, and gets SIGTERM and, SECONDS later,
SIGKILL. The exit status is that of the program.
"""

import os
import select
import signal
import sys
import time

__all__ = ["main"]

CANNOT_RUN = 127  # the status that a shell gives
RESET = ("SIGTERM", "SIGINT", "SIGHUP", "SIGPIPE", "SIGXFSZ")


def main(seconds: float, source: str, words: list[str]) -> int:
    """Run the program in the process group of this process; its exit status."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        program = os.posix_spawnp(
            words[0],
            words,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, source, os.O_RDONLY, 0)],
            setsigdef=[getattr(signal, name) for name in RESET],
            setsigmask=[],
        )
    except OSError as error:
        sys.stderr.write(f"cannot be run: {error.strerror}\n")
        return CANNOT_RUN
    done = 0
    while not done:
        if 0 in select.select([0, ended], [], [])[0]:
            os.killpg(0, signal.SIGTERM)
            time.sleep(seconds)
            os.killpg(0, signal.SIGKILL)
        os.read(ended, 512)
        done, status = os.waitpid(program, os.WNOHANG)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:  # end as the program did
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2], sys.argv[3:]))
