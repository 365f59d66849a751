"""The attempts of one call: where each goes, how long it may take, and whether there is another."""

from __future__ import annotations

import asyncio
import math
import random

from ._codes import Code, Reason
from ._links import Link, Links
from .errors import DeadlineExceeded, HoldfastError, Unavailable

MAX_ATTEMPTS = 5
"""How often a call is made at most, with several addresses."""

FIRST_WAIT = 0.05
"""Seconds that the first repeat waits at most; each further one up to twice as long. It is a random
part of them, so that the clients of a dead broker do not all come at once."""

MAX_WAIT = 1.0
"""Seconds that any repeat waits at most."""

_NOTHING_DONE = (Reason.NODE_STOPPING, Reason.BUS_UNAVAILABLE, Reason.KEYS_UNAVAILABLE)


class Attempts:
    """Made for one call, with its timeout in seconds (None: no limit).

    With one address there is one attempt. With several, a call is repeated at another address

    - always, when nothing was done: no address was connected, or the broker said so;
    - when it is repeatable, also when the outcome is unknown: the connection broke, a node did not
      answer, or half of the time had passed and another address is connected.
    """

    def __init__(self, links: Links, timeout: float | None, max_attempts: int) -> None:
        """The time runs from now."""
        self._links = links
        self._ends = math.inf if timeout is None else _now() + timeout
        self._left = max_attempts if links.only is None else 1
        self._wait = FIRST_WAIT
        self._was_late = False
        self._link: Link | None = None  # of the attempt under way; None: it was given to none
        self._last: Link | None = None
        self._is_late_at = math.inf
        self._unknown: HoldfastError | None = None

    async def link(self) -> Link:
        """Begins an attempt: the address that it goes to, which is connected.

        Raises:
            Unavailable: no address accepts connections.
            DeadlineExceeded: none did before the time was over.
        """
        self._left -= 1
        self._link = self._links.ready(self._last) or await self._wait_for_link()
        if self._link is None:
            text = f"no broker at {self._links}; the call was not made"
            raise Unavailable(text, code=Code.UNAVAILABLE)
        return self._link

    async def _wait_for_link(self) -> Link | None:
        self._link = None
        try:
            async with asyncio.timeout_at(None if math.isinf(self._ends) else self._ends):
                return await self._links.take(self._last)
        except TimeoutError as error:
            text = f"no broker at {self._links} in time; the call was not made"
            raise DeadlineExceeded(text, code=Code.DEADLINE_EXCEEDED) from error

    def patience(self, is_repeatable: bool) -> float | None:
        """Seconds that the attempt may take; None: no limit.

        An attempt that may be followed by another gets half of the time, as a broker that hangs
        looks like one that is slow; after one that was late the next gets all of the rest.
        """
        seconds = self._ends - _now()
        if (
            is_repeatable
            and not self._was_late
            and self._left > 0
            and self._link is not None
            and self._links.has_other(self._link)
        ):
            seconds /= 2
        # The broker's side of the deadline may pass first.
        self._is_late_at = _now() + 0.9 * seconds
        return None if math.isinf(seconds) else max(seconds, 0)

    def is_late(self) -> bool:
        """True when the time of the attempt is over."""
        return _now() >= self._is_late_at

    async def again(self, error: HoldfastError, is_repeatable: bool) -> bool:
        """Waits before the next attempt; False: there is none."""
        is_unknown = self._is_unknown(error)
        if is_unknown:
            self._unknown = self._unknown or error
        if self._left <= 0 or not (self._is_not_done(error) or (is_unknown and is_repeatable)):
            return False
        wait = random.uniform(0, self._wait)
        if _now() + wait >= self._ends:
            return False
        self._wait = min(2 * self._wait, MAX_WAIT)
        self._was_late = self._was_late or self.is_late()
        self._last = self._link
        await asyncio.sleep(wait)
        return True

    def final(self, error: HoldfastError) -> HoldfastError:
        """What the caller is told: that nothing was done only if no attempt may have done it."""
        if self._unknown is not None and self._is_not_done(error):
            return self._unknown
        return error

    def _is_not_done(self, error: HoldfastError) -> bool:
        return self._link is None or error.reason in _NOTHING_DONE

    def _is_unknown(self, error: HoldfastError) -> bool:
        if self._is_not_done(error):
            return False
        if isinstance(error, DeadlineExceeded):
            # Else the broker waited for a client in vain, and would again.
            return self.is_late()
        return isinstance(error, Unavailable)


def _now() -> float:
    return asyncio.get_running_loop().time()
