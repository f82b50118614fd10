"""What Apple's servers and files say (`recovery`): chunklists, disk images, the recovery service's answers."""

from __future__ import annotations

import base64
import datetime
import gzip
import hashlib
import plistlib
import struct
from dataclasses import dataclass

from fuzz.engine import Fuzzer, expect, expect_words, mixed, pieces
from pommel.errors import RecoveryError
from pommel.recovery import cd, chunklist, disk_image, image, service, software_catalog

# --- chunklists ---

_HEADER = struct.Struct("<4sIBBBxQQQ")


@dataclass(frozen=True, slots=True)
class _AnyKey(chunklist.ChunklistKey):
    """A key under which every signature is good, so that what stands behind the signature is read."""

    def signed(self, digest: bytes, signature: bytes) -> bool:
        """Say so."""
        return len(digest) == 32 and len(signature) == 256


_ANY = _AnyKey(1 << 2047)


def written(chunks: tuple[chunklist.Chunk, ...]) -> bytes:
    """A chunklist of these chunks, with a signature of zeros."""
    records = b"".join(struct.pack("<I32s", one.size, one.sha256) for one in chunks)
    header = _HEADER.pack(b"CNKL", 36, 1, 1, 1, len(chunks), 36, 36 + len(records))
    return header + records + bytes(256)


def check_chunklist(data: bytes) -> None:
    """Without Apple's signature nothing is read; with one, chunks lie one after another and are written as they came."""
    try:
        chunklist.parse(data)
    except RecoveryError as refusal:
        expect_words(refusal)
    else:
        raise AssertionError("a chunklist that Apple has not signed is believed")
    try:
        found = chunklist.parse(data, _ANY)
    except RecoveryError as refusal:
        expect_words(refusal)
        return
    at = 0
    for one in found.chunks:
        expect(one.offset == at and 0 < one.size <= chunklist.CHUNK_BYTES_MAX, "a gap between chunks")
        at += one.size
    expect(found.total_size == at <= chunklist.TOTAL_BYTES_MAX, "an image of another size")
    # Its pad byte may be any.
    expect(written(found.chunks)[12:-256] == data[12:-256], "it is written otherwise than it came")


def _lists() -> list[bytes]:
    sizes = ((10 << 20,), (1,), (10 << 20, 10 << 20, 4096), tuple(range(1, 9)))
    return [
        written(tuple(chunklist.Chunk(0, size, bytes([number]) * 32) for number, size in enumerate(some)))
        for some in sizes
    ]


def check_digested(data: bytes) -> None:
    """Without the digest of all that stands before it nothing is read; with it, chunks lie one after another."""
    for tried in (data, data[:-32] + hashlib.sha256(data[:-32]).digest()):
        try:
            found = chunklist.parse_digested(tried)
        except RecoveryError as refusal:
            expect_words(refusal)
            continue
        expect(hashlib.sha256(tried[:-32]).digest() == tried[-32:], "a wrong digest is believed")
        expect(len(tried) == 36 + 36 * len(found.chunks) + 32, "bytes that belong to nothing")
        expect(sum(one.size for one in found.chunks) == found.total_size, "an image of another size")


def _digested() -> list[bytes]:
    lists = [one[:-256] for one in _lists()]
    return [one[:10] + b"\2" + one[11:] + hashlib.sha256(one[:10] + b"\2" + one[11:]).digest() for one in lists]


# --- disk images ---

_SECTORS = 8192
_FILE = 1 << 30


def _trailer(plist_at: int, plist_size: int, sectors: int) -> bytes:
    return struct.pack(">4sII204xQQ260xQ12x", b"koly", 4, 512, plist_at, plist_size, sectors)


def table(first: int, runs: list[tuple[int, int, int]], *, kind: int = 2, bits: int = 32) -> bytes:
    """A "mish" table of a part: its first sector, its runs as (type, sector, sectors)."""
    head = struct.pack(">4sIQQ40xII128xI", b"mish", 1, first, sum(r[2] for r in runs), kind, bits, len(runs))
    return head + b"".join(struct.pack(">IIQQQQ", k, 0, at, count, 0, 100) for k, at, count in runs)


