"""Every error that this package raises on its own account.

    HoldfastError
    ├── ConnectionNotFound       the connection has ended, or never existed; final
    ├── ConnectionClosing        its closing handshake has begun; nothing more can be sent
    ├── ConnectionPaused         it is not read, so nothing can be confirmed as RECEIVED
    ├── MessageExpired           `expire_after` passed while the message was queued; it was not sent
    ├── QueueFull                its send queue has no room; retry after its WritableEvent
    ├── TooManyGroups            the connection would be in more than 1,000 groups; it joined none
    ├── RateLimited              more is under way than a limit allows; retry later
    ├── SlowConsumer             this program read events too slowly; some are missing
    ├── SkippedAfterFailure      an earlier send of the batch to the same connection failed
    ├── NodeNotFound             no node of the broker has that ID; final
    ├── InvalidArgument          the broker refuses an argument (also a ValueError)
    ├── PermissionDenied         the credentials are missing, wrong, or not enough
    ├── DeadlineExceeded         no answer in time, outcome unknown (also a TimeoutError)
    │   └── NotConfirmed         no pong in time; the message may or may not have arrived
    ├── Unavailable              the broker or a node of it did not answer
    │   └── PartialAnswer        some nodes did not answer a listing or count
    └── InternalError            a defect of the broker; its log has the details

    SendFailures                 an ExceptionGroup of the above: what a Sender could not send

Decide by class; where that is not fine enough, by `code` and `reason`. The text may change. A
status that fits no class is a plain HoldfastError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Self

from ._codes import Code, Reason

__all__ = [
    "Code",
    "ConnectionClosing",
    "ConnectionNotFound",
    "ConnectionPaused",
    "DeadlineExceeded",
    "HoldfastError",
    "InternalError",
    "InvalidArgument",
    "MessageExpired",
    "NodeNotFound",
    "NotConfirmed",
    "PartialAnswer",
    "PermissionDenied",
    "QueueFull",
    "RateLimited",
    "Reason",
    "SendFailures",
    "SkippedAfterFailure",
    "SlowConsumer",
    "TooManyGroups",
    "Unavailable",
]


class HoldfastError(Exception):
    """A call that did not succeed.

    Attributes:
        code: the class of the failure.
        reason: the fact, a name of `Reason` or one of a newer broker; "" when none is given.
        message: one line for people; its wording may change.
        metadata: facts by name, for example `field` and `allowed` of a refused argument.
    """

    def __init__(
        self,
        message: str,
        *,
        code: Code = Code.UNKNOWN,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Creates an error; the broker's own are made by this package."""
        name = f"{code}/{reason}" if reason else str(code)
        super().__init__(f"{name}: {message}" if message else name)
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = MappingProxyType(dict(metadata or {}))

    @property
    def connection_id(self) -> str:
        """The connection that the failure concerns; "" when it concerns no single one."""
        return self.metadata.get("connection_id", "")


class ConnectionNotFound(HoldfastError):
    """The connection has ended (CONNECTION_NOT_FOUND) or its node has (CONNECTION_GONE). Final."""


class ConnectionClosing(HoldfastError):
    """The closing handshake has begun: nothing more can be sent. Final."""


class ConnectionPaused(HoldfastError):
    """The connection is not read at present, so no receipt could be seen. Nothing was sent."""


class MessageExpired(HoldfastError):
    """`expire_after` passed while the message was still queued. It was not sent."""


class QueueFull(HoldfastError):
    """The connection's send queue has no room. The message was not taken."""


class RateLimited(HoldfastError):
    """More is under way than a limit allows. Nothing was sent."""


class TooManyGroups(HoldfastError):
    """The connection would be in more than 1,000 groups. It has joined none of the call."""


class NodeNotFound(HoldfastError):
    """No node of that ID is part of the broker: it has stopped, or never existed. Final."""


class SlowConsumer(HoldfastError):
    """Events are missing at this point of the stream: this program read too slowly.

    Attributes:
        dropped: how many events are missing; None when a watch was cut off, which knows no number.
    """

    def __init__(
        self,
        message: str,
        *,
        code: Code = Code.RESOURCE_EXHAUSTED,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        dropped: int | None = None,
    ) -> None:
        """Creates an error for `dropped` events."""
        super().__init__(message, code=code, reason=reason, metadata=metadata)
        self.dropped = dropped


class SkippedAfterFailure(HoldfastError):
    """Not tried, because an earlier send of the same batch to this connection failed."""


class InvalidArgument(HoldfastError, ValueError):
    """The broker refuses an argument; `metadata` names the field and what is allowed."""


class PermissionDenied(HoldfastError):
    """The credentials are missing or wrong (UNAUTHENTICATED) or not enough (PERMISSION_DENIED)."""


class DeadlineExceeded(HoldfastError, TimeoutError):
    """No answer within the timeout. The outcome is unknown."""


class NotConfirmed(DeadlineExceeded):
    """No pong came in time, or the connection ended before one did: unknown, not failed."""


class Unavailable(HoldfastError):
    """The broker could not be reached, is stopping, or lost its bus.

    With NODE_UNREACHABLE, or without a reason, the outcome is unknown, unless the message says that
    the call was not made; retry with the same `request_id`. With BUS_UNAVAILABLE, NODE_STOPPING
    and KEYS_UNAVAILABLE nothing was done.
    """


class PartialAnswer(Unavailable):
    """Some nodes did not answer in time; what the others answered was delivered before this error.

    Attributes:
        unreachable_nodes: the nodes whose connections are missing.
        count: what the other nodes counted, or how many items a listing has yielded.
    """

    def __init__(self, unreachable_nodes: Sequence[str], count: int) -> None:
        """Creates an error for the nodes that are missing."""
        super().__init__(
            f"{len(unreachable_nodes)} nodes did not answer: {', '.join(unreachable_nodes)}",
            code=Code.UNAVAILABLE,
            reason=Reason.NODE_UNREACHABLE,
        )
        self.unreachable_nodes = tuple(unreachable_nodes)
        self.count = count


class InternalError(HoldfastError):
    """A defect of the broker. The outcome is unknown."""


class SendFailures(ExceptionGroup[HoldfastError]):
    """Sends of a `Sender` that failed and that nobody had asked about; see `connection_id` of each.

    `except* ConnectionNotFound:` handles one kind and leaves the others.
    """

    @property
    def failures(self) -> tuple[HoldfastError, ...]:
        """The failures, in the order in which they became known."""
        return tuple(error for error in self.exceptions if isinstance(error, HoldfastError))

    def derive(self, excs: Sequence[HoldfastError]) -> Self:  # type: ignore[override]
        """Makes a group of some of the failures, for `except*` and `split`."""
        return type(self)(self.message, excs)
