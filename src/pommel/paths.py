"""Every path once. Band: shared ground.

    HOME/                           POMMEL_HOME, default the XDG data directory of pommel
      .pommel-home                  says that it is one, and what was in it before; see `marks`
      trial/KEY/                    the trial machine's base images, named after what went into them
      upstream/NAME/                upstream checkouts
      recovery/                     recovery images, shared by all machines (see recovery.store)
      installers/                   full installers of macOS, shared by all machines (see recovery.installers)
      opencore/KEY/                 boot disks packed from an upstream's OpenCore/EFI, named after what went into them
      images/                       images of machines that travel (see image.store)
      machines/NAME/                one machine; see MachinePaths
      clip/KEY/                     one clipboard sync; see ClipPaths
      mesh/                         what keeps the machines on their MeshCentral servers; see MeshPaths
      pool/                         what keeps machines warm; see PoolPaths
      mcp/token                     what lets programs in at the HTTP server of `pommel mcp`
      tls/                          the certificate that Pommel makes for its consoles, with its key
    RUNTIME/                        HOME/run, where nobody empties it; or another place, see `sockets`
      NAME/                         the machine's sockets
      .clip/                        the clipboard syncs' sockets; no machine's name begins with a dot
      .pool/                        the socket of what keeps machines warm
    CACHE/                          XDG cache directory of pommel: answers that may be asked again

HOME is one place however its path is spelled: links in it are resolved.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from pommel import account, locks, sockets
from pommel.errors import NotPermitted, StateError, UsageError
from pommel.files import build_aside as build_aside
from pommel.files import is_aside as is_aside
from pommel.files import put_in_place as put_in_place
from pommel.files import sweep_aside as sweep_aside
from pommel.files import write_atomic as write_atomic

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}\Z")


def here() -> Path:
    """The current folder.

    Raises:
        StateError: it has been deleted since somebody went there.
    """
    try:
        return Path.cwd()
    except FileNotFoundError as gone:
        raise StateError("the current folder has been deleted", hint="go to an existing folder: cd") from gone


def check_name(name: str) -> str:
    """Return `name` if a machine may be called so.

    Raises:
        UsageError: it could be a path trick, an option, or make a socket path too long.
    """
    if not _NAME.match(name):
        raise UsageError(
            f"{name!r} cannot be a machine's name",
            hint="use 1 to 40 of a-z 0-9 . _ - and begin with a letter or digit",
        )
    return name


@dataclass(frozen=True, slots=True)
class MachinePaths:
    """The paths of one machine. Nothing here says that they exist."""

    name: str
    directory: Path
    runtime: Path

    @property
    def record(self) -> Path:
        """What was chosen when the machine was made: identity, ports, upstream (JSON)."""
        return self.directory / "machine.json"

    @property
    def disk(self) -> Path:
        """The machine's own disk (qcow2)."""
        return self.directory / "mac_hdd_ng.img"

    @property
    def nvram(self) -> Path:
        """The machine's own copy of the firmware's variables."""
        return self.directory / "nvram.fd"

    @property
    def pidfile(self) -> Path:
        """Locked by QEMU for as long as it lives."""
        return self.directory / "qemu.pid"

    @property
    def lock(self) -> Path:
        """Held by whoever makes, starts, stops or deletes the machine; beside its folder, which may come and go."""
        return self.directory.with_name(f".{self.name}.lock")

    @property
    def log(self) -> Path:
        """QEMU's standard output and error."""
        return self.directory / "qemu.log"

    @property
    def serial_log(self) -> Path:
        """What the guest writes to its first serial port."""
        return self.directory / "serial.log"

    @property
    def events_log(self) -> Path:
        """What happened to the machine: Pommel's own events, as JSON lines."""
        return self.directory / "events.log"

    @property
    def ssh_key(self) -> Path:
        """The private key that opens the guest."""
        return self.directory / "ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The guest's host keys, under the machine's own name."""
        return self.directory / "ssh" / "known_hosts"

    @property
    def qmp(self) -> Path:
        """QMP for short commands; one client at a time."""
        return self.runtime / "qmp.sock"

    @property
    def qmp_watch(self) -> Path:
        """QMP for one long-lived watcher (the console)."""
        return self.runtime / "qmp-watch.sock"

    @property
    def vnc(self) -> Path:
        """RFB; any number of clients."""
        return self.runtime / "vnc.sock"

    @property
    def more_displays(self) -> list[Path]:
        """The same for the displays after the first, in order, as far as they are there."""
        return sorted(self.runtime.glob("vnc-[0-9]*.sock"), key=lambda path: int(path.stem.partition("-")[2]))

    @property
    def console_lock(self) -> Path:
        """Held by the console server for as long as it lives."""
        return self.directory / "console.lock"

    @property
    def console_record(self) -> Path:
        """Address, tokens and passes of the console (JSON, 0600)."""
        return self.directory / "console.json"

    @property
    def console_viewers(self) -> Path:
        """Who looks on at the console (JSON, 0600); true while the console lives."""
        return self.directory / "console.viewers"

    @property
    def console_log(self) -> Path:
        """What a detached console prints."""
        return self.directory / "console.log"

    @property
    def mesh(self) -> Path:
        """What the machine has of having joined a MeshCentral server (0700); no clone of it may have the same."""
        return self.directory / "mesh"

    @property
    def session(self) -> MachinePaths:
        """Where the console of the guest's own session keeps its `console_*`; nothing else of the machine is there."""
        return MachinePaths(self.name, self.directory / "session", self.runtime)

    def make_runtime(self) -> None:
        """Make the sockets' directory, private to this user.

        Raises:
            NotPermitted: somebody else owns it or may write to it.
            ConfigError: a socket path would be longer than the kernel allows.
        """
        sockets.check_length(self.runtime, len(os.fsencode(self.runtime)) + sockets.MACHINE_TAIL)
        sockets.make_private(self.runtime)


