"""Both directions of the challenge, in any pieces, and against those who do not know the token."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.errors import NotPermitted, ProtocolError
from pommel.session.challenge import ANSWER_SIZE, MAGIC, MAX_REASON, SIZE, AgentSide, DaemonSide, binding_of, refusal

TOKEN, OTHER = b"t" * SIZE, b"u" * SIZE
secrets = st.binary(min_size=SIZE, max_size=SIZE)


def answer_of(agent: AgentSide, daemon: DaemonSide) -> bytes:
    return agent.receive(MAGIC + daemon.greeting)


@settings(max_examples=100, deadline=None)
@given(token=secrets, nonces=st.tuples(secrets, secrets), pid=st.integers(1, 2**31), pieces=st.integers(1, 20))
def test_those_who_know_the_token_meet(token: bytes, nonces: tuple[bytes, bytes], pid: int, pieces: int) -> None:
    daemon = DaemonSide(token, nonces[0], binding_of(pid))
    agent = AgentSide(token, nonces[1], binding_of(pid))
    heard, answer = MAGIC + daemon.greeting, b""
    while heard:
        size = min(pieces, agent.wants)
        answer += agent.receive(heard[:size])
        heard = heard[size:]
    assert len(answer) == ANSWER_SIZE
    last = daemon.accept(answer)
    while last:
        assert not agent.done
        size = min(pieces, agent.wants)
        assert agent.receive(last[:size]) == b""
        last = last[size:]
    assert agent.done
    assert agent.wants == 0


@settings(max_examples=100, deadline=None)
@given(tokens=st.tuples(secrets, secrets), pids=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_another_token_or_another_process_is_refused(tokens: tuple[bytes, bytes], pids: tuple[int, int]) -> None:
    daemon = DaemonSide(tokens[0], b"d" * SIZE, binding_of(pids[0]))
    agent = AgentSide(tokens[1], b"a" * SIZE, binding_of(pids[1]))
    answer = answer_of(agent, daemon)
    if tokens[0] == tokens[1] and pids[0] == pids[1]:
        assert daemon.accept(answer)
    else:
        with pytest.raises(NotPermitted, match="secret"):
            daemon.accept(answer)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100))
def test_no_guess_is_an_answer(guess: bytes) -> None:
    with pytest.raises(NotPermitted):
        DaemonSide(TOKEN, b"d" * SIZE, b"").accept(guess)


def test_an_answer_is_good_for_one_nonce() -> None:
    first, second = DaemonSide(TOKEN, b"1" * SIZE, b""), DaemonSide(TOKEN, b"2" * SIZE, b"")
    answer = answer_of(AgentSide(TOKEN, b"a" * SIZE, b""), first)
    assert first.accept(answer)
    with pytest.raises(NotPermitted):
        second.accept(answer)


def test_an_answer_turned_round_proves_no_daemon() -> None:
    """A squatter without the token has only the agent's own mac to send back."""
    agent = AgentSide(TOKEN, b"a" * SIZE, b"")
    answer = agent.receive(MAGIC + b"C" + b"d" * SIZE)
    with pytest.raises(ProtocolError, match="secret"):
        agent.receive(b"A" + answer[SIZE:])
    with pytest.raises(NotPermitted):
        DaemonSide(TOKEN, b"d" * SIZE, b"").accept(
            answer[:SIZE] + DaemonSide(TOKEN, b"d" * SIZE, b"").accept(answer)[1:]
        )


def test_a_daemon_with_another_token() -> None:
    agent = AgentSide(TOKEN, b"a" * SIZE, b"")
    liar = DaemonSide(OTHER, b"d" * SIZE, b"")
    agent.receive(MAGIC + liar.greeting)
    forged = AgentSide(OTHER, b"a" * SIZE, b"").receive(MAGIC + liar.greeting)
    with pytest.raises(ProtocolError, match="secret"):
        agent.receive(liar.accept(forged))


@pytest.mark.parametrize("when", ["at once", "after the answer"])
@pytest.mark.parametrize("reason", ["", "it runs another program", "ü" * 300])
def test_a_refusal_is_told(when: str, reason: str) -> None:
    agent = AgentSide(TOKEN, b"a" * SIZE, b"")
    heard = MAGIC if when == "at once" else MAGIC + b"C" + b"d" * SIZE
    agent.receive(heard)
    with pytest.raises(NotPermitted, match="refuses this agent") as refused:
        agent.receive(refusal(reason))
    assert refused.value.message.endswith(reason.encode()[:MAX_REASON].decode(errors="ignore"))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_taken_or_refused_by_name(data: bytes, after_magic: bool) -> None:
    agent = AgentSide(TOKEN, b"a" * SIZE, b"")
    try:
        agent.receive((MAGIC if after_magic else b"") + data)
    except (NotPermitted, ProtocolError):
        return
    assert not agent.done


def test_a_token_of_another_size() -> None:
    with pytest.raises(ProtocolError, match="32 bytes"):
        AgentSide(b"short", b"a" * SIZE, b"")


@pytest.mark.parametrize(
    "wrong", [b"x" * len(MAGIC), MAGIC + b"X", MAGIC + refusal("no"), MAGIC + b"C" + bytes(SIZE) + b"A" + bytes(SIZE)]
)
def test_a_daemon_that_was_refused_once_is_refused_for_good(wrong: bytes) -> None:
    agent = AgentSide(TOKEN, b"a" * SIZE, b"")
    with pytest.raises((ProtocolError, NotPermitted)) as first:
        agent.receive(wrong)
    for more in (b"", b"x", MAGIC, bytes(200)):
        with pytest.raises((ProtocolError, NotPermitted)) as again:
            agent.receive(more)
        assert again.value.message == first.value.message
    assert not agent.done
