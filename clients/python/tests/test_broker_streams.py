"""Several streams of events of a real broker, and their ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import (
    Client,
    CloseEvent,
    MessageEvent,
    Subscription,
)
from peer import DEADLINE, next_event, no_event, open_peer
from processes import Broker, start_broker, stop


async def test_namespaces_are_apart(broker: Broker, client: Client) -> None:
    """Events of another namespace are not heard."""
    async with client.events(namespace="other") as other, client.events() as default:
        async with open_peer(broker.listen, other, "/other") as peer:
            await peer.socket.send("hi")
            assert (await next_event(other, peer, MessageEvent)).namespace == "other"
            await no_event(default, peer, 0.1)


async def test_a_watch_of_one_connection(broker: Broker, client: Client) -> None:
    """Filters apply at the broker."""
    async with client.events() as events, open_peer(broker.listen, events) as peer:
        async with (
            client.watch(kinds=MessageEvent, connection_id=peer.id) as watch,
            open_peer(broker.listen, events) as stranger,
        ):
            await stranger.socket.send("not this")
            await next_event(events, stranger, MessageEvent)
            await peer.socket.send("this")
            async with asyncio.timeout(DEADLINE):
                assert (await anext(watch)).data == "this"


async def test_a_queue_group_shares_the_work(broker: Broker, client: Client) -> None:
    """Every message goes to exactly one of the workers."""
    seen: asyncio.Queue[tuple[int, str | bytes]] = asyncio.Queue()

    async def work(number: int, subscription: Subscription[MessageEvent]) -> None:
        async for event in subscription:
            seen.put_nowait((number, event.data))

    async with (
        client.events() as events,
        client.events(kinds=MessageEvent, queue="q") as first,
        client.events(kinds=MessageEvent, queue="q") as second,
        open_peer(broker.listen, events) as peer,
    ):
        workers = [asyncio.create_task(work(i, s)) for i, s in enumerate((first, second))]
        for i in range(100):
            await peer.socket.send(str(i))
        async with asyncio.timeout(DEADLINE):
            results = [await seen.get() for _ in range(100)]
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)
    assert sorted(int(data) for _, data in results) == list(range(100))
    assert {number for number, _ in results} == {0, 1}


async def test_a_broker_that_stops(tmp_path: Path) -> None:
    """Clients get 1012, watches and calls end with Unavailable."""
    with start_broker(tmp_path) as broker:
        async with Client.connect(broker.control, nats=broker.nats) as client:
            async with client.watch() as watch, client.sender() as sender:
                async with open_peer(broker.listen, watch) as peer:
                    await (await sender.send(peer.id, "x"))
                    await asyncio.to_thread(stop, broker.process)
                    assert (await peer.closed())[0] == 1012
                closed = await next_event(watch, peer, CloseEvent)
                assert closed.cause is holdfast.Cause.NODE_DRAIN
                with pytest.raises(holdfast.Unavailable):
                    await anext(watch)
                with pytest.raises(holdfast.Unavailable):
                    await sender.send(peer.id, "x")
                with pytest.raises(holdfast.Unavailable):
                    await peer.connection.get()
        assert broker.process.returncode == 0


async def test_a_watch_that_is_not_read(broker: Broker, client: Client, events: Any) -> None:
    """The broker keeps 8 MiB for it and then cuts it off; other streams are not held up."""
    async with open_peer(broker.listen, events) as peer:
        async with client.watch(kinds=MessageEvent, connection_id=peer.id) as watch:
            for _ in range(60):
                await peer.socket.send(b"x" * 1024 * 1024)
                await next_event(events, peer, MessageEvent)
            seen = 0
            with pytest.raises(holdfast.SlowConsumer) as caught:
                async with asyncio.timeout(DEADLINE):
                    async for _ in watch:
                        seen += 1
    assert 0 < seen < 60
    assert caught.value.reason == "WATCH_LAGGED"
