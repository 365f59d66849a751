"""What goes wrong with a subscription, and how it shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import holdfast
from control import FakeControl
from holdfast import Client, SlowConsumer
from processes import NatsServer
from publisher import Publisher


async def test_a_slow_consumer_is_told_how_much_is_missing(
    events_client: Client, publisher: Publisher
) -> None:
    """Where it is missing; afterwards the subscription goes on."""
    async with events_client.events(max_pending=10) as events:
        for seq in range(1, 101):
            await publisher.message("c1", seq)
        await publisher.flush()
        await wait_until(lambda: events.stats.dropped == 90)
        assert [(await anext(events)).seq for _ in range(10)] == list(range(1, 11))
        with pytest.raises(SlowConsumer) as caught:
            await anext(events)
        assert caught.value.dropped == 90
        await publisher.message("c1", 101)
        assert (await anext(events)).seq == 101


async def test_strangers_on_the_subject_are_counted(
    events_client: Client, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no event is logged and left aside."""
    async with events_client.events() as events:
        await publisher.nats.publish("holdfast.default.open.c1", b"not json")
        await publisher.nats.publish("holdfast.default.applause.c1", b"")
        await publisher.message("c1", 2)
        assert (await anext(events)).seq == 2
        assert events.stats.undecodable == 1
    assert "not an event" in caplog.text


async def test_a_lost_nats_server_shows(
    events_client: Client, publisher: Publisher, nats_server: NatsServer
) -> None:
    """The subscription survives, and says that something may be missing."""
    async with events_client.events() as events:
        await publisher.message("c1", 2)
        assert (await anext(events)).seq == 2
        await asyncio.to_thread(nats_server.restart)
        await wait_until(lambda: events.stats.interruptions == 1)
        await wait_until(lambda: publisher.nats.is_connected)
        seq = 3
        arrived = asyncio.ensure_future(anext(events))
        while not arrived.done():
            await publisher.message("c1", seq)
            seq += 1
            await asyncio.wait([arrived], timeout=0.05)
        assert arrived.result().seq >= 3


async def test_closing_the_client_ends_its_subscriptions(
    control: FakeControl, nats_server: NatsServer, publisher: Publisher
) -> None:
    """Iteration ends; nothing hangs."""
    client = await Client.connect(control.address, nats=nats_server.url)
    events = client.events()
    async with events:
        await client.close()
        assert [event async for event in events] == []


async def test_events_need_nats(fake_client: Client) -> None:
    """And kinds that are kinds."""
    with pytest.raises(RuntimeError, match="nats"):
        fake_client.events()
    with pytest.raises(ValueError, match="kinds"):
        fake_client.watch(kinds=[])
    with pytest.raises(ValueError, match="kinds"):
        fake_client.watch(kinds=holdfast.Event)


async def wait_until(condition: Callable[[], bool]) -> None:
    """Gives the event loop turns until something is true; the test's timeout bounds it."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.005)