@dataclass(frozen=True, slots=True)
class ClipPaths:
    """The paths of a clipboard sync. `key` is a machine's name, or begins with `_` and stands for another SSH host."""

    key: str
    directory: Path
    runtime: Path

    @property
    def lock(self) -> Path:
        """Held by the sync for as long as it lives."""
        return self.directory / "lock"

    @property
    def record(self) -> Path:
        """How the sync stands, or why it ended (JSON, 0600); nothing of any clipboard."""
        return self.directory / "status.json"

    @property
    def log(self) -> Path:
        """What a sync in the background prints."""
        return self.directory / "log"

    @property
    def pulled(self) -> Path:
        """What became of a `pull` without a sync (JSON, 0600); nothing of any clipboard."""
        return self.directory / "pulled.json"

    @property
    def files(self) -> Path:
        """The guest's files that were copied, and pasted here."""
        return self.directory / "files"

    @property
    def socket(self) -> Path:
        """Where the sync takes orders."""
        return self.runtime / f"{self.key}.sock"

    @property
    def shared(self) -> Path:
        """Where the sync's ssh lets its other sessions in (ControlPath)."""
        return self.runtime / f"{self.key}.ssh"

    def make(self) -> None:
        """Make both folders, private to this user.

        Raises:
            NotPermitted, ConfigError: as MachinePaths.make_runtime.
        """
        sockets.make_private(self.directory)
        sockets.check_length(self.runtime, len(os.fsencode(self.runtime / self.key)) + sockets.CLIP_TAIL)
        sockets.make_private(self.runtime)


@dataclass(frozen=True, slots=True)
class MeshPaths:
    """The paths of the one process that keeps a home's machines on their MeshCentral servers."""

    directory: Path

    @property
    def lock(self) -> Path:
        """Held by the process for as long as it lives."""
        return self.directory / "lock"

    @property
    def record(self) -> Path:
        """How each machine stands with its server (JSON, 0600)."""
        return self.directory / "status.json"

    @property
    def log(self) -> Path:
        """What the process prints when it is in the background."""
        return self.directory / "log"

    def make(self) -> None:
        """Make the folder, private to this user. NotPermitted: somebody else owns it or may write to it."""
        sockets.make_private(self.directory)


@dataclass(frozen=True, slots=True)
class PoolPaths:
    """The paths of the one process that keeps a home's warm machines."""

    directory: Path
    runtime: Path

    @property
    def lock(self) -> Path:
        """Held by the process for as long as it lives."""
        return self.directory / "lock"

    @property
    def wishes(self) -> Path:
        """Of which images how many machines are to be warm (JSON)."""
        return self.directory / "wishes.json"

    @property
    def wishes_lock(self) -> Path:
        """Held by whoever changes that."""
        return self.directory / "wishes.lock"

    @property
    def log(self) -> Path:
        """What the process prints."""
        return self.directory / "log"

    @property
    def socket(self) -> Path:
        """Where it hands machines over."""
        return self.runtime / "sock"

    def make(self) -> None:
        """Make both folders, private to this user. NotPermitted: somebody else owns one or may write to it."""
        sockets.make_private(self.directory)
        sockets.make_private(self.runtime)


