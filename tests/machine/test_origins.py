from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import UpstreamError
from pommel.machine.origins import PRISTINE, Difference, OriginStage, trace

BASE = ("-enable-kvm", "-m", "4096", "-smp", "4,cores=2", "-cpu", "Penryn,+avx", "-device", "a", "-device", "b")


def written(*stages: OriginStage) -> dict[str, str]:
    return {argument.text: argument.written for argument in trace("qemu", stages).line.arguments}


def test_what_nobody_changed_is_the_upstreams() -> None:
    assert set(written(OriginStage(PRISTINE, BASE), OriginStage("edit", BASE)).values()) == {PRISTINE}


def test_each_argument_belongs_to_the_stage_that_last_changed_it() -> None:
    one = ("-enable-kvm", "-m", "16384", *BASE[3:])
    two = (*one[:7], "-device", "b", "-device", "c")
    found = written(OriginStage(PRISTINE, BASE), OriginStage("patches/a", one), OriginStage("patches/b", two))
    assert found["-m 16384"] == "patches/a"
    assert found["-device c"] == "patches/b"
    assert found["-device b"] == found["-smp 4,cores=2"] == PRISTINE


def test_differences_pair_arguments_of_one_option() -> None:
    new = ("-enable-kvm", "-m", "8192", "-smp", "4,cores=2", "-device", "a", "-nodefaults", "-device", "b")
    found = trace("qemu", [OriginStage(PRISTINE, BASE), OriginStage("p", new)]).differences
    assert set(found) == {
        Difference("p", "-m 4096", "-m 8192"),
        Difference("p", "-cpu Penryn,+avx", None),
        Difference("p", None, "-nodefaults"),
    }
    assert {str(each) for each in found} == {"-m 4096 → -m 8192", "takes out -cpu Penryn,+avx", "adds -nodefaults"}


def test_the_first_stage_says_whose_the_whole_line_is() -> None:
    assert set(written(OriginStage("own.sh", BASE)).values()) == {"own.sh"}


def test_a_stage_between_that_qemu_could_not_read_is_passed_over() -> None:
    stages = [
        OriginStage(PRISTINE, BASE),
        OriginStage("broken", (*BASE, "-m")),
        OriginStage("mended", (*BASE, "-m", "1")),
    ]
    found = trace("qemu", stages)
    assert found.differences == (Difference("mended", None, "-m 1"),)
    with pytest.raises(UpstreamError, match="ends at -m"):
        trace("qemu", stages[:2])


WORD = st.sampled_from(["-m", "-smp", "-cpu", "-device", "-S", "1", "2", "a"])


@given(st.lists(st.lists(WORD, max_size=12), min_size=1, max_size=4))
def test_the_last_stages_words_always_come_out(lists: list[list[str]]) -> None:
    stages = [OriginStage(f"s{number}", tuple(words)) for number, words in enumerate(lists)]
    try:
        found = trace("qemu", stages)
    except UpstreamError:
        return
    assert found.line.words == tuple(lists[-1])
    assert {argument.written for argument in found.line.arguments} <= {stage.origin for stage in stages}
