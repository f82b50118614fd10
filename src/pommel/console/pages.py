"""What the console's web server says besides the page: headers, and the pages that refuse. Band: core, no I/O."""

from __future__ import annotations

import base64
import hashlib
from html import escape

_STYLE = (
    ":root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}"
    "body{display:grid;place-content:center;min-height:100vh;margin:0;padding:0 1.5rem;box-sizing:border-box}"
    "main{max-width:34rem}h1{font-size:1.25rem;margin:0 0 .5rem}p{margin:.5rem 0}"
    "code{font:.95em ui-monospace,monospace;padding:.1em .4em;border-radius:.3em;background:#8883}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_SHUT = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# The refusals below carry their own style and nothing else.
REFUSAL_CSP = f"{_SHUT}; style-src 'sha256-{_STYLE_HASH}'"

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
    """Give the page's Content-Security-Policy. `host` is the Host header, checked before."""
    return (
        f"{_SHUT}; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        # not every browser takes 'self' to mean the WebSocket too
        f"connect-src 'self' ws://{host} wss://{host}"
    )


def no_token(name: str) -> str:
    """Say what to type when the token is missing or wrong."""
    return _page(
        "This console needs its access token",
        f"<p>On the computer that runs <b>{escape(name)}</b>, type</p>"
        f"<p><code>pommel console {escape(name)}</code></p>"
        "<p>and open the address that it prints.</p>",
    )


def wrong_host(host: str, port: int) -> str:
    """Say under which names the console answers."""
    return _page(
        "This console does not answer to that name",
        f"<p>You came by <code>{escape(host[:100])}</code>. Open it as <code>http://127.0.0.1:{port}/</code>, "
        "through an SSH tunnel if need be, with the same port number on both sides.</p>",
    )


def wrong_origin() -> str:
    """Say that another site's page asked."""
    return _page("Refused", "<p>Another site's page asked for this console. Only its own page may.</p>")


def onward() -> str:
    """Send the browser on to the clean address.

    By a page: a Strict cookie is not sent along a redirect that began on another site.
    """
    refresh = '<meta http-equiv="refresh" content="0;url=/">'
    return _page("Opening…", '<p><a href="/">Open the console</a></p>', refresh)


def _page(title: str, body: str, head: str = "") -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width">{head}<style>{_STYLE}</style></head>'
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
