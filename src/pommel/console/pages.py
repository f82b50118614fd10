"""The headers of the console's web server, and the pages that refuse a request. Band: core, no I/O."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from html import escape

from pommel.console.telling import Advice

_STYLE = (
    ":root{color-scheme:light dark;background:Canvas;color:CanvasText;font:16px/1.5 system-ui,sans-serif}"
    "body{display:grid;place-content:center;min-height:100vh;margin:0;padding:0 1.5rem;box-sizing:border-box}"
    "main{max-width:34rem}h1{font-size:1.25rem;margin:0 0 .5rem}p{margin:.5rem 0}"
    "code{font:.95em ui-monospace,monospace;padding:.1em .4em;border-radius:.3em;background:#8883}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_SHUT = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# The refusal pages below contain their own style and nothing else.
REFUSAL_CSP = f"{_SHUT}; img-src data:; style-src 'sha256-{_STYLE_HASH}'"

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
    "Server": "pommel",
}


def page_csp(host: str) -> str:
    """The page's Content-Security-Policy. `host` is the Host header, which must be checked before."""
    return (
        f"{_SHUT}; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; manifest-src 'self'; "
        # in some browsers, 'self' does not include the WebSocket
        f"connect-src 'self' ws://{host} wss://{host}"
    )


def filled(html: str, words: Mapping[str, str]) -> str:
    """Replace each name in double braces in `html` by its value in `words`, escaped. Values are not searched again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: escape(words[place[1]]), html)


def no_token(name: str, advice: Advice) -> str:
    """The page for a missing or wrong token. Strangers may see it, so `advice` must have nothing private."""
    before, command, after = map(escape, advice)
    return _page(
        "This console needs its access token",
        f"<p>On the computer that serves <b>{escape(name)}</b>: {before}</p>"
        f"<p><code>{command}</code></p><p>{after}</p>",
    )


def needs_tls() -> str:
    """The page for plain HTTP on a TLS port. It does not repeat the address, which may have the token."""
    return _page(
        "This console uses https",
        "<p>Begin the address with <code>https://</code>. The rest of the address does not change.</p>",
    )


def wrong_host(host: str, port: int, scheme: str = "http") -> str:
    """The page for a wrong host name: it shows the right address."""
    return _page(
        "This console does not accept this host name",
        f"<p>You used the name <code>{escape(host[:100])}</code>. Open it as "
        f"<code>{scheme}://127.0.0.1:{port}/</code>, if needed through an SSH tunnel with the same port number on "
        "both sides.</p>",
    )


def no_host() -> str:
    """The page for a request without a valid Host header."""
    return _page("Refused", "<p>The request has no Host header, which HTTP requires.</p>")


def full() -> str:
    """The page for too many viewers."""
    return _page("This console has too many viewers", "<p>Close the page of another viewer, then reload this page.</p>")


def wrong_origin() -> str:
    """The page for a request from another site's page."""
    return _page("Refused", "<p>Another site's page asked for this console. Only its own page may.</p>")


def view_only() -> str:
    """The page for a request that a view-only link does not allow."""
    return _page("Refused", "<p>This is a view-only link.</p>")


def onward(path: str) -> str:
    """A page that sends the browser to the address without the token.

    A redirect does not work here: browsers do not send a Strict cookie in a redirect that began on another site.
    """
    refresh = f'<meta http-equiv="refresh" content="0;url={escape(path)}">'
    return _page("Opening…", f'<p><a href="{escape(path)}">Open the console</a></p>', refresh)


def _page(title: str, body: str, head: str = "") -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        # without this, browsers request /favicon.ico
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"{head}<style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
