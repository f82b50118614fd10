"""The user that builds the guest's tree, and the end of all its processes with ours. Band: shell.

The tree has files of many owners, so building it needs root or a user namespace. In both cases nothing is mounted
visibly for the host, and a killed Pommel leaves files, but no processes and no mounts.
"""

from __future__ import annotations

import enum
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from pommel import process
from pommel.errors import CommandFailed, NotPermitted

# Runs "$@", and on SIGTERM waits for its end, so that it can clean up; kills the whole process group when the parent
# dies (it is tethered, and gets HUP then).
_GUARD = """
trap 'kill -KILL 0' HUP
trap : INT TERM
"$@" & child=$!
wait $child; status=$?
while kill -0 $child 2>/dev/null; do wait $child; status=$?; done
exit $status
"""


class Privilege(enum.Enum):
    """The user that builds the tree; the value is mmdebstrap's name for it."""

    ROOT = "root"
    USERNS = "unshare"

    @property
    def text(self) -> str:
        """The same as text for the user."""
        return "as root" if self is Privilege.ROOT else "in a user namespace, without root"

    def guarded(self, argv: Sequence[str]) -> list[str]:
        """Wrap a command that makes or fills the tree."""
        if self is Privilege.ROOT:
            argv = (*_spaces(), *argv)
        return process.tethered(["sh", "-c", _GUARD, "guard", *argv], "HUP")

    def inside(self, argv: Sequence[str]) -> list[str]:
        """Wrap a command that reads or removes files of the tree, with their owners there."""
        return [*argv] if self is Privilege.ROOT else ["mmdebstrap", "--unshare-helper", *argv]

    def remove_tree(self, directory: Path) -> None:
        """Remove a directory that a build has filled, whoever owns its files."""
        shutil.rmtree(directory, ignore_errors=True)
        if directory.exists():
            # In the namespace, `directory` has another owner: its contents can be removed there, but itself only here.
            directory.chmod(0o755)
            empty = ["find", str(directory), "-xdev", "-mindepth", "2", "-delete"]
            process.run(self.inside(empty), env=build_environment(), check=False)
            shutil.rmtree(directory, ignore_errors=True)


def _spaces() -> tuple[str, ...]:
    """The wrapper that makes root's mounts private: mmdebstrap makes namespaces only in its other mode.

    Where this is impossible (a chroot, whose root is not a mount point; a container without the right to mount) the
    right to mount is dropped. mmdebstrap works without it, and no mount is left in a tree that a later build would
    remove.
    """
    unshared = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
    if process.run([*unshared, "true"], check=False).returncode == 0:
        return unshared
    return ("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin")


def build_privilege() -> Privilege:
    """Determine as which user the trial machine can be built here, by a test.

    Raises:
        NotPermitted: neither root nor user namespaces are available; the hint is the remedy.
        MissingProgram: mmdebstrap is not installed.
    """
    if os.geteuid() == 0:
        return Privilege.ROOT
    try:
        process.run(["mmdebstrap", "--unshare-helper", "true"], env=build_environment(), timeout_s=30)
    except CommandFailed as refusal:
        last = refusal.output.strip().splitlines()[-1:] or ["no reason given"]
        raise NotPermitted(
            f"the trial machine cannot be built as root or in a user namespace: {last[0]}", hint=_userns_hint()
        ) from refusal
    return Privilege.USERNS


def build_environment(scratch: Path | None = None) -> dict[str, str]:
    """The environment of a build's programs: English messages, the sbin folders, and the folder for temporary files."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    more = {} if scratch is None else {"TMPDIR": str(scratch)}
    return {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8", **more}


def _userns_hint() -> str:
    user = os.environ.get("USER") or f"#{os.getuid()}"
    for path, wanted in (
        ("/proc/sys/kernel/unprivileged_userns_clone", "1"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "0"),
    ):
        if Path(path).exists() and Path(path).read_text().strip() != wanted:
            setting = path.removeprefix("/proc/sys/").replace("/", ".")
            return f"type: sudo sysctl {setting}={wanted}, or build as root: sudo pommel …"
    if shutil.which("newuidmap") is None:
        return "install newuidmap: the package uidmap of Debian and Ubuntu, shadow-utils or shadow elsewhere"
    ids = "100000-165535"
    return f"add a range of user ids for your user: sudo usermod --add-subuids {ids} --add-subgids {ids} {user}"
