"""Hosts that choices are made for, by the flags that their /proc/cpuinfo shows. No tests here."""

from __future__ import annotations

from dataclasses import replace

from pommel.machine.cpu_models import HostProcessor

GIB = 1 << 30

_OLD = "lm cx16 lahf_lm ssse3 sse4_1 sse4_2 popcnt pclmulqdq aes xsave avx nonstop_tsc"
_HASWELL = f"{_OLD} xsaveopt avx2 bmi1 bmi2 f16c fma fsgsbase movbe rdrand rdtscp abm smep"
_ZEN2 = f"{_HASWELL} adx rdseed smap 3dnowprefetch xsavec xgetbv1 xsaves svm"
_INTEL = f"{_HASWELL} erms invpcid pcid tsc_deadline_timer vmx"
_SKYLAKE = f"{_INTEL} adx rdseed smap 3dnowprefetch xsavec xgetbv1"


def host(vendor: str, flags: str, cores: int = 8, threads: int = 16, sockets: int = 1) -> HostProcessor:
    return HostProcessor(vendor, frozenset(flags.split()), cores, threads, sockets, False, 32 * GIB, "tsc")


SKYLAKE = host("intel", _SKYLAKE, 4, 8)
HYBRID = replace(host("intel", _SKYLAKE, 16, 24), hybrid=True)
HASWELL = host("intel", _INTEL, 4, 8)
IVY_BRIDGE = host("intel", f"{_OLD} xsaveopt f16c rdrand rdtscp fsgsbase smep erms pcid tsc_deadline_timer vmx", 2, 4)
XEONS = host("intel", f"{_SKYLAKE} ibrs", 40, 80, 2)
ZEN2 = host("amd", _ZEN2)
ZEN3 = host("amd", f"{_ZEN2} erms pcid invpcid", 8, 16)  # a Ryzen 7 5700X
BULLDOZER = host("amd", f"{_OLD} abm svm", 4, 8)
ARM = host("other", "fp asimd aes", 4, 4)
ALL = (SKYLAKE, HYBRID, HASWELL, IVY_BRIDGE, XEONS, ZEN2, ZEN3, BULLDOZER, ARM)
VERSIONS = ("10.13", "10.14", "10.15", "11", "12", "13", "14", "15", "26")