_TABLES = (
    table(0, [(0x80000005, 0, 100), (0, 100, 50), (2, 150, 10), (0xFFFFFFFF, 160, 0)]),
    table(4096, [(1, 0, 4096), (0x7FFFFFFE, 0, 0)]),
    table(0, [(1, 0, 8)], kind=1, bits=16),
    table(1, []),
)


def plist_of(tables: list[bytes]) -> bytes:
    """The property list of a disk image with these tables."""
    rows = b"".join(
        b"<dict><key>Name</key><string>p</string><key>Data</key><data>%s</data></dict>" % base64.b64encode(one)
        for one in tables
    )
    return b"<plist><dict><key>resource-fork</key><dict><key>blkx</key><array>%s</array></dict></dict></plist>" % rows


def check_trailer(data: bytes) -> None:
    """What a trailer names lies within the file, and its disk is no larger than allowed."""
    try:
        found = disk_image.parse_trailer(data, _FILE)
    except RecoveryError as refusal:
        expect_words(refusal)
        return
    expect(0 < found.size_bytes <= disk_image.SIZE_BYTES_MAX and found.size_bytes % 512 == 0, "a size that cannot be")
    expect(found.plist_size <= disk_image.PLIST_BYTES_MAX, "a property list without bound")
    expect(found.plist_at + found.plist_size <= _FILE - 512, "a property list outside the file")


def check_table(data: bytes) -> None:
    """The parts of a table lie on the disk, and are no more to read than the disk has."""
    _check_parts(plist_of([data, _TABLES[1]]))


def check_parts(data: bytes) -> None:
    """The parts of a property list lie on the disk, and are no more to read than the disk has."""
    _check_parts(data)


def _check_parts(plist: bytes) -> None:
    size = _SECTORS * 512
    try:
        parts = disk_image.parse_parts(plist, size)
    except RecoveryError as refusal:
        expect_words(refusal)
        return
    stretches = [one for part in parts for one in part.stretches]
    expect(all(at >= 0 and count >= 0 and at + count <= size for at, count in stretches), "a stretch outside the disk")
    expect(sum(count for _, count in stretches) <= size, "more to read than the disk has")
    expect(all(0 <= part.crc32 <= 0xFFFFFFFF for part in parts), "a checksum of more than 32 bits")


_PLISTS = (
    plist_of([*_TABLES]),
    plistlib.dumps({"resource-fork": {"blkx": [{"Name": "whole", "Data": _TABLES[0], "ID": "0"}]}}),
    plistlib.dumps({"resource-fork": {"blkx": []}}),
)
XML_TOKENS = (
    b"<", b">", b"</", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"&amp;", b"<dict>", b"</dict>", b"<array>", b"<key>", b"</key>",
    b"<integer>", b"</integer>", b"<data>", b"</data>", b"<string>", b"<date>", b"<real>", b"<true/>", b"9" * 5000, b"<![CDATA[",
    b"<!--", b"-->", b"<?xml version='1.0' encoding='utf-16'?>", b"<?xml version='1.0' encoding='x-no'?>", b"\xff\xfe", b"\n" * 50,
    b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'>", b"<dict>" * 100, b"<array>" * 2000, b"bplist00",
    b"<!DOCTYPE a [" + b"".join(
        b"<!ENTITY a%d '%s'>" % (n + 1, b"&a%d;" % n * 10) if n else b"<!ENTITY a1 'aaaaaaaaaa'>" for n in range(9)
    ) + b"]>",
    b"&a9;", b"<uid>", b"<string>" + b"x\n" * 99,
)  # fmt: skip

# --- the recovery service ---

_HOST = "https://oscdn.apple.com/content/downloads/28/04/062-58679/abc"
_REPLY = (
    f"AP: 062-58679\nAU: {_HOST}/RecoveryImage/BaseSystem.dmg\nAH: AB\nAT: expires=1700000000~access=/x*~md5=ab\n"
    f"CU: {_HOST}/RecoveryImage/BaseSystem.chunklist\nCH: CD\nCT: expires=1~md5=cd\n"
)
_REPLY_TOKENS = (
    b"\n",
    b": ",
    b"AU: ",
    b"http://",
    b"@",
    b"..",
    b"//",
    b"%2e",
    b"?",
    b"#",
    b"\r",
    b"\x00",
    b"[",
    b"]",
    b"\xe2\x80\xa8",
)


