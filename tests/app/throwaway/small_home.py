"""A home whose throw-away machines are QEMUs with next to nothing in them, each with a real sshd as its guest's."""

from __future__ import annotations

import shutil
import socket
import sys
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

from driver import Shell
from machine.guests import make_disk
from pommel import process
from pommel.app.argv.commandline import new_record
from pommel.app.workspace import Workspace
from pommel.machine import record
from pommel.machine.identity import RANDOM_BYTES
from pommel.paths import Home
from waits import wait_until

TESTS = Path(__file__).parents[2]
GUEST = Path(__file__).with_name("small_guest.py")
CREATED = "2026-01-01T00:00:00+00:00"


class SmallHome(Shell):
    """It has the stopped machine `trial`; `program` puts what a guest's user finds into its home folder."""

    def __init__(self) -> None:
        super().__init__()
        self.env |= {"PYTHONPATH": str(TESTS), "POMMEL_SSH_USER": process.run(["id", "-un"]).text.strip()}
        (self.root / "keys").mkdir()
        (self.root / "guest").mkdir()
        for key in ("id", "host"):
            process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.root / "keys" / key])
        self._make_base()
        self.ended(self.start_command("run", "trial", "--", "true"))
        wait_until(lambda: not self.processes(), 30, what="the end of all its processes")
        self.before = self._files()  # with what belongs to every home that has run something

    def _make_base(self) -> None:
        workspace = Workspace(Home.find(self.env), self.cwd, self.env)
        paths = workspace.paths("trial")
        paths.ssh_key.parent.mkdir(parents=True)
        record.save(paths.record, new_record(workspace.spec("trial"), bytes(RANDOM_BYTES), created=CREATED))
        make_disk(paths.disk)
        for name, mine in (("id", paths.ssh_key), ("id.pub", paths.ssh_key.with_suffix(".pub"))):
            shutil.copy(self.root / "keys" / name, mine)

    def program(self, name: str, text: str) -> None:
        path = self.root / "guest" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        self.before = self._files()

    def start_command(self, *words: str, killed: str = "-") -> Popen[bytes]:
        """`pommel WORDS`; what `killed` may be, `small_guest` says."""
        argv = [sys.executable, str(GUEST), killed, str(self.root), *words]
        return Popen(argv, env=self.env, cwd=self.cwd, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)

    def guests(self, pattern: str) -> list[Path]:
        """Files in the homes of guests that run."""
        return [*self.root.glob(f"homes/*/{pattern}")]

    def ports(self) -> list[int]:
        """Those of the throw-away machines that there are."""
        kept = self.home.glob("machines/*/machine.json")
        return [record.load(path).ssh_port for path in kept if path.parent.name != "trial"]

    def assert_as_before(self, ports: list[int]) -> None:
        """No machine, file or process is there that was not at the beginning, and nobody has the ports."""
        wait_until(lambda: not self.processes(), 30, what="the end of all its processes")
        left = self._files() - self.before
        assert not left, left
        for port in ports:
            with socket.socket() as free:
                free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                free.bind(("127.0.0.1", port))

    def _files(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}
