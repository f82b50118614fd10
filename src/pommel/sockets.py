"""The paths of sockets, for new ones and for those of a running program. Band: shared ground.

    HOME/run/NAME/                 where the path fits into a socket's address
    /tmp/pommel-UID/HASH/NAME/     else, and where HOME's file system holds no sockets; HASH is of HOME

Not in the XDG runtime directory, as in earlier versions: systemd empties it when its user logs out, `su` and cron have
another one or none, and QEMU runs longer. Sockets of programs that an earlier Pommel started are still found.
systemd-tmpfiles does not remove a socket under /tmp while a program listens on it (tmpfiles.d(5)).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import struct
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pommel import locks, private
from pommel.errors import ConfigError

if TYPE_CHECKING:
    import socket

PATH_MAX = 107  # bytes: sockaddr_un.sun_path is 108 with its NUL (unix(7))
_SSH_ASIDE = 17  # ssh binds a shared connection's socket under a longer name first (OpenSSH: mux.c, muxserver_listen)
MACHINE_TAIL = len("/ssh") + _SSH_ASIDE  # the longest that is made in a machine's folder
CLIP_TAIL = len("/.ssh") + _SSH_ASIDE  # beside the key, in the folder of the syncs
_QMP = re.compile(rb"unix:(/.+)/qmp\.sock(,|\Z)")
_UCRED = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid
_ACCEPTS = 0x10000  # __SO_ACCEPTCON (include/uapi/linux/net.h): listen(2) has been called
# The errors of file systems without sockets: FAT and exFAT, CIFS, shared folders of other hypervisors.
_HOLDS_NONE = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENXIO)


def base(root: Path) -> Path:
    """The folder for the sockets of the home `root`, if their paths are short enough."""
    usual = root / "run"
    return usual if usual.is_dir() or not root.is_dir() or _holds_sockets(root) else spare(root)


def spare(root: Path) -> Path:
    """The folder for its sockets if their paths would be too long."""
    return _own_tmp() / key_of(root)


def key_of(path: Path) -> str:
    """A hash of a path, for use in a name."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:8]


def place(folder: Path, spare_folder: Path, tail_bytes: int) -> Path:
    """`folder` if its sockets, with `tail_bytes` more, have short enough paths; else `spare_folder`."""
    return folder if len(os.fsencode(folder)) + tail_bytes <= PATH_MAX else spare_folder


def former_bases(env: Mapping[str, str], spelled: Path, root: Path, *, usual: bool) -> tuple[Path, ...]:
    """The folders of earlier versions for the sockets of the home `root`, which the user wrote as `spelled`."""
    given = env.get("XDG_RUNTIME_DIR")
    user = Path(f"/run/user/{os.getuid()}")
    bases = dict.fromkeys([Path(given)] if given else [])
    bases |= dict.fromkeys([user, Path("/run")] if os.getuid() == 0 else [user])
    keys = ["", *({key_of(spelled): None, key_of(root): None})] if usual else [key_of(spelled), key_of(root)]
    return tuple(dict.fromkeys(found / "pommel" / key for found in bases for key in keys))


def of_running(directory: Path, made: Path, former: Iterable[Path]) -> Path:
    """The folder of the sockets of the machine in `directory`: of its QEMU if one lives, else `made`."""
    try:
        run = json.loads((directory / "run.json").read_bytes())
        kept = run.get("runtime")
    except (OSError, ValueError, AttributeError):  # it does not run, or its start time is unknown
        return made
    if kept == str(made) or (pid := locks.holder(directory / "qemu.pid")) is None:
        return made
    if isinstance(kept, str) and kept.startswith("/"):
        return Path(kept)
    return _in_argv(pid) or next((folder for folder in former if (folder / "qmp.sock").exists()), made)


def _in_argv(pid: int) -> Path | None:
    """The folder of a QEMU's sockets, from its command line (proc_pid_cmdline(5)); None if it cannot be read."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    found = (_QMP.match(word) for word in words)
    return next((Path(os.fsdecode(told[1].replace(b",,", b","))) for told in found if told), None)


def listens(path: Path) -> bool:
    """Whether a program listens on the Unix socket `path`. The file exists a moment earlier: between bind and listen.

    The kernel is asked (proc(5), /proc/net/unix), as the program would notice a connection: QEMU's monitor takes one at
    a time, and qemu-nbd ends after its first.
    """
    try:
        told = Path("/proc/net/unix").read_bytes()
    except OSError:  # a sandbox without it
        return path.is_socket()
    ours = os.fsencode(path)
    # Num RefCount Protocol Flags Type St Inode Path
    fields = (line.split(None, 7) for line in told.splitlines()[1:])
    return any(each[7] == ours and int(each[3], 16) & _ACCEPTS for each in fields if len(each) == 8)


def peer_uid(link: socket.socket) -> int:
    """The user who called connect(2) on the other side of a Unix socket (unix(7), SO_PEERCRED)."""
    import socket

    _pid, uid, _gid = _UCRED.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)


def is_ours(link: socket.socket) -> bool:
    """Whether this user or root is on the other side of a Unix socket."""
    return peer_uid(link) in (os.getuid(), 0)


def make_private(directory: Path) -> None:
    """Make a private folder, and check that no other user can write to it.

    Raises:
        NotPermitted: somebody else owns it or may write to it.
    """
    top = _own_tmp()
    for folder in (top, directory) if directory.is_relative_to(top) else (directory,):
        or_shorter = "; or set POMMEL_HOME to a shorter path" * (folder == top)
        private.make_strict(folder, hint=f"check it, then: rm -r {folder}{or_shorter}")


def check_length(folder: Path, longest: int) -> None:
    """Check that a path of `longest` bytes, under `folder`, is short enough for a socket.

    Raises:
        ConfigError: it cannot.
    """
    if longest > PATH_MAX:
        raise ConfigError(
            f"socket paths under {folder} are {longest} bytes, {PATH_MAX} are allowed",
            hint="set POMMEL_HOME to a shorter path",
        )


def _own_tmp() -> Path:
    return Path("/tmp") / f"pommel-{os.getuid()}"  # noqa: S108 - 0700, and `make_private` sees whose it is


def _holds_sockets(root: Path) -> bool:
    import socket  # needed only until the folder exists

    try:
        with tempfile.TemporaryDirectory(prefix=".s.", dir=root) as probe, socket.socket(socket.AF_UNIX) as trial:
            fd = os.open(probe, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:  # by the descriptor, which is short whatever the folder's path is
                trial.bind(f"/proc/self/fd/{fd}/s")
            finally:
                os.close(fd)
    except OSError as refusal:
        return refusal.errno not in _HOLDS_NONE
    return True
