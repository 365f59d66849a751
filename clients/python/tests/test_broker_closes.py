"""One close for each open, as a backend hears of it when a real broker is killed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.msg import Msg

from holdfast import (
    Cause,
    Client,
    CloseEvent,
    MessageEvent,
    OpenEvent,
    Subscription,
    Traffic,
    Unavailable,
    Watch,
)
from peer import DEADLINE, Peer, next_event, open_peer
from processes import Broker, start_broker, start_nats_server
from publisher import Publisher

LEASE = "--lease-duration=1s"
CLOSES = "holdfast.default.close.*"
UNKNOWN = Traffic(messages_in=0, bytes_in=0, messages_out=0, bytes_out=0)


@pytest.fixture
def nodes(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[list[Broker]]:
    """Two brokers at one NATS server, which tell soon that one of them is dead."""
    lease: str = getattr(request, "param", LEASE)
    with ExitStack() as stack:
        store = ("-js", "-sd", str(tmp_path / "jetstream"))
        url = stack.enter_context(start_nats_server(tmp_path, *store)).url
        brokers = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            brokers.append(
                stack.enter_context(start_broker(tmp_path / name, None, lease, nats=url))
            )
        yield brokers


async def test_connections_of_a_killed_node(nodes: list[Broker]) -> None:
    """Each has one close, which says what is known; those of the other node go on."""
    dying, survivor = nodes
    async with Client.connect(survivor.control, nats=survivor.nats) as client:
        async with client.events() as events, crowd(dying, events, 20) as peers:
            async with open_peer(survivor.listen, events) as other:
                await peers[0].connection.update(user="ann", set_attributes={"room": "7"})
                await peers[0].socket.send("hello")
                assert (await next_event(events, peers[0], MessageEvent)).user == "ann"
                await kill(dying)
                closes = {event.connection_id: event for event in await take(events, len(peers))}
                assert closes == {peer.id: lost(peer, closes[peer.id]) for peer in peers}
                assert all(event.close_time > event.open_time for event in closes.values())
                await other.socket.send("still here")
                assert (await next_event(events, other, MessageEvent)).data == "still here"


async def test_closes_that_come_again(nodes: list[Broker]) -> None:
    """Byte for byte: they are left out, and so is whatever follows a close."""
    dying, survivor = nodes
    async with (
        Client.connect(survivor.control, nats=survivor.nats) as client,
        by_hand(survivor.nats) as publisher,
    ):
        raw = await publisher.nats.subscribe(CLOSES)
        await publisher.flush()
        async with client.events() as events, crowd(dying, events, 3) as peers:
            await kill(dying)
            await take(events, len(peers))
            messages = [await raw.next_msg(DEADLINE) for _ in peers]
            assert all("Holdfast-Seq" not in (message.headers or {}) for message in messages)
            for message in messages:
                await again(publisher, message)
            for peer in peers:
                await publisher.open(peer.id)
                await publisher.message(peer.id, 2)
            assert await until_mark(events, publisher) == []
            assert events.stats.repeats >= 3 * len(peers)
            # To a subscription that knows nothing of them they are closes without an open.
            async with client.events() as late:
                for message in messages * 2:
                    await again(publisher, message)
                orphans = await until_mark(late, publisher)
            assert all(isinstance(orphan, CloseEvent) for orphan in orphans)
            assert sorted(orphan.connection_id for orphan in orphans) == sorted(
                peer.id for peer in peers
            )


@pytest.mark.parametrize("nodes", ["--lease-duration=4s"], indirect=True)  # it is noticed after 2 s
async def test_a_watch_ends_when_a_node_is_killed(nodes: list[Broker]) -> None:
    """It does not get the closes; a new one does not lack a node, and a list knows who is there."""
    dying, survivor = nodes
    async with Client.connect(survivor.control) as client, client.watch() as watch:
        async with crowd(dying, watch, 3) as peers, open_peer(survivor.listen, watch) as other:
            await kill(dying)
            with pytest.raises(Unavailable) as caught:
                async with asyncio.timeout(DEADLINE):
                    await anext(watch)
            assert caught.value.reason == "NODE_UNREACHABLE"
            assert caught.value.metadata["node"] == peers[0].opened.snapshot.node
            async with asyncio.timeout(DEADLINE):
                while await count_all(client) is None:  # until the dead node is claimed
                    continue
            async with client.watch():
                assert [snapshot.id async for snapshot in client.list()] == [other.id]


async def test_a_lone_broker_that_is_killed_and_comes_back(tmp_path: Path) -> None:
    """It publishes the closes of its former self; a stream has them when nobody listens yet."""
    back = asyncio.Event()

    async def reconnected() -> None:
        back.set()

    async with AsyncExitStack() as stack:
        first = stack.enter_context(start_broker(tmp_path, None, LEASE))
        options = {"reconnected_cb": reconnected}
        client = await stack.enter_async_context(
            Client.connect(first.control, nats=first.nats, nats_options=options)
        )
        events = await stack.enter_async_context(client.events())
        async with by_hand(first.nats) as publisher:
            stream = publisher.nats.jetstream()
            await stream.add_stream(name="CLOSES", subjects=[CLOSES], no_ack=True)
        peers = await stack.enter_async_context(crowd(first, events, 10))
        await peers[0].socket.close(4000)
        assert (await next_event(events, peers[0], CloseEvent)).cause is Cause.PEER_CLOSE
        await kill(first)

        port = f"--nats-listen={first.nats.removeprefix('nats://')}"
        second = stack.enter_context(start_broker(tmp_path, None, LEASE, port))
        async with asyncio.timeout(DEADLINE):
            await back.wait()
        async with client.events():
            pass  # over the same connection to NATS: the server knows of `events` again
        publisher = await stack.enter_async_context(by_hand(second.nats))
        stored = await read_stream(publisher, len(peers))
        ids = sorted(message.subject.rsplit(".", 1)[1] for message in stored)
        assert ids == sorted(peer.id for peer in peers)

        for message in stored:  # as if it came late, or again: nobody knows how soon we were back
            await again(publisher, message)
        seen = await until_mark(events, publisher)
        assert len(seen) == len(peers) - 1
        closes = {event.connection_id: event for event in seen}
        assert closes == {peer.id: lost(peer, closes[peer.id]) for peer in peers[1:]}


def lost(peer: Peer, close: Any) -> CloseEvent:
    """What the close says when the peer's node was killed; its time and detail are anybody's."""
    assert isinstance(close, CloseEvent), close
    opened = peer.opened.snapshot
    return replace(
        close,
        seq=0,
        code=1006,
        reason="",
        was_clean=False,
        cause=Cause.NODE_LOST,
        sent_code=0,
        sent_reason="",
        connection_id=opened.id,
        namespace="default",
        node=opened.node,
        endpoint="/",
        user="",  # that of the open
        attributes={},
        open_time=opened.open_time,
        traffic=UNKNOWN,
    )


@asynccontextmanager
async def crowd(
    broker: Broker, events: Subscription[Any] | Watch[Any], count: int
) -> AsyncIterator[Sequence[Peer]]:
    """So many clients of a broker."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(open_peer(broker.listen, events)) for _ in range(count)
        ]


