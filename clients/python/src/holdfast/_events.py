"""The events of a connection, as frozen values made for `match`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from ._codes import NamedEnum, auto
from ._message import Data
from ._snapshot import ConnectionSnapshot, Traffic

if TYPE_CHECKING:
    from ._connection import Connection

Connector = Callable[[str, str], "Connection"]
"""Makes the handle to a connection, by its ID and namespace."""

Replier = Callable[[Data, bool, float | None], Awaitable[None]]


class Cause(NamedEnum):
    """Who or what ended a connection."""

    UNSPECIFIED = auto()
    """A cause that this package does not know yet."""
    PEER_CLOSE = auto()
    """The client began the closing handshake."""
    BACKEND_CLOSE = auto()
    """A backend called `close`."""
    BACKEND_TERMINATE = auto()
    """A backend called `terminate`."""
    PROTOCOL_FAULT = auto()
    """The client broke RFC 6455; `fault` says which rule."""
    MESSAGE_TOO_LARGE = auto()
    """The client's message was over a limit (1009)."""
    SLOW_CONSUMER = auto()
    """The send queue was full and the endpoint's policy is to close; or the broker was short of
    memory, of which this connection held most (1013)."""
    MESSAGE_ABANDONED = auto()
    """A backend began a message in fragments and did not go on with it (1011)."""
    PING_TIMEOUT = auto()
    """No sign of life within the heartbeat's timeout; or, where the kernel tells, nothing of what
    was sent was acknowledged for about as long."""
    IDLE_TIMEOUT = auto()
    """No message went either way for the endpoint's `idle_timeout` (1001)."""
    EXPIRED = auto()
    """`expire_time`, or the endpoint's `max_lifetime`, was reached (4401)."""
    RATE_LIMITED = auto()
    """The client sent more than the endpoint allows (1008)."""
    NODE_DRAIN = auto()
    """The broker stopped in order (1012)."""
    NODE_LOST = auto()
    """The broker process that held the connection died, or was cut off for too long. Another one
    says so, or the same at its next start; see `CloseEvent` for what it does not know."""
    TRANSPORT_ERROR = auto()
    """The TCP connection ended or failed without a close frame."""
    INTERNAL = auto()
    """A defect of the broker (1011)."""


class Fault(NamedEnum):
    """The rule of RFC 6455 that a client broke."""

    UNSPECIFIED = auto()
    """None, or one that this package does not know yet."""
    EXPECTED_FIN = auto()
    EXPECTED_MASK = auto()
    INVALID_CLOSE_CODE = auto()
    INVALID_CONTROL_PAYLOAD_LENGTH = auto()
    INVALID_OPCODE = auto()
    INVALID_UTF8 = auto()
    UNEXPECTED_RSV_1 = auto()
    UNEXPECTED_RSV_2_3 = auto()
    UNSUPPORTED_DATA_PAYLOAD_LENGTH = auto()
    UNSUPPORTED_MESSAGE_LENGTH = auto()
    TOO_MANY_FRAGMENTS = auto()
    INVALID_COMPRESSED_DATA = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What every event has. `match` on the subclasses."""

    connection_id: str
    """The connection it happened on."""
    namespace: str
    """The connection's namespace."""
    seq: int
    """Counts open, message and close of the connection from 1 without gaps; ping, pong and writable
    carry that of the event before them. 0, which is unknown, on the close of a connection whose
    node died."""
    user: str
    """Who the client is; "" when nobody has said, and on events that do not carry it."""
    _connect: Connector | None = field(default=None, repr=False, compare=False)

    @property
    def connection(self) -> Connection:
        """The handle to act on the connection. No I/O.

        Raises:
            RuntimeError: the event was not delivered by a client.
        """
        if self._connect is None:
            raise RuntimeError("this event was not delivered by a client")
        return self._connect(self.connection_id, self.namespace)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenEvent(Event):
    """The handshake was accepted. Always the first of a connection, with seq 1."""

    snapshot: ConnectionSnapshot
    """The whole connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEvent(Event):
    """The client sent a message."""

    data: str | bytes
    """`str` of a text message, `bytes` of a binary one."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """The attributes that the endpoint's `event_attributes` names."""
    _reply: Replier | None = field(default=None, repr=False, compare=False)

    async def reply(
        self, data: Data, *, confirm: bool = False, timeout: float | None = None
    ) -> None:
        """Sends a message back to the connection.

        Over NATS this publishes to the event's reply subject, which is the cheapest way to answer
        and, like all of NATS, at most once: a refusal is not seen. With `confirm` it waits until
        the broker says that the message is in the send queue. On an event of `Client.watch` it is
        a `Connection.send`, and always confirmed.

        Args:
            data: `str` is sent as text, anything else as binary.
            confirm: wait for the broker's verdict. Default False.
            timeout: seconds to wait for it; None: the client's default.

        Raises:
            HoldfastError: with `confirm`, what `Connection.send` raises.
            InvalidArgument: it is larger than NATS takes, or text that UTF-8 cannot express.
            Unavailable: NATS is away.
            RuntimeError: the event was not delivered by a client.
        """
        if self._reply is None:
            raise RuntimeError("this event was not delivered by a client")
        await self._reply(data, confirm, timeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseEvent(Event):
    """The connection ended. Always the last of a connection; nothing follows it.

    A subscription yields one for each connection, see `Client.events`; also for a connection of
    which it has seen no open, because it was not there yet or because the node died between
    recording the open and publishing it.

    With the cause NODE_LOST and `seq` 0 nobody knows what only the dead node knew: `traffic`,
    `attributes` and `reason` are empty, `code` is 1006, and `user` is the one at the open.
    """

    code: int
    """The close code that the client sent; 1005 when its frame had none, 1006 when none came."""
    reason: str
    """The close reason that the client sent."""
    was_clean: bool
    """True when close frames went both ways."""
    cause: Cause
    """Who or what ended it."""
    fault: Fault
    """The rule that was broken; UNSPECIFIED when none was."""
    detail: str
    """One line for people; its wording may change."""
    sent_code: int
    """The close code that the broker sent; 0 when it sent no close frame, 1005 without a code."""
    sent_reason: str
    """The close reason that the broker sent."""
    node: str
    """The broker process that held it."""
    endpoint: str
    """The configured path that had accepted it."""
    attributes: Mapping[str, str]
    """What backends had attached; unknown (empty) with NODE_LOST and `seq` 0."""
    open_time: datetime
    """When the handshake was accepted, UTC."""
    close_time: datetime
    """When it ended, UTC; with NODE_LOST, when its node was found to be dead."""
    traffic: Traffic
    """What passed through it; unknown (zeros) with NODE_LOST and `seq` 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PingEvent(Event):
    """The client sent a ping, and the broker answered. Only where the endpoint asks for it."""

    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PongEvent(Event):
    """The client sent a pong that confirms nothing. Only where the endpoint asks for it."""

    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WritableEvent(Event):
    """A send queue that had refused a send is empty again."""

    buffered_amount: int
    """Payload bytes still queued."""


AnyEvent = OpenEvent | MessageEvent | CloseEvent | PingEvent | PongEvent | WritableEvent
"""Every event there is, for exhaustive `match`."""

KINDS: Mapping[str, type[AnyEvent]] = {
    "open": OpenEvent,
    "message": MessageEvent,
    "close": CloseEvent,
    "ping": PingEvent,
    "pong": PongEvent,
    "writable": WritableEvent,
}
