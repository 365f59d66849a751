"""Listing connections, page by page."""

from __future__ import annotations

from collections.abc import Mapping

from . import _methods
from ._gen.holdfast.v1 import connection_pb2
from ._gen.holdfast.v1 import connection_service_pb2 as pb
from ._pages import Page, Pages
from ._rpc import Rpc
from ._snapshot import ConnectionSnapshot, to_snapshot
from .errors import PartialAnswer


class Listing(Pages[ConnectionSnapshot]):
    """The connections that match a filter, by rising ID: an async iterator.

    A connection that lives throughout the listing appears exactly once; one that opens or ends
    meanwhile may or may not.
    """

    def __init__(
        self,
        rpc: Rpc,
        filter: connection_pb2.Filter,
        *,
        page_size: int,
        allow_partial: bool,
        timeout: float | None,
    ) -> None:
        """Made by `Client.list`."""
        super().__init__(allow_partial)
        self._rpc = rpc
        self._request = pb.ListRequest(filter=filter, page_size=page_size)
        self._timeout = timeout

    async def _fetch(self, token: str) -> Page[ConnectionSnapshot]:
        self._request.page_token = token
        response = await self._rpc.call(_methods.LIST, self._request, self._timeout)
        snapshots = map(to_snapshot, response.connections)
        return Page(snapshots, response.next_page_token, response.unreachable_nodes)


async def count(
    rpc: Rpc, filter: connection_pb2.Filter, *, allow_partial: bool, timeout: float | None
) -> int:
    """How many connections match a filter; see `Client.count`."""
    response = await rpc.call(_methods.COUNT, pb.CountRequest(filter=filter), timeout)
    if response.unreachable_nodes and not allow_partial:
        raise PartialAnswer(response.unreachable_nodes, response.count)
    return response.count


def to_filter(
    *, namespace: str, user: str, group: str, node: str, attributes: Mapping[str, str] | None
) -> connection_pb2.Filter:
    """Builds the schema's filter; what is empty does not filter."""
    return connection_pb2.Filter(
        namespace=namespace, user=user, group=group, node=node, attributes=attributes
    )
