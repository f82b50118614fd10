"""OpenSSH's own SFTP server, as a program."""

from __future__ import annotations

import os

from pommel import process

SFTP_SERVER = "/usr/lib/openssh/sftp-server"
# What lets root read any file is taken away; for another user that changes nothing.
PLAIN_USER = [process.which("setpriv"), "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
