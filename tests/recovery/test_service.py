"""Apple's protocol: bodies whole, replies read or refused, URLs without tricks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.errors import RecoveryError
from pommel.recovery.catalog import Board
from pommel.recovery.service import (
    ASSET_HOSTS,
    REPLY_BYTES_MAX,
    WAIT_MAX_S,
    Asset,
    HttpVerdict,
    after_asset,
    after_post,
    asset_headers,
    back_off_s,
    check_url,
    parse_reply,
    request_body,
    retry_after_s,
    session_cookie,
)

FOLDER = "http://oscdn.apple.com/content/downloads/10/50/001-51031/xyz/RecoveryImage"
TOKEN = "expires=1790000000~access=/content/downloads/10/*~md5=00ff"
REPLY = {
    "AP": "041-1",
    "AU": f"{FOLDER}/BaseSystem.dmg",
    "AH": "A1",
    "AT": TOKEN,
    "CU": f"{FOLDER}/BaseSystem.chunklist",
    "CH": "B2",
    "CT": "t2",
}


def reply(**changes: str | None) -> bytes:
    return "".join(f"{k}: {v}\n" for k, v in {**REPLY, **changes}.items() if v is not None).encode()


def test_request_body_whole() -> None:
    body = request_body(Board("Mac-27AD2F918AE68F61"), lambda count: b"\xab" * count)
    assert (
        body
        == (
            f"cid={'AB' * 8}\nsn={'0' * 17}\nbid=Mac-27AD2F918AE68F61\nk={'AB' * 32}\nfg={'AB' * 32}\nos=latest"
        ).encode()
    )


@pytest.mark.parametrize(
    "board", [Board("Mac-27AD2F918AE68F61\nos=x"), Board("x"), Board("Mac-27AD2F918AE68F61", "0" * 16)]
)
def test_no_board_no_body(board: Board) -> None:
    with pytest.raises(RecoveryError, match="is not a board"):
        request_body(board, bytes)


def test_the_session_is_found_wherever_it_stands() -> None:
    assert session_cookie(["geo=HU; path=/", "session=12~AB; path=/; HttpOnly"]) == "session=12~AB"


@pytest.mark.parametrize("cookies", [[], ["x=session=1"], ["session="], ["session=a b"], ["session=a\r\nX: y"]])
def test_no_session(cookies: list[str]) -> None:
    with pytest.raises(RecoveryError, match="no session"):
        session_cookie(cookies)


def test_reply_whole_with_carriage_returns_and_keys_unknown() -> None:
    answer = parse_reply(b"XX: y: z\r\nnothing\r\n" + reply().replace(b"\n", b"\r\n"))
    assert answer.image == Asset(REPLY["AU"], TOKEN, "A1")
    assert answer.chunklist == Asset(REPLY["CU"], "t2", "B2")
    assert (answer.ap, answer.product) == ("041-1", "001-51031")
    assert (answer.image.expires, answer.chunklist.expires) == (1790000000, None)
    assert (answer.image.file_name, answer.chunklist.file_name) == ("BaseSystem.dmg", "BaseSystem.chunklist")


def test_product_falls_back_to_ap() -> None:
    assert parse_reply(reply(AU="https://oscdn.apple.com/x/RecoveryImage.dmg")).product == "041-1"


@pytest.mark.parametrize("key", sorted(REPLY))
def test_each_of_seven_keys_is_needed(key: str) -> None:
    for value in (None, ""):
        with pytest.raises(RecoveryError, match=f"{key} missing"):
            parse_reply(reply(**{key: value}))


def test_tokens_cannot_smuggle_headers() -> None:
    for token in ("a b", "a;b", "a\tb", "é"):
        with pytest.raises(RecoveryError, match="AT is not a token"):
            parse_reply(reply(AT=token))


def test_a_reply_has_a_limit() -> None:
    with pytest.raises(RecoveryError, match="longer"):
        parse_reply(reply() + b" " * REPLY_BYTES_MAX)


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example/a.dmg",
        "http://oscdn.apple.com.evil.example/a.dmg",
        "http://oscdn.apple.com@evil.example/a.dmg",
        "http://user@oscdn.apple.com/a.dmg",
        "http://oscdn.apple.com:8080/a.dmg",
        "file://oscdn.apple.com/etc/a.dmg",
        "ftp://oscdn.apple.com/a.dmg",
        "//oscdn.apple.com/a.dmg",
        "http://oscdn.apple.com/../a.dmg",
        "http://oscdn.apple.com/x//a.dmg",
        "http://oscdn.apple.com/x/.dmg",
        "http://oscdn.apple.com/x%2f..%2fa.dmg",
        "http://oscdn.apple.com/x\\a.dmg",
        "http://oscdn.apple.com/a.dmg?x=1",
        "http://oscdn.apple.com/a.dmg#x",
        "http://oscdn.apple.com/a.dmg?",
        "http://oscdn.apple.com/a.iso",
        "http://oscdn.apple.com",
        "http://[oscdn.apple.com/a.dmg",
        "http://oscdn.apple.com/a\n.dmg",
        "",
    ],
)
def test_urls_refused(url: str) -> None:
    with pytest.raises(RecoveryError, match="cannot be used"):
        check_url(url, ".dmg", ASSET_HOSTS)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=300) | st.text(max_size=60).map(lambda text: reply(AU=text)))
def test_any_reply_is_read_or_refused(body: bytes) -> None:
    try:
        answer = parse_reply(body)
    except RecoveryError:
        return
    assert answer.image.url.startswith(("http://oscdn.apple.com/", "http://osrecovery.apple.com/"))


def test_verdicts() -> None:
    assert [after_post(s) for s in (200, 401, 403, 404, 429, 500, 503)] == [
        HttpVerdict.TAKE,
        HttpVerdict.RENEW,
        HttpVerdict.REFUSED,
        HttpVerdict.REFUSED,
        HttpVerdict.WAIT,
        HttpVerdict.WAIT,
        HttpVerdict.WAIT,
    ]
    assert {after_asset(s) for s in (401, 403, 404, 410, 416)} == {HttpVerdict.RENEW}
    assert {after_asset(s) for s in (200, 206)} == {HttpVerdict.TAKE}
    assert {f(s) for f in (after_asset, after_post) for s in (301, 302, 400, 418)} == {HttpVerdict.FAIL}
    assert {f(s) for f in (after_asset, after_post) for s in (429, 500, 502)} == {HttpVerdict.WAIT}


def test_asset_headers() -> None:
    assert "Range" not in asset_headers("t")
    headers = asset_headers("t", 0, 9)
    assert (headers["Cookie"], headers["Range"]) == ("AssetToken=t", "bytes=0-9")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 7\x1d", 7.0),
        ("\u0667", None),
        ("99999", WAIT_MAX_S),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, now=60.0) == seconds


def test_back_off_grows_to_a_limit() -> None:
    assert [back_off_s(count, 1.0) for count in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert back_off_s(3, 0.0) == 4.0
