"""From .dmg to raw by the real programs, neither of which is believed; and which macOS is on it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.errors import MissingProgram, RecoveryError
from pommel.progress import Progress
from pommel.recovery import files, image
from pommel.recovery.image import Converted, UnknownVersion, convert, product_version

from . import udif

DISK = udif.macos_disk("14.8.4")
PROGRAMS = {
    "dmg2img": lambda dmg, raw: ["dmg2img", "-i", dmg, "-o", raw],
    "qemu-img": lambda dmg, raw: ["qemu-img", "convert", "-f", "dmg", "-O", "raw", dmg, raw],
}


@pytest.fixture
def dmg(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "Base System.dmg"
    path.write_bytes(udif.make_dmg(DISK))
    return path


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "BaseSystem.img"


def only(monkeypatch: pytest.MonkeyPatch, folder: Path, **programs: str) -> None:
    """A PATH that has these programs alone: "real", or a shell script in place of one."""
    folder.mkdir()
    for name, script in programs.items():
        path = folder / name.replace("_", "-")
        if script == "real":
            path.symlink_to(str(shutil.which(path.name)))
        else:
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name, **_: str(folder / name) if (folder / name).exists() else None)


def warnings(told: list[Progress]) -> list[str]:
    return [event.text for event in told if event.warning]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("zeros", [udif.ZERO, udif.IGNORE])
def test_the_writer_of_the_tests_is_understood_by_both_programs(dmg: Path, raw: Path, program: str, zeros: int) -> None:
    dmg.write_bytes(udif.make_dmg(DISK, zeros=zeros))
    subprocess.run(PROGRAMS[program](dmg, raw), check=True, capture_output=True)
    assert raw.read_bytes() == DISK


@pytest.mark.parametrize("program", PROGRAMS)
def test_converted_whole_with_holes(
    dmg: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    only(monkeypatch, tmp_path / "bin", **{program.replace("-", "_"): "real"}, fallocate="real")
    told: list[Progress] = []
    assert convert(dmg, raw, report=told.append) == Converted(program, len(DISK))
    assert raw.read_bytes() == DISK
    assert raw.stat().st_blocks * 512 < 500_000  # the noise is 300 kB of 3 MiB
    assert warnings(told) == []
    assert told[-1] == Progress(image.STEP, f"by {program}", len(DISK), len(DISK), "B", finished=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["BaseSystem.img", "bin", "in"]


def test_dmg2img_is_first_choice_and_without_fallocate_it_still_works(
    dmg: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert convert(dmg, raw).tool == "dmg2img"
    only(monkeypatch, tmp_path / "bin", dmg2img="real")
    assert convert(dmg, raw).tool == "dmg2img"
    assert raw.read_bytes() == DISK


def test_where_dmg2img_gets_it_wrong_qemu_img_is_asked(dmg: Path, raw: Path) -> None:
    dmg.write_bytes(udif.make_dmg(DISK, data_backwards=True))
    told: list[Progress] = []
    assert convert(dmg, raw, report=told.append).tool == "qemu-img"
    assert raw.read_bytes() == DISK
    (said,) = warnings(told)
    assert said.startswith("dmg2img could not convert Base System.dmg (") and said.endswith("trying qemu-img")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 0", "wrote 0 bytes"),
        ("echo 'the last words'; exit 3", "the last words"),
        ("exit 3", "exit status 3"),
        ("kill -SEGV $$", "SIGSEGV"),
        (f'truncate -s {len(DISK)} "$4"', "is different in the part"),
        (f'truncate -s {len(DISK) + 512} "$4"', f"wrote {len(DISK) + 512} bytes"),
        ('mkdir "$4"', "wrote 0 bytes"),
    ],
)
def test_a_program_that_fails_or_lies(
    dmg: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    only(monkeypatch, tmp_path / "bin", dmg2img=script)
    with pytest.raises(RecoveryError, match=rf"could not be converted \(dmg2img: .*{said}") as caught:
        convert(dmg, raw)
    assert caught.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "in"]


def test_data_that_was_damaged_is_found_by_its_checksum(dmg: Path, raw: Path) -> None:
    data = bytearray(dmg.read_bytes())
    at = data.find(DISK[1_100_000:1_100_064])  # noise lies there as it is
    assert at > 0
    data[at] ^= 1
    dmg.write_bytes(data)
    with pytest.raises(
        RecoveryError, match=r"dmg2img: .*is different in the part.*; qemu-img: .*is different in the part"
    ):
        convert(dmg, raw)
    assert not raw.exists()


def test_a_compression_that_both_lack(dmg: Path, raw: Path) -> None:
    dmg.write_bytes(udif.make_dmg(DISK, kind=udif.LZFSE))
    with pytest.raises(RecoveryError, match="Input/output error") as caught:
        convert(dmg, raw)
    assert "compression" in str(caught.value.hint)


def test_neither_program(dmg: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, tmp_path / "bin")
    with pytest.raises(MissingProgram, match="neither dmg2img nor qemu-img") as caught:
        convert(dmg, raw)
    assert "dmg2img" in str(caught.value.hint)


@pytest.mark.parametrize("data", [b"", b"short", bytes(4096)])
def test_no_disk_image(dmg: Path, raw: Path, data: bytes) -> None:
    dmg.write_bytes(data)
    with pytest.raises(RecoveryError, match="not a usable disk image"):
        convert(dmg, raw)
    with pytest.raises(RecoveryError, match="could not be converted"):
        convert(dmg.with_name("missing"), raw)


def test_room_is_looked_for_first(dmg: Path, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, len(DISK) - 1))  # type: ignore[attr-defined]
    with pytest.raises(RecoveryError, match="3 MB are needed") as caught:
        convert(dmg, raw)
    assert "free some space" in str(caught.value.hint)


def test_a_disk_without_file_system_is_only_warned_of(dmg: Path, raw: Path) -> None:
    dmg.write_bytes(udif.make_dmg(b"x" * 70_000))
    told: list[Progress] = []
    convert(dmg, raw, report=told.append)
    assert "may not boot" in warnings(told)[0]
    assert raw.stat().st_size == 70_144  # whole sectors


def test_ctrl_c_leaves_neither_file_nor_process(
    dmg: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, tmp_path / "bin", dmg2img=f'echo $$ >{tmp_path}/pid; echo x >"$4"; exec sleep 60')

    def interrupt(event: Progress) -> None:
        if event.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(dmg, raw, report=interrupt)
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "in", "pid"]


def test_progress_is_seen_while_it_grows(dmg: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    script = f'head -c 1000 /dev/zero >"$4"; while [ ! -e {go} ]; do sleep 0.02; done; exit 1'
    only(monkeypatch, tmp_path / "bin", dmg2img=script)
    told: list[Progress] = []

    def report(event: Progress) -> None:
        told.append(event)
        if event.done == 1000:
            go.touch()

    with pytest.raises(RecoveryError):
        convert(dmg, raw, report=report)
    assert (told[-1].done, told[-1].total, told[-1].unit) == (1000, len(DISK), "B")


LIMITED = """
import resource, sys
from pathlib import Path
from pommel.errors import RecoveryError
from pommel.recovery.image import convert
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
except RecoveryError as error:
    print(error.message)
