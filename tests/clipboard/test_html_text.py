from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.clipboard.html_text import plain_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a<br>b", "a\nb"),
        ("<p>one</p>\n<p>two</p>", "one\ntwo"),
        ("<head><title>no</title><style>b{}</style></head><body>yes &amp; so</body>", "yes & so"),
        ("<head><meta charset=x><body>open head", "open head"),
        ("<ul><li>a<li>b</ul>", "a\nb"),
        ("<script>no()</script>", ""),
        ("<SCRIPT>if (a</script>x<style>a</styles></Style >y", "xy"),
        ("1 < 2 &lt; 3 & 4 &#x1F34E; &#246;&notit;", "1 < 2 < 3 & 4 🍎 ö¬it;"),
        ("<a title='>' href=\"a>b\" x=y>in</a> out", "in out"),
        ("<a x=b'c>in</a> <a '>out</a>", "in out"),
        ("a<!-- <p> -->b<!-->c<!--->d<!--x--!>e", "abcde"),
        ("<!DOCTYPE html>x<?php no ?>y<![CDATA[z]]></>!", "xy!"),
        ("<![if !supportLists]>·<![endif]>item<o:p></o:p>", "·item"),
        ("a <", "a <"),
        ("a </", "a </"),
        ("a <3 </3", "a <3"),
        ("seen <a href='no end> hidden", "seen"),
        ("seen <!-- no end", "seen"),
        ("seen <script>no end", "seen"),
        ("nul\0 \r\n two   spaces\nline", "nul\ufffd two spaces line"),
    ],
)
def test_plain_text(html: str, text: str) -> None:
    assert plain_text(html.encode()) == text.encode()


@pytest.mark.parametrize(
    "html",
    [
        b"<![",
        b"<![foo[x]]>",
        b"<![<![",
        b"<!DOCTYPE [<!x>]>",
        b"&#" + b"9" * 5000 + b";",
        b"&#x" + b"f" * 5000,
        b"&#xd800;&#0;&#x110000;",
    ],
)
def test_what_ends_other_parsers(html: bytes) -> None:
    plain_text(html).decode()


@given(
    st.binary()
    | st.lists(st.sampled_from([*"<>!-/?='\"& #x;a9[]\n", "script", "<!--", "</"])).map("".join).map(str.encode)
)
def test_any_bytes_are_some_html(html: bytes) -> None:
    plain_text(html).decode()


_BEGUN = (
    b"<!--",
    b"<a ",
    b"<![",
    b"<!",
    b"<?",
    b"</a",
    b"<a b='",
    b"&#",
    b"<script>",
    b"<",
    b"<a =",
    b"&#9",
    b"&a",
    b"<p>a",
)


@pytest.mark.parametrize("begun", _BEGUN)
def test_twice_as_much_takes_twice_as_long(begun: bytes) -> None:
    """A megabyte in well under a second each; what is quadratic takes hours."""
    html = begun * ((1 << 20) // len(begun))
    began = time.process_time()
    plain_text(html)
    assert time.process_time() - began < 5
