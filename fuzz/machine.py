"""Disks and command lines (`machine`): qcow2, partition tables, FAT folders, -readconfig files, QEMU's option strings."""

from __future__ import annotations

import contextlib
import datetime
import re
import struct
import uuid
import zlib
from collections import defaultdict
from collections.abc import Callable

from fuzz.engine import Fuzzer, expect, mixed
from pommel.errors import PommelError, UpstreamError
from pommel.machine import journal, stuck, taken_line
from pommel.machine.commandline import CommandLine
from pommel.machine.disk_facts import DiskFacts
from pommel.machine.drives import drives_in, inlined, with_drives_spelled_out
from pommel.machine.keyed import Keyed
from pommel.machine.partitions import look
from pommel.machine.qcow2_data import Qcow2Data
from pommel.machine.readconfig import arguments_in
from pommel.machine.suboptions import SubOptions
from pommel.machine.upstream_files import upstream_files
from pommel.partition_table import Read

# --- disks: an input says what stands where, so that a change hits something ---

_SIZE = 1 << 16
_ESP, _APFS = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "7c3457ef-0000-11aa-aa11-00306543ecac"
_READ_MAX = 64 << 20


def script_of(image: bytes) -> bytes:
    """An image as records: place (in 16 bytes), length, bytes."""
    out = bytearray()
    for at in range(0, len(image), 16):
        if part := image[at : at + 16].rstrip(b"\0"):
            out += struct.pack(">HB", at // 16, len(part)) + part
    return bytes(out)


def image_of(script: bytes) -> bytes:
    """The image that such records make, as long as the last of them needs."""
    out, at, end = bytearray(_SIZE), 0, 0
    while at + 3 <= len(script):
        place, count = struct.unpack_from(">HB", script, at)
        part = script[at + 3 : at + 3 + count]
        start = place * 16 % _SIZE
        out[start : start + len(part)] = part
        end = max(end, min(start + len(part), _SIZE))
        at += 3 + count
    return bytes(out[:end])


def _folder(*entries: tuple[str, int, int]) -> bytes:
    return b"".join(
        struct.pack("<11sB8xHHHHI", name.ljust(11).encode(), kind, 0, 0, 0, cluster, 0)
        for name, kind, cluster in entries
    )


def fat(kind: int = 12) -> bytes:
    """A small FAT file system with EFI/OC and EFI/BOOT/BOOTX64.EFI."""
    root = _folder(("VOLUME", 8, 0), ("EFI", 0x10, 2))
    efi = _folder((".", 0x10, 2), ("OC", 0x10, 3), ("BOOT", 0x10, 4), ("CLOVER", 0x10, 3))
    boot = _folder(("BOOTX64 EFI", 0x20, 5))
    count = 40 if kind == 12 else 5000 if kind == 16 else 70000
    head = bytearray(512)
    struct.pack_into("<HBHBHH", head, 11, 512, 1, 1, 1, 0 if kind == 32 else 16, count if count < 65536 else 0)
    struct.pack_into("<HxxxxxxxxII", head, 22, 0 if kind == 32 else 1, count, 1)
    struct.pack_into("<I", head, 44, 6 if kind == 32 else 0)
    place = 82 if kind == 32 else 54
    head[place : place + 5] = b"FAT%d" % kind
    head[510:512] = b"\x55\xaa"
    table = (b"\xff" * 64).ljust(512, b"\0")
    parts = [
        bytes(head),
        table,
        *(() if kind == 32 else (root,)),
        efi,
        b"",
        boot,
        b"",
        *((root,) if kind == 32 else ()),
    ]
    return b"".join(part.ljust(512, b"\0") for part in parts)


def disk(*parts: tuple[str | int, int, bytes]) -> bytes:
    """A disk with a GPT (types are texts) or an MBR (numbers): type, first sector, what is there."""
    out = bytearray(_SIZE)
    out[510:512] = b"\x55\xaa"
    for index, (kind, start, inside) in enumerate(parts):
        if isinstance(kind, int):
            struct.pack_into("<4xB3xII", out, 446 + 16 * index, kind, start, 9)
        else:
            out[512:604] = struct.pack("<8s64xQII", b"EFI PART", 2, len(parts), 128).ljust(92, b"\0")
            row = uuid.UUID(kind).bytes_le + bytes(16) + struct.pack("<QQ", start, start + 9)
            out[1024 + 128 * index : 1024 + 128 * index + len(row)] = row
        out[start * 512 : start * 512 + len(inside)] = inside
    return bytes(out).rstrip(b"\0")


def qcow2(inside: bytes, *, packed: bool = False, version: int = 3) -> bytes:
    """An image with clusters of 512 bytes that holds `inside`, of up to 32 KiB."""
    head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", version, 0, 0, 9, 1 << 15, 0, 1, 512, 0, 0, 0, 0)
    head += struct.pack(">QQQII", 0, 0, 0, 4, 104)
    table, data, at = [0] * 64, bytearray(), 1536
    for number in range(len(inside) // 512 + 1):
        cluster = inside[512 * number : 512 * number + 512].ljust(512, b"\0")
        if not any(cluster) or at + 1024 > _SIZE:
            continue
        if packed:
            deflate = zlib.compressobj(9, zlib.DEFLATED, -12)
            small = deflate.compress(cluster) + deflate.flush()
            table[number] = 1 << 62 | (-(-len(small) // 512) - 1) << 61 | at
            cluster = small.ljust(-(-len(small) // 512) * 512, b"\0")
        else:
            table[number] = at | 1 << 63
        data += cluster
        at += len(cluster)
    return (
        head.ljust(512, b"\0")
        + struct.pack(">Q", 1024 | 1 << 63).ljust(512, b"\0")
        + struct.pack(">64Q", *table)
        + data
    )


def _limited(data: bytes) -> Read:
    """Reads of an image, which may not be more than a few MiB in all: an image of some bytes takes no minutes."""
    left = _READ_MAX

    def read(offset: int, count: int) -> bytes:
        nonlocal left
        left -= max(count, 64)
        expect(left >= 0, "more is read than anybody waits for")
        expect(offset >= 0 and count >= 0, "a read before the start")
        return data[offset : offset + count]

    return read


def _padded(read: Read) -> Read:
    return lambda offset, count: read(offset, count).ljust(count, b"\0")


def check_disk(data: bytes) -> None:
    """Any disk is looked at or refused, within bounds."""
    image = image_of(data)
    try:
        seen = look(_padded(_limited(image)), len(image))
    except ValueError as refusal:
        expect(0 < len(str(refusal)) < 200, "a refusal without words")
        return
    expect(seen.partitioned or not seen.apple, "a Mac's disk with nothing on it")


def check_qcow2(data: bytes) -> None:
    """Any image is read or refused, within bounds; what is read is as long as asked."""
    read = _limited(image_of(data))
    try:
        image = Qcow2Data(read)
        look(_padded(image.read), image.virtual_bytes)
        places = list(image.allocated(33))
        expect(len(places) <= 33 and places == sorted(set(places)), "clusters out of order")
        for place in places[:2]:
            expect(len(image.read(place, 100)) == 100, "another length than asked")
    except ValueError as refusal:
        expect(0 < len(str(refusal)) < 200, "a refusal without words")


_DISKS = (
    disk((_ESP, 8, fat()), (_APFS, 40, b"NXSB")),
    disk((0xEF, 8, fat(16)), (0xAF, 40, b"")),
    disk((_ESP, 6, fat(32))),
    fat(),
    bytes(32) + b"NXSB",
    bytes(1024) + b"H+",
)
_DISK_TOKENS = (
    b"EFI PART",
    b"FAT12",
    b"FAT32",
    b"\x55\xaa",
    uuid.UUID(_ESP).bytes_le,
    b"EFI        \x10",
    b"OC         \x10",
)

# --- option strings ---

_OPTIONS = (
    b"blockdev\0driver=qcow2,node-name=a,file.driver=file,file.filename=/x,,y.img",
    b'blockdev\0{"driver":"qcow2","node-name":"a","file":{"driver":"file","filename":"x"},"l":[1,true,null,1.5]}',
    b"device\0ide-hd,bus=sata.2,drive=OpenCoreBoot,bootindex=1",
    b"netdev\0user,id=net0,hostfwd=tcp::2222-:22,hostfwd=tcp::5900-:5900",
    b"object\0memory-backend-file,id=mem,size=4G,mem-path=/dev/shm,share=on",
    b"drive\0id=x,if=none,file=a.img,format=qcow2,,",
    b"cpu\0Penryn,kvm=on,+invtsc,vmware-cpuid-freq=on,check",
)
_OPTION_TOKENS = (
    b",", b",,", b"=", b"file.", b"{", b'"', b"[", b"}", b"on", b"driver=", b"\xff", b"\xed\xa0\x80", b"[" * 900 + b"]" * 900,
    b'{"a":' * 900 + b"1" + b"}" * 900, b"\\ud800", b"9" * 5000, b"NaN",
)  # fmt: skip


def check_option(data: bytes) -> None:
    """What is taken apart is put together as it was; a key that is set is read, one that is dropped is gone."""
    name, _, raw = data.partition(b"\0")
    text = raw.decode(errors="surrogateescape").replace("\0", "")  # no argument holds one
    expect(SubOptions.parse(text).render() == text, "it is put together otherwise")
    keyed = Keyed.parse(name.decode("latin-1"), text)
    pairs = list(keyed.pairs())
    again = Keyed.parse(name.decode("latin-1"), keyed.render())
    expect(list(again.pairs()) == pairs or "NaN" in text, "other keys after it is put together")
    changed = keyed.with_value("file.filename", "y").with_value("x-new", 5)
    expect((changed.get("file.filename"), changed.get("x-new")) == ("y", "5"), "a key that is set is not read")
    less = changed.without("file")
    expect(not less.has("file") and not less.has_under("file") and less.has("x-new"), "a key that is dropped is there")
    keyed.is_on("share", "driver")


def check_config(data: bytes) -> None:
    """A configuration file is refused with its line, or each argument is one of QEMU's with the value it says."""
    text = data.decode(errors="surrogateescape")
    try:
        found = arguments_in(text, "vm.cfg")
    except UpstreamError as refusal:
        expect(0 < len(refusal.message) < 2000, "a refusal without words")
        return
    for one in found:
        expect(bool(re.fullmatch(r"-[a-z_]+", one.option)) and one.value is not None, "an argument without a value")
        expect(one.sub.render() == one.value or "\0" in text, "it is put together otherwise")


_CONFIGS = (
    b'# c\n[drive "disk"]\n  file = "x.img"\n  if = "none"\n[device]\n  driver = "ide-hd"\n  drive = "disk"\n',
    b'[machine]\n  type = "q35"\n  accel = "kvm"\n[memory]\nsize = "4G"\n[netdev "n,0"]\ntype = "user"\n',
)

# --- whole command lines ---

_LINES = (
    "-enable-kvm -m 4096 -cpu Penryn,kvm=on,+invtsc -machine q35 -smp 4,cores=2,sockets=1 -device usb-kbd "
    "-drive if=pflash,format=raw,readonly=on,file=OVMF_CODE.fd -drive if=pflash,format=raw,file=OVMF_VARS.fd "
    "-device ide-hd,bus=sata.2,drive=OpenCoreBoot -drive id=OpenCoreBoot,if=none,format=qcow2,file=OpenCore.qcow2 "
    "-device ide-hd,bus=sata.3,drive=InstallMedia -drive id=InstallMedia,if=none,file=BaseSystem.img,format=raw "
    "-drive id=MacHDD,if=none,file=./mac_hdd_ng.img,format=qcow2 -device ide-hd,bus=sata.4,drive=MacHDD "
    "-netdev user,id=net0,hostfwd=tcp::2222-:22 -device virtio-net-pci,netdev=net0,id=net0,mac=52:54:00:c9:18:27",
    '-blockdev driver=file,node-name=f,filename=/a -blockdev {"driver":"qcow2","node-name":"q","file":"f"} '
    "-device virtio-blk-pci,drive=q -hda x.img -nic user,model=vmxnet3 -uuid 2aca0dd6-cec9-4717-9ab2-0b7b13d111c3 "
    "-smbios type=1,uuid=2aca0dd6-cec9-4717-9ab2-0b7b13d111c3 -m size=2G,maxmem=4G",
)
_WORDS = tuple(line.replace(" ", "\0").encode() for line in _LINES)
_WORD_TOKENS = (
    b"\0",
    b"-drive\0",
    b"-device\0",
    b",",
    b"=",
    b"file=",
    b"file.",
    b"-m\0",
    b"1e400",
    b"9" * 400,
    b"nan",
    b"inf",
)
_WORD_TOKENS += (b"-blockdev\0", b"driver=", b"node-name=f", b"backing=q", b"file=q", b'{"', b"if=pflash", b"unit=")


def check_line(data: bytes) -> None:
    """A line gives the same words again, and says what can be said of a machine; else an error with words."""
    words = data.decode(errors="surrogateescape").split("\0")
    try:
        line = CommandLine.parse("qemu-system-x86_64", words)
    except UpstreamError as refusal:
        expect(len(refusal.message) > 0, "a refusal without words")
        return
    expect(list(line.words) == words, "other words than it was made of")
    said = taken_line.said(line)
    expect(bool(re.fullmatch(r"[1-9]\d*[GM]", said.settings.get("memory", "1M"))), "memory that is no size")
    expect(all(isinstance(said.settings.get(key, 1), int) for key in ("threads", "cores", "sockets")), "no number")


def check_drives(data: bytes) -> None:
    """The drives of a line are found, and its files, or an error says why not."""
    try:
        line = CommandLine.parse("qemu-system-x86_64", data.decode(errors="surrogateescape").split("\0"))
    except UpstreamError:
        return
    for one in drives_in(with_drives_spelled_out(line)):
        with contextlib.suppress(UpstreamError):
            inlined(line, one)
        _ = one.name, one.format, one.interface, one.is_readonly, one.discards, one.is_removable, one.boot_index
    try:
        upstream_files(line, "/vms", defaultdict(_unknown))
    except PommelError as refusal:
        expect(len(refusal.message) > 0, "a refusal without words")


def _unknown() -> DiskFacts:
    return DiskFacts("missing")


# --- what a guest writes to its serial port, and QEMU to its log ---

_NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_EVENTS = [journal.Event(_NOW, journal.Word.START, "", 0, 0), journal.Event(_NOW, journal.Word.RUNNING, "", 40, 20)]
_LOGS = (
    b"=== 2026-01-01 00:00:00Z qemu-system-x86_64 -m 4G\nqemu: warning\n=== 9999-99-99 99:99:99Z x\n",
    b"BdsDxe: loading Boot0001\r\n\x1b[2J\x1b[01;01H\x1b]0;title\x07" + b"=" * 80 + b"\nlast login\n",
    b'{"time": "2026-01-01T00:00:00.000+00:00", "event": "start", "text": "x", "qemu_log": 1, "serial_log": 2}\n',
    b"CPU#0\nRIP=00000000deadbeef HLT=1\nCS =0010 00000000 ffffffff\nCPU#1\nEIP=0000fff0\nCS =f000 ffff0000\n",
)
_LOG_TOKENS = (
    b"\n",
    b"\x1b[",
    b"\x1b]",
    b"\x9b",
    b"\xe2\x80\xae",
    b"=== ",
    b"Z ",
    b"\r",
    b"0001-01-01T00:00:00+23:59",
    b"CPU#",
    b"IP=",
)


_OBEYED = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202e]")


def check_log(data: bytes) -> None:
    """A line commands no terminal; what a guest writes is told as the guest's, never as Pommel's."""
    lines = tuple((number, line) for number, line in enumerate(data.split(b"\n")))
    for line in journal.merge(_EVENTS, [journal.Written(lines, len(data))], [journal.Written(lines, len(data))]):
        expect(_OBEYED.search(line.text) is None, "a terminal obeys it, or it turns about")
    told = journal.merge(_EVENTS, [], [journal.Written(lines, len(data))])
    expect(sum(one.source is journal.LogSource.POMMEL for one in told) == len(_EVENTS), "the guest speaks as Pommel")
    text = data.decode(errors="replace")
    journal.telling(text.split("\n"))
    stuck.parse_registers(text)
    if (event := journal.parse(text)) is not None:
        expect(journal.parse(journal.render(event)) is not None, "an event that is not read again")


def _fuzzer(
    name: str, law: str, make: Callable[..., bytes], check: Callable[[bytes], None], mib: int, short: int = 300
) -> Fuzzer:
    return Fuzzer(name, law, make, check, room_bytes=mib << 20, per_byte=2000, short=short)


FUZZERS = [
    _fuzzer(
        "disk", "looked at or refused, within bounds",
        mixed([script_of(one) for one in _DISKS], tokens=_DISK_TOKENS), check_disk, 16,
    ),
    _fuzzer(
        "qcow2", "read or refused, within bounds, as long as asked",
        mixed([script_of(qcow2(one, packed=packed, version=v)) for one in _DISKS[:4] for packed, v in ((False, 3), (True, 2))]),
        check_qcow2, 64,
    ),
    _fuzzer(
        "readconfig", "an UpstreamError with the line, or arguments of QEMU's",
        mixed(_CONFIGS, tokens=(b"[", b"]", b'"', b"=", b"\n", b'[object "x"]\n', b",", b"#", b" " * 99)), check_config, 2,
    ),
    _fuzzer(
        "options", "put together as it was; set is read, dropped is gone",
        mixed(_OPTIONS, tokens=_OPTION_TOKENS), check_option, 2,
    ),
    _fuzzer("argv", "the same words again; what it says of a machine is sound", mixed(_WORDS, tokens=_WORD_TOKENS), check_line, 4),
    _fuzzer("serial", "commands no terminal, and is never told as Pommel's", mixed(_LOGS, tokens=_LOG_TOKENS, joined=3), check_log, 4),
    _fuzzer("drives", "drives and files, or an error with words", mixed(_WORDS, tokens=_WORD_TOKENS), check_drives, 4, 30),
]  # fmt: skip
