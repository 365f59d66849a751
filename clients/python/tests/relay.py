"""A TCP relay in front of a control port: what the network can do to a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Relay:
    """Passes bytes on, until it is told to do worse."""

    def __init__(self, upstream: str) -> None:
        """In front of that address; `listen` starts it."""
        self.address = ""
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._may_pass = asyncio.Event()
        self._may_pass.set()

    async def listen(self) -> None:
        """Accepts connections, at the same address as before."""
        port = int(self.address.rpartition(":")[2] or 0)
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Resets all connections, as when the process behind them was killed."""
        for writer in self._writers:
            writer.transport.abort()

    def freeze(self) -> None:
        """Passes nothing on any more, as when the process behind it hangs."""
        self._may_pass.clear()

    async def refuse(self) -> None:
        """Resets all connections and accepts none."""
        if self._server is not None:
            self._server.close()
        self.cut()

    async def close(self) -> None:
        """Ends everything."""
        await self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._upstream.rpartition(":")
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        self._writers |= {writer, up_writer}
        for source, sink in ((reader, up_writer), (up_reader, writer)):
            task = asyncio.create_task(self._pass(source, sink))
            self._tasks.add(task)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                await self._may_pass.wait()
                sink.write(data)
        sink.transport.abort()


@asynccontextmanager
async def relay_to(upstream: str) -> AsyncIterator[Relay]:
    """A relay in front of an address, until the block ends."""
    relay = Relay(upstream)
    await relay.listen()
    try:
        yield relay
    finally:
        await relay.close()
