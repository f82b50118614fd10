from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import UpstreamError
from pommel.machine.commandline import CommandLine
from pommel.machine.disk_facts import DiskFacts
from pommel.machine.drives import drives_in, with_drives_spelled_out
from pommel.machine.upstream_files import (
    Named,
    UpstreamFiles,
    absolute,
    find_disks,
    find_firmware,
    keys_of,
    upstream_files,
)

from .given import line_with, upstream_line


def test_files_of_both_layouts() -> None:
    assert upstream_files(upstream_line("code_4m"), "/up") == UpstreamFiles(
        firmware_code="/up/OVMF_CODE_4M.fd",
        firmware_variables="/up/OVMF_VARS-1920x1080.fd",
        disk="/up/mac_hdd_ng.img",
        boot_disk="/up/OpenCore/OpenCore.qcow2",
        installer="/up/BaseSystem.img",
        disk_format="qcow2",
        disk_drive="MacHDD",
        boot_disk_format="qcow2",
    )
    assert upstream_files(upstream_line("code_2m"), "/up").firmware_code == "/up/OVMF_CODE.fd"


def test_files_that_are_not_there() -> None:
    without = ("-drive id=OpenCoreBoot", "-drive id=InstallMedia")
    found = upstream_files(line_with(without=without), "/up")
    assert found.boot_disk is found.installer is None


def test_an_empty_line_names_nothing() -> None:
    found = upstream_files(CommandLine.parse("qemu", []), "/up")
    assert found == UpstreamFiles(None, None, None, None, None)


def test_absolute() -> None:
    assert absolute("././a/../b", "/up") == "/up/b"
    assert absolute("/b", "/up") == "/b"
    assert absolute("fat:rw:dir", "/up") == "fat:rw:dir"


# --- which disk is whose ---------------------------------------------------------------------------------------------

OC = DiskFacts("file", "qcow2", 384 << 20, True, "OpenCore")
CLOVER = DiskFacts("file", "raw", 200 << 20, True, "Clover")
LOADER = DiskFacts("file", "raw", 200 << 20, True, "EFI")
MAC = DiskFacts("file", "qcow2", 80 << 30, True, "EFI", apple=True)
MAC_WITH_OC = DiskFacts("file", "qcow2", 80 << 30, True, "OpenCore", apple=True)
NEW = DiskFacts("file", "qcow2", 80 << 30)
SMALL = DiskFacts("file", "raw", 1 << 30)
DATA = DiskFacts("file", "raw", 2 << 30, True)


def drive(name: str, *more: str, plug: str = "ide-hd,drive={}") -> tuple[str, ...]:
    return "-drive", ",".join([f"if=none,id={name},file={name}.img", *more]), "-device", plug.format(name)


def parts(words: tuple[str, ...], wanted: str | None = None, **seen: DiskFacts) -> tuple[str, ...]:
    """The names of machine, boot disk, installer, and the further ones."""
    facts = {f"/up/{name}.img": fact for name, fact in seen.items()}
    found = find_disks(with_drives_spelled_out(CommandLine.parse("q", words)), "/up", facts, wanted)
    named = [d.name or d.file if d else "-" for d in (found.machine, found.boot, found.installer)]
    return (*named, *(d.name or d.file for d in found.further))


