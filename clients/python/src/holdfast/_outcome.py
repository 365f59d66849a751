"""What became of the sends of a Sender, and who was told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator

from .errors import HoldfastError, SendFailures

logger = logging.getLogger("holdfast")

MAX_UNREPORTED = 1_000
"""Failures that may wait for someone to ask; then `Sender.send` raises them."""


class Outcome:
    """What becomes of one send: await it to know, or leave it to the Sender to report a failure.

    Awaiting raises the send's own error, as `Connection.send` would have. It can be awaited more
    than once, and a cancelled wait leaves it as it is.
    """

    __slots__ = ("_asked", "_future", "connection_id")

    def __init__(self, connection_id: str) -> None:
        """Made by `Sender.send`."""
        self.connection_id = connection_id
        self._asked = False
        # Holds the error as a result: asyncio complains about exceptions that nobody asked for.
        self._future: asyncio.Future[HoldfastError | None] = (
            asyncio.get_running_loop().create_future()
        )

    def __await__(self) -> Generator[object, None, None]:
        """Waits for the broker's answer.

        Raises:
            HoldfastError: the send failed, or its outcome is unknown (Unavailable).
        """
        self._asked = True
        error = yield from asyncio.shield(self._future).__await__()
        if error is not None:
            raise error

    def done(self) -> bool:
        """True when it is known."""
        return self._future.done()

    @property
    def future(self) -> asyncio.Future[HoldfastError | None]:
        """For the Sender: done with None, or with the error."""
        return self._future

    @property
    def asked(self) -> bool:
        """True when somebody awaits or awaited it."""
        return self._asked


class FailureLog:
    """Failures whose outcome nobody has asked for, until somebody is told."""

    def __init__(self, on_failure: Callable[[HoldfastError], None] | None) -> None:
        """With a callback, failures are handed to it at once and never kept."""
        self._on_failure = on_failure
        self._kept: list[tuple[Outcome, HoldfastError]] = []

    def add(self, outcome: Outcome, error: HoldfastError) -> None:
        """Notes a failure, unless somebody awaits its outcome."""
        if outcome.asked:
            return
        if self._on_failure is None:
            self._kept.append((outcome, error))
            return
        try:
            self._on_failure(error)
        except Exception:
            logger.exception("on_failure")

    @property
    def is_full(self) -> bool:
        """True when more failures must not be kept."""
        return len(self._kept) >= MAX_UNREPORTED

    def take(self) -> SendFailures | None:
        """The failures that nobody has asked for, as one error; they are reported with it."""
        kept, self._kept = self._kept, []
        errors = [error for outcome, error in kept if not outcome.asked]
        return SendFailures("sends failed", errors) if errors else None
