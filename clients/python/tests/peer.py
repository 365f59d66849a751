"""Clients of the broker: real WebSockets, and the connection that the broker sees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

import websockets.asyncio.client
from websockets.asyncio.client import ClientConnection

from holdfast import Connection, Event, OpenEvent, Subscription, Watch

DEADLINE = 30.0
"""Seconds after which something that a test waits for is not coming."""

E = TypeVar("E", bound=Event)

Stream = Subscription[Any] | Watch[Any]


@dataclass(frozen=True, slots=True)
class Peer:
    """A WebSocket and its open event."""

    socket: ClientConnection
    opened: OpenEvent

    @property
    def id(self) -> str:
        """The connection's ID."""
        return self.opened.connection_id

    @property
    def connection(self) -> Connection:
        """What a backend does to it."""
        return self.opened.connection

    async def receive(self) -> str | bytes:
        """The next message."""
        async with asyncio.timeout(DEADLINE):
            return await self.socket.recv()

    async def closed(self) -> tuple[int, str]:
        """Waits for the end; the close code and reason that the client saw."""
        async with asyncio.timeout(DEADLINE):
            await self.socket.wait_closed()
        return self.socket.close_code or 0, self.socket.close_reason or ""

    def stop_reading(self) -> None:
        """Stands for a client that hangs: it neither reads nor answers pings."""
        self.socket.transport.pause_reading()

    def read_again(self) -> None:
        """Ends that."""
        self.socket.transport.resume_reading()


@asynccontextmanager
async def open_peer(
    listen: str, events: Stream, path: str = "/", **options: Any
) -> AsyncIterator[Peer]:
    """Connects a WebSocket and waits for its open event."""
    mark = uuid4().hex
    async with websockets.asyncio.client.connect(
        f"{listen}{path}?mark={mark}",
        max_size=None,
        max_queue=None,  # a client that does not call recv still answers pings
        close_timeout=0.5,
        compression=None,
        **options,
    ) as socket:
        async with asyncio.timeout(DEADLINE):
            async for event in events:
                if isinstance(event, OpenEvent) and mark in event.snapshot.handshake.url:
                    break
        yield Peer(socket, event)


async def next_event(events: Stream, peer: Peer, kind: type[E]) -> E:
    """The peer's next event, which is of that kind."""
    async with asyncio.timeout(DEADLINE):
        async for event in events:
            if event.connection_id == peer.id:
                assert isinstance(event, kind), event
                return event
    raise AssertionError("the events have ended")


async def no_event(events: Stream, peer: Peer, seconds: float) -> None:
    """Makes sure that nothing is heard of the peer for so long."""
    try:
        async with asyncio.timeout(seconds):
            async for event in events:
                assert event.connection_id != peer.id, event
    except TimeoutError:
        return
