"""The number of each KVM command, and a way to read it without decoding the command. Band: core, no I/O.

Numbers below 200 are MeshCentral's (MeshAgent, meshcore/KVM/, MNG_KVM_...). Numbers from 200 on are Pommel's, for
viewers and endpoints that have said in `Abilities` that they know them.
"""

from __future__ import annotations

from enum import IntEnum

_JUMBO_INNER_AT = 8  # the offset of the inner command's number in a JUMBO, in bytes


class Number(IntEnum):
    """`u16 type` of a command. Two commands of opposite directions may have the same one."""

    NOP = 0
    KEY = 1
    MOUSE = 2
    PICTURE = 3
    COPY = 4
    COMPRESSION = 5
    REFRESH = 6
    SCREEN = 7
    PAUSE = 8
    CTRL_ALT_DEL = 10
    DISPLAYS = 11
    SET_DISPLAY = 12
    FRAME_RATE_TIMER = 13
    INIT_TOUCH = 14
    TOUCH = 15
    MESSAGE = 17
    KEY_STATE = 18
    JUMBO = 27
    DISCONNECT = 59
    DEBUG = 64
    ALERT = 65
    DISPLAY_INFO = 82
    KEY_UNICODE = 85
    INPUT_LOCK = 87
    MOUSE_CURSOR = 88
    ABILITIES = 200
    SHOWN = 201
    VIDEO = 202
    POINTER = 203
    MOUSE_KIND = 204
    TURN = 205
    SIDE_BUTTON = 206
    MOVE_BY = 207
    MOVE = 208


def number_of(command: bytes) -> int:
    """The number of an encoded command, of the inner one in a JUMBO; 0 if it is too short.

    It accepts any bytes: an agent in a guest may send them.
    """
    number = int.from_bytes(command[:2])
    if number == Number.JUMBO and len(command) >= _JUMBO_INNER_AT + 2:
        return int.from_bytes(command[_JUMBO_INNER_AT : _JUMBO_INNER_AT + 2])
    return number
