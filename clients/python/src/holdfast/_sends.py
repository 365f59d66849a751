"""What makes a send safe to repeat: a request ID, and that the broker still remembers it."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

REMEMBERED = 16
"""Sends with a request ID that the broker remembers for each connection."""


@dataclass(slots=True)
class _Counts:
    """Sends to one connection."""

    begun: int = 0
    ended: int = 0


class Sends:
    """The sends of a client that are under way."""

    def __init__(self) -> None:
        """None yet."""
        self._prefix = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._counts: dict[str, _Counts] = {}

    def new_id(self) -> str:
        """A request ID that nobody else has made."""
        return f"{self._prefix}-{next(self._numbers):x}"

    @contextmanager
    def under_way(self, connection_id: str) -> Iterator[Callable[[], bool]]:
        """While a send is under way: tells whether the broker would know a repeat as one.

        It would not when 16 others of this client may have come to the connection since.
        """
        counts = self._counts.setdefault(connection_id, _Counts())
        counts.begun += 1
        ended_before = counts.ended
        try:
            yield lambda: counts.begun - ended_before <= REMEMBERED
        finally:
            counts.ended += 1
            if counts.ended == counts.begun:
                del self._counts[connection_id]
