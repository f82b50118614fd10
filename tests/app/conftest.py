"""Displays, an sshd and guests behind it, as the clipboard's room has them for its own tests."""

from __future__ import annotations

from clipboard.conftest import display as display
from clipboard.conftest import guest_clip as guest_clip
from clipboard.conftest import guest_display as guest_display
from clipboard.conftest import host_clip as host_clip
from clipboard.conftest import mac as mac
from clipboard.conftest import posix_guest as posix_guest
