"""Listings, watches, bulk sends and fragments, against a fake control port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from control import FakeControl, failing, hanging

import holdfast
from holdfast import Client, MessageEvent, OpenEvent, PartialAnswer
from holdfast._gen.holdfast.v1 import connection_pb2, error_reason_pb2, event_pb2
from holdfast._gen.holdfast.v1 import connection_service_pb2 as pb

ID = "k5w2j4qzta-7m3c5z6q2n4x6p7a"


def pages(*sizes: int, unreachable: str = "") -> Any:
    """An answer to List: so many connections on each page, then nothing."""
    ids = iter(range(sum(sizes)))

    async def answer(request: pb.ListRequest, context: Any) -> pb.ListResponse:
        number = int(request.page_token or 0)
        return pb.ListResponse(
            connections=[
                connection_pb2.Connection(id=f"c{next(ids)}") for _ in range(sizes[number])
            ],
            next_page_token=str(number + 1) if number + 1 < len(sizes) else "",
            unreachable_nodes=[unreachable] if unreachable else [],
        )

    return answer


async def test_a_listing_turns_pages(control: FakeControl, fake_client: Client) -> None:
    """All of them, also when a page is empty; the filter goes with every page."""
    control.answers["List"] = pages(2, 0, 3)
    listing = fake_client.list(namespace="chat", attributes={"a": "1"}, page_size=3)
    assert [snapshot.id async for snapshot in listing] == ["c0", "c1", "c2", "c3", "c4"]
    assert [request.page_token for request in control.requests] == ["", "1", "2"]
    for request in control.requests:
        assert request.filter.namespace == "chat"
        assert dict(request.filter.attributes) == {"a": "1"}
        assert request.page_size == 3


async def test_a_partial_listing_says_so_at_the_end(
    control: FakeControl, fake_client: Client
) -> None:
    """After everything that is known was yielded."""
    control.answers["List"] = pages(1, 1, unreachable="deadnode22")
    seen = []
    with pytest.raises(PartialAnswer) as caught:
        async for snapshot in fake_client.list():
            seen.append(snapshot.id)
    assert seen == ["c0", "c1"]
    assert caught.value.unreachable_nodes == ("deadnode22",)
    assert caught.value.count == 2


async def test_a_partial_listing_can_be_allowed(control: FakeControl, fake_client: Client) -> None:
    """Then the listing knows what is missing."""
    control.answers["List"] = pages(1, unreachable="deadnode22")
    listing = fake_client.list(allow_partial=True)
    assert [snapshot.id async for snapshot in listing] == ["c0"]
    assert listing.unreachable_nodes == ("deadnode22",)


async def test_a_partial_count(control: FakeControl, fake_client: Client) -> None:
    """As with listings."""

    async def answer(request: Any, context: Any) -> pb.CountResponse:
        return pb.CountResponse(count=7, unreachable_nodes=["deadnode22"])

    control.answers["Count"] = answer
    assert await fake_client.count(allow_partial=True) == 7
    with pytest.raises(PartialAnswer) as caught:
        await fake_client.count()
    assert caught.value.count == 7


async def test_send_many_reports_each_failure(control: FakeControl, fake_client: Client) -> None:
    """They are part of the result, as the errors that single sends would have raised."""

    async def answer(request: pb.SendManyRequest, context: Any) -> pb.SendManyResponse:
        failure = pb.SendManyFailure(
            connection_id="b", code=8, reason=error_reason_pb2.SEND_QUEUE_FULL, message="full"
        )
        return pb.SendManyResponse(succeeded=1, failures=[failure])

    control.answers["SendMany"] = answer
    result = await fake_client.send_many(["a", "b"], "x")
    assert result.succeeded == 1
    assert isinstance(result.failures[0], holdfast.QueueFull)
    assert result.failures[0].connection_id == "b"
    assert list(control.requests[0].connection_ids) == ["a", "b"]


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
    async with fake_client.watch(kinds=[MessageEvent]) as watch:
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
    async with Client.connect(control.address, timeout=0.2) as client:
        with pytest.raises(holdfast.DeadlineExceeded):
            async with client.watch():
                pass
        async with asyncio.timeout(5):
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
    async with fake_client.watch(kinds=[MessageEvent]) as watch:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(watch)
        go_on.set()
        assert (await anext(watch)).data == "a"
    with pytest.raises(StopAsyncIteration):
        await anext(watch)
    async with asyncio.timeout(5):
        await control.cancelled.wait()


async def test_closing_the_client_ends_its_watches(control: FakeControl) -> None:
    """An iteration without `async with` ends, too."""

    async def events(request: Any, context: Any) -> AsyncIterator[pb.WatchResponse]:
        yield STARTED
        yield event(2, "a")
        await asyncio.Event().wait()

    control.events = events
    client = await Client.connect(control.address)
    seen = []
    async with asyncio.timeout(5):
        async for item in client.watch():
            seen.append(item)
            await client.close()
    assert len(seen) == 1


async def test_fragments_are_one_message(control: FakeControl, fake_client: Client) -> None:
    """Each goes out when it is written, the end of the block sends an empty last one."""

    async def answer(request: pb.SendRequest, context: Any) -> pb.SendResponse:
        return pb.SendResponse(fragment_id="f1" if request.message.more else "")

    control.answers["Send"] = answer
    connection = fake_client.connection(ID)
    async with connection.message(confirmation=holdfast.Confirmation.WRITTEN) as message:
        await message.write("one ")
        assert len(control.requests) == 1
        await message.write("two")
    sent = [
        (request.message.text, request.message.more, request.message.fragment_id)
        for request in control.requests
    ]
    assert sent == [("one ", True, ""), ("two", True, "f1"), ("", False, "f1")]
    assert [request.confirmation for request in control.requests] == [0, 0, 2]
    assert message.result is not None
    with pytest.raises(RuntimeError):
        await message.write("late")


async def test_the_last_fragment_can_be_said(control: FakeControl, fake_client: Client) -> None:
    """It saves the empty one."""
    async with fake_client.connection(ID).message() as message:
        await message.write(b"a")
        await message.end(b"b")
    assert [request.message.binary for request in control.requests] == [b"a", b"b"]


async def test_half_a_message_is_not_ended(control: FakeControl, fake_client: Client) -> None:
    """An exception leaves it open, and an unused block sends nothing."""
    with pytest.raises(KeyError):
        async with fake_client.connection(ID).message() as message:
            await message.write("half")
            raise KeyError
    assert [request.message.more for request in control.requests] == [True]
    async with fake_client.connection(ID).message():
        pass
    assert len(control.requests) == 1


async def test_hanging_calls_do_not_hold_up_others(
    control: FakeControl, fake_client: Client
) -> None:
    """Calls of one client run side by side."""
    control.answers["Close"] = hanging
    task = asyncio.create_task(fake_client.connection(ID).close())
    await control.called.wait()
    await fake_client.connection(ID).get()
    task.cancel()
