"""Text as editors, shells and other systems leave it, in each kind of file that people write."""

from __future__ import annotations

import os
import plistlib
import shlex
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel import config, texts
from pommel.app.adopt.recognise import recognise
from pommel.app.argv.machine_disk import read_configs
from pommel.app.guest.copy_id import read_public
from pommel.app.mesh.ticket import read_ticket
from pommel.errors import ConfigError, PommelError, UpstreamError, UsageError
from pommel.machine.commandline import CommandLine
from pommel.opencore import build, plist
from pommel.overlay import patches
from pommel.overlay.capture import capture

TEXT = '[machine.a]\nssh_user = "jürgen"\nboot_script = "a.sh"\n'
MARKED = {"utf-8": "utf-8-sig", "utf-16-le": "utf-16", "utf-16-be": "utf-16-be", "utf-32-le": "utf-32"}


def marked(text: str, coding: str) -> bytes:
    return ("\ufeff" + text).encode(coding)


@pytest.mark.parametrize("coding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_mark_says_what_a_configuration_is(tmp_path: Path, coding: str, end: str) -> None:
    (tmp_path / "pommel.toml").write_bytes(marked(TEXT.replace("\n", end), coding))
    found = config.read_file(config.find_file(tmp_path, {}))
    assert found.machines == {"a": {"ssh_user": "jürgen", "boot_script": "a.sh"}}


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.sampled_from(sorted(MARKED)))
def test_all_text_comes_back(text: str, coding: str) -> None:
    assert texts.decode(marked(text, coding), Path("f")) == text


@pytest.mark.parametrize(
    ("data", "said", "mends"),
    [
        (TEXT.encode("latin-1"), r":2 is not text in UTF-8; it looks like ISO-8859-1", "ISO-8859-1"),
        (TEXT.encode("utf-16-le"), r":\d is not text in UTF-8; it looks like UTF-16LE", "UTF-16LE"),
        (TEXT.encode("utf-16-be"), r":\d is not text in UTF-8; it looks like UTF-16BE", "UTF-16BE"),
        (
            "a = 1\n".encode("utf-16-le"),
            r":1 holds a NUL byte, which is not allowed in a text file; it looks like UTF-16LE",
            "UTF-16LE",
        ),
        (b"a = 1\nb = '\0'\n", r":2 holds a NUL byte, which is not allowed in a text file$", None),
        (b"\xff\xfea", r":1 is not text in UTF-16$", None),
    ],
)
def test_other_text_is_refused_with_what_mends_it(tmp_path: Path, data: bytes, said: str, mends: str | None) -> None:
    path = tmp_path / "pommel (1).toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"pommel \(1\)\.toml" + said) as refusal:
        texts.read_text(path)
    assert refusal.value.hint
    if mends:
        command = (refusal.value.hint or "").partition(": ")[2]
        assert f"-f {mends} " in command
        subprocess.run(["sh", "-c", command.replace("NEW", str(tmp_path / "new"))], check=True)
        assert texts.read_text(tmp_path / "new") == data.decode(mends)


def kinds(where: Path) -> dict[str, str]:
    """Things that are no file, by path, and what they are called."""
    (where / "folder").mkdir()
    os.mkfifo(where / "pipe")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(where / "socket"))
    (where / "null").symlink_to("/dev/null")
    (where / "gone").symlink_to("nothing")
    (where / "loop").symlink_to("loop")
    return {
        "folder": "is a folder, but a file is needed",
        "pipe": "is a pipe, but a file is needed",
        "socket": "cannot be read: No such device",
        "null": "is a device, but a file is needed",
        "gone": "cannot be read: No such file",
        "loop": "cannot be read: Too many levels",
    }


@pytest.mark.timeout(20)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    for name, said in kinds(tmp_path).items():
        with pytest.raises(ConfigError, match=rf"/{name} {said}"):
            texts.read_text(tmp_path / name)
        (tmp_path / "pommel.toml").symlink_to(tmp_path / name)
        with pytest.raises(ConfigError, match=rf"/pommel\.toml {said}") as refusal:
            config.read_file(config.find_file(tmp_path, {}))
        assert "POMMEL_CONFIG" in (refusal.value.hint or "")
        (tmp_path / "pommel.toml").unlink()


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
def test_one_that_may_not_be_read(tmp_path: Path) -> None:
    path = Path("/tmp") / f"pommel-test-{os.getpid()}.toml"
    path.touch(0o600)
    os.seteuid(54321)
    try:
        with pytest.raises(ConfigError, match="cannot be read: Permission denied") as refusal:
            texts.read_text(path)
    finally:
        os.seteuid(0)
        path.unlink()
    assert refusal.value.hint == f"ls -l {path} shows who has permission"


def test_one_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 1025)
    assert len(texts.read_text(tmp_path / "f", most=1025)) == 1025
    with pytest.raises(UsageError, match="has more than 1 KiB"):
        texts.read_text(tmp_path / "f", most=1024, error=UsageError)


