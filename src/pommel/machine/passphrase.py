"""The passphrase of a machine's encrypted disks: where it is stored, and who may use it now. Band: shell.

It is in the user's file, or in the desktop's keyring (the Secret Service, read by libsecret's `secret-tool`). It is
requested when the first encrypted disk is opened, inside `with_key`; outside of it no encrypted disk is opened. Other
programs get it only through a pipe, and Pommel never prints, logs or writes it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import stat
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from pommel import process
from pommel.errors import DeadlineError, StateError
from pommel.machine import luks

_MOST_BYTES = 1024
_KEYRING_S = 120.0  # for a locked keyring, which asks its user on the desktop
_RANDOM_BYTES = 32
_ask: ContextVar[Callable[[], Passphrase] | None] = ContextVar("_ask", default=None)


@dataclass(frozen=True, slots=True)
class Passphrase:
    """A passphrase, and its origin in words for the user.

    New disks take `stretch_ms` to open; if it is None, they take as long as the disk `opens`, which has this
    passphrase.
    """

    phrase: bytes = field(repr=False)
    where: str
    hint: str
    stretch_ms: int | None = None
    opens: Path | None = None

    def wrong(self) -> StateError:
        """The error if it does not open a disk."""
        return StateError(f"the passphrase from {self.where} does not open the disk", hint=self.hint)


@contextlib.contextmanager
def with_key(ask: Callable[[], Passphrase]) -> Iterator[None]:
    """Open encrypted disks with the key that `ask` returns, during the block; `ask` is called at most once."""
    held = _ask.set(functools.cache(ask))
    try:
        yield
    finally:
        _ask.reset(held)


def key() -> Passphrase:
    """The key of the present `with_key` block.

    Raises:
        StateError: there is no such block; or the passphrase is not available.
        MissingProgram: it is in the keyring, and secret-tool is not installed.
    """
    ask = _ask.get()
    if ask is None:
        raise StateError("the disk is encrypted, and this cannot be done with an encrypted disk")
    return ask()


def from_file(path: Path) -> bytes:
    """The passphrase in `path`: its one line, without a line feed at the end.

    Raises:
        StateError: it does not exist, is not a file, is open to other users, is empty, or has more than one line of
        text.
    """
    shown = shlex.quote(str(path))
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        hint = f"put it back; or, for a machine that is still to be made: {making_hint(path)}"
        raise StateError(f"the passphrase file {path} is not there", hint=hint) from None
    except OSError as failure:
        raise StateError(f"the passphrase file {path} cannot be read: {failure.strerror}") from failure
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise StateError(f"the passphrase file {path} is not a file")
        if found.st_uid != os.geteuid():
            raise StateError(f"the passphrase file {path} is another user's", hint=f"sudo chown {os.geteuid()} {shown}")
        if found.st_mode & 0o077:
            raise StateError(f"other users may read or write the passphrase file {path}", hint=f"chmod 600 {shown}")
        phrase = os.read(fd, _MOST_BYTES + 2)  # one read returns up to this much of a regular file
    finally:
        os.close(fd)
    return checked(phrase.removesuffix(b"\n"), f"the passphrase file {path}", making_hint(path))


def making_hint(path: Path) -> str:
    """The command that makes a passphrase file."""
    return f"(umask 077; head -c {_RANDOM_BYTES} /dev/urandom | base64 > {shlex.quote(str(path))})"


def checked(phrase: bytes, where: str, hint: str) -> bytes:
    """The passphrase, if QEMU accepts it: 1 to 1024 bytes of UTF-8 in one line.

    Raises:
        StateError: QEMU would not accept it.
    """
    wrong = None
    if not phrase:
        wrong = "is empty"
    elif len(phrase) > _MOST_BYTES:
        wrong = f"holds more than {_MOST_BYTES} bytes"
    elif any(each in phrase for each in b"\n\r\0"):
        wrong = "holds more than one line of text, or a line that does not end as lines do on Linux"
    else:
        try:
            phrase.decode()
        except UnicodeDecodeError:
            wrong = "is no text (UTF-8)"
    if wrong is not None:
        raise StateError(f"{where} {wrong}", hint=f"it is to hold one line, such as: {hint}")
    return phrase


def new_random() -> tuple[bytes, int]:
    """A passphrase that cannot be guessed, and the time that each opening with it computes, in milliseconds."""
    import secrets  # here, because it imports hashlib and more, and only the making of a machine needs it

    return secrets.token_urlsafe(_RANDOM_BYTES).encode(), luks.QUICK_MS


def shown_lookup(uuid: str) -> str:
    """The command that prints the passphrase in the keyring."""
    return shlex.join(["secret-tool", "lookup", *_attributes(uuid)])


def shown_store(uuid: str, name: str) -> str:
    """The command that asks for a passphrase and puts it into the keyring."""
    return shlex.join(["secret-tool", "store", f"--label={_label(name)}", *_attributes(uuid)])


def from_keyring(uuid: str) -> bytes | None:
    """The keyring's passphrase for the machine with this UUID; None: it has none, or stays locked.

    Raises:
        MissingProgram: secret-tool is not installed.
        StateError: there is no keyring in this session, or nobody unlocked it in time.
    """
    done = _secret_tool("lookup", *_attributes(uuid))
    if done.returncode == 0 and done.stdout:
        return checked(done.stdout.removesuffix(b"\n"), "the keyring's passphrase", shown_store(uuid, "NAME"))
    if said := done.stderr.decode(errors="replace").strip():
        raise _no_keyring(said)
    return None


def to_keyring(uuid: str, name: str, phrase: bytes) -> None:
    """Store the passphrase of machine `name` in the keyring, and check that it is there.

    Raises:
        MissingProgram: secret-tool is not installed.
        StateError: there is no keyring in this session, or it does not store it.
    """
    done = _secret_tool("store", f"--label={_label(name)}", *_attributes(uuid), phrase=phrase)
    if done.returncode != 0 or from_keyring(uuid) != phrase:
        raise _no_keyring(done.stderr.decode(errors="replace").strip() or "it has not kept what it was given")


def forget_in_keyring(uuid: str) -> None:
    """Remove an unneeded passphrase from the keyring. Raises as `from_keyring`."""
    _secret_tool("clear", *_attributes(uuid))


def _secret_tool(*words: str, phrase: bytes = b"") -> process.Completed:
    hint = "install secret-tool (Debian: libsecret-tools), or set passphrase_file"
    process.which("secret-tool", hint=hint)
    try:
        return process.run(["secret-tool", *words], input=phrase, timeout_s=_KEYRING_S, check=False)
    except DeadlineError as late:
        raise _no_keyring(f"nobody unlocked it within {_KEYRING_S:g} s") from late


def _no_keyring(said: str) -> StateError:
    return StateError(
        f"the keyring cannot be used: {said}",
        hint="unlock it in your desktop session and try again there; or set passphrase_file, which needs no keyring",
    )


def _attributes(uuid: str) -> list[str]:
    return ["application", "pommel", "machine", uuid]


def _label(name: str) -> str:
    return f"Pommel: the disks of {name}"
