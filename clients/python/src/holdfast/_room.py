"""A bound on what is under way, in items and bytes: who would exceed it waits, in order."""

from __future__ import annotations

import asyncio
from collections import deque


class Room:
    """Room for so many items and bytes. First come, first served."""

    def __init__(self, max_items: int, max_bytes: int) -> None:
        """All of it is free."""
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._items = 0
        self._bytes = 0
        self._waiters: deque[tuple[asyncio.Future[None], int]] = deque()

    async def take(self, size: int) -> None:
        """Waits for room for an item of so many bytes, and takes it, unless cancelled."""
        if not self._waiters and self._fits(size):
            self._add(size)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((turn, size))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size)  # the turn came and the cancellation with it
            else:
                self._wake()  # a smaller item may have waited behind this one
            raise

    def give(self, size: int) -> None:
        """Gives the room of an item back."""
        self._items -= 1
        self._bytes -= size
        self._wake()

    def _wake(self) -> None:
        while self._waiters:
            turn, size = self._waiters[0]
            if not turn.done():
                if not self._fits(size):
                    return
                self._add(size)
                turn.set_result(None)
            self._waiters.popleft()

    def _add(self, size: int) -> None:
        self._items += 1
        self._bytes += size

    def _fits(self, size: int) -> bool:
        """An item of any size fits when it is alone: otherwise a large one would wait for ever."""
        if self._items == 0:
            return True
        return self._items < self._max_items and self._bytes + size <= self._max_bytes
