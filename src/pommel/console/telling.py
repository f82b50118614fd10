"""The texts of a console's page about what it shows, and the command to type in each state. Band: core, no I/O.

All these texts are here; the page itself knows neither what it shows nor any command. Each function `of_…` is one kind
of console; its caller knows names and arguments. The page gets the texts of all states when it is opened, because it
needs some of them when the server no longer answers.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

Guest = Literal["mac", "linux", "windows", ""]
"""The system whose shortcuts are first in the Keys menu; "": unknown."""

Noun = Literal["machine", "session"]
"""The word for the shown thing in sentences: here, on the page, and in messages about its clipboard."""

MACHINE: Noun = "machine"
SESSION: Noun = "session"

Advice = tuple[str, str, str]
"""The text before a command, the command to type, and the text after it. Each may be empty."""

STANDING = frozenset({"paused", "no-room", "stuck"})
"""States in which the picture does not change and input has no effect. All other states concern the connection."""

_PRINTED = "and open the address that it prints."


@dataclass(frozen=True, slots=True)
class Words:
    """The page's texts in one state: a sentence, and what to type."""

    text: str
    advice: tuple[Advice, ...] = ()


@dataclass(frozen=True, slots=True)
class Telling:
    """The texts of one console.

    `noun` is for sentences such as "Copy from the …". `link` says how to get a new link, and `look_link` a new
    view-only link. `door` is shown to strangers, so it must have nothing private. `again` is what to type after the
    console has ended. `states` are the texts for the states in the status. `files` says how to copy a file that a
    user dropped on the page.
    """

    noun: Noun
    guest: Guest
    link: Advice
    look_link: Advice
    door: Advice
    again: tuple[Advice, ...] = ()
    states: Mapping[str, Words] = field(default_factory=dict)
    files: tuple[Advice, ...] = ()

    def words(self, *, view_only: bool) -> dict[str, Words]:
        """The texts by state of the page.

        A view-only viewer cannot type the commands, but can ask the link's sender.
        """
        before, command, after = self.look_link if view_only else self.link
        asked = "Ask the person who sent you the link for a new one. To get it, they type" if view_only else before
        anew: Advice = (asked, command, after)
        said = {
            "refused": Words(
                "This page has no access any more: its link was replaced, or was not used for a day.", (anew,)
            ),
            "full": Words(
                "Too many pages already show this.", (_plain("Close one of them. Then this page continues."),)
            ),
            "gone": Words("The console does not answer.", (_plain("It may have ended."), anew)),
            "ended": Words("The console has ended.", (anew,) if view_only else self.again),
            "dropped": Words("This page does not accept files.", () if view_only else self.files),
            "silent": Words(
                "", (_plain("The network or a tunnel may be blocked. The page reconnects automatically."),)
            ),
        }
        states = {state: Words(one.text) if view_only else one for state, one in self.states.items()}
        return said | states

    def for_page(self, *, view_only: bool) -> dict[str, str]:
        """The values for the page's placeholders."""
        words = {state: asdict(one) for state, one in self.words(view_only=view_only).items()}
        return {"noun": self.noun, "guest": self.guest, "words": json.dumps(words)}


def of_machine(name: str, *, guest: Guest = "mac", session: bool = False) -> Telling:
    """A machine's console, or that of the `session` inside its guest."""
    words = ["console", name, *(["--session"] if session else [])]
    start: Advice = ("To start it again, type", _typed("start", name), "")
    resume = _typed("resume", name)
    lost = _plain(f"Keys that you press now are not sent: they would {'arrive only later' if session else 'be lost'}.")
    states = {
        "stopped": Words(f"{name} has stopped.", (start,)),
        "asleep": Words(f"{name} sleeps.", (("To wake it up, type", _typed("start", name), ""),)),
        "crashed": Words(f"{name} has crashed.", (("To see its last messages, type", _typed("log", name), ""), start)),
        "starting": Words(f"{name} is starting…"),
        "paused": Words(f"{name} is paused.", (("To continue it, type", resume, ""), lost)),
        "no-room": Words(
            f"{name} is paused: its disk cannot be written. The disk of the computer that runs it may be full.",
            (("Free some space there, then type", resume, ""), lost),
        ),
        "stuck": Words(
            f"{name} is paused and cannot continue.", (("To stop it, type", _typed("stop", name), ""), lost)
        ),
        "absent": Words(f"{name} no longer exists."),
    }
    return Telling(
        SESSION if session else MACHINE,
        guest,
        link=("For a new link, on the computer that runs it, type", _typed(*words), _PRINTED),
        look_link=("", _typed(*words, "--view-only"), ""),
        door=("type", _typed(*words), _PRINTED),
        again=(("To open it again, type", _typed(*words), ""),),
        states=states,
        files=(("To copy one there, on the computer that runs it, type", _typed("scp", "FILE", f"{name}:"), ""),),
    )


def of_display(arguments: Sequence[str], *, guest: Guest = "linux") -> Telling:
    """The texts for `pommel kvm serve` with these arguments."""
    return _of_command(("pommel", "kvm", "serve"), arguments, guest)


def of_host(arguments: Sequence[str]) -> Telling:
    """The texts for `pommel kvm view` with these arguments."""
    return _of_command(("pommel", "kvm", "view"), arguments, "")


def _of_command(command: Sequence[str], arguments: Sequence[str], guest: Guest) -> Telling:
    """The texts for a page of a running command. Its arguments may have file and host names, so they are private."""
    bare, typed = shlex.join(command), shlex.join([*command, *arguments])
    return Telling(
        SESSION,
        guest,
        link=("Its address was printed at the start. To get a new one, type on the computer that serves it", typed, ""),
        look_link=("", f"{bare} --view-only", ""),
        door=(
            "the address of this page was printed by",
            bare,
            "at its start. Type the same command again to get a new one.",
        ),
        again=(("To serve it again, type", typed, ""),),
    )


def of_installed(service_id: str, *, guest: Guest) -> Telling:
    """The texts for the page of an installed daemon."""
    status = _typed("kvm", "status", *([] if service_id == "pommel" else ["--id", service_id]), root=True)
    opened = "and open the address that it prints."
    return Telling(
        SESSION,
        guest,
        link=("For a new link, on the computer that it shows, type", status, opened),
        look_link=("", status, ""),
        door=("type", status, opened),
        again=(("The computer that it shows starts it automatically. To check its state there, type", status, ""),),
    )


def _typed(*words: str, root: bool = False) -> str:
    return shlex.join([*(["sudo"] if root else []), "pommel", *words])


def _plain(text: str) -> Advice:
    return text, "", ""
