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
from ._leaving import drop, leave
from .errors import HoldfastError, Unavailable

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription as NatsSubscription

    from ._bus import Bus

logger = logging.getLogger("holdfast")

MAX_WAITING = 10_000
"""Clients that wait for a handler at most; a broker has no more handshakes under way by default."""


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
        self._places = asyncio.Semaphore(concurrency + MAX_WAITING)
        self._timeout = timeout
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscription: NatsSubscription | None = None
        self._entering = asyncio.Lock()
        self._ended = asyncio.Event()
        self._error: HoldfastError | None = None
        self._forget: Callable[[], None] = lambda: None

    async def __aenter__(self) -> Self:
        """Subscribes, and returns when the server knows.

        Raises:
            Unavailable: NATS cannot be reached, or did not confirm in time.
            PermissionDenied: NATS refuses the credentials, or its user may not subscribe to this.
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
            PermissionDenied: NATS refuses the credentials, or its user may not subscribe to this.
        """
        async with self:
            await self._ended.wait()
        if self._error is not None:
            raise self._error

    async def aclose(self) -> None:
        """Takes no more clients, and waits until those that wait are answered. Idempotent."""
        self._ended.set()
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await leave([subscription])
        self._forget()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def _subscribe(self) -> None:
        client = await self._bus.connect()
        self._forget = self._bus.on_end([self._subject], self._end)
        try:
            self._subscription = await client.subscribe(
                self._subject, queue=self._queue, cb=self._received
            )
            await self._bus.settle(self._timeout)
            if self._error is not None:
                raise self._error
        except nats.errors.Error as error:
            await self._give_up()
            raise Unavailable(f"subscribe: {error!r}", code=Code.UNAVAILABLE) from error
        except BaseException:
            await self._give_up()
            raise

    async def _give_up(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await drop([subscription])
        await self.aclose()

    def _end(self, error: HoldfastError) -> None:
        self._error = error
        self._ended.set()

    async def _received(self, message: Msg) -> None:
        await self._places.acquire()  # those behind wait in the subscription, which is bounded
        task = asyncio.create_task(self._answer_in_turn(message))
        self._tasks.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._places.release()

    async def _answer_in_turn(self, message: Msg) -> None:
        async with self._room:  # first come, first served
            await self._answer(message)

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
