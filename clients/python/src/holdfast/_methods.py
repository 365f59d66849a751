"""The calls of the control API, and which of them may be made twice when nobody knows the outcome.

May be repeated, because a second time leaves everything as the first did:

- what only reads: Get, List, Count, ListMembers, ListGroups, ListNodes, GetNode;
- what sets a state: Pause, Resume, Update, AddMembers, RemoveMembers. When two callers set
  different states at the same moment, either may win: a repeat does not change that;
- what ends something for good: Close, Terminate, DrainNode. The repeat may say that there is
  nothing left to end (ConnectionNotFound, NodeNotFound), which is true.

Must not be: what puts something on the wire each time (SendMany, Publish, Ping, Pong), and
GroupService.Close, whose repeat could hit connections that came since, such as the client that has
logged in again. Send is among these, but for one with a request ID: see `Sends`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from ._gen.holdfast.v1.connection_service_pb2_grpc import ConnectionServiceStub
from ._gen.holdfast.v1.group_service_pb2_grpc import GroupServiceStub
from ._gen.holdfast.v1.node_service_pb2_grpc import NodeServiceStub

if TYPE_CHECKING:
    import grpc.aio
    from grpc.aio import UnaryUnaryMultiCallable

    from ._gen.holdfast.v1.connection_service_pb2_grpc import ConnectionServiceAsyncStub
    from ._gen.holdfast.v1.group_service_pb2_grpc import GroupServiceAsyncStub
    from ._gen.holdfast.v1.node_service_pb2_grpc import NodeServiceAsyncStub

Request = TypeVar("Request")
Response = TypeVar("Response")


class Stubs:
    """The services of one address."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """No I/O."""
        self.connections: ConnectionServiceAsyncStub = ConnectionServiceStub(channel)
        self.groups: GroupServiceAsyncStub = GroupServiceStub(channel)
        self.nodes: NodeServiceAsyncStub = NodeServiceStub(channel)


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    """A call that has one request and one answer."""

    of: Callable[[Stubs], UnaryUnaryMultiCallable[Request, Response]]
    """Finds it in the services of an address."""
    is_repeatable: bool
    """True when it may be made again although the first time may have been carried out."""


# What only reads.
GET = Method(lambda stubs: stubs.connections.Get, True)
LIST = Method(lambda stubs: stubs.connections.List, True)
COUNT = Method(lambda stubs: stubs.connections.Count, True)
LIST_MEMBERS = Method(lambda stubs: stubs.groups.ListMembers, True)
LIST_GROUPS = Method(lambda stubs: stubs.groups.ListGroups, True)
LIST_NODES = Method(lambda stubs: stubs.nodes.ListNodes, True)
GET_NODE = Method(lambda stubs: stubs.nodes.GetNode, True)

# What sets a state.
PAUSE = Method(lambda stubs: stubs.connections.Pause, True)
RESUME = Method(lambda stubs: stubs.connections.Resume, True)
UPDATE = Method(lambda stubs: stubs.connections.Update, True)
ADD_MEMBERS = Method(lambda stubs: stubs.groups.AddMembers, True)
REMOVE_MEMBERS = Method(lambda stubs: stubs.groups.RemoveMembers, True)

# What ends something for good.
CLOSE = Method(lambda stubs: stubs.connections.Close, True)
TERMINATE = Method(lambda stubs: stubs.connections.Terminate, True)
DRAIN_NODE = Method(lambda stubs: stubs.nodes.DrainNode, True)

# What must not be repeated.
SEND = Method(lambda stubs: stubs.connections.Send, False)
SEND_MANY = Method(lambda stubs: stubs.connections.SendMany, False)
PING = Method(lambda stubs: stubs.connections.Ping, False)
PONG = Method(lambda stubs: stubs.connections.Pong, False)
PUBLISH = Method(lambda stubs: stubs.groups.Publish, False)
CLOSE_TARGET = Method(lambda stubs: stubs.groups.Close, False)
