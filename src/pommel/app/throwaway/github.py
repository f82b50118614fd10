"""Runners of GitHub Actions, each for one job, with configurations from GitHub's API. Band: app.

`generate-jitconfig` (docs.github.com/en/rest/actions/self-hosted-runners) registers a runner for one job, and returns
its configuration; so the token stays on this host. Requests use TLS only, and redirections to another host are not
followed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from pommel import foreign, proxies
from pommel.app.throwaway.job import OURS
from pommel.app.throwaway.serving import AgentOrder, CiBusy, CiRefused
from pommel.errors import PommelError, UsageError

API = "https://api.github.com"
VERSION = "2022-11-28"  # of the API
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")
_LABEL = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")
_CONFIG = re.compile(r"[A-Za-z0-9+/=_-]{1,65536}\Z")
_ANSWER_MOST = 1 << 20
_TIMEOUT_S = 30.0
_LASTING = (301, 302, 303, 307, 308, 400, 401, 404, 409, 422)
_FILE = f"{OURS}/jitconfig"


class GitHub:
    """Registers a runner for each machine. `scope` is OWNER/NAME of a repository, or the name of an organization."""

    title = "GitHub"

    def __init__(
        self, scope: str, token: str, *, labels: Sequence[str], group: int = 1, folder: str = "actions-runner",
        api: str = API,
    ) -> None:  # fmt: skip
        parts = scope.split("/")
        if len(parts) > 2 or not all(_NAME.match(part) and part not in (".", "..") for part in parts):
            raise UsageError(
                f"{scope!r} is not a repository or an organization", hint="write OWNER/NAME, or ORGANIZATION"
            )
        for label in labels:
            if not _LABEL.match(label):
                raise UsageError(f"{label!r} is not a valid label", hint="use letters, digits and . _ -")
        if urlsplit(api).scheme != "https" or not urlsplit(api).hostname:
            raise UsageError(f"{api!r} is not the https address of an API", hint="https://HOST/api/v3")
        kind = "repos" if len(parts) == 2 else "orgs"
        self._runners = f"{api.rstrip('/')}/{kind}/{scope}/actions/runners"
        self._token, self._labels, self._group, self._folder = token, list(labels), group, folder

    def order(self, name: str) -> AgentOrder:
        """Register a runner for one job, and return how the guest starts it.

        Raises:
            CiRefused, CiBusy: GitHub refuses, or does not answer now.
        """
        body = {"name": name, "runner_group_id": self._group, "labels": self._labels, "work_folder": "_work"}
        told = self._request("POST", f"{self._runners}/generate-jitconfig", body)
        config, runner = told.get("encoded_jit_config"), told.get("runner")
        number = runner.get("id") if isinstance(runner, dict) else None
        if not isinstance(config, str) or not _CONFIG.match(config) or type(number) is not int:
            raise CiBusy("GitHub's answer has no runner's configuration in it")
        lines = [f'config=$(cat "$HOME/{_FILE}") && rm "$HOME/{_FILE}"', 'exec ./run.sh --jitconfig "$config"']
        return AgentOrder(name, self._folder, "\n".join(lines), {_FILE: config.encode()}, number)

    def withdraw(self, order: AgentOrder) -> bool:
        """Remove a runner; return whether it is removed. GitHub refuses this for a runner with a job (status 422)."""
        with contextlib.suppress(PommelError):
            self._request("DELETE", f"{self._runners}/{order.number}", None, fine=(204, 404))
            return True
        return False

    def _request(
        self, method: str, url: str, body: Mapping[str, Any] | None, fine: Sequence[int] = (201,)
    ) -> dict[str, Any]:
        headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": VERSION, "User-Agent": "pommel"}
        headers["Authorization"] = f"Bearer {self._token}"
        status, limited, data = asyncio.run(_ask(method, url, headers, body))
        if status not in fine:
            raise _refusal(status, limited, data, urlsplit(url).hostname or "")
        try:
            told = foreign.parse_json(data) if data else {}
        except ValueError as wrong:
            raise CiBusy(f"GitHub's answer cannot be read: {wrong}") from None
        return told if isinstance(told, dict) else {}


async def _ask(
    method: str, url: str, headers: Mapping[str, str], body: Mapping[str, Any] | None
) -> tuple[int, bool, bytes]:
    """Send one request; return the status, whether the rate limit is reached, and the answer.

    Raises:
        CiBusy: there is no answer.
    """
    import aiohttp  # imported late: it takes half a second, which other commands do not need

    proxy = proxies.proxy_for(url)
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    through = proxies.for_request(url, headers)
    try:
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout) as http,
            http.request(
                method,
                url,
                data=json.dumps(body) if body is not None else None,
                allow_redirects=False,
                ssl=ssl.create_default_context(),
                **through,
            ) as answer,
        ):
            limited = "Retry-After" in answer.headers or answer.headers.get("X-RateLimit-Remaining") == "0"
            return answer.status, limited, await answer.content.read(_ANSWER_MOST)
    except (aiohttp.ClientError, TimeoutError, OSError) as failure:
        said = proxies.complaint(failure, proxy) or str(failure) or type(failure).__name__
        raise CiBusy(f"{urlsplit(url).hostname} cannot be asked: {said}") from None


def _refusal(status: int, limited: bool, data: bytes, host: str) -> PommelError:
    """The error for an unexpected status (docs.github.com/en/rest/using-the-rest-api/troubleshooting)."""
    said = ""
    with contextlib.suppress(ValueError, AttributeError):
        said = f": {str(foreign.parse_json(data).get('message', ''))[:200]}"
    if status not in _LASTING and not (status == 403 and not limited):
        return CiBusy(f"{host} answers with status {status}{said}")
    if 300 <= status < 400:
        return CiRefused(f"{host} redirects (status {status}), which is not followed", hint="check --api")
    hint = "the token needs the right to manage runners there; check --repo or --org, and --group"
    return CiRefused(f"{host} refuses with status {status}{said}", hint=hint)
