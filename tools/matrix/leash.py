"""Run a command that the system ends when the process that started it ends.

leash.py PARENT COMMAND...

A worker of Ray that is killed takes its training with it; else that would write on into a folder
in which another machine has taken over.
"""

import ctypes
import os
import signal
import sys

DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl


def main() -> None:
    """Become the command."""
    parent, *command = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # Ray's workers block it
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != int(parent):  # it ended before that
        sys.exit('the process that started this one is gone')
    os.execv(command[0], command)


if __name__ == '__main__':
    main()
