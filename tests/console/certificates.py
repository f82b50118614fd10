"""Certificates for tests, by openssl(1): what a user would have."""

from __future__ import annotations

import subprocess
from pathlib import Path


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def a_certificate(folder: Path, name: str = "site", *, days: tuple[int, int] = (-1, 30)) -> tuple[Path, Path]:
    """A certificate for localhost, valid from the first to the second day from today on; and its key."""
    cert, key, request = (folder / f"{name}.{kind}" for kind in ("pem", "key", "csr"))
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
            "-keyout", key, "-out", request)  # fmt: skip
    # x509(1) can only date back by a whole number of days that end: `ca` takes both dates.
    (folder / f"{name}.index").write_text("")
    (folder / f"{name}.conf").write_text(
        f"[ca]\ndefault_ca=own\n[own]\ndatabase={folder}/{name}.index\nnew_certs_dir={folder}\nrand_serial=yes\n"
        "default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n"
    )
    begins, ends = (subprocess.run(["date", "-u", "-d", f"{day} days", "+%y%m%d%H%M%SZ"], check=True, text=True,
                                   capture_output=True).stdout.strip() for day in days)  # fmt: skip
    openssl("ca", "-batch", "-selfsign", "-config", folder / f"{name}.conf", "-keyfile", key, "-in", request, "-out", cert,
            "-notext", "-startdate", begins, "-enddate", ends)  # fmt: skip
    return cert, key
