"""What a guest says of its clipboard (`clipboard`): frames, SFTP replies, HTML to be made text, lists of files."""

from __future__ import annotations

import html
import random
import struct
import zlib
from collections.abc import Callable, Iterable

from fuzz.engine import Fuzzer, Make, expect, expect_words, mixed, mutated, pieces
from pommel.clipboard import compound_text, frames
from pommel.clipboard.content import HTML, PNG, RTF, TEXT, URIS, Content, content_of
from pommel.clipboard.html_text import plain_text
from pommel.clipboard.uris import from_gnome, is_cut, paths_of, to_gnome, uri_list
from pommel.errors import ProtocolError
from pommel.sftp import codec
from pommel.sftp.codec import Attributes, Data, Extended, Names, Reply, SftpHandle, SftpStatus, SftpVersion
from pommel.sftp.tree import FilesError, placed, plain_name, shown

_LIMIT = 1000
Feed = Callable[[bytes], Iterable[object]]


def outcome(feed: Feed, parts: Iterable[bytes]) -> tuple[list[object], bool]:
    """Feed parts to a reader; return what it made of them, and whether it refused."""
    heard: list[object] = []
    try:
        for part in parts:
            for message in feed(part):
                heard.append(message)
    except ProtocolError as refusal:
        expect_words(refusal)
        return heard, True
    return heard, False


def _chance(data: bytes) -> random.Random:
    return random.Random(zlib.crc32(data))  # noqa: S311 - the same for the same input


# --- frames

_HELLO = b"POMMEL-CLIPBOARD 1 mac text,html,rtf,png,tiff,uris user=a console=b\n"
_FRAMES = [
    b"copy 1 empty\n",
    b"copy 2 raw text:2,html:6,png:1 +9\nhi<b>hi-",
    b"copy 3 base64 text +8\naGVsbG8=",
    b"copy 4 base64 uris +24\nZmlsZTovLy9ldGMvaG9zdHM=",
    b"copy 5 held large 99999\n",
    b"copy 6 held secret\n",
    b"copy 6 foreign +7\na.b\nc.d",
    b"done 7\n",
    b"failed 8\n",
    b"pong 9\n",
    b"motd\n" + _HELLO,
]
_FRAME_WORDS = [b" ", b"\n", b"+", b"+9\n", b"raw", b"copy ", b",text:0", b"html:1", b"999999999999999", b"base64 uris"]


def check_frames(data: bytes) -> None:
    """In pieces it is the same, nothing is larger than agreed on, and what we write would be read back."""
    chance, whole = _chance(data), outcome(frames.FrameReader(_LIMIT).feed, [data])
    expect(outcome(frames.FrameReader(_LIMIT).feed, pieces(data)) == whole, "in pieces it is something else")
    for message in whole[0]:
        content = message.content if isinstance(message, frames.Copied) else Content()
        expect(not content.forms or content.size <= _LIMIT, "more than was agreed on")
    kept = {form: data[: chance.randint(0, 60)] for form in (TEXT, HTML, RTF, PNG, URIS) if chance.random() < 0.4}
    content = content_of(kept)
    if content.held is None:
        line, *parts = frames.write_frame(3, content)
        told = line.replace(b"write 3 ", b"copy 3 raw " if parts else b"copy 3 ") + b"".join(parts)
        again = outcome(frames.FrameReader(_LIMIT).feed, [_HELLO + told])
        expect(again[0][1:] == [frames.Copied(3, content)], f"{kept} comes back as {again}")


# --- sftp

