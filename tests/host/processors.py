"""/proc and /sys as different processors show them, as far as they are read. No tests here."""

from __future__ import annotations

from pathlib import Path

_X86 = """\
processor\t: {number}
vendor_id\t: {vendor}
cpu family\t: {family}
model\t\t: {model}
model name\t: {name}
stepping\t: 2
microcode\t: 0x1
cpu MHz\t\t: 3593.2{number}
cache size\t: 512 KB
{topology}apicid\t\t: {number}
fpu\t\t: yes
wp\t\t: yes
flags\t\t: fpu vme de pse lm {flags}
bugs\t\t: spectre_v1
bogomips\t: 7186.42
clflush size\t: 64
address sizes\t: 48 bits physical, 48 bits virtual
power management: ts ttp tm

"""
_TOPOLOGY = "physical id\t: {socket}\nsiblings\t: {siblings}\ncore id\t\t: {number}\ncpu cores\t: {cores}\n"
_ARM = """\
processor\t: {number}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes crc32
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd08

"""


def x86(
    vendor: str, family: int, model: int, name: str, flags: str, *, sockets: int = 1, cores: int = 0, threads: int
) -> str:
    """`cores` and `threads` a socket; without cores it says nothing of its topology."""
    text = ""
    for number in range(sockets * threads):
        socket = number // threads
        topology = _TOPOLOGY.format(socket=socket, siblings=threads, number=number, cores=cores) if cores else ""
        text += _X86.format(
            number=number, vendor=vendor, family=family, model=model, name=name, flags=flags, topology=topology
        )
    return text


INTEL_I7_9750H = x86("GenuineIntel", 6, 158, "Intel(R) Core(TM) i7-9750H CPU", "vmx avx2", cores=6, threads=12)
INTEL_I7_12700K = x86("GenuineIntel", 6, 151, "12th Gen Intel(R) Core(TM) i7-12700K", "vmx avx2", cores=12, threads=20)
AMD_RYZEN_5700X = x86("AuthenticAMD", 25, 33, "AMD Ryzen 7 5700X 8-Core", "svm avx2", cores=8, threads=16)
XEONS = x86("GenuineIntel", 6, 85, "Intel(R) Xeon(R) Gold 6230", "vmx avx2", sockets=2, cores=20, threads=40)
VM = x86("AuthenticAMD", 26, 2, "AMD EPYC", "hypervisor avx2", threads=2)
RASPBERRY_PI_4 = "".join(_ARM.format(number=number) for number in range(4)) + (
    "Hardware\t: BCM2835\nRevision\t: c03114\nModel\t\t: Raspberry Pi 4 Model B\n"
)


def written(
    root: Path, cpuinfo: str, *, allowed: str = "", core_types: tuple[str, ...] = (), clock: str = "tsc"
) -> None:
    """Write them below `root` as proc and sys."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/cpuinfo").write_text(cpuinfo)
    said = f"Cpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\n" if allowed else ""
    (root / "proc/self/status").write_text(f"Name:\tpython3\n{said}Mems_allowed_list:\t0\n")
    clocksource = root / "sys/devices/system/clocksource/clocksource0"
    clocksource.mkdir(parents=True)
    (clocksource / "current_clocksource").write_text(f"{clock}\n")
    for name in core_types:
        (root / "sys/devices" / name).mkdir()
