"""The requests and events of the Wayland interfaces that Pommel uses. Band: core, no I/O.

From the XML files of wayland, wlr-protocols and virtual-keyboard-unstable-v1. The order is the numbering of the wire,
so an interface's list may end early but must have no gap. A line is a name and its arguments: i int, u uint, f fixed
point (24.8 bits), s string, o object, h file descriptor, a array, `n:INTERFACE` a new object, `N` a new object whose
interface and version are on the wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class WaylandMessage(NamedTuple):
    """A request or an event: its number, its name, and its arguments as letter and interface of a new object."""

    opcode: int
    name: str
    arguments: tuple[tuple[str, str], ...]


class Interface(NamedTuple):
    """The requests of an interface by name, and its events by number."""

    requests: Mapping[str, WaylandMessage]
    events: tuple[WaylandMessage, ...]


def interface(requests: Iterable[str], events: Iterable[str] = ()) -> Interface:
    """Read the lines of an interface."""
    asked = [_message(number, line) for number, line in enumerate(requests)]
    return Interface(
        {one.name: one for one in asked}, tuple(_message(number, line) for number, line in enumerate(events))
    )


def _message(number: int, line: str) -> WaylandMessage:
    name, *words = line.split()
    arguments: list[tuple[str, str]] = []
    for word in words:
        letter, _, made = word.partition(":")
        arguments += [(letter, made)] if made else [(one, "") for one in word]
    return WaylandMessage(number, name, tuple(arguments))


CORE: dict[str, Interface] = {
    "wl_display": interface(["sync n:wl_callback", "get_registry n:wl_registry"], ["error ous", "delete_id u"]),
    "wl_registry": interface(["bind uN"], ["global usu", "global_remove u"]),
    "wl_callback": interface([], ["done u"]),
    "wl_shm": interface(["create_pool n:wl_shm_pool hi"], ["format u"]),
    "wl_shm_pool": interface(["create_buffer n:wl_buffer iiiiu", "destroy"]),
    "wl_buffer": interface(["destroy"], ["release"]),
    "wl_output": interface(
        ["release"], ["geometry iiiiissi", "mode uiii", "done", "scale i", "name s", "description s"]
    ),
    "wl_seat": interface(
        ["get_pointer n:wl_pointer", "get_keyboard n:wl_keyboard", "get_touch n:wl_touch", "release"],
        ["capabilities u", "name s"],
    ),
    "wl_keyboard": interface(
        ["release"],
        ["keymap uhu", "enter uoa", "leave uo", "key uuuu", "modifiers uuuuu", "repeat_info ii"],
    ),
    "zwlr_screencopy_manager_v1": interface(["capture_output n:zwlr_screencopy_frame_v1 io"]),
    "zwlr_screencopy_frame_v1": interface(
        ["copy o", "destroy", "copy_with_damage o"],
        ["buffer uuuu", "flags u", "ready uuu", "failed", "damage uuuu", "linux_dmabuf uuu", "buffer_done"],
    ),
    "zwlr_virtual_pointer_manager_v1": interface(
        [
            "create_virtual_pointer o n:zwlr_virtual_pointer_v1",
            "destroy",
            "create_virtual_pointer_with_output oo n:zwlr_virtual_pointer_v1",
        ]
    ),
    "zwlr_virtual_pointer_v1": interface(
        [
            "motion uff", "motion_absolute uuuuu", "button uuu", "axis uuf", "frame", "axis_source u", "axis_stop uu",
            "axis_discrete uufi", "destroy",
        ]
    ),
    "zwp_virtual_keyboard_manager_v1": interface(["create_virtual_keyboard o n:zwp_virtual_keyboard_v1"]),
    "zwp_virtual_keyboard_v1": interface(["keymap uhu", "key uuu", "modifiers uuuu", "destroy"]),
}  # fmt: skip
