"""A log that strangers cannot fill. Band: core, no I/O.

Each place in the code may log a few records in a minute; the next record after that says how many were left out. A peer
that does not speak HTTP is not logged: it got its answer, and it shows no fault of Pommel.
"""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import HttpProcessingError

PER_MINUTE = 5
_MINUTE_S = 60.0


class Quiet(logging.Filter):
    """Passes a few records of each place. The time is that of the records."""

    def __init__(self) -> None:
        super().__init__()
        # the begin of the minute, the number of records in it
        self._places: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        failure = record.exc_info[1] if record.exc_info else None
        if isinstance(failure, HttpProcessingError):
            return False
        place = (record.pathname, record.lineno, type(failure).__name__)
        since, count = self._places.get(place, (record.created, 0))
        if record.created - since >= _MINUTE_S:
            left_out, since, count = count - PER_MINUTE, record.created, 0
            if left_out > 0:
                record.msg, record.args = f"{record.getMessage()} (and {left_out} more like it before)", None
        self._places[place] = (since, count + 1)
        return count < PER_MINUTE
