"""What others on the host and the network, in guests and in upstreams say: leases, scripts' output, patches, systems."""

from __future__ import annotations

import contextlib
import ipaddress
import re

from fuzz.engine import Fuzzer, expect, expect_words, mixed
from fuzz.mesh import JSON_TOKENS
from pommel.app.host.redaction import redact
from pommel.errors import ConfigError, StateError
from pommel.host import distribution, module_options, neighbours
from pommel.overlay import complaints, facts, patch_text, sandbox
from pommel.session import guest_system

MAC = "52:54:00:12:34:56"
_LEASES = (
    b"1700000000 52:54:00:12:34:56 192.168.122.5 mac 01:52:54:00:12:34:56\n1700000001 52:54:00:aa:bb:cc 192.168.122.6 * *\n",
    b'[{"ip-address": "192.168.122.7", "mac-address": "52:54:00:12:34:56", "expiry-time": 1700000000}, 5]',
    b'lease 10.0.0.5 {\n  starts 4 2026/01/01;\n  hardware ethernet 52:54:00:12:34:56;\n  client-hostname "mac";\n}\nlease 10.0.0.6 {}\n',
    b"IP address       HW type     Flags       HW address            Mask     Device\n192.168.1.9      0x1         0x2         52:54:00:12:34:56     *        br0\n",
    b'[{"dst":"fe80::5054:ff:fe12:3456","dev":"br0","lladdr":"52:54:00:12:34:56","state":["REACHABLE"]},'
    b'{"dst":"10.1.1.1","dev":"br0","lladdr":"52:54:00:12:34:56","state":["STALE"]}]',
)
_LEASE_TOKENS = (
    *JSON_TOKENS,
    b"lease ",
    b"{",
    b"}",
    b"\n",
    MAC.encode(),
    b"hardware ethernet ",
    b";",
    b"%",
    b"::1",
    b"0x0",
    b"lease 1 {" * 9,
)


def check_leases(data: bytes) -> None:
    """Whatever a file says, what comes of it are addresses."""
    text = data.decode(errors="replace")
    found = [*neighbours.leases(text, MAC), *neighbours.arp_table(text, MAC), *neighbours.neighbours(text, MAC)]
    for one in found:
        ipaddress.ip_address(one)
        expect(
            one.isascii() and " " not in one and one.isprintable() and not one.startswith("-"), f"the address {one!r}"
        )


# --- boot scripts and what they print ---

_OUTPUTS = (
    b"./boot.sh: line 4: VM_NAME: unbound variable\n", b"usage: boot.sh DISK\n", b"set the SYSTEM_DISK environment variable\n",
    b"/sys/kernel/mm/hugepages: Read-only file system\n./b: line 9: /usr/bin/qemu-system-x86_64: No such file or directory\n",
    b'read -r -p "Which disk? " disk\nshift\n${1}\n', b"PATH=/usr/bin exec ./qemu-system-x86_64 -m 4G\n# /opt/x/qemu-kvm\n",
)  # fmt: skip
_OUTPUT_TOKENS = (
    b"\n", b": ", b"unbound variable", b"/sys/", b"/proc/", b"variable ", b"is not set", b"read -p ", b"-a ", b"qemu-system-x86_64", b"/",
    b"'", b'"', b"$", b"usage", b"requires ", b"a.", b"-/", b"://",
)  # fmt: skip


def check_output(data: bytes) -> None:
    """What a script prints and is, is read in a time that grows with its length; a hint is one line."""
    text = data.decode(errors="replace")
    for args in ((), ("x",)):
        hint = complaints.hint(text, text, args)
        expect(hint is None or ("\n" not in hint and len(hint) <= 40 + len(text) + 100), "a hint of many lines")
    prompt = complaints.prompt_of(text)
    expect(prompt is None or prompt in text, "a question that the script does not ask")
    sandbox.what_escapes(text)
    expect(all(path.startswith("/") for path in sandbox.qemus_named(text)), "a path that is none")
    told = facts.facts_of((), (), (), text, {})
    expect(len(told.effects) <= len(text), "more effects than letters")


# --- patches ---

_PATCHES = (
    b"diff --git a/boot.sh b/boot.sh\n--- a/boot.sh\n+++ b/boot.sh\n@@ -1,3 +1,4 @@\n a\n-b\n+c\n+d\n e\n",
    b'diff --git "a/\\303\\274.sh" "b/\\303\\274.sh"\nsimilarity index 90%\nrename from "\\303\\274.sh"\nrename to x y.sh\n',
    b"--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+x\n\\ No newline at end of file\n",
)
_PATCH_TOKENS = (
    b"\n",
    b"--- ",
    b"+++ ",
    b"@@ -1,9 +1,9 @@\n",
    b"diff --git ",
    b'"',
    b"\\",
    b"../",
    b"/",
    b"9" * 5000,
    b"\r",
    b"\\777",
    b" ",
)


