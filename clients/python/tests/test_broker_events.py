"""What clients do, as a backend of a real broker sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import holdfast
from holdfast import (
    Cause,
    Client,
    CloseEvent,
    Connection,
    Fault,
    MessageEvent,
    PingEvent,
    PongEvent,
    State,
    Subscription,
    Watch,
    WritableEvent,
)
from peer import DEADLINE, next_event, no_event, open_peer
from processes import Broker

PAYLOADS = [
    "",
    "hello",
    "grüße 🐘 \x00",
    b"",
    b"\x00\xff\xfe",
    "x" * (64 * 1024 + 1),
    b"y" * (64 * 1024 + 1),
    "z" * 1024 * 1024,
    b"\xff" * 1024 * 1024,
]


def name(payload: str | bytes) -> str:
    """A short name of a payload for the test's report."""
    return f"{type(payload).__name__}-{len(payload)}"


@pytest.fixture(params=["nats", "watch"])
async def events(client: Client, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """All events, by both ways."""
    stream: Subscription[Any] | Watch[Any] = (
        client.events() if request.param == "nats" else client.watch(namespace="default")
    )
    async with stream:
        yield stream


async def test_a_life_in_order(broker: Broker, events: Any) -> None:
    """Open, messages and close, numbered without gaps."""
    async with open_peer(broker.listen, events) as peer:
        for text in ("one", "two", "three"):
            await peer.socket.send(text)
        messages = [await next_event(events, peer, MessageEvent) for _ in range(3)]
        await peer.socket.close(3001, "bye")
        closed = await next_event(events, peer, CloseEvent)
    assert peer.opened.seq == 1
    assert [(event.seq, event.data) for event in messages] == [
        (2, "one"),
        (3, "two"),
        (4, "three"),
    ]
    assert (closed.seq, closed.code, closed.reason) == (5, 3001, "bye")
    assert (closed.was_clean, closed.cause, closed.fault) == (
        True,
        Cause.PEER_CLOSE,
        Fault.UNSPECIFIED,
    )
    assert closed.sent_code == 3001
    assert (closed.traffic.messages_in, closed.traffic.bytes_in) == (3, 11)
    assert closed.open_time <= closed.close_time


async def test_the_open_event_knows_the_handshake(broker: Broker, events: Any) -> None:
    """Path, headers, subprotocol and address."""
    async with open_peer(
        broker.listen,
        events,
        "/ws/lobby",
        subprotocols=["chat.v1", "chat.v2"],
        user_agent_header="test/1",
    ) as peer:
        snapshot = peer.opened.snapshot
        assert peer.socket.subprotocol == "chat.v2"
    assert snapshot.id == peer.id
    assert (snapshot.namespace, snapshot.endpoint) == ("default", "/ws/{room}")
    assert snapshot.state is State.OPEN
    assert snapshot.handshake.url.startswith("/ws/lobby?mark=")
    assert snapshot.handshake.headers == {"User-Agent": "test/1"}
    assert snapshot.handshake.subprotocol == "chat.v2"
    assert snapshot.handshake.remote_address.startswith("127.0.0.1:")
    assert snapshot.handshake.tls is None


@pytest.mark.parametrize("payload", PAYLOADS, ids=name)
async def test_messages_travel_untouched(broker: Broker, events: Any, payload: str | bytes) -> None:
    """There and back, in their kind."""
    async with open_peer(broker.listen, events) as peer:
        await peer.socket.send(payload)
        event = await next_event(events, peer, MessageEvent)
        assert event.data == payload
        await event.reply(payload)
        assert await peer.receive() == payload
        await peer.connection.send(payload)
        assert await peer.receive() == payload


@pytest.mark.parametrize("confirm", [False, True])
async def test_a_reply_chooses_its_kind(broker: Broker, events: Any, confirm: bool) -> None:
    """A text message can be answered with bytes."""
    async with open_peer(broker.listen, events) as peer:
        await peer.socket.send("hi")
        event = await next_event(events, peer, MessageEvent)
        await event.reply(b"\xff", confirm=confirm)
        assert await peer.receive() == b"\xff"


async def test_a_confirmed_reply_to_nobody(broker: Broker, events: Any) -> None:
    """The broker says that the connection is gone."""
    async with open_peer(broker.listen, events) as peer:
        await peer.socket.send("hi")
        event = await next_event(events, peer, MessageEvent)
        await peer.socket.close()
        await next_event(events, peer, CloseEvent)
        with pytest.raises(holdfast.ConnectionNotFound):
            await event.reply("too late", confirm=True)


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1011, 3000, 4999])
async def test_clients_may_close_with_any_valid_code(
    broker: Broker, events: Any, code: int
) -> None:
    """Code and reason arrive."""
    async with open_peer(broker.listen, events) as peer:
        await peer.socket.close(code, "grüße")
        closed = await next_event(events, peer, CloseEvent)
    assert (closed.code, closed.reason, closed.was_clean) == (code, "grüße", True)


