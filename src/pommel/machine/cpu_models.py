"""Chooses a QEMU CPU model that macOS boots with on a host, and the features to leave out. Band: core, no I/O.

The choices are those that people use: upstream's own and other tools', by host and by macOS. It is a named model and
never `host`: macOS reads family and model, and refuses or distrusts values that no Mac had.
The features of a model are QEMU's (target/i386/cpu.c, builtin_x86_defs); a test compares them with the real QEMU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pommel.errors import ConfigError

AVX2_SINCE = (13,)  # Ventura has no dyld cache for a processor without AVX2
SKYLAKE_ON_AMD_SINCE = (14,)
PENRYN_ENDS = (14,)  # Darwin 23: the patch of the CPU family that a Penryn needs ends before it


@dataclass(frozen=True, slots=True)
class HostProcessor:
    """The facts of the host that the choice needs. `flags` are /proc/cpuinfo's, `cores` counts all sockets."""

    vendor: str  # intel | amd | other
    flags: frozenset[str]
    cores: int
    threads: int
    sockets: int
    hybrid: bool
    memory_bytes: int
    clocksource: str | None = None  # None: unknown

    @property
    def name(self) -> str:
        """The host's name in a line for the user."""
        vendor = {"intel": "Intel", "amd": "AMD"}.get(self.vendor)
        if vendor is None:
            return "this host"
        return vendor + (" hybrid" if self.hybrid else "") + " host" + (", several sockets" if self.sockets > 1 else "")


@dataclass(frozen=True, slots=True)
class CpuModel:
    """A model's name, the flags that remove or add features, and the reasons."""

    name: str
    flags: tuple[str, ...]
    reason: str
    flags_reason: str


# QEMU's name of each feature that not every x86-64 processor has -> the flag in /proc/cpuinfo. Features that KVM gives
# a guest on every host are not here: x2apic, arat, hypervisor (target/i386/kvm/kvm.c,
# kvm_arch_get_supported_cpuid). tsc-deadline is here, though KVM can emulate it: other tools leave it out on AMD.
FEATURES: Mapping[str, str] = {
    "ssse3": "ssse3",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "cx16": "cx16",
    "pclmulqdq": "pclmulqdq",
    "popcnt": "popcnt",
    "movbe": "movbe",
    "aes": "aes",
    "xsave": "xsave",
    "xsaveopt": "xsaveopt",
    "xsavec": "xsavec",
    "xgetbv1": "xgetbv1",
    "avx": "avx",
    "avx2": "avx2",
    "f16c": "f16c",
    "fma": "fma",
    "bmi1": "bmi1",
    "bmi2": "bmi2",
    "abm": "abm",
    "adx": "adx",
    "rdrand": "rdrand",
    "rdseed": "rdseed",
    "rdtscp": "rdtscp",
    "erms": "erms",
    "fsgsbase": "fsgsbase",
    "lahf-lm": "lahf_lm",
    "3dnowprefetch": "3dnowprefetch",
    "smep": "smep",
    "smap": "smap",
    "pcid": "pcid",
    "invpcid": "invpcid",
    "tsc-deadline": "tsc_deadline_timer",
    "spec-ctrl": "ibrs",  # Linux hides the bit itself and shows the flags that it implies
    "invtsc": "nonstop_tsc",
}
# The features that upstream adds to any model, by +flag.
UPSTREAM_ADDS = ("ssse3", "sse4.2", "popcnt", "avx", "aes", "xsave", "xsaveopt")
_PENRYN = ("cx16", "lahf-lm", "sse4.1", "ssse3")
_HASWELL = (
    *_PENRYN,
    *("abm", "aes", "avx", "avx2", "bmi1", "bmi2", "erms", "f16c", "fma", "fsgsbase", "invpcid", "movbe", "pcid"),
    *("pclmulqdq", "popcnt", "rdrand", "rdtscp", "smep", "sse4.2", "tsc-deadline", "xsave", "xsaveopt"),
)
_SKYLAKE = (*_HASWELL, "3dnowprefetch", "adx", "rdseed", "smap", "xgetbv1", "xsavec")
MODELS: Mapping[str, tuple[str, ...]] = {
    "Penryn": _PENRYN,
    "Haswell-noTSX": _HASWELL,
    "Skylake-Client": _SKYLAKE,  # and hle, rtm, which are always left out for macOS
    "Skylake-Client-noTSX-IBRS": (*_SKYLAKE, "spec-ctrl"),
}
_NO_TSX = {"Skylake-Client": ("-hle", "-rtm")}
# Measured on QEMU 7.2: the features above, and those that only hardware has, that its translator lacks.
_TCG_LACKS = frozenset(
    ("3dnowprefetch", "invpcid", "pcid", "rdseed", "spec-ctrl", "tsc-deadline", "x2apic", "xsavec"),
)
_IN_X2APIC = ("Haswell-noTSX", "Skylake-Client", "Skylake-Client-noTSX-IBRS")


