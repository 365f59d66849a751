"""Many connections by what they have in common: publish to all of them, close all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field

from . import _methods
from ._gen.holdfast.v1 import connection_pb2
from ._gen.holdfast.v1 import group_service_pb2 as pb
from ._listing import Listing, count
from ._message import Confirmation, Data, to_confirmation, to_message
from ._rpc import Rpc
from ._times import to_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishResult:
    """What became of one message to many connections.

    `matched` is the sum of `succeeded`, `full`, `gone`, `failed` and `pending`.
    """

    matched: int
    """Connections that were meant, on the nodes that answered."""
    succeeded: int
    """Those that got the confirmation that was asked for."""
    full: int
    """Those whose send queue had no room; the message was not taken for them."""
    gone: int
    """Those whose closing had begun, or that ended before the message was written."""
    failed: int
    """Those that failed for another reason: paused, expired, not confirmed, a limit."""
    pending: int
    """Those that took the message and had not confirmed it when the time was over."""
    unreachable_nodes: tuple[str, ...]
    """Nodes that did not answer in time: whether their connections got it is unknown."""

    @property
    def complete(self) -> bool:
        """True when every node answered, so that the counts are those of all connections."""
        return not self.unreachable_nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseManyResult:
    """What became of closing many connections."""

    matched: int
    """Connections that were meant, on the nodes that answered: each is closing, or has ended."""
    unreachable_nodes: tuple[str, ...]
    """Nodes that did not answer in time: whether they closed their connections is unknown."""

    @property
    def complete(self) -> bool:
        """True when every node answered."""
        return not self.unreachable_nodes


@dataclass(frozen=True, slots=True)
class Target(ABC):
    """Connections of one namespace: a `Group`, a `User` or `Everyone`. Making one does no I/O.

    Every method takes `timeout` in seconds (None: the client's default of 5 s; `math.inf`: no
    limit). Each can raise, beside what it names itself:

    - InvalidArgument: the namespace, or the name of the group or user, is not valid.
    - Unavailable: no broker can be reached, or it may not act at present.
    - DeadlineExceeded: no answer within `timeout`; the outcome is unknown.
    """

    namespace: str
    """Where its connections are."""
    _rpc: Rpc = field(repr=False, compare=False)

    @abstractmethod
    def _to_target(self) -> pb.Target: ...

    @abstractmethod
    def _to_filter(self) -> connection_pb2.Filter: ...

    async def publish(
        self,
        data: Data,
        *,
        except_: str | Iterable[str] = (),
        confirmation: Confirmation | None = None,
        expire_after: float | None = None,
        compress: bool | None = None,
        timeout: float | None = None,
    ) -> PublishResult:
        """Sends one whole message to each of the connections, once.

        It succeeds even when nobody gets the message: see the counts. A slow client holds nobody
        back. Messages that one task publishes one after the other arrive in that order. It is never
        repeated when its outcome is unknown.

        Args:
            data: `str` is sent as text, anything else as binary; at most 1 MiB.
            except_: IDs of connections that do not get it, at most 1,000, or the ID of one.
            confirmation: what counts as success; None: QUEUED. WRITTEN and RECEIVED wait for the
                slowest, at most until `timeout`, and then answer with what is known.
            expire_after: seconds, above 0 and at most 24 h: dropped when it still waits in a
                connection's queue after them. None: never.
            compress: whether to compress, where the client agreed to; None: as the endpoint says.
            timeout: see the class.

        Raises:
            InvalidArgument: also when the message is too large, or there are too many exceptions.
        """
        request = pb.PublishRequest(
            target=self._to_target(),
            message=to_message(data, compress=compress),
            except_connection_ids=to_ids(except_),
            confirmation=to_confirmation(confirmation),
            expire_after=to_duration(expire_after),
        )
        response = await self._rpc.call(_methods.PUBLISH, request, timeout)
        return PublishResult(
            matched=response.matched,
            succeeded=response.succeeded,
            full=response.full,
            gone=response.gone,
            failed=response.failed,
            pending=response.pending,
            unreachable_nodes=tuple(response.unreachable_nodes),
        )

    async def close(
        self,
        code: int = 1000,
        reason: str = "",
        *,
        except_: str | Iterable[str] = (),
        timeout: float | None = None,
    ) -> CloseManyResult:
        """Begins to close each of the connections; their close events tell how each ended.

        It does not wait for the clients. Who opens, or joins, meanwhile may not be reached. It is
        never repeated when its outcome is unknown: a repeat could hit those who came since.

        Args:
            code: 1000 to 1003, 1007 to 1014, or 3000 to 4999.
            reason: at most 123 bytes of UTF-8.
            except_: IDs of connections that stay open, at most 1,000, or the ID of one.
            timeout: see the class.

        Raises:
            InvalidArgument: also when the code or the reason must not be sent.
        """
        request = pb.GroupServiceCloseRequest(
            target=self._to_target(),
            code=code,
            reason=reason,
            except_connection_ids=to_ids(except_),
        )
        response = await self._rpc.call(_methods.CLOSE_TARGET, request, timeout)
        return CloseManyResult(
            matched=response.matched, unreachable_nodes=tuple(response.unreachable_nodes)
        )

    def connections(
        self, *, page_size: int = 0, allow_partial: bool = False, timeout: float | None = None
    ) -> Listing:
        """The connections with all that is known of them; arguments as in `Client.list`."""
        return Listing(
            self._rpc,
            self._to_filter(),
            page_size=page_size,
            allow_partial=allow_partial,
            timeout=timeout,
        )

    async def count(self, *, allow_partial: bool = False, timeout: float | None = None) -> int:
        """How many connections there are; arguments and errors as in `Client.count`."""
        return await count(
            self._rpc, self._to_filter(), allow_partial=allow_partial, timeout=timeout
        )


@dataclass(frozen=True, slots=True)
class User(Target):
    """All connections of one user; see `Target` for what can be done to them."""

    name: str
    """Who admission, or a backend's update, says the client is."""

    def _to_target(self) -> pb.Target:
        return pb.Target(namespace=self.namespace, user=self.name)

    def _to_filter(self) -> connection_pb2.Filter:
        return connection_pb2.Filter(namespace=self.namespace, user=self.name)


@dataclass(frozen=True, slots=True)
class Everyone(Target):
    """All connections of a namespace; see `Target` for what can be done to them."""

    def _to_target(self) -> pb.Target:
        return pb.Target(namespace=self.namespace, everyone=True)

    def _to_filter(self) -> connection_pb2.Filter:
        return connection_pb2.Filter(namespace=self.namespace)


def to_ids(ids: str | Iterable[str]) -> Iterable[str]:
    """One ID, or several: a string is an iterable of strings, too, and never meant as one."""
    return (ids,) if isinstance(ids, str) else ids