"""


@pytest.mark.parametrize("optimised", [[], ["-O"]], ids=["plain", "python-O"])
def test_a_limit_met_midway(dmg: Path, raw: Path, optimised: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *optimised, "-c", LIMITED, dmg, raw], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert "dmg2img: it was ended by SIGXFSZ" in done.stdout and "qemu-img: " in done.stdout
    assert sorted(path.name for path in raw.parent.iterdir()) == ["in"]


def test_what_a_killed_one_left_is_no_hindrance(dmg: Path, raw: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", LIMITED.replace("(1 << 20, 1 << 20)", "(1 << 40, 1 << 40)"), dmg, raw]
    )
    aside = raw.with_name(f".{raw.name}.converting")
    while child.poll() is None and not aside.exists():
        time.sleep(0.001)
    child.kill()  # on a busy host it may have ended before it was seen
    child.wait()
    aside.mkdir(exist_ok=True)
    (aside / "raw").write_text("half")
    convert(dmg, raw)
    assert raw.read_bytes() == DISK
    assert not aside.exists()


# -- which macOS


def version_of(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return product_version(path)


@settings(deadline=None, max_examples=40)
@given(back=st.integers(0, 700), block=st.sampled_from([700, 9000, 20000]), tail=st.integers(0, 30000))
def test_found_wherever_a_border_lies(
    tmp_path_factory: pytest.TempPathFactory, back: int, block: int, tail: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "scan.img"
    plist = udif.system_version("14.8.4")
    data = bytes(2 * 9000 - back) + plist + bytes(tail) + udif.system_version("17.6", "iPhone OS") * 3
    before, files.BLOCK = files.BLOCK, block
    try:
        assert version_of(path, data) == "14.8.4"
    finally:
        files.BLOCK = before


@settings(deadline=None, max_examples=40)
@given(before=st.integers(0, 4), after=st.integers(0, 4), block=st.sampled_from([1, 100, 9000]))
def test_each_place_counts_once(tmp_path_factory: pytest.TempPathFactory, before: int, after: int, block: int) -> None:
    path = tmp_path_factory.getbasetemp() / "scan.img"
    data = udif.system_version("13.1") * before + bytes(500) + udif.system_version("12.2") * after
    size, files.BLOCK = files.BLOCK, block
    try:
        if before + after == 0:
            with pytest.raises(UnknownVersion):
                version_of(path, data)
        else:
            assert version_of(path, data) == ("13.1" if before >= after else "12.2")
    finally:
        files.BLOCK = size


BARE = b"<dict><key>ProductVersion</key><string>%s</string></dict>"


@pytest.mark.parametrize(
    ("data", "version"),
    [
        (udif.system_version("10.13.6", "Mac OS X"), "10.13.6"),
        (udif.system_version("26"), "26"),
        (BARE % b"13.1" + BARE % b"15.4" * 2, "15.4"),
        (BARE % b"15.4" * 9 + udif.system_version("14.1"), "14.1"),
        (udif.system_version("17.6", "iPhone OS") * 9 + udif.system_version("14.1"), "14.1"),
        (
            b"<dict><key>ProductName</key><string>macOS</string></dict>" + BARE % b"1.1" + udif.system_version("14.1"),
            "14.1",
        ),
        (b"<key>ProductVersion</key>\r\n\t <string> 12.7.6\n</string>", "12.7.6"),
        (BARE % b"x" + BARE % b"1.2.3.4.5" + BARE % b"11", "11"),
    ],
)
def test_the_one_that_counts(tmp_path: Path, data: bytes, version: str) -> None:
    assert version_of(tmp_path / "raw", data) == version


@pytest.mark.parametrize("data", [b"", b"ProductVersion</key>", bytes(3 << 20), BARE % b"14.x"])
def test_none(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UnknownVersion, match="does not show which macOS") as caught:
        version_of(tmp_path / "raw", data)
    assert isinstance(caught.value, RecoveryError) and caught.value.hint
