"""A bounded buffer between a connection that must not wait and a program that may be slow."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Generic, TypeVar

from .errors import SlowConsumer

T = TypeVar("T")


@dataclass(slots=True)
class _Gap:
    """Stands where items are missing."""

    dropped: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """Stands behind the last item."""

    error: Exception | None


class Inbox(Generic[T]):
    """Holds items until they are taken; what does not fit is counted and reported in its place.

    Once something did not fit, everything is dropped until the reader has come to that point, so
    that there is one gap of known size and not many small ones.
    """

    def __init__(self, max_items: int, max_bytes: int) -> None:
        """Holds at most so many items and bytes."""
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._queue: asyncio.Queue[tuple[T, int] | _Gap | End] = asyncio.Queue()
        self._bytes = 0
        self._gap: _Gap | None = None
        self._ended = False
        self.dropped = 0

    def put(self, item: T, size: int) -> None:
        """Takes an item of so many bytes, or counts it as dropped. Never blocks."""
        if self._ended:
            return
        if self._gap is None and self._has_room(size):
            self._bytes += size
            self._queue.put_nowait((item, size))
            return
        if self._gap is None:
            self._gap = _Gap()
            self._queue.put_nowait(self._gap)
        self._gap.dropped += 1
        self.dropped += 1

    def end(self, error: Exception | None = None) -> None:
        """Ends the buffer behind what it holds. Only the first call counts."""
        if not self._ended:
            self._ended = True
            self._queue.put_nowait(End(error))

    async def get(self) -> T:
        """Takes the next item.

        Raises:
            SlowConsumer: items are missing here. The next call goes on behind them.
            StopAsyncIteration: `end` was called; or the error that was given to it.
        """
        match await self._queue.get():
            case _Gap(dropped=dropped):
                self._gap = None
                raise SlowConsumer(f"{dropped} events were dropped", dropped=dropped)
            case End(error=error) as end:
                self._queue.put_nowait(end)  # for the next call, and for other readers
                raise error or StopAsyncIteration
            case item, size:
                self._bytes -= size
                return item

    def _has_room(self, size: int) -> bool:
        """An empty buffer takes an item of any size: otherwise a large one could never pass."""
        if self._queue.empty():
            return True
        return self._queue.qsize() < self._max_items and self._bytes + size <= self._max_bytes
