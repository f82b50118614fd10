"""Where sockets are made, and where those of a running program are found. Band: shared ground.

    HOME/run/NAME/                 where the path fits into a socket's address
    /tmp/pommel-UID/HASH/NAME/     else, and where HOME's file system holds no sockets; HASH is of HOME

Not in the XDG runtime directory, where they once were: systemd empties it when its user logs out, `su` and cron have
another one or none, and a QEMU outlives them all. Those of a program that an earlier Pommel started are still found.
What is under /tmp is left alone by systemd-tmpfiles for as long as somebody listens there (tmpfiles.d(5)).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from pommel import locks, private
from pommel.errors import ConfigError

PATH_MAX = 107  # bytes: sockaddr_un.sun_path is 108 with its NUL (unix(7))
_SSH_ASIDE = 17  # ssh binds a shared connection's socket under a longer name first (OpenSSH: mux.c, muxserver_listen)
MACHINE_TAIL = len("/ssh") + _SSH_ASIDE  # the longest that is made in a machine's folder
CLIP_TAIL = len("/.ssh") + _SSH_ASIDE  # beside the key, in the folder of the syncs
_QMP = re.compile(rb"unix:(/.+)/qmp\.sock(,|\Z)")
# What a file system says that holds no sockets: FAT and exFAT, CIFS, shared folders of other hypervisors.
_HOLDS_NONE = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENXIO)


def base(root: Path) -> Path:
    """The folder under which the home `root` has its sockets, where their paths are short enough."""
    usual = root / "run"
    return usual if usual.is_dir() or not root.is_dir() or _holds_sockets(root) else spare(root)


def spare(root: Path) -> Path:
    """The folder under which it has those whose paths would be too long."""
    return _own_tmp() / key_of(root)


def key_of(path: Path) -> str:
    """What stands for a path in a name."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:8]


def place(folder: Path, spare_folder: Path, tail_bytes: int) -> Path:
    """`folder` if what is made in it, `tail_bytes` longer, has a path that fits; else `spare_folder`."""
    return folder if len(os.fsencode(folder)) + tail_bytes <= PATH_MAX else spare_folder


def former_bases(env: Mapping[str, str], spelled: Path, root: Path, *, usual: bool) -> tuple[Path, ...]:
    """The folders under which earlier versions had the sockets of the home `root`, which the user `spelled` so."""
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
    except (OSError, ValueError, AttributeError):  # it does not run, or nobody can say since when
        return made
    if kept == str(made) or (pid := locks.holder(directory / "qemu.pid")) is None:
        return made
    if isinstance(kept, str) and kept.startswith("/"):
        return Path(kept)
    return _in_argv(pid) or next((folder for folder in former if (folder / "qmp.sock").exists()), made)


def _in_argv(pid: int) -> Path | None:
    """Where a QEMU has its sockets by its own command line (proc_pid_cmdline(5)); None: it cannot be read."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    found = (_QMP.match(word) for word in words)
    return next((Path(os.fsdecode(told[1].replace(b",,", b","))) for told in found if told), None)


def make_private(directory: Path) -> None:
    """Make a folder that nobody else may enter, and see that nobody else has a hand in it.

    Raises:
        NotPermitted: somebody else owns it or may write to it.
    """
    top = _own_tmp()
    for folder in (top, directory) if directory.is_relative_to(top) else (directory,):
        or_shorter = "; or set POMMEL_HOME to a shorter path" * (folder == top)
        private.make_strict(folder, hint=f"check it, then: rm -r {folder}{or_shorter}")


def check_length(folder: Path, longest: int) -> None:
    """See that a path of `longest` bytes, under `folder`, can be a socket's.

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
    import socket  # looked at only until the folder is there

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