def check_reply(data: bytes) -> None:
    """An answer names two files at Apple's and tokens that fit into a header; anything else is refused with words."""
    try:
        found = service.parse_reply(data)
    except RecoveryError as refusal:
        expect_words(refusal)
        return
    for asset, suffix in ((found.image, ".dmg"), (found.chunklist, ".chunklist")):
        expect(asset.url.split("/")[2].lower() in service.ASSET_HOSTS, "a file that is not at Apple's")
        expect(asset.file_name.endswith(suffix) and "/." not in asset.path, "another file than asked")
        headers = service.asset_headers(asset.token, 0, 9)
        expect(all(value.isascii() and value.isprintable() for value in headers.values()), "a header with tricks")
        expect(asset.expires is None or asset.expires >= 0, "a token that ended before all time")
    expect(bool(found.product), "no product")


def check_header(data: bytes) -> None:
    """A session is one that fits into a header; a wait is one that ends."""
    text = data.decode("latin-1")
    try:
        session = service.session_cookie(text.split("\n"))
        expect(session.startswith("session=") and session.isascii() and ";" not in session, "a cookie with tricks")
    except RecoveryError as refusal:
        expect_words(refusal)
    wait_s = service.retry_after_s(text, 1.7e9)
    expect(wait_s is None or 0 <= wait_s <= service.WAIT_MAX_S, f"a wait of {wait_s}")


_HEADERS = (
    b"session=abc123; path=/; HttpOnly", b"a=b; session=c\nsession=d!~; secure", b"120", b"Wed, 21 Oct 2026 07:28:00 GMT",
    b"Wed, 21 Oct 2026 07:28:00 -0000", b"21 Oct 99 1:2 +9999",
)  # fmt: skip

# --- the catalogue of software updates ---

_AT = "http://swcdn.apple.com/content/downloads/25/16/012-92138"
_OFFERED = {
    "PostDate": datetime.datetime(2026, 9, 1),
    "ExtendedMetaInfo": {"InstallAssistantPackageIdentifiers": {"SharedSupport": "x"}},
    "Distributions": {"English": f"{_AT}/012-92138.English.dist"},
    "Packages": [
        {"URL": f"{_AT}/InstallAssistant.pkg", "Size": 12345, "IntegrityDataURL": f"{_AT}/I.pkg.integrityDataV1"}
    ],
}
_CATALOGS = (
    plistlib.dumps({"Products": {"012-92138": _OFFERED}}),
    plistlib.dumps({"Products": {"012-92138": _OFFERED, "012-11111-A": _OFFERED, "x": 1}}),
    gzip.compress(plistlib.dumps({"Products": {"012-92138": _OFFERED}}), mtime=0),
)
_DISTRIBUTIONS = (
    b"<script>var supportedBoardIDs = ['Mac-7BA5B2D9E42DDD94','Mac-1'];var nonSupportedModels = ['iMac1,1'];</script>"
    b"<auxinfo><dict><key>BUILD</key>\n<string>23J319</string><key>VERSION</key>\t<string>14.8.4</string></dict>",
    b"<key>macOSProductBuildVersion</key><string>22A380</string><key>macOSProductVersion</key><string>13.0</string>",
)
_DISTRIBUTION_TOKENS = (
    b"boardIds = [",
    b"nonSupportedModels=[",
    b"]",
    b"'",
    b'"',
    b"<key>BUILD</key>",
    b" " * 9000,
    b"<string>",
)


