"""The scripts for Recovery, run whole by a strict sh against stand-ins of macOS's programs, and reporting to a real listener."""

from __future__ import annotations

import plistlib
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from pommel import process
from pommel import unattended as room
from pommel.unattended import account, scripts
from pommel.unattended.inbox import Inbox, InboxReport
from pommel.unattended.scripts import LINE, InstallTarget, Reporting
from pommel.unattended.wishes import Wishes

from .recovery import PROGRAMS, SIZE, STAND_INS, Recovery, disk, volume

DATA = Path(room.__file__).parent / "data"
SOURCES = {name: (DATA / name).read_bytes() for name in scripts.SCRIPTS}
GUID = uuid.UUID("00000000-0000-4000-8000-00000000000a")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEmcJ0yXJ0yXJ0yXJ0yXJ0yXJ0yXJ0yXJ0yXJ0yXJ0yX ada@host"
WISHES = Wishes("ada", "Ada L'\"$(reboot)", (KEY,), "de_DE", "de", "Europe/Berlin")
TOKEN = "t0ken-of-this-run"


@pytest.fixture
def recovery(tmp_path: Path) -> Recovery:
    return Recovery(tmp_path / "recovery")


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox(TOKEN, scripts.WORDS)
    made.open()
    yield made
    made.close()


def files(
    stage: Literal["install", "provision"],
    inbox: Inbox | None = None,
    package: scripts.Package | None = None,
    **more: Any,
) -> dict[str, bytes]:
    address = f"127.0.0.1:{inbox.port}" if inbox else None
    record = account.record("ada", WISHES.full_name, GUID, account.shadow_hash("secret", bytes(32), iterations=10))
    return scripts.files(
        stage, InstallTarget(SIZE, "Pommel-4711", package), Reporting(address, TOKEN), WISHES,
        scripts.UserRecord(record, str(GUID).upper()), sources=SOURCES, **{"licence_accepted": True, **more},
    )  # fmt: skip


def test_shellcheck_finds_nothing() -> None:
    process.run(["shellcheck", "-s", "sh", *(DATA / name for name in scripts.SCRIPTS)])


def test_the_typed_line_is_short_and_the_scripts_name_no_program_that_recovery_lacks() -> None:
    assert len(LINE) < 30
    for name, source in SOURCES.items():
        code = re.sub(rb"(?m)^\s*#.*$", b"", source)
        lacking = rb"\b(dirname|basename|python3?|ruby|osascript|systemsetup|networksetup|touch|head|sysadminctl)\b"
        assert not re.search(lacking, code), name


def test_it_erases_the_one_disk_of_that_size_and_installs(recovery: Recovery, inbox: Inbox) -> None:
    recovery.put(files("install", inbox))
    done = recovery.run(LINE)
    assert (done.returncode, done.stderr) == (0, "")
    assert recovery.calls("diskutil")[-2] == "diskutil eraseDisk APFS Pommel-4711 GPT disk1"
    (call,) = recovery.calls("startosinstall")
    assert re.fullmatch(
        r"startosinstall --agreetolicense --volume /Volumes/Pommel-4711 --nointeraction --pidtosignal \d+ --rebootdelay 30",
        call,
    )
    heard = inbox.take()
    words = [each.word for each in heard]
    assert words[0] == "started" and "prepared" in words and "failed" not in words
    assert any("Preparing: " in each.text for each in heard if each.word == "alive")
    assert recovery.reports()[0] == "started" and "prepared" in recovery.reports()


def test_an_installer_that_fails_is_tried_again_and_at_last_told(recovery: Recovery, inbox: Inbox) -> None:
    recovery.exits(70, 0)
    recovery.put(files("install", inbox))
    assert recovery.run(LINE).returncode == 0 and len(recovery.calls("startosinstall")) == 2
    shutil.rmtree(recovery.volumes / "Pommel-4711")
    recovery.disks({"disk1": disk(SIZE)})
    recovery.exits(*[70] * 5)
    inbox.take()
    assert recovery.run(LINE).returncode == 1 and len(recovery.calls("startosinstall")) == 7
    failed = [each for each in inbox.take() if each.word == "failed"]
    assert len(failed) == 1 and "startosinstall ended with 70" in failed[0].text and "Preparing" in failed[0].text


PIECES = {"PART00.PKG": b"x" * 70_000, "PART01.PKG": b"", "PART02.PKG": b"the end"}


def whole(recovery: Recovery, pieces: dict[str, bytes]) -> scripts.Package:
    """Attach a disk with these pieces; the package that the scripts are told of is that of all PIECES."""
    folder = recovery.volumes / "POMMELPKG"
    folder.mkdir()
    for name, data in pieces.items():
        (folder / name).write_bytes(data)
    return scripts.Package("POMMELPKG", len(PIECES), sum(map(len, PIECES.values())))


def outcome(inbox: Inbox) -> InboxReport:
    """The last report but for heartbeats, as one that was on its way may come after it."""
    return [each for each in inbox.take() if each.word != "alive"][-1]


