"""Groups, users and everyone, against a fake control port."""

from __future__ import annotations

import asyncio
from typing import Any

import nats
import pytest
from nats.aio.msg import Msg

import holdfast
from control import FakeControl
from holdfast import (
    Client,
    Confirmation,
    GroupSnapshot,
    InvalidArgument,
    MembershipResult,
    MessageEvent,
    PartialAnswer,
    PublishResult,
    Target,
)
from holdfast._gen.holdfast.v1 import error_reason_pb2
from holdfast._gen.holdfast.v1 import group_service_pb2 as pb
from peer import DEADLINE
from processes import NatsServer
from publisher import Publisher

ID = "k5w2j4qzta-7m3c5z6q2n4x6p7a"
OTHER = "k5w2j4qzta-aaaaaaaaaaaaaaaa"


def failing_member(reason: int, code: int) -> Any:
    """An answer to AddMembers and RemoveMembers: the last connection fails."""

    async def answer(request: Any, context: Any) -> Any:
        ids = request.connection_ids
        failure = pb.MemberFailure(connection_id=ids[-1], code=code, message="no")
        failure.reason = error_reason_pb2.ErrorReason.ValueType(reason)
        kind = type(request).__name__.replace("Request", "Response")
        return getattr(pb, kind)(succeeded=len(ids) - 1, failures=[failure])

    return answer


async def test_handles_need_no_io(fake_client: Client, control: FakeControl) -> None:
    """They can be made, compared and shown."""
    group = fake_client.group("room-7", namespace="chat")
    assert (group.name, group.namespace) == ("room-7", "chat")
    assert group == fake_client.group("room-7", namespace="chat") != fake_client.group("room-7")
    assert repr(group) == "Group(namespace='chat', name='room-7')"
    assert repr(fake_client.user("ann")) == "User(namespace='default', name='ann')"
    assert repr(fake_client.everyone("chat")) == "Everyone(namespace='chat')"
    assert control.requests == []


def test_an_empty_name_is_refused(fake_client: Client) -> None:
    """In a filter it would mean everything."""
    for make in (
        lambda: fake_client.group(""),
        lambda: fake_client.user(""),
        lambda: fake_client.everyone(""),
        lambda: fake_client.group("a", namespace=""),
    ):
        with pytest.raises(ValueError, match="empty"):
            make()


async def test_membership(control: FakeControl, fake_client: Client) -> None:
    """Requests have the names; what failed is part of the result."""
    group = fake_client.group("room-7", namespace="chat")
    assert await group.add() == MembershipResult(succeeded=0, failures=())
    control.answers["AddMembers"] = failing_member(error_reason_pb2.TOO_MANY_GROUPS, 8)
    control.answers["RemoveMembers"] = failing_member(error_reason_pb2.CONNECTION_NOT_FOUND, 5)
    added = await group.add(ID, OTHER)
    removed = await group.remove(ID, OTHER)
    assert (added.succeeded, removed.succeeded) == (1, 1)
    assert [type(error) for error in added.failures] == [holdfast.TooManyGroups]
    assert [type(error) for error in removed.failures] == [holdfast.ConnectionNotFound]
    assert added.failures[0].connection_id == removed.failures[0].connection_id == OTHER
    for request in control.requests[1:]:
        assert (request.namespace, list(request.groups)) == ("chat", ["room-7"])
        assert list(request.connection_ids) == [ID, OTHER]


async def test_join_and_leave(control: FakeControl, fake_client: Client) -> None:
    """One connection, several groups; its failure is raised."""
    connection = fake_client.connection(ID, namespace="chat")
    await connection.join("a", "b")
    await connection.leave("a")
    assert [list(request.groups) for request in control.requests] == [["a", "b"], ["a"]]
    for request in control.requests:
        assert (request.namespace, list(request.connection_ids)) == ("chat", [ID])
    control.answers["AddMembers"] = failing_member(error_reason_pb2.TOO_MANY_GROUPS, 8)
    with pytest.raises(holdfast.TooManyGroups) as caught:
        await connection.join("c")
    assert caught.value.connection_id == ID


async def test_the_handle_of_an_event_knows_its_namespace(
    control: FakeControl, events_client: Client, publisher: Publisher
) -> None:
    """So that `event.connection.join` works in every namespace."""
    async with events_client.events(kinds=MessageEvent, namespace="chat") as events:
        headers = {"Holdfast-Seq": "2", "Holdfast-Opcode": "text"}
        await publisher.nats.publish(f"holdfast.chat.message.{ID}", b"x", headers=headers)
        await (await anext(events)).connection.join("a")
    assert control.requests[-1].namespace == "chat"


TARGETS: dict[str, Any] = {
    "group": lambda client: client.group("room-7", namespace="chat"),
    "user": lambda client: client.user("ann", namespace="chat"),
    "everyone": lambda client: client.everyone("chat"),
}


@pytest.mark.parametrize("kind", TARGETS)
async def test_targets(control: FakeControl, fake_client: Client, kind: str) -> None:
    """Each is what it says in every request."""
    target: Target = TARGETS[kind](fake_client)
    await target.publish("hi")
    await target.close()
    assert await target.count() == 0
    assert [snapshot async for snapshot in target.connections(page_size=7)] == []
    publish, close, count, listing = control.requests
    for request in (publish, close):
        assert request.target.WhichOneof("to") == kind
        assert request.target.namespace == "chat"
    for request in (count, listing):
        assert request.filter.namespace == "chat"
        assert request.filter.group == ("room-7" if kind == "group" else "")
        assert request.filter.user == ("ann" if kind == "user" else "")
    assert listing.page_size == 7


