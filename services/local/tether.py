"""Ties a process to the life of its parent, before it becomes what it is to run."""

from __future__ import annotations

import ctypes
import os
import pwd
import sys

_PR_SET_PDEATHSIG = 1


def become(death_signal: int, parent: int, user: str, command: list[str]) -> None:
    """Turn this process into the command, as that user ('' for the same), tied to the life of the parent.

    Runs as a script: in a process of its own it needs no code between fork and exec of a process with
    threads. Where the system has no parent-death signal, the next `up` ends what a killed one left behind.
    """
    if user:
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    if sys.platform == "linux":  # after setuid, which would undo it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call above
        sys.exit(1)
    try:
        os.execv(command[0], command)  # noqa: S606
    except OSError as error:
        sys.exit(f"{command[0]} cannot be run: {error.strerror}")


if __name__ == "__main__":
    become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
