"""Whether a console serves by TLS, and with which certificate: one rule for every command that opens a page. Band: app.

What a command says goes before what the machine's settings say. `tls` alone takes the certificate that Pommel makes,
one for a home; files say TLS by themselves.
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
    """What somebody says of a console's TLS; None where they say nothing. `key` may be in the file `cert`."""

    tls: bool | None = None
    cert: Path | None = None
    key: Path | None = None

    @property
    def says_something(self) -> bool:
        """Whether anything is said."""
        return self != TlsWish()

    @property
    def is_on(self) -> bool:
        """Whether there is to be TLS."""
        return self.tls if self.tls is not None else self.cert is not None

    @property
    def kind(self) -> str:
        """Which certificate serves, as a console's record says it: none, OWN, or the file."""
        return "" if not self.is_on else OWN if self.cert is None else str(self.cert)

    def words(self) -> list[str]:
        """The same, as options of a command."""
        found = [] if self.tls is None else ["--tls" if self.tls else "--no-tls"]
        found += ["--tls-cert", str(self.cert)] if self.cert is not None else []
        return found + (["--tls-key", str(self.key)] if self.key is not None else [])


def wish(tls: bool | None, cert: Path | None, key: Path | None) -> TlsWish:
    """What is said, made absolute.

    Raises:
        UsageError: it contradicts itself.
    """
    if key is not None and cert is None:
        raise UsageError(f"the key {key} has no certificate", hint="pass the certificate too: --tls-cert FILE")
    if tls is False and cert is not None:
        raise UsageError(f"--no-tls cannot be used with the certificate {cert}", hint="leave one of them out")
    return TlsWish(tls, *(account.expand(path).absolute() if path is not None else None for path in (cert, key)))


def wish_for(workspace: Workspace, name: str, said: TlsWish) -> TlsWish:
    """What counts for machine `name`: what is `said` now, else what its settings say.

    Raises:
        UsageError: the settings contradict themselves.
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
    """A console's TLS, checked; None if there is to be none.

    `folder` is for the certificate that Pommel makes, for a console that listens on `host` and answers to `allowed`.

    Raises:
        UsageError: the certificate or its key cannot serve.
        OSError: the one that Pommel makes cannot be written.
    """
    if not wanted.is_on:
        return None
    from pommel.console.tls import Tls, read

    if wanted.cert is not None:
        return Tls(partial(read, wanted.cert, wanted.key or wanted.cert))
    from pommel.console.self_signed import names_of, own_certificate

    return Tls(partial(own_certificate, folder, names_of(host, allowed)))


def check(wanted: TlsWish) -> None:
    """See that the files that are named can serve, before anything else is begun.

    Raises:
        UsageError: they cannot.
    """
    if wanted.is_on and wanted.cert is not None:
        from pommel.console.tls import read

        read(wanted.cert, wanted.key or wanted.cert)


def check_for(workspace: Workspace, name: str, said: TlsWish | None = None) -> None:
    """The same, for the console of machine `name`."""
    check(wish_for(workspace, name, said or TlsWish()))


def look(workspace: Workspace, name: str) -> tuple[Level, str, str | None] | None:
    """How the certificate of machine `name`'s console stands, for `doctor`: level, words, and what mends it."""
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
