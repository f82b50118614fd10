"""Wait until a program in a guest listens on a TCP port. Band: app.

A forward on this host cannot show that, because QEMU accepts a connection before the guest does. So if the guest has an
address of its own, Pommel connects to it; if not, the guest is asked over SSH to connect to itself.
"""

from __future__ import annotations

import contextlib
import socket
import time

from pommel.app.guest import shell as guest
from pommel.app.machine import waiting
from pommel.app.machine.waiting import TIMEOUT_S, Until, Waited, ended, must_run
from pommel.app.network import reach
from pommel.app.workspace import Workspace
from pommel.errors import AddressError, CommandFailed, DeadlineError, StateError, UsageError
from pommel.machine import state
from pommel.progress import Progress, Report, ignore

_PORTS = range(1, 1 << 16)
_KNOCK_S, _AGAIN_S = 1.0, 0.5
# Tries in one login: if Pommel is killed, the guest stops trying soon.
_LOOKS = 20
_SSH_FAILED = 255  # ssh(1)
# bash has /dev/tcp, on macOS too; systems without bash have nc (busybox). With neither, the exit status says so.
_ASK = (
    "i=0; command -v bash nc >/dev/null || exit 69; "
    "until bash -c 'exec 3<>/dev/tcp/localhost/{port}' 2>/dev/null || nc -z localhost {port} 2>/dev/null; do "
    "i=$((i+1)); [ $i -ge {looks} ] && exit 75; sleep {again}; done"
)
_NEITHER = 69  # sysexits.h: EX_UNAVAILABLE


def wait_port(
    name: str,
    port: int,
    *,
    timeout_s: float | None = None,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> Waited:
    """Wait until a program in the guest of machine `name` listens on TCP port `port`.

    Without `timeout_s`, the limit is five minutes from now.

    Raises:
        UsageError: `port` is not a valid port.
        StateError: the machine is not running, or has no network.
        MachineError: it ended meanwhile.
        DeadlineError: nothing listened in time.
    """
    if port not in _PORTS:
        raise UsageError(f"{port} is not a TCP port", hint="give one from 1 to 65535")
    workspace = workspace or Workspace.current()
    must_run(workspace, name)
    return _PortWait(workspace, name, port, TIMEOUT_S[Until.SSH] if timeout_s is None else timeout_s, report).run()


class _PortWait:
    """One wait."""

    def __init__(self, workspace: Workspace, name: str, port: int, timeout_s: float, report: Report) -> None:
        self._workspace, self._name, self._port = workspace, name, port
        self._timeout_s, self._report = timeout_s, report
        self._step = f"waiting for port {port} of {name}"
        self._began = time.monotonic()

    def run(self) -> Waited:
        while True:
            self._report(Progress(self._step, "", self._waited_s, self._timeout_s, "s"))
            if self._listens():
                self._report(Progress(self._step, unit="s", finished=True))
                seen = f"something listens on its port {self._port}"
                return Waited(f"port {self._port}", seen, True, False, round(self._waited_s, 1))
            paths = self._workspace.paths(self._name)
            if not state.observe(paths).alive:
                raise ended(paths)
            if self._left_s <= 0:
                raise self._late()

    @property
    def _waited_s(self) -> float:
        return time.monotonic() - self._began

    @property
    def _left_s(self) -> float:
        return self._timeout_s - self._waited_s

    def _listens(self) -> bool:
        if reach.forwarded_port(self._workspace, self._name) is None:
            return self._knock()
        try:
            waiting.wait(self._name, Until.SSH, timeout_s=max(0.1, self._left_s), workspace=self._workspace)
        except DeadlineError as late:
            raise DeadlineError(
                f"port {self._port} of {self._name} could not be looked at, as {late.message}", hint=late.hint
            ) from None
        return self._ask()

    def _knock(self) -> bool:
        """Try to connect to a guest that has an address of its own."""
        with contextlib.suppress(OSError, AddressError):  # its address is unknown until its first packets
            where = reach.address(self._workspace, self._name)
            socket.create_connection((where.host, self._port), min(_KNOCK_S, max(0.1, self._left_s))).close()
            return True
        time.sleep(min(_AGAIN_S, max(0.0, self._left_s)))
        return False

    def _ask(self) -> bool:
        looks = max(1, min(_LOOKS, int(self._left_s / _AGAIN_S)))
        command = _ASK.format(port=self._port, looks=looks, again=_AGAIN_S)
        try:
            guest.ssh_run(self._name, command, timeout_s=max(1.0, self._left_s) + _LOOKS, workspace=self._workspace)
        except CommandFailed as failure:
            self._must_be_passing(failure)
            return False
        except DeadlineError:
            return False
        return True

    def _must_be_passing(self, failure: CommandFailed) -> None:
        """Raise an error that another try cannot change."""
        if failure.returncode == _NEITHER:
            raise StateError(f"the guest of {self._name} has neither bash nor nc, so its ports cannot be looked at")
        if failure.returncode == _SSH_FAILED and "Permission denied" in failure.output:
            raise StateError(
                f"{self._name} refuses the login by SSH, so its ports cannot be looked at",
                hint=f"pommel ssh {self._name} --copy-id",
            )
        if failure.returncode == _SSH_FAILED:
            time.sleep(_AGAIN_S)

    def _late(self) -> DeadlineError:
        return DeadlineError(
            f"nothing listened on port {self._port} of {self._name} in {self._timeout_s:g} s",
            hint=f"to look there: pommel ssh {self._name}",
        )
