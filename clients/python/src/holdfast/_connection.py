"""The handle to one connection: everything a backend can do to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from . import _methods
from ._fragments import MessageWriter
from ._gen.holdfast.v1 import connection_service_pb2 as pb
from ._lifecycle import Lifecycle
from ._membership import add_members, of_one, remove_members
from ._message import Confirmation, Data, SendResult, to_message, to_send_request, to_send_result
from ._snapshot import ConnectionSnapshot, to_snapshot
from ._times import to_timestamp


@dataclass(frozen=True, slots=True)
class Connection(Lifecycle):
    """A connection by its ID. Making one does no I/O and does not say that the connection exists.

    Every method is one call to the broker, made once; `Client.connect` says when it is repeated at
    another address. Each takes `timeout` in seconds (None: the client's default of 5 s; `math.inf`:
    no limit); cancelling the task cancels the call. Each can raise, beside what it names itself:

    - ConnectionNotFound: the connection has ended, or never existed.
    - InvalidArgument: the ID is not a connection ID.
    - Unavailable: the broker, or the node that holds the connection, did not answer.
    - DeadlineExceeded: no answer within `timeout`.
    """

    async def send(
        self,
        data: Data,
        *,
        confirmation: Confirmation | None = None,
        expire_after: float | None = None,
        request_id: str = "",
        compress: bool | None = None,
        timeout: float | None = None,
    ) -> SendResult:
        """Sends one whole message.

        Args:
            data: `str` is sent as text, anything else as binary; at most 1 MiB.
            confirmation: what to wait for; None: QUEUED.
            expire_after: seconds, above 0 and at most 24 h: the message is dropped when it still
                waits in the queue after them. None: never.
            request_id: at most 64 bytes; a repeat of one of the connection's last 16 sends nothing
                and answers as the first did. "": no such protection with one address; a client of
                several makes one, to repeat the send by itself.
            compress: whether to compress, where the client agreed to; None: as the endpoint says.
            timeout: see the class.

        Raises:
            QueueFull: the send queue has no room; the message was not taken.
            ConnectionClosing: the closing handshake has begun.
            InvalidArgument: the message is too large, or an argument is out of its range.
            MessageExpired: with WRITTEN or RECEIVED: it was dropped after `expire_after`.
            NotConfirmed: with WRITTEN or RECEIVED: it may or may not have arrived.
            ConnectionPaused: with RECEIVED: the connection is not read; nothing was sent.
            RateLimited: with RECEIVED: too many receipts are under way; nothing was sent.
        """
        request = to_send_request(
            self.id,
            to_message(data, compress=compress),
            confirmation=confirmation,
            expire_after=expire_after,
            request_id=request_id,
        )
        return to_send_result(await self._rpc.send(request, timeout))

    async def join(self, *groups: str, timeout: float | None = None) -> None:
        """Makes the connection a member of groups: every later `Group.publish` reaches it.

        All of them or, on an error, none; who is a member already stays one. `get` has them all.

        Args:
            groups: 1 to 100 names of groups in the connection's namespace.
            timeout: see the class.

        Raises:
            ConnectionNotFound: also when the handle was made with another namespace.
            TooManyGroups: it would be in more than 1,000.
            InvalidArgument: a name is not valid, or there are too many.
        """
        of_one(await add_members(self._rpc, self._namespace, groups, [self.id], timeout))

    async def leave(self, *groups: str, timeout: float | None = None) -> None:
        """Ends memberships: no later `Group.publish` reaches it. Who is no member stays none.

        Args:
            groups: 1 to 100 names.
            timeout: see the class.

        Raises:
            ConnectionNotFound: also when the handle was made with another namespace.
            InvalidArgument: a name is not valid, or there are too many.
        """
        of_one(await remove_members(self._rpc, self._namespace, groups, [self.id], timeout))

    def message(
        self,
        *,
        confirmation: Confirmation | None = None,
        expire_after: float | None = None,
        compress: bool | None = None,
        timeout: float | None = None,
    ) -> MessageWriter:
        """Sends one message in fragments, each as soon as it is written.

            async with connection.message() as message:
                async for word in answer:
                    await message.write(word)

        Args:
            confirmation: what the end of the message waits for; None: QUEUED.
            expire_after: as in `send`; no longer counts once a fragment was written to the socket.
            compress: as in `send`.
            timeout: of each call; see the class.
        """
        return MessageWriter(
            self._rpc,
            self.id,
            confirmation=confirmation,
            expire_after=expire_after,
            compress=compress,
            timeout=timeout,
        )

    async def get(self, *, timeout: float | None = None) -> ConnectionSnapshot:
        """Asks what the broker knows of the connection."""
        request = pb.GetRequest(connection_id=self.id)
        response = await self._rpc.call(_methods.GET, request, timeout)
        return to_snapshot(response.connection)

    async def update(
        self,
        *,
        set_attributes: Mapping[str, str] | None = None,
        remove_attributes: Iterable[str] = (),
        user: str | None = None,
        expire_time: datetime | None = None,
        clear_expire_time: bool = False,
        timeout: float | None = None,
    ) -> ConnectionSnapshot:
        """Changes what backends know of the connection: all of it or, on an error, nothing.

        Args:
            set_attributes: added or replaced; all names and values together at most 8 KiB.
            remove_attributes: removed; a name that is not there is no error.
            user: None: unchanged; "": nobody; at most 256 bytes.
            expire_time: close the connection (4401) at that time, an aware datetime in the future.
                None: unchanged.
            clear_expire_time: True: it no longer expires.
            timeout: see the class.

        Returns:
            The connection after the change.

        Raises:
            ConnectionClosing: the closing handshake has begun.
            InvalidArgument: an argument is out of its range, or two contradict each other.
            ValueError: `expire_time` has no time zone.
        """
        request = pb.UpdateRequest(
            connection_id=self.id,
            set_attributes=set_attributes,
            remove_attributes=remove_attributes,
            user=user,
            expire_time=to_timestamp(expire_time),
            clear_expire_time=clear_expire_time,
        )
        response = await self._rpc.call(_methods.UPDATE, request, timeout)
        return to_snapshot(response.connection)
