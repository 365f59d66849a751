"""Every way to send to connections of a real broker."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import (
    Client,
    CloseEvent,
    Confirmation,
    ConnectionNotFound,
    SendFailures,
)
from peer import DEADLINE, next_event, open_peer
from processes import Broker


async def test_send_queued(broker: Broker, events: Any) -> None:
    """The default: in the queue."""
    async with open_peer(broker.listen, events) as peer:
        result = await peer.connection.send("hi")
        assert result.rtt is None
        assert await peer.receive() == "hi"


async def test_send_written(broker: Broker, events: Any) -> None:
    """The kernel has it."""
    async with open_peer(broker.listen, events) as peer:
        result = await peer.connection.send("hi", confirmation=Confirmation.WRITTEN)
        assert result.buffered_amount == 0
        assert await peer.receive() == "hi"


async def test_send_received(broker: Broker, events: Any) -> None:
    """The client's WebSocket has it, and how long that took."""
    async with open_peer(broker.listen, events) as peer:
        result = await peer.connection.send("hi", confirmation=Confirmation.RECEIVED)
        assert result.rtt is not None
        assert 0 < result.rtt < DEADLINE
        assert await peer.receive() == "hi"


async def test_a_request_id_sends_once(broker: Broker, events: Any) -> None:
    """A repeat answers as the first did and sends nothing."""
    async with open_peer(broker.listen, events) as peer:
        for _ in range(3):
            await peer.connection.send("once", request_id="r1")
        await peer.connection.send("end")
        assert [await peer.receive() for _ in range(2)] == ["once", "end"]


async def test_sends_of_one_task_keep_their_order(broker: Broker, events: Any) -> None:
    """One after the other, and in fragments, and in bulk."""
    async with open_peer(broker.listen, events) as peer:
        for i in range(50):
            await peer.connection.send(str(i))
        assert [await peer.receive() for _ in range(50)] == [str(i) for i in range(50)]


@pytest.mark.parametrize("parts", [["a", "ä", "", "🐘"], [b"\xff", b"", b"\x00"]])
async def test_fragments_arrive_as_one_message(broker: Broker, events: Any, parts: Any) -> None:
    """Of text or of bytes; each is on its way as soon as it is written."""
    async with open_peer(broker.listen, events) as peer:
        async with peer.connection.message(confirmation=Confirmation.RECEIVED) as message:
            for part in parts:
                await message.write(part)
            await peer.connection.send("behind it")
        assert await peer.receive() == parts[0][:0].join(parts)
        assert await peer.receive() == "behind it"
        assert message.result is not None
        assert message.result.rtt is not None


async def test_send_many(broker: Broker, client: Client, events: Any) -> None:
    """To those that are there, and word of those that are not."""
    async with (
        open_peer(broker.listen, events) as first,
        open_peer(broker.listen, events) as second,
        open_peer(broker.listen, events) as gone,
    ):
        await gone.connection.terminate()
        await next_event(events, gone, CloseEvent)
        result = await client.send_many([first.id, gone.id, second.id], "all")
        assert await first.receive() == await second.receive() == "all"
    assert result.succeeded == 2
    assert [type(error) for error in result.failures] == [ConnectionNotFound]
    assert result.failures[0].connection_id == gone.id


async def test_a_sender_in_bulk(broker: Broker, client: Client, events: Any) -> None:
    """In order for each connection; failures are named, all of them and only them."""
    async with (
        open_peer(broker.listen, events) as peer,
        open_peer(broker.listen, events) as gone,
    ):
        await gone.connection.terminate()
        await next_event(events, gone, CloseEvent)
        with pytest.raises(SendFailures) as caught:
            async with client.sender() as sender:
                for i in range(500):
                    await sender.send(peer.id, str(i))
                    if i % 100 == 0:
                        await sender.send(gone.id, str(i))
                confirmed = await sender.send(peer.id, "last", confirmation=Confirmation.RECEIVED)
                await confirmed
        assert [await peer.receive() for _ in range(501)] == [*map(str, range(500)), "last"]
    assert {error.connection_id for error in caught.value.failures} == {gone.id}
    assert len(caught.value.failures) == 5
