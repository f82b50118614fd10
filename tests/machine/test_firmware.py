"""The firmware pair: the choice on made-up sizes, and OVMF itself under TCG."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel import ovmf
from pommel.errors import FirmwareError
from pommel.machine.firmware import FirmwareChoice, FirmwarePair, choose_pair, find_pair, matches, prepare_nvram
from pommel.process import spawn_detached

CODE_2M, VARS_2M, CODE_4M, VARS_4M = 1_966_080, 131_072, 3_653_632, 540_672
OVMF = Path("/usr/share/OVMF")


def make(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        out.truncate(size)
    return path


@pytest.mark.parametrize(
    ("code", "variables", "fit"),
    [
        (917_504, 131_072, True),
        (CODE_2M, VARS_2M, True),
        (CODE_4M, VARS_4M, True),
        (CODE_4M, VARS_2M, False),
        (CODE_2M, VARS_4M, False),
        (0, 0, False),
        (CODE_4M, 0, False),
        (VARS_4M, CODE_4M, False),
        (1 << 20, 1 << 20, False),
        (4 << 20, 0, False),
    ],
)
def test_matches(code: int, variables: int, fit: bool) -> None:
    assert matches(code, variables) is fit


SIZES = st.sampled_from([None, 0, VARS_2M, VARS_4M, CODE_2M, CODE_4M, 12345])
PAIRS = [FirmwarePair(Path(f"/{n}/code"), Path(f"/{n}/vars")) for n in range(4)]


@given(st.fixed_dictionaries({path: SIZES for pair in PAIRS for path in (pair.code, pair.variables)}))
def test_what_is_chosen_matches_and_the_upstreams_own_goes_first(sizes: dict[Path, int | None]) -> None:
    def fits(pair: FirmwarePair) -> bool:
        return matches(sizes[pair.code] or 0, sizes[pair.variables] or 0)

    try:
        choice = choose_pair(PAIRS[0], PAIRS[1:], sizes.__getitem__)
    except FirmwareError as told:
        assert not any(fits(pair) for pair in PAIRS)
        assert "ovmf" in (told.hint or "")
        return
    assert fits(choice.pair)
    assert (choice.pair == PAIRS[0]) is fits(PAIRS[0]) is (choice.reason == "")


def test_unequal_pair_keeps_its_code_and_takes_the_hosts_variables(tmp_path: Path) -> None:
    """The newer layout of OSX-KVM: code of the 4 MiB build, variables of the 2 MiB build."""
    code, variables = make(tmp_path / "OVMF_CODE_4M.fd", CODE_4M), make(tmp_path / "OVMF_VARS-1920x1080.fd", VARS_2M)
    choice = find_pair(code, variables)
    assert choice.pair == FirmwarePair(code, OVMF / "OVMF_VARS_4M.fd")
    assert "OVMF_CODE_4M.fd (3653632 bytes) and OVMF_VARS-1920x1080.fd (131072 bytes)" in choice.reason
    assert str(OVMF / "OVMF_VARS_4M.fd") in choice.reason


def test_upstreams_own_folder_goes_before_the_host(tmp_path: Path) -> None:
    code, wrong = make(tmp_path / "OVMF_CODE_4M.fd", CODE_4M), make(tmp_path / "OVMF_VARS.fd", VARS_2M)
    make(tmp_path / "OVMF_VARS_4M.ms.fd", VARS_4M)
    right = make(tmp_path / "OVMF_VARS_4M.fd", VARS_4M)
    assert find_pair(code, wrong).pair == FirmwarePair(code, right)


def test_code_that_is_gone_takes_a_whole_pair_of_the_host(tmp_path: Path) -> None:
    """As when upstream renamed OVMF_CODE.fd, and a script still names it."""
    choice = find_pair(tmp_path / "OVMF_CODE.fd", make(tmp_path / "OVMF_VARS.fd", VARS_2M))
    assert choice.pair == FirmwarePair(OVMF / "OVMF_CODE_4M.fd", OVMF / "OVMF_VARS_4M.fd")
    assert choice.reason.startswith(f"{tmp_path / 'OVMF_CODE.fd'} does not exist; using")


def test_a_matching_pair_stays(tmp_path: Path) -> None:
    code, variables = make(tmp_path / "c.fd", CODE_2M), make(tmp_path / "v.fd", VARS_2M)
    assert find_pair(code, variables) == FirmwareChoice(FirmwarePair(code, variables))


def described(folder: Path, name: str, **changes: object) -> None:
    document = {
        "interface-types": ["uefi"],
        "mapping": {
            "device": "flash",
            "executable": {"filename": str(folder / "code.fd"), "format": "raw"},
            "nvram-template": {"filename": str(folder / "vars.fd"), "format": "raw"},
        },
        "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
        "features": ["acpi-s3"],
    }
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(document | changes))


def test_descriptions_of_the_host_are_read(tmp_path: Path) -> None:
    host = tmp_path / "host"
    described(host, "60-plain")
    pair = FirmwarePair(make(host / "code.fd", CODE_4M), make(host / "vars.fd", VARS_4M))
    found = find_pair(tmp_path / "no", tmp_path / "no", descriptions=[tmp_path / "none", host], root=tmp_path)
    assert found.pair == pair


@pytest.mark.parametrize(
    "changes",
    [
        {"features": ["secure-boot"]},
        {"features": ["enrolled-keys", "acpi-s3"]},
        {"targets": [{"architecture": "aarch64", "machines": ["virt-*"]}]},
        {"targets": [{"architecture": "x86_64", "machines": ["microvm"]}]},
        {"interface-types": ["bios"]},
        {"mapping": {"device": "memory", "filename": "/x"}},
        {"mapping": {"device": "flash", "executable": {"filename": "c", "format": "qcow2"}, "nvram-template": None}},
        {"mapping": 7},
    ],
)
def test_descriptions_that_do_not_suit_are_passed_over(tmp_path: Path, changes: dict[str, object]) -> None:
    host = tmp_path / "host"
    described(host, "60-other", **changes)
    (host / "10-broken.json").write_text("{")
    make(host / "code.fd", CODE_4M)
    make(host / "vars.fd", VARS_4M)
    with pytest.raises(FirmwareError, match="no does not exist, and this host has no matching pair"):
        find_pair(tmp_path / "no", tmp_path / "no", descriptions=[host], root=tmp_path)


@pytest.mark.parametrize(("folder", "code", "variables"), ovmf.PAIRS)
def test_where_distributions_keep_it(tmp_path: Path, folder: str, code: str, variables: str) -> None:
    place = tmp_path / folder.lstrip("/")
    pair = FirmwarePair(make(place / code, CODE_4M), make(place / variables, VARS_4M))
    assert find_pair(tmp_path / "no", tmp_path / "no", descriptions=[], root=tmp_path).pair == pair


@pytest.fixture
def choice(tmp_path: Path) -> FirmwareChoice:
    code, variables = make(tmp_path / "code.fd", CODE_2M), make(tmp_path / "vars.fd", VARS_2M)
    variables.write_bytes(b"fresh" + bytes(VARS_2M - 5))
    return FirmwareChoice(FirmwarePair(code, variables))


def test_nvram_is_made_once(choice: FirmwareChoice, tmp_path: Path) -> None:
    nvram = tmp_path / "machine" / "nvram.fd"
    assert prepare_nvram(choice, nvram) is None
    assert nvram.read_bytes() == choice.pair.variables.read_bytes()
    nvram.write_bytes(b"used!" + bytes(VARS_2M - 5))
    assert prepare_nvram(choice, nvram) is None
    assert nvram.read_bytes().startswith(b"used!")
    assert [p.name for p in nvram.parent.iterdir()] == ["nvram.fd"]


@pytest.mark.parametrize("size", [0, VARS_4M, VARS_2M - 1])
def test_nvram_that_does_not_fit_is_kept_aside(choice: FirmwareChoice, tmp_path: Path, size: int) -> None:
    nvram = tmp_path / "machine" / "nvram.fd"
    for number in (1, 2):
        make(nvram, size)
        said = prepare_nvram(choice, nvram)
        assert (
            said
            == f"nvram.fd did not match code.fd and was renamed to nvram.fd.old-{number}; the machine starts with new variables"
        )
        assert (nvram.parent / f"nvram.fd.old-{number}").stat().st_size == size
        assert nvram.read_bytes().startswith(b"fresh")


def test_nvram_that_cannot_be_made(choice: FirmwareChoice, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FirmwareError, match="cannot be prepared"):
        prepare_nvram(choice, tmp_path / "file" / "nvram.fd")
    choice.pair.variables.unlink()
    with pytest.raises(FirmwareError, match="No such file or directory"):
        prepare_nvram(choice, tmp_path / "nvram.fd")


def remembers(pair: FirmwarePair, folder: Path, wait_s: float) -> bool:
    """Boot the pair under TCG until the firmware writes to the machine's copy of the variables."""
    nvram = folder / "nvram.fd"
    shutil.copy(pair.variables, nvram)
    before = nvram.read_bytes()
    flash = "if=pflash,format=raw"
    words = ["-machine", "q35", "-accel", "tcg", "-m", "256", "-display", "none", "-vga", "none", "-monitor", "none"]
    words += ["-serial", "none", "-parallel", "none", "-net", "none"]
    words += ["-drive", f"{flash},readonly=on,file={pair.code}", "-drive", f"{flash},file={nvram}"]
    child = spawn_detached(["qemu-system-x86_64", *words], folder / "log")
    try:
        stop = time.monotonic() + wait_s
        while nvram.read_bytes() == before and time.monotonic() < stop:
            assert child.exit_status() is None, (folder / "log").read_text()
            time.sleep(0.1)
        return nvram.read_bytes() != before
    finally:
        child.kill()


def test_a_chosen_pair_remembers(tmp_path: Path) -> None:
    code = tmp_path / "OVMF_CODE_4M.fd"
    shutil.copy(OVMF / "OVMF_CODE_4M.fd", code)
    wrong = tmp_path / "OVMF_VARS-1920x1080.fd"
    shutil.copy(OVMF / "OVMF_VARS.fd", wrong)
    choice = find_pair(code, wrong)
    assert remembers(choice.pair, tmp_path, wait_s=60)
