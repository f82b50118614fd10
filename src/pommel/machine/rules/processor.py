"""Rules for accelerator, CPU and topology. Band: core, no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pommel.errors import ConfigError
from pommel.machine.commandline import Argument
from pommel.machine.rules.sheet import RuleInput, Sheet
from pommel.machine.spec import MachineSpec
from pommel.machine.suboptions import Pair, SubOptions

# CPU properties that only have a meaning under KVM (target/i386/cpu.c and kvm/): its own paravirtual leaves, the
# invariant TSC and VMware's frequency leaf that describe the host's clock, Hyper-V's enlightenments.
_KVM_ONLY = re.compile(r"kvm|kvm-.*|kvmclock.*|invtsc|vmware-cpuid-freq|migratable|pmu|hv-.*|hyperv.*")
_TCG_MODELS_INSTEAD = {"host": "max"}


def accelerator(sheet: Sheet, given: RuleInput) -> Sheet:
    """Set the accelerator once, by -accel."""
    facts = given.facts
    for machine in sheet.line.find("machine"):
        if machine.sub.has("accel"):
            sheet = _without_accel(sheet, machine)
    said = sheet.line.find("accel", "enable-kvm", "enable-hax", "no-kvm")
    keep = next((a for a in said if a.name == "accel" and a.sub.head == facts.accel), None)
    value = keep.sub if keep else SubOptions(facts.accel)
    if facts.accel == "tcg":
        value = value.with_default("thread", "multi")
    if not said:
        return sheet.add("-accel", value.render(), facts.accel_reason)
    first = keep or said[0]
    sheet = sheet.change(first, value, facts.accel_reason, option="-accel")
    return sheet.remove_all((a for a in said if a is not first), "the accelerator is named once")


def _without_accel(sheet: Sheet, machine: Argument) -> Sheet:
    reason = "the accelerator is named by -accel; QEMU refuses both"
    left = machine.sub.without("accel")
    if left.head is None and not left.pairs:
        return sheet.remove(machine, reason)
    return sheet.change(machine, left, reason)


def cpu(sheet: Sheet, given: RuleInput) -> Sheet:
    """Set model and flags from the settings, and remove the flags that only KVM supports under TCG.

    The model stays under TCG: measured on QEMU 7.2, `max` is no faster than Penryn (a system call, a fork and a page
    fault take the same time), and its AVX2 makes string functions twice as slow, because TCG emulates AVX2 in software.
    """
    spec, found = given.spec, sheet.line.find("cpu")
    if not found:
        return _new_cpu(sheet, given)
    # QEMU reads the last -cpu only.
    sheet = sheet.remove_all(found[:-1], "QEMU reads the last -cpu only")
    asked = _with_flags(_with_model(found[-1].sub, spec.cpu), spec.cpu_flags)
    sheet = sheet.change(found[-1], asked, _why_cpu(spec))
    return _for_tcg(sheet, spec) if given.facts.accel == "tcg" else sheet


def _new_cpu(sheet: Sheet, given: RuleInput) -> Sheet:
    spec = given.spec
    if spec.cpu is None:
        if spec.cpu_flags:
            raise ConfigError(
                "cpu_flags is set, but no CPU model is set in pommel.toml or in the upstream",
                hint="set cpu as well, such as Skylake-Client",
            )
        return sheet
    sheet = sheet.add("-cpu", _with_flags(SubOptions(spec.cpu), spec.cpu_flags).render(), _why_cpu(spec))
    return _for_tcg(sheet, spec) if given.facts.accel == "tcg" else sheet


def _with_model(value: SubOptions, model: str | None) -> SubOptions:
    if model is None or model == value.head:
        return value
    # A "-flag" removes a feature of the old model (Skylake-Client,-hle,-rtm); the new one starts from its own list.
    return value.with_head(model).with_pairs(p for p in value.pairs if not p[0].startswith("-"))


def _with_flags(value: SubOptions, flags: tuple[str, ...]) -> SubOptions:
    # A flag that is already there in the wanted form stays at its place.
    flags = tuple(flag for flag in dict.fromkeys(flags) if not _stands_alone(value, flag))
    named = {_feature((flag, None)) for flag in flags}
    kept = [pair for pair in value.pairs if _feature(pair) not in named]
    # `check` and `enforce` end the upstream's list; flags before them keep the line as a person would write it.
    place = next((i for i, (key, _) in enumerate(kept) if key in ("check", "enforce")), len(kept))
    added: list[Pair] = [(flag, None) for flag in flags]
    return value.with_pairs([*kept[:place], *added, *kept[place:]])


def _stands_alone(value: SubOptions, flag: str) -> bool:
    same = [pair for pair in value.pairs if _feature(pair) == _feature((flag, None))]
    return same == [(flag, None)]


def _feature(pair: Pair) -> str:
    return pair[0].removeprefix("+").removeprefix("-").replace("_", "-")


def is_kvm_only(pair: Pair) -> bool:
    """Whether an item of -cpu has a meaning under KVM only."""
    return _KVM_ONLY.fullmatch(_feature(pair)) is not None


def _for_tcg(sheet: Sheet, spec: MachineSpec) -> Sheet:
    (found,) = sheet.line.find("cpu")
    # The user's own flags stay: QEMU accepts them under TCG, with a warning at most.
    asked = set() if "cpu_flags" in spec.reasons else {_feature((flag, None)) for flag in spec.cpu_flags}
    pairs = [p for p in found.sub.pairs if found.written or _feature(p) in asked or not is_kvm_only(p)]
    sheet = sheet.change(found, found.sub.with_pairs(pairs), "flags that only KVM has are left out under TCG")
    (found,) = sheet.line.find("cpu")
    pairs = [("check", None) if _feature(p) == "enforce" else p for p in found.sub.pairs]
    sheet = sheet.change(found, found.sub.with_pairs(pairs), "TCG lacks CPU features, and `enforce` would end QEMU")
    instead = _TCG_MODELS_INSTEAD.get(found.sub.head or "")
    if instead is None:
        return sheet
    (found,) = sheet.line.find("cpu")
    return sheet.change(found, found.sub.with_head(instead), f"TCG has no `{found.sub.head}` model")


def why(spec: MachineSpec, said: Mapping[str, str]) -> str:
    """The origin of the settings in `said`: the user, in the words of `said`, or Pommel, with its reason."""
    asked = [text for key, text in said.items() if key not in spec.reasons]
    chosen = dict.fromkeys(spec.reasons[key] for key in said if key in spec.reasons)  # several may share one
    parts = [f"asked for: {', '.join(asked)}"] if asked else []
    parts += [f"chosen: {'; '.join(chosen)}"] if chosen else []
    return "; ".join(parts)


def _why_cpu(spec: MachineSpec) -> str:
    said = {"cpu": f"cpu = {spec.cpu}"} if spec.cpu else {}
    said |= {"cpu_flags": f"cpu_flags = {' '.join(spec.cpu_flags)}"} if spec.cpu_flags else {}
    return why(spec, said)


@dataclass(frozen=True, slots=True)
class Topology:
    """vCPUs: here `threads` is for each core; the setting of that name is for the whole machine."""

    sockets: int
    cores: int
    threads: int

    @property
    def total(self) -> int:
        """All vCPUs."""
        return self.sockets * self.cores * self.threads


def topology(sheet: Sheet, given: RuleInput) -> Sheet:
    """Set sockets, cores and threads from the settings; a value that is not set keeps the upstream's proportions."""
    spec, found = given.spec, sheet.line.find("smp")
    asked = {k: v for k in ("sockets", "cores", "threads") if (v := getattr(spec, k)) is not None}
    if not asked:
        return sheet
    reason = why(spec, {key: f"{key} = {value}" for key, value in asked.items()})
    upstream = found[-1].sub if found else SubOptions("1")
    new = wanted_topology(read_topology(upstream), spec.sockets, spec.cores, spec.threads)
    value = _smp(upstream, new).render()
    return sheet.change(found[-1], value, reason) if found else sheet.add("-smp", value, reason)


