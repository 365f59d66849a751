"""Several control addresses: which one a call goes to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

import holdfast
from control import failing
from holdfast import Client, _links
from holdfast._gen.holdfast.v1 import connection_service_pb2 as pb
from holdfast._gen.holdfast.v1 import event_pb2
from pair import ID, Pair, reached
from test_calls import unused_address


@pytest.mark.parametrize("form", [",".join, " , ".join, list, tuple])
async def test_forms_of_addresses(pair: Pair, form: Any) -> None:
    """A string with commas, or a sequence."""
    async with Client.connect(form(pair.addresses)) as client:
        await reached(client, *pair.controls)


@pytest.mark.parametrize("target", ["", " , ", (), [""]])
def test_no_address(target: Any) -> None:
    """Is a mistake of the program."""
    with pytest.raises(ValueError, match="no control address"):
        Client.connect(target)


def test_no_attempt() -> None:
    """Neither can a call be made less than once."""
    with pytest.raises(ValueError, match="max_attempts"):
        Client.connect(max_attempts=0)


async def test_calls_take_addresses_in_turn(pair: Pair) -> None:
    """Each gets its share."""
    async with pair.client() as client:
        for _ in range(10):
            await client.connection(ID).ping()
    assert pair.counts == [5, 5]


async def test_an_address_where_nobody_listens_is_left_out(pair: Pair) -> None:
    """From the first call on, also for what is never repeated."""
    addresses = [unused_address(), *pair.addresses, unused_address()]
    async with Client.connect(addresses, lazy=True, max_attempts=1) as client:
        for _ in range(10):
            await client.connection(ID).ping()
        await reached(client, *pair.controls)


async def test_an_address_that_goes_away_and_comes_back(pair: Pair) -> None:
    """Nothing fails while it is away; then it has its share again."""
    async with pair.client() as client:
        await pair.relays[0].refuse()
        for _ in range(20):
            await client.count()
        assert pair.counts[0] == 0
        await pair.relays[0].listen()
        await reached(client, pair.controls[0])


async def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call was not made, which the error says; it does not use up its time."""
    monkeypatch.setattr(_links, "WHY_TIMEOUT", 20)
    addresses = [unused_address(), unused_address()]
    async with Client.connect(addresses, lazy=True) as client:
        async with asyncio.timeout(20):
            with pytest.raises(holdfast.Unavailable, match="the call was not made"):
                await client.connection(ID).ping(timeout=60)
    with pytest.raises(holdfast.Unavailable, match=r"no broker at .*, .* within .*refused"):
        await Client.connect(addresses, connect_timeout=0.2)


async def test_what_was_not_made_is_made_when_a_broker_appears(pair: Pair) -> None:
    """Also what must not be made twice."""
    for relay in pair.relays:
        await relay.refuse()
    async with Client.connect(pair.addresses, lazy=True, max_attempts=1000) as client:
        task = asyncio.create_task(client.connection(ID).ping(timeout=20))
        with pytest.raises(holdfast.Unavailable):
            await client.connection(ID).ping(timeout=2)
        await pair.relays[1].listen()
        await task
    assert pair.counts == [0, 1]


async def test_an_address_that_only_accepts(pair: Pair) -> None:
    """A call waits for nobody longer than its timeout, and says that it was not made."""
    pair.relays[0].freeze()
    addresses = [pair.addresses[0], unused_address()]
    async with Client.connect(addresses, lazy=True) as client:
        with pytest.raises(holdfast.DeadlineExceeded, match="the call was not made"):
            await client.connection(ID).ping(timeout=0.3)


async def test_cancelling_while_nobody_is_connected(pair: Pair) -> None:
    """The task ends at once."""
    pair.relays[0].freeze()
    addresses = [pair.addresses[0], unused_address()]
    async with Client.connect(addresses, lazy=True) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.connection(ID).get(timeout=60)


