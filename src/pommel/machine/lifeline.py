"""Keeps a QEMU running as long as somebody holds the other end of a pipe. Band: shell. Run by Pommel, never imported.

`python -I -S lifeline.py FD PROGRAM WORDS…`: it runs the program as its child, and reads from FD, a pipe's reading end.
When nobody has the writing end any more, it kills the program. The writing end can be passed to another process, and
then that process's death ends the machine; a parent death signal cannot be passed on (prctl(2)). A byte from the pipe
releases the program from it. Nothing of Pommel is imported: it must start quickly and use little memory.
"""

import ctypes
import os
import select
import signal
import sys

_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h


def main(fd: int, words: list[str]) -> int:
    """Run the program; return its exit status. If a signal killed the program, raise the same signal here."""
    os.set_inheritable(fd, False)
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    keeper = os.getpid()
    child = os.fork()
    if child == 0:
        _become(words, keeper)
    os.close(0)  # it may be a passphrase's pipe
    waiting = [fd, ended]
    while True:
        ready = select.select(waiting, [], [])[0]
        if ended in ready:
            os.read(ended, 64)
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                return _exit_as(status)
        if fd in ready:
            waiting = [ended]
            if not os.read(fd, 1):
                os.kill(child, signal.SIGKILL)  # noqa: TID251 - not reaped yet, the number is still its own


def _become(words: list[str], keeper: int) -> None:
    """Become the program; it is killed when its keeper ends in any way."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The keeper may have died before prctl: then no signal would come.
        if os.getppid() == keeper:
            os.execvp(words[0], words)  # noqa: S606 - the words are Pommel's
    except OSError as failure:
        os.write(2, f"{words[0]}: {failure}\n".encode())
    finally:
        os._exit(127)


def _exit_as(status: int) -> int:
    if os.WIFSIGNALED(status):
        signal.raise_signal(os.WTERMSIG(status))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
