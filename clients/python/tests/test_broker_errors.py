"""Every error that a real broker can be brought to raise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import holdfast
from holdfast import (
    Client,
    CloseEvent,
    Confirmation,
    Connection,
    InvalidArgument,
)
from peer import DEADLINE, Peer, next_event, open_peer
from processes import Broker

UNKNOWN_NODE = "aaaaaaaaaa-aaaaaaaaaaaaaaaa"


@pytest.fixture
async def peer(broker: Broker, events: Any) -> AsyncIterator[Peer]:
    """A connection with small limits."""
    async with open_peer(broker.listen, events, "/small") as peer:
        yield peer


Call = Callable[[Connection], Awaitable[object]]

VERBS: dict[str, Call] = {
    "send": lambda connection: connection.send("x"),
    "close": lambda connection: connection.close(),
    "terminate": lambda connection: connection.terminate(),
    "pause": lambda connection: connection.pause(),
    "resume": lambda connection: connection.resume(),
    "ping": lambda connection: connection.ping(),
    "pong": lambda connection: connection.pong(),
    "get": lambda connection: connection.get(),
    "update": lambda connection: connection.update(),
    "write": lambda connection: connection.message().write("x"),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_connection_that_has_ended(peer: Peer, events: Any, verb: str) -> None:
    """Every verb says CONNECTION_NOT_FOUND, with the ID."""
    await peer.socket.close()
    await next_event(events, peer, CloseEvent)
    with pytest.raises(holdfast.ConnectionNotFound) as caught:
        await VERBS[verb](peer.connection)
    assert caught.value.reason == "CONNECTION_NOT_FOUND"
    assert caught.value.connection_id == peer.id


@pytest.mark.parametrize("verb", VERBS)
async def test_a_node_that_is_no_more(client: Client, verb: str) -> None:
    """Every verb says CONNECTION_GONE."""
    with pytest.raises(holdfast.ConnectionNotFound) as caught:
        await VERBS[verb](client.connection(UNKNOWN_NODE))
    assert caught.value.reason == "CONNECTION_GONE"


@pytest.mark.parametrize("verb", VERBS)
async def test_what_is_no_id(client: Client, verb: str) -> None:
    """Every verb says INVALID_CONNECTION_ID; the handle itself did not mind."""
    with pytest.raises(InvalidArgument) as caught:
        await VERBS[verb](client.connection("nonsense"))
    assert caught.value.reason == "INVALID_CONNECTION_ID"
    assert caught.value.metadata["field"] == "connection_id"


PAST = datetime.now(UTC) - timedelta(hours=1)

INVALID: dict[str, tuple[str, Call]] = {
    "code-1005": ("INVALID_CLOSE_CODE", lambda c: c.close(1005)),
    "code-0": ("INVALID_CLOSE_CODE", lambda c: c.close(0)),
    "code-5000": ("INVALID_CLOSE_CODE", lambda c: c.close(5000)),
    "reason": ("REASON_TOO_LONG", lambda c: c.close(1000, "ü" * 62)),
    "ping": ("CONTROL_PAYLOAD_TOO_LONG", lambda c: c.ping(b"x" * 126)),
    "pong": ("CONTROL_PAYLOAD_TOO_LONG", lambda c: c.pong(b"x" * 126)),
    "pong-received": (
        "INVALID_CONFIRMATION",
        lambda c: c.pong(confirmation=Confirmation.RECEIVED),
    ),
    "message": ("MESSAGE_TOO_LARGE", lambda c: c.send("x" * (1024 * 1024 + 1))),
    "expire-0": ("INVALID_DURATION", lambda c: c.send("x", expire_after=0)),
    "expire-negative": ("INVALID_DURATION", lambda c: c.send("x", expire_after=-1)),
    "expire-week": ("INVALID_DURATION", lambda c: c.send("x", expire_after=7 * 86400)),
    "pause": ("INVALID_DURATION", lambda c: c.pause(resume_after=11)),
    "request-id": ("INVALID_REQUEST_ID", lambda c: c.send("x", request_id="r" * 65)),
    "attributes": ("INVALID_ATTRIBUTES", lambda c: c.update(set_attributes={"a": "x" * 8192})),
    "attribute-name": ("INVALID_ATTRIBUTES", lambda c: c.update(set_attributes={"": "x"})),
    "attribute-both": (
        "INVALID_ATTRIBUTES",
        lambda c: c.update(set_attributes={"a": "1"}, remove_attributes=["a"]),
    ),
    "user": ("INVALID_USER", lambda c: c.update(user="x" * 257)),
    "user-control": ("INVALID_USER", lambda c: c.update(user="a\nb")),
    "expiry-past": ("INVALID_EXPIRE_TIME", lambda c: c.update(expire_time=PAST)),
    "surrogate": ("INVALID_MESSAGE", lambda c: c.send("\ud800")),
}


@pytest.mark.parametrize(("reason", "call"), INVALID.values(), ids=INVALID)
async def test_arguments_out_of_range(peer: Peer, reason: str, call: Call) -> None:
    """Each is an InvalidArgument that names the field; the connection is as before."""
    with pytest.raises(InvalidArgument) as caught:
        await call(peer.connection)
    assert caught.value.reason == reason
    assert caught.value.metadata["field"]
    await peer.connection.send("still there")
    assert await peer.receive() == "still there"


async def test_filters_out_of_range(client: Client) -> None:
    """Of listings, counts, watches and bulk sends."""
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "INVALID_NAMESPACE": lambda: client.count(namespace="NO"),
        "INVALID_USER": lambda: client.count(user="x" * 257),
        "INVALID_GROUP": lambda: client.count(group="a b"),
        "INVALID_FILTER": lambda: client.count(node="x"),
        "INVALID_BATCH": lambda: client.send_many([], "x"),
    }
    for reason, call in calls.items():
        with pytest.raises(InvalidArgument) as caught:
            await call()
        assert caught.value.reason == reason
    with pytest.raises(InvalidArgument):
        async with client.watch(namespace="NO"):
            pass
    with pytest.raises(InvalidArgument):
        async for _ in client.list(namespace="NO"):
            pass


async def test_fragments_of_two_kinds(peer: Peer) -> None:
    """A text message cannot go on with bytes."""
    with pytest.raises(InvalidArgument) as caught:
        async with peer.connection.message() as message:
            await message.write("text")
            await message.write(b"bytes")
    assert caught.value.reason == "INVALID_FRAGMENT"


async def test_a_full_queue(peer: Peer) -> None:
    """The message was not taken; everything before it arrives."""
    peer.stop_reading()
    sent = await fill(peer.connection)
    with pytest.raises(holdfast.QueueFull) as caught:
        await peer.connection.send("x" * 60_000)
    assert caught.value.connection_id == peer.id
    peer.read_again()
    for number in range(sent):
        assert (await peer.receive())[:8] == f"{number:08}"


async def fill(connection: Connection) -> int:
    """Sends until the queue is full; returns how many were taken."""
    sent = 0
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                await connection.send(f"{sent:08}" + "x" * 16_000)
            except holdfast.QueueFull:
                return sent
            sent += 1


async def test_an_expired_message(peer: Peer) -> None:
    """It waited too long behind a client that does not read."""
    peer.stop_reading()
    sent = await fill(peer.connection)
    with pytest.raises(holdfast.MessageExpired):
        await peer.connection.send(
            "late", confirmation=Confirmation.WRITTEN, expire_after=0.1, timeout=DEADLINE
        )
    peer.read_again()
    for _ in range(sent):
        assert await peer.receive() != "late"


async def test_a_client_that_does_not_answer(peer: Peer) -> None:
    """NotConfirmed by the endpoint's heartbeat timeout, or by the deadline of the call."""
    peer.stop_reading()
    with pytest.raises(holdfast.NotConfirmed):
        await peer.connection.send("x", confirmation=Confirmation.RECEIVED)
    with pytest.raises(holdfast.DeadlineExceeded):
        await peer.connection.ping(timeout=0.1)


