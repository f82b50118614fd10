"""The page as an app of a phone or a desk: its manifest (W3C Web App Manifest). Band: core, no I/O.

There is no service worker: nothing is kept that could be older than the console. All addresses are relative to the
manifest's own, which lies beside the page, so that a reverse proxy may have a prefix before it; the page's is that of a
pass, without a token. So whoever installs the page has the pass in the cookie of that path, which must outlive the
browser (`Door`).
"""

from __future__ import annotations

TYPE = "application/manifest+json"
_ICONS = (("icon-192.png", 192, "any"), ("icon-512.png", 512, "any"), ("icon-whole-512.png", 512, "maskable"))


def manifest(name: str, title: str) -> dict[str, object]:
    """Give the manifest of the page that shows `name`, which people know as `title`."""
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
