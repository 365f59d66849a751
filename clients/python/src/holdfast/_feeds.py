"""Where a client's events come from: NATS, or the broker's Watch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar, overload

from ._admission import Handler
from ._core import Core
from ._doorkeeper import Doorkeeper
from ._events import KINDS, AnyEvent, Event
from ._interest import Interest
from ._subscription import Subscription
from ._watch import Watch, to_watch_request

E = TypeVar("E", bound=Event)

ALL_KINDS: Sequence[type[Event]] = tuple(KINDS.values())

MAX_PENDING = 65_536
"""Events of a subscription that may wait."""

MAX_PENDING_BYTES = 64 * 1024 * 1024
"""Payload bytes of them."""

REMEMBERED = 65_536
"""Connections, open or closed, whose last event is remembered to leave out repeats: about 10 MB."""


class Feeds(Core):
    """The event streams of a client."""

    @overload
    def events(
        self,
        *,
        namespace: str = ...,
        queue: str = ...,
        max_pending: int = ...,
        max_pending_bytes: int = ...,
        remember: int = ...,
    ) -> Subscription[AnyEvent]: ...
    @overload
    def events(
        self,
        *,
        kinds: type[E],
        namespace: str = ...,
        queue: str = ...,
        max_pending: int = ...,
        max_pending_bytes: int = ...,
        remember: int = ...,
    ) -> Subscription[E]: ...
    @overload
    def events(
        self,
        *,
        kinds: Iterable[type[AnyEvent]],
        namespace: str = ...,
        queue: str = ...,
        max_pending: int = ...,
        max_pending_bytes: int = ...,
        remember: int = ...,
    ) -> Subscription[AnyEvent]: ...
    def events(
        self,
        *,
        kinds: type[Event] | Iterable[type[Event]] = ALL_KINDS,
        namespace: str = "default",
        queue: str = "",
        max_pending: int = MAX_PENDING,
        max_pending_bytes: int = MAX_PENDING_BYTES,
        remember: int = REMEMBERED,
    ) -> Subscription[E] | Subscription[AnyEvent]:
        """Events over NATS.

            async with client.events() as events:
                async for event in events:
                    match event:
                        case MessageEvent(data=data): ...

        A connection has one CloseEvent here, also when the broker was killed, which may publish it
        again. The memory for this is that of `remember`, and of this subscription alone: another
        one, another member of its queue group and this program's next start know nothing of it.

        Args:
            kinds: an event class, which also gives the events their type, or several, for example
                [MessageEvent, CloseEvent]. Default: all.
            namespace: of this one; "*": of all.
            queue: name of a queue group: its members share the events, so that the events of one
                connection spread over them. "": every subscription gets all events.
            max_pending: events that may wait for this program before some are dropped, which is
                raised as SlowConsumer where they are missing. Default 65,536.
            max_pending_bytes: payload bytes of them. Default 64 MiB.
            remember: connections, open or closed, whose last event is remembered to leave out
                repeats; beyond that, those not heard of for longest are forgotten, and a repeat of
                theirs, also of a close, is yielded again. Default 65,536.

        Raises:
            RuntimeError: the client was made without `nats`.
            ValueError: `kinds` is empty or holds something that is no event class.
        """
        if self._bus is None:
            raise RuntimeError("events need Client.connect(..., nats=...); or use watch")
        interest = Interest(
            namespace=namespace,
            kinds=_checked(kinds),
            queue=queue,
            max_pending=max_pending,
            max_pending_bytes=max_pending_bytes,
            remember=remember,
        )
        stream: Subscription[E] = Subscription(
            self._bus, interest, self._connect, self._rpc.timeout
        )
        self._streams.add(stream)
        return stream

    def admit(
        self,
        handler: Handler,
        *,
        namespace: str = "default",
        queue: str = "doorkeepers",
        concurrency: int = 100,
    ) -> Doorkeeper:
        """Decides who may connect to the endpoints of a namespace whose admission is `backend`.

            async def who(handshake):
                if handshake.headers.get("Authorization") == "Bearer hunter2":
                    return Accept(user="ann")
                return Refuse(401, "who are you?")

            await client.admit(who).wait()

        Args:
            handler: answers Accept or Refuse, within the endpoint's `admission.backend.timeout`.
            namespace: of the endpoints.
            queue: programs of one queue group share the work.
            concurrency: handlers that run at a time.

        Raises:
            RuntimeError: the client was made without `nats`.
            ValueError: `concurrency` is below 1.
        """
        if self._bus is None:
            raise RuntimeError("admit needs Client.connect(..., nats=...)")
        if concurrency < 1:
            raise ValueError(f"concurrency is at least 1: {concurrency}")
        doorkeeper = Doorkeeper(
            self._bus, handler, namespace, queue, concurrency, self._rpc.timeout
        )
        self._streams.add(doorkeeper)
        return doorkeeper

    @overload
    def watch(
        self, *, namespace: str = ..., user: str = ..., connection_id: str = ...
    ) -> Watch[AnyEvent]: ...
    @overload
    def watch(
        self,
        *,
        kinds: type[E],
        namespace: str = ...,
        user: str = ...,
        connection_id: str = ...,
    ) -> Watch[E]: ...
    @overload
    def watch(
        self,
        *,
        kinds: Iterable[type[AnyEvent]],
        namespace: str = ...,
        user: str = ...,
        connection_id: str = ...,
    ) -> Watch[AnyEvent]: ...
    def watch(
        self,
        *,
        kinds: type[Event] | Iterable[type[Event]] = ALL_KINDS,
        namespace: str = "",
        user: str = "",
        connection_id: str = "",
    ) -> Watch[E] | Watch[AnyEvent]:
        """Events over gRPC, for a backend without NATS: the same events in the same order.

        But for the closes of a node that is lost: the watch then raises Unavailable with the reason
        NODE_UNREACHABLE and is over. Begin a new one, and `list` what is open.

        Args:
            kinds: an event class, or several. Default: all.
            namespace: of this one; "": of all.
            user: of connections of this user; "": of all.
            connection_id: of this connection; "": of all.

        Raises:
            ValueError: `kinds` is empty or holds something that is no event class.
        """
        request = to_watch_request(
            kinds=_checked(kinds), namespace=namespace, user=user, connection_id=connection_id
        )
        stream: Watch[E] = Watch(self._rpc, request, self._connect)
        self._streams.add(stream)
        return stream


def _checked(kinds: type[Event] | Iterable[type[Event]]) -> Sequence[type[Event]]:
    chosen = (kinds,) if isinstance(kinds, type) else tuple(kinds)
    if not chosen or not set(chosen) <= set(ALL_KINDS):
        raise ValueError(f"kinds are event classes, at least one: {chosen!r}")
    return chosen