async def test_closing_while_nobody_is_connected(pair: Pair) -> None:
    """The call fails at once."""
    pair.relays[0].freeze()
    client = await Client.connect([pair.addresses[0], unused_address()], lazy=True)
    task = asyncio.create_task(client.connection(ID).get(timeout=60))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 0.1)
    async with asyncio.timeout(20):
        await client.close()
        with pytest.raises(holdfast.Unavailable):
            await task


async def test_a_sender_stays_with_one_address(pair: Pair) -> None:
    """The order of its messages depends on it."""
    batches: list[list[str]] = [[], []]
    for control, texts in zip(pair.controls, batches, strict=True):
        control.batches = _noting(texts)
    async with pair.client() as client:
        async with client.sender() as sender:
            for number in range(10):
                await (await sender.send(ID, str(number)))
    assert sorted(batches) == [[], [str(number) for number in range(10)]]


async def test_a_sender_that_breaks_repeats_nothing(pair: Pair) -> None:
    """Batches may have been carried out."""
    batches: list[list[str]] = [[], []]
    for control, relay, texts in zip(pair.controls, pair.relays, batches, strict=True):
        control.batches = _noting(texts, relay.cut)
    async with pair.client() as client:
        with pytest.raises(holdfast.SendFailures):
            async with client.sender() as sender:
                await sender.send(ID, "once")
    assert sorted(batches) == [[], ["once"]]


def _noting(texts: list[str], then: Any = None) -> Any:
    async def answer(requests: Any, context: Any) -> AsyncIterator[pb.SendStreamResponse]:
        async for request in requests:
            texts.extend(send.message.text for send in request.sends)
            if then is not None:
                then()
                await asyncio.Event().wait()
            yield pb.SendStreamResponse(batch_id=request.batch_id)

    return answer


async def test_a_watch_starts_where_it_can(pair: Pair) -> None:
    """Until it has started nothing was yielded, so that another address may be asked."""
    asked: list[str] = []

    async def events(request: Any, context: Any) -> AsyncIterator[pb.WatchResponse]:
        asked.append("")
        if len(asked) == 1:
            await failing(grpc.StatusCode.UNAVAILABLE, "NODE_STOPPING")(request, context)
        if len(asked) == 2:
            await asyncio.Event().wait()
        yield pb.WatchResponse(started=pb.WatchStarted(node="k5w2j4qzta"))
        yield pb.WatchResponse(
            event=event_pb2.Event(kind=event_pb2.Event.PONG, connection_id=ID, payload=b"x")
        )

    for control in pair.controls:
        control.events = events
    async with pair.client(timeout=4) as client:
        async with client.watch() as watch:
            assert (await anext(watch)).connection_id == ID
    assert len(asked) == 3


async def test_a_watch_that_has_started_is_not_repeated(pair: Pair) -> None:
    """What happened in between would be missing without a word."""
    for control in pair.controls:
        control.events = _started_only
    async with pair.client() as client:
        async with client.watch() as watch:
            for relay in pair.relays:
                relay.cut()
            with pytest.raises(holdfast.Unavailable):
                await anext(watch)


async def _started_only(request: Any, context: Any) -> AsyncIterator[pb.WatchResponse]:
    yield pb.WatchResponse(started=pb.WatchStarted(node="k5w2j4qzta"))
    await asyncio.Event().wait()


async def test_a_broker_that_hangs_is_left_out(pair: Pair) -> None:
    """Pings of HTTP/2 find it; by default within 15 s, here sooner."""
    quickly = [("grpc.keepalive_time_ms", 100), ("grpc.http2.ping_timeout_ms", 4_000)]
    async with pair.client(channel_options=quickly, max_attempts=1) as client:
        pair.relays[0].freeze()
        with pytest.raises(holdfast.Unavailable):
            for _ in range(2):
                await client.connection(ID).ping(timeout=20)
        for _ in range(10):
            await client.connection(ID).ping()
    assert pair.counts[0] == 0
