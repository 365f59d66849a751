"""Groups, users and everyone of a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any
from uuid import uuid4

import pytest

import holdfast
from holdfast import (
    Cause,
    Client,
    CloseEvent,
    Confirmation,
    Connection,
    Group,
    InvalidArgument,
    PublishResult,
)
from peer import DEADLINE, Peer, next_event, open_peer
from processes import Broker

UNKNOWN_NODE = "aaaaaaaaaa-aaaaaaaaaaaaaaaa"


@pytest.fixture
async def peers(broker: Broker, events: Any) -> AsyncIterator[list[Peer]]:
    """Three connections of the default namespace."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_peer(broker.listen, events)) for _ in range(3)]


@pytest.fixture
def group(client: Client) -> Group:
    """A group that no other test uses."""
    return client.group(f"room:{uuid4().hex}")


async def nothing_more(peer: Peer) -> None:
    """Makes sure that nothing else came before a last message."""
    await peer.connection.send("the last")
    assert await peer.receive() == "the last"


async def test_publish_reaches_the_members(peers: list[Peer], group: Group) -> None:
    """Once each, text as text and bytes as bytes; who is no member hears nothing."""
    ann, bob, eve = peers
    added = await group.add(ann.id, bob.id)
    assert (added.succeeded, added.failures) == (2, ())
    for data in ("grüße", b"\x00\xff"):
        result = await group.publish(data)
        assert result == counted(matched=2, succeeded=2)
        assert result.complete
        assert await ann.receive() == await bob.receive() == data
    for peer in peers:
        await nothing_more(peer)
    assert (await group.remove(bob.id, eve.id)).succeeded == 2
    assert (await group.publish("to ann")).matched == 1
    assert await ann.receive() == "to ann"
    await nothing_more(bob)


def counted(**counts: int) -> PublishResult:
    """A complete result with these counts."""
    names = ("matched", "succeeded", "full", "gone", "failed", "pending")
    return PublishResult(**{name: counts.get(name, 0) for name in names}, unreachable_nodes=())


async def test_publish_leaves_some_out(peers: list[Peer], group: Group) -> None:
    """Who is named is not counted either; one name is enough."""
    ann, bob, _ = peers
    await group.add(*(peer.id for peer in peers))
    assert (await group.publish("not to ann", except_=ann.id)).matched == 2
    assert (await group.publish("to bob", except_=[peers[0].id, peers[2].id])).matched == 1
    assert [await bob.receive(), await bob.receive()] == ["not to ann", "to bob"]
    await nothing_more(ann)


async def test_publish_keeps_the_order(peers: list[Peer], group: Group) -> None:
    """Of what one task publishes one after the other."""
    await group.add(*(peer.id for peer in peers))
    for number in range(50):
        await group.publish(str(number))
    for peer in peers:
        assert [await peer.receive() for _ in range(50)] == [str(i) for i in range(50)]


async def test_publish_knows_who_received(peers: list[Peer], group: Group) -> None:
    """Paused members fail; those who are not read leave it pending when the time is over."""
    ann, bob, eve = peers
    await group.add(*(peer.id for peer in peers))
    result = await group.publish("all", confirmation=Confirmation.RECEIVED)
    assert result == counted(matched=3, succeeded=3)
    await ann.connection.pause()
    eve.stop_reading()
    await known_in_time(group, counted(matched=3, succeeded=1, failed=1, pending=1))
    eve.read_again()
    await ann.connection.resume()
    assert [await bob.receive(), await bob.receive()] == ["all", "some"]


async def known_in_time(group: Group, expected: PublishResult) -> None:
    """The answer has 100 ms to travel in, which a machine that stands still does not give it."""
    async with asyncio.timeout(DEADLINE):
        while True:
            with suppress(holdfast.DeadlineExceeded):
                result = await group.publish("some", confirmation=Confirmation.RECEIVED, timeout=1)
                if result == expected:
                    return


async def test_publish_counts_full_and_gone(broker: Broker, events: Any, group: Group) -> None:
    """A slow member holds nobody back, and one that is closing gets nothing."""
    async with AsyncExitStack() as stack:
        opening = [open_peer(broker.listen, events, "/small") for _ in range(3)]
        slow, closing, quick = [await stack.enter_async_context(peer) for peer in opening]
        await group.add(slow.id, closing.id, quick.id)
        slow.stop_reading()
        closing.stop_reading()
        await fill(slow.connection)
        await closing.connection.close(confirmation=Confirmation.WRITTEN)
        result = await group.publish("x" * 60_000)
        assert result == counted(matched=3, succeeded=1, full=1, gone=1)
        assert await quick.receive() == "x" * 60_000
        slow.read_again()
        closing.read_again()


