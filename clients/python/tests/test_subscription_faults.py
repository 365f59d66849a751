"""What goes wrong with a subscription, and how it shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import nats
import pytest

import holdfast
from control import FakeControl
from holdfast import Client, SlowConsumer
from processes import NatsServer, start_nats_server
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


async def test_a_subscription_that_could_not_begin_may_be_tried_again(
    control: FakeControl, nats_server: NatsServer, publisher: Publisher
) -> None:
    """It is as if it was new, and others hear what comes, also when NATS answers after all."""
    async with (
        Client.connect(control.address, nats=nats_server.url) as client,
        client.events() as others,
    ):
        events = client.events()
        nats_server.freeze()
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await events.__aenter__()
        finally:
            nats_server.thaw()
        async with events:
            await publisher.message("c1", 2)
            assert (await anext(events)).seq == 2
            assert (await anext(others)).seq == 2


async def test_a_subject_that_nats_refuses(control: FakeControl, tmp_path: Path) -> None:
    """Whoever would wait in vain is told, and the credentials are in no error."""
    users = [
        "{user: reader, password: secret, permissions: {subscribe: '_INBOX.>'}}",
        "{user: anybody, password: other}",
    ]
    config = tmp_path / "nats.conf"
    config.write_text(f"authorization {{users = [{', '.join(users)}]}}")
    with start_nats_server(tmp_path, "-c", str(config)) as server:
        url = server.url.replace("//", "//reader:secret@")
        async with Client.connect(control.address, nats=url) as client:
            with pytest.raises(holdfast.PermissionDenied, match="default") as refused:
                async with client.events(queue="workers"):
                    pass
            assert refused.value.code == holdfast.Code.PERMISSION_DENIED
            with pytest.raises(holdfast.PermissionDenied, match="handshake"):
                await client.admit(nobody).wait()
        url = server.url.replace("//", "//reader:wrong@")
        with pytest.raises(holdfast.PermissionDenied) as refused:
            await Client.connect(control.address, nats=url, connect_timeout=2)
        assert refused.value.code == holdfast.Code.UNAUTHENTICATED
        assert "wrong" not in str(refused.value)


async def test_credentials_that_are_refused_for_a_while(
    control: FakeControl, tmp_path: Path
) -> None:
    """The subscription ends, and the next one connects anew."""
    config = tmp_path / "nats.conf"

    def let_in(password: str) -> None:
        config.write_text(f"authorization {{users = [{{user: ann, password: {password}}}]}}")

    let_in("first")
    with start_nats_server(tmp_path, "-c", str(config)) as server:
        url = server.url.replace("//", "//ann:first@")
        async with Client.connect(control.address, nats=url) as client:
            async with client.events() as events:
                let_in("second")
                server.reload()
                with pytest.raises(holdfast.Unavailable):
                    await anext(events)
            let_in("first")
            server.reload()
            async with client.events() as events, asyncio.timeout(20):
                publisher = Publisher(await nats.connect(url))
                await publisher.message("c1", 2)
                assert (await anext(events)).seq == 2
                await publisher.nats.close()


async def nobody(_: holdfast.HandshakeRequest) -> holdfast.Refuse:
    """A handler that nobody asks."""
    return holdfast.Refuse()


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
