"""Finds missing packages, and installs them. Band: shell.

It never asks: the user has agreed before `install` is called. It ends with the needs met, or with an error whose hint
is the command to type.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pommel import process
from pommel.errors import CommandFailed, MissingProgram, NotPermitted
from pommel.host.distribution import Family, System, parse_os_release, system_of
from pommel.host.needs import RUN_NEEDS, InstallPlan, Need, plan_install
from pommel.progress import Progress, Report, ignore, note, warn

__all__ = ["RUN_NEEDS", "InstallPlan", "Need", "install", "install_plan", "missing", "read_system"]

_STALE_S = 24 * 3600
_MANAGERS: tuple[tuple[str, Family], ...] = (
    ("apt-get", "apt"),
    ("dnf", "dnf"),
    ("pacman", "pacman"),
    ("zypper", "zypper"),
    ("apk", "apk"),
    ("xbps-install", "xbps"),
    ("emerge", "emerge"),
)


def missing(needs: Iterable[Need]) -> list[Need]:
    """The needs that nothing on this host meets, in their order. Programs in sbin folders count too."""
    return [need for need in needs if not any(map(_is_there, need.any_of))]


def read_system(root: Path = Path("/")) -> System:
    """This host's distribution, by os-release(5), else by the package manager on PATH."""
    fields: dict[str, str] = {}
    for path in (root / "etc/os-release", root / "usr/lib/os-release"):
        with contextlib.suppress(OSError):
            fields = parse_os_release(path.read_text(errors="replace"))
            break
    found = system_of(
        fields,
        ostree=(root / "run/ostree-booted").exists(),
        transactional=(root / "usr/sbin/transactional-update").exists() and not os.access(root / "usr", os.W_OK),
    )
    if found.family is not None or found.instead is not None:
        return found
    return replace(found, family=next((family for program, family in _MANAGERS if _is_there(program)), None))


def install_plan(needs: Sequence[Need]) -> InstallPlan:
    """Plan the installation of `needs` on this host.

    Raises:
        MissingProgram: no package is known for one of them here.
    """
    system = read_system()
    return plan_install(needs, system, stale=_is_stale(system.family), is_root=os.geteuid() == 0)


def install(plan: InstallPlan, *, report: Report = ignore) -> None:
    """Run `plan`: as root, else by sudo without a password, else by sudo on our terminal.

    The first Ctrl-C waits until the package manager is done, because half-installed packages break the next run.

    Raises:
        NotPermitted: neither root nor sudo is available; the hint is the command to type.
        CommandFailed: the package manager failed.
        MissingProgram: it succeeded, but something is still missing.
    """
    run = _runner(plan, report)
    with _finishing_first(report):
        if plan.refresh:
            try:
                run(plan.refresh)
            except CommandFailed as failure:  # one unreachable mirror must not prevent the installation from the others
                warn(report, f"the package lists could not be refreshed: {failure.message}")
        run(plan.command)
    report(Progress("packages", f"installed {', '.join(plan.packages)}", finished=True))
    if still := missing(plan.needs):
        raise MissingProgram(
            f"still missing after the installation: {', '.join(need.name for need in still)}", hint=plan.as_text
        )


class _Runner:
    """Runs one command of the plan; `prefix` runs it as root, `attached` gives it our terminal."""

    def __init__(self, plan: InstallPlan, report: Report, prefix: tuple[str, ...], attached: bool) -> None:
        self._plan, self._report, self._prefix, self._attached = plan, report, prefix, attached
        self._total: int | None = None
        self._done = 0

    def __call__(self, command: Sequence[str]) -> None:
        if self._attached:
            self._on_terminal(command)
        else:
            process.stream([*self._prefix, *command], self._line, hint=f"by hand: {self._plan.as_text}")

    def _on_terminal(self, command: Sequence[str]) -> None:
        # Standard output is only for results, and a package manager's messages are not results.
        status = process.attach([*self._prefix, "sh", "-c", 'exec "$@" >&2', "sh", *command])
        if status != 0:
            raise CommandFailed([*self._prefix, *command], status, "see above", hint=f"by hand: {self._plan.as_text}")

    def _line(self, line: str) -> None:
        if counted := re.search(r"\b(\d+) newly installed", line):
            self._total = int(counted[1])
        self._done += line.startswith("Setting up ")
        total = self._total if self._done else None
        self._report(Progress("packages", line.strip(), self._done if total else None, total, "packages"))


def _runner(plan: InstallPlan, report: Report) -> _Runner:
    if not plan.needs_root:
        return _Runner(plan, report, (), attached=False)
    what = f"installing {', '.join(plan.packages)} needs root"
    if not _is_there("sudo"):
        raise NotPermitted(f"{what}, and there is no sudo here", hint=f"as root: {plan.typed(sudo=False)}")
    if process.run(["sudo", "-n", "true"], check=False).returncode == 0:
        return _Runner(plan, report, ("sudo", "-n"), attached=False)
    if sys.stdin.isatty():
        return _Runner(plan, report, ("sudo",), attached=True)
    raise NotPermitted(f"{what}, but sudo needs a password, and there is no terminal to ask for it", hint=plan.as_text)


@contextlib.contextmanager
def _finishing_first(report: Report) -> Iterator[None]:
    """Delay the first Ctrl-C until the block is done; a second one interrupts it."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    pressed = False

    def on_press(_signal: int, _frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        note(report, "the installation is finished first; press Ctrl-C again to abort it")

    signal.signal(signal.SIGINT, on_press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def _is_there(what: str) -> bool:
    if what.startswith("/"):
        return any(Path("/").glob(what[1:]))
    try:
        process.which(what)
    except MissingProgram:
        return False
    return True


def _is_stale(family: Family | None, root: Path = Path("/")) -> bool:
    """Whether the package lists are missing, or (apt) a day old: old lists name files that mirrors no longer have."""
    if family == "pacman":
        return not any(root.glob("var/lib/pacman/sync/*.db"))
    if family != "apt":
        return False
    lists = root / "var/lib/apt/lists"
    if not any(lists.glob("*_Packages*")):
        return True
    # A list's own time is the mirror's; every update changes the time of the folders.
    touched = max(path.stat().st_mtime for path in (lists, lists / "partial") if path.exists())
    return time.time() - touched > _STALE_S