@dataclass(frozen=True, slots=True)
class Home:
    """Where Pommel keeps what it keeps. `former` is where earlier versions had sockets, for those that live there."""

    root: Path
    runtime: Path
    cache: Path
    former: tuple[Path, ...] = field(default=(), compare=False)

    @classmethod
    def find(cls, env: dict[str, str] | None = None) -> Home:
        """Where this user's Pommel lives, from POMMEL_HOME and the XDG variables.

        Raises:
            NotPermitted: nothing says where, and this user has no home folder.
            UsageError: POMMEL_HOME begins with the name of nobody.
        """
        env = dict(os.environ) if env is None else env
        default = cache = None
        with contextlib.suppress(NotPermitted):  # a user without a home folder: then all is in POMMEL_HOME
            default, cache = account.data(), account.cache()
        said = env.get("POMMEL_HOME")
        spelled = account.expand(said).absolute() if said else default or account.data()
        root = Path(os.path.realpath(spelled))
        former = sockets.former_bases(env, spelled, root, usual=spelled == default)
        return cls(root=root, runtime=sockets.base(root), cache=cache or root / "cache", former=former)

    @property
    def machines(self) -> Path:
        """The folder that is the list of machines."""
        return self.root / "machines"

    @property
    def trial(self) -> Path:
        """The trial machine's base images."""
        return self.root / "trial"

    @property
    def recovery(self) -> Path:
        """The recovery images."""
        return self.root / "recovery"

    @property
    def installers(self) -> Path:
        """The full installers of macOS."""
        return self.root / "installers"

    @property
    def opencore(self) -> Path:
        """Boot disks that we packed."""
        return self.root / "opencore"

    @property
    def images(self) -> Path:
        """The images of machines, and whose signatures count."""
        return self.root / "images"

    def upstream(self, name: str) -> Path:
        """An upstream's checkout."""
        return self.root / "upstream" / name

    def machine(self, name: str) -> MachinePaths:
        """The paths of machine `name`.

        Raises:
            UsageError: it is no name for a machine.
        """
        check_name(name)
        made = sockets.place(self.runtime / name, sockets.spare(self.root) / name, sockets.MACHINE_TAIL)
        directory = self.machines / name
        runtime = sockets.of_running(directory, made, [base / name for base in self.former])
        return MachinePaths(name, directory, runtime)

    def clip(self, key: str) -> ClipPaths:
        """The paths of the clipboard sync `key`."""
        own, more = self.runtime / ".clip", len(os.fsencode(key)) + 1 + sockets.CLIP_TAIL
        made = ClipPaths(key, self.clips / key, sockets.place(own, sockets.spare(self.root) / ".clip", more))
        if made.socket.exists() or locks.holder(made.lock) is None:
            return made
        before = (replace(made, runtime=base / ".clip") for base in self.former)
        return next((each for each in before if each.socket.exists()), made)

    @property
    def mcp_token(self) -> Path:
        """What lets programs in at the HTTP server of `pommel mcp`."""
        return self.root / "mcp" / "token"

    @property
    def tls(self) -> Path:
        """The folder of the certificate that Pommel makes for its consoles."""
        return self.root / "tls"

    @property
    def mesh(self) -> MeshPaths:
        """The paths of what keeps the machines on their MeshCentral servers."""
        return MeshPaths(self.root / "mesh")

    @property
    def pool(self) -> PoolPaths:
        """The paths of what keeps machines warm."""
        own, spare = self.runtime / ".pool", sockets.spare(self.root) / ".pool"
        return PoolPaths(self.root / "pool", sockets.place(own, spare, len("/sock")))

    @property
    def clips(self) -> Path:
        """The folder of the clipboard syncs."""
        return self.root / "clip"

    def names(self) -> list[str]:
        """The machines that exist, in order. A folder without a record is a leftover, not a machine."""
        if not self.machines.is_dir():
            return []
        return sorted(
            p.name for p in self.machines.iterdir() if _NAME.match(p.name) and self.machine(p.name).record.is_file()
        )

    def lost(self) -> list[str]:
        """The machines whose folder is a link to what is not there: a drive that is not mounted, perhaps."""
        if not self.machines.is_dir():
            return []
        links = (p for p in self.machines.iterdir() if p.is_symlink() and not p.exists())
        return sorted(p.name for p in links if _NAME.match(p.name))
