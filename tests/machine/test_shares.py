"""Shared folders as a person writes them, as smbd and QEMU are told of them, and what a guest is asked to do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pommel.errors import ConfigError, MachineError
from pommel.machine import share_mounts, shares, shares_added
from pommel.machine.rules import Overlaid
from pommel.machine.rules.shares import NinePDevice, devices_on, server_address
from pommel.machine.share_mounts import Mounted, MountGuest
from pommel.machine.shares import Share, new_share, parse_share, parse_shares
from pommel.paths import MachinePaths

from .given import line_with, overlaid, placement

COMMAND = ("/usr/bin/python3", "-I", "-S", "/p/share_end.py", "/m/shared.json")
WORK = Share("~/work", "work")


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("~/work", WORK),
        (" ~/work as code ", Share("~/work", "code")),
        ("~/work read-only", Share("~/work", "work", True)),
        ("~/a b as c.d_e-f read-only", Share("~/a b", "c.d_e-f", True)),
        ("/x as y as z", Share("/x as y", "z")),
        ("/srv/Müll & Söhne", Share("/srv/Müll & Söhne", "Mull-Sohne")),
        ("/x read-only as y", Share("/x read-only", "y")),
        ("~/work by 9p", Share("~/work", "work", by="9p")),
        ("~/work by smb", WORK),
        ("~/a b as c by 9p read-only", Share("~/a b", "c", True, "9p")),
        ("/x by 9p as y", Share("/x by 9p", "y")),
    ],
)
def test_a_share_has_one_spelling_that_reads_back(text: str, share: Share) -> None:
    assert parse_share(text) == share
    assert parse_share(str(share)) == share
    assert parse_shares([text]) == parse_shares([str(share)]) == (str(share),)


@pytest.mark.parametrize("text", ["", " ", "/", "/日本", "~/work as a/b", "~/work as ..", "/x as global", "/x as IPC",
                                  "/x\n[y]", "~/work as " + "n" * 41, "/x as a%b", "/x as -a",
                                  f"/x as {'n' * 32} by 9p"])  # fmt: skip
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_share(text)


def test_the_setting_is_a_list_of_texts_and_tables_with_names_of_their_own() -> None:
    raw: list[Any] = [
        "~/work",
        {"folder": "~/m", "name": "songs", "read_only": True},
        {"folder": "/x y"},
        {"folder": "/z", "by": "9p"},
    ]
    assert parse_shares(raw) == ("~/work as work", "~/m as songs read-only", "/x y as x-y", "/z as z by 9p")
    assert parse_shares("~/work; ~/m as songs read-only;") == ("~/work as work", "~/m as songs read-only")
    wrong: list[Any] = [
        5, {"folder": "~/work"}, [5], [{"name": "x"}], [{"folder": "~/w", "rw": True}], [{"folder": "~/w", "name": 1}],
        [{"folder": "~/w", "read_only": "yes"}], ["~/work", "/srv/WORK"], [{"folder": "~/w", "by": "nfs"}],
        [{"folder": "~/w", "by": 9}],
    ]  # fmt: skip
    for each in wrong:
        with pytest.raises(ValueError, match="a list"):
            parse_shares(each)


def line(*words: str, without: tuple[str, ...] = (), given: tuple[Share, ...] = (), **values: Any) -> Overlaid:
    place = placement(shares=given, share_command=COMMAND)
    return overlaid(line_with(*words, without=without), place=place, **values)


def test_qemu_is_told_of_the_server_whether_something_is_shared_yet_or_not() -> None:
    for given in ((), (WORK,)):
        done = line(given=given)
        (found,) = done.command_line.find("netdev")
        assert found.sub.all("guestfwd") == (f"tcp:10.0.2.4:445-cmd:{' '.join(COMMAND)}",)
        assert server_address(done.command_line, "share_end.py") == "10.0.2.4"
        assert server_address(done.command_line, "reverse_end.py") is None
    assert "guestfwd" not in str(overlaid().command_line.argv), "nothing where nothing here can serve"
    own = line(
        "-netdev",
        "user,id=n,net=192.168.7.0/24",
        "-device",
        "e1000,netdev=n",
        without=("-netdev", "-device virtio-net"),
    )
    assert server_address(own.command_line, "share_end.py") == "192.168.7.4"


@pytest.mark.parametrize("said", ["smb=/home/ada", "guestfwd=tcp:10.0.2.9:445-cmd:/bin/x"])
def test_a_file_server_of_the_boot_scripts_own_stays(said: str) -> None:
    words = ("-netdev", f"user,id=n,{said}", "-device", "e1000,netdev=n")
    done = line(*words, without=("-netdev", "-device virtio-net"))
    assert said in str(done.command_line.argv) and "share_end.py" not in str(done.command_line.argv)
    with pytest.raises(ConfigError, match="the boot script has a file server of its own") as refused:
        line(*words, without=("-netdev", "-device virtio-net"), given=(WORK,))
    assert "patch" in (refused.value.hint or "")


@pytest.mark.parametrize("network", ["passt", "bridge:br0", "tap:t0", "none"])
def test_another_network_is_refused_by_name_where_something_is_shared(network: str) -> None:
    place = placement(shares=(WORK,), share_command=COMMAND, passt="/run/passt.sock")
    with pytest.raises(ConfigError, match=f"share ~/work as work takes .*network = {network}") as refused:
        overlaid(place=place, network=network)
    assert 'network = "user"' in (refused.value.hint or "")
    place = placement(share_command=COMMAND, passt="/run/passt.sock")
    assert "share_end.py" not in str(overlaid(place=place, network=network).command_line.argv)


NINE = Share("~/work", "work", by="9p")


@pytest.mark.parametrize("network", ["user", "passt", "none"])
def test_by_9p_qemu_is_told_of_the_folder_whatever_the_network_and_last_of_all(network: str) -> None:
    songs = Share("/m", "songs", True, "9p")
    place = placement(nine=((NINE, "/home/ada/a, b"), (songs, "/m")), share_command=COMMAND, passt="/run/passt.sock")
    done = overlaid(place=place, network=network, qemu_args=("-device", "usb-mouse"))
    words = done.command_line.words
    assert words[-8:-6] == ("-fsdev", "local,id=pommel-9p-work,path=/home/ada/a,, b,security_model=mapped-xattr,"
                            "fmode=0644,dmode=0755,multidevs=remap")  # fmt: skip
    assert words[-6:-4] == ("-device", "virtio-9p-pci,id=pommel-9p-work-device,fsdev=pommel-9p-work,mount_tag=work")
    assert words[-3].endswith("multidevs=remap,readonly=on") and "mount_tag=songs" in words[-1]
    assert devices_on(done.command_line) == (
        NinePDevice("work", "/home/ada/a, b", False),
        NinePDevice("songs", "/m", True),
    )
    assert devices_on(line("-fsdev", "local,id=fast,path=/x,security_model=none").command_line) == ()


@pytest.mark.parametrize("said", [("-virtfs", "local,path=/x,mount_tag=work,security_model=none,id=x"),
                                  ("-device", "virtio-9p-pci,fsdev=x,mount_tag=work"),
                                  ("-device", '{"driver":"virtio-9p-pci","fsdev":"x","mount_tag":"work"}')])  # fmt: skip
def test_a_9p_device_of_the_boot_scripts_own_stays_and_none_of_its_name_comes_beside_it(said: tuple[str, str]) -> None:
    assert said[1] in line(*said).command_line.words
    with pytest.raises(ConfigError, match="has a 9p device called work already"):
        overlaid(line_with(*said), place=placement(nine=((NINE, "/w"),)))


def test_a_linux_guest_whose_user_could_not_write_by_9p_is_not_given_the_folder() -> None:
    """Its own sh, in a sandbox that has no folder for units: what follows would mount."""
    me, other = os.geteuid(), os.geteuid() + 1
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    box = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", "/mnt", "--tmpfs", "/run", "--tmpfs", "/etc/systemd"]
    for share, uid in ((NINE, other), (Share("/m", "m", True, "9p"), other), (NINE, me)):
        text = share_mounts.script(MountGuest("Linux", user, "self"), "", [share], uid)
        done = subprocess.run([*box, "sh", "-s"], input=text.replace('"$uid" != 0', "1 = 1"), capture_output=True, text=True,
                              check=True)  # fmt: skip
        (told,) = share_mounts.read_answer(done.stdout)
        assert told.word == "refused" and ("could not write" in told.why) is (uid == other and not share.read_only)


def test_what_was_shared_is_kept_whole_or_told(tmp_path: Path) -> None:
    paths = MachinePaths("m", tmp_path, tmp_path)
    assert shares_added.load(paths) == () and shares_added.served(paths) == {}
    shares_added.serve(paths, [])
    assert not list(tmp_path.iterdir()), "nothing is written where nothing was shared"
    kept = (WORK, new_share("/a as b", "c", read_only=True))
    shares_added.save(paths, kept)
    shares_added.serve(paths, [(WORK, "/home/ada/work")])
    assert shares_added.load(paths) == kept
    assert shares_added.served(paths) == {WORK: "/home/ada/work"}
    for wrong in ("", "[]", '{"format": 2, "shares": []}', '{"format": 1, "shares": ["/"]}', '{"format": 1}'):
        (tmp_path / shares_added.FILE).write_text(wrong)
        with pytest.raises(MachineError, match=r"shares\.json cannot be used"):
            shares_added.load(paths)
        (tmp_path / shares_added.LIVE).write_text(wrong)
        assert shares_added.served(paths) == {}


def test_a_guest_is_known_by_its_own_words_and_nothing_else_of_it_is_run() -> None:
    assert share_mounts.read_guest("kernel=Linux\nuser=ada\nroot=sudo\n") == MountGuest("Linux", "ada", "sudo")
    assert share_mounts.read_guest("kernel=Darwin\nuser=ada\n") == MountGuest("Darwin", "ada", "")
    for wrong in ("", "kernel=Linux", "kernel=Linux\nuser=a b", "kernel=Linux\nuser=$(reboot)", "kernel=;x\nuser=a"):
        assert share_mounts.read_guest(wrong) is None
    told = "motd\npommel-share work mounted\npommel-share a.b refused no\x1b[2J such\npommel-share ../x gone\n"
    assert share_mounts.read_answer(told) == (Mounted("work", "mounted"), Mounted("a.b", "refused", "no[2J such"))


def test_the_configuration_names_each_share_and_no_folder_of_the_host() -> None:
    text = shares.smb_conf([WORK, Share("/secret/place", "songs", True)], for_macs=True)
    assert "[work]\npath = /shares/work\n" in text and "read only = yes" in text.partition("[songs]")[2]
    assert "secret" not in text and "fruit" in text
    assert "fruit" not in shares.smb_conf([WORK], for_macs=False)
