"""The ssh command line, read back by the real ssh, and used against a real sshd."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from free_ports import free_port
from isolation import patient
from pommel import process
from pommel.errors import UsageError
from pommel.ssh import (
    NEWER,
    SshAddress,
    SshTarget,
    address_argv,
    configuration_argv,
    forwards,
    host_block,
    multiplexed,
    parse_address,
    remote,
    scp_argv,
    ssh_argv,
    understands_argv,
)

TARGET = SshTarget("trial", 2222, "ann", Path("/k/id"), Path("/k/known"))


def understood(argv: list[str]) -> dict[str, str]:
    """What ssh understands of it: `ssh -G` prints its settings and connects to nobody."""
    told = process.run([argv[0], "-G", *argv[1:]]).text
    return dict(line.split(" ", 1) for line in told.splitlines() if " " in line)


def test_ssh_understands_it() -> None:
    settings = understood(ssh_argv(TARGET, connect_timeout_s=7))
    assert settings["hostname"] == settings["host"] == "127.0.0.1"
    assert (settings["port"], settings["user"]) == ("2222", "ann")
    assert (settings["identityfile"], settings["identitiesonly"]) == ("/k/id", "yes")
    assert settings["userknownhostsfile"] == "/k/known"
    assert settings["globalknownhostsfile"] == "/dev/null"
    assert settings["hostkeyalias"] == "trial"
    assert settings["stricthostkeychecking"] in ("yes", "true")
    assert settings["connecttimeout"] == "7"
    assert settings["batchmode"] == "no"
    assert understood(ssh_argv(TARGET, batch=True))["batchmode"] == "yes"
    assert understood(ssh_argv(TARGET, options=["ForwardAgent=yes"]))["forwardagent"] == "yes"


def test_the_users_own_ssh_config_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ssh_argv(TARGET)
    assert argv[argv.index("-F") + 1] == "none"


def test_the_command_comes_after_the_host_and_no_host_is_an_option() -> None:
    argv = ssh_argv(replace(TARGET, host="-oProxyCommand=evil"), ["ls", "-l"])
    assert argv[-4:] == ["--", "-oProxyCommand=evil", "ls", "-l"]


@pytest.fixture(params=["plain", "with blank", "it's", 'a "quote"', "100%h", "back\\slash", "two\\\\ends"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / str(request.param)
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def server(folder: Path, tmp_path: Path) -> Iterator[SshTarget]:
    """A real sshd on a free port; keys and known hosts in a folder with an awkward name."""
    for key in (folder / "id", tmp_path / "host"):
        process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    (tmp_path / "authorized").write_text((folder / "id.pub").read_text())
    port = free_port()
    public = " ".join((tmp_path / "host.pub").read_text().split()[:2])
    (folder / "known").write_text(f"box {public}\n")
    (tmp_path / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/authorized\n"
        "StrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd separates its privileges
    log = (tmp_path / "log").open("wb")
    daemon = subprocess.Popen([process.which("sshd"), "-D", "-e", "-f", tmp_path / "config"], stderr=log)
    user = process.run(["id", "-un"]).text.strip()
    try:
        await_port(port)
        yield SshTarget("box", port, user, folder / "id", folder / "known")
    finally:
        daemon.terminate()
        daemon.wait()
        log.close()


def await_port(port: int) -> None:
    deadline = time.monotonic() + patient(20)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_real_connection_from_a_folder_with_any_name(server: SshTarget) -> None:
    done = process.run(ssh_argv(server, ["echo", "hello"], batch=True), timeout_s=30)
    assert (done.text, done.stderr) == ("hello\n", b"")


@pytest.mark.parametrize("folder", ["plain"], indirect=True)
def test_another_host_key_is_refused(server: SshTarget) -> None:
    stranger = server.known_hosts.with_name("stranger")
    process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger])
    server.known_hosts.write_text("box " + " ".join(stranger.with_suffix(".pub").read_text().split()[:2]) + "\n")
    done = process.run(ssh_argv(server, ["echo", "hello"], batch=True), check=False, timeout_s=30)
    assert done.returncode == 255 and done.stdout == b""
    assert b"Host key verification failed" in done.stderr


def test_a_host_block_means_what_the_command_line_does(tmp_path: Path) -> None:
    odd = replace(TARGET, known_hosts=tmp_path / "known hosts %", key=tmp_path / "k")
    shared = multiplexed(tmp_path / "a b" / "ssh")
    config = tmp_path / "config"
    config.write_text(host_block(odd, "mac", shared))
    told = process.run(["ssh", "-G", "-F", config, "mac"]).text.splitlines()
    by_file = dict(line.split(" ", 1) for line in told)
    by_words = understood(ssh_argv(odd, shared=shared))
    for key in ("hostname", "port", "user", "userknownhostsfile", "hostkeyalias", "controlpath", "controlpersist"):
        assert by_file[key] == by_words[key], key
    assert by_file["controlpath"] == str(tmp_path / "a b" / "ssh")


def test_scp_words_go_through_as_they_are() -> None:
    argv = scp_argv(TARGET, ["-r", "a b", remote(TARGET, "/tmp/c d")])
    assert argv[:3] == ["scp", "-F", "none"]
    assert argv[-3:] == ["-r", "a b", f"{TARGET.user}@127.0.0.1:/tmp/c d"]
    assert str(TARGET.port) in argv


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("mac", SshAddress("mac")),
        ("ada@mac.local:2200", SshAddress("mac.local", "ada", 2200)),
        ("ada@[fe80::1%eth0]:22", SshAddress("fe80::1%eth0", "ada", 22)),
        ("[::1]", SshAddress("::1")),
    ],
)
def test_addresses_are_read_and_said_again(text: str, address: SshAddress) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == replace(address, port=None if address.port == 22 else address.port)


@pytest.mark.parametrize(
    "text",
    ["", "@mac", "-oProxyCommand=x", "-l@mac", "a b", "mac:", "mac:0", "mac:65536", "mac:x", "a@b@c", "a/b", "mac\n"],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="is not an SSH host"):
        parse_address(text)


def test_a_users_own_host_is_reached_as_configured_but_forwards_and_asks_nothing(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "Host box\n HostName 127.0.0.9\n Port 99\n User ada\n LocalForward 1234 x:1\n ForwardAgent yes\n"
        " RemoteCommand tmux\n RequestTTY yes\n ForwardX11 yes\n PermitLocalCommand yes\n StrictHostKeyChecking ask\n"
    )

    def told(argv: list[str]) -> dict[str, str]:
        return understood([argv[0], "-F", str(config), *argv[1:]])

    box = told(address_argv(SshAddress("box"), shared=multiplexed(tmp_path / "s")))
    assert (box["hostname"], box["port"], box["user"]) == ("127.0.0.9", "99", "ada")
    assert (box["batchmode"], box["clearallforwardings"], box["requesttty"]) == ("yes", "yes", "false")
    assert "localforward" not in box and box.get("remotecommand", "none") == "none"
    assert (box["forwardagent"], box["forwardx11"], box["permitlocalcommand"]) == ("no", "no", "no")
    assert box["stricthostkeychecking"] == "ask" and box["controlpath"] == str(tmp_path / "s")
    other = told(address_argv(SshAddress("box", "bob", 7), accept_new=True))
    assert (other["user"], other["port"], other["stricthostkeychecking"]) == ("bob", "7", "accept-new")
    assert address_argv(SshAddress("-x"), ["ls"])[-3:] == ["--", "-x", "ls"]
    assert configuration_argv(SshAddress("box", "bob"))[-4:] == ["-l", "bob", "--", "box"]


# What people have for every host, and what would keep us from the guest or lend it something of theirs.
HOSTILE = """
Host *
    HostName elsewhere.invalid
    User somebody
    Port 9
    ProxyJump bastion.invalid
    ProxyCommand false
    ProxyUseFdpass yes
    CanonicalizeHostname always
    AddressFamily inet6
    BindAddress 192.0.2.1
    BatchMode yes
    RemoteCommand echo remote command; exec false
    RequestTTY force
    PermitLocalCommand yes
    LocalCommand touch {folder}/local-command
    ForwardAgent yes
    ForwardX11 yes
    ForwardX11Trusted yes
    Tunnel yes
    ExitOnForwardFailure yes
    StdinNull yes
    ForkAfterAuthentication yes
    SessionType none
    IdentityFile {folder}/none
    IdentitiesOnly no
    AddKeysToAgent yes
    PreferredAuthentications gssapi-with-mic
    PubkeyAuthentication no
    PubkeyAcceptedAlgorithms sk-ssh-ed25519@openssh.com
    HostKeyAlgorithms ssh-rsa
    HostbasedAuthentication yes
    PKCS11Provider {folder}/none.so
    ControlMaster no
    ControlPath {folder}/theirs
    ControlPersist no
    HostKeyAlias other
    UserKnownHostsFile {folder}/none
    GlobalKnownHostsFile {folder}/none
    KnownHostsCommand /bin/false
    StrictHostKeyChecking no
    NoHostAuthenticationForLocalhost yes
    CheckHostIP yes
    VerifyHostKeyDNS yes
    UpdateHostKeys yes
    RevokedHostKeys {folder}/none
    VisualHostKey yes
    LogLevel DEBUG
