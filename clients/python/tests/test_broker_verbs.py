"""What a backend can do to connections of a real broker."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import (
    Cause,
    Client,
    CloseEvent,
    Confirmation,
    MessageEvent,
    State,
)
from peer import DEADLINE, next_event, no_event, open_peer
from processes import Broker


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1013, 3000, 4999])
async def test_close(broker: Broker, events: Any, code: int) -> None:
    """The client sees code and reason, the backend how it answered; what was queued comes first."""
    async with open_peer(broker.listen, events) as peer:
        await peer.connection.send("first")
        result = await peer.connection.close(code, "grüße")
        assert await peer.receive() == "first"
        assert await peer.closed() == (code, "grüße")
        closed = await next_event(events, peer, CloseEvent)
    assert (result.code, result.was_clean) == (code, True)
    assert (closed.sent_code, closed.sent_reason) == (code, "grüße")
    assert (closed.cause, closed.was_clean) == (Cause.BACKEND_CLOSE, True)


async def test_close_without_waiting(broker: Broker, events: Any) -> None:
    """QUEUED answers at once; the client may take its time."""
    async with open_peer(broker.listen, events) as peer:
        peer.stop_reading()
        result = await peer.connection.close(confirmation=Confirmation.QUEUED)
        assert (result.code, result.was_clean) == (0, False)
        assert (await peer.connection.get()).state is State.CLOSING
        peer.read_again()
        assert await peer.closed() == (1000, "")


async def test_terminate(broker: Broker, events: Any) -> None:
    """No closing handshake."""
    async with open_peer(broker.listen, events) as peer:
        await peer.connection.terminate()
        assert (await peer.closed())[0] == 1006
        closed = await next_event(events, peer, CloseEvent)
    assert (closed.code, closed.cause) == (1006, Cause.BACKEND_TERMINATE)


async def test_pause_stops_events_and_resume_brings_them(broker: Broker, events: Any) -> None:
    """Nothing is lost, nothing comes in between, and messages still go out."""
    async with open_peer(broker.listen, events) as peer:
        await peer.socket.send("before")
        await next_event(events, peer, MessageEvent)
        resume_time = await peer.connection.pause()
        assert resume_time > datetime.now(UTC) + timedelta(minutes=9)
        assert (await peer.connection.get()).paused
        for i in range(10):
            await peer.socket.send(str(i))
        await peer.connection.send("out")
        assert await peer.receive() == "out"
        await no_event(events, peer, 0.3)
        await peer.connection.resume()
        messages = [await next_event(events, peer, MessageEvent) for _ in range(10)]
    assert [event.data for event in messages] == [str(i) for i in range(10)]
    assert [event.seq for event in messages] == list(range(3, 13))


async def test_a_pause_ends_by_itself(broker: Broker, events: Any) -> None:
    """A backend that died leaves nobody paused."""
    async with open_peer(broker.listen, events) as peer:
        await peer.connection.pause(resume_after=0.2)
        await peer.socket.send("hi")
        assert (await next_event(events, peer, MessageEvent)).data == "hi"
        assert not (await peer.connection.get()).paused


async def test_ping(broker: Broker, events: Any) -> None:
    """The round trip in seconds, which the snapshot then knows, too."""
    async with open_peer(broker.listen, events) as peer:
        assert 0 < await peer.connection.ping() < DEADLINE
        assert 0 < await peer.connection.ping(b"x" * 125) < DEADLINE
        assert (await peer.connection.get()).rtt is not None


async def test_pong(broker: Broker, events: Any) -> None:
    """It does no harm, and what follows it arrives."""
    async with open_peer(broker.listen, events) as peer:
        await peer.connection.pong(b"unasked", confirmation=Confirmation.WRITTEN)
        await peer.connection.send("hi")
        assert await peer.receive() == "hi"


async def test_get_and_update(broker: Broker, events: Any) -> None:
    """Attributes, user and expiry; the close event still has them."""
    expire = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    async with open_peer(broker.listen, events) as peer:
        connection = peer.connection
        snapshot = await connection.update(
            set_attributes={"a": "1", "b": "2"}, user="ann", expire_time=expire
        )
        assert (snapshot.user, snapshot.attributes) == ("ann", {"a": "1", "b": "2"})
        assert snapshot.expire_time == expire
        snapshot = await connection.update(
            set_attributes={"b": "3"}, remove_attributes=["a", "zzz"], clear_expire_time=True
        )
        assert snapshot == await connection.get()
        assert (snapshot.user, snapshot.attributes) == ("ann", {"b": "3"})
        assert snapshot.expire_time is None
        assert (await connection.update(user="")).user == ""
        await connection.update(user="bob")
        await peer.socket.close()
        closed = await next_event(events, peer, CloseEvent)
    assert (closed.user, closed.attributes) == ("bob", {"b": "3"})


async def test_expiry(broker: Broker, events: Any) -> None:
    """The broker closes with 4401."""
    async with open_peer(broker.listen, events) as peer:
        await peer.connection.update(expire_time=datetime.now(UTC) + timedelta(seconds=3))
        assert (await peer.closed())[0] == 4401
        assert (await next_event(events, peer, CloseEvent)).cause is Cause.EXPIRED


async def test_a_snapshot_counts(broker: Broker, events: Any) -> None:
    """Messages and bytes, both ways, and the number of the last event."""
    async with open_peer(broker.listen, events) as peer:
        await peer.socket.send("12345")
        await next_event(events, peer, MessageEvent)
        await peer.connection.send("123", confirmation=Confirmation.WRITTEN)
        snapshot = await peer.connection.get()
    assert (snapshot.traffic.messages_in, snapshot.traffic.bytes_in) == (1, 5)
    assert (snapshot.traffic.messages_out, snapshot.traffic.bytes_out) == (1, 3)
    assert snapshot.seq == 2


async def test_list_and_count(broker: Broker, client: Client, events: Any) -> None:
    """By every filter, over several pages."""
    async with AsyncExitStack() as stack:
        peers = [open_peer(broker.listen, events) for _ in range(5)]
        opened = [await stack.enter_async_context(peer) for peer in peers]
        for number, peer in enumerate(opened):
            await peer.connection.update(
                user="lister", set_attributes={"odd": str(number % 2), "n": str(number)}
            )
        ids = sorted(peer.id for peer in opened)
        listing = client.list(user="lister", page_size=2)
        assert sorted([snapshot.id async for snapshot in listing]) == ids
        odd = [s.id async for s in client.list(user="lister", attributes={"odd": "1"})]
        assert sorted(odd) == sorted(peer.id for peer in opened[1::2])
        assert await client.count(user="lister") == 5
        assert await client.count(user="lister", namespace="other") == 0
        assert await client.count(user="lister", attributes={"odd": "0", "n": "2"}) == 1
        node = opened[0].opened.snapshot.node
        assert await client.count(user="lister", node=node) == 5
        assert await client.count(user="nobody") == 0


async def test_cancelling_a_close_leaves_the_closing_under_way(broker: Broker, events: Any) -> None:
    """The caller gives up waiting; the connection ends all the same."""
    async with open_peer(broker.listen, events) as peer:
        peer.stop_reading()
        closing = asyncio.create_task(peer.connection.close(4000, "enough"))
        while (await peer.connection.get()).state is not State.CLOSING:
            pass
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        peer.read_again()
        assert await peer.closed() == (4000, "enough")
