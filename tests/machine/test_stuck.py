"""Verdicts from samples that are written here, and the monitor's own words taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.machine.stuck import FEWEST, Activity, MachineSample, Vcpu, judge, parse_registers

MIB = 1 << 20


def samples(
    *,
    count: int = 20,
    addresses: tuple[int, ...] = (0xFFFFFF8000123450,),
    halted: bool = False,
    writes: float = 0,  # bytes a minute
    cores: float | None = 1.0,
    screens: str | None = "a",
    status: str = "running",
    vcpus: int = 2,
) -> list[MachineSample]:
    """A run of samples a second apart; addresses and screens are gone through round and round."""
    return [
        MachineSample(
            at_s=100.0 + i,
            status=status,
            vcpus=tuple(Vcpu(n, addresses[i % len(addresses)], halted) for n in range(vcpus)),
            written_bytes=int(5 * MIB + writes / 60 * i),
            cpu_s=None if cores is None else 50 + cores * i,
            screen=None if screens is None else screens[i % len(screens)],
        )
        for i in range(count)
    ]


ROAMING = tuple(range(0x1000, 0x1000 + 20 * 4096, 4096))


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        # the case on record: all vCPUs busy at the same few addresses, 16 KB written a minute
        (samples(cores=2.0, writes=16 * 1024), Activity.HUNG),
        (samples(addresses=(0x100, 0x900, 0x1100)), Activity.HUNG),
        (samples(screens=None), Activity.HUNG),
        (samples(screens="ab"), Activity.HUNG),  # a cursor blinks
        (samples(cores=None), Activity.HUNG),
        # a healthy installation
        (samples(writes=500 * MIB), Activity.WORKING),
        (samples(writes=500 * MIB, halted=True, cores=0.1), Activity.WORKING),
        (samples(screens="abc"), Activity.WORKING),
        (samples(screens="aaaaaaaaaaaaaaaaaaab"), Activity.WORKING),  # changed once, at the end
        (samples(addresses=ROAMING), Activity.WORKING),
        (samples(writes=200 * 1024), Activity.WORKING),
        # nobody wants anything
        (samples(halted=True, cores=0.02), Activity.IDLE),
        (samples(halted=True, cores=None), Activity.IDLE),
        (samples(halted=False, cores=0.05), Activity.IDLE),  # looked at whenever the clock wakes it
        (samples(halted=True, cores=0.02, screens="ab"), Activity.IDLE),
        (samples(vcpus=0, cores=0.0), Activity.IDLE),
        (samples(status="paused"), Activity.PAUSED),
        (samples(status="io-error"), Activity.PAUSED),
    ],
)
def test_verdicts(seen: list[MachineSample], kind: Activity) -> None:
    assert judge(seen).kind is kind


def test_evidence_is_in_numbers() -> None:
    told = "\n".join(judge(samples(cores=2.0, writes=16 * 1024)).evidence)
    for words in (
        "16 KiB/min",
        "over 19 s",
        "200 % of one core",
        "halted in 0 %",
        "did not change",
        "at 2 places",
        "100 %",
    ):
        assert words in told
    assert "500 MiB/min" in judge(samples(writes=500 * MIB)).evidence[0]
    assert "not checked" in judge(samples(screens=None)).evidence[-1]


@pytest.mark.parametrize(
    ("seen", "installing", "says"),
    [
        (samples(), False, "restart"),
        (samples(halted=True, cores=0.0), True, "waiting for an answer"),
        (samples(halted=True, cores=0.0), False, ""),
        (samples(addresses=ROAMING), True, "busy but does not write"),
        (samples(addresses=ROAMING), False, ""),
        (samples(status="paused"), False, "resume"),
    ],
)
def test_advice(seen: list[MachineSample], installing: bool, says: str) -> None:
    advice = judge(seen, installing=installing).advice
    assert says in advice and bool(says) == bool(advice)


def test_too_few_or_out_of_order() -> None:
    for wrong in (samples(count=FEWEST - 1), [], samples()[::-1], samples()[:1] * 5):
        with pytest.raises(ValueError, match="at least 4 samples in order"):
            judge(wrong)


numbers = st.integers(0, 1 << 64)


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 3), numbers, st.booleans()), max_size=4), numbers, st.none() | numbers
        ),
        min_size=FEWEST,
        max_size=12,
    )
)
def test_any_run_gets_a_verdict(looks: list[tuple[list[tuple[int, int, bool]], int, int | None]]) -> None:
    run = [
        MachineSample(float(i), "running", tuple(Vcpu(*vcpu) for vcpu in vcpus), written, cpu, None)
        for i, (vcpus, written, cpu) in enumerate(looks)
    ]
    told = judge(run)
    assert told.kind in Activity and all(told.evidence)


LONG_MODE = """
CPU#0
RAX=000000000feb7100 RBX=8000000000000006 RCX=0000000000000008 RDX=0000000000000000
RIP=000000000feae996 RFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0
ES =0030 0000000000000000 ffffffff 00cf9300 DPL=0 DS   [-WA]
CS =0038 0000000000000000 ffffffff 00af9a00 DPL=0 CS64 [-R-]
XMM00=0000000000000000 0000000000000000 XMM01=0000000000000000 0000000000000000

CPU#1
RAX=0000000000000000 RBX=0000000000000000 RCX=0000000000000000 RDX=0000000000000000
RIP=ffffff8000123456 RFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1
CS =0038 0000000000000000 ffffffff 00af9a00 DPL=0 CS64 [-R-]
"""
REAL_MODE = "CPU#0\nEAX=0 EBX=0\nEIP=0000fff0 EFL=00000002 HLT=0\nCS =f000 ffff0000 0000ffff 00009b00\n"


def test_registers() -> None:
    assert parse_registers(LONG_MODE) == (Vcpu(0, 0xFEAE996, False), Vcpu(1, 0xFFFFFF8000123456, True))
    assert parse_registers(REAL_MODE) == (Vcpu(0, 0xFFFFFFF0, False),)


@given(st.text() | st.text(alphabet="CPU#01 RIP=fHLT\n"))
def test_any_text_is_read(text: str) -> None:
    assert isinstance(parse_registers(text), tuple)
