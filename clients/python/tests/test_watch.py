"""Watches, against a fake control port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

import holdfast
from control import FakeControl, failing
from holdfast import Client, MessageEvent, OpenEvent, _links
from holdfast._gen.holdfast.v1 import connection_service_pb2 as pb
from holdfast._gen.holdfast.v1 import event_pb2
from relay import relay_to

ID = "k5w2j4qzta-7m3c5z6q2n4x6p7a"


def event(seq: int, text: str) -> pb.WatchResponse:
    """A message event of a watch."""
    return pb.WatchResponse(
        event=event_pb2.Event(
            kind=event_pb2.Event.MESSAGE,
            connection_id=ID,
            namespace="default",
            seq=seq,
            opcode=event_pb2.TEXT,
            payload=text.encode(),
        )
    )


STARTED = pb.WatchResponse(started=pb.WatchStarted(node="k5w2j4qzta"))


async def test_a_watch_yields_events(control: FakeControl, fake_client: Client) -> None:
    """The filter goes with the request; a repeat and a stranger are left out; it ends in order."""

    async def events(request: Any, context: Any) -> AsyncIterator[pb.WatchResponse]:
        yield STARTED
        yield event(2, "a")
        yield event(2, "a")
        yield pb.WatchResponse(event=event_pb2.Event(connection_id=ID))
        yield event(3, "b")

    control.events = events
    async with fake_client.watch(kinds=[OpenEvent, MessageEvent], user="ann") as watch:
        seen = [event async for event in watch]
    assert [(item.seq, item.data) for item in seen if isinstance(item, MessageEvent)] == [
        (2, "a"),
        (3, "b"),
    ]
    assert list(control.requests[0].kinds) == [event_pb2.Event.OPEN, event_pb2.Event.MESSAGE]
    assert control.requests[0].user == "ann"


async def test_a_watch_that_lagged_is_a_slow_consumer(
    control: FakeControl, fake_client: Client
) -> None:
    """What came before is read first."""

    async def events(request: Any, context: Any) -> AsyncIterator[pb.WatchResponse]:
        yield STARTED
        yield event(2, "a")
        await failing(grpc.StatusCode.RESOURCE_EXHAUSTED, "WATCH_LAGGED")(request, context)

    control.events = events
    async with fake_client.watch(kinds=MessageEvent) as watch:
        assert (await anext(watch)).data == "a"
        for _ in range(2):
            with pytest.raises(holdfast.SlowConsumer) as caught:
                await anext(watch)
            assert caught.value.dropped is None


async def test_a_refused_watch_fails_when_entered(
    control: FakeControl, fake_client: Client
) -> None:
    """Not at the first event."""

    async def events(request: Any, context: Any) -> AsyncIterator[pb.WatchResponse]:
        await failing(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_NAMESPACE")(request, context)
        yield STARTED

    control.events = events
    with pytest.raises(holdfast.InvalidArgument):
        async with fake_client.watch(namespace="NO"):
            pass


async def test_a_watch_that_does_not_start_times_out(control: FakeControl) -> None:
    """Within the client's timeout; the broker hears of it."""

    async def events(request: Any, context: Any) -> AsyncIterator[pb.WatchResponse]:
        await asyncio.Event().wait()
        yield STARTED

    control.events = events
    async with Client.connect(control.address, timeout=2) as client:
        with pytest.raises(holdfast.DeadlineExceeded):
            async with client.watch():
                pass
        async with asyncio.timeout(20):
            await control.cancelled.wait()


async def test_a_cancelled_wait_does_not_end_a_watch(
    control: FakeControl, fake_client: Client
) -> None:
    """A program may wait for the next event with a timeout, and go on; leaving ends the call."""
    go_on = asyncio.Event()

    async def events(request: Any, context: Any) -> AsyncIterator[pb.WatchResponse]:
        yield STARTED
        await go_on.wait()
        yield event(2, "a")
        await asyncio.Event().wait()

    control.events = events
    async with fake_client.watch(kinds=MessageEvent) as watch:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(watch)
        go_on.set()
        assert (await anext(watch)).data == "a"
    with pytest.raises(StopAsyncIteration):
        await anext(watch)
    async with asyncio.timeout(20):
        await control.cancelled.wait()


async def test_a_broker_that_is_gone_without_a_word_ends_a_watch(
    control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch has no deadline: pings find out, by default within 30 s, here sooner."""
    quickly = {"grpc.keepalive_time_ms": 100, "grpc.http2.ping_timeout_ms": 4_000}
    options = {**dict(_links.LONE_KEEPALIVE_OPTIONS), **quickly}
    monkeypatch.setattr(_links, "LONE_KEEPALIVE_OPTIONS", tuple(options.items()))

    async def events(request: Any, context: Any) -> AsyncIterator[pb.WatchResponse]:
        yield STARTED
        await asyncio.Event().wait()

    control.events = events
    async with (
        relay_to(control.address) as relay,
        Client.connect(relay.address, timeout=30) as client,
        client.watch() as watch,
    ):
        relay.freeze()
        with pytest.raises(holdfast.Unavailable):
            await anext(watch)


async def test_a_cancelled_beginning_ends_the_call(
    control: FakeControl, fake_client: Client
) -> None:
    """No block was entered that could end it; the next event begins anew."""
    asked = asyncio.Event()
    may_start = False

    async def events(request: Any, context: Any) -> AsyncIterator[pb.WatchResponse]:
        asked.set()
        if not may_start:
            await asyncio.Event().wait()
        yield STARTED
        yield event(2, "a")

    control.events = events
    watch = fake_client.watch(kinds=MessageEvent)
    entering = asyncio.create_task(watch.__aenter__())
    async with asyncio.timeout(5):
        await asked.wait()
        entering.cancel()
        await control.cancelled.wait()
        may_start = True
        assert [event.data async for event in watch] == ["a"]


async def test_closing_the_client_ends_its_watches(control: FakeControl) -> None:
    """An iteration without `async with` ends, too."""

    async def events(request: Any, context: Any) -> AsyncIterator[pb.WatchResponse]:
        yield STARTED
        yield event(2, "a")
        await asyncio.Event().wait()

    control.events = events
    client = await Client.connect(control.address)
    seen = []
    async with asyncio.timeout(20):
        async for item in client.watch():
            seen.append(item)
            await client.close()
    assert len(seen) == 1
