"""Refusals that can be read, and headers that shut every door but the ones the page uses."""

from __future__ import annotations

import base64
import hashlib
import re

from pommel.console import pages
from pommel.console.telling import of_machine


def test_the_page_s_policy_allows_itself_and_its_own_socket() -> None:
    policy = dict(part.strip().split(" ", 1) for part in pages.page_csp("127.0.0.1:8600").split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob: data:",
        "manifest-src": "'self'",
        "connect-src": "'self' ws://127.0.0.1:8600 wss://127.0.0.1:8600",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_a_refusal_says_what_to_type_and_nothing_a_name_could_smuggle_in() -> None:
    html = pages.no_token("<b>mac</b>", of_machine("<b>mac</b>").door)
    assert "pommel console &#x27;&lt;b&gt;mac&lt;/b&gt;&#x27;" in html
    assert "<b>mac" not in html
    assert "&lt;script&gt;" in pages.wrong_host("<script>", 8600)
    assert "http://127.0.0.1:8600/" in pages.wrong_host("x", 8600)


def test_a_refusal_s_style_is_the_one_its_policy_allows() -> None:
    style = re.search("<style>(.*)</style>", pages.wrong_origin())
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in pages.REFUSAL_CSP
    assert "script-src" not in pages.REFUSAL_CSP
    assert "default-src 'none'" in pages.REFUSAL_CSP


def test_the_way_onward_is_clean() -> None:
    assert '<meta http-equiv="refresh" content="0;url=./">' in pages.onward("./")
    html = pages.onward('at/x/?token=a&"><b>')
    assert 'content="0;url=at/x/?token=a&amp;&quot;&gt;&lt;b&gt;"' in html and "<b>" not in html
