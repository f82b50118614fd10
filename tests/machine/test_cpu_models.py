"""CPU models: the choice for each kind of host and macOS, and the tables against the real QEMU."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pommel.errors import CommandFailed, ConfigError
from pommel.machine.cpu_models import (
    FEATURES,
    MODELS,
    HostProcessor,
    check_model,
    choose_model,
    needs_avx2,
    parse_macos,
)
from pommel.machine.spec import SETTINGS
from pommel.process import run

from .hosts import ALL, BULLDOZER, HASWELL, HYBRID, IVY_BRIDGE, SKYLAKE, VERSIONS, XEONS, ZEN2, ZEN3


@pytest.mark.parametrize(
    ("host", "macos", "model", "flags"),
    [
        (SKYLAKE, "14", "Skylake-Client", "-hle -rtm"),
        (SKYLAKE, "10.13", "Skylake-Client", "-hle -rtm"),
        (HYBRID, "26", "Skylake-Client", "-hle -rtm"),
        (XEONS, "15", "Skylake-Client-noTSX-IBRS", ""),
        (replace(XEONS, flags=XEONS.flags - {"ibrs"}), "15", "Skylake-Client-noTSX-IBRS", "-spec-ctrl"),
        (HASWELL, "14", "Haswell-noTSX", ""),
        (ZEN2, "13", "Haswell-noTSX", "-erms -invpcid -pcid -tsc-deadline"),
        (ZEN2, "14", "Skylake-Client", "-hle -rtm -erms -invpcid -pcid -tsc-deadline"),
        (ZEN3, "12", "Haswell-noTSX", "-tsc-deadline"),
        (ZEN3, "26", "Skylake-Client", "-hle -rtm -tsc-deadline"),
        (replace(ZEN3, vendor="other"), "14", "Skylake-Client", "-hle -rtm -tsc-deadline"),
        (IVY_BRIDGE, "12", "Penryn", "+sse4.2 +popcnt +avx +aes +xsave +xsaveopt"),
        # The upstream adds xsaveopt to every model, so it has to be taken away by name.
        (BULLDOZER, "10.15", "Penryn", "-xsaveopt +sse4.2 +popcnt +avx +aes +xsave"),
    ],
)
def test_the_model_and_its_flags(host: HostProcessor, macos: str, model: str, flags: str) -> None:
    chosen = choose_model(host, macos, "kvm")
    assert (chosen.name, " ".join(chosen.flags)) == (model, flags)
    assert f"macOS {macos}: {model}" in chosen.reason


def test_the_reasons_read_well() -> None:
    assert choose_model(ZEN3, "14", "kvm").reason == (
        "AMD host, macOS 14: Skylake-Client with the features of the host; other tools use it for Sonoma and later"
    )
    assert choose_model(ZEN3, "14", "kvm").flags_reason == "Skylake-Client without TSX and what this host lacks"
    assert choose_model(XEONS, "14", "kvm").reason.startswith("Intel host, several sockets, macOS 14: ")
    assert choose_model(HYBRID, "14", "kvm").reason.startswith("Intel hybrid host, macOS 14: ")
    assert choose_model(BULLDOZER, "14", "kvm").reason.endswith("but it needs AVX2, which this processor does not have")


@pytest.mark.parametrize("macos", VERSIONS)
@pytest.mark.parametrize("host", ALL)
def test_no_flag_is_given_that_the_host_lacks_and_no_penryn_where_it_ends(host: HostProcessor, macos: str) -> None:
    chosen = choose_model(host, macos, "kvm")
    given = {*MODELS[chosen.name], *(flag[1:] for flag in chosen.flags if flag[0] == "+")}
    given -= {flag[1:] for flag in chosen.flags if flag[0] == "-"}
    assert {FEATURES[feature] for feature in given} <= host.flags
    assert check_model(chosen.name, macos) is None
    if needs_avx2(macos) and "avx2" in host.flags:
        assert "avx2" in given
    parse = next(setting.parse for setting in SETTINGS if setting.key == "cpu_flags")
    assert parse(list(chosen.flags)) == chosen.flags, "they are what a person could have typed"


def ask(cpu: str, command: str, **arguments: object) -> Any:
    """The answer of a real QEMU that has made a machine with this -cpu."""
    words = ["qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-nodefaults", "-display", "none", "-S"]
    lines = [{"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}, {"execute": "quit"}]
    text = "\n".join(json.dumps(line) for line in lines)
    done = run([*words, "-cpu", cpu, "-qmp", "stdio"], input=text.encode(), timeout_s=60)
    answers = [answer for answer in map(json.loads, done.text.splitlines()) if not {"QMP", "event"} & set(answer)]
    return answers[1]["return"]


@pytest.mark.parametrize("macos", VERSIONS)
def test_tcg_runs_what_is_chosen_for_it_with_all_its_flags(macos: str) -> None:
    """`enforce` makes QEMU refuse what it only warns about otherwise."""
    chosen = choose_model(ZEN3, macos, "tcg")
    cpu = ",".join([chosen.name, *chosen.flags, "enforce"])
    assert ask(cpu, "qom-get", path="/machine/unattached/device[0]", property="avx2") == needs_avx2(macos)


def test_tcg_is_refused_what_it_lacks() -> None:
    with pytest.raises(CommandFailed, match="TCG doesn't support requested feature"):
        ask("Skylake-Client,-hle,-rtm,enforce", "query-status")


@pytest.mark.parametrize("model", MODELS)
def test_the_table_is_what_qemu_has(model: str) -> None:
    """Of the features that we may have to leave out, QEMU's model has exactly those of ours."""
    told = ask("qemu64", "query-cpu-model-expansion", type="full", model={"name": model})["model"]["props"]
    assert {name for name, on in told.items() if on is True} & set(FEATURES) == set(MODELS[model])
    assert {"hle", "rtm"} <= {name for name, on in told.items() if on is True} or model != "Skylake-Client"


def test_macos_versions() -> None:
    assert parse_macos("10.15") < parse_macos("11") < parse_macos("13.7") < parse_macos("26")
    assert [version for version in VERSIONS if needs_avx2(version)] == ["13", "14", "15", "26"]
    for wrong in ("sonoma", "", "14.", "1４", "-1"):
        with pytest.raises(ConfigError, match="is not a version number"):
            parse_macos(wrong)


def test_penryn_where_it_no_longer_boots() -> None:
    assert check_model("Penryn", "13") is None
    assert check_model("Penryn", None) is None
    assert check_model("Haswell-noTSX", "26") is None
    said = check_model("Penryn-v1", "14")
    assert said and "Skylake-Client" in said
