"""Folders of this host for a guest: the syntax of the setting, and smbd's configuration. Band: core, no I/O.

    shares = ["~/work"]                                                 its last part is the name
    shares = [{ folder = "~/work", name = "code", read_only = true }]
    shares = ["~/work as code read-only"]                               the same as one text
    shares = [{ folder = "~/work", by = "9p" }]                         or "~/work by 9p"; the default is SMB

By SMB the guest finds them at an address of its own user-mode network. QEMU starts an smbd for each connection, so no
port of this host listens. By 9p QEMU itself serves them, as a device that the guest finds by its tag, the share's name;
the guest has it from its start on. `share_folder` decides which folders may be shared.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

PORT = 445  # SMB's
SMB, NINE_P = "smb", "9p"
WAYS = (SMB, NINE_P)
TAG_BYTES_MAX = 31  # hw/9pfs/9p.h, MAX_TAG_LEN less its NUL
_TEXT = re.compile(
    r"(?P<folder>.+?)(?: as (?P<name>\S+))?(?: by (?P<by>smb|9p))?(?P<read_only> read-only)?\Z", re.DOTALL
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}\Z")
# They have a special meaning in smb.conf(5) and SMB.
_NO_NAMES = ("global", "homes", "printers", "ipc", "admin", "print")
_KEYS = ("folder", "name", "by", "read_only")
_WANTED = 'a list of folders, such as ["~/work", { folder = "~/music", name = "songs", read_only = true, by = "9p" }]'
_NAMES = "called by 1 to 40 letters without accents, digits, . _ and -, beginning with a letter or digit"
# In the sandbox this number stands for the user of Pommel (bwrap(1), --uid): so the guest's files belong to that user.
USER, UID = "pommel", 1000
STATE, FOLDERS, CONF = "/state", "/shares", "/etc/samba/smb.conf"
PASSWD = f"{USER}:x:{UID}:{UID}::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n"
GROUP = f"{USER}:x:{UID}:\nnogroup:x:65534:\n"
NSSWITCH = "passwd: files\ngroup: files\nhosts: files\n"

_GLOBAL = f"""\
[global]
server role = standalone server
server string = Pommel
workgroup = POMMEL
netbios name = POMMEL
disable netbios = yes
smb ports = {PORT}
server min protocol = SMB2_10
map to guest = Bad User
guest account = {USER}
load printers = no
printing = bsd
printcap name = /dev/null
disable spoolss = yes
rpc start on demand helpers = no
usershare max shares = 0
unix extensions = no
log level = 0
log file = /dev/null
private dir = {STATE}
state directory = {STATE}
cache directory = {STATE}
lock directory = {STATE}
pid directory = {STATE}
ncalrpc dir = {STATE}/rpc
# A link that leads out of its share is not followed, whoever made it.
follow symlinks = yes
wide links = no
allow insecure wide links = no
# Nobody keeps what another may change: programs of this host and other machines write here too.
oplocks = no
level2 oplocks = no
smb2 leases = no
kernel oplocks = no
# New files are as this host's programs make them; DOS attributes are no reason to mark a file.
create mask = 0644
directory mask = 0755
store dos attributes = no
map archive = no
map hidden = no
map system = no
acl allow execute always = yes
# Pommel obeys a file of this name wherever it is called: no guest writes one.
veto files = /pommel.toml/
max open files = 4096
"""
# A Mac's resource forks and Finder information become extended attributes instead of ._ files. The first connection
# decides for all of a server's shares (vfs_fruit(8)), so all of them have these options.
_FOR_MACS = """\
vfs objects = catia fruit streams_xattr
fruit:metadata = stream
fruit:model = MacSamba
fruit:encoding = native
fruit:posix_rename = yes
fruit:zero_file_id = yes
fruit:wipe_intentionally_left_blank_rfork = yes
fruit:delete_empty_adfiles = yes
"""


@dataclass(frozen=True, slots=True)
class Share:
    """One folder: `folder` as the user wrote it, `name` for the guest, `by` one of WAYS."""

    folder: str
    name: str
    read_only: bool = False
    by: str = SMB

    def __str__(self) -> str:
        by = f" by {self.by}" if self.by != SMB else ""
        return f"{self.folder} as {self.name}{by}" + (" read-only" if self.read_only else "")

    @property
    def key(self) -> str:
        """The key that must be unique among shares: SMB ignores the case of names."""
        return self.name.casefold()


def new_share(folder: str, name: str | None = None, *, read_only: bool = False, by: str = SMB) -> Share:
    """A share of `folder`; its default name is the last part of the path.

    Raises:
        ValueError: with a phrase that completes "… must be".
    """
    if not folder.strip() or any(ord(char) < 32 for char in folder):
        raise ValueError("a folder, such as ~/work")
    if by not in WAYS:
        raise ValueError(f"by {' or '.join(WAYS)}")
    found = Share(folder, check_name(name) if name is not None else _name_of(folder), read_only, by)
    if by == NINE_P and len(found.name) > TAG_BYTES_MAX:
        raise ValueError(f"called by no more than {TAG_BYTES_MAX} letters for 9p, and {found.name} has more")
    return found


def check_name(name: str) -> str:
    """Return `name` if it is valid for a share.

    Raises:
        ValueError: with a phrase that completes "… must be".
    """
    if not _NAME.match(name):
        raise ValueError(_NAMES)
    if name.casefold() in _NO_NAMES:
        raise ValueError(f"called otherwise: {name} means something else to SMB")
    return name


def parse_share(text: str) -> Share:
    """Parse `FOLDER[ as NAME][ by smb|9p][ read-only]`.

    Raises:
        ValueError: with a phrase that completes "… must be".
    """
    match = _TEXT.match(text.strip())
    if match is None:
        raise ValueError("a folder, such as ~/work, or ~/work as code read-only")
    return new_share(match["folder"], match["name"], read_only=match["read_only"] is not None, by=match["by"] or SMB)


def parse_shares(raw: Any) -> tuple[str, ...]:
    """A setting's list; in the environment or a flag, texts separated by semicolons."""
    words = [word for word in raw.split(";") if word.strip()] if isinstance(raw, str) else raw
    if not isinstance(words, list | tuple):
        raise ValueError(_WANTED)
    found = [_parsed(word) for word in words]
    for number, each in enumerate(found):
        if any(each.key == other.key for other in found[:number]):
            raise ValueError(f"a list in which each has a name of its own; {each.name} is there twice")
    return tuple(map(str, found))


