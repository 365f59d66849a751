"""Events over NATS: one subscription as async iterator and async context manager."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

import nats.errors

from ._codes import Code
from ._decode import SEQ_HEADER, Links, Undecodable, from_nats
from ._events import KINDS, AnyEvent, CloseEvent, Connector, Event, MessageEvent, OpenEvent
from ._inbox import Inbox
from ._interest import EventStats, Interest
from ._leaving import drop, leave
from ._message import Data
from ._repeats import RepeatFilter
from .errors import HoldfastError, Unavailable

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription as NatsSubscription

    from ._bus import Bus

E = TypeVar("E", bound=Event)

logger = logging.getLogger("holdfast")


class Subscription(Generic[E]):
    """Events of a namespace, as they happen.

    Use it as an async context manager; when it is entered the NATS server knows of it, so that it
    misses nothing that happens from then on. Iterating without entering enters at the first event,
    and then `aclose` ends it. Several tasks may iterate over one subscription and share its events.

    The events of a connection come in order, unless a queue group spreads them over several
    programs. What the broker published twice is yielded once, and nothing is yielded behind the
    close of a connection, so that there is one close of each: as long as the connection is among
    the `remember` connections heard of last. NATS itself delivers at most once: events that were
    published while this program was away from NATS are missing, see `stats.interruptions`; `seq`
    shows it too, but for closes.
    """

    def __init__(
        self,
        bus: Bus,
        interest: Interest,
        connect: Connector,
        timeout: float,
    ) -> None:
        """Made by `Client.events`."""
        self._bus = bus
        self._interest = interest
        self._connect = connect
        self._timeout = timeout
        self._inbox = self._new_inbox()
        self._repeats = RepeatFilter(interest.remember)
        self._batch: list[Msg] = []
        self._subscriptions: list[NatsSubscription] = []
        self._entering = asyncio.Lock()
        self._ready = False
        self._forget: Callable[[], None] = lambda: None
        self._error: HoldfastError | None = None
        self._reconnects_before = 0
        self._delivered = self._repeated = self._undecodable = 0

    @property
    def stats(self) -> EventStats:
        """What happened so far."""
        return EventStats(
            delivered=self._delivered,
            repeats=self._repeated,
            dropped=self._inbox.dropped,
            undecodable=self._undecodable,
            interruptions=self._bus.reconnects - self._reconnects_before if self._ready else 0,
        )

    async def __aenter__(self) -> Self:
        """Subscribes, and returns when the server knows.

        Raises:
            Unavailable: NATS cannot be reached, or did not confirm in time.
            PermissionDenied: NATS refuses the credentials, or its user may not subscribe to this.
        """
        async with self._entering:
            if not self._ready:
                await self._subscribe()
                self._ready = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Unsubscribes."""
        await self.aclose()

    async def aclose(self) -> None:
        """Unsubscribes. Events that wait, and those that NATS had sent already, are still yielded.

        Then iteration ends. So a member of a queue group that iterates on loses nothing that it was
        given. Idempotent.
        """
        subscriptions, self._subscriptions = self._subscriptions, []
        try:
            await leave(subscriptions)
        finally:
            self._forget()
            self._flush_batch()
            self._inbox.end()

    def __aiter__(self) -> Self:
        """Returns itself."""
        return self

    async def __anext__(self) -> E:
        """Waits for the next event.

        Raises:
            SlowConsumer: events are missing here, because more than `max_pending` waited. Iterating
                again goes on behind the gap.
            Unavailable: the connection to NATS ended for good.
            PermissionDenied: its user may no longer subscribe to this.
        """
        if not self._ready:
            await self.__aenter__()
        while True:
            event = self._decode(await self._inbox.get())
            if event is None:
                continue
            if self._repeats.admit(event):
                self._delivered += 1
                return cast(E, event)
            self._repeated += 1

    def _new_inbox(self) -> Inbox[Msg]:
        return Inbox(self._interest.max_pending, self._interest.max_pending_bytes)

    async def _subscribe(self) -> None:
        """It takes effect as a whole or not at all, so that it may be tried again."""
        client = await self._bus.connect()
        self._error = None
        self._reconnects_before = self._bus.reconnects
        subjects = self._interest.subjects(self._bus.subject_prefix)
        self._forget = self._bus.on_end(subjects, self._ended)
        receive = self._receive if len(subjects) == 1 else self._receive_in_order
        try:
            for subject in subjects:
                # Its own limits are off: it would drop without saying where.
                self._subscriptions.append(
                    await client.subscribe(
                        subject,
                        queue=self._interest.queue,
                        cb=receive,
                        pending_msgs_limit=0,
                        pending_bytes_limit=0,
                    )
                )
            await self._bus.settle(self._timeout)
            if self._error is not None:
                raise self._error
        except BaseException as error:
            subscriptions, self._subscriptions = self._subscriptions, []
            await drop(subscriptions)
            self._forget()
            self._inbox = self._new_inbox()
            if not isinstance(error, nats.errors.Error):
                raise
            raise Unavailable(f"subscribe: {error!r}", code=Code.UNAVAILABLE) from error

    def _ended(self, error: HoldfastError) -> None:
        self._error = error
        self._inbox.end(error)

    async def _receive(self, message: Msg) -> None:
        self._inbox.put(message, len(message.data))

    async def _receive_in_order(self, message: Msg) -> None:
        """Restores the order per connection that several subjects lose.

        nats-py sorts what one read of the socket brought into one queue for each subject and then
        runs their tasks one after the other. They run in the same turn of the event loop; in the
        next one the batch is whole and is put in order.
        """
        if not self._batch:
            asyncio.get_running_loop().call_soon(self._flush_batch)
        self._batch.append(message)

    def _flush_batch(self) -> None:
        batch, self._batch = self._batch, []
        batch.sort(key=_order)
        for message in batch:
            self._inbox.put(message, len(message.data))

    def _decode(self, message: Msg) -> AnyEvent | None:
        links = Links(self._connect, partial(self._reply, message.reply) if message.reply else None)
        try:
            return from_nats(message.subject, message.headers or {}, message.data, links)
        except Undecodable as error:
            self._undecodable += 1
            logger.warning("not an event: %s", error)
            return None

    async def _reply(self, subject: str, data: Data, confirm: bool, timeout: float | None) -> None:
        if confirm:
            await self._bus.request(subject, data, self._timeout if timeout is None else timeout)
        else:
            await self._bus.reply(subject, data)


def _order(message: Msg) -> tuple[float, bool]:
    """Open, message and close by number; ping, pong and writable behind the one they follow."""
    seq = (message.headers or {}).get(SEQ_HEADER, "")
    kind = KINDS.get(message.subject.rsplit(".", 2)[-2])
    is_counted = kind in (OpenEvent, MessageEvent, CloseEvent)
    return (int(seq) if seq.isdecimal() else math.inf, not is_counted)
