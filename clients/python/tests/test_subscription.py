"""Events over a real NATS server, from a broker that the test plays."""

from __future__ import annotations

import asyncio
import math

from control import FakeControl
from holdfast import Client, CloseEvent, MessageEvent, OpenEvent
from processes import NatsServer
from publisher import Publisher


async def test_events_come_as_they_are_published(
    events_client: Client, publisher: Publisher
) -> None:
    """Typed, in order, and from the moment the subscription was entered."""
    async with events_client.events() as events:
        await publisher.open("c1")
        await publisher.message("c1", 2, "hello")
        await publisher.close("c1", 3)
        seen = [await anext(events) for _ in range(3)]
    assert [type(event) for event in seen] == [OpenEvent, MessageEvent, CloseEvent]
    assert [event.seq for event in seen] == [1, 2, 3]
    assert seen[0].connection.id == "c1"


async def test_one_kind_is_typed(events_client: Client, publisher: Publisher) -> None:
    """A subscription for messages yields message events only; no `match` is needed."""
    async with events_client.events(kinds=MessageEvent) as events:
        await publisher.open("c1")
        await publisher.message("c1", 2, "hello")
        assert (await anext(events)).data == "hello"


async def test_without_a_limit_of_time(control: FakeControl, nats_server: NatsServer) -> None:
    """A client whose calls have none has events, too."""
    async with (
        Client.connect(control.address, nats=nats_server.url, timeout=math.inf) as client,
        client.events() as events,
    ):
        assert events.stats.interruptions == 0


async def test_iterating_enters_by_itself(events_client: Client, publisher: Publisher) -> None:
    """`async for event in client.events()` is enough."""
    stream = events_client.events()
    first = asyncio.ensure_future(anext(stream))
    while not first.done():
        await publisher.message("c1", 2)
        await asyncio.wait([first], timeout=0.01)
    assert first.result().seq == 2
    await stream.aclose()
    assert [event async for event in stream if event.seq != 2] == []


async def test_a_worker_that_leaves_loses_nothing(
    events_client: Client, publisher: Publisher
) -> None:
    """What NATS gave it before it left its queue group is still yielded: nobody else gets that."""
    count = 5_000
    first, second = events_client.events(queue="workers"), events_client.events(queue="workers")
    async with second:
        async with first:
            for i in range(count):
                await publisher.message(f"c{i}", 2)
        await publisher.flush()
    seen = [event.connection_id for stream in (first, second) async for event in stream]
    assert sorted(seen) == sorted(f"c{i}" for i in range(count))


async def test_some_kinds_keep_their_order(events_client: Client, publisher: Publisher) -> None:
    """Several subjects are several subscriptions in NATS; their events still come in order."""
    count = 2_000
    async with events_client.events(kinds=[OpenEvent, MessageEvent, CloseEvent]) as events:
        for i in range(count):
            await publisher.open(f"c{i}")
            await publisher.message(f"c{i}", 2)
            await publisher.message(f"c{i}", 3)
            await publisher.close(f"c{i}", 4)
        await publisher.flush()
        seen: dict[str, list[int]] = {}
        for _ in range(4 * count):
            event = await anext(events)
            seen.setdefault(event.connection_id, []).append(event.seq)
    assert all(numbers == [1, 2, 3, 4] for numbers in seen.values())
    assert events.stats.repeats == 0


async def test_repeats_are_left_out(events_client: Client, publisher: Publisher) -> None:
    """What the broker publishes twice is yielded once; so is a close."""
    async with events_client.events() as events:
        for seq in (2, 3, 2, 3, 4):
            await publisher.message("c1", seq)
        await publisher.close("c1", 5)
        await publisher.close("c1", 5)
        await publisher.open("c2")
        seen = [await anext(events) for _ in range(5)]
    assert [(event.connection_id, event.seq) for event in seen] == [
        ("c1", 2),
        ("c1", 3),
        ("c1", 4),
        ("c1", 5),
        ("c2", 1),
    ]
    assert events.stats.repeats == 3
    assert events.stats.delivered == 5


async def test_a_queue_group_shares_the_events(
    control: FakeControl, nats_server: NatsServer, publisher: Publisher
) -> None:
    """Each event goes to one member, and all events to some member."""
    seen: list[int] = []
    done = asyncio.Event()

    async def work(client: Client, ready: asyncio.Barrier) -> int:
        count = 0
        async with client.events(kinds=MessageEvent, queue="workers") as events:
            await ready.wait()
            async for event in events:
                count += 1
                seen.append(event.seq)
                if len(seen) == 200:
                    done.set()
        return count

    ready = asyncio.Barrier(4)
    clients = [await Client.connect(control.address, nats=nats_server.url) for _ in range(3)]
    workers = [asyncio.create_task(work(client, ready)) for client in clients]
    await ready.wait()
    for seq in range(1, 201):
        await publisher.message("c1", seq)
    await done.wait()
    for client in clients:
        await client.close()
    counts = [await worker for worker in workers]
    assert sorted(seen) == list(range(1, 201))
    assert all(count > 0 for count in counts)


async def test_namespaces_and_prefixes(
    control: FakeControl, nats_server: NatsServer, publisher: Publisher
) -> None:
    """A subscription is about one namespace, or about all with "*"."""
    headers = {"Holdfast-Seq": "2", "Holdfast-Opcode": "text"}
    async with Client.connect(
        control.address, nats=nats_server.url, subject_prefix="acme.hf"
    ) as client:
        async with (
            client.events(namespace="chat") as chat,
            client.events(namespace="*") as everything,
        ):
            for namespace in ("game", "chat"):
                await publisher.nats.publish(
                    f"acme.hf.{namespace}.message.c1", b"", headers=headers
                )
            assert (await anext(chat)).namespace == "chat"
            assert (await anext(everything)).namespace == "game"
