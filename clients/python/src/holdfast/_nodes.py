"""The nodes of the broker: each is one process of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from . import _methods
from ._codes import NamedEnum, auto
from ._gen.holdfast.v1 import node_service_pb2 as pb
from ._rpc import Rpc
from ._times import to_datetime, to_seconds


class NodeState(NamedEnum):
    """State of a node, as the one that answers sees it."""

    UNSPECIFIED = auto()
    """A state that this package does not know yet."""
    READY = auto()
    """It accepts connections."""
    DRAINING = auto()
    """It is stopping in order: its connections are being closed."""
    SILENT = auto()
    """Nothing was heard from it for at least 5 s. Its connections may live; calls about them are
    tried, and fail with Unavailable (NODE_UNREACHABLE) while it does not answer."""
    FROZEN = auto()
    """It cannot write its life record, so that it publishes nothing, reads no client, and answers
    with Unavailable (BUS_UNAVAILABLE). Its sockets stay; it goes on when NATS takes its record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLife:
    """How the record of a node stands by which every open has exactly one close."""

    lease_left: float
    """Seconds that other nodes must still believe that it lives; 0 when it is frozen."""
    waiting: int
    """Opens and closes that the record has not taken yet, so that they are not published."""
    freezes: int
    """How often its lease has run out."""
    claims: int
    """Dead nodes whose closes it has published."""
    lost: int
    """Closes with the cause NODE_LOST that it has published for them."""
    repeated_closes: int
    """Closes that they had recorded, published in their place: the same bytes, perhaps for the
    second time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSnapshot:
    """A node at the moment of the answer. To act on it: `client.node(snapshot.id)`."""

    id: str
    """New at every start of the process; the IDs of its connections begin with it."""
    server_name: str
    """Of the NATS server that is embedded in it, the same at every start; "" with an external
    one."""
    version: str
    """Of the broker."""
    state: NodeState
    """Whether it accepts connections, and else why not."""
    listen: tuple[str, ...]
    """Where it accepts clients, "ws://127.0.0.1:8080"."""
    control: str
    """Where it serves gRPC, "127.0.0.1:7400"."""
    ops: str
    """Its operations HTTP, "http://127.0.0.1:7401"."""
    start_time: datetime
    """When it was started, UTC."""
    connections: int
    """Open when it was last heard of, at most 2 s before while it is not SILENT."""
    seen_time: datetime
    """When the node that answers last heard of it, on that node's clock, UTC."""
    life: NodeLife | None
    """None when the NATS servers have no JetStream: then a node that dies leaves opens without a
    close."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node by its ID. Making one does no I/O and does not say that the node exists.

    Each method takes `timeout` in seconds (None: the client's default of 5 s; `math.inf`: no
    limit), and can raise, beside what it names itself:

    - NodeNotFound: it has stopped, or never existed.
    - InvalidArgument: the ID is not a node ID.
    - Unavailable: no broker can be reached, or it is stopping.
    - DeadlineExceeded: no answer within `timeout`.
    """

    id: str
    """10 characters; "": the one that answers, for `get`."""
    _rpc: Rpc = field(repr=False, compare=False)

    async def get(self, *, timeout: float | None = None) -> NodeSnapshot:
        """Asks what is known of the node."""
        request = pb.GetNodeRequest(node=self.id)
        response = await self._rpc.call(_methods.GET_NODE, request, timeout)
        return to_node_snapshot(response.node)

    async def drain(self, *, timeout: float | None = None) -> int:
        """Stops the node in order, as SIGTERM does; returns when the drain has begun.

        It refuses new connections, closes its own with 1012 spread over its drain time, publishes
        the last events, and its process ends. `get` shows how far it is. A node that is draining
        goes on as it is.

        Args:
            timeout: see the class.

        Returns:
            Connections that were open on the node when the drain began.

        Raises:
            Unavailable: also when the node does not answer.
        """
        request = pb.DrainNodeRequest(node=self.id)
        response = await self._rpc.call(_methods.DRAIN_NODE, request, timeout)
        return response.connections


def to_node_snapshot(message: pb.Node) -> NodeSnapshot:
    """Reads the schema's message."""
    state = pb.Node.State.DESCRIPTOR.values_by_number.get(message.state)
    return NodeSnapshot(
        id=message.id,
        server_name=message.server_name,
        version=message.version,
        state=NodeState.named(state.name if state else ""),
        listen=tuple(message.listen),
        control=message.control,
        ops=message.ops,
        start_time=to_datetime(message.start_time),
        connections=message.connections,
        seen_time=to_datetime(message.seen_time),
        life=_to_life(message.life) if message.HasField("life") else None,
    )


def _to_life(message: pb.Node.Life) -> NodeLife:
    return NodeLife(
        lease_left=to_seconds(message.lease_left),
        waiting=message.waiting,
        freezes=message.freezes,
        claims=message.claims,
        lost=message.lost,
        repeated_closes=message.repeated_closes,
    )