def check_patch(data: bytes) -> None:
    """A patch is refused with words, or touches files of the checkout only."""
    try:
        found = patch_text.read_patch("a.patch", data.decode(errors="replace"))
    except ConfigError as refusal:
        expect(len(refusal.message) > 0, "a refusal without words")
        return
    expect(len(found.paths) > 0, "a patch of nothing")
    for path in found.paths:
        expect(not path.startswith("/") and ".." not in path.split("/"), f"a patch of {path!r}")
    expect(all(path in found.paths and line >= 0 for path, line in found.hunks), "a hunk of another file")


# --- what a guest says of itself, and what is read of the host ---

_SYSTEMS = (
    b"kernel=Linux\nmachine=x86_64\nrelease=6.1.0\nuser=ann\nroot=sudo\npython=/usr/bin/python3.11 3.11 2.36\n",
    b"kernel=Darwin\nmachine=arm64\nrelease=15.1\nuser=ann\nroot=self\ninstalled=0.1\npython=/usr/local/bin/python3 3.12 -\n",
)
_HOSTS = (
    b'ID=debian\nID_LIKE="ubuntu debian"\nNAME=\'D\'\nVERSION_ID="12"\n',
    b"options kvm ignore_msrs=1 report_ignored_msrs=0\noptions kvm-intel \\\n nested=Y\nkvm.ignore_msrs=1 quiet\n",
)


def check_system(data: bytes) -> None:
    """A guest's answer is refused with words, or names Pythons, and platforms of which there are not too many."""
    try:
        found = guest_system.read_answer(data.decode(errors="replace"))
        python = found.python
        names = guest_system.platforms(found, python.glibc if python else ())
    except StateError as refusal:
        expect_words(refusal)
        return
    expect(0 < len(names) <= 1000, f"{len(names)} platforms")
    expect(all(re.fullmatch(r"[A-Za-z0-9_]+", name) for name in names), f"a platform {names[0][:80]!r}")


def check_host(data: bytes) -> None:
    """Files of the host are read whatever is in them."""
    text = data.decode(errors="replace")
    distribution.family_of(distribution.parse_os_release(text))
    found = [*module_options.parse_options(text), *module_options.parse_cmdline(text)]
    expect(all("-" not in module and "-" not in name for (module, name), _ in found), "a dash in a parameter's name")
    module_options.conflicts({"/etc/modprobe.d/a.conf": text}, found, module_options.wanted_options("intel"))
    with contextlib.suppress(StateError):
        module_options.is_edited(text)


_LOGS = (
    b"token=abcdefgh http://user:pw@host/x mac 52:54:00:12:34:56 10.1.2.3 a@b.example\n",
    b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\nserial: C02TM2ZBHX87 https_proxy=u:p@h\n",
)


def check_log(data: bytes) -> None:
    """What is taken out of a log is out, in a time that grows with its length."""
    text = data.decode(errors="replace")
    told = redact(text, {"/home/ann": "~"})
    expect("/home/ann/" not in told, "a private folder is there still")
    expect(not re.search(r"(?<![\w.:-])52:54:00:12:34:56(?![\w:-])", told), "a MAC address is there still")


FUZZERS = [
    Fuzzer("leases", "addresses, or nothing", mixed(_LEASES, tokens=_LEASE_TOKENS), check_leases, room_bytes=2 << 20),
    Fuzzer("script-output", "read in linear time; a hint is one line", mixed(_OUTPUTS, tokens=_OUTPUT_TOKENS, joined=3), check_output),
    Fuzzer("patch", "a ConfigError with words, or files of the checkout", mixed(_PATCHES, tokens=_PATCH_TOKENS, joined=2), check_patch),
    Fuzzer("guest-answer", "a StateError with words, or Pythons and a few platforms", mixed(_SYSTEMS, tokens=(b"\n", b"=", b"9" * 9, b"9" * 5000, b".", b" ", b"python=", b"2.999999999")), check_system),
    Fuzzer("host-files", "read whatever is in them", mixed(_HOSTS, tokens=(b"\n", b"=", b'"', b"\\\n", b"options ", b"-")), check_host),
    Fuzzer("logs", "what is to be out is out, in linear time", mixed(_LOGS, tokens=_OUTPUT_TOKENS, joined=3), check_log),
]  # fmt: skip