async def test_a_paused_connection(peer: Peer) -> None:
    """Nothing can be confirmed as received, and nothing was sent."""
    await peer.connection.pause()
    with pytest.raises(holdfast.ConnectionPaused):
        await peer.connection.ping()
    with pytest.raises(holdfast.ConnectionPaused):
        await peer.connection.send("no", confirmation=Confirmation.RECEIVED)
    await peer.connection.resume()
    await peer.connection.send("yes", confirmation=Confirmation.RECEIVED)
    assert await peer.receive() == "yes"


async def test_a_closing_connection(peer: Peer) -> None:
    """Nothing more can be sent."""
    peer.stop_reading()
    await peer.connection.close(confirmation=Confirmation.WRITTEN)
    for verb in ("send", "ping", "pong", "pause", "resume", "update"):
        with pytest.raises(holdfast.ConnectionClosing):
            await VERBS[verb](peer.connection)


async def test_a_failure_skips_what_follows_it(client: Client) -> None:
    """A batch keeps the order for a retry: later sends to the same connection are not tried."""
    async with client.sender() as sender:
        first = await sender.send(UNKNOWN_NODE, "1")
        second = await sender.send(UNKNOWN_NODE, "2")
        with pytest.raises(holdfast.ConnectionNotFound):
            await first
        with pytest.raises((holdfast.SkippedAfterFailure, holdfast.ConnectionNotFound)):
            await second