async def fill(connection: Connection) -> None:
    """Sends until the queue is full."""
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                await connection.send("x" * 16_000)
            except holdfast.QueueFull:
                return


async def test_membership_is_a_fact(client: Client, peers: list[Peer], group: Group) -> None:
    """Of the connection, of listings, and of what is left when it ends."""
    ann, bob, eve = peers
    others = f"other:{uuid4().hex}"
    await ann.connection.join(group.name, others)
    await bob.connection.join(group.name)
    assert (await ann.connection.get()).groups == tuple(sorted((group.name, others)))
    expected = sorted((ann.id, bob.id))
    assert sorted([name async for name in group.members(page_size=1)]) == expected
    assert sorted([peer.id async for peer in group.connections()]) == expected
    assert sorted([peer.id async for peer in client.list(group=group.name)]) == expected
    assert await group.count() == 2
    found = {item.name: item.members async for item in client.groups(prefix=group.name)}
    assert found == {group.name: 2}
    await ann.connection.leave(group.name, others)
    await ann.connection.leave(group.name)
    assert (await ann.connection.get()).groups == ()
    await bob.connection.terminate()
    await bob.closed()
    assert (await group.publish("nobody")).succeeded == 0
    await eve.connection.join(group.name)
    assert [name async for name in group.members()] == [eve.id]


async def test_namespaces_are_apart(
    client: Client, broker: Broker, peers: list[Peer], group: Group
) -> None:
    """The same name means another group, and connections cannot be in it."""
    namesake = client.group(group.name, namespace="other")
    async with client.events(namespace="other") as events:
        async with open_peer(broker.listen, events, "/other") as peer:
            await peer.connection.join(group.name)  # the event's handle knows its namespace
            await group.add(peers[0].id)
            assert (await namesake.publish("there")).matched == 1
            assert await peer.receive() == "there"
            result = await namesake.add(peers[0].id)
            assert [type(error) for error in result.failures] == [holdfast.ConnectionNotFound]
            assert [name async for name in namesake.members()] == [peer.id]
            assert (await client.everyone("other").publish("all")).matched == 1
            assert await peer.receive() == "all"
    await nothing_more(peers[0])


async def test_a_user_everywhere(client: Client, peers: list[Peer], events: Any) -> None:
    """All connections, also those that became the user's later; and out with them."""
    ann, bob, eve = peers
    name = f"ann {uuid4().hex}"
    user = client.user(name)
    assert (await user.publish("nobody")).matched == 0
    for peer in (ann, bob):
        await peer.connection.update(user=name)
    assert (await user.publish("hello")).succeeded == 2
    assert await ann.receive() == await bob.receive() == "hello"
    assert sorted([peer.id async for peer in user.connections()]) == sorted((ann.id, bob.id))
    assert await user.count() == 2
    result = await user.close(4001, "elsewhere", except_=ann.id)
    assert (result.matched, result.complete) == (1, True)
    assert await bob.closed() == (4001, "elsewhere")
    closed = await next_event(events, bob, CloseEvent)
    assert (closed.sent_code, closed.cause) == (4001, Cause.BACKEND_CLOSE)
    for peer in (ann, eve):
        await nothing_more(peer)


async def test_emptying_a_room(peers: list[Peer], group: Group) -> None:
    """What was published before comes first."""
    ann, bob, eve = peers
    await group.add(ann.id, bob.id)
    await group.publish("the end")
    assert (await group.close()).matched == 2
    for peer in (ann, bob):
        assert await peer.receive() == "the end"
        assert await peer.closed() == (1000, "")
    await nothing_more(eve)


