"""GitHub's side: what is asked, by TLS alone, and what each answer means."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from pommel.app.throwaway.github import GitHub
from pommel.app.throwaway.serving import CiBusy, CiRefused
from pommel.errors import UsageError

from .github_server import TOKEN, Server


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(tmp_path / "tls") as there:
        monkeypatch.setenv("SSL_CERT_FILE", str(there.certificate.cert))
        yield there


def github(server: Server, scope: str = "ann/app", token: str = TOKEN) -> GitHub:
    return GitHub(scope, token, labels=["macos-vm"], group=3, api=server.api)


@pytest.mark.parametrize(("scope", "path"), [("ann/app", "repos/ann/app"), ("acme", "orgs/acme")])
def test_a_runner_is_ordered_for_one_job_and_taken_back(server: Server, scope: str, path: str) -> None:
    order = github(server, scope).order("github-1")
    wanted = {"name": "github-1", "runner_group_id": 3, "labels": ["macos-vm"], "work_folder": "_work"}
    runners = f"/api/v3/{path}/actions/runners"
    assert server.asked == [("POST", f"{runners}/generate-jitconfig", wanted)]
    assert order.number == 1 and order.folder == "actions-runner"
    assert list(order.files.values()) == [base64.b64encode(b"config 1")]
    assert TOKEN not in order.script + repr(order) and "Y29uZmln" not in order.script
    assert github(server, scope).withdraw(order) and server.asked[1] == ("DELETE", f"{runners}/1", None)
    server.busy = True
    assert not github(server, scope).withdraw(order)


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (500, {}, CiBusy),
        (503, {}, CiBusy),
        (429, {}, CiBusy),
        (403, {"Retry-After": "60"}, CiBusy),
        (403, {"X-RateLimit-Remaining": "0"}, CiBusy),
        (403, {}, CiRefused),
        (404, {}, CiRefused),
        (422, {}, CiRefused),
        (302, {"Location": "https://127.0.0.1:1/"}, CiRefused),
    ],
)
def test_what_each_answer_means(server: Server, status: int, headers: dict[str, str], kind: type[Exception]) -> None:
    server.answers = [(status, headers)]
    with pytest.raises(kind, match=str(status)):
        github(server).order("github-1")
    assert len(server.asked) == 1  # sent elsewhere, it does not go


def test_a_token_that_does_not_count_is_not_in_the_error(server: Server) -> None:
    with pytest.raises(CiRefused, match="Bad credentials") as refusal:
        github(server, token="hunter22").order("github-1")
    assert "hunter22" not in f"{refusal.value.message}{refusal.value.hint}"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"encoded_jit_config": "$(id)", "runner": {"id": 1}}', b'{"encoded_jit_config": "YQ=="}'],
)
def test_an_answer_that_is_not_as_documented_is_no_order(server: Server, body: bytes) -> None:
    server.body = body
    with pytest.raises(CiBusy):
        github(server).order("github-1")


def test_nobody_else_is_asked(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(CiBusy, match="cannot be asked"):  # it cannot show that it is who it says
        github(server).order("github-1")
    assert server.asked == []
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    with pytest.raises(CiBusy, match="https_proxy"):
        github(server).order("github-1")


@pytest.mark.parametrize("scope", ["", "a/b/c", "../x", "a/..", "a b", "-/$(id)"])
def test_what_is_no_repository_and_no_organization(scope: str) -> None:
    with pytest.raises(UsageError):
        GitHub(scope, TOKEN, labels=["x"])


def test_what_is_no_label_and_no_api_by_tls() -> None:
    with pytest.raises(UsageError):
        GitHub("a/b", TOKEN, labels=["a b"])
    with pytest.raises(UsageError, match="https address"):
        GitHub("a/b", TOKEN, labels=["x"], api="http://api.github.com")
