"""From an empty folder to a macOS machine's screen, against a stand-in upstream and a stand-in for Apple."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver import Shell
from e2e.osx_kvm import OsxKvm
from overlay.repos import NEW, SCRIPT, sh
from recovery import udif
from recovery.apple import FakeApple, driver_words, served
from waits import wait_until

pytestmark = pytest.mark.e2e
SONOMA, SEQUOIA = "14.8.4", "15.4.1"
FIRST_BOARD, SECOND_BOARD = "Mac-827FAC58A8FDFA22", "Mac-226CB3C6A851A671"
STEPS = ["cpu", "kvm", "packages", "modules", "recovery", "disk", "desktop"]
MACHINE = '[machine.sonoma]\nmacos = "sonoma"\nmemory = "1G"\n'


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> OsxKvm:
    return OsxKvm(tmp_path_factory.mktemp("osx-kvm"))


@pytest.fixture
def apple() -> Iterator[FakeApple]:
    """It has Sonoma for the second board only; the first gets Sequoia, as happens."""
    other = udif.make_dmg(udif.macos_disk(SEQUOIA))
    fake = FakeApple(
        image=udif.make_dmg(udif.macos_disk(SONOMA)), boards={SECOND_BOARD}, others={FIRST_BOARD: ("093-10615", other)}
    )
    with served(fake):
        yield fake


@pytest.fixture
def mac(apple: FakeApple) -> Iterator[Shell]:
    """A home of its own, and the command with the stand-in for Apple."""
    shell = Shell()
    shell.command = [sys.executable, str(Path(__file__).parents[1] / "with_apple.py"), *driver_words(apple)]
    try:
        yield shell
    finally:
        shell.close()


def test_from_init_to_a_screen(mac: Shell, upstream: OsxKvm, apple: FakeApple) -> None:
    commit = upstream.january()
    begun = mac.json("init", ".", "--macos", "sonoma")
    assert begun["git"] and set(begun["written"]) >= {"pommel.toml", "README.md", ".gitignore"}
    (mac.cwd / "pommel.toml").write_text(upstream.toml(commit, MACHINE))
    (mac.cwd / "patches" / "notes.patch").write_text(
        "--- a/notes.md\n+++ b/notes.md\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"
    )
    (mac.cwd / "files" / "ours.txt").write_text("ours\n")

    done = mac.json("bootstrap", timeout_s=300)
    assert done["as_planned"] and done["commit"] == commit
    assert [step["key"] for step in done["setup"]] == STEPS
    assert {step["state"] for step in done["setup"]} <= {"done", "warn"}
    assert "patches/notes.patch: applied" in done["changes"]
    checkout = Path(done["checkout"])
    assert (checkout / "notes.md").read_text() == "one\n2\nthree\n"
    assert (checkout / "ours.txt").read_text() == "ours\n"
    assert [post["bid"] for post in apple.posts] == [FIRST_BOARD, SECOND_BOARD]

    again = mac.json("bootstrap", timeout_s=120)
    assert again["changes"] == []
    assert not any(step["changed"] for step in again["setup"])

    told = mac.json("up", "sonoma", timeout_s=300)
    assert told["url"]
    assert len(apple.posts) == 2
    assert mac.json("status", "sonoma")["state"] == "installing"
    picture = mac.cwd / "screen.png"
    mac.run("screenshot", "sonoma", str(picture))
    assert picture.stat().st_size > 2000

    argv = mac.json("argv", "sonoma")["argv"]
    installer = next(word for word in argv if "id=InstallMedia" in word)
    assert f"{mac.home}/recovery/sha256-" in installer and "snapshot=on" in installer
    assert any("id=OpenCoreBoot" in word and f"{mac.home}/opencore/" in word for word in argv)
    assert any(f"{mac.machine('sonoma')}/mac_hdd_ng.img" in word for word in argv)
    # What a machine writes never dirties the checkout.
    assert sh(checkout, "status", "--porcelain", "--untracked-files=no", "--", "OVMF_VARS-1920x1080.fd") == ""
    assert mac.json("overlay", "status")["as_planned"]

    checks = mac.json("doctor", "sonoma")["checks"]
    assert {check["group"] for check in checks} == {
        "host", "KVM", "packages", "upstream", "recovery", "disk", "network", "clipboard", "console",
    }  # fmt: skip
    assert mac.json("stop", "sonoma", "--force")["how"] == "quit"
    mac.run("uninstall", "--yes", timeout_s=60)
    assert not (mac.home / "recovery").exists() and not (mac.root / "user" / ".local" / "bin" / "pommel").exists()
    wait_until(lambda: not mac.processes(), 30)


def test_up_alone_does_all_of_it_with_nothing_configured_but_where_upstream_is(mac: Shell, upstream: OsxKvm) -> None:
    mac.config(upstream.toml(upstream.october(), "[machine.work]\nmemory = '1G'\nmacos = '14'\n"))
    steps = mac.json("up", "work", "--dry-run")["steps"]
    assert [step["needed"] for step in steps if step["what"].startswith(("clone", "download", "make", "start"))] == [
        True
    ] * 4
    mac.run("up", "work", "--json", "--detach", timeout_s=300)
    assert mac.json("status", "work")["state"] == "installing"
    diff = mac.run("overlay", "diff", "work").stdout
    assert "-snapshot" not in diff.splitlines()[0]
    assert any(line.startswith("# ") for line in diff.splitlines())
    assert any(line.startswith("+-pidfile") for line in diff.splitlines())


def test_a_clone_is_another_mac_and_is_told_so(mac: Shell, upstream: OsxKvm) -> None:
    mac.config(upstream.toml(upstream.october(), MACHINE))
    mac.run("setup", "sonoma", "--only", "recovery", "--only", "disk", timeout_s=120)
    shared = boot_disk(mac.json("argv", "sonoma")["argv"])
    made = mac.json("clone", "sonoma", "second")["identity"]
    assert (made["model"], len(made["serial"]), len(made["board_serial"])) == ("iMac19,1", 12, 17)
    assert made["rom"] == made["mac"].replace(":", "").upper()
    own = boot_disk(mac.json("argv", "second")["argv"])
    assert own != shared
    mac.run("start", "second", "--throwaway")
    packed = subprocess.run(["qemu-img", "convert", "-O", "raw", own, mac.root / "raw"], check=True)
    assert packed.returncode == 0
    raw = (mac.root / "raw").read_bytes()
    assert made["serial"].encode() in raw and made["board_serial"].encode() in raw and b"SHARED" not in raw
    first = mac.json("info", "sonoma")["identity"]
    assert first["model"] == "iMac19,1" and first["serial"] not in (None, made["serial"])
    assert mac.json("clone", "sonoma", "third", "--keep-identity")["identity"] == first
    assert (
        "is not a Mac model that numbers can be created for"
        in mac.run("clone", "sonoma", "no", "--model", "x", status=2).stderr
    )
    mac.run("stop", "second", "--force")


def boot_disk(argv: list[str]) -> str:
    """The file of the boot disk in a command line."""
    return next(word for word in argv if "id=OpenCoreBoot" in word).partition("file=")[2].partition(",")[0]


def test_the_upstream_moves_on_and_a_conflict_leaves_all_as_it_was(mac: Shell, upstream: OsxKvm) -> None:
    first = upstream.october()
    mac.config(upstream.toml(first, MACHINE))
    (mac.cwd / "patches").mkdir()
    patch = mac.cwd / "patches" / "a.patch"
    patch.write_text("--- a/notes.md\n+++ b/notes.md\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n")
    mac.run("bootstrap", "--no-setup")
    second = upstream.commit({"notes.md": "ONE\nTWO\nTHREE\n"}, force=True)  # rewritten: the first is on no branch
    seen = mac.json("overlay", "status", "--fetch")
    assert (seen["commit"], seen["force_pushed"]) == (first, True)

    mac.config(upstream.toml(second, MACHINE))
    refused = mac.run("bootstrap", "--no-setup", status=3)
    assert "pommel bootstrap --update" in refused.stderr
    done = mac.run("bootstrap", "--no-setup", "--update", status=1)
    assert "patches/a.patch" in done.stderr and "notes.md" in done.stderr and "hint: " in done.stderr
    after = mac.json("overlay", "status")
    assert (after["commit"], [p["state"] for p in after["patches"]]) == (first, ["applied"])

    patch.write_text("--- a/notes.md\n+++ b/notes.md\n@@ -1,3 +1,3 @@\n ONE\n-TWO\n+2\n THREE\n")
    moved = mac.json("bootstrap", "--no-setup", "--update")
    assert (moved["commit"], moved["as_planned"]) == (second, True)
    assert any(change.startswith(f"moved from {first}") for change in moved["changes"])


def test_without_a_network_what_is_here_is_enough(mac: Shell, upstream: OsxKvm) -> None:
    commit = upstream.january()
    mac.config(upstream.toml(commit, MACHINE))
    mac.run("bootstrap", "--no-setup")
    gone = upstream.bare.rename(upstream.bare.with_name("gone.git"))
    try:
        assert mac.json("bootstrap", "--no-setup")["as_planned"]
    finally:
        gone.rename(upstream.bare)


def test_an_image_at_hand_and_a_disk_that_is_too_small(mac: Shell, upstream: OsxKvm, apple: FakeApple) -> None:
    mac.config(upstream.toml(upstream.january(), MACHINE + 'disk = "10G"\n'))
    image = mac.cwd / "BaseSystem.dmg"
    image.write_bytes(apple.image)
    assert "is too small to install macOS" in mac.run("up", "sonoma", "--offline", str(image), status=2).stderr
    mac.config(upstream.toml(upstream.january(), MACHINE))
    told = mac.json("recovery", "fetch", "sonoma", "--offline", str(image))
    assert (told["version"], told["verified"]) == (SONOMA, False)
    assert mac.run("recovery", "fetch", "ventura", "--offline", str(image), status=1).stderr.count("error: ") == 1
    assert apple.posts == []
    assert mac.run("recovery", "where", "sonoma").stdout.strip() == told["image"]


def test_recovery_fetched_listed_and_verified(mac: Shell, apple: FakeApple) -> None:
    fetched = mac.json("recovery", "fetch", "14")
    assert (fetched["version"], fetched["verified"], fetched["source"]) == (SONOMA, True, "apple")
    versions = {row["name"]: row for row in mac.json("recovery", "list")["versions"]}
    assert [image["version"] for image in versions["sequoia"]["images"]] == [SEQUOIA]  # kept under what it is
    assert mac.json("recovery", "verify", fetched["dmg"])["verified"]
    broken = mac.cwd / "BaseSystem.dmg"
    broken.write_bytes(apple.image[:-1] + b"?")
    (mac.cwd / "BaseSystem.chunklist").write_bytes(apple.chunklist)
    assert "is not Apple's image" in mac.run("recovery", "verify", str(broken), status=1).stderr
    assert json.loads(mac.run("recovery", "where", "--json").stdout)["folder"] == str(mac.home / "recovery")
    assert "did you mean sonoma?" in mac.run("recovery", "fetch", "sonomma", status=2).stderr


def test_a_script_that_upstream_renamed_is_named_with_what_is_there(mac: Shell, upstream: OsxKvm) -> None:
    upstream.january()
    renamed = upstream.commit({SCRIPT: None, "Boot.sh": NEW / SCRIPT})
    mac.config(upstream.toml(renamed, MACHINE))
    mac.run("bootstrap", "--no-setup")
    refused = mac.run("argv", "sonoma", status=1)
    assert "has no boot script OpenCore-Boot.sh" in refused.stderr
    assert "set boot_script: it has Boot.sh" in refused.stderr
    mac.config(upstream.toml(renamed, MACHINE + 'boot_script = "Boot.sh"\n'))
    assert mac.json("argv", "sonoma")["argv"]
