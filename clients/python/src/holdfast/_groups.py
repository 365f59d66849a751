"""Groups: named sets of connections that backends make."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import _methods
from ._codes import Code, Reason
from ._gen.holdfast.v1 import connection_pb2
from ._gen.holdfast.v1 import group_service_pb2 as pb
from ._membership import MembershipResult, add_members, remove_members
from ._message import Data
from ._pages import Page, Pages
from ._rpc import Rpc
from ._targets import Target, to_ids
from .errors import InvalidArgument

if TYPE_CHECKING:
    from ._bus import Bus

EXCEPT_HEADER = "Holdfast-Except"

_NAME = re.compile(r"[A-Za-z0-9_=:@-]{1,128}")
_NAMESPACE = re.compile(r"[a-z0-9_-]{1,32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSnapshot:
    """A group that has members. To act on it: `client.group(snapshot.name, namespace=…)`."""

    name: str
    """Within its namespace."""
    namespace: str
    """Where it is."""
    members: int
    """How many connections are in it."""


@dataclass(frozen=True, slots=True)
class Group(Target):
    """A group by its name. It exists while it has members: nothing creates or deletes it.

    See `Target` for what every method has in common, and for what can be done to the members.
    """

    name: str
    """1 to 128 characters: letters, digits and `_=:@-`."""
    _bus: Bus | None = field(default=None, repr=False, compare=False)

    async def add(self, *connection_ids: str, timeout: float | None = None) -> MembershipResult:
        """Makes connections members: every later `publish` reaches them. Members stay members.

        Args:
            connection_ids: 1 to 10,000, all of the group's namespace.
            timeout: see `Target`.

        Returns:
            Among the failures: ConnectionNotFound for one that has ended or is in another
            namespace; TooManyGroups for one that would be in more than 1,000.
        """
        return await add_members(self._rpc, self.namespace, [self.name], connection_ids, timeout)

    async def remove(self, *connection_ids: str, timeout: float | None = None) -> MembershipResult:
        """Ends memberships: no later `publish` reaches them. Who is no member stays none.

        Args:
            connection_ids: 1 to 10,000.
            timeout: see `Target`.

        Returns:
            Among the failures: ConnectionNotFound for one that has ended, and is in no group.
        """
        return await remove_members(self._rpc, self.namespace, [self.name], connection_ids, timeout)

    def members(
        self, *, page_size: int = 0, allow_partial: bool = False, timeout: float | None = None
    ) -> Members:
        """The IDs of the members: `async for connection_id in group.members()`.

        `connections` has the whole facts of each.

        Args:
            page_size: IDs that one call fetches; 0: 1,000; at most 10,000.
            allow_partial: as in `Client.list`.
            timeout: seconds for each page; None: the client's default.
        """
        return Members(
            self._rpc,
            pb.ListMembersRequest(namespace=self.namespace, group=self.name, page_size=page_size),
            allow_partial,
            timeout,
        )

    async def publish_over_nats(self, data: Data, *, except_: str | Iterable[str] = ()) -> None:
        """Publishes to the group's plain NATS subject: cheaper than `publish`, and without counts.

        Like all of NATS it is at most once, and nothing tells who got it. A node hears of it once
        NATS has spread that it has members: milliseconds after `add`, not promised.

        Args:
            data: `str` is sent as text, anything else as binary; at most 1 MiB.
            except_: IDs of connections that do not get it, or the ID of one.

        Raises:
            InvalidArgument: the name of the group or the namespace is not valid, or the message is
                larger than NATS takes.
            Unavailable: NATS is away and its buffer is full, or the connection is closed.
            RuntimeError: the client was made without `nats`.
        """
        if self._bus is None:
            raise RuntimeError("publish_over_nats needs Client.connect(..., nats=...)")
        _check("namespace", self.namespace, _NAMESPACE, Reason.INVALID_NAMESPACE)
        _check("group", self.name, _NAME, Reason.INVALID_GROUP)
        exceptions = ",".join(to_ids(except_))
        headers = {EXCEPT_HEADER: exceptions} if exceptions else {}
        subject = f"{self._bus.subject_prefix}-in.{self.namespace}.group.{self.name}"
        await self._bus.publish(subject, data, headers)

    def _to_target(self) -> pb.Target:
        return pb.Target(namespace=self.namespace, group=self.name)

    def _to_filter(self) -> connection_pb2.Filter:
        return connection_pb2.Filter(namespace=self.namespace, group=self.name)


class Members(Pages[str]):
    """The IDs of a group's members, in a stable order: an async iterator.

    A connection that is a member throughout the listing appears exactly once.
    """

    def __init__(
        self,
        rpc: Rpc,
        request: pb.ListMembersRequest,
        allow_partial: bool,
        timeout: float | None,
    ) -> None:
        """Made by `Group.members`."""
        super().__init__(allow_partial)
        self._rpc = rpc
        self._request = request
        self._timeout = timeout

    async def _fetch(self, token: str) -> Page[str]:
        self._request.page_token = token
        response = await self._rpc.call(_methods.LIST_MEMBERS, self._request, self._timeout)
        return Page(response.connection_ids, response.next_page_token, response.unreachable_nodes)


class GroupListing(Pages[GroupSnapshot]):
    """The groups of a namespace that have members, by name: an async iterator."""

    def __init__(
        self,
        rpc: Rpc,
        request: pb.ListGroupsRequest,
        allow_partial: bool,
        timeout: float | None,
    ) -> None:
        """Made by `Client.groups`."""
        super().__init__(allow_partial)
        self._rpc = rpc
        self._request = request
        self._timeout = timeout

    async def _fetch(self, token: str) -> Page[GroupSnapshot]:
        self._request.page_token = token
        response = await self._rpc.call(_methods.LIST_GROUPS, self._request, self._timeout)
        groups = (
            GroupSnapshot(name=group.name, namespace=self._request.namespace, members=group.members)
            for group in response.groups
        )
        return Page(groups, response.next_page_token, response.unreachable_nodes)


def _check(field: str, value: str, pattern: re.Pattern[str], reason: Reason) -> None:
    """Checks what becomes a part of a subject: nobody answers a message to a wrong one."""
    if not pattern.fullmatch(value):
        raise InvalidArgument(
            f"{field} {value!r} is not valid",
            code=Code.INVALID_ARGUMENT,
            reason=reason,
            metadata={"field": field, "value": value[:64], "allowed": pattern.pattern},
        )