def check_catalog(data: bytes) -> None:
    """Files at Apple's, by HTTPS, of a size that can be; anything else is refused or left out."""
    try:
        found = software_catalog.parse_catalog(data)
    except RecoveryError as refusal:
        expect_words(refusal)
        return
    expect(len(found) <= software_catalog.PRODUCTS_MAX, "products without bound")
    for one in found:
        for url in (one.distribution, one.package, one.integrity):
            expect(url.startswith("https://") and url.split("/")[2].lower() in software_catalog.HOSTS, "not at Apple's")
            expect("/." not in url and url.isascii() and url.isprintable(), "an address with tricks")
        expect(one.package.endswith("/InstallAssistant.pkg"), "another file than asked")
        expect(0 < one.size_bytes <= chunklist.TOTAL_BYTES_MAX and software_catalog.is_product(one.id), "cannot be")
        expect(len(cd.header(one.size_bytes, "X")) == cd.HEADER_BYTES, "no disk can be made")


def check_distribution(data: bytes) -> None:
    """A version and a build that stand there; words of boards and models that stand there."""
    try:
        found = software_catalog.parse_distribution(data)
    except RecoveryError as refusal:
        expect_words(refusal)
        return
    for word in (found.version, found.build, *found.boards, *found.refused):
        expect(word.encode() in data, "a word that does not stand there")
    expect(all(number >= 0 for number in software_catalog.numbers(found.version)), "no version")
    expect(software_catalog.means(found.build, found.version, found.build), "its own build does not mean it")
    expect(software_catalog.means(found.version, found.version, found.build), "its own version does not mean it")


# --- which macOS is on a disk ---

_VERSIONS = tuple(
    b"junk\0<plist><dict><key>%s</key><string>%s</string>\n<key>ProductVersion</key>\t<string>%s</string></dict></plist>"
    % one
    for one in ((b"ProductName", b"macOS", b"14.8.4"), (b"ProductName", b"iPhone OS", b"17.1"), (b"x", b"y", b"10.15"))
)


_VERSION_TOKENS = (b"<dict", b"</dict>", b"ProductVersion</key>", b"<string>", b"</string>", bytes(9000), b" " * 9000)


def check_version(data: bytes) -> None:
    """A version stands in the disk as it is told, and is the same in whatever pieces the disk comes."""
    found = image.version_in([data])
    expect(image.version_in(pieces(data)) == found, "in pieces it is another macOS")
    expect(
        found is None or (found.encode() in data and found.replace(".", "").isdigit()),
        "a version that does not stand there",
    )


FUZZERS = [
    Fuzzer(
        "product-version",
        "a version that stands there, in any pieces the same",
        mixed(_VERSIONS, tokens=_VERSION_TOKENS, joined=5),
        check_version,
    ),
    Fuzzer(
        "chunklist",
        "nothing without Apple's signature; with one, chunks without gaps, written as they came",
        mixed(_lists(), tokens=(b"CNKL",)),
        check_chunklist,
    ),
    Fuzzer(
        "chunklist-digested",
        "nothing without its digest; with it, chunks without gaps and no byte more",
        mixed(_digested(), tokens=(b"CNKL",)),
        check_digested,
    ),
    Fuzzer(
        "software-catalogue",
        "files at Apple's by HTTPS, of a size that can be",
        mixed(_CATALOGS, tokens=(*XML_TOKENS, b"http://", b"@", b"..", b"?")),
        check_catalog,
        room_bytes=4 << 20,
    ),
    Fuzzer(
        "software-distribution",
        "version, build, boards and models that stand there",
        mixed(_DISTRIBUTIONS, tokens=_DISTRIBUTION_TOKENS),
        check_distribution,
    ),
    Fuzzer("dmg-trailer", "what it names lies within the file", mixed([_trailer(9, 99, 9)]), check_trailer),
    Fuzzer(
        "dmg-table",
        "runs lie on the disk, and are no more than the disk",
        mixed(_TABLES, tokens=(b"mish",)),
        check_table,
        room_bytes=2 << 20,
    ),
    Fuzzer(
        "dmg-plist",
        "a RecoveryError with words, or parts that lie on the disk",
        mixed(_PLISTS, tokens=XML_TOKENS),
        check_parts,
        room_bytes=4 << 20,
    ),
    Fuzzer(
        "recovery-reply",
        "two files at Apple's, and tokens that fit into a header",
        mixed([_REPLY.encode()], tokens=_REPLY_TOKENS),
        check_reply,
    ),
    Fuzzer("recovery-header", "a session that fits into a header, a wait that ends", mixed(_HEADERS), check_header),
]
