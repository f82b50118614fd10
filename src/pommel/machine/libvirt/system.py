"""The parts of a domain that are no devices: name, memory, processors, machine, firmware, clock. Band: core, no I/O."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement

from pommel.machine.commandline import Argument
from pommel.machine.libvirt.draft import Draft, lacks, other_keys, refused

_UNITS = {"": "MiB", "b": "bytes", "k": "KiB", "m": "MiB", "g": "GiB", "t": "TiB"}
_OWN = {
    "nodefaults": "libvirt always says so",
    "no-user-config": "libvirt always says so",
    "nographic": "a domain has no terminal",
    "pidfile": "libvirt keeps its own",
    "qmp": "libvirt has its own monitor: virsh qemu-monitor-command",
    "qmp-pretty": "libvirt has its own monitor: virsh qemu-monitor-command",
    "mon": "libvirt has its own monitor: virsh qemu-monitor-command",
    "daemonize": "libvirt does it",
    "no-shutdown": "libvirt does it",
    "sandbox": "libvirt has its own (seccomp_sandbox in qemu.conf)",
    "run-with": "libvirt chooses the user",
    "runas": "libvirt chooses the user",
    "chroot": "libvirt isolates QEMU itself",
}
_FEATURES = {"vmport": "vmport", "smm": "smm"}


def write_system(draft: Draft, emulator: str) -> None:
    """Write all of it.

    Raises:
        UsageError: an argument cannot be expressed.
    """
    features = _features()
    _name(draft)
    _memory(draft)
    _processors(draft)
    system, clock = SubElement(draft.root, "os"), Element("clock", offset="utc")
    _machine(draft, system, features, clock)
    _firmware(draft, system)
    draft.root.append(features)
    _clock(draft, clock)
    draft.root.append(clock)
    _ends(draft)
    SubElement(draft.devices, "emulator").text = emulator
    for name, reason in _OWN.items():
        for argument in draft.waiting(name):
            draft.own(argument, reason)
    for argument in draft.waiting("display", "monitor", "parallel", "serial", "vnc"):
        if argument.value == "none":
            draft.own(argument, "a domain has none unless an element asks for it")


def _features() -> Element:
    # QEMU's boards have both; libvirt leaves ACPI out unless it is asked for.
    features = Element("features")
    SubElement(features, "acpi")
    SubElement(features, "apic")
    return features


def _name(draft: Draft) -> None:
    for argument in draft.line.find("name"):
        reason = "libvirt names the process itself" if other_keys(argument, "guest") else ""
        draft.element(argument, "name", reason)
    names = [each.sub.get("guest") or each.sub.head for each in draft.line.find("name")]
    SubElement(draft.root, "name").text = next((name for name in reversed(names) if name), "machine")
    for argument in _last(draft, "uuid"):
        SubElement(draft.root, "uuid").text = argument.value
        draft.element(argument, "uuid")


def _last(draft: Draft, name: str) -> tuple[Argument, ...]:
    *before, last = draft.line.find(name) or (None,)
    for argument in before:
        if argument is not None:
            draft.own(argument, "the last one counts")
    return (last,) if last is not None else ()


def _memory(draft: Draft) -> None:
    for argument in _last(draft, "m"):
        text = (argument.sub.head or argument.sub.get("size") or "").lower()
        if more := other_keys(argument, "size"):
            raise refused(argument, lacks(more))
        number, unit = text.rstrip("bkmgt"), text.lstrip("0123456789")
        if not number.isdecimal() or unit not in _UNITS:
            raise refused(argument, "its size is no whole number")
        memory = SubElement(draft.root, "memory", unit=_UNITS[unit])
        memory.text = number
        draft.element(argument, "memory")


def _processors(draft: Draft) -> None:
    cpu = Element("cpu")
    for argument in draft.line.find("smp"):
        if len(draft.line.find("smp")) > 1:
            raise refused(argument, "QEMU joins it with another -smp")
        if more := other_keys(argument, "cpus", "sockets", "cores", "threads", "dies"):
            raise refused(argument, lacks(more))
        given = {key: _count(argument, value) for key, value in argument.sub.pairs}
        if argument.sub.head is not None:
            given["cpus"] = _count(argument, argument.sub.head)
        whole = _topology(argument, given)
        total = whole.pop("cpus")
        SubElement(draft.root, "vcpu").text = str(total)
        SubElement(cpu, "topology", {key: str(count) for key, count in whole.items()})
        draft.element(argument, "vcpu, cpu/topology")
    if len(cpu):
        draft.root.append(cpu)
    for argument in draft.line.find("cpu"):
        draft.raw(argument, "libvirt has no way to say a model with all of QEMU's flags; the last -cpu counts")


def _count(argument: Argument, text: str | None) -> int:
    if text is None or not text.isdecimal() or int(text) < 1:
        raise refused(argument, f"{text} is no number of processors")
    return int(text)


def _topology(argument: Argument, given: dict[str, int]) -> dict[str, int]:
    """Fill in what QEMU computes (hw/core/machine-smp.c; since 6.2 cores are preferred over sockets)."""
    dies, sockets, cores, threads = given.get("dies", 1), given.get("sockets"), given.get("cores"), given.get("threads")
    total = given.get("cpus")
    if total is None:
        total = (sockets or 1) * dies * (cores or 1) * (threads or 1)
    if cores is None:
        sockets, threads = sockets or 1, threads or 1
        cores = total // (sockets * dies * threads)
    elif sockets is None:
        threads = threads or 1
        sockets = total // (dies * cores * threads)
    threads = threads or total // (sockets * dies * cores)
    if sockets * dies * cores * threads != total:
        raise refused(argument, f"{total} processors are not {sockets} × {dies} × {cores} × {threads}")
    return {"cpus": total, "sockets": sockets, "dies": dies, "cores": cores, "threads": threads}


def _machine(draft: Draft, system: Element, features: Element, clock: Element) -> None:
    kind, accelerator = "", ""
    for argument in draft.line.find("machine"):
        kind = argument.sub.head or argument.sub.get("type") or kind
        accelerator = (argument.sub.get("accel") or accelerator).partition(":")[0]
        rest = [pair for pair in argument.sub.pairs if pair[0] not in ("type", "accel")]
        rest = [pair for pair in rest if not _is_feature(pair, features, clock)]
        if rest:
            words = (argument.option, ",".join(f"{key}={value or 'on'}" for key, value in rest))
            draft.raw(argument, lacks(key for key, _ in rest) + "; the rest is os/type and features", words)
        else:
            draft.element(argument, "os/type, features")
    if not (kind == "q35" or kind.startswith("pc-q35-")):
        raise refused(next(iter(draft.line.find("machine")), Argument("-machine", "")), "only q35 machines can be")
    for argument in draft.line.find("accel", "enable-kvm"):
        if more := [key for key in other_keys(argument, "thread") if key != "accel"]:
            raise refused(argument, lacks(more))
        if argument.sub.get("thread") not in (None, "multi"):
            raise refused(argument, lacks(["thread"]))
        first = "kvm" if argument.name == "enable-kvm" else argument.sub.head or argument.sub.get("accel") or ""
        accelerator = accelerator or first
        draft.element(argument, "domain/@type")
    draft.root.set("type", "kvm" if accelerator in ("kvm", "hax") else "qemu")
    SubElement(system, "type", arch="x86_64", machine=kind).text = "hvm"


def _is_feature(pair: tuple[str, str | None], features: Element, clock: Element) -> bool:
    key, value = pair
    if value not in ("on", "off"):
        return False
    if key in _FEATURES:
        SubElement(features, _FEATURES[key], state=value)
    elif key == "hpet":
        SubElement(clock, "timer", name="hpet", present="yes" if value == "on" else "no")
    else:
        return False
    return True


def _firmware(draft: Draft, system: Element) -> None:
    flashes = draft.line.find("drive", where=lambda each: each.sub.get("if") == "pflash")
    plain = all(not other_keys(each, "if", "format", "readonly", "file", "unit") for each in flashes)
    is_pair = len(flashes) == 2 and plain and all(each.sub.get("format") == "raw" for each in flashes)
    if is_pair and flashes[0].sub.is_on("readonly") and not flashes[1].sub.is_on("readonly"):
        SubElement(system, "loader", readonly="yes", type="pflash").text = flashes[0].sub.get("file")
        SubElement(system, "nvram").text = flashes[1].sub.get("file")
        draft.element(flashes[0], "os/loader")
        draft.element(flashes[1], "os/nvram")
    for argument in flashes:
        if not draft.is_claimed(argument):
            draft.raw(argument, "libvirt knows a pair of code (read-only) and variables, both raw")


def _clock(draft: Draft, clock: Element) -> None:
    for argument in draft.line.find("rtc"):
        base = argument.sub.get("base") or "utc"
        if other_keys(argument, "base") or base not in ("utc", "localtime"):
            draft.raw(argument, "libvirt says it in another way")
        else:
            clock.set("offset", base)
            draft.element(argument, "clock")


def _ends(draft: Draft) -> None:
    for argument in draft.line.find("no-reboot"):
        SubElement(draft.root, "on_reboot").text = "destroy"
        draft.element(argument, "on_reboot")