def test_a_pipe_where_one_may_be_named() -> None:
    """As the shell's <(command) does."""
    read, write = os.pipe()
    os.write(write, b"abc")
    os.close(write)
    assert texts.read_bytes(Path(f"/dev/fd/{read}"), pipes=True) == b"abc"
    os.close(read)


PATCH = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n"
CONF = 'guest_os="macos"\ndisk_img="m/disk.qcow2"\nram="4G"\n'
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me"
XML = "<domain><name>m</name><devices><disk><source file='/d.qcow2'/></disk></devices></domain>\n"


def of_patch(path: Path) -> object:
    (path.parent / "patches").mkdir()
    shutil.move(path, path.parent / "patches" / "1.patch")
    return [each.text for each in patches.read(path.parent)]


def of_conf(path: Path) -> object:
    path = path.rename(path.with_suffix(".conf"))
    (path.parent / "m").mkdir()
    return recognise(path).settings["memory"].value


def of_xml(path: Path) -> object:
    return recognise(path.rename(path.with_suffix(".xml"))).disk


def of_readconfig(path: Path) -> object:
    return read_configs(CommandLine.parse("qemu", ["-readconfig", path.name]), path.parent).argv


def of_plist(path: Path) -> object:
    return plist.read(build._read_config(path, path.parent), path.name)


def of_key(path: Path) -> object:
    return read_public(path).comment


# What people write, how it is read, what comes of it.
WRITTEN: dict[str, tuple[str, Callable[[Path], object], object]] = {
    "patch": (PATCH, of_patch, [PATCH]),
    "quickemu": (CONF, of_conf, "4G"),
    "libvirt": (XML, of_xml, "/d.qcow2"),
    "readconfig": ('[device "x"]\n  driver = "ide-hd"\n', of_readconfig, ("qemu", "-device", "ide-hd,id=x")),
    "plist": (plistlib.dumps({"a": 1}).decode(), of_plist, {"a": 1}),
    "key": (KEY, of_key, "me"),
}


@pytest.mark.parametrize("what", WRITTEN)
@pytest.mark.parametrize("coding", ["", "utf-8", "utf-16-le"])
def test_every_text_that_people_write(tmp_path: Path, what: str, coding: str) -> None:
    text, reader, expected = WRITTEN[what]
    if what == "plist" and coding == "utf-16-le":
        text = text.replace("UTF-8", "UTF-16")
    (tmp_path / "it").write_bytes(marked(text, coding) if coding else text.encode())
    assert reader(tmp_path / "it") == expected


@pytest.mark.timeout(20)
@pytest.mark.parametrize("what", WRITTEN)
@pytest.mark.parametrize("kind", ["pipe", "latin"])
def test_every_text_that_people_write_or_what_is_wrong_with_it(tmp_path: Path, what: str, kind: str) -> None:
    text, reader, _ = WRITTEN[what]
    if kind == "pipe" and what == "key":
        pytest.skip("a key may come through a pipe")
    if kind == "pipe":
        os.mkfifo(tmp_path / "it")
    else:
        (tmp_path / "it").write_bytes(text.encode() + "ü\n".encode("latin-1"))
    with pytest.raises(PommelError, match=r"is a pipe, but a file|is not text in UTF-8|not a property list: .*line \d"):
        reader(tmp_path / "it")


@pytest.mark.parametrize("name", ["folder", "gone"])
def test_a_ticket_that_is_no_file(tmp_path: Path, name: str) -> None:
    said = kinds(tmp_path)[name]
    with pytest.raises(UsageError, match=said):
        read_ticket(str(tmp_path / name))


def test_a_patch_that_was_given_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "it").write_text(PATCH.replace("\n", "\r\n"), newline="")
    with pytest.raises(ConfigError, match=r"patches/1\.patch:1: it has Windows line ends") as refusal:
        of_patch(tmp_path / "it")
    subprocess.run(["sh", "-c", refusal.value.hint or ""], cwd=tmp_path, check=True)
    assert [each.text for each in patches.read(tmp_path)] == [PATCH]


def test_a_patch_of_a_file_with_windows_line_ends_stands(tmp_path: Path) -> None:
    text = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\r\n+b\r\n"
    (tmp_path / "it").write_text(text, newline="")
    assert of_patch(tmp_path / "it") == [text]


@pytest.mark.parametrize("coding", ["utf-8", "utf-16-le"])
def test_a_boot_script_with_a_mark_is_told_to_be_none(tmp_path: Path, coding: str) -> None:
    path = tmp_path / "boot.sh"
    path.write_bytes(marked("#!/bin/sh\nqemu-system-x86_64 -S\n", coding))
    path.chmod(0o755)
    with pytest.raises(UpstreamError, match="begins with a byte order mark") as refusal:
        capture(tmp_path, "boot.sh")
    hint = (refusal.value.hint or "").replace("NEW", shlex.quote(str(tmp_path / "new")))
    subprocess.run(["sh", "-c", hint], check=True)
    if coding != "utf-8":
        (tmp_path / "new").replace(path)
        path.chmod(0o755)
    assert capture(tmp_path, "boot.sh").argv == ("-S",)
