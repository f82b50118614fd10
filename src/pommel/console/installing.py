"""The page as an app of a phone or a desk: its manifest (W3C Web App Manifest). Band: core, no I/O.

There is no service worker, so the browser stores nothing that could be older than the console. All addresses are
relative to the manifest's own address, which is beside the page, because a reverse proxy may add a prefix. The page's
address is that of a pass, without a token. So an installed page gets in by the cookie of that path, and that cookie
must last longer than the browser's session (`ConsoleDoor`).
"""

from __future__ import annotations

TYPE = "application/manifest+json"
_ICONS = (("icon-192.png", 192, "any"), ("icon-512.png", 512, "any"), ("icon-whole-512.png", 512, "maskable"))


def manifest(name: str, title: str) -> dict[str, object]:
    """The manifest of the page for `name`, with the title `title`."""
    return {
        "name": f"{title or name} · Pommel",
        "short_name": title or name,
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "background_color": "#141517",
        "theme_color": "#232427",
        "icons": [
            {"src": f"static/{file}", "sizes": f"{side}x{side}", "type": "image/png", "purpose": purpose}
            for file, side, purpose in _ICONS
        ],
    }
