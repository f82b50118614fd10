"""Asking a console that serves for new links, from another process. Band: app."""

from __future__ import annotations

import hashlib
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from pommel.errors import MachineError

_ANSWER_S = 10.0


def ask_for_new(url: str, whose: str, *, hint: str, fingerprint: str = "") -> None:
    """Have the console whose page is at `url`, token included, make its links anew and write them down.

    With TLS it is known by its certificate's `fingerprint`, whoever has signed that, before it is told anything.

    Raises:
        MachineError: it did not answer, or could not write them down; it is called `whose`.
    """
    at = urlsplit(url)
    connection = _connection(at.scheme, at.hostname or "", at.port)  # whatever proxies there are
    try:
        connection.connect()
        if isinstance(connection.sock, ssl.SSLSocket):
            shown = hashlib.sha256(connection.sock.getpeercert(binary_form=True) or b"").hexdigest()
            if shown != fingerprint.replace(":", "").lower():
                raise ssl.SSLError("the certificate there is not the console's own")
        connection.request("POST", f"/api/new-token?{at.query}")
        answer = connection.getresponse()
        told = "" if answer.status == 200 else f"it answered {answer.status} {answer.reason}"
    except (OSError, HTTPException) as failure:
        told = str(failure) or type(failure).__name__
    finally:
        connection.close()
    if told:
        raise MachineError(f"{whose} created no new link: {told}", hint=hint)


def _connection(scheme: str, host: str, port: int | None) -> HTTPConnection:
    if scheme != "https":
        return HTTPConnection(host, port, timeout=_ANSWER_S)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the fingerprint is what counts
    return HTTPSConnection(host, port, timeout=_ANSWER_S, context=context)
