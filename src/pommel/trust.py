"""Decides which files are trusted: those that only this user and root can change, or that the user has trusted.

A pommel.toml names programs to run, and so do the boot script, patches and files that it names. One that somebody else
can write counts as that person's file, in any folder. Band: shared ground.

CONFIG/pommel/trusted.json holds what the user has said: `paths` (and all below them), and `scripts` with the SHA-256 of
what they were when they were trusted.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import json
import os
import shlex
import stat
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pommel import account, private
from pommel.errors import ConfigError, TrustError
from pommel.locks import hold
from pommel.paths import write_atomic

_LINKS_MAX = 40  # the kernel's limit, path_resolution(7)
_ACL = "system.posix_acl_access"
# On a folder that a guest may write in by 9p. QEMU keeps these names from the guest (hw/9pfs/9p-xattr-user.c).
_GUESTS = "user.virtfs.pommel"
_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Doubt:
    """What of a path somebody else can change: `why` completes "PATH …", `mend` is the command that ends it."""

    path: Path
    why: str
    mend: str | None = None


@dataclass(frozen=True, slots=True)
class Trusted:
    """The user's trusted paths, and trusted scripts by path with the SHA-256 of their contents then."""

    paths: tuple[str, ...] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)


def must(path: Path, what: str, *, named: Path | None = None) -> None:
    """Check that no other user can change `path`; `what` describes it, as in "the configuration".

    `named` is what a user is told to trust (default: `path`).

    Raises:
        TrustError: another user can change it, and this user has not trusted it.
    """
    if (found := doubt(path)) is None or is_trusted(path):
        return
    where = "" if found.path == path else f"{found.path} "
    mended = f"fix it: {found.mend}; or, " if found.mend else ""
    raise TrustError(
        f"{what} {path} is not used: {where or 'it '}{found.why}, and it decides what runs as your user",
        hint=f"{mended}if you trust it: pommel trust {shlex.quote(str(named or path))}",
        path=path,
    )


def doubt(path: Path) -> Doubt | None:
    """What of `path`, or of a folder or link on the way to it, somebody else can change; None: nothing.

    A folder with the sticky bit, such as /tmp, passes: nobody can replace there what is not theirs. A group that has
    no other member is its user's own (useradd(8), USERGROUPS_ENAB).

    Raises:
        OSError: a folder on the way cannot be looked into, or the links form a loop.
    """
    met = list(_met(path))
    for number, (here, about) in enumerate(met):
        # Whoever owns the root folder owns the host; in a user namespace that is the overflow uid.
        folders = {met[0][1].st_uid} if stat.S_ISDIR(about.st_mode) and number < len(met) - 1 else set()
        if about.st_uid not in _ours() | folders:
            return Doubt(here, f"belongs to {_user(about.st_uid)}")
        if stat.S_ISLNK(about.st_mode) or (stat.S_ISDIR(about.st_mode) and about.st_mode & stat.S_ISVTX):
            continue
        if (who := _writers(here, about)) is not None:
            mend = f"chmod go-w {shlex.quote(str(here))}" if about.st_uid == os.geteuid() else None
            return Doubt(here, f"can be written by {who}", mend)
        if stat.S_ISDIR(about.st_mode) and _has(here, _GUESTS):
            return Doubt(here, "can be, or could be, written by a guest that it is shared with by 9p")
    return None


def mark_as_guests(folder: Path) -> None:
    """Mark `folder` as writable by a guest; from now on nothing in it is trusted.

    The mark stays when the share has ended, because the guest's files are still there.

    Raises:
        OSError: the file system keeps no extended attributes, or may not be written to.
    """
    if not _has(folder, _GUESTS):
        os.setxattr(folder, _GUESTS, b"1")


def trusted() -> Trusted:
    """What the user has said to trust.

    Raises:
        ConfigError: the file that holds it is damaged, or can be written by somebody else.
    """
    store = _store()
    try:
        raw = json.loads(store.read_bytes())
        found = Trusted(tuple(map(str, raw["paths"])), {str(k): str(v) for k, v in raw["scripts"].items()})
    except FileNotFoundError:
        return Trusted()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as failure:
        raise ConfigError(
            f"{store} cannot be read: {failure}", hint=f"rm {store}, then trust the files again"
        ) from None
    if (wrong := doubt(store)) is not None:
        raise ConfigError(f"{store} is not used: {wrong.path} {wrong.why}", hint=wrong.mend)
    return found


