"""Answering handshakes over NATS, with a handler of the user's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

import nats.errors
from google.protobuf import json_format

from ._admission import Handler, Refuse, to_payload, to_request
from ._codes import Code
from .errors import Unavailable

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription as NatsSubscription

    from ._bus import Bus

logger = logging.getLogger("holdfast")


class Doorkeeper:
    """Asks a handler about every client that wants to connect, several at a time.

    Use it as an async context manager: when it is entered the NATS server knows of it. Or `await
    doorkeeper.wait()`, which enters it. A handler that raises is logged, and its client refused
    with 500.
    """

    def __init__(
        self,
        bus: Bus,
        handler: Handler,
        namespace: str,
        queue: str,
        concurrency: int,
        timeout: float,
    ) -> None:
        """Made by `Client.admit`."""
        self._bus = bus
        self._handler = handler
        self._subject = f"{bus.subject_prefix}-in.{namespace}.handshake"
        self._queue = queue
        self._room = asyncio.Semaphore(concurrency)
        self._timeout = timeout
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscription: NatsSubscription | None = None
        self._entering = asyncio.Lock()
        self._ended = asyncio.Event()
        self._lost = False
        self._forget_closed: Callable[[], None] = lambda: None

    async def __aenter__(self) -> Self:
        """Subscribes, and returns when the server knows.

        Raises:
            Unavailable: NATS cannot be reached, or did not confirm in time.
        """
        async with self._entering:
            if self._subscription is None and not self._ended.is_set():
                await self._subscribe()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends it."""
        await self.aclose()

    async def wait(self) -> None:
        """Serves until `aclose`.

        Raises:
            Unavailable: NATS cannot be reached, or its connection ended for good.
        """
        async with self:
            await self._ended.wait()
        if self._lost:
            raise Unavailable("the NATS connection is closed", code=Code.UNAVAILABLE)

    async def aclose(self) -> None:
        """Takes no more clients, and waits until those that wait are answered. Idempotent."""
        self._ended.set()
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._forget_closed()
            with suppress(nats.errors.Error):  # the connection may be gone already
                await subscription.unsubscribe()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def _subscribe(self) -> None:
        client = await self._bus.connect()
        self._forget_closed = self._bus.on_closed(self._end)
        try:
            self._subscription = await client.subscribe(
                self._subject, queue=self._queue, cb=self._received
            )
            await self._bus.settle(self._timeout)
        except nats.errors.Error as error:
            await self.aclose()
            raise Unavailable(f"subscribe: {error!r}", code=Code.UNAVAILABLE) from error
        except BaseException:
            await self.aclose()
            raise

    def _end(self) -> None:
        self._lost = True
        self._ended.set()

    async def _received(self, message: Msg) -> None:
        await self._room.acquire()  # those behind wait in the subscription
        task = asyncio.create_task(self._answer(message))
        self._tasks.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.release()

    async def _answer(self, message: Msg) -> None:
        try:
            payload = to_payload(await self._handler(to_request(message.data)))
        except json_format.ParseError as error:
            logger.warning("not a handshake: %s", error)
            return
        except Exception:
            logger.exception("a handshake was not decided")
            payload = to_payload(Refuse(500))
        with suppress(nats.errors.Error):  # then the client has gone without an answer
            await message.respond(payload)