def parse_macos(text: str) -> tuple[int, ...]:
    """Parse a macOS version number such as "10.15" or "14", for comparison.

    Raises:
        ConfigError: it is not a number.
    """
    parts = text.split(".")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(f"macos = {text!r} is not a version number", hint="such as 14 or 10.15")
    return tuple(int(part) for part in parts)


def needs_avx2(macos: str) -> bool:
    """Whether this macOS needs a processor with AVX2."""
    return parse_macos(macos) >= AVX2_SINCE


def check_model(model: str, macos: str | None) -> str | None:
    """A warning for a model that `macos` does not start with, else None; with None for `macos` nothing is checked."""
    if macos is None or not model.startswith("Penryn") or parse_macos(macos) < PENRYN_ENDS:
        return None
    return f"cpu = {model}: macOS 14 and later do not start with it; leave cpu out, or set Skylake-Client"


def choose_model(host: HostProcessor, macos: str, accel: str) -> CpuModel:
    """Choose the model for `macos` on `host`, and the flags that fit it to the accelerator.

    Under KVM a feature that the host lacks is left out by name: QEMU would drop it anyway, with a warning for each
    feature.
    """
    if accel == "tcg":
        name, reason = _for_tcg(macos)
        lacks, who = _TCG_LACKS, "QEMU's translator"
    else:
        name, reason = _for_kvm(host, macos)
        lacks, who = frozenset(feature for feature, flag in FEATURES.items() if flag not in host.flags), "this host"
    flags = _flags(name, lacks, tcg=accel == "tcg")
    without = "TSX and " if name in _NO_TSX else ""
    return CpuModel(name, flags, reason, f"{name} without {without}what {who} lacks")


def _for_tcg(macos: str) -> tuple[str, str]:
    version = parse_macos(macos)
    if version < AVX2_SINCE:
        return "Penryn", f"emulated, macOS {macos}: Penryn, the minimum that it needs"
    if version < SKYLAKE_ON_AMD_SINCE:
        return "Haswell-noTSX", f"emulated, macOS {macos}: Haswell-noTSX, which has the AVX2 that it needs"
    return "Skylake-Client", f"emulated, macOS {macos}: Skylake-Client, which other tools use for Sonoma and later"


def _for_kvm(host: HostProcessor, macos: str) -> tuple[str, str]:
    version, where = parse_macos(macos), f"{host.name}, macOS {macos}"
    if "avx2" not in host.flags:
        if version < AVX2_SINCE:
            return "Penryn", f"{where}: Penryn, because this processor has no AVX2"
        return "Haswell-noTSX", f"{where}: Haswell-noTSX, but it needs AVX2, which this processor does not have"
    if host.vendor != "intel":
        if version < SKYLAKE_ON_AMD_SINCE:
            return "Haswell-noTSX", (
                f"{where}: Haswell-noTSX with the features of the host; other tools use it up to Ventura"
            )
        return (
            "Skylake-Client",
            f"{where}: Skylake-Client with the features of the host; other tools use it for Sonoma and later",
        )
    if host.sockets > 1:
        return "Skylake-Client-noTSX-IBRS", f"{where}: Skylake-Client-noTSX-IBRS, which other tools use on Xeons"
    if not {"xsavec", "xgetbv1"} <= host.flags:  # new in Skylake
        return "Haswell-noTSX", f"{where}: Haswell-noTSX, because this processor is older than Skylake"
    if host.hybrid:
        return "Skylake-Client", f"{where}: Skylake-Client hides that the cores differ, which macOS would not accept"
    return "Skylake-Client", f"{where}: Skylake-Client, which upstream and other tools use on Intel"


def _flags(name: str, lacks: frozenset[str], *, tcg: bool) -> tuple[str, ...]:
    has = MODELS[name]
    # Under TCG the rules leave invtsc out themselves; a model's x2apic is named here only if it must be left out.
    everything = dict.fromkeys((*has, *UPSTREAM_ADDS, *(("x2apic",) if tcg and name in _IN_X2APIC else ("invtsc",))))
    without = [f"-{feature}" for feature in everything if feature in lacks]
    added = [f"+{feature}" for feature in UPSTREAM_ADDS if feature not in has and feature not in lacks]
    return (*_NO_TSX.get(name, ()), *without, *added)