def test_with_the_whole_installer_its_app_is_copied_and_has_the_package(recovery: Recovery, inbox: Inbox) -> None:
    recovery.put(files("install", inbox, package=whole(recovery, PIECES)))
    done = recovery.run(LINE)
    assert (done.returncode, done.stderr) == (0, "")
    app = recovery.volumes / "Pommel-4711/private/tmp/Install macOS Stand-in.app"
    assert (app / "Contents/SharedSupport/SharedSupport.dmg").read_bytes() == b"".join(PIECES.values())
    ran = [path for path in (recovery.state / "paths").read_text().splitlines() if path.endswith("/startosinstall")]
    assert ran == ["/Volumes/Pommel-4711/private/tmp/Install macOS Stand-in.app/Contents/Resources/startosinstall"]


@pytest.mark.parametrize("kind", ["lacks a piece", "is not attached", "is cut"])
def test_a_whole_installer_that_is_not_whole_is_told(recovery: Recovery, inbox: Inbox, kind: str) -> None:
    there = {
        "lacks a piece": dict(list(PIECES.items())[:2]),
        "is not attached": {},
        "is cut": PIECES | {"PART00.PKG": b""},
    }
    package = whole(recovery, there[kind])
    if kind == "is not attached":
        (recovery.volumes / "POMMELPKG").rmdir()
    recovery.put(files("install", inbox, package=package))
    assert recovery.run(LINE).returncode == 1 and recovery.calls("startosinstall") == []
    said = {
        "lacks a piece": "has 2 of 3 pieces", "is not attached": "has 0 of 3 pieces", "is cut": "has 7 bytes, not 70007",
    }[kind]  # fmt: skip
    assert said in outcome(inbox).text
    assert any("erase" in call for call in recovery.calls("diskutil")) is (kind == "is cut")


@pytest.mark.parametrize(
    ("disks", "said"),
    [
        ({"disk0": disk(SIZE - 1)}, f"no disk has {SIZE} bytes"),
        ({"disk0": disk(SIZE), "disk1": disk(SIZE)}, f"two disks have {SIZE} bytes, disk0 and disk1"),
    ],
)
def test_without_exactly_one_disk_of_that_size_nothing_is_erased(
    recovery: Recovery, inbox: Inbox, disks: dict[str, Any], said: str
) -> None:
    recovery.disks(disks)
    recovery.put(files("install", inbox))
    assert recovery.run(LINE).returncode == 1
    assert not any("erase" in call for call in recovery.calls("diskutil"))
    assert said in outcome(inbox).text


def test_a_disk_with_a_system_is_never_erased(recovery: Recovery, inbox: Inbox) -> None:
    recovery.installed()
    recovery.put(files("install", inbox, again=True))
    assert recovery.run(LINE).returncode == 1
    assert not any("erase" in call for call in recovery.calls("diskutil"))
    assert "holds a system, on /Volumes/Mac, and is not erased" in outcome(inbox).text


@pytest.mark.parametrize("again", [True, False])
def test_an_installation_that_broke_off_is_erased_only_where_the_host_says_so(
    recovery: Recovery, inbox: Inbox, again: bool
) -> None:
    (recovery.volumes / "Pommel-4711" / "macOS Install Data").mkdir(parents=True)
    recovery.disks({"disk1": disk(SIZE, volume("disk1s2v1", "Pommel-4711", None, "/Volumes/Pommel-4711"))})
    recovery.put(files("install", inbox, again=again))
    recovery.run(LINE)
    assert any("eraseDisk" in call for call in recovery.calls("diskutil")) is again


def test_without_the_licence_nothing_is_done(recovery: Recovery, inbox: Inbox) -> None:
    recovery.put(files("install", inbox, licence_accepted=False))
    assert recovery.run(LINE).returncode == 1 and recovery.calls("diskutil") == []
    assert "licence" in outcome(inbox).text


def test_the_account_ssh_and_settings_are_put_on_the_data_volume(recovery: Recovery, inbox: Inbox) -> None:
    data = recovery.installed()
    recovery.put(files("provision", inbox))
    done = recovery.run(LINE)
    assert (done.returncode, done.stderr) == (0, "")
    assert [(each.word, each.text) for each in inbox.take()] == [("started", ""), ("done", "14.7.1 23H222")]
    assert recovery.calls("shutdown") == ["shutdown -h now"]
    check_provisioned(data)
    assert f"chown -R 501:20 {'/Volumes/Data/Users/ada'}" in recovery.calls("chown")


