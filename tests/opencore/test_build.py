"""The boot disk: what is on it, what it takes, and that OVMF in a real QEMU boots it."""

from __future__ import annotations

import os
import plistlib
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pommel import paths
from pommel.errors import BuildError, MissingProgram, PommelError, UpstreamError
from pommel.opencore import build as room
from pommel.opencore.build import build, key, needs_build
from pommel.opencore.options import Options, Smbios
from pommel.progress import Progress

from .trees import FILES, MISSING, config, lay

ENV = {**os.environ, "MTOOLSRC": os.devnull}


def unpacked(disk: Path, folder: Path) -> Path:
    """The files of a disk, copied out."""
    subprocess.run(["qemu-img", "convert", "-O", "raw", disk, folder / "raw"], check=True)
    (folder / "out").mkdir()
    subprocess.run(["mcopy", "-s", "-i", folder / "raw", "::/EFI", folder / "out"], env=ENV, check=True)
    return folder / "out" / "EFI"


def test_the_disk_holds_the_folder_and_a_configuration_that_fits(tmp_path: Path) -> None:
    efi, plist = lay(tmp_path)
    (efi / "OC" / "Config.plist").write_text("upstream's sample, which is replaced")
    said: list[Progress] = []
    built = build(efi, plist, tmp_path / "new" / "OpenCore.qcow2", options=Options(timeout_s=7), report=said.append)
    out = unpacked(built.path, tmp_path)
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    packed = plistlib.loads(files.pop("OC/config.plist"))
    assert files == {name: name.encode() for name in FILES}
    assert packed["Misc"]["Boot"]["Timeout"] == 7
    assert [entry["Enabled"] for entry in packed["Kernel"]["Add"]] == [True, True, False, False, False]
    assert list(packed) == list(config())
    assert [entry.name for entry in built.disabled] == MISSING
    assert [event.text.count(name) for event, name in zip(filter(lambda e: e.warning, said), MISSING, strict=True)]
    assert "OpenCore's Misc/Boot/Timeout: 45 → 7" in [event.text for event in said]
    assert [event.finished for event in said if event.step == "opencore"] == [False, True]
    assert plistlib.loads(plist.read_bytes()) == config(), "the upstream's file stays as it is"
    assert os.listdir(built.path.parent) == ["OpenCore.qcow2"]


def test_the_key_stands_for_all_that_goes_in(tmp_path: Path) -> None:
    efi, plist = lay(tmp_path)
    keys = [key(efi, plist)]
    assert key(efi, plist, Options()) == keys[0]
    keys += [key(efi, plist, Options(timeout_s=1)), key(efi, plist, Options(smbios=Smbios(rom=b"123456")))]
    (efi / "OC" / "OpenCore.efi").write_bytes(b"newer")
    keys.append(key(efi, plist))
    (efi / "OC" / "OpenCore.efi").rename(efi / "OC" / "opencore.efi")
    keys.append(key(efi, plist))
    (efi / "OC" / "Kexts" / "more").touch()
    keys.append(key(efi, plist))
    plist.write_bytes(plist.read_bytes() + b"\n")
    keys.append(key(efi, plist))
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 16 and int(key, 16) for key in keys)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda efi, plist: (efi / "BOOT" / "BOOTx64.efi").unlink(), "it has no EFI/BOOT/BOOTx64.efi"),
        (lambda efi, plist: (efi / "OC" / "OpenCore.efi").unlink(), "it has no EFI/OC/OpenCore.efi"),
        (lambda efi, plist: shutil.rmtree(efi), "is not an OpenCore folder"),
        (
            lambda efi, plist: (efi / "OC" / "link").symlink_to("/etc/passwd"),
            "OC/link is a symbolic link that leads outside",
        ),
        (lambda efi, plist: os.mkfifo(efi / "OC" / "pipe"), "is not a file or a folder"),
        (lambda efi, plist: plist.unlink(), "config.plist cannot be read"),
        (lambda efi, plist: plist.write_bytes(b"<plist>"), "is not a property list"),
        (lambda efi, plist: plist.write_bytes(bytes((16 << 20) + 1)), "more than 16 MiB"),
        (lambda efi, plist: (efi / "OC" / "ü").touch(), "cannot be a file's name"),
        (lambda efi, plist: (efi / "OC" / "OPENCORE.EFI").touch(), "FAT cannot tell"),
    ],
)
def test_what_cannot_be_packed_is_said_and_an_older_disk_stays(harm: object, said: str, tmp_path: Path) -> None:
    efi, plist = lay(tmp_path)
    harm(efi, plist)  # type: ignore[operator]
    target = tmp_path / "out" / "disk"
    target.parent.mkdir()
    target.write_bytes(b"older")
    with pytest.raises((UpstreamError, BuildError), match=said) as refusal:
        build(efi, plist, target)
    assert isinstance(refusal.value, PommelError)
    assert target.read_bytes() == b"older"
    assert os.listdir(target.parent) == ["disk"]


