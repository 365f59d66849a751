"""Holdfast: send to, close, pause and listen to WebSocket connections that a broker holds.

async with Client.connect("127.0.0.1:7400", nats="nats://127.0.0.1:4222") as client:
    async with client.events() as events:
        async for event in events:
            match event:
                case MessageEvent(data=data):
                    await event.reply(data)
"""

from __future__ import annotations

from ._admission import Accept, HandshakeRequest, Refuse
from ._client import Client
from ._connecting import Connecting
from ._connection import Connection
from ._doorkeeper import Doorkeeper
from ._events import (
    AnyEvent,
    Cause,
    CloseEvent,
    Event,
    Fault,
    MessageEvent,
    OpenEvent,
    PingEvent,
    PongEvent,
    WritableEvent,
)
from ._fragments import MessageWriter
from ._groups import Group, GroupListing, GroupSnapshot, Members
from ._interest import EventStats
from ._lifecycle import CloseResult
from ._listing import Listing
from ._many import SendManyResult
from ._membership import MembershipResult
from ._message import Confirmation, Data, SendResult
from ._nodes import Node, NodeLife, NodeSnapshot, NodeState
from ._outcome import Outcome
from ._sender import Sender
from ._snapshot import (
    ClientCertificate,
    ConnectionSnapshot,
    Handshake,
    State,
    Tls,
    Traffic,
)
from ._subscription import Subscription
from ._targets import CloseManyResult, Everyone, PublishResult, Target, User
from ._watch import Watch
from .errors import (
    Code,
    ConnectionClosing,
    ConnectionNotFound,
    ConnectionPaused,
    DeadlineExceeded,
    HoldfastError,
    InternalError,
    InvalidArgument,
    MessageExpired,
    NodeNotFound,
    NotConfirmed,
    PartialAnswer,
    PermissionDenied,
    QueueFull,
    RateLimited,
    Reason,
    SendFailures,
    SkippedAfterFailure,
    SlowConsumer,
    TooManyGroups,
    Unavailable,
)

__all__ = [
    "Accept",
    "AnyEvent",
    "Cause",
    "Client",
    "ClientCertificate",
    "CloseEvent",
    "CloseManyResult",
    "CloseResult",
    "Code",
    "Confirmation",
    "Connecting",
    "Connection",
    "ConnectionClosing",
    "ConnectionNotFound",
    "ConnectionPaused",
    "ConnectionSnapshot",
    "Data",
    "DeadlineExceeded",
    "Doorkeeper",
    "Event",
    "EventStats",
    "Everyone",
    "Fault",
    "Group",
    "GroupListing",
    "GroupSnapshot",
    "Handshake",
    "HandshakeRequest",
    "HoldfastError",
    "InternalError",
    "InvalidArgument",
    "Listing",
    "Members",
    "MembershipResult",
    "MessageEvent",
    "MessageExpired",
    "MessageWriter",
    "Node",
    "NodeLife",
    "NodeNotFound",
    "NodeSnapshot",
    "NodeState",
    "NotConfirmed",
    "OpenEvent",
    "Outcome",
    "PartialAnswer",
    "PermissionDenied",
    "PingEvent",
    "PongEvent",
    "PublishResult",
    "QueueFull",
    "RateLimited",
    "Reason",
    "Refuse",
    "SendFailures",
    "SendManyResult",
    "SendResult",
    "Sender",
    "SkippedAfterFailure",
    "SlowConsumer",
    "State",
    "Subscription",
    "Target",
    "Tls",
    "TooManyGroups",
    "Traffic",
    "Unavailable",
    "User",
    "Watch",
    "WritableEvent",
]
