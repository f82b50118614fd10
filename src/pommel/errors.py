"""All errors that Pommel raises on purpose. Band: core.

    PommelError                 exit 1
     ├─ UsageError              exit 2  the words of the call are wrong
     │   └─ ConfigError                 a setting in pommel.toml, the environment or a flag
     ├─ StateError              exit 3  the machine is not in the state the call needs
     │   ├─ BusyError                   somebody else is at work on the same thing
     │   └─ AddressError                nobody knows where a guest is on the network
     ├─ MissingProgram                  a program of the host is not installed
     ├─ NotPermitted                    the host says no: a group, root, user namespaces
     ├─ TrustError                      somebody else can change what would decide what is run
     ├─ CommandFailed                   a program ran and failed; carries its output
     ├─ DeadlineError                   something did not happen in time
     ├─ UpstreamError                   the upstream's boot script cannot be used as data
     ├─ FirmwareError                   the firmware pair is missing or does not match
     ├─ BuildError                      making a disk or an image failed
     ├─ RecoveryError                   no recovery image, or none that can be trusted
     ├─ ImageError                      an image of a machine cannot be had or trusted
     ├─ MachineError                    QEMU would not start, or died
     └─ ProtocolError                   a peer sent bytes that its protocol does not allow
         ├─ WireError                   MeshCentral KVM commands
         └─ RfbError                    RFB (VNC)

A room has classes of its own where its code tells one case from another. Each keeps its parent's exit status:

    app        CiBusy (PommelError), CiRefused (PommelError), NotTried (StateError)
    clipboard  GuestError (PommelError), HostGone (PommelError)
    console    ClipTooLarge (UsageError), Overtaken (StateError)
    mesh       FetchError (PommelError), ServerRefused (ProtocolError), ServerUnreachable (PommelError),
               SentElsewhere (ServerUnreachable), TunnelRefused (PommelError)
    recovery   BoardRefused (RecoveryError), ChunklistError (RecoveryError), UnknownVersion (RecoveryError)
    session    AgentRefused (NotPermitted), DaemonRefusal (NotPermitted)
    sftp       AlreadyThere (StateError), FilesError (PommelError), NotThere (StateError), OtherOffset (StateError),
               DiskFull (FilesError), FileRefused (FilesError), SessionLost (FilesError), UploadBusy (BusyError)

A message names the problem in the user's words, without a full stop; `hint` has the next command or
action. Faces print both and exit with `exit_code`. Nothing else decides exit codes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

# Characters that control a terminal, or change the order of the text (Unicode 6.2, bidirectional formatting).
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_LONGEST = 4000


class PommelError(Exception):
    """Base of the tree: `message` for the user, `hint` for what to do next.

    Either may quote what a stranger wrote: control characters but line ends become U+FFFD, and what is too long to be
    read is cut.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        message = _printable(message)
        super().__init__(message)
        self.message = message
        self.hint = _printable(hint) if hint is not None else None


class UsageError(PommelError):
    """The arguments of the call are wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is unknown or has an invalid value; the message names its place."""


class StateError(PommelError):
    """The machine is not in the state that the call needs (already running, not running, missing)."""

    exit_code = 3


class BusyError(StateError):
    """Another Pommel process holds the lock; the message names its pid where it is known."""


class AddressError(StateError):
    """The address of a guest on the network is not known yet."""


class MissingProgram(PommelError):
    """A program of the host is not installed."""


class NotPermitted(PommelError):
    """The host does not allow it: device permissions, root, user namespaces."""


class TrustError(PommelError):
    """Somebody else can change what would decide what is run, or nobody has said yes to it.

    `path` is what it is about. With `digest`, `path` is a script that a person may be asked about, and `digest` the
    SHA-256 of what it is now.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, path: Path = Path(), digest: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.digest = digest


class CommandFailed(PommelError):
    """A program ran and failed. `output` is what it printed, standard error last."""

    def __init__(self, argv: Sequence[str], returncode: int, output: str, *, hint: str | None = None) -> None:
        last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "no output")
        super().__init__(f"{argv[0]} failed with exit status {returncode}: {last}", hint=hint)
        self.argv = tuple(argv)
        self.returncode = returncode
        self.output = output


class DeadlineError(PommelError):
    """Something did not happen in the time it was given."""


class UpstreamError(PommelError):
    """The upstream's boot script cannot be used as data: it is missing, loops, or never calls QEMU."""


class FirmwareError(PommelError):
    """The firmware pair is missing, or code and variables are of unequal build."""


class BuildError(PommelError):
    """Making a disk or an image failed."""


class RecoveryError(PommelError):
    """A recovery image could not be had from Apple, or what came cannot be trusted."""


class ImageError(PommelError):
    """An image of a machine could not be had or made, or what came cannot be trusted."""


class MachineError(PommelError):
    """QEMU would not start, or died; the message carries the last lines of its log."""


class ProtocolError(PommelError):
    """A peer sent bytes that its protocol does not allow."""


class WireError(ProtocolError):
    """Bytes that are not a MeshCentral KVM command."""


class RfbError(ProtocolError):
    """Bytes that are not RFB (RFC 6143), or an unsuitable RFB server."""


def _printable(text: str) -> str:
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    return _CONTROLS.sub("\ufffd", text)
