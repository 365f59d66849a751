"""Events and replies over a real NATS server, with a broker that the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import nats
import nats.aio.client
import pytest
from control import FakeControl
from nats.aio.msg import Msg
from processes import NatsServer

import holdfast
from holdfast import Client, CloseEvent, MessageEvent, OpenEvent, SlowConsumer

REPLY = "holdfast-in.default.reply.k5w2j4qzta.c1.t"


class Publisher:
    """Publishes events as a broker would."""

    def __init__(self, client: nats.aio.client.Client) -> None:
        """Publishes over a NATS connection of its own."""
        self.nats = client

    async def open(self, connection_id: str) -> None:
        """An open event, seq 1."""
        await self._publish("open", connection_id, 1, b'{"id": "%s"}' % connection_id.encode())

    async def message(self, connection_id: str, seq: int, text: str = "", reply: str = "") -> None:
        """A text message event."""
        await self._publish("message", connection_id, seq, text.encode(), reply)

    async def close(self, connection_id: str, seq: int) -> None:
        """A close event."""
        await self._publish("close", connection_id, seq, b'{"code": 1000}')

    async def _publish(
        self, kind: str, connection_id: str, seq: int, payload: bytes, reply: str = ""
    ) -> None:
        headers = {"Holdfast-Seq": str(seq), "Holdfast-Opcode": "text"}
        subject = f"holdfast.default.{kind}.{connection_id}"
        await self.nats.publish(subject, payload, reply=reply, headers=headers)


@pytest.fixture
async def publisher(nats_server: NatsServer) -> AsyncIterator[Publisher]:
    """A broker that only publishes."""
    client = await nats.connect(nats_server.url, reconnect_time_wait=0.1)  # type: ignore[arg-type]
    yield Publisher(client)
    await client.close()


@pytest.fixture
async def events_client(control: FakeControl, nats_server: NatsServer) -> AsyncIterator[Client]:
    """A client of the fake control port and the NATS server."""
    async with Client.connect(control.address, nats=nats_server.url) as client:
        yield client


@pytest.fixture(autouse=True)
async def in_time() -> AsyncIterator[None]:
    """Events that do not come fail the test."""
    async with asyncio.timeout(20):
        yield


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
    async with events_client.events(kinds=[MessageEvent]) as events:
        await publisher.open("c1")
        await publisher.message("c1", 2, "hello")
        assert (await anext(events)).data == "hello"


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


async def test_some_kinds_keep_their_order(events_client: Client, publisher: Publisher) -> None:
    """Several subjects are several subscriptions in NATS; their events still come in order."""
    count = 2_000
    async with events_client.events(kinds=[OpenEvent, MessageEvent, CloseEvent]) as events:
        for i in range(count):
            await publisher.open(f"c{i}")
            await publisher.message(f"c{i}", 2)
            await publisher.message(f"c{i}", 3)
            await publisher.close(f"c{i}", 4)
        await publisher.nats.flush()
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


async def test_a_slow_consumer_is_told_how_much_is_missing(
    events_client: Client, publisher: Publisher
) -> None:
    """Where it is missing; afterwards the subscription goes on."""
    async with events_client.events(max_pending=10) as events:
        for seq in range(1, 101):
            await publisher.message("c1", seq)
        await publisher.nats.flush()
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


async def test_a_queue_group_shares_the_events(
    control: FakeControl, nats_server: NatsServer, publisher: Publisher
) -> None:
    """Each event goes to one member, and all events to some member."""
    seen: list[int] = []
    done = asyncio.Event()

    async def work(client: Client, ready: asyncio.Barrier) -> int:
        count = 0
        async with client.events(kinds=[MessageEvent], queue="workers") as events:
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
                await publisher.nats.publish(f"acme.hf.{namespace}.message.c1", b"", headers=headers)
            assert (await anext(chat)).namespace == "chat"
            assert (await anext(everything)).namespace == "game"


async def test_a_reply_goes_to_the_reply_subject(
    events_client: Client, publisher: Publisher
) -> None:
    """Its header says what it is."""
    replies: asyncio.Queue[Msg] = asyncio.Queue()
    await publisher.nats.subscribe(REPLY, cb=replies.put)
    await publisher.nats.flush()
    async with events_client.events(kinds=[MessageEvent]) as events:
        await publisher.message("c1", 2, "hi", reply=REPLY)
        event = await anext(events)
        await event.reply("grüße")
        await event.reply(b"\x00\xff")
    text, binary = await replies.get(), await replies.get()
    assert (text.data, text.headers) == ("grüße".encode(), {"Holdfast-Opcode": "text"})
    assert (binary.data, binary.headers) == (b"\x00\xff", {"Holdfast-Opcode": "binary"})


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [
        (b'{"code":"OK","buffered_amount":"5"}', None),
        (
            b'{"code":"NOT_FOUND","reason":"CONNECTION_NOT_FOUND","message":"no"}',
            holdfast.ConnectionNotFound,
        ),
        (b'{"code":"RESOURCE_EXHAUSTED","reason":"SEND_QUEUE_FULL"}', holdfast.QueueFull),
        (b'{"code":"UNAVAILABLE","reason":"OF_TOMORROW"}', holdfast.Unavailable),
        (b"+ACK", holdfast.HoldfastError),
    ],
)
async def test_a_confirmed_reply_raises_the_verdict(
    events_client: Client, publisher: Publisher, verdict: bytes, kind: type[Exception] | None
) -> None:
    """The broker's JSON verdict as the error that a send would have raised."""

    async def answer(message: Msg) -> None:
        await publisher.nats.publish(message.reply, verdict)

    await publisher.nats.subscribe(REPLY, cb=answer)
    await publisher.nats.flush()
    async with events_client.events(kinds=[MessageEvent]) as events:
        await publisher.message("c1", 2, "hi", reply=REPLY)
        event = await anext(events)
        if kind is None:
            await event.reply("hi", confirm=True)
        else:
            with pytest.raises(kind) as caught:
                await event.reply("hi", confirm=True)
            assert type(caught.value) is kind


async def test_a_confirmed_reply_that_nobody_answers(
    events_client: Client, publisher: Publisher
) -> None:
    """Nobody listening is Unavailable, nobody answering is DeadlineExceeded."""
    async with events_client.events(kinds=[MessageEvent]) as events:
        await publisher.message("c1", 2, "hi", reply=REPLY)
        event = await anext(events)
        with pytest.raises(holdfast.Unavailable):
            await event.reply("hi", confirm=True)
        await publisher.nats.subscribe(REPLY, cb=ignore)
        await publisher.nats.flush()
        with pytest.raises(holdfast.DeadlineExceeded):
            await event.reply("hi", confirm=True, timeout=0.05)


async def ignore(message: Msg) -> None:
    """Answers nothing."""


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
        await events_client._bus.connect() if events_client._bus else None
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
        fake_client.watch(kinds=[holdfast.Event])


async def wait_until(condition: object) -> None:
    """Gives the event loop turns until something is true; the test's deadline bounds it."""
    assert callable(condition)
    while not condition():
        await asyncio.sleep(0.005)