def read_topology(smp: SubOptions) -> Topology:
    """The topology of an -smp value (since QEMU 6.2, the rest goes to the cores)."""
    sockets, cores, threads = (_count(smp.get(key)) for key in ("sockets", "cores", "threads"))
    cores = (cores or 1) * (_count(smp.get("dies")) or 1) * (_count(smp.get("clusters")) or 1) if cores else 0
    total = _count(smp.head or smp.get("cpus")) or (sockets or 1) * (cores or 1) * (threads or 1)
    if not threads and sockets and cores:
        threads = max(1, total // (sockets * cores))
    if not cores:
        cores = max(1, total // ((sockets or 1) * (threads or 1)))
    if not sockets:
        sockets = max(1, total // (cores * (threads or 1)))
    return Topology(sockets, cores, threads or 1)


def wanted_topology(upstream: Topology, sockets: int | None, cores: int | None, total: int | None) -> Topology:
    """Fill in values that are not set: threads per core as in upstream, cores from the total.

    Raises:
        ConfigError: the total does not divide into the sockets and cores.
    """
    sockets = sockets or upstream.sockets
    if total is None:
        return Topology(sockets, cores or upstream.cores, upstream.threads)
    if cores is None:
        per_core = upstream.threads if total % (sockets * upstream.threads) == 0 else 1
        cores = max(1, total // (sockets * per_core))
    new = Topology(sockets, cores, max(1, total // (sockets * cores)))
    if new.total != total:
        raise ConfigError(
            f"threads = {total} (vCPUs in total) does not divide into {sockets} × {cores} (sockets × cores)",
            hint=f"try threads = {sockets * cores * max(1, round(total / (sockets * cores)))}",
        )
    return new


def _smp(upstream: SubOptions, new: Topology) -> SubOptions:
    value = upstream.without("dies", "clusters", "maxcpus")
    total = str(new.total)
    value = value.with_value("cpus", total) if value.has("cpus") else value.with_head(total)
    value = value.with_value("cores", str(new.cores)).with_value("sockets", str(new.sockets))
    return value.with_value("threads", str(new.threads)) if value.has("threads") else value


def _count(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
