"""Listing connections, page by page."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Self

from ._gen.holdfast.v1 import connection_pb2
from ._gen.holdfast.v1 import connection_service_pb2 as pb
from ._rpc import Rpc
from ._snapshot import ConnectionSnapshot, to_snapshot
from .errors import PartialAnswer


class Listing:
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
        self._rpc = rpc
        self._request = pb.ListRequest(filter=filter, page_size=page_size)
        self._allow_partial = allow_partial
        self._timeout = timeout
        self._page: deque[connection_pb2.Connection] = deque()
        self._is_last = False
        self._count = 0
        self._unreachable: dict[str, None] = {}

    @property
    def unreachable_nodes(self) -> tuple[str, ...]:
        """The nodes that did not answer so far; their connections are missing."""
        return tuple(self._unreachable)

    def __aiter__(self) -> Self:
        """Returns itself."""
        return self

    async def __anext__(self) -> ConnectionSnapshot:
        """The next connection; asks for the next page when needed.

        Raises:
            PartialAnswer: at the end, when nodes did not answer and `allow_partial` is False.
            InvalidArgument: the broker refuses the filter.
            Unavailable: the broker cannot be reached.
            DeadlineExceeded: no page within the timeout.
        """
        while not self._page:
            if self._is_last:
                self._finish()
            await self._turn()
        self._count += 1
        return to_snapshot(self._page.popleft())

    async def _turn(self) -> None:
        response = await self._rpc.call(self._rpc.stub.List, self._request, self._timeout)
        self._page.extend(response.connections)
        self._unreachable.update(dict.fromkeys(response.unreachable_nodes))
        self._request.page_token = response.next_page_token
        self._is_last = not response.next_page_token

    def _finish(self) -> None:
        if self._unreachable and not self._allow_partial:
            raise PartialAnswer(self.unreachable_nodes, self._count)
        raise StopAsyncIteration


def to_filter(
    *, namespace: str, user: str, group: str, node: str, attributes: Mapping[str, str] | None
) -> connection_pb2.Filter:
    """Builds the schema's filter; what is empty does not filter."""
    return connection_pb2.Filter(
        namespace=namespace, user=user, group=group, node=node, attributes=attributes
    )
