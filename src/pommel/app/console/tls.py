"""Whether a console uses TLS, and which certificate: one rule for every command that opens a page. Band: app.

Options of a command override the machine's settings. `tls` without files uses the certificate that Pommel makes, one
for each home. Certificate files turn TLS on by themselves.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pommel import account
from pommel.errors import UsageError

if TYPE_CHECKING:
    from pommel.app.workspace import Workspace
    from pommel.console.tls import Tls

Level = Literal["ok", "warn", "fail"]
OWN = "self-signed"
_OTHERS_READ = 0o077
_SOON = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class TlsWish:
    """The wish for a console's TLS; None: not set. The key may be in the file `cert`."""

    tls: bool | None = None
    cert: Path | None = None
    key: Path | None = None

    @property
    def says_something(self) -> bool:
        """Whether anything is set."""
        return self != TlsWish()

    @property
    def is_on(self) -> bool:
        """Whether TLS is wanted."""
        return self.tls if self.tls is not None else self.cert is not None

    @property
    def kind(self) -> str:
        """The certificate as a word for the console's record: empty (no TLS), OWN, or the file's path."""
        return "" if not self.is_on else OWN if self.cert is None else str(self.cert)

    def words(self) -> list[str]:
        """The wish as options of a command."""
        found = [] if self.tls is None else ["--tls" if self.tls else "--no-tls"]
        found += ["--tls-cert", str(self.cert)] if self.cert is not None else []
        return found + (["--tls-key", str(self.key)] if self.key is not None else [])


def wish(tls: bool | None, cert: Path | None, key: Path | None) -> TlsWish:
    """The wish from a command's options, with absolute paths.

    Raises:
        UsageError: the options contradict each other.
    """
    if key is not None and cert is None:
        raise UsageError(f"the key {key} has no certificate", hint="pass the certificate too: --tls-cert FILE")
    if tls is False and cert is not None:
        raise UsageError(f"--no-tls cannot be used with the certificate {cert}", hint="leave one of them out")
    return TlsWish(tls, *(account.expand(path).absolute() if path is not None else None for path in (cert, key)))


def wish_for(workspace: Workspace, name: str, said: TlsWish) -> TlsWish:
    """The wish for machine `name`: `said` from the command, or else its settings.

    Raises:
        UsageError: the settings contradict each other.
    """
    spec = workspace.spec(name)
    cert, key = (
        workspace.beside(name, path) if path is not None else None
        for path in (spec.console_tls_cert, spec.console_tls_key)
    )
    if key is not None and cert is None:
        raise UsageError(f"console_tls_key of {name} has no certificate", hint="set console_tls_cert too")
    if said.cert is not None or said.tls is False:
        return said
    return TlsWish(spec.console_tls if said.tls is None else said.tls, cert, key)


def tls_of(wanted: TlsWish, folder: Path, host: str | None = None, allowed: Iterable[str] = ()) -> Tls | None:
    """A console's TLS, checked; None: no TLS is wanted.

    Pommel's own certificate is stored in `folder`, and is valid for the address `host` and the names `allowed`.

    Raises:
        UsageError: the certificate or its key cannot be used.
        OSError: Pommel's own certificate cannot be written.
    """
    if not wanted.is_on:
        return None
    from pommel.console.tls import Tls, read

    if wanted.cert is not None:
        return Tls(partial(read, wanted.cert, wanted.key or wanted.cert))
    from pommel.console.self_signed import names_of, own_certificate

    return Tls(partial(own_certificate, folder, names_of(host, allowed)))


def check(wanted: TlsWish) -> None:
    """Check the certificate files before anything else is done.

    Raises:
        UsageError: they cannot be used.
    """
    if wanted.is_on and wanted.cert is not None:
        from pommel.console.tls import read

        read(wanted.cert, wanted.key or wanted.cert)


def check_for(workspace: Workspace, name: str, said: TlsWish | None = None) -> None:
    """As `check`, for the console of machine `name`."""
    check(wish_for(workspace, name, said or TlsWish()))


def look(workspace: Workspace, name: str) -> tuple[Level, str, str | None] | None:
    """For `doctor`: the certificate of machine `name`'s console, as level, text, and what to do. None: no TLS."""
    wanted = wish_for(workspace, name, TlsWish())
    if not wanted.is_on:
        return None
    if wanted.cert is None:
        return "ok", "created by Pommel, and renewed before it expires", None
    from pommel.console.tls import read

    try:
        found = read(wanted.cert, wanted.key or wanted.cert)
    except UsageError as wrong:
        return "fail", wrong.message, wrong.hint
    until = f"{found.cert}, valid until {found.ends:%Y-%m-%d}"
    if found.key.stat().st_mode & _OTHERS_READ:
        mend = f"chmod go= {shlex.quote(str(found.key))}"
        return "warn", f"{until}; other users of this host can read its key {found.key}", mend
    if found.ends - datetime.now(UTC) < _SOON:
        return "warn", until, "renew it; a running console uses the new certificate automatically"
    return "ok", until, None
