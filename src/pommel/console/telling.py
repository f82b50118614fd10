"""What a console's page says of what it shows, and which command to type then. Band: core, no I/O.

The one table of it: the page knows neither what is behind it nor any command. Each function `of_…` is one kind of
console; its caller knows names and arguments. The page gets the texts of all its states when it is opened, since it
needs some of them when nobody answers any more.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

Guest = Literal["mac", "linux", "windows", ""]
"""Whose shortcuts the Keys menu begins with; "" where that is not known."""

Noun = Literal["machine", "session"]
"""What a console shows, for sentences, here, on the page and in what is told of its clipboard."""

MACHINE: Noun = "machine"
SESSION: Noun = "session"

Advice = tuple[str, str, str]
"""What stands before a command, the command to type, and what stands after it. Each may be empty."""

STANDING = frozenset({"paused", "no-room", "stuck"})
"""States of what is shown in which its picture stands still and it hears nothing; all others are the connection's."""

_PRINTED = "and open the address that it prints."


@dataclass(frozen=True, slots=True)
class Words:
    """What the page says in one state: a sentence, and what to type."""

    text: str
    advice: tuple[Advice, ...] = ()


@dataclass(frozen=True, slots=True)
class Telling:
    """How one console speaks.

    `noun` is what it shows, for sentences such as "Copy from the …". `link` leads to a new link to the page and
    `look_link` to one for who may only look; `door` is what a stranger is told, so it has nothing that is not for all.
    `again` is what to type once the console has ended, `states` what to say of the states that the status tells,
    `files` how a file gets there that somebody tried to drop on the page.
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
        """The texts by state of the page. One who may only look cannot type the commands of who gave them the link."""
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
        """What the page is filled with."""
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
    """A session that `pommel kvm serve` serves with these arguments."""
    return _of_command(("pommel", "kvm", "serve"), arguments, guest)


def of_host(arguments: Sequence[str]) -> Telling:
    """Another system's session that `pommel kvm view` shows with these arguments."""
    return _of_command(("pommel", "kvm", "view"), arguments, "")


def _of_command(command: Sequence[str], arguments: Sequence[str], guest: Guest) -> Telling:
    """What a command shows for as long as it runs. Its arguments may name files and hosts, so they are not for all."""
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
    """The session that an installed daemon shows."""
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
