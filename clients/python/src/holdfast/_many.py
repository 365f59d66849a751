"""What a client does to many connections: list, count, send to all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from . import _methods
from ._core import Core
from ._gen.holdfast.v1 import connection_service_pb2 as pb
from ._listing import Listing, count, to_filter
from ._message import Confirmation, Data, to_confirmation, to_message
from ._sender import Sender
from ._status import from_failure
from ._times import to_duration
from .errors import HoldfastError

MAX_PENDING = 4_096
"""Sends of a Sender that may be unanswered."""

MAX_PENDING_BYTES = 8 * 1024 * 1024
"""Bytes of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendManyResult:
    """What became of one message to many connections."""

    succeeded: int
    """Sends that got the confirmation that was asked for."""
    failures: tuple[HoldfastError, ...]
    """One for each other, with its `connection_id`, in the order of the request. Not raised."""


class Many(Core):
    """The calls of a client that concern many connections."""

    def list(
        self,
        *,
        namespace: str = "",
        user: str = "",
        group: str = "",
        node: str = "",
        attributes: Mapping[str, str] | None = None,
        page_size: int = 0,
        allow_partial: bool = False,
        timeout: float | None = None,
    ) -> Listing:
        """The connections that match, in all nodes: `async for snapshot in client.list(...)`.

        Args:
            namespace: only this one; "": all.
            user: only connections of this user; "": all.
            group: only members of this group; "": all.
            node: only connections of this node; "": all.
            attributes: only connections that have all of these, with exactly these values.
            page_size: connections that one call fetches; 0: 100; at most 1,000.
            allow_partial: False: when nodes do not answer, PartialAnswer ends the iteration. True:
                it ends as if all were well; see `unreachable_nodes`.
            timeout: seconds for each page; None: the client's default.
        """
        chosen = to_filter(
            namespace=namespace, user=user, group=group, node=node, attributes=attributes
        )
        return Listing(
            self._rpc, chosen, page_size=page_size, allow_partial=allow_partial, timeout=timeout
        )

    async def count(
        self,
        *,
        namespace: str = "",
        user: str = "",
        group: str = "",
        node: str = "",
        attributes: Mapping[str, str] | None = None,
        allow_partial: bool = False,
        timeout: float | None = None,
    ) -> int:
        """Counts the connections that match; arguments as in `list`.

        Raises:
            PartialAnswer: nodes did not answer and `allow_partial` is False; it has the count of
                the others.
            InvalidArgument: the broker refuses the filter.
            Unavailable: the broker cannot be reached.
            DeadlineExceeded: no answer within `timeout` seconds.
        """
        chosen = to_filter(
            namespace=namespace, user=user, group=group, node=node, attributes=attributes
        )
        return await count(self._rpc, chosen, allow_partial=allow_partial, timeout=timeout)

    async def send_many(
        self,
        connection_ids: Iterable[str],
        data: Data,
        *,
        confirmation: Confirmation | None = None,
        expire_after: float | None = None,
        compress: bool | None = None,
        timeout: float | None = None,
    ) -> SendManyResult:
        """Sends one whole message to up to 10,000 connections in one call.

        Args:
            connection_ids: whom to send to; an ID that stands twice gets the message twice.
            data: `str` is sent as text, anything else as binary; at most 1 MiB.
            confirmation: what counts as success; None: QUEUED. RECEIVED waits for the slowest.
            expire_after: seconds in the queue after which it is dropped; None: never.
            compress: None: as the endpoint says.
            timeout: seconds; None: the client's default.

        Raises:
            InvalidArgument: no IDs or too many, the message is too large, or an argument is out of
                its range.
            Unavailable: the broker cannot be reached.
            DeadlineExceeded: no answer in time; some may have got the message.
        """
        request = pb.SendManyRequest(
            connection_ids=connection_ids,
            message=to_message(data, compress=compress),
            confirmation=to_confirmation(confirmation),
            expire_after=to_duration(expire_after),
        )
        response = await self._rpc.call(_methods.SEND_MANY, request, timeout)
        failures = (
            from_failure(failure.code, failure.reason, failure.message, failure.connection_id)
            for failure in response.failures
        )
        return SendManyResult(succeeded=response.succeeded, failures=tuple(failures))

    def sender(
        self,
        *,
        max_pending: int = MAX_PENDING,
        max_pending_bytes: int = MAX_PENDING_BYTES,
        on_failure: Callable[[HoldfastError], None] | None = None,
        timeout: float | None = None,
    ) -> Sender:
        """Sends to many connections over one stream, in batches.

            async with client.sender() as sender:
                for connection_id in members:
                    await sender.send(connection_id, "hello")

        Args:
            max_pending: sends that may be unanswered before `send` waits.
            max_pending_bytes: bytes of them.
            on_failure: called with each failure whose outcome nobody awaits, on the event loop;
                None: they are raised as SendFailures.
            timeout: seconds that the end of the block waits for answers; None: the client's
                default.
        """
        return Sender(
            self._rpc,
            max_pending=max_pending,
            max_pending_bytes=max_pending_bytes,
            on_failure=on_failure,
            timeout=timeout,
        )
