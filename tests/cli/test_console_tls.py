"""A machine's console by TLS, as a user asks for it: a real process, and what it is told again."""

from __future__ import annotations

import hashlib
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from console.certificates import a_certificate, openssl
from driver import Shell
from pommel.app.console import page as console
from pommel.paths import MachinePaths

from .test_json_keys import running

__all__ = ["running"]


def shown_at(url: str) -> str:
    """The fingerprint of the certificate that is shown at an address, as it is printed."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    at = urlsplit(url)
    with socket.create_connection((at.hostname, at.port)) as plain, context.wrap_socket(plain) as peer:
        digest = hashlib.sha256(peer.getpeercert(binary_form=True) or b"").hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, 64, 2))


def test_its_own_certificate_and_one_of_the_user_s(shell: Shell, running: MachinePaths, tmp_path: Path) -> None:
    made = shell.run("console", "m", "--detach", "--tls")
    try:
        url = made.stdout.split()[-1]
        assert url.startswith("https://127.0.0.1:")
        fingerprint = shown_at(url)
        assert fingerprint in made.stderr
        assert shell.json("status", "m")["tls_fingerprint"] == fingerprint
        assert shell.json("console", "m", "--tls")["ws"].startswith("wss://"), "asked for again, it is the same"
        assert f"SHA-256 fingerprint of its certificate: {fingerprint}" in shell.run("console", "m").stderr, (
            "and when nothing is asked for"
        )
        # Another way than it serves is refused by name.
        assert (
            "with the certificate that Pommel makes, not without TLS"
            in shell.run("console", "m", "--no-tls", status=3).stderr
        )
        assert "not on port 1" in shell.run("console", "m", "--port", "1", status=3).stderr
        assert "127.0.0.1, not on 0.0.0.0" in shell.run("console", "m", "--host", "0.0.0.0", status=3).stderr
        assert (
            "does not accept the host name desk.lan"
            in shell.run("console", "m", "--allow-host", "desk.lan", status=3).stderr
        )
        # A new link is asked for by TLS too.
        renewed = shell.json("console", "m", "--new-token")
        assert renewed["url"] != url and renewed["url"].startswith("https://")
        assert "no console" not in shell.run("console", "m", "--stop").stdout
        again = "from pommel.app import workspace; from pommel.app.console import page as console; print(console.open_again(workspace.Workspace.current(), 'm').url)"
        done = subprocess.run(
            [sys.executable, "-P", "-c", again], env=shell.env, cwd=shell.cwd, capture_output=True, text=True
        )
        assert done.stdout.strip() == renewed["url"], f"a restart of the machine opens it as it was: {done.stderr}"
        shell.run("console", "m", "--stop")

        # Ours is the same again, and a user's goes by the settings.
        assert shell.json("console", "m", "--tls")["tls_fingerprint"] == fingerprint
        shell.run("console", "m", "--stop")
        cert, key = a_certificate(tmp_path)
        shell.config(f'[machine.m]\nconsole_tls_cert = "{cert}"\nconsole_tls_key = "{key}"\n')
        served = shell.json("console", "m")
        assert (
            served["url"].startswith("https://") and served["tls_fingerprint"] == shown_at(served["url"]) != fingerprint
        )
        key.chmod(0o644)
        doctor = shell.run("doctor", "m", status=None).stdout
        assert f"other users of this host can read its key {key}" in doctor
        shell.run("console", "m", "--stop")
        assert shell.json("console", "m", "--no-tls")["url"].startswith("http://")
    finally:
        shell.run("console", "m", "--stop")


def test_what_cannot_serve_is_said_before_anything_starts(shell: Shell, running: MachinePaths, tmp_path: Path) -> None:
    cert, key = a_certificate(tmp_path)
    closed = tmp_path / "closed.pem"
    openssl("pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", closed)
    for words, said in (
        (("--tls-cert", str(cert), "--tls-key", str(closed)), "is encrypted"),
        (("--tls-cert", str(tmp_path / "none.pem")), "none.pem cannot be read: No such file"),
        (("--tls-key", str(key)), "has no certificate"),
        (("--no-tls", "--tls-cert", str(cert)), "--no-tls cannot be used with"),
    ):
        refused = shell.run("console", "m", *words, status=2)
        assert said in refused.stderr and "Traceback" not in refused.stderr, refused.stderr
    assert "cannot be used with" in shell.run("console", "m", "--stop", "--tls", status=2).stderr
    assert console.find(running) is None
    # A machine is not made, let alone started, for a page that could not be served.
    assert (
        "cannot be read" in shell.run("up", "trial", "--yes", "--tls-cert", str(tmp_path / "none.pem"), status=2).stderr
    )
    assert not (shell.home / "machines" / "trial").exists()
