"""The console behind a reverse proxy with a path prefix and TLS: a real nginx, a real Chromium."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from chromium import page_ms
from free_ports import free_port
from pommel.console.server import ConsoleServer
from pommel.process import which
from waits import wait_until

from .conftest import serving
from .desk import Desk
from .pasteboard import Pasteboard

pytestmark = pytest.mark.asyncio(loop_scope="module")

# As docs/behind-a-proxy.md has it.
CONFIG = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    location /desk/ {{
      proxy_pass http://127.0.0.1:{console}/;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_buffering off;
    }}
  }}
}}
"""


@pytest_asyncio.fixture(loop_scope="module")
async def behind(desk: Desk, tmp_path: Path) -> AsyncIterator[tuple[str, ConsoleServer]]:
    """The page's address at nginx, and the console."""
    port = free_port()
    server = serving(desk, clipboard=Pasteboard(), allowed_hosts=[f"localhost:{port}"])
    await server.start()
    names = ["-subj", "/CN=localhost", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"]
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run(words, check=True, capture_output=True)
    (tmp_path / "nginx.conf").write_text(CONFIG.format(folder=tmp_path, port=port, console=server.port))
    nginx = subprocess.Popen([which("nginx"), "-c", tmp_path / "nginx.conf", "-p", tmp_path], stderr=subprocess.PIPE)
    wait_until(lambda: (tmp_path / "pid").exists(), 20)
    yield f"https://localhost:{port}/desk/?token={server.token}", server
    nginx.terminate()
    nginx.communicate()
    await server.stop()


async def test_all_of_the_page_works_below_a_prefix(
    behind: tuple[str, ConsoleServer], browser: Browser, desk: Desk
) -> None:
    url, console = behind
    context = await browser.new_context(ignore_https_errors=True)
    page = await context.new_page()
    asked: list[tuple[str, int]] = []
    errors: list[str] = []
    page.on("response", lambda answer: asked.append((answer.url, answer.status)))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    await page.goto(url)
    await page.wait_for_selector("body[data-state=live]")
    await expect(page.locator("#pulse")).to_be_visible(timeout=page_ms(10))
    await expect(page.locator("#copy")).to_be_visible()
    assert "/desk/at/" in page.url and "token" not in page.url
    assert all("/desk/" in address for address, _ in asked)
    assert [one for one in asked if one[1] >= 400] == errors == []
    cookies = {cookie.get("name", ""): cookie for cookie in await context.cookies()}
    ours = cookies[f"pommel_{console.port}"]
    assert ours.get("secure") is True and ours.get("httpOnly") is True and ours.get("sameSite") == "Strict"
    assert str(ours.get("path")).startswith("/desk/at/")
    # And again without the token, by the pass alone.
    await page.reload()
    await page.wait_for_selector("body[data-state=live]")
