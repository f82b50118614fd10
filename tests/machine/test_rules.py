"""Each rule on the shapes that upstreams have, and on those that it must refuse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import ConfigError, UpstreamError
from pommel.machine.boot_choices import BootChoice
from pommel.machine.commandline import CommandLine
from pommel.machine.origins import OriginStage, trace
from pommel.machine.rules import RULES
from pommel.machine.rules.memory import bytes_of
from pommel.machine.rules.network import derived_mac
from pommel.machine.rules.processor import Topology, read_topology, wanted_topology
from pommel.machine.suboptions import SubOptions

from .given import KVM, LAYOUTS, TCG, line_with, overlaid, placement, upstream_line, words_of


def values(line: CommandLine, name: str) -> list[str | None]:
    return [argument.value for argument in line.find(name)]


# --- the whole -------------------------------------------------------------------------------------------------------


def test_every_change_has_a_rule_and_a_reason() -> None:
    done = overlaid(facts=TCG, memory=8 << 30, qemu_args=("-device", "usb-mouse"))
    names = {name for name, _ in RULES} | {"qemu_args"}
    assert done.changes
    for change in done.changes:
        assert change.rule in names
        assert change.reason
        assert (change.before is None) == (change.kind == "added")
        assert (change.after is None) == (change.kind == "removed")
    for argument in done.command_line.arguments:
        assert (argument.origin == "upstream") == (argument.reason == "")


def test_changes_add_up() -> None:
    """Doing to the upstream's texts what the changes say gives the finished line's texts."""
    texts = [argument.text for argument in upstream_line().arguments]
    done = overlaid(facts=TCG, cores=4)
    for change in done.changes:
        if change.before is not None:
            texts.remove(change.before)
        if change.after is not None:
            texts.append(change.after)
    assert sorted(texts) == sorted(argument.text for argument in done.command_line.arguments)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rules_leave_a_finished_line_as_it_is(layout: str) -> None:
    """Nothing is piled up when an upstream already says what we want, but for the sockets that are always added."""
    once = overlaid(upstream_line(layout), facts=TCG).command_line
    again = CommandLine.parse(once.program, [w for a in once.arguments if a.name != "qmp" for w in a.words])
    twice = overlaid(again, facts=TCG).command_line
    assert sorted(twice.words) == sorted(once.words)


# --- accelerator -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kvm", "tcg"),
    [
        ((), "kvm", "tcg,thread=multi"),
        (("-enable-kvm",), "kvm", "tcg,thread=multi"),
        (("-accel", "kvm,kernel-irqchip=split"), "kvm,kernel-irqchip=split", "tcg,thread=multi"),
        (("-accel", "tcg,tb-size=512"), "kvm", "tcg,tb-size=512,thread=multi"),
        (("-accel", "hvf", "-accel", "kvm", "-accel", "tcg"), "kvm", "tcg,thread=multi"),
        (("-machine", "accel=kvm:tcg"), "kvm", "tcg,thread=multi"),
        (("-machine", "q35,accel=hvf,vmport=off"), "kvm", "tcg,thread=multi"),
    ],
)
def test_accelerator_is_named_once(said: tuple[str, ...], kvm: str, tcg: str) -> None:
    line = line_with(*said, without=("-enable-kvm",))
    for facts, wanted in ((KVM, kvm), (TCG, tcg)):
        done = overlaid(line, facts=facts).command_line
        assert values(done, "accel") == [wanted]
        assert not done.find("enable-kvm")
        assert not any(machine.sub.has("accel") for machine in done.find("machine"))
        assert "q35" in [machine.sub.head for machine in done.find("machine")]


def test_accelerator_says_why() -> None:
    (accel,) = overlaid(facts=TCG).command_line.find("accel")
    assert accel.reason == TCG.accel_reason


# --- cpu -------------------------------------------------------------------------------------------------------------


def cpu_of(upstream: str, facts: Any = KVM, **values: Any) -> str | None:
    (cpu,) = overlaid(line_with("-cpu", upstream, without=("-cpu",)), facts=facts, **values).command_line.find("cpu")
    return cpu.value


def test_cpu_stays_as_it_is_under_kvm() -> None:
    text = "Skylake-Client,-hle,-rtm,kvm=on,vendor=GenuineIntel,+invtsc,vmware-cpuid-freq=on,+avx,check"
    assert cpu_of(text) == text


@pytest.mark.parametrize(
    ("upstream", "wanted"),
    [
        (
            "Penryn,kvm=on,vendor=GenuineIntel,+invtsc,vmware-cpuid-freq=on,+avx,check",
            "Penryn,vendor=GenuineIntel,+avx,check",
        ),
        ("host,+kvm_pv_unhalt,hv_relaxed,hv-time,-invtsc,kvm-pv-eoi=on,migratable=no", "max"),
        ("Skylake-Client,-hle,+vmx,l3-cache=on", "Skylake-Client,-hle,+vmx,l3-cache=on"),
    ],
)
def test_cpu_leaves_out_what_only_kvm_has(upstream: str, wanted: str) -> None:
    assert cpu_of(upstream, TCG) == wanted


def test_cpu_model_as_asked_drops_what_was_taken_from_the_old_model() -> None:
    assert cpu_of("Skylake-Client,-hle,-rtm,+avx,check", cpu="Penryn") == "Penryn,+avx,check"
    assert cpu_of("Skylake-Client,-hle,-rtm,+avx,check", cpu="Skylake-Client") == "Skylake-Client,-hle,-rtm,+avx,check"
    assert cpu_of("Penryn", TCG, cpu="host") == "max"


def test_cpu_flags_take_the_place_of_the_same_flag() -> None:
    assert (
        cpu_of("P,+avx,-sse4_2,check", cpu_flags=("-avx", "+sse4.2", "+fma", "+fma"))
        == "P,-sse4_2,-avx,+sse4.2,+fma,check"
    )
    assert cpu_of("P,avx=on,enforce", cpu_flags=("-avx",)) == "P,-avx,enforce"
    assert cpu_of("P", cpu_flags=("+avx",)) == "P,+avx"


def test_cpu_flags_that_stand_there_already_stay_where_they_are() -> None:
    text = "Skylake-Client,-hle,-rtm,kvm=on,+avx,check"
    assert cpu_of(text, cpu="Skylake-Client", cpu_flags=("-hle", "-rtm", "+avx")) == text
    assert cpu_of(text, cpu_flags=("-hle", "-rtm", "-smap")) == "Skylake-Client,-hle,-rtm,kvm=on,+avx,-smap,check"
    assert cpu_of("Penryn,+avx,check", cpu="Skylake-Client", cpu_flags=("-hle", "-rtm")) == (
        "Skylake-Client,+avx,-hle,-rtm,check"
    )
    # QEMU lets the minus win, so of two that contradict each other neither may stay.
    assert cpu_of("P,+avx,-avx", cpu_flags=("+avx",)) == "P,+avx"
    assert cpu_of("P,avx=on", cpu_flags=("+avx",)) == "P,+avx"


def test_cpu_that_upstream_does_not_name() -> None:
    line = line_with(without=("-cpu",))
    assert overlaid(line).command_line.find("cpu") == ()
    assert values(overlaid(line, cpu="Penryn", cpu_flags=("+avx",)).command_line, "cpu") == ["Penryn,+avx"]
    assert values(overlaid(line, facts=TCG, cpu="host").command_line, "cpu") == ["max"]
    with pytest.raises(ConfigError, match=r"no CPU model is set in pommel\.toml or in the upstream"):
        overlaid(line, cpu_flags=("+avx",))


def test_cpu_named_twice_counts_as_qemu_counts_it() -> None:
    assert values(overlaid(line_with("-cpu", "Nehalem")).command_line, "cpu") == ["Nehalem"]


def reason_of(option: str, reasons: dict[str, str], **values: Any) -> str:
    (found,) = overlaid(reasons=reasons, **values).command_line.find(option)
    return found.reason


def test_who_wanted_it() -> None:
    cpu = {"cpu": "Penryn", "cpu_flags": ("+fma",)}
    assert reason_of("cpu", {}, **cpu) == "asked for: cpu = Penryn, cpu_flags = +fma"
    assert reason_of("cpu", {"cpu": "AMD host", "cpu_flags": "no fma"}, **cpu) == "chosen: AMD host; no fma"
    assert reason_of("cpu", {"cpu": "AMD host"}, **cpu) == "asked for: cpu_flags = +fma; chosen: AMD host"
    assert reason_of("cpu", {"cpu_flags": "no fma"}, **cpu) == "asked for: cpu = Penryn; chosen: no fma"
    assert reason_of("m", {"memory": "half of it"}, memory=8 << 30) == "chosen: half of it"
    few = {"sockets": "few", "cores": "few", "threads": "few"}
    assert reason_of("smp", few, sockets=1, cores=1, threads=1) == "chosen: few"
    assert reason_of("smp", {"cores": "few"}, cores=1, threads=1) == "asked for: threads = 1; chosen: few"
    line = line_with(without=("-cpu",))
    (new,) = overlaid(line, reasons={"cpu": "AMD host"}, cpu="Penryn").command_line.find("cpu")
    assert new.reason == "chosen: AMD host"


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("upstream", "wanted"),
    [
        (("-m", "4096"), "8192"),
        (("-m", "4G,slots=2,maxmem=16G"), "8192,slots=2,maxmem=16G"),
        (("-m", "size=4096"), "size=8192M"),
        ((), "8192"),
    ],
)
def test_memory(upstream: tuple[str, ...], wanted: str) -> None:
    line = line_with(*upstream, without=("-m ",))
    assert values(overlaid(line, memory=8 << 30).command_line, "m") == [wanted]
    assert values(overlaid(line).command_line, "m") == list(upstream[1:])


NODE = ("-numa", "node,memdev=a")
BACKEND = "memory-backend-memfd,id=a,size=4G,share=on"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("-m", "4G", "-machine", "q35,memory-backend=a", "-object", BACKEND), [BACKEND.replace("4G", "8192M")]),
        (("-m", "4G", *NODE, "-object", BACKEND), [BACKEND.replace("4G", "8192M")]),
        (
            ("-m", "4G", *NODE, "-object", '{"qom-type":"memory-backend-ram","id":"a","size":4294967296,"prealloc":true}'),
            ['{"qom-type":"memory-backend-ram","id":"a","size":8589934592,"prealloc":true}'],
        ),
        (
            ("-m", "4G", *NODE, "-numa", "type=node,memdev=b", "-object", "memory-backend-ram,id=a,size=3G",
             "-object", "memory-backend-file,id=b,size=1024M,mem-path=/x"),
            ["memory-backend-ram,id=a,size=6144M", "memory-backend-file,id=b,size=2048M,mem-path=/x"],
        ),
        # A backend that is no RAM of the machine's stays.
        (("-m", "4G", "-object", BACKEND), [BACKEND]),
        (("-m", "4G", *NODE, "-object", "rng-random,id=a"), ["rng-random,id=a"]),
    ],
)  # fmt: skip
def test_memory_follows_into_its_backends(words: tuple[str, ...], wanted: list[str]) -> None:
    line = line_with(*words, without=("-m ", "-machine"))
    done = overlaid(line, memory=8 << 30).command_line
    assert values(done, "object") == wanted and values(done, "m") == ["8192"]
    assert values(overlaid(line).command_line, "object") == [a.value for a in line.find("object")]


@given(st.lists(st.integers(1, 1 << 14), min_size=1, max_size=6), st.integers(64, 1 << 16))
def test_memory_of_several_nodes_adds_up(sizes: list[int], total: int) -> None:
    words = [w for n, size in enumerate(sizes) for w in (
        "-object", f"memory-backend-ram,id=m{n},size={size}M", "-numa", f"node,memdev=m{n}")]  # fmt: skip
    done = overlaid(line_with(*words, without=("-m ",)), memory=total << 20).command_line
    parts = [int((a.sub.get("size") or "").removesuffix("M")) for a in done.find("object")]
    assert sum(parts) == total and all(part > 0 for part in parts)


def test_memory_beyond_what_can_be_plugged_in() -> None:
    line = line_with("-m", "4G,slots=2,maxmem=8G", without=("-m ",))
    (changed,) = overlaid(line, memory=8 << 30).command_line.find("m")
    assert changed.value == "8192" and "maxmem=8G" in changed.reason


def test_memory_that_cannot_follow() -> None:
    with pytest.raises(UpstreamError, match="with their own size"):
        overlaid(line_with("-numa", "node,mem=2G"), memory=8 << 30)
    words = (*NODE, "-numa", "node,memdev=b", "-object", "memory-backend-ram,id=b", "-object", BACKEND)
    with pytest.raises(ConfigError, match="size of a memory backend in the boot script cannot be read"):
        overlaid(line_with(*words), memory=8 << 30)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("4096", 4 << 30), ("8G", 8 << 30), ("1.5g", 3 << 29), ("512M", 512 << 20), ("x", 0), ("infG", 0), ("", 0)],
)
def test_sizes_as_qemu_reads_them(text: str, wanted: int) -> None:
    assert bytes_of(text) == wanted


# --- topology --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("smp", "wanted"),
    [
        ("4,cores=2,sockets=1", Topology(1, 2, 2)),
        ("cpus=4,sockets=2", Topology(2, 2, 1)),
        ("8", Topology(1, 8, 1)),
        ("8,threads=2", Topology(1, 4, 2)),
        ("sockets=2,cores=2,threads=2", Topology(2, 2, 2)),
        ("8,sockets=2,dies=2,cores=2", Topology(2, 4, 1)),
        ("8,maxcpus=8,cores=4", Topology(2, 4, 1)),
        ("1", Topology(1, 1, 1)),
    ],
)
def test_topology_read(smp: str, wanted: Topology) -> None:
    assert read_topology(SubOptions.parse(smp)) == wanted


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, "4,cores=2,sockets=1"),
        ({"cores": 6, "threads": 12}, "12,cores=6,sockets=1"),
        ({"cores": 4}, "8,cores=4,sockets=1"),
        ({"threads": 8}, "8,cores=4,sockets=1"),
        ({"threads": 1}, "1,cores=1,sockets=1"),
        ({"threads": 3}, "3,cores=3,sockets=1"),
        ({"sockets": 2}, "8,cores=2,sockets=2"),
        ({"sockets": 2, "cores": 3, "threads": 6}, "6,cores=3,sockets=2"),
    ],
)
def test_topology_as_asked(asked: dict[str, int], wanted: str) -> None:
    assert values(overlaid(**asked).command_line, "smp") == [wanted]


@pytest.mark.parametrize(
    ("smp", "wanted"),
    [
        (("-smp", "cpus=4,maxcpus=4"), "cpus=8,cores=8,sockets=1"),
        (("-smp", "4,sockets=1,dies=1,cores=2,threads=2"), "8,sockets=1,cores=4,threads=2"),
        ((), "8,cores=8,sockets=1"),
    ],
)
def test_topology_in_other_spellings(smp: tuple[str, ...], wanted: str) -> None:
    line = line_with(*smp, without=("-smp",))
    assert values(overlaid(line, threads=8).command_line, "smp") == [wanted]


def test_topology_that_does_not_divide() -> None:
    with pytest.raises(ConfigError, match=r"threads = 10 .* does not divide into 1 × 4") as told:
        overlaid(cores=4, threads=10)
    assert told.value.hint == "try threads = 8"
    with pytest.raises(ConfigError, match=r"threads = 3 .* does not divide into 2 × 1"):
        overlaid(sockets=2, threads=3)


@given(
    st.builds(Topology, *[st.integers(1, 8)] * 3), st.none() | st.integers(1, 8), st.none() | st.integers(1, 8),
    st.none() | st.integers(1, 64),
)  # fmt: skip
def test_topology_is_as_asked_or_refused(
    upstream: Topology, sockets: int | None, cores: int | None, total: int | None
) -> None:
    try:
        new = wanted_topology(upstream, sockets, cores, total)
    except ConfigError:
        assert total is not None
        return
    assert new.sockets == (sockets or upstream.sockets)
    assert cores in (None, new.cores)
    assert total in (None, new.total)


# --- firmware --------------------------------------------------------------------------------------------------------


def test_firmware_that_was_replaced_says_so() -> None:
    place = placement(firmware_code="/host/CODE,1.fd", firmware_reason="the pair is of unequal build")
    code, variables = overlaid(place=place).command_line.find("drive")[:2]
    assert code.value == "if=pflash,format=raw,readonly=on,file=/host/CODE,,1.fd"
    assert code.reason == "the pair is of unequal build"
    assert variables.value == "if=pflash,format=raw,file=/machines/sonoma/nvram.fd"
    assert "the pair is of unequal build" in variables.reason


def test_firmware_in_the_old_spelling() -> None:
    line = line_with(
        "-drive", "if=pflash,format=raw,readonly,file=C.fd", "-drive", "if=pflash,format=raw,file=V.fd",
        without=("-drive if=pflash",),
    )  # fmt: skip
    assert " if=pflash,format=raw,readonly=on,file=/upstream/OVMF_CODE.fd " in words_of(overlaid(line))


@pytest.mark.parametrize(
    ("words", "wanted", "said"),
    [
        ((), "", ""),
        (("-bios", "OVMF.fd"), " -bios OVMF.fd ", "the machine cannot store boot entries"),
        (
            ("-drive", "if=pflash,readonly=on,file=C.fd"),
            " if=pflash,readonly=on,file=/upstream/OVMF_CODE.fd,format=raw ",
            "the machine cannot store boot entries",
        ),
        (
            ("-drive", "if=pflash,file=OVMF.fd"),
            " if=pflash,file=/machines/sonoma/nvram.fd,format=raw ",
            "copy of the firmware with its variables",
        ),
        (("-pflash", "OVMF.fd"), " -drive file=/machines/sonoma/nvram.fd,if=pflash,format=raw ", "with its variables"),
    ],
)
def test_firmware_in_one_piece_or_none(words: tuple[str, ...], wanted: str, said: str) -> None:
    done = overlaid(line_with(*words, without=("-drive if=pflash",)))
    assert wanted in words_of(done)
    reasons = [a.reason for a in done.command_line.find("bios", "drive") if "pflash" in a.text or a.name == "bios"]
    assert len(reasons) == bool(words) and all(said in reason for reason in reasons)


OWN_CODE = " if=pflash,format=raw,readonly=on,file=/upstream/OVMF_CODE.fd "
OWN_VARIABLES = " if=pflash,format=raw,file=/machines/sonoma/nvram.fd "
NODES = (
    "-blockdev",
    "node-name=c,driver=file,filename=C.fd,read-only=on",
    "-blockdev",
    "node-name=v,driver=file,filename=V.fd",
)


@pytest.mark.parametrize(
    ("words", "code", "variables"),
    [
        (("-pflash", "C.fd", "-pflash", "V.fd"), "-drive file=/upstream/OVMF_CODE.fd,if=pflash,format=raw,readonly=on",
         "-drive file=/machines/sonoma/nvram.fd,if=pflash,format=raw"),
        (("-drive", "if=pflash,format=raw,unit=1,file=A", "-drive", "if=pflash,format=raw,unit=0,file=B"),
         "if=pflash,format=raw,unit=0,file=/upstream/OVMF_CODE.fd,readonly=on",
         "if=pflash,format=raw,unit=1,file=/machines/sonoma/nvram.fd"),
        (("-drive", "if=pflash,file=OVMF_VARS.fd", "-drive", "if=pflash,file=OVMF_CODE.fd"),
         "if=pflash,file=/upstream/OVMF_CODE.fd,format=raw,readonly=on",
         "if=pflash,file=/machines/sonoma/nvram.fd,format=raw"),
        (("-drive", "if=pflash,format=raw,readonly=on,file=C", "-drive", "if=pflash,format=raw,snapshot=on,file=V"),
         "if=pflash,format=raw,readonly=on,file=/upstream/OVMF_CODE.fd",
         "if=pflash,format=raw,file=/machines/sonoma/nvram.fd"),
        (("-machine", "pflash0=c,pflash1=v", *NODES),
         "-blockdev node-name=c,read-only=on,driver=raw,file.driver=file,file.filename=/upstream/OVMF_CODE.fd",
         "-blockdev node-name=v,driver=raw,file.driver=file,file.filename=/machines/sonoma/nvram.fd"),
        (("-machine", "pflash0=c,pflash1=v",
          "-blockdev", '{"driver":"raw","node-name":"c","file":{"driver":"file","filename":"C.fd","locking":"off"}}',
          "-blockdev", '{"driver":"raw","node-name":"v","file":{"driver":"file","filename":"V.fd"}}'),
         '{"driver":"raw","node-name":"c","file":{"driver":"file","filename":"/upstream/OVMF_CODE.fd",'
         '"locking":"off"},"read-only":true}',
         '{"driver":"raw","node-name":"v","file":{"driver":"file","filename":"/machines/sonoma/nvram.fd"}}'),
    ],
)  # fmt: skip
def test_firmware_pair_in_every_spelling(words: tuple[str, ...], code: str, variables: str) -> None:
    text = words_of(overlaid(line_with(*words, without=("-drive if=pflash", "-machine"))))
    assert f"{code} " in text and f"{variables} " in text
    assert text.count("OVMF_CODE.fd") == text.count("nvram.fd") == 1


def test_firmware_says_why_its_code_is_not_written_to_and_its_variables_are_kept() -> None:
    line = line_with(
        "-drive", "if=pflash,format=raw,file=C.fd", "-drive", "if=pflash,format=raw,snapshot=on,file=V.fd",
        without=("-drive if=pflash",),
    )  # fmt: skip
    code, variables = overlaid(line).command_line.find("drive")[-2:]
    assert "which is read-only" in code.reason and "lost at every stop" in variables.reason


def test_more_flash_drives_than_a_pc_has() -> None:
    with pytest.raises(UpstreamError, match="more flash drives than a PC supports"):
        overlaid(line_with("-pflash", "x.fd"))


# --- disks -----------------------------------------------------------------------------------------------------------


def test_disks_are_the_machines_own() -> None:
    text = words_of(overlaid(place=placement("/m,1")))
    own = "file=/m,,1/mac_hdd_ng.img,format=qcow2,cache=writeback,aio=threads,discard=unmap,detect-zeroes=unmap"
    assert f" id=MacHDD,if=none,{own} " in text
    assert " ide-hd,bus=sata.4,drive=MacHDD,rotation_rate=1 " in text
    assert " id=OpenCoreBoot,if=none,snapshot=on,format=qcow2,file=/upstream/OpenCore/OpenCore.qcow2 " in text
    assert " ide-hd,bus=sata.2,drive=OpenCoreBoot " in text
    assert "InstallMedia" not in text


def test_installer_is_attached_only_when_there_is_one() -> None:
    text = words_of(overlaid(place=placement(installer="/cache/Base.img")))
    assert " id=InstallMedia,if=none,file=/cache/Base.img,format=raw,snapshot=on " in text
    assert " ide-hd,bus=sata.3,drive=InstallMedia " in text


@pytest.mark.parametrize(
    "without", [("-drive id=InstallMedia",), ("-drive id=InstallMedia", "-device ide-hd,bus=sata.3")]
)
def test_installer_gets_a_drive_where_the_upstream_has_none(without: tuple[str, ...]) -> None:
    done = overlaid(line_with(without=without), place=placement(installer="/i", data_disks=DATA))
    text = words_of(done)
    assert " -drive id=InstallMedia,if=none,file=/i,format=raw,snapshot=on " in text
    assert text.count("drive=InstallMedia ") == 1
    buses = [bus for a in done.command_line.find("device") if (bus := a.sub.get("bus") or "").startswith("sata.")]
    assert len(set(buses)) == len(buses) == 5
    (drive,) = [a for a in done.command_line.find("drive") if a.sub.get("id") == "InstallMedia"]
    assert "no drive for it" in drive.reason


def test_disk_settings_of_the_upstream_stay() -> None:
    line = line_with("-drive", "id=MacHDD,file=x.img,format=raw,cache=none,aio=native", without=("-drive id=MacHDD",))
    wanted = "id=MacHDD,file=/machines/sonoma/mac_hdd_ng.img,format=qcow2,cache=none,aio=native,discard=unmap"
    assert f" {wanted}," in words_of(overlaid(line))


def test_disk_on_another_bus_spins_as_it_likes() -> None:
    line = line_with("-device", "virtio-blk-pci,drive=MacHDD", without=("-device ide-hd,bus=sata.4",))
    assert " virtio-blk-pci,drive=MacHDD " in words_of(overlaid(line))


@pytest.mark.parametrize("drive", ["id=d0,if=none,file=mac_hdd_2.img", "id=Other,if=none,file=whatever.qcow2"])
def test_disk_is_known_by_its_name_or_by_being_the_only_one(drive: str) -> None:
    name = drive.split(",", maxsplit=1)[0].removeprefix("id=")
    line = line_with(
        "-drive", drive, "-device", f"nvme,drive={name}", without=("-drive id=MacHDD", "-device ide-hd,bus=sata.4")
    )
    assert f" id={name},if=none,file=/machines/sonoma/mac_hdd_ng.img," in words_of(overlaid(line))


def test_global_snapshot_would_lose_what_the_machine_writes() -> None:
    assert not overlaid(line_with("-snapshot")).command_line.find("snapshot")


def test_own_boot_disk() -> None:
    text = words_of(overlaid(place=placement(boot_disk="/machines/sonoma/esp.qcow2")))
    assert " id=OpenCoreBoot,if=none,snapshot=on,format=qcow2,file=/machines/sonoma/esp.qcow2 " in text


def test_boot_disk_is_never_written() -> None:
    line = line_with("-drive", "id=ESP,if=none,file=esp.img", without=("-drive id=OpenCoreBoot",))
    assert " id=ESP,if=none,file=/upstream/esp.img,snapshot=on " in words_of(overlaid(line))


@pytest.mark.parametrize(
    ("words", "without", "place", "said"),
    [
        ((), ("-drive id=", "-device ide-hd"), {}, "no disk for the machine; looked for one -drive with id=MacHDD"),
        (("-drive", "id=mac_hdd_2,file=x.img"), (), {}, "more than one disk"),
        (
            (),
            ("-device ide-hd,bus=sata.4",),
            {},
            "is not attached to a device; looked for a -device with drive=MacHDD",
        ),
        ((), ("-drive id=OpenCoreBoot",), {"boot_disk": "/b"}, "no boot disk"),
    ],
)
def test_disks_that_cannot_be_told(
    words: tuple[str, ...], without: tuple[str, ...], place: dict[str, str], said: str
) -> None:
    with pytest.raises(UpstreamError, match=said) as told:
        overlaid(line_with(*words, without=without), place=placement(**place))
    assert ":\n  -d" in told.value.message, "it shows what is there"
    assert ("disk_file" if "for the machine" in said or "more" in said else "boot_script") in (told.value.hint or "")


def test_no_boot_disk_and_no_installer_may_be() -> None:
    without = (
        "-drive id=OpenCoreBoot",
        "-drive id=InstallMedia",
        "-device ide-hd,bus=sata.2",
        "-device ide-hd,bus=sata.3",
    )
    assert len(overlaid(line_with(without=without)).command_line.find("drive")) == 3


DATA = ("/m/disk-a.qcow2", "/m/disk-b,1.qcow2")


def plugged(*words: str, disks: tuple[str, ...] = DATA, without: tuple[str, ...] = (), **place: Any) -> list[str]:
    done = overlaid(line_with(*words, without=without), place=placement(data_disks=disks, **place))
    return [a.text for a in done.command_line.find("device") if "drive=own-data" in a.text]


def test_data_disks_go_to_the_ports_after_the_upstreams() -> None:
    done = overlaid(place=placement(data_disks=DATA))
    drives = [a for a in done.command_line.find("drive") if (a.sub.get("id") or "").startswith("own-data")]
    assert [drive.sub.get("file") for drive in drives] == list(DATA)
    assert words_of(done).count("format=qcow2,cache=writeback,aio=threads,discard=unmap,detect-zeroes=unmap ") == 3
    assert plugged() == [
        "-device ide-hd,bus=sata.5,drive=own-data0,rotation_rate=1",
        "-device ide-hd,bus=sata.0,drive=own-data1,rotation_rate=1",
    ]


def test_a_data_disk_stays_at_its_port_whether_the_installer_is_there_or_not() -> None:
    assert plugged() == plugged(installer="/cache/Base.img")


def test_more_data_disks_than_ports() -> None:
    disks = tuple(f"/m/disk-{n}.qcow2" for n in range(5))
    assert [text.split(",")[0:2] for text in plugged(disks=disks)] == [
        *(["-device ide-hd", f"bus=sata.{port}"] for port in (5, 0, 1)),
        ["-device virtio-blk-pci", "drive=own-data3"],
        ["-device virtio-blk-pci", "drive=own-data4"],
    ]
    without = ("-device ich9-ahci", "-device ide-hd", "-drive id=OpenCore", "-drive id=Install")
    nowhere = plugged("-device", "virtio-blk-pci,drive=MacHDD", without=without)
    assert all("virtio-blk-pci" in text for text in nowhere)


def test_without_data_disks_nothing_is_added() -> None:
    assert plugged(disks=()) == []


def test_the_installer_says_why_it_is_there_or_not() -> None:
    place = placement(installer="/cache/Base.img", installer_reason="not yet installed")
    (drive,) = [a for a in overlaid(place=place).command_line.find("drive") if a.sub.get("id") == "InstallMedia"]
    assert drive.reason.endswith("; not yet installed")
    gone = overlaid(place=placement(installer_reason="left out, as it is installed"))
    reasons = {c.reason for c in gone.changes if c.kind == "removed" and "InstallMedia" in (c.before or "")}
    assert reasons == {"left out, as it is installed"}


@pytest.mark.parametrize("extra", [(), ("-drive", "id=More,if=none,file=more.img"), ("-drive", "file=fat:rw:/x")])
def test_throwaway_discards_every_write_and_says_so(extra: tuple[str, ...]) -> None:
    place = placement(data_disks=DATA, installer="/i", choice=BootChoice(throwaway=True))
    for drive in overlaid(line_with(*extra), place=place).command_line.find("drive"):
        assert drive.sub.is_on("snapshot") != drive.sub.is_on("readonly")
        own = drive.sub.get("id") not in ("OpenCoreBoot", "InstallMedia")
        assert ("throwaway: " in drive.reason) == (own and drive.sub.is_on("snapshot"))


def test_throwaway_leaves_a_cdrom_alone() -> None:
    line = line_with("-drive", "file=x.iso,media=cdrom")
    text = words_of(overlaid(line, place=placement(choice=BootChoice(throwaway=True))))
    assert " file=/upstream/x.iso,media=cdrom " in text


def test_snapshot_of_the_machines_own_disk_goes_with_its_reason() -> None:
    line = line_with(
        "-drive", "id=MacHDD,file=x.img,snapshot=on", without=("-drive id=MacHDD", "-device ide-hd,bus=sata.4")
    )
    (own,) = [a for a in overlaid(line).command_line.find("drive") if a.sub.get("id") == "MacHDD"]
    assert not own.sub.has("snapshot") and "writes would be lost at every stop" in own.reason
    assert " id=OpenCoreBoot,if=none,snapshot=on," in words_of(overlaid(line))


def test_detect_zeroes_wants_discard() -> None:
    line = line_with("-drive", "id=MacHDD,file=x.img,discard=ignore", without=("-drive id=MacHDD",))
    assert ",discard=ignore,cache=writeback,aio=threads " in words_of(overlaid(line)).replace(",format=qcow2", "")


NO_DISK = ("-drive id=MacHDD", "-device ide-hd,bus=sata.4")
NOTHING = ("-drive id=", "-device ide-hd")
NEW = " -drive id=MacHDD,if=none,file=/machines/sonoma/mac_hdd_ng.img,format=qcow2,"


@pytest.mark.parametrize(
    ("word", "without", "words"),
    [("own", NO_DISK, ()), ("/x.img", NO_DISK, ()), ("own", NOTHING, ()), (None, NO_DISK, ()),
     ("own", NO_DISK, ("-device", "vfio-pci,host=01:00.0"))],
)  # fmt: skip
def test_a_disk_where_the_upstream_has_none(word: str | None, without: tuple[str, ...], words: tuple[str, ...]) -> None:
    done = overlaid(line_with(*words, without=without), disk_file=word)
    port = 0 if without is NOTHING else 4
    assert NEW in words_of(done) and f" -device ide-hd,bus=sata.{port},drive=MacHDD,rotation_rate=1 " in words_of(done)
    (drive,) = [a for a in done.command_line.find("drive") if a.sub.get("id") == "MacHDD"]
    assert ("asked for" in drive.reason) == (word is not None)


@pytest.mark.parametrize(("without", "words"), [(NOTHING, ()), (NO_DISK, ("-device", "vfio-pci,host=01:00.0"))])
def test_no_disk_is_made_where_one_may_come_from_elsewhere(without: tuple[str, ...], words: tuple[str, ...]) -> None:
    with pytest.raises(UpstreamError, match="no disk for the machine") as told:
        overlaid(line_with(*words, without=without))
    hint = told.value.hint or ""
    assert 'disk_file = "own"' in hint and 'disk_file = "none"' in hint
    line = line_with(*words, without=without)
    done = overlaid(line, disk_file="none")
    assert "mac_hdd_ng.img" not in words_of(done)
    with pytest.raises(ConfigError, match='disk_file is "none", but the boot script has the disk -drive id=MacHDD'):
        overlaid(disk_file="none")


def test_a_device_that_waits_for_its_drive_gets_it_by_the_users_word() -> None:
    line = line_with(without=("-drive id=MacHDD",))
    with pytest.raises(
        UpstreamError, match=r"-device ide-hd,bus=sata\.4,drive=MacHDD refers to the drive MacHDD"
    ) as told:
        overlaid(line)
    assert 'disk_file = "own"' in (told.value.hint or "")
    text = words_of(overlaid(line, disk_file="own"))
    assert NEW in text and text.count("drive=MacHDD ") == 1


def test_a_drive_whose_file_the_script_leaves_empty_is_the_machines() -> None:
    line = line_with("-drive", "id=HDD,if=none,file=,format=qcow2", "-device", "ide-hd,drive=HDD", without=NO_DISK)
    assert " id=HDD,if=none,file=/machines/sonoma/mac_hdd_ng.img,format=qcow2," in words_of(overlaid(line))


def test_two_drives_of_one_name() -> None:
    with pytest.raises(UpstreamError, match="two drives called OpenCoreBoot"):
        overlaid(line_with("-drive", "id=OpenCoreBoot,if=none,file=x"))


def test_the_disk_that_was_chosen_takes_its_drives_place() -> None:
    line = line_with("-drive", "id=Other,file=o.img,format=raw", "-drive", "id=mac_hdd_2,file=x.img")
    place = placement(disk_drive="Other", disk="/d.raw", disk_format="raw", disk_reason="asked for")
    done = overlaid(line, place=place)
    (own,) = [a for a in done.command_line.find("drive") if a.sub.get("id") == "Other"]
    assert (own.sub.get("file"), own.sub.get("format"), own.reason) == ("/d.raw", "raw", "asked for")
    assert " id=MacHDD,if=none,file=/upstream/mac_hdd_ng.img,format=qcow2 " in words_of(done)


MORE = ("-drive", "id=Data,if=none,file=data.raw,format=raw,cache=none", "-device", "virtio-blk-pci,drive=Data")


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("copy", " -drive id=Data,if=none,file=/m/disk-upstream-data.qcow2,format=qcow2,cache=none "),
        ("upstream", " -drive id=Data,if=none,file=/upstream/data.raw,format=raw,cache=none "),
        ("none", ""),
    ],
)
def test_further_drives_of_the_upstream(word: str, wanted: str) -> None:
    place = placement(drive_copies={"upstream-data": "/m/disk-upstream-data.qcow2"} if word == "copy" else {})
    done = overlaid(line_with(*MORE, "-cdrom", "x.iso"), place=place, upstream_drives=word)
    assert wanted in words_of(done)
    assert ("drive=Data" in words_of(done)) == ("x.iso" in words_of(done)) == (word != "none")
    if word != "none":
        (drive,) = [a for a in done.command_line.find("drive") if a.sub.get("id") == "Data"]
        assert ("own copy" if word == "copy" else "upstream_drives") in drive.reason


def test_a_drive_of_several_nodes_is_left_out_whole() -> None:
    nodes = (
        "-blockdev",
        "file,node-name=f,filename=x",
        "-blockdev",
        "raw,node-name=d,file=f",
        "-device",
        "nvme,drive=d",
    )
    done = overlaid(line_with(*nodes), upstream_drives="none")
    assert not done.command_line.find("blockdev") and "nvme" not in words_of(done)


def test_the_configuration_is_written_nowhere() -> None:
    assert not overlaid(line_with("-writeconfig", "x.cfg")).command_line.find("writeconfig")


def test_the_upstreams_own_installer_keeps_its_format_and_ours_is_raw() -> None:
    line = line_with("-drive", "id=InstallMedia,if=none,file=Install.qcow2,format=qcow2", without=("-drive id=Inst",))
    own = words_of(overlaid(line, place=placement(installer="/upstream/Install.qcow2")))
    assert " id=InstallMedia,if=none,file=/upstream/Install.qcow2,format=qcow2,snapshot=on " in own
    ours = words_of(overlaid(line, place=placement(installer="/cache/Base.img")))
    assert " id=InstallMedia,if=none,file=/cache/Base.img,format=raw,snapshot=on " in ours


# --- network ---------------------------------------------------------------------------------------------------------


def network_of(*words: str) -> list[str]:
    done = overlaid(line_with(*words, without=("-netdev", "-device virtio-net")))
    return [a.text for a in done.command_line.find("netdev", "nic", "device") if "net" in a.text or a.name == "nic"]


def test_network_of_upstream() -> None:
    done = overlaid()
    text = words_of(done)
    assert " user,id=net0,hostfwd=tcp:127.0.0.1:2201-:22 " in text
    assert " virtio-net-pci,netdev=net0,id=net0,mac=52:54:00:0a:0b:0c " in text
    assert "52:54:00:c9:18:27" not in text


def test_network_without_a_forward_or_an_address() -> None:
    assert network_of("-netdev", "user,id=n", "-device", "vmxnet3,netdev=n") == [
        "-netdev user,id=n,hostfwd=tcp:127.0.0.1:2201-:22",
        "-device vmxnet3,netdev=n,mac=52:54:00:0a:0b:0c",
    ]


def test_network_other_forwards_stay_on_loopback() -> None:
    forwards = (
        "hostfwd=tcp::2222-:22,hostfwd=:0.0.0.0:5901-10.0.2.15:5900,hostfwd=udp::53-:53,hostfwd=tcp:[::]:2223-:22"
    )
    backend, _ = network_of("-netdev", f"user,id=n,{forwards},restrict=off", "-device", "e1000,netdev=n")
    assert backend == (
        "-netdev user,id=n,hostfwd=tcp:127.0.0.1:2201-:22,hostfwd=:127.0.0.1:5901-10.0.2.15:5900,"
        "hostfwd=udp:127.0.0.1:53-:53,restrict=off"
    )


def test_network_in_one_word() -> None:
    assert network_of("-nic", "user,model=e1000-82545em,hostfwd=tcp::22-:22") == [
        "-nic user,model=e1000-82545em,hostfwd=tcp:127.0.0.1:2201-:22,mac=52:54:00:0a:0b:0c"
    ]


FORWARD = "hostfwd=tcp:127.0.0.1:2201-:22"
MAC = "mac=52:54:00:0a:0b:0c"


@pytest.mark.parametrize(
    ("words", "came", "warned"),
    [
        (
            "-netdev tap,id=n,ifname=tap0,script=no,downscript=no -device vmxnet3,netdev=n,bus=pcie.0",
            [f"-netdev user,id=n,{FORWARD}", f"-device vmxnet3,netdev=n,bus=pcie.0,{MAC}"],
            'network = "tap:tap0"',
        ),
        (
            "-netdev bridge,id=n,br=virbr0 -device e1000,netdev=n",
            [f"-netdev user,id=n,{FORWARD}", f"-device e1000,netdev=n,{MAC}"],
            'network = "bridge:virbr0"',
        ),
        (
            "-nic tap,ifname=tap0,script=no,model=virtio-net-pci",
            [f"-nic user,model=virtio-net-pci,{FORWARD},{MAC}"],
            'network = "tap:tap0"',
        ),
        (
            "-nic bridge,br=br0,mac=52:54:00:00:00:99",
            [f"-nic user,{MAC},{FORWARD}"],
            'network = "bridge:br0"',
        ),
        (
            "-netdev vde,id=n,sock=/tmp/vde -device e1000,netdev=n",
            [f"-netdev user,id=n,{FORWARD}", f"-device e1000,netdev=n,{MAC}"],
            'network = "upstream"',
        ),
        (
            "-net nic,model=vmxnet3 -net user,hostfwd=tcp::2222-:22",
            [f"-device vmxnet3,netdev=legacy0,{MAC}", f"-netdev user,id=legacy0,{FORWARD}"],
            "",
        ),
        (
            "-net nic,model=virtio,macaddr=52:54:00:00:00:98 -net tap,ifname=tap3,script=no",
            [f"-device virtio-net-pci,netdev=legacy0,{MAC}", f"-netdev user,id=legacy0,{FORWARD}"],
            'network = "tap:tap3"',
        ),
        (
            "-netdev bridge,id=b,br=br0 -net nic,model=e1000,netdev=b",
            [f"-netdev user,id=b,{FORWARD}", f"-device e1000,netdev=b,{MAC}"],
            'network = "bridge:br0"',
        ),
        ("", [f"-netdev user,id=net-own,{FORWARD}", f"-device virtio-net-pci,netdev=net-own,{MAC}"], ""),
        ("-device vfio-pci,host=03:00.0", [f"-netdev user,id=net-own,{FORWARD}", f"-device virtio-net-pci,netdev=net-own,{MAC}"], ""),
        ("-netdev user,id=n", [f"-netdev user,id=n,{FORWARD}", f"-device virtio-net-pci,netdev=n,{MAC}"], ""),
        ("-net user", [f"-netdev user,id=legacy0,{FORWARD}", f"-device virtio-net-pci,netdev=legacy0,{MAC}"], ""),
        ("-device e1000,netdev=gone", [f"-device e1000,netdev=gone,{MAC}", f"-netdev user,id=gone,{FORWARD}"], ""),
        (
            "-netdev tap,id=n,ifname=tap0 -netdev user,id=n -device e1000,netdev=n",
            [f"-netdev user,id=n,{FORWARD}", f"-device e1000,netdev=n,{MAC}"],
            "left out: -netdev tap",
        ),
        (
            '-netdev {"type":"user","id":"n"} -device {"driver":"e1000","netdev":"n"}',
            [f"-netdev user,id=n,{FORWARD}", '-device {"driver": "e1000", "netdev": "n", "mac": "52:54:00:0a:0b:0c"}'],
            "",
        ),
        (
            "-netdev user,id=n,hostfwd=unix:/x-:22 -device e1000,netdev=n",
            [f"-netdev user,id=n,hostfwd=unix:/x-:22,{FORWARD}", f"-device e1000,netdev=n,{MAC}"],
            "",
        ),
        ("-nic none", ["-nic none"], "the boot script gives the machine no network"),
    ],
)  # fmt: skip
def test_every_spelling_of_a_network_gives_a_machine(words: str, came: list[str], warned: str) -> None:
    line = line_with(*words.split(), without=("-netdev", "-device virtio-net"))
    done = overlaid(line)
    names = ("netdev", "nic", "net", "device")
    found = [a.text for a in done.command_line.find(*names) if "net" in a.text or a.name == "nic"]
    assert [text.replace('":"', '": "').replace('","', '", "') for text in found] == came
    assert (warned in " ".join(done.warnings)) if warned else done.warnings == ()


@pytest.mark.parametrize(
    ("network", "came"),
    [
        ("bridge:br7", ["-netdev bridge,id=n,br=br7", f"-device e1000,netdev=n,{MAC}"]),
        ("tap:t1", ["-netdev tap,id=n,ifname=t1,script=no,downscript=no", f"-device e1000,netdev=n,{MAC}"]),
        ("upstream", ["-netdev tap,id=n,ifname=tap0", f"-device e1000,netdev=n,{MAC}"]),
        ("user", [f"-netdev user,id=n,{FORWARD}", f"-device e1000,netdev=n,{MAC}"]),
        ("none", ["-nic none"]),
    ],
)
def test_a_network_that_is_set_is_had(network: str, came: list[str]) -> None:
    words = ("-netdev", "tap,id=n,ifname=tap0", "-device", "e1000,netdev=n")
    done = overlaid(line_with(*words, without=("-netdev", "-device virtio-net")), network=network)
    assert [
        a.text for a in done.command_line.find("netdev", "nic", "device") if "net" in a.text or a.name == "nic"
    ] == came
    if network not in ("user", "none"):
        assert "no forward leads into this network" in " ".join(done.warnings)


def test_a_forward_of_the_upstreams_network_stays_as_written_if_that_is_set() -> None:
    words = ("-netdev", "user,id=n,hostfwd=tcp::8080-:80,hostfwd=tcp::22-:22", "-device", "e1000,netdev=n")
    line = line_with(*words, without=("-netdev", "-device virtio-net"))
    backend, _ = (
        a.text for a in overlaid(line, network="upstream").command_line.find("netdev", "device") if "net" in a.text
    )
    assert backend == f"-netdev user,id=n,hostfwd=tcp::8080-:80,{FORWARD}"


def test_forwards_of_a_network_in_json_stay() -> None:
    value = '{"type":"user","id":"n","hostfwd":[{"str":"tcp::2222-:22"},{"str":"tcp::8088-:80"}],"restrict":false}'
    backend, _ = network_of("-netdev", value, "-device", "e1000,netdev=n")
    assert backend == f"-netdev user,id=n,{FORWARD},hostfwd=tcp:127.0.0.1:8088-:80,restrict=off"


@pytest.mark.parametrize(
    ("network", "second"),
    [
        (None, "hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp:127.0.0.1:5900-:5900"),
        ("upstream", "hostfwd=tcp::2222-:22,hostfwd=tcp:0.0.0.0:5900-:5900"),
    ],
)
def test_forwards_of_a_second_network_are_closed_to_other_hosts_too(network: str | None, second: str) -> None:
    words = "-nic user,hostfwd=tcp::2222-:22 -nic user,hostfwd=tcp::2222-:22,hostfwd=tcp:0.0.0.0:5900-:5900"
    done = overlaid(line_with(*words.split(), without=("-netdev", "-device virtio-net")), network=network)
    one, other = (a.text for a in done.command_line.find("nic"))
    assert one == f"-nic user,{FORWARD},{MAC}"
    assert other == f"-nic user,{second},mac={derived_mac('52:54:00:0a:0b:0c', 1)}"


def test_the_network_that_qemu_adds_by_itself_gets_an_address_and_a_forward() -> None:
    done = overlaid(line_with(without=("-netdev", "-device virtio-net")), network="upstream")
    assert [a.text for a in done.command_line.find("nic", "netdev")] == [f"-nic user,{FORWARD},{MAC}"]


@pytest.mark.parametrize("network", ["passt", "tap:t0", "bridge:br0"])
def test_a_forward_that_the_set_network_cannot_have_is_told(network: str) -> None:
    words = ("-netdev", "user,id=n,hostfwd=tcp::2222-:22,hostfwd=tcp::8080-:80", "-device", "e1000,netdev=n")
    line = line_with(*words, without=("-netdev", "-device virtio-net"))
    said = " ".join(overlaid(line, network=network, place=placement(passt="/p.sock")).warnings)
    assert "left out: hostfwd=tcp::8080-:80" in said
    assert "2222" not in said


def test_an_address_that_another_machine_has_cannot_be_set() -> None:
    place = placement(taken_macs={"52:54:00:00:00:01": "first"})
    with pytest.raises(ConfigError, match="a network card of the machine first"):
        overlaid(place=place, mac="52:54:00:00:00:01")
    assert overlaid(place=place, mac="52:54:00:00:00:01", network="none")


def test_two_cards_on_one_network_are_refused() -> None:
    with pytest.raises(UpstreamError, match="more than one network card"):
        network_of("-netdev", "user,id=n", "-device", "e1000,netdev=n", "-device", "e1000,netdev=n")


def test_each_card_has_an_address_of_its_own() -> None:
    words = [
        "-netdev",
        "user,id=a",
        "-device",
        "e1000,netdev=a",
        "-netdev",
        "user,id=b",
        "-device",
        "e1000,netdev=b,mac=52:54:00:c9:18:27",
    ]
    found = [text.rpartition("mac=")[2] for text in network_of(*words) if "mac=" in text]
    assert found[0] == "52:54:00:0a:0b:0c"
    assert found[1] == derived_mac("52:54:00:0a:0b:0c", 1)
    assert len({derived_mac("52:54:00:0a:0b:0c", number) for number in range(100)}) == 100


def own_mac(taken: dict[str, str], **values: Any) -> tuple[str, str]:
    words = ("-netdev", "user,id=n", "-device", "e1000,netdev=n,mac=52:54:00:C9:18:27")
    line = line_with(*words, without=("-netdev", "-device virtio-net"))
    line = trace(line.program, [OriginStage("own.sh", line.words)]).line
    done = overlaid(line, place=placement(taken_macs=taken), **values)
    (card,) = done.command_line.find("device", where=lambda a: a.sub.has("mac"))
    return card.sub.get("mac") or "", " ".join(done.warnings)


def test_an_address_of_the_users_own_text_stands_unless_another_machine_has_it() -> None:
    assert own_mac({}) == ("52:54:00:C9:18:27", "")
    mac, said = own_mac({"52:54:00:c9:18:27": "first"})
    assert mac == "52:54:00:0a:0b:0c"
    assert "belongs to the machine first" in said
    assert own_mac({}, mac="52:54:00:11:22:33")[0] == "52:54:00:11:22:33"


# --- display, audio, monitor, serial ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("-display", "none", "-vnc", "0.0.0.0:1,password=on"),
        ("-spice", "port=5900,addr=127.0.0.1", "-display", "gtk"),
        ("-nographic",),
        ("-sdl", "-full-screen"),
    ],
)
def test_display_is_one_socket(words: tuple[str, ...]) -> None:
    done = overlaid(line_with(*words), place=placement("/m,1")).command_line
    assert values(done, "display") == ["none"]
    assert values(done, "vnc") == ["unix:/m,,1/vnc.sock,share=ignore,lock-key-sync=off"]
    assert not done.find("spice", "nographic", "sdl", "full-screen")
    assert "vmware-svga" in values(done, "device")


def test_display_without_spice_drops_its_agent() -> None:
    words = ("-chardev", "spicevmc,id=c,name=vdagent", "-device", "virtserialport,chardev=c,name=x", "-k", "en-us")
    text = words_of(overlaid(line_with(*words)))
    assert "spice" not in text
    assert "virtserialport" not in text
    assert " -k en-us " in text


def test_audio_goes_nowhere() -> None:
    text = words_of(overlaid())
    assert " -audiodev none,id=audio0 " in text
    assert " hda-duplex,audiodev=audio0 " in text
    assert " -device ich9-intel-hda " in text


def test_audio_backend_of_the_upstream_is_silenced() -> None:
    words = ("-audiodev", "pa,id=snd,server=/run/p", "-device", "usb-audio,audiodev=snd", "-audio", "sdl,model=hda")
    text = words_of(overlaid(line_with(*words)))
    assert " -audiodev none,id=snd " in text
    assert " usb-audio,audiodev=snd " in text
    assert " hda-duplex,audiodev=snd " in text
    assert " -audio none,model=hda " in text


def test_audio_of_a_machine_that_has_none() -> None:
    assert not overlaid(line_with(without=("-device hda-duplex",))).command_line.find("audiodev")


def test_monitor_is_two_sockets() -> None:
    done = overlaid(place=placement("/m,1")).command_line
    assert values(done, "monitor") == ["none"]
    assert values(done, "qmp") == [
        "unix:/m,,1/qmp.sock,server=on,wait=off",
        "unix:/m,,1/qmp-watch.sock,server=on,wait=off",
    ]


# What the script has before it, the port itself, its name in `keep`, and what comes in its place.
OPEN = [
    ("", "-monitor tcp:0.0.0.0:5555,server,nowait", "monitor", "-monitor none"),
    ("", "-monitor telnet:127.0.0.1:5801,server,nowait", "monitor", "-monitor none"),
    ("", "-monitor unix:/tmp/qemu-monitor,server=on,wait=off", "monitor", "-monitor none"),
    (
        "-mon chardev=m,mode=readline",
        "-chardev socket,id=m,port=55,host=0.0.0.0,server=on",
        "monitor",
        "-chardev null,id=m",
    ),
    ("-mon chardev=m,mode=control", "-chardev socket,id=m,path=/tmp/m,server=on", "qmp", "-chardev null,id=m"),
    ("", "-qmp tcp:localhost:4444,server=on,wait=off", "qmp", None),
    ("", "-qmp-pretty unix:/tmp/q,server", "qmp", None),
    ("", "-gdb tcp::1234", "gdb", None),
    ("", "-s", "gdb", None),
    ("", "-vnc :1", "vnc", None),
    ("", "-vnc 0.0.0.0:1,password=on", "vnc", None),
    ("", "-spice port=5900,addr=127.0.0.1,disable-ticketing=on", "spice", None),
    ("-serial null", "-serial tcp::4445,server=on,wait=off", "serial", "-serial null"),
    ("", "-parallel udp:10.0.0.1:99", "serial", "-parallel null"),
    ("", "-debugcon tcp::4446,server=on,wait=off", "serial", "-debugcon null"),
    (
        "-device virtio-serial -device virtserialport,chardev=q",
        "-chardev socket,id=q,path=/tmp/qga,server=on,wait=off",
        "serial",
        "-chardev null,id=q",
    ),
]


@pytest.mark.parametrize(("before", "port", "name", "instead"), OPEN)
def test_what_others_could_reach_is_taken_out_or_kept_by_name(
    before: str, port: str, name: str, instead: str | None
) -> None:
    line = line_with(*before.split(), *port.split(), without=("-monitor",))
    line = trace(line.program, [OriginStage("own.sh", line.words)]).line
    done = overlaid(line)
    assert f" {port} " not in words_of(done)
    if instead is not None:
        assert f" {instead} " in words_of(done)
    assert any(f'keep = ["{name}"] keeps it' in said for said in done.warnings), done.warnings
    assert f" {port} " in words_of(overlaid(line, keep=(name,)))


def test_what_connects_to_a_helper_is_not_open() -> None:
    words = ["-chardev", "socket,id=c,path=/run/vfs.sock", "-device", "vhost-user-fs-pci,chardev=c,tag=x"]
    assert " socket,id=c,path=/run/vfs.sock " in words_of(overlaid(line_with(*words)))


def test_a_kept_serial_port_leaves_the_log_empty_and_says_so() -> None:
    done = overlaid(line_with("-serial", "tcp::4445,server=on,wait=off"), keep=("serial",))
    assert " -serial tcp::4445,server=on,wait=off " in words_of(done)
    assert "serial log stays empty" in " ".join(done.warnings)


def test_a_kept_serial_port_by_a_character_device_stays_the_guests() -> None:
    words = ("-chardev", "socket,id=s,host=127.0.0.1,port=4450,server=on,wait=off", "-serial", "chardev:s")
    done = overlaid(line_with(*words, without=("-serial",)), keep=("serial",))
    assert values(done.command_line, "serial") == ["chardev:s"]
    assert "serial log stays empty" in " ".join(done.warnings)


def test_monitors_on_a_terminal_or_a_text_console_go() -> None:
    words = ("-monitor", "vc:80Cx24C", "-qmp", "stdio", "-monitor", "unix:/x,server", "-chardev", "stdio,id=c,mux=on")
    done = overlaid(line_with(*words, without=("-monitor",))).command_line
    assert values(done, "monitor") == ["none", "none"]
    assert "stdio" not in values(done, "qmp")
    assert values(done, "chardev")[0] == "null,id=c"
    assert values(overlaid(line_with(without=("-monitor",))).command_line, "monitor") == ["none"]


def test_serial_port_goes_to_the_log_and_no_text_console_is_left() -> None:
    done = overlaid(place=placement("/m,1")).command_line
    assert values(done, "serial") == ["chardev:serial-log"]
    assert values(done, "chardev") == ["file,id=serial-log,path=/m,,1/serial.log,append=on"]
    assert values(done, "parallel") == ["none"]
    more = overlaid(line_with("-serial", "mon:stdio", "-serial", "vc", "-serial", "tcp::1", "-parallel", "vc"))
    assert values(more.command_line, "serial") == ["chardev:serial-log", "null", "tcp::1"]
    assert values(more.command_line, "parallel") == ["none"]


def test_a_chardev_without_an_id_cannot_be_told() -> None:
    with pytest.raises(UpstreamError, match="a -chardev without an id"):
        overlaid(line_with("-chardev", "stdio"))


# --- process, identity, paths, extra ---------------------------------------------------------------------------------


def test_process() -> None:
    done = overlaid(line_with("-daemonize", "-S", "-no-shutdown", "-pidfile", "x", "-pidfile", "y")).command_line
    assert values(done, "pidfile") == ["/machines/sonoma/qemu.pid"]
    assert not done.find("daemonize", "S", "no-shutdown", "no-reboot")


def test_a_reboot_is_the_upstreams_to_decide() -> None:
    assert overlaid(line_with("-no-reboot")).command_line.find("no-reboot")


def test_identity() -> None:
    place = placement(guest_name="a-name-of-more-than-fifteen")
    done = overlaid(line_with("-name", "macOS,debug-threads=on", "-uuid", "0"), place=place).command_line
    assert values(done, "name") == ["guest=a-name-of-more-than-fifteen,process=vm:a-name-of-mo"]
    assert values(done, "uuid") == [place.uuid]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("-cdrom", "os.iso"), "-drive file=/upstream/os.iso,index=2,media=cdrom"),
        (("-cdrom", "/os.iso"), "-drive file=/os.iso,index=2,media=cdrom"),
        (("-kernel", "./k/../vmlinuz"), "-kernel /upstream/vmlinuz"),
        (("-drive", "id=x,readonly=on,file=a,,b.img"), "-drive id=x,readonly=on,file=/upstream/a,,b.img"),
        (("-drive", "id=x,readonly=on,file=nbd://h/x"), "-drive id=x,readonly=on,file=nbd://h/x"),
        (
            ("-blockdev", "raw,file.driver=file,file.filename=x"),
            "-blockdev raw,file.driver=file,file.filename=/upstream/x",
        ),
        (
            ("-blockdev", '{"driver":"raw","file":{"driver":"file","filename":"x"}}'),
            '-blockdev {"driver":"raw","file":{"driver":"file","filename":"/upstream/x"}}',
        ),
        (("-chardev", "socket,id=c,path=s"), "-chardev socket,id=c,path=/upstream/s"),
        (("-smbios", "file=s.bin"), "-smbios file=/upstream/s.bin"),
        (("-bios", "bios.bin"), "-bios bios.bin"),
        (("-device", "vfio-pci,host=01:00.0,romfile=v.rom"), "-device vfio-pci,host=01:00.0,romfile=v.rom"),
    ],
)
def test_paths(words: tuple[str, ...], wanted: str) -> None:
    assert f" {wanted} " in words_of(overlaid(line_with(*words)))


def test_what_the_user_adds_comes_last_as_it_is() -> None:
    done = overlaid(qemu_args=("-device", "usb-mouse", "-S", "-monitor", "stdio"))
    assert done.command_line.words[-5:] == ("-device", "usb-mouse", "-S", "-monitor", "stdio")
    assert done.command_line.arguments[-1].origin == "qemu_args"
    assert [change.rule for change in done.changes[-3:]] == ["qemu_args"] * 3
    with pytest.raises(ConfigError, match=r"qemu_args cannot be used: .* ends at -device"):
        overlaid(qemu_args=("-device",))
