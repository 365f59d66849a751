"""What a client finds by name: groups, users, everyone, and the nodes of the broker."""

from __future__ import annotations

from . import _methods
from ._core import Core
from ._gen.holdfast.v1 import group_service_pb2, node_service_pb2
from ._groups import Group, GroupListing
from ._nodes import Node, NodeSnapshot, to_node_snapshot
from ._targets import Everyone, User

DEFAULT_NAMESPACE = "default"


class Cluster(Core):
    """The calls of a client that are about groups, users and nodes."""

    def group(self, name: str, *, namespace: str = DEFAULT_NAMESPACE) -> Group:
        """The handle to a group. No I/O: it does not say that the group has members.

        Args:
            name: 1 to 128 characters: letters, digits and `_=:@-`.
            namespace: of the group and its members.

        Raises:
            ValueError: the name or the namespace is empty.
        """
        return Group(_given(namespace), self._rpc, _given(name), self._bus)

    def groups(
        self,
        *,
        prefix: str = "",
        namespace: str = DEFAULT_NAMESPACE,
        page_size: int = 0,
        allow_partial: bool = False,
        timeout: float | None = None,
    ) -> GroupListing:
        """The groups that have members, by name: `async for snapshot in client.groups()`.

        Args:
            prefix: only groups whose name begins with this; "": all.
            namespace: of this one.
            page_size: groups that one call fetches; 0: 100; at most 1,000.
            allow_partial: False: when nodes do not answer, PartialAnswer ends the iteration. True:
                it ends as if all were well; see `unreachable_nodes`.
            timeout: seconds for each page; None: the client's default.
        """
        request = group_service_pb2.ListGroupsRequest(
            namespace=namespace, prefix=prefix, page_size=page_size
        )
        return GroupListing(self._rpc, request, allow_partial, timeout)

    def user(self, name: str, *, namespace: str = DEFAULT_NAMESPACE) -> User:
        """The handle to all connections of a user. No I/O: it does not say that there are any.

        Args:
            name: who admission, or a backend's update, says the client is; 1 to 256 bytes.
            namespace: of the connections.

        Raises:
            ValueError: the name or the namespace is empty.
        """
        return User(_given(namespace), self._rpc, _given(name))

    def everyone(self, namespace: str = DEFAULT_NAMESPACE) -> Everyone:
        """The handle to all connections of a namespace. No I/O.

        Raises:
            ValueError: the namespace is empty.
        """
        return Everyone(_given(namespace), self._rpc)

    async def nodes(self, *, timeout: float | None = None) -> tuple[NodeSnapshot, ...]:
        """The nodes of the broker that the answering one knows, by ID; at least itself.

        Raises:
            Unavailable: no broker can be reached, or it is stopping.
            DeadlineExceeded: no answer within `timeout` seconds; None: the client's default.
        """
        request = node_service_pb2.ListNodesRequest()
        response = await self._rpc.call(_methods.LIST_NODES, request, timeout)
        return tuple(map(to_node_snapshot, response.nodes))

    def node(self, node_id: str = "") -> Node:
        """The handle to a node. No I/O: it does not say that the node exists.

        Args:
            node_id: its ID; "": the one that answers, which can be asked (`get`), not drained.
        """
        return Node(node_id, self._rpc)


def _given(name: str) -> str:
    """Refuses an empty name here: in a filter it would mean everything."""
    if not name:
        raise ValueError("an empty name")
    return name
