from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.clipboard.content import (
    EMPTY,
    HTML,
    HTML_TEXT_MAX,
    PNG,
    RTF,
    TEXT,
    URIS,
    URIS_MAX,
    Content,
    HeldBack,
    content_of,
    foreign,
    text_of,
)

META = b'<meta charset="utf-8">'


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_text_keeps_its_bytes(text: str) -> None:
    content = text_of(text)
    assert (content.text or b"") == text.encode()
    assert content.empty == (text == "")


@pytest.mark.parametrize(
    "text", ["two\n\n", "dos\r\nlines\r\n", "\ufeffmark", "e\u0301 is not \xe9", " ", "\U0001f34e"]
)
def test_nothing_is_tidied(text: str) -> None:
    assert text_of(text).text == text.encode()


@pytest.mark.parametrize(
    ("text", "why"), [(b"a\0b", HeldBack.NUL), (b"\xff\xfe", HeldBack.NOT_UTF8), (b"x" * 11, HeldBack.TOO_LARGE)]
)
def test_what_cannot_travel_is_held_back_whole(text: bytes, why: HeldBack) -> None:
    content = content_of({TEXT: text, HTML: b""}, limit=10)
    assert (content.forms, content.held, content.size) == ((), why, len(text))
    assert not content.empty


def test_the_limit_is_of_all_forms_and_may_be_met() -> None:
    assert content_of({TEXT: b"12345", RTF: b"12345"}, limit=10).held is None
    assert content_of({TEXT: b"12345", RTF: b"123456"}, limit=10).held is HeldBack.TOO_LARGE


def test_html_says_its_charset_and_has_its_text() -> None:
    content = content_of({HTML: "<p>grün</p>".encode()})
    assert content.get(HTML) == META + "<p>grün</p>".encode()
    assert content.text == "grün".encode()
    assert content.names == (TEXT, HTML)
    said = b'<html><head><meta http-equiv="content-type" content="text/html; charset=utf-8">'
    assert content_of({HTML: said}).get(HTML) == said
    assert content_of({HTML: "\ufeff<b>\u00fc</b>".encode("utf-16-le")}).text == "\ufeff\u00fc".strip("\ufeff").encode()
    assert content_of({HTML: b'<img src="x">', PNG: b"p"}).names == (HTML, PNG)


@given(st.binary())
def test_any_bytes_are_some_html(html: bytes) -> None:
    content_of({HTML: html})


def test_html_without_text_gets_it_up_to_a_size() -> None:
    html = META + b"a" * (HTML_TEXT_MAX - len(META))
    assert content_of({HTML: html}).names == (TEXT, HTML)
    assert content_of({HTML: html + b"a"}).names == (HTML,)
    assert content_of({HTML: html + b"a", TEXT: b"a"}).names == (TEXT, HTML)


def test_a_list_of_files_has_a_limit_of_its_own() -> None:
    assert content_of({URIS: b"x" * URIS_MAX}).held is None
    assert content_of({URIS: b"x" * (URIS_MAX + 1)}).held is HeldBack.TOO_LARGE


def test_forms_have_an_order_and_strangers_are_left_out() -> None:
    content = content_of([("text/x", b"x"), (RTF, b"r"), (TEXT, b"t")])
    assert content.forms == ((TEXT, b"t"), (RTF, b"r"))
    assert content == content_of([(TEXT, b"t"), (RTF, b"r")])


def test_only() -> None:
    content = content_of({TEXT: b"t", RTF: b"r"})
    assert content.only({TEXT, RTF, PNG}) is content
    assert content.only({TEXT}) == text_of("t")
    assert content.only({PNG}) == foreign([TEXT, RTF], size=2)
    assert EMPTY.only(set()) is EMPTY


def test_digest_tells_contents_apart() -> None:
    contents = [
        EMPTY,
        text_of("a"),
        text_of("ab"),
        content_of({RTF: b"a"}),
        content_of({TEXT: b"a", RTF: b"b"}),
        content_of({URIS: b"a"}),
        *(Content(held=why) for why in HeldBack),
    ]
    assert len({content.digest for content in contents}) == len(contents)
    assert text_of("a").digest == text_of(b"a").digest


def test_within() -> None:
    rich = content_of({TEXT: b"t", RTF: b"r"})
    assert text_of("t").within(rich) and rich.within(rich)
    assert not text_of("x").within(rich) and not EMPTY.within(rich) and not rich.within(text_of("t"))