@asynccontextmanager
async def by_hand(url: str) -> AsyncIterator[Publisher]:
    """Publishes to the NATS server of a broker."""
    client = await nats.connect(url, allow_reconnect=False)
    try:
        yield Publisher(client)
    finally:
        await client.close()


async def again(publisher: Publisher, message: Msg) -> None:
    """Publishes a message as it was."""
    await publisher.nats.publish(message.subject, message.data, headers=message.headers)


async def kill(broker: Broker) -> None:
    """Ends it in the middle of whatever it does."""
    broker.process.send_signal(signal.SIGKILL)
    await asyncio.to_thread(broker.process.wait)


async def take(events: Subscription[Any], count: int) -> list[Any]:
    """The next events."""
    async with asyncio.timeout(DEADLINE):
        return [await anext(events) for _ in range(count)]


async def until_mark(events: Subscription[Any], publisher: Publisher) -> list[Any]:
    """What is yielded before an event that is published now."""
    await publisher.open("mark")
    seen: list[Any] = []
    async with asyncio.timeout(DEADLINE):
        async for event in events:
            if isinstance(event, OpenEvent) and event.connection_id == "mark":
                break
            seen.append(event)
    return seen


async def read_stream(publisher: Publisher, count: int) -> list[Msg]:
    """What the stream of closes holds: so many messages, and not one more."""
    stored = await publisher.nats.jetstream().subscribe(CLOSES, ordered_consumer=True)
    messages = [await stored.next_msg(DEADLINE) for _ in range(count)]
    assert messages[-1].metadata.num_pending == 0
    return messages


async def count_all(client: Client) -> int | None:
    """How many connections there are; None while a node does not answer."""
    try:
        return await client.count()
    except Unavailable:
        return None