def test_links_are_packed_as_what_they_lead_to(tmp_path: Path) -> None:
    efi, plist = lay(tmp_path)
    (efi / "OC" / "OpenCore.efi").rename(tmp_path / "OpenCore-1.0.efi")
    (efi / "OC" / "OpenCore.efi").symlink_to("../../OpenCore-1.0.efi")
    (efi / "OC" / "Kexts").rename(tmp_path / "kexts")
    (efi / "OC" / "Kexts").symlink_to(tmp_path / "kexts")
    with pytest.raises(UpstreamError, match=r"OC/Kexts is a symbolic link that leads outside .*/EFI"):
        build(efi, plist, tmp_path / "disk")
    before = key(efi, plist, root=tmp_path)
    out = unpacked(build(efi, plist, tmp_path / "disk", root=tmp_path).path, tmp_path)
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert set(files) == {*FILES, "OC/config.plist"}
    assert all(files[name] == name.encode() for name in FILES)
    (tmp_path / "OpenCore-1.0.efi").write_bytes(b"newer")
    assert key(efi, plist, root=tmp_path) != before
    link = tmp_path / "linked.plist"
    link.symlink_to("/etc/passwd")
    with pytest.raises(UpstreamError, match=r"linked.plist is a symbolic link that leads outside"):
        build(efi, link, tmp_path / "disk", root=tmp_path)


def test_upstreams_spelling_of_the_loader_does_not_matter(tmp_path: Path) -> None:
    efi, plist = lay(tmp_path)
    (efi / "BOOT").rename(efi / "Boot")
    (efi / "Boot" / "BOOTx64.efi").rename(efi / "Boot" / "BOOTX64.EFI")
    assert (unpacked(build(efi, plist, tmp_path / "disk").path, tmp_path) / "Boot" / "BOOTX64.EFI").is_file()


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    efi, plist = lay(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(BuildError, match="folder cannot be created"):
        build(efi, plist, tmp_path / "folder")
    with pytest.raises(BuildError, match="cannot be created"):
        build(efi, plist, plist / "disk")


def test_qemu_img_is_asked_for_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda n, path=None: None if n == "qemu-img" else which(n, path=path))
    with pytest.raises(MissingProgram) as refusal:
        build(tmp_path, tmp_path, tmp_path / "disk")
    assert "qemu-utils" in (refusal.value.hint or "")


def test_a_killed_build_leaves_only_what_a_sweep_removes(tmp_path: Path) -> None:
    efi, plist = lay(tmp_path)
    (efi / "OC" / "large").write_bytes(os.urandom(64 << 20))
    out = tmp_path / "out"
    out.mkdir()
    code = (
        "import sys; from pathlib import Path; from pommel.opencore.build import build; build(*map(Path, sys.argv[1:]))"
    )
    child = subprocess.Popen([sys.executable, "-c", code, efi, plist, out / "disk"])
    while not list(out.iterdir()):
        assert child.poll() is None
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (out / "disk").exists()
    assert list(out.iterdir())
    while subprocess.run(["pgrep", "-f", f"-i {out}|{out}/.disk"], capture_output=True).returncode == 0:
        time.sleep(0.01)  # mcopy is still at it
    paths.sweep_aside(out / "disk")
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "the upstream has no OpenCore.qcow2"),
        (b"", "OpenCore.qcow2 is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "only a git-lfs pointer"),
        (b"\0" * 512, "is not a qcow2 image"),
    ],
)
def test_when_upstreams_own_disk_will_not_do(content: bytes | None, why: str, tmp_path: Path) -> None:
    disk = tmp_path / "OpenCore.qcow2"
    if content is not None:
        disk.write_bytes(content)
    assert why in (needs_build(disk) or "")


def test_upstreams_own_disk_will_do(tmp_path: Path) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "disk", "1M"], check=True)
    assert needs_build(tmp_path / "disk") is None
    assert "cannot be read" in (needs_build(tmp_path) or "")


def test_ovmf_boots_it_and_the_loader_reads_the_packed_configuration(tmp_path: Path) -> None:
    efi, plist = lay(tmp_path)
    menu = tmp_path / "grub.cfg"
    menu.write_text("serial --unit=0\nterminal_output serial\ncat $cmdpath/../OC/config.plist\necho THE END\nhalt\n")
    modules = "--install-modules=fat part_gpt cat echo serial terminal halt normal"
    words = ["grub-mkstandalone", "-O", "x86_64-efi", "-o", efi / "BOOT" / "BOOTx64.efi", modules]
    words += ["--fonts=", "--locales=", "--themes=", f"boot/grub/grub.cfg={menu}"]
    subprocess.run(words, check=True, capture_output=True)
    disk = build(efi, plist, tmp_path / "OpenCore.qcow2", options=Options(timeout_s=123)).path
    shutil.copy("/usr/share/OVMF/OVMF_VARS_4M.fd", tmp_path / "vars.fd")
    serial = tmp_path / "serial"
    words = ["qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-m", "256", "-nodefaults", "-display", "none"]
    words += ["-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"]
    words += ["-drive", f"if=pflash,format=raw,file={tmp_path}/vars.fd", "-serial", f"file:{serial}"]
    words += ["-drive", f"id=OpenCoreBoot,if=none,snapshot=on,format=qcow2,file={disk}"]
    words += ["-device", "ide-hd,bus=ide.2,drive=OpenCoreBoot"]
    subprocess.run(words, check=True, timeout=120)
    said = serial.read_text(errors="replace")
    assert "<integer>123</integer>" in said
    assert "THE END" in said


def test_a_failing_qemu_img_is_a_build_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    efi, plist = lay(tmp_path)
    monkeypatch.setattr(room, "make_fat", lambda image, files, label: None)
    with pytest.raises(BuildError, match="cannot be created: qemu-img failed"):
        build(efi, plist, tmp_path / "disk")
    assert not (tmp_path / "disk").exists()


def test_no_room_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    efi, plist = lay(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(BuildError, match="0 MiB left"):
        build(efi, plist, tmp_path / "disk")