async def test_a_client_that_vanishes(broker: Broker, events: Any) -> None:
    """The connection ends with 1006."""
    async with open_peer(broker.listen, events) as peer:
        peer.socket.transport.abort()
        closed = await next_event(events, peer, CloseEvent)
    assert (closed.code, closed.was_clean, closed.cause) == (1006, False, Cause.TRANSPORT_ERROR)


async def test_a_client_that_breaks_the_protocol(broker: Broker, events: Any) -> None:
    """The fault has a name, and the client is told its code."""
    async with open_peer(broker.listen, events) as peer:
        peer.socket.transport.write(b"\x81\x01x")  # a frame without a mask
        closed = await next_event(events, peer, CloseEvent)
    assert (closed.cause, closed.fault) == (Cause.PROTOCOL_FAULT, Fault.EXPECTED_MASK)
    assert closed.sent_code == 1002
    assert (await peer.closed())[0] == 1002


async def test_control_frames_are_events_where_asked_for(broker: Broker, events: Any) -> None:
    """Pings and pongs of the client, with the number of the event before them."""
    async with open_peer(broker.listen, events, "/control") as peer:
        await peer.socket.ping(b"are you there")
        ping = await next_event(events, peer, PingEvent)
        await peer.socket.pong(b"I am")
        pong = await next_event(events, peer, PongEvent)
    assert (ping.payload, ping.seq) == (b"are you there", 1)
    assert (pong.payload, pong.seq) == (b"I am", 1)


async def test_messages_carry_what_backends_attached(broker: Broker, events: Any) -> None:
    """The user always, attributes where the endpoint names them."""
    async with open_peer(broker.listen, events, "/ws/lobby") as peer:
        await peer.connection.update(
            user="änn/%41", set_attributes={"room": "café %20", "secret": "no"}
        )
        await peer.socket.send("hi")
        event = await next_event(events, peer, MessageEvent)
    assert event.user == "änn/%41"
    assert event.attributes == {"room": "café %20"}


async def test_writable_follows_a_full_queue(broker: Broker, events: Any) -> None:
    """The event says when it is worth trying again."""
    async with open_peer(broker.listen, events, "/small") as peer:
        peer.stop_reading()
        await fill(peer.connection)
        peer.read_again()
        writable = await next_event(events, peer, WritableEvent)
        assert writable.buffered_amount == 0
        await peer.connection.send("again")


async def fill(connection: Connection) -> None:
    """Sends until the queue is full."""
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(holdfast.QueueFull):
            while True:
                await connection.send(b"x" * 32_768)


async def test_held_connections_speak_when_resumed(broker: Broker, events: Any) -> None:
    """With `start_paused` a client is not read until a backend says so."""
    async with open_peer(broker.listen, events, "/held") as peer:
        assert peer.opened.snapshot.paused
        await peer.socket.send("early")
        await no_event(events, peer, 0.2)
        await peer.connection.resume()
        assert (await next_event(events, peer, MessageEvent)).data == "early"