@pytest.mark.parametrize(
    ("words", "seen", "wanted"),
    [
        # By what is on them, whatever they are called.
        ((*drive("a"), *drive("b")), {"a": OC, "b": NEW}, ("b", "a", "-")),
        ((*drive("a"), *drive("b")), {"a": NEW, "b": CLOVER}, ("a", "b", "-")),
        ((*drive("OpenCore"), *drive("MacHDD")), {"OpenCore": NEW, "MacHDD": OC}, ("OpenCore", "MacHDD", "-")),
        # A Mac's own disk is its own, with OpenCore on it or not.
        (drive("a"), {"a": MAC_WITH_OC}, ("a", "-", "-")),
        ((*drive("OpenCoreBoot"), *drive("a")), {"OpenCoreBoot": OC, "a": MAC_WITH_OC}, ("a", "OpenCoreBoot", "-")),
        ((*drive("a"), *drive("b")), {"a": DATA, "b": MAC}, ("b", "-", "-", "a")),
        # By size, where nothing else tells.
        ((*drive("a"), *drive("b")), {"a": SMALL, "b": NEW}, ("b", "-", "-", "a")),
        # By use.
        ((*drive("a", "readonly=on"), *drive("b")), {}, ("b", "-", "-", "a")),
        ((*drive("a", "snapshot=on"), *drive("b")), {}, ("b", "-", "-", "a")),
        ((*drive("a", plug="usb-storage,drive={}"), *drive("b")), {}, ("b", "-", "-", "a")),
        ((*drive("a", plug="ide-cd,drive={}"), *drive("b")), {}, ("b", "-", "-", "a")),
        (("-hda", "x.img", "-cdrom", "y.iso"), {}, ("x.img", "-", "-", "y.iso")),
        # By the firmware's order, for a small disk with a loader.
        ((*drive("a", plug="ide-hd,drive={},bootindex=2"), *drive("b", plug="ide-hd,drive={},bootindex=1")),
         {"a": NEW, "b": LOADER}, ("a", "b", "-")),
        # By name, where nobody could look.
        ((*drive("ESP"), *drive("InstallMedia"), *drive("SystemDisk")), {}, ("SystemDisk", "ESP", "InstallMedia")),
        ((*drive("x", "snapshot=on"), *drive("MacHDD", "snapshot=on")), {}, ("MacHDD", "-", "-", "x")),
        # Two with OpenCore: the one that is called so, or comes first.
        ((*drive("a"), *drive("opencore"), *drive("m")), {"a": OC, "opencore": OC, "m": NEW},
         ("m", "opencore", "-", "a")),
        ((*drive("esp", plug="ide-hd,drive={}"), *drive("m")), {"esp": MAC, "m": NEW}, ("esp", "-", "-", "m")),
        # A folder shown as a disk is nobody's own.
        ((*drive("m"), "-drive", "file=fat:rw:x"), {}, ("m", "-", "-", "fat:rw:x")),
        (("-drive", "file=fat:x"), {}, ("-", "-", "-", "fat:x")),
        ((), {}, ("-", "-", "-")),
    ],
)  # fmt: skip
def test_which_disk_is_whose(words: tuple[str, ...], seen: dict[str, DiskFacts], wanted: tuple[str, ...]) -> None:
    assert parts(words, **seen) == wanted


@pytest.mark.parametrize("seen", [{}, {"a": NEW, "b": NEW}, {"a": MAC, "b": MAC}])
def test_two_that_could_be_the_machines_are_an_error(seen: dict[str, DiskFacts]) -> None:
    words = (*drive("a"), *drive("b"))
    with pytest.raises(UpstreamError, match=r"more than one disk(.|\n)*id=a(.|\n)*id=b") as told:
        parts(words, **seen)
    assert 'disk_file = "own:a"' in (told.value.hint or "") and '"upstream:a"' in (told.value.hint or "")
    for word in ("b", "b.img", "/up/b.img"):
        assert parts(words, word, **seen) == ("b", "-", "-", "a")
    with pytest.raises(UpstreamError, match="disk_file names the drive c"):
        parts(words, "c", **seen)


@given(st.permutations([(*drive("x"), "boot"), (*drive("MacHDD"), "mac"), (*drive("InstallMedia"), "inst")]))
def test_the_order_of_drives_does_not_matter(drives: list[tuple[str, ...]]) -> None:
    words = tuple(word for one in drives for word in one[:-1])
    assert parts(words, x=OC, MacHDD=MAC, InstallMedia=DATA) == ("MacHDD", "x", "InstallMedia")


def test_further_drives_have_names_of_their_own() -> None:
    words = (
        *drive("MacHDD"),
        *drive("Data_1!"),
        *drive("data-1"),
        *drive("ro", "readonly=on"),
        "-hdd",
        "/x/..",
        "-hda",
        "fat:x",
    )
    found = upstream_files(CommandLine.parse("q", words), "/up").further
    assert [(each.key, each.needs_copy) for each in found] == [
        ("upstream-data_1", True), ("upstream-data-1", True), ("upstream-ro", False), ("upstream-drive", True), ("upstream-fat-x", False),
    ]  # fmt: skip
    assert own_disks_can_be_called(found)


def own_disks_can_be_called(found: tuple[Named, ...]) -> bool:
    return all(re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", each.key) for each in found)


@given(st.lists(st.text(max_size=40), max_size=5))
def test_any_drive_gets_a_name_for_its_copy(names: list[str]) -> None:
    words = [word for name in names for word in ("-drive", f"id={name.replace(',', '')},file=x")]
    drives = drives_in(CommandLine.parse("q", words))
    keys = keys_of(drives)
    assert len(keys) == len(drives) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", key) for key in keys)


@pytest.mark.parametrize(
    ("sizes", "wanted"), [((1966080, 131072), "A"), ((131072, 1966080), "B"), ((0, 0), "A"), ((4, 4), "A")]
)
def test_code_is_the_larger_flash_else_the_first(sizes: tuple[int, int], wanted: str) -> None:
    line = CommandLine.parse("q", ["-drive", "if=pflash,file=A", "-drive", "if=pflash,file=B"])
    facts = {f"/up/{name}": DiskFacts("file", "raw", size) for name, size in zip("AB", sizes, strict=True)}
    found = find_firmware(line, "/up", facts)
    assert found.code is not None and found.code.file == wanted and found.variables is not None