def is_trusted(path: Path) -> bool:
    """Whether the user has trusted `path` or a folder above it."""
    said = {Path(each) for each in trusted().paths}
    whole = Path(os.path.realpath(path))
    return not said.isdisjoint((whole, *whole.parents))


def is_trusted_script(path: Path, digest: str) -> bool:
    """Whether the user has trusted the script at `path` with its present contents, by SHA-256."""
    return trusted().scripts.get(os.path.realpath(path)) == digest


def trust(path: Path, digest: str | None = None) -> None:
    """Remember that the user trusts `path`: whoever can write it, or with `digest`, as a script that is now so.

    Raises:
        ConfigError: as `trusted`.
        BusyError: another Pommel is writing.
        OSError: the file cannot be written.
    """
    with _changing() as said:
        whole = os.path.realpath(path)
        if digest is None:
            _save(Trusted(tuple(dict.fromkeys([*said.paths, whole])), said.scripts))
        else:
            _save(Trusted(said.paths, {**said.scripts, whole: digest}))


def distrust(path: Path) -> bool:
    """Forget that the user trusts `path`, which may be gone; say whether they did. Raises as `trust`."""
    names = {os.path.realpath(path), str(path.absolute())}
    with _changing() as said:
        left = Trusted(
            tuple(each for each in said.paths if each not in names),
            {each: digest for each, digest in said.scripts.items() if each not in names},
        )
        if left != said:
            _save(left)
        return left != said


def store_of_trust() -> Path:
    """The file that holds what the user has said to trust."""
    return _store()


def _met(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Each folder, link and file on the way to `path`, from the root on; it ends at the first missing one."""
    first, *rest = path.absolute().parts
    here, left, links = Path(first), deque(rest), 0
    yield here, here.lstat()
    while left:
        if (part := left.popleft()) == "..":
            here = here.parent
            continue
        there = here / part
        try:
            about = there.lstat()
        except FileNotFoundError:
            return
        yield there, about
        if not stat.S_ISLNK(about.st_mode):
            here = there
            continue
        links += 1
        if links > _LINKS_MAX:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = there.readlink()
        if target.is_absolute():
            here = Path(target.anchor)
        left.extendleft(reversed(target.parts[1:] if target.is_absolute() else target.parts))


def _ours() -> set[int]:
    """The users whose files are ours: root, this one, and whoever became root by sudo(8), as git has it."""
    found = {0, os.geteuid()}
    if os.geteuid() == 0 and (behind := os.environ.get("SUDO_UID", "")).isdecimal():
        found.add(int(behind))
    return found


def _writers(path: Path, about: os.stat_result) -> str | None:
    """The others who can write to it, in words; None if there are none."""
    if about.st_mode & stat.S_IWOTH:
        return "everybody"
    # With an access control list the group's bits are the most that any user named in it may have, acl(5).
    if about.st_mode & stat.S_IWGRP and not (_is_own_group(about.st_gid) and not _has(path, _ACL)):
        return f"the group {_group(about.st_gid)}"
    return None


def _is_own_group(gid: int) -> bool:
    """Whether a group is root's, or its only member is this user: it has the user's name, and lists nobody else."""
    if gid == 0:
        return True
    try:
        name, group = account.name_of(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return name is not None and group.gr_name == name and set(group.gr_mem) <= {name, "root"}


def _has(path: Path, attribute: str) -> bool:
    with contextlib.suppress(OSError, AttributeError):  # it has none, or a system without
        return bool(os.getxattr(path, attribute))
    return False


def _user(uid: int) -> str:
    return account.spelled(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"gid {gid}"


def _store() -> Path:
    return account.config() / "trusted.json"


@contextlib.contextmanager
def _changing() -> Iterator[Trusted]:
    lock = _store().with_name(".trusted.lock")
    private.make_folder(lock.parent)
    with hold(lock, busy="another Pommel is changing what is trusted", wait_s=_WAIT_S):
        yield trusted()


def _save(said: Trusted) -> None:
    text = json.dumps({"paths": list(said.paths), "scripts": dict(said.scripts)}, indent=2)
    write_atomic(_store(), text + "\n", mode=0o600)
