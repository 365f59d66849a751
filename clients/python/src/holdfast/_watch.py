"""Events over gRPC, for a backend without NATS."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

from grpc.aio import AioRpcError

from ._codes import Code
from ._decode import Links, from_watch
from ._events import KINDS, Connector, Event
from ._gen.holdfast.v1 import connection_service_pb2 as pb
from ._gen.holdfast.v1 import event_pb2
from ._inbox import End
from ._message import Data
from ._repeats import RepeatFilter
from ._status import from_rpc_error
from .errors import DeadlineExceeded, HoldfastError, Unavailable

if TYPE_CHECKING:
    from grpc.aio import UnaryStreamCall

    from ._connection import Connection
    from ._rpc import Rpc

E = TypeVar("E", bound=Event)

BUFFER = 16
"""Events read ahead; when they wait, the broker's own buffer of 8 MiB fills."""

REMEMBERED = 65_536
"""Connections whose last sequence number is remembered to tell repeats."""


def to_watch_request(
    *, kinds: Sequence[type[Event]], namespace: str, user: str, connection_id: str
) -> pb.WatchRequest:
    """Builds the request; all kinds are asked for by naming none."""
    names = [name.upper() for name, kind in KINDS.items() if kind in kinds]
    return pb.WatchRequest(
        namespace=namespace,
        user=user,
        connection_id=connection_id,
        kinds=map(event_pb2.Event.Kind.Value, names) if len(names) < len(KINDS) else (),
    )


class Watch(Generic[E]):
    """Events as the broker streams them over gRPC.

    Use it as an async context manager; when it is entered the watch is in effect. Iterating
    without entering enters at the first event, and then `aclose` ends it. A watch that failed is
    over; a new one has missed what happened between.
    """

    def __init__(
        self,
        rpc: Rpc,
        request: pb.WatchRequest,
        connect: Connector,
    ) -> None:
        """Made by `Client.watch`."""
        self._rpc = rpc
        self._request = request
        self._connect = connect
        self._repeats = RepeatFilter(REMEMBERED)
        self._queue: asyncio.Queue[pb.WatchResponse | End] = asyncio.Queue(BUFFER)
        self._entering = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Starts the watch, and returns when it is in effect.

        Raises:
            InvalidArgument: the broker refuses the filter.
            Unavailable: the broker cannot be reached.
            DeadlineExceeded: it did not answer in time.
        """
        async with self._entering:
            if self._reader is None:
                await self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the watch."""
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the watch; events that wait are discarded. Idempotent."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(End(None))

    def __aiter__(self) -> Self:
        """Returns itself."""
        return self

    async def __anext__(self) -> E:
        """Waits for the next event.

        Raises:
            SlowConsumer: the broker's buffer for this watch is full; the watch is over.
            Unavailable: the broker is stopping or gone; or, with the reason NODE_UNREACHABLE, a
                node is lost: the closes of its connections are not seen. The watch is over.
        """
        if self._reader is None:
            await self.__aenter__()
        while True:
            response = await self._next()
            reply = partial(self._reply, self._connect(response.event.connection_id, ""))
            event = from_watch(response.event, Links(self._connect, reply))
            if event is not None and self._repeats.admit(event):
                return cast(E, event)

    async def _start(self) -> None:
        """Until it has started, nothing was yielded, and it may be tried at another address."""
        attempts = self._rpc.attempts(None)
        while True:
            try:
                call = await self._rpc.watch(await attempts.link(), self._request)
                self._reader = asyncio.create_task(self._read(call))
                await self._wait_until_started(attempts.patience(is_repeatable=True))
                return
            except HoldfastError as error:
                if not await attempts.again(error, is_repeatable=True):
                    raise
                self._queue = asyncio.Queue(BUFFER)
                self._reader = None
            except BaseException:
                await self.aclose()  # nobody else will, as the block is not entered
                self._queue = asyncio.Queue(BUFFER)
                self._reader = None
                raise

    async def _wait_until_started(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._next()
        except TimeoutError as error:
            await self.aclose()
            if isinstance(error, HoldfastError):
                raise
            text = "the watch did not start"
            raise DeadlineExceeded(text, code=Code.DEADLINE_EXCEEDED) from error
        except StopAsyncIteration as error:
            raise Unavailable("the watch ended at once", code=Code.UNAVAILABLE) from error

    async def _next(self) -> pb.WatchResponse:
        item = await self._queue.get()
        if not isinstance(item, End):
            return item
        self._queue.put_nowait(item)  # for the next call, and for other readers
        raise item.error or StopAsyncIteration

    async def _read(self, call: UnaryStreamCall[pb.WatchRequest, pb.WatchResponse]) -> None:
        """Reads ahead in a task of its own: a cancelled read would cancel the whole call."""
        error: Exception | None = None
        try:
            async for response in call:
                await self._queue.put(response)
        except AioRpcError as rpc_error:
            error = from_rpc_error(rpc_error)
        finally:
            call.cancel()
        await self._queue.put(End(error))

    async def _reply(
        self, connection: Connection, data: Data, confirm: bool, timeout: float | None
    ) -> None:
        await connection.send(data, timeout=timeout)
