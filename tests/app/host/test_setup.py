"""The seven steps, as far as they can be told apart without a machine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pommel.app.argv import tuning
from pommel.app.host import checks as host_checks
from pommel.app.host import setup
from pommel.app.workspace import Workspace
from pommel.errors import ConfigError, UsageError
from pommel.host.accel import Accel
from pommel.host.cpu import Cpu, read_cpu
from pommel.machine.commandline import CommandLine
from pommel.paths import Home

INTEL = Cpu(
    vendor="intel", model_name="Intel(R) Core(TM) i7-9750H", family=6, model=158,
    flags=frozenset(["vmx", "avx2", "fma", "bmi1", "bmi2", "smep", "sse4_2", "lm"]),
    sockets=1, cores=6, threads=12, hybrid=False, virtualization="vmx", clocksource="tsc",
)  # fmt: skip
UPSTREAM = CommandLine.parse("qemu", ["-cpu", "Penryn,kvm=on", "-smp", "4,cores=2,sockets=1", "-m", "4096"])


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "pommel.toml").write_text('[machine.mac]\nmacos = "sonoma"\n')
    return Workspace(Home(tmp_path / "h", tmp_path / "r", tmp_path / "c"), tmp_path, {})


def test_a_dry_run_looks_at_all_seven_and_changes_nothing(workspace: Workspace, tmp_path: Path) -> None:
    outcomes = list(setup.setup(workspace=workspace, dry_run=True))
    assert [outcome.key for outcome in outcomes] == list(setup.KEYS)
    assert [outcome.number for outcome in outcomes] == list(range(1, 8))
    assert not any(outcome.changed for outcome in outcomes)
    assert [outcome.look.state for outcome in outcomes[4:6]] == ["todo", "todo"]
    assert not (tmp_path / "h").exists()


def test_steps_can_be_left_out_or_taken_alone(workspace: Workspace) -> None:
    found = list(setup.setup("mac", workspace=workspace, dry_run=True, only=["cpu", "disk"]))
    assert [(each.number, each.key) for each in found] == [(1, "cpu"), (6, "disk")]
    found = list(setup.setup("mac", workspace=workspace, dry_run=True, skip=["cpu"]))
    assert found[0].key == "kvm"
    with pytest.raises(UsageError):
        list(setup.setup("max", workspace=workspace))


def test_a_processor_without_avx2_stops_at_the_first_step(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = dataclasses.replace(INTEL, flags=INTEL.flags - {"avx2"})
    monkeypatch.setattr(host_checks, "read_cpu", lambda: old)
    monkeypatch.setattr(host_checks, "accelerator", lambda *_: Accel("kvm", "KVM runs guest code"))
    (outcome,) = setup.setup("mac", workspace=workspace)
    assert (outcome.key, outcome.look.state) == ("cpu", "fail")
    assert "AVX2" in outcome.look.text and "monterey" in str(outcome.look.hint)


def test_what_is_chosen_stands_beside_what_is_asked_for(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "read_cpu", lambda: INTEL)
    free = tuning.tuned(workspace.spec("mac"), "kvm", UPSTREAM)
    assert free.spec.cpu is not None and free.spec.cpu != "Penryn"
    assert free.spec.threads is not None and set(free.spec.reasons) >= {"cpu", "threads", "memory"}
    asked = tuning.tuned(workspace.spec("mac", {"cpu": "Haswell-noTSX", "memory": "16G"}), "kvm", UPSTREAM)
    assert (asked.spec.cpu, asked.spec.cpu_flags, asked.spec.memory_bytes) == ("Haswell-noTSX", (), 16 << 30)
    assert not {"cpu", "cpu_flags", "memory"} & set(asked.spec.reasons)


def test_vcpus_that_macos_hangs_on_are_refused_unless_insisted_on(workspace: Workspace) -> None:
    with pytest.raises(ConfigError) as refusal:
        tuning.tuned(workspace.spec("mac", {"cores": "6", "threads": "6"}), "kvm", UPSTREAM)
    assert "sockets = 3, cores = 2, threads = 6" in str(refusal.value.hint)
    flags = {"cores": "6", "threads": "6", "topology": "as-asked"}
    assert tuning.tuned(workspace.spec("mac", flags), "kvm", UPSTREAM).spec.cores == 6
    known = tuning.tuned(workspace.spec("mac", {"cores": "6", "threads": "12"}), "kvm", UPSTREAM)
    assert any("Ryzen" in line for line in known.warnings)


def test_the_trial_machine_and_unknown_guests_are_left_alone(workspace: Workspace) -> None:
    spec = workspace.spec("trial")
    assert tuning.tuned(spec, "tcg", UPSTREAM) == tuning.Tuned(spec)
    assert read_cpu().threads >= 1
