"""As whom the guest's tree is made, and seeing to it that what makes it dies with us. Band: shell.

The tree holds files of many owners, so making it takes root or a user namespace. Either way nothing is mounted where
the host can see it, and a killed Pommel leaves files, no processes and no mounts.
"""

from __future__ import annotations

import enum
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from pommel import process
from pommel.errors import CommandFailed, NotPermitted

# Runs "$@" and outlives SIGTERM as long as it does, so that it can tidy up; kills the whole process group when the
# parent dies (setpriv sends HUP then).
_GUARD = """
trap 'kill -KILL 0' HUP
trap : INT TERM
"$@" & child=$!
wait $child; status=$?
while kill -0 $child 2>/dev/null; do wait $child; status=$?; done
exit $status
"""


class Privilege(enum.Enum):
    """As whom the tree is made; the value is mmdebstrap's name for it."""

    ROOT = "root"
    USERNS = "unshare"

    @property
    def text(self) -> str:
        """For the user."""
        return "as root" if self is Privilege.ROOT else "in a user namespace, without root"

    def guarded(self, argv: Sequence[str]) -> list[str]:
        """Wrap a command that makes or fills the tree."""
        if self is Privilege.ROOT:
            argv = (*_spaces(), *argv)
        return ["setpriv", "--pdeathsig", "HUP", "sh", "-c", _GUARD, "guard", *argv]

    def inside(self, argv: Sequence[str]) -> list[str]:
        """Wrap a command that reads or removes what is in the tree, with the owners it has there."""
        return [*argv] if self is Privilege.ROOT else ["mmdebstrap", "--unshare-helper", *argv]

    def remove_tree(self, directory: Path) -> None:
        """Remove a directory that a build has filled, whoever owns what is in it."""
        shutil.rmtree(directory, ignore_errors=True)
        if directory.exists():
            # Inside, `directory` is somebody else's: there, what lies in it can be emptied; its removal is ours.
            directory.chmod(0o755)
            empty = ["find", str(directory), "-xdev", "-mindepth", "2", "-delete"]
            process.run(self.inside(empty), env=build_environment(), check=False)
            shutil.rmtree(directory, ignore_errors=True)


def _spaces() -> tuple[str, ...]:
    """How root keeps its mounts to itself: mmdebstrap makes namespaces only in its other mode.

    Where that cannot be (a chroot, whose root is no mount point; a container that may not mount) it gives up the right
    to mount. mmdebstrap does without, and nothing is left mounted in a tree that a later build would remove.
    """
    unshared = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
    if process.run([*unshared, "true"], check=False).returncode == 0:
        return unshared
    return ("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin")


def build_privilege() -> Privilege:
    """Find out as whom the trial machine can be built here, by doing it.

    Raises:
        NotPermitted: neither root nor user namespaces; the hint says what to do.
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
    """What the programs of a build see: plain English, the sbin folders, and where to put temporary files."""
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