async def test_publish_over_nats(peers: list[Peer], group: Group) -> None:
    """Text and bytes, and not to those who are left out; a node has to know of the group first."""
    ann, bob, _ = peers
    await group.add(ann.id, bob.id)
    async with asyncio.timeout(DEADLINE):
        while True:  # in effect when NATS has spread the interest, which nothing promises to tell
            await group.publish_over_nats("?")
            try:
                async with asyncio.timeout(0.2):
                    assert await ann.receive() == await bob.receive() == "?"
                    break
            except TimeoutError:
                continue
    await group.publish_over_nats("grüße")
    await group.publish_over_nats(b"\x00\xff", except_=ann.id)
    while (first := await ann.receive()) == "?":
        pass
    assert first == "grüße"
    while (first := await bob.receive()) == "?":
        pass
    assert (first, await bob.receive()) == ("grüße", b"\x00\xff")
    await nothing_more(ann)


async def test_failures_of_members(peers: list[Peer], group: Group) -> None:
    """Each with its ID, as the errors that single calls raise."""
    ann, bob, _ = peers
    await bob.connection.terminate()
    await bob.closed()
    result = await group.add(UNKNOWN_NODE, ann.id, bob.id, "nonsense")
    assert result.succeeded == 1
    assert [(error.connection_id, type(error)) for error in result.failures] == [
        (UNKNOWN_NODE, holdfast.ConnectionNotFound),
        (bob.id, holdfast.ConnectionNotFound),
        ("nonsense", InvalidArgument),
    ]
    with pytest.raises(holdfast.ConnectionNotFound):
        await bob.connection.join(group.name)
    with pytest.raises(holdfast.ConnectionNotFound):
        await bob.connection.leave(group.name)


async def test_a_thousand_groups_and_no_more(peers: list[Peer], group: Group) -> None:
    """It joins none of the call that would be too much."""
    connection = peers[0].connection
    for first in range(0, 1000, 100):
        await connection.join(*(f"many:{number}" for number in range(first, first + 100)))
    with pytest.raises(holdfast.TooManyGroups) as caught:
        await connection.join(group.name)
    assert caught.value.reason == "TOO_MANY_GROUPS"
    assert [name async for name in group.members()] == []


Call = Callable[[Client], Awaitable[object]]

INVALID: dict[str, tuple[str, Call]] = {
    "group": ("INVALID_GROUP", lambda c: c.group("a b").publish("x")),
    "group-close": ("INVALID_GROUP", lambda c: c.group("a" * 129).close()),
    "group-add": ("INVALID_GROUP", lambda c: c.group("ü").add(UNKNOWN_NODE)),
    "group-remove": ("INVALID_GROUP", lambda c: c.group("ü").remove(UNKNOWN_NODE)),
    "group-members": ("INVALID_GROUP", lambda c: anext(c.group("a.b").members())),
    "namespace": ("INVALID_NAMESPACE", lambda c: c.everyone("NO").publish("x")),
    "namespace-groups": ("INVALID_NAMESPACE", lambda c: anext(c.groups(namespace="NO"))),
    "user": ("INVALID_USER", lambda c: c.user("x" * 257).publish("x")),
    "code": ("INVALID_CLOSE_CODE", lambda c: c.user("ann").close(1005)),
    "reason": ("REASON_TOO_LONG", lambda c: c.user("ann").close(1000, "ü" * 62)),
    "message": ("MESSAGE_TOO_LARGE", lambda c: c.group("a").publish("x" * (1024 * 1024 + 1))),
    "expire": ("INVALID_DURATION", lambda c: c.group("a").publish("x", expire_after=0)),
    "except": ("INVALID_CONNECTION_ID", lambda c: c.group("a").publish("x", except_="nonsense")),
    "excepts": (
        "INVALID_BATCH",
        lambda c: c.group("a").publish("x", except_=[UNKNOWN_NODE] * 1001),
    ),
    "nobody": ("INVALID_BATCH", lambda c: c.group("a").add()),
    "no-group": ("INVALID_BATCH", lambda c: c.connection(UNKNOWN_NODE).join()),
    "groups": (
        "INVALID_BATCH",
        lambda c: c.connection(UNKNOWN_NODE).join(*(f"g{i}" for i in range(101))),
    ),
}


@pytest.mark.parametrize(("reason", "call"), INVALID.values(), ids=INVALID)
async def test_arguments_out_of_range(client: Client, reason: str, call: Call) -> None:
    """Each is an InvalidArgument that names the field."""
    with pytest.raises(InvalidArgument) as caught:
        await call(client)
    assert caught.value.reason == reason
    assert caught.value.metadata["field"]