def smb_conf(shares: Sequence[Share], *, for_macs: bool) -> str:
    """The configuration of an smbd that serves these shares to its one connection."""
    parts = [_GLOBAL + (_FOR_MACS if for_macs else "")]
    for each in shares:
        parts.append(
            f"[{each.name}]\npath = {FOLDERS}/{each.name}\nguest ok = yes\nguest only = yes\n"
            f"read only = {'yes' if each.read_only else 'no'}\n"
        )
    return "\n".join(parts)


def sandbox(bwrap: str, roots: Sequence[str]) -> list[str]:
    """The command for a sandbox that contains only smbd and the shares, which are appended; smbd is in `roots`."""
    return [
        *(bwrap, "--unshare-all", "--unshare-user", "--uid", str(UID), "--gid", str(UID)),
        *("--die-with-parent", "--new-session"),
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--dir", "/run", "--dir", "/var"),  # noqa: S108
        *("--tmpfs", STATE, "--dir", f"{STATE}/rpc", "--dir", "/etc/samba", *roots),
        *("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"),
    ]


def bound(share: Share, folder: str) -> list[str]:
    """The options that show `folder` of this host in the sandbox, at the path in `smb_conf`."""
    return ["--ro-bind" if share.read_only else "--bind", folder, f"{FOLDERS}/{share.name}"]


def _parsed(word: Any) -> Share:
    if isinstance(word, str):
        return parse_share(word)
    if not isinstance(word, Mapping) or not isinstance(word.get("folder"), str):
        raise ValueError(_WANTED)
    if unknown := [str(key) for key in word if key not in _KEYS]:
        raise ValueError(f"{_WANTED}; there is no {unknown[0]}")
    name, read_only, by = word.get("name"), word.get("read_only", False), word.get("by", SMB)
    if not isinstance(read_only, bool) or not isinstance(name, str | None) or by not in WAYS:
        raise ValueError(_WANTED)
    return new_share(word["folder"], name, read_only=read_only, by=by)


def _name_of(folder: str) -> str:
    last = unicodedata.normalize("NFKD", PurePosixPath(folder).name)
    plain = "".join(char for char in last if not unicodedata.combining(char))
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", plain).strip("-._")[:40]
    try:
        return check_name(name)
    except ValueError:
        raise ValueError(f"called by a name that SMB takes: {folder} as NAME") from None