_SFTP_TOKENS = (b"\0\0\0\0", b"\0\0\0\x01", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\xff\xff\xff\xff")


def _attributes(chance: random.Random) -> tuple[bytes, Attributes]:
    size, mode, mtime = chance.getrandbits(chance.choice((8, 64))), chance.getrandbits(16), chance.getrandbits(32)
    if chance.random() < 0.2:
        return struct.pack(">I", 0), Attributes()
    more = struct.pack(">I", 1) + codec.string(b"name") + codec.string(b"value")
    return struct.pack(">IQIIIII", 0x8000000F, size, 1, 2, mode, 3, mtime) + more, Attributes(size, mode, mtime)


def _reply(chance: random.Random) -> tuple[bytes, tuple[int, Reply]]:
    """A packet of a server, and what it says."""
    number, data = chance.getrandbits(32), chance.randbytes(chance.randint(0, 20))
    told, known = _attributes(chance)
    count = chance.randint(0, 3)
    kinds: list[tuple[int, bytes, Reply]] = [
        (codec.STATUS, codec.word(4) + codec.string(b"no") + codec.string(b""), SftpStatus(4, "no")),
        (codec.HANDLE, codec.string(data), SftpHandle(data)),
        (codec.DATA, codec.string(data), Data(data)),
        (
            codec.NAME,
            codec.word(count) + (codec.string(data) + codec.string(b"-rw") + told) * count,
            Names(((data, known),) * count),
        ),
        (codec.ATTRS, told, known),
        (codec.VERSION, b"", SftpVersion(number)),
        (codec.VERSION, codec.string(data) + codec.string(b"1"), SftpVersion(number, frozenset([data]))),
        (codec.EXTENDED_REPLY, data, Extended(data)),
    ]
    kind, body, reply = chance.choice(kinds)
    return codec.request(kind, number, body), (0 if kind == codec.VERSION else number, reply)


def sftp_make() -> Make:
    """Make what an SFTP server may say; the length of a packet is mostly the right one."""

    def make(chance: random.Random) -> bytes:
        packets = [_reply(chance)[0] for _ in range(chance.randint(1, 4))]
        if chance.random() < 0.3:
            return bytes(mutated(chance, bytearray(b"".join(packets)), packets, _SFTP_TOKENS))
        bodies = [packet[4:] for packet in packets]
        return b"".join(codec.string(mutated(chance, bytearray(body), bodies, _SFTP_TOKENS)) for body in bodies)

    return make


def check_sftp(data: bytes) -> None:
    """In pieces it is the same, no reply holds more than came, and what a server says comes back as it was said."""
    chance, whole = _chance(data), outcome(codec.ReplyReader().feed, [data])
    expect(outcome(codec.ReplyReader().feed, pieces(data)) == whole, "in pieces it is something else")
    names = sum(len(reply[1].names) for reply in whole[0] if isinstance(reply, tuple) and isinstance(reply[1], Names))
    expect(names * 12 <= len(data), "more names than came")
    packet, said = _reply(chance)
    expect(outcome(codec.ReplyReader().feed, pieces(packet)) == ([said], False), f"{said} comes back as another")


# --- html

_MARKUP = [
    b"<p>", b"<br/>", b"</p>", b"<a href='x y'>", b'<img alt="a>b">', b"<!--", b"-->", b"<!DOCTYPE html>", b"<![if !x]>",
    b"<![CDATA[", b"]]>", b"<?xml ?>", b"<script>", b"</script>", b"<STYLE>", b"</style >", b"<head>", b"<title>",
    b"</title>", b"<body>", b"&amp;", b"&#65;", b"&#x1F34E;", b"&#", b"&notit;", b"&", b"text", b" ", b"\n", b"<", b"</",
    b">", b"=", b"'", b'"', "gr\u00fcn \U0001f34e".encode(), b"\xff\xfe", b"\0", b"<a b=", b"99999999999", b"&#x" + b"f" * 40,
]  # fmt: skip


def check_html(data: bytes) -> None:
    """It is text without NUL, of a size that the HTML's bounds; and text that is written as HTML comes back."""
    text = plain_text(data)
    text.decode()
    expect(b"\0" not in text and len(text) <= 3 * len(data), "more text than there is HTML, or a NUL in it")
    plain = data.decode(errors="replace").replace("\0", "")
    block = _chance(data).choice(("p", "div", "li"))
    told = plain_text(f"<!-- {block} --><{block} title='>'>{html.escape(plain)}</{block}>".encode())
    expect(told.decode() == " ".join(plain.split()), "text does not come back")


# --- lists of files

_URIS = [b"file:///etc/hosts\r\n", b"file://localhost/a%20b\r\n", b"# cut\r\n", b"http://x/\r\n", b"file:/%00\r\n", b"copy\n",
         b"FILE:///%ff%zz/..\n", b"file:///a/\n", b"file:///\n", b"file:x\n", b"\n", b"\0", b"file:///b/a\n"]  # fmt: skip


def check_lists(data: bytes) -> None:
    """It names absolute paths, each once, each with a place of its own; and a list of these names them again."""
    chance, paths = _chance(data), paths_of(data)
    expect(all(path.startswith(b"/") and b"\0" not in path for path in paths), "no absolute path")
    expect(len(set(paths)) == len(paths), "a path twice")
    cut = chance.random() < 0.5
    again = uri_list(paths, cut=cut)
    expect(paths_of(again) == paths and is_cut(again) == cut, "the list of its paths names others")
    expect(paths_of(from_gnome(to_gnome(again))) == paths, "a file manager's list of its paths names others")
    expect(all(shown(path).isprintable() and len(shown(path)) <= 60 for path in paths), "a name that is not for people")
    try:
        places = [place for _, place in placed(paths)]
    except FilesError as refusal:
        expect_words(refusal)
        return
    expect(len({place.partition(b"/")[0].lower() for place in places}) == len(paths), "two go to one place")
    bad = [path for path, place in zip(paths, places, strict=True) if not all(map(plain_name, place.split(b"/")))]
    expect(all(path.rstrip(b"/").endswith((b"/..", b"/.")) for path in bad), "a place that is no name")


# --- compound text

_COMPOUND = [b"\x1b-L\xd0", b"\x1b$(B", b"\x1b$)A", b"\x1b(I", b"\x1b%G", b"\x1b%@", b"\x1b%/1\x80\x8akoi8-r\x02\xf0\xd2\xc9",
             b"\x9b1]", b"\x9b]", b"\x1b# 0", b"\x1b", b"plain", b"\xe9\xa0", b"\t\n", b"\0"]  # fmt: skip


def check_compound(data: bytes) -> None:
    """It is text of a size that its bytes bound, or a set with a name; and Latin-1 text comes back."""
    try:
        expect(len(compound_text.decoded(data).encode()) <= 3 * len(data), "more text than there are bytes")
    except compound_text.UnknownCharset as refusal:
        expect(refusal.charset.isprintable() and len(refusal.charset) < 60, "a set without a name for people")
    plain = "".join(letter for letter in data.decode("latin-1") if letter.isprintable() or letter in "\t\n\r\xa0")
    expect(compound_text.decoded(plain.encode("latin-1")) == plain, "Latin-1 does not come back")


FUZZERS = [
    Fuzzer(
        "clip-compound",
        "text bounded by its bytes, or a set that is named; Latin-1 comes back",
        mixed(_COMPOUND, tokens=_COMPOUND, joined=8),
        check_compound,
    ),
    Fuzzer(
        "clip-frames",
        "the same in pieces, a ProtocolError with words, no more than agreed on; what we write is read back",
        mixed([_HELLO + frame for frame in _FRAMES], tokens=(*_FRAME_WORDS, *_FRAMES), joined=3),
        check_frames,
    ),
    Fuzzer(
        "clip-sftp",
        "the same in pieces, a ProtocolError with words, no more names than came; a server's words come as it said them",
        sftp_make(),
        check_sftp,
    ),
    Fuzzer(
        "clip-html",
        "text without NUL, bounded by the HTML; text written as HTML comes back",
        mixed(_MARKUP, tokens=_MARKUP, joined=12),
        check_html,
    ),
    Fuzzer(
        "clip-lists",
        "absolute paths, each once and with a place of its own; a list of them names them again",
        mixed(_URIS, tokens=_URIS, joined=6),
        check_lists,
    ),
]