Match all
    User nobody
"""


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A ~/.ssh whose configuration begins as we say, and goes on as hostile as can be."""
    folder = tmp_path / "dot ssh"
    folder.mkdir(mode=0o700)
    (folder / "config").write_text(f"Include {tmp_path}/pommel.config\n{HOSTILE.format(folder=tmp_path)}")
    return folder


def at_home(argv: Sequence[str], folder: Path, tmp_path: Path) -> list[str]:
    """The same command where `folder` is ~/.ssh: ssh takes its user's home from the list of accounts."""
    home = pwd.getpwuid(os.getuid()).pw_dir
    words = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", home]
    return [*words, "--bind", str(folder), f"{home}/.ssh", "--bind", str(tmp_path), str(tmp_path), *argv]


@pytest.mark.parametrize("folder", ["plain"], indirect=True)
def test_a_host_block_is_immune_to_what_stands_for_every_host(server: SshTarget, hostile: Path, tmp_path: Path) -> None:
    shared = multiplexed(tmp_path / "shared", persist_s=1)
    block = host_block(server, "mac", shared, newer=list(NEWER))
    (tmp_path / "pommel.config").write_text(block)
    ssh = ["ssh", "mac"]
    hello = process.run(at_home([*ssh, "cat; echo there"], hostile, tmp_path), input=b"hello ", timeout_s=30)
    assert (hello.text, hello.stderr) == ("hello there\n", b"")
    assert not (tmp_path / "local-command").exists() and not (tmp_path / "theirs").exists()
    # Nothing differs from what it would be without their file, but what is of their own look and keys.
    (tmp_path / "alone").write_text(block)
    bare = told_by(["ssh", "-G", "-F", str(tmp_path / "alone"), "mac"])
    theirs = told_by(at_home(["ssh", "-G", "mac"], hostile, tmp_path))
    assert {key for key in bare.keys() | theirs.keys() if bare.get(key) != theirs.get(key)} <= {
        "identityfile",  # ours first
        "localcommand",  # which is not permitted
        "sendenv",  # the system's file, as Debian has it
        "gssapiauthentication",
    }
    assert theirs["identityfile"][0] == str(server.key)