def check_provisioned(data: Path, guid: str = str(GUID).upper(), keys: Sequence[str] = (KEY,)) -> None:
    node = data / "private/var/db/dslocal/nodes/Default"
    user = plistlib.loads((node / "users/ada.plist").read_bytes())
    assert user["realname"] == [WISHES.full_name] and user["uid"] == ["501"]
    assert (node / "users/ada.plist").stat().st_mode & 0o777 == 0o600
    admin = plistlib.loads((node / "groups/admin.plist").read_bytes())
    assert admin["users"].count("ada") == 1 and admin["groupmembers"] == [guid] and "root" in admin["users"]
    assert (data / "Users/ada/.ssh/authorized_keys").read_text().splitlines() == list(keys)
    assert (data / "Users/ada/.ssh").stat().st_mode & 0o777 == 0o700
    assert (data / "private/var/db/.AppleSetupDone").exists()
    sshd = data / "private/var/db/com.apple.xpc.launchd"
    assert plistlib.loads((sshd / "disabled.plist").read_bytes()) == {"com.openssh.sshd": False}
    assert (sshd / "disabled.migrated").exists()
    power = plistlib.loads((data / "Library/Preferences/com.apple.PowerManagement.plist").read_bytes())
    assert power == {"AC Power": {"System Sleep Timer": 0, "Disk Sleep Timer": 0, "Display Sleep Timer": 0}}
    home = data / "Users/ada/Library/Preferences"
    assert plistlib.loads((home / ".GlobalPreferences.plist").read_bytes())["AppleLanguages"] == ["de-DE"]
    layout = plistlib.loads((home / "com.apple.HIToolbox.plist").read_bytes())["AppleEnabledInputSources"][0]
    assert (layout["KeyboardLayout Name"], layout["KeyboardLayout ID"]) == ("German", 3)
    seen = plistlib.loads((home / "com.apple.SetupAssistant.plist").read_bytes())
    assert seen["DidSeeCloudSetup"] is True and seen["LastSeenBuddyBuildVersion"] == "23H222"
    assert str((data / "private/etc/localtime").readlink()) == "/var/db/timezone/zoneinfo/Europe/Berlin"


def test_it_may_be_run_twice_and_leaves_other_accounts_alone(recovery: Recovery, inbox: Inbox) -> None:
    data = recovery.installed()
    recovery.put(files("provision", inbox))
    assert recovery.run(LINE).returncode == 0 and recovery.run(LINE).returncode == 0
    check_provisioned(data)
    other = data / "private/var/db/dslocal/nodes/Default/users/eve.plist"
    other.write_bytes(plistlib.dumps({"name": ["eve"], "uid": ["501"]}))
    assert recovery.run(LINE).returncode == 1
    assert "users/eve.plist has the number 501 already" in outcome(inbox).text


def test_an_account_of_that_name_that_is_not_ours_is_left_alone(recovery: Recovery, inbox: Inbox) -> None:
    record = recovery.installed() / "private/var/db/dslocal/nodes/Default/users/ada.plist"
    record.write_bytes(before := plistlib.dumps({"name": ["ada"], "generateduid": ["X"], "uid": ["502"]}))
    recovery.put(files("provision", inbox))
    assert recovery.run(LINE).returncode == 1 and record.read_bytes() == before
    assert "there is an account ada already" in outcome(inbox).text


@pytest.mark.parametrize("lacks", ["volumes", "users", "system", "work left"])
def test_an_installation_that_is_not_finished_is_told_and_nothing_is_changed(
    recovery: Recovery, inbox: Inbox, lacks: str
) -> None:
    data = recovery.installed()
    if lacks == "volumes":
        recovery.disks({"disk1": disk(SIZE)})
    elif lacks == "users":
        (data / "private/var/db/dslocal/nodes/Default/users/_spotlight.plist").unlink()
        (data / "private/var/db/dslocal/nodes/Default/users").rmdir()
    elif lacks == "system":
        (recovery.volumes / "Mac/System/Library/CoreServices/SystemVersion.plist").unlink()
    else:
        (data / "macOS Install Data").mkdir()
    recovery.put(files("provision", inbox))
    assert recovery.run(LINE).returncode == 0
    assert outcome(inbox).word == "not-finished" and not (data / "private/var/db/.AppleSetupDone").exists()


def test_without_a_network_the_reports_are_on_the_script_disk(recovery: Recovery) -> None:
    recovery.installed()
    recovery.put(files("provision"))
    assert recovery.run(LINE).returncode == 0
    assert recovery.reports() == ["started", "done"]


def test_values_are_quoted_and_the_password_is_on_no_file(recovery: Recovery) -> None:
    made = files("provision")
    assert b"secret" not in b"".join(made.values()) and b"reboot" not in made["values"]
    recovery.put({**made, "values": scripts_values("x'; echo broken; '$(echo broken)`echo broken`")})
    done = recovery.run('. /Volumes/POMMEL/values; printf %s "$volume"')
    assert done.stdout == "x'; echo broken; '$(echo broken)`echo broken`"


def scripts_values(name: str) -> bytes:
    return scripts.files(
        "install", InstallTarget(SIZE, name), Reporting(None, TOKEN), WISHES, scripts.UserRecord(b"", ""), sources=SOURCES,
        licence_accepted=True,
    )["values"]  # fmt: skip


def test_what_the_tests_have_is_what_recovery_has() -> None:
    assert not {"dirname", "basename", "python", "touch", "head"} & {*PROGRAMS, *STAND_INS}
