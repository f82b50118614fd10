"""Guests that lie: what they say ends nothing here, and holds nothing up."""

from __future__ import annotations

import sys

import pytest

from pommel.clipboard.host import HostClipboard
from pommel.clipboard.sync import Settings
from waits import until

from .conftest import Clip, syncing

FAST = Settings(backoff_s=(0.05, 0.1), every_ms=10, ping_s=5.0)
# Has what the host has, then copies the HTML, then a word.
HTML_THEN_TEXT = r"""
import sys, time
out, html = sys.stdout.buffer, sys.argv[1].encode() * int(sys.argv[2])
out.write(b"POMMEL-CLIPBOARD 1 mac text,html\ncopy 1 raw text:16 +16\nat the beginning")
out.write(b"copy 2 raw html:%d +%d\n" % (len(html), len(html)) + html + b"copy 3 raw text:4 +4\nnext")
out.flush()
time.sleep(60)
"""


@pytest.mark.parametrize(("html", "times"), [("<![foo[x]]>", 1), ("<![", 4), ("<a ", 12_000), ("&#" + "9" * 5000, 1)])
async def test_html_neither_ends_nor_holds_up_the_sync(
    x11: HostClipboard, host_clip: Clip, html: str, times: int
) -> None:
    async with syncing([sys.executable, "-c", HTML_THEN_TEXT, html, str(times)], x11, FAST) as sync:
        await until(lambda: host_clip.paste() == b"next", 5.0)
        assert sync.snapshot.connections == 1
