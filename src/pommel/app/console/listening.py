"""The port, address, names and TLS that a console was asked to use; stored in its record. Band: app."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pommel.app.console.tls import TlsWish


@dataclass(frozen=True, slots=True)
class Listening:
    """The request: port and address (None: the console chooses), names of a reverse proxy, TLS."""

    port: int | None = None
    host: str | None = None
    allow_host: tuple[str, ...] = ()
    tls: TlsWish = field(default_factory=TlsWish)

    def words(self) -> list[str]:
        """The request as options of `pommel console`."""
        words = ["--port", str(self.port)] if self.port else []
        words += ["--host", self.host] if self.host else []
        words += [word for allowed in self.allow_host for word in ("--allow-host", allowed)]
        return [*words, *self.tls.words()]

    def document(self) -> dict[str, Any]:
        """The request as a part of the console's record."""
        files = [str(path) if path is not None else None for path in (self.tls.cert, self.tls.key)]
        return {"port": self.port, "host": self.host, "allow_host": [*self.allow_host], "tls": [self.tls.tls, *files]}

    @classmethod
    def read(cls, document: object) -> Listening | None:
        """Read the result of `document`; None: it is something else."""
        try:
            said: Any = document
            on, cert, key = said["tls"]
            files = (Path(path) if path is not None else None for path in (cert, key))
            return cls(said["port"], said["host"], tuple(said["allow_host"]), TlsWish(on, *files))
        except (TypeError, KeyError, ValueError):
            return None

    def differs_from(self, before: Listening, port: int | None, *, says_tls: bool) -> str | None:
        """The first difference to the console that serves on `port` with the request `before`; None: there is none."""
        if self.port is not None and self.port not in (before.port, port):
            return f"not on port {self.port}"
        if self.host is not None and self.host != before.host:
            return f"it listens on {before.host or '127.0.0.1'}, not on {self.host}"
        if missing := [name for name in self.allow_host if name not in before.allow_host]:
            return f"it does not accept the host name {missing[0]}"
        if says_tls and self.tls.kind != before.tls.kind:
            names = {"": "without TLS", "self-signed": "with the certificate that Pommel makes"}
            now = names.get(before.tls.kind, f"with the certificate {before.tls.kind}")
            return f"{now}, not {names.get(self.tls.kind, f'with {self.tls.kind}')}"
        return None