async def test_publish(control: FakeControl, fake_client: Client) -> None:
    """Every argument has its place, and every count."""

    async def answer(request: Any, context: Any) -> Any:
        return pb.PublishResponse(
            matched=15, succeeded=5, full=4, gone=3, failed=2, pending=1, unreachable_nodes=["n"]
        )

    group = fake_client.group("room-7")
    assert (await group.publish("hi")).complete
    control.answers["Publish"] = answer
    result = await group.publish(
        b"x",
        except_=[ID, OTHER],
        confirmation=Confirmation.WRITTEN,
        expire_after=1.5,
        compress=False,
    )
    assert result == PublishResult(
        matched=15, succeeded=5, full=4, gone=3, failed=2, pending=1, unreachable_nodes=("n",)
    )
    assert not result.complete
    plain, request = control.requests
    assert plain.message.text == "hi"
    assert not plain.message.HasField("compress")
    assert not plain.HasField("expire_after")
    assert request.message.binary == b"x"
    assert request.message.HasField("compress")
    assert list(request.except_connection_ids) == [ID, OTHER]
    assert request.confirmation == 2
    assert request.expire_after.ToMilliseconds() == 1500


async def test_close(control: FakeControl, fake_client: Client) -> None:
    """One exception may be given as it is: a string is not a sequence of IDs."""

    async def answer(request: Any, context: Any) -> Any:
        return pb.GroupServiceCloseResponse(matched=3, unreachable_nodes=["n"])

    control.answers["CloseTarget"] = answer
    result = await fake_client.user("ann").close(4001, "elsewhere", except_=ID)
    assert (result.matched, result.unreachable_nodes, result.complete) == (3, ("n",), False)
    (request,) = control.requests
    assert (request.code, request.reason) == (4001, "elsewhere")
    assert list(request.except_connection_ids) == [ID]


def members(*pages: list[str], unreachable: str = "") -> Any:
    """An answer to ListMembers, page by page."""

    async def answer(request: pb.ListMembersRequest, context: Any) -> pb.ListMembersResponse:
        number = int(request.page_token or 0)
        return pb.ListMembersResponse(
            connection_ids=pages[number],
            next_page_token=str(number + 1) if number + 1 < len(pages) else "",
            unreachable_nodes=[unreachable] if unreachable else [],
        )

    return answer


async def test_members(control: FakeControl, fake_client: Client) -> None:
    """Page by page; what is missing is said at the end."""
    group = fake_client.group("room-7", namespace="chat")
    control.answers["ListMembers"] = members(["a", "b"], [], ["c"])
    assert [name async for name in group.members(page_size=2)] == ["a", "b", "c"]
    assert [request.page_token for request in control.requests] == ["", "1", "2"]
    for request in control.requests:
        assert (request.namespace, request.group, request.page_size) == ("chat", "room-7", 2)
    control.answers["ListMembers"] = members(["a"], unreachable="deadnode22")
    seen = []
    with pytest.raises(PartialAnswer) as caught:
        async for name in group.members():
            seen.append(name)
    assert (seen, caught.value.count) == (["a"], 1)
    listing = group.members(allow_partial=True)
    assert [name async for name in listing] == ["a"]
    assert listing.unreachable_nodes == ("deadnode22",)


async def test_groups(control: FakeControl, fake_client: Client) -> None:
    """By prefix, page by page."""

    async def answer(request: pb.ListGroupsRequest, context: Any) -> pb.ListGroupsResponse:
        first = not request.page_token
        group = pb.Group(name="room-1" if first else "room-2", members=2)
        return pb.ListGroupsResponse(groups=[group], next_page_token="more" if first else "")

    control.answers["ListGroups"] = answer
    groups = [group async for group in fake_client.groups(prefix="room-", namespace="chat")]
    assert groups == [
        GroupSnapshot(name=name, namespace="chat", members=2) for name in ("room-1", "room-2")
    ]
    for request in control.requests:
        assert (request.prefix, request.namespace) == ("room-", "chat")


async def test_publish_over_nats(events_client: Client, nats_server: NatsServer) -> None:
    """The subject, the opcode, and who does not get it."""
    received: asyncio.Queue[Msg] = asyncio.Queue()
    listener = await nats.connect(nats_server.url)
    await listener.subscribe("holdfast-in.>", cb=received.put)
    for _ in range(2):  # see `round_trip` of the client for why twice
        await listener.flush()
    group = events_client.group("room:7", namespace="chat")
    await group.publish_over_nats("grüße")
    await group.publish_over_nats(b"\xff", except_=[ID, OTHER])
    async with asyncio.timeout(DEADLINE):
        text, binary = await received.get(), await received.get()
    await listener.close()
    assert text.subject == binary.subject == "holdfast-in.chat.group.room:7"
    assert (text.data, text.headers) == ("grüße".encode(), {"Holdfast-Opcode": "text"})
    assert (binary.data, binary.headers) == (
        b"\xff",
        {"Holdfast-Opcode": "binary", "Holdfast-Except": f"{ID},{OTHER}"},
    )


async def test_what_cannot_be_published_over_nats(
    fake_client: Client, events_client: Client
) -> None:
    """Nobody would answer a message to a wrong subject."""
    with pytest.raises(RuntimeError, match="nats="):
        await fake_client.group("a").publish_over_nats("x")
    with pytest.raises(InvalidArgument) as caught:
        await events_client.group("a.b").publish_over_nats("x")
    assert (caught.value.reason, caught.value.metadata["field"]) == ("INVALID_GROUP", "group")
    with pytest.raises(InvalidArgument) as caught:
        await events_client.group("a", namespace=">").publish_over_nats("x")
    assert caught.value.reason == "INVALID_NAMESPACE"
