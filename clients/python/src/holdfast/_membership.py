"""Who is a member of which groups: changing it, and what became of each connection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from . import _methods
from ._gen.holdfast.v1 import group_service_pb2 as pb
from ._rpc import Rpc
from ._status import from_failure
from .errors import HoldfastError


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipResult:
    """What became of the memberships of many connections."""

    succeeded: int
    """Connections whose memberships are as asked for now."""
    failures: tuple[HoldfastError, ...]
    """One for each other, with its `connection_id`, in the order of the call. Not raised."""


async def add_members(
    rpc: Rpc,
    namespace: str,
    groups: Iterable[str],
    connection_ids: Iterable[str],
    timeout: float | None,
) -> MembershipResult:
    """Makes each connection a member of each group."""
    request = pb.AddMembersRequest(
        namespace=namespace, groups=groups, connection_ids=connection_ids
    )
    response = await rpc.call(_methods.ADD_MEMBERS, request, timeout)
    return _to_result(response)


async def remove_members(
    rpc: Rpc,
    namespace: str,
    groups: Iterable[str],
    connection_ids: Iterable[str],
    timeout: float | None,
) -> MembershipResult:
    """Ends the membership of each connection in each group."""
    request = pb.RemoveMembersRequest(
        namespace=namespace, groups=groups, connection_ids=connection_ids
    )
    response = await rpc.call(_methods.REMOVE_MEMBERS, request, timeout)
    return _to_result(response)


def of_one(result: MembershipResult) -> None:
    """Raises the failure when there is one: the call was about a single connection."""
    for failure in result.failures:
        raise failure


def _to_result(response: pb.AddMembersResponse | pb.RemoveMembersResponse) -> MembershipResult:
    failures = (
        from_failure(failure.code, failure.reason, failure.message, failure.connection_id)
        for failure in response.failures
    )
    return MembershipResult(succeeded=response.succeeded, failures=tuple(failures))
