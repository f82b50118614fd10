"""Kexts without which a boot disk is not packed, and those that are only switched off."""

from __future__ import annotations

import plistlib
from pathlib import Path

import pytest

from pommel.errors import UpstreamError
from pommel.opencore.build import build
from pommel.opencore.config import Missing
from pommel.opencore.needed import meant, without
from pommel.opencore.options import Options, Smbios

from .trees import config, kext, lay


def missing(name: str, section: str = "Kernel/Add") -> Missing:
    return Missing(section, name, f"Kexts/{name}/Contents/Info.plist")


def info(*libraries: str) -> bytes:
    return plistlib.dumps({"OSBundleLibraries": dict.fromkeys(libraries, "1.0")})


@pytest.mark.parametrize(
    ("gone", "infos", "model", "why"),
    [
        ("Lilu.kext", {}, None, "need it"),
        ("VirtualSMC.kext", {}, None, "SMC"),
        ("Base.kext", {"Over.kext": info("org.example.Base")}, None, "Over.kext needs it"),
        ("Base.kext", {"Over.kext": info("org.example.Other", "com.apple.Base")}, None, None),
        ("AppleMCEReporterDisabler.kext", {}, "MacPro7,1", "as MacPro7,1"),
        ("AppleMCEReporterDisabler.kext", {}, "iMac19,1", None),
        ("USBPorts.kext", {"Broken.kext": b"<plist", "Odd.kext": plistlib.dumps([])}, "iMacPro1,1", None),
    ],
)
def test_which_are_needed(gone: str, infos: dict[str, bytes], model: str | None, why: str | None) -> None:
    found = without([missing("SSDT.aml", "ACPI/Add"), missing(gone)], infos, model)
    assert (found is None) if why is None else (found is not None and why in found[1] and found[0].name == gone)


def test_another_spelling_is_named() -> None:
    assert (
        meant(missing("AppleMCEReporterDisabler.kext"), ["Lilu.kext", "MCEReporterDisabler.kext"])
        == "MCEReporterDisabler.kext"
    )
    assert meant(missing("Lilu.kext"), ["USBPorts.kext"]) is None


def test_a_disk_that_would_lack_one_is_not_packed_and_the_other_name_is_told(tmp_path: Path) -> None:
    efi, plist = lay(tmp_path)
    as_mac_pro = Options(smbios=Smbios(product_name="MacPro7,1"))
    with pytest.raises(
        UpstreamError, match=r"would not contain AppleMCEReporterDisabler\.kext .*as MacPro7,1"
    ) as refusal:
        build(efi, plist, tmp_path / "disk", options=as_mac_pro)
    assert "there is a MCEReporterDisabler.kext: set BundlePath" in str(refusal.value.hint)
    assert not (tmp_path / "disk").exists()
    fitting = config()
    fitting["Kernel"]["Add"][3] = kext("MCEReporterDisabler.kext")
    plist.write_bytes(plistlib.dumps(fitting, sort_keys=False))
    assert build(efi, plist, tmp_path / "disk", options=as_mac_pro).path.is_file()
