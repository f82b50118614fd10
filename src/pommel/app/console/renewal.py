"""Ask a running console for new links, from another process. Band: app."""

from __future__ import annotations

import hashlib
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from pommel.errors import MachineError

_ANSWER_S = 10.0


def ask_for_new(url: str, whose: str, *, hint: str, fingerprint: str = "") -> None:
    """Ask the console at `url` (with its token) to make new links and store them.

    With TLS, the certificate's `fingerprint` is checked before anything is sent; its issuer does not matter.

    Raises:
        MachineError: it did not answer, or could not store them. `whose` is its name in the message.
    """
    at = urlsplit(url)
    connection = _connection(at.scheme, at.hostname or "", at.port)  # never through a proxy
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
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the fingerprint is checked instead
    return HTTPSConnection(host, port, timeout=_ANSWER_S, context=context)