def told_by(argv: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in process.run(argv).text.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("folder", ["plain"], indirect=True)
def test_what_is_typed_counts_still(server: SshTarget, hostile: Path, tmp_path: Path) -> None:
    shared = multiplexed(tmp_path / "shared", persist_s=1)
    (tmp_path / "pommel.config").write_text(host_block(server, "mac", shared, newer=list(NEWER)))
    typed = [
        "-A",
        "-X",
        "-J",
        "b",
        "-l",
        "ann",
        "-p",
        "7",
        "-t",
        "-L",
        "7777:x:1",
        "-oPreferredAuthentications=password",
    ]
    told = told_by(at_home(["ssh", "-G", *typed, "mac"], hostile, tmp_path))
    wanted = {"forwardagent": "yes", "forwardx11": "yes", "proxyjump": "b", "user": "ann", "port": "7"}
    wanted |= {"requesttty": "true", "preferredauthentications": "password", "localforward": "7777 [x]:1"}
    assert {key: told.get(key) for key in wanted} == {key: [value] for key, value in wanted.items()}


def test_forwards_for_every_host_are_seen_and_dropped(tmp_path: Path) -> None:
    for line in ("LocalForward 7777 x:1", "RemoteForward 7777 x:1", "DynamicForward 7777"):
        config = tmp_path / "config"
        config.write_text(f"Host *\n{line}\n")
        argv = configuration_argv(SshAddress("mac"))
        assert forwards(process.run([argv[0], "-F", config, *argv[1:]]).text)
        config.write_text(host_block(TARGET, "mac", {}, clear_forwards=True) + config.read_text())
        assert not forwards(process.run(["ssh", "-G", "-F", config, "mac"]).text)
        typed = process.run(["ssh", "-G", "-F", config, "-o", "ClearAllForwardings=no", "-D", "9", "mac"]).text
        assert "dynamicforward 9" in typed
    config.write_text("Host other\nLocalForward 7777 x:1\n")
    assert not forwards(process.run(["ssh", "-G", "-F", config, "mac"]).text)


def test_options_that_an_ssh_has_not_are_left_out() -> None:
    assert all(process.run(understands_argv(key, value), check=False).returncode == 0 for key, value in NEWER.items())
    assert process.run(understands_argv("NoSuchOption", "no"), check=False).returncode != 0
    assert not any(key in host_block(TARGET, "mac", {}) for key in NEWER)


@pytest.mark.parametrize("folder", ["plain"], indirect=True)
def test_no_ssh_of_ours_reads_it(server: SshTarget, hostile: Path, tmp_path: Path) -> None:
    (tmp_path / "pommel.config").touch()
    for options in ({}, multiplexed(tmp_path / "shared", persist_s=1)):
        argv = ssh_argv(server, ["cat"], batch=True, shared=options)
        done = process.run(at_home(argv, hostile, tmp_path), input=b"hello", timeout_s=30)
        assert (done.text, done.stderr) == ("hello", b"")
    (tmp_path / "file").write_text("data")
    argv = scp_argv(server, ["-O", str(tmp_path / "file"), remote(server, f"{tmp_path}/copy")])
    process.run(at_home(argv, hostile, tmp_path), timeout_s=30)
    assert (tmp_path / "copy").read_text() == "data"
    assert not (tmp_path / "local-command").exists() and not (tmp_path / "theirs").exists()
