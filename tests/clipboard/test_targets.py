from __future__ import annotations

from pommel.clipboard.content import FORMS, HTML, JPEG, PNG, PORTABLE, RTF, TEXT, TIFF, URIS, content_of
from pommel.clipboard.targets import FILES, NAMES, chosen, offers, received


def test_the_best_name_of_each_form() -> None:
    offered = {"TARGETS", "STRING", "text/html", "text/plain", "UTF8_STRING", "application/rtf", "image/bmp"}
    assert chosen(offered, PORTABLE) == [(TEXT, "UTF8_STRING"), (HTML, "text/html"), (RTF, "application/rtf")]
    assert chosen(offered, {HTML}) == [(HTML, "text/html")]
    assert chosen({"x"}, FORMS) == []


def test_pictures_where_there_is_no_text() -> None:
    assert chosen({"image/png", "image/tiff", "text/html"}, FORMS) == [(HTML, "text/html"), (PNG, "image/png")]
    assert chosen({"image/tiff"}, FORMS) == [(TIFF, "image/tiff")]
    assert chosen({"image/png", "STRING"}, FORMS) == [(TEXT, "STRING")]
    assert chosen({"image/bmp", "image/jpeg", "image/tiff"}, FORMS) == [(TIFF, "image/tiff")]
    assert chosen({"image/x-MS-bmp", "image/jpeg"}, FORMS) == [(JPEG, "image/jpeg")]
    assert chosen({"image/bmp", "image/jpeg"}, PORTABLE) == []


def test_files_alone() -> None:
    assert chosen({"text/uri-list", FILES, "UTF8_STRING"}, FORMS) == [(URIS, FILES)]
    assert chosen({"text/uri-list", "UTF8_STRING"}, FORMS) == [(URIS, "text/uri-list")]
    assert chosen({"text/uri-list", "UTF8_STRING"}, PORTABLE) == [(TEXT, "UTF8_STRING")]


def test_received() -> None:
    assert received("STRING", b"gr\xfc\xdf") == "grüß".encode()
    assert received(FILES, b"copy\nfile:///a\nfile:///b%20c\n") == b"file:///a\r\nfile:///b%20c\r\n"
    assert received(FILES, b"cut\nfile:///a") == b"# cut\r\nfile:///a\r\n"
    assert received("UTF8_STRING", b"a\r\n\n") == b"a\r\n\n"


def test_offers() -> None:
    latin = {name: make() for name, make in offers(content_of({TEXT: "ü".encode()})).items()}
    assert latin == {name: (b"\xfc" if name == "STRING" else "ü".encode()) for name in (*NAMES[TEXT], "TEXT")}
    assert "STRING" not in offers(content_of({TEXT: "π".encode()}))
    files = content_of({URIS: b"file:///a\r\nfile:///b\r\n"})
    assert {name: make() for name, make in offers(files).items()} == {
        "text/uri-list": b"file:///a\r\nfile:///b\r\n",
        FILES: b"copy\nfile:///a\nfile:///b",
    }
    assert list(offers(content_of({PNG: b"p"}))) == ["image/png"]
