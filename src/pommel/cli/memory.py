"""`pommel memory`. Band: face."""

from __future__ import annotations

import click

from pommel.app.machine import memory
from pommel.cli.common import json_option, name_argument
from pommel.cli.output import answer, reporter
from pommel.errors import UsageError
from pommel.settings import parse_size


@click.command("memory")
@name_argument()
@click.argument("size", required=False)
@json_option
def memory_command(name: str, size: str | None) -> int:
    """Show the memory use of the running machine NAME, or ask its guest to reduce it to SIZE, such as 2G.

    This needs balloon = true and a guest with a balloon driver (Linux has one). Freed memory returns to this host
    at once. After a restart the guest has its full memory again. Exits 1 if the guest did not free as much as
    asked.
    """
    if size is None:
        seen, wanted = memory.look(name), None
    else:
        try:
            wanted = parse_size(size)
        except ValueError as said:
            raise UsageError(f"SIZE must be {said}, not {size!r}") from None
        seen = memory.give(name, wanted, report=reporter())
    answer(seen.as_dict(), f"{name}: {memory.spell(seen)}")
    return 1 if wanted is not None and seen.guest_bytes != wanted else 0
