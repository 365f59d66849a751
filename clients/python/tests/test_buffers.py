"""The pieces that bound memory: what was seen, what waits, what is under way."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast import Cause, CloseEvent, Fault, MessageEvent, PingEvent, SlowConsumer, Traffic
from holdfast._events import AnyEvent
from holdfast._inbox import Inbox
from holdfast._repeats import RepeatFilter
from holdfast._room import Room
from holdfast._times import to_datetime

EPOCH = to_datetime(Timestamp())


def message(connection_id: str, seq: int) -> AnyEvent:
    """A message event."""
    return MessageEvent(connection_id=connection_id, namespace="", seq=seq, user="", data="")


def ping(connection_id: str, seq: int) -> AnyEvent:
    """A ping event."""
    return PingEvent(connection_id=connection_id, namespace="", seq=seq, user="", payload=b"")


def close(connection_id: str, seq: int) -> AnyEvent:
    """A close event."""
    return CloseEvent(
        connection_id=connection_id,
        namespace="",
        seq=seq,
        user="",
        code=1000,
        reason="",
        was_clean=True,
        cause=Cause.PEER_CLOSE,
        fault=Fault.UNSPECIFIED,
        detail="",
        sent_code=1000,
        sent_reason="",
        node="",
        endpoint="/",
        attributes={},
        open_time=EPOCH,
        close_time=EPOCH,
        traffic=Traffic(messages_in=0, bytes_in=0, messages_out=0, bytes_out=0),
    )


def test_what_was_published_twice_is_admitted_once() -> None:
    """After a reconnect the broker publishes the unconfirmed again, in order."""
    repeats = RepeatFilter(10)
    first = [message("a", 1), message("a", 2), message("b", 1), message("a", 3)]
    again = [message("a", 2), message("b", 1), message("a", 3), message("a", 4)]
    assert [repeats.admit(event) for event in first] == [True] * 4
    assert [repeats.admit(event) for event in again] == [False, False, False, True]


def test_a_queue_group_sees_gaps() -> None:
    """A missing number is no repeat."""
    repeats = RepeatFilter(10)
    assert [repeats.admit(message("a", seq)) for seq in (1, 4, 9, 4)] == [True, True, True, False]


def test_pings_share_a_number_with_the_event_before_them() -> None:
    """They are never taken for repeats, and hide nothing."""
    repeats = RepeatFilter(10)
    events = [message("a", 2), ping("a", 2), ping("a", 2), message("a", 3)]
    assert all(repeats.admit(event) for event in events)


@pytest.mark.parametrize("seq", [0, 3, 4, 5])
def test_nothing_follows_a_close(seq: int) -> None:
    """Neither a second close, numbered or not, nor anything else."""
    repeats = RepeatFilter(10)
    assert repeats.admit(message("a", 4))
    assert repeats.admit(close("a", seq))
    assert not any(
        repeats.admit(event)
        for event in (close("a", seq), close("a", 0), message("a", 6), ping("a", 6))
    )


def test_a_close_may_be_all_there_is() -> None:
    """The open was published by nobody, or before we listened."""
    repeats = RepeatFilter(10)
    assert [repeats.admit(close("a", seq)) for seq in (0, 0)] == [True, False]
    assert not repeats.admit(message("a", 1))


def test_a_close_that_is_forgotten_is_news() -> None:
    """Open connections and closed ones share the memory; who was heard of last is kept."""
    repeats = RepeatFilter(2)
    assert repeats.admit(close("a", 0))
    assert repeats.admit(message("b", 1))
    assert not repeats.admit(close("a", 0))
    assert repeats.admit(message("c", 1))
    assert repeats.admit(close("a", 0))


def test_memory_is_bounded() -> None:
    """The connections that were silent for longest are forgotten."""
    repeats = RepeatFilter(2)
    for connection_id in "abac":
        repeats.admit(ping(connection_id, 5))
    assert not repeats.admit(message("a", 5))
    assert repeats.admit(message("b", 5))


async def test_the_inbox_reports_a_gap_where_it_is() -> None:
    """What came before it is read first, what came after the reader knew of it is read next."""
    inbox: Inbox[str] = Inbox(max_items=2, max_bytes=100)
    for item in "abcde":
        inbox.put(item, 1)
    assert [await inbox.get(), await inbox.get()] == ["a", "b"]
    inbox.put("f", 1)
    with pytest.raises(SlowConsumer) as caught:
        await inbox.get()
    assert caught.value.dropped == 4
    assert inbox.dropped == 4
    inbox.put("g", 1)
    assert await inbox.get() == "g"


async def test_the_inbox_counts_bytes() -> None:
    """An item of any size fits into an empty inbox, and no second one beside it."""
    inbox: Inbox[str] = Inbox(max_items=10, max_bytes=10)
    inbox.put("large", 1000)
    inbox.put("small", 1)
    assert await inbox.get() == "large"
    with pytest.raises(SlowConsumer):
        await inbox.get()


async def test_the_end_comes_behind_everything() -> None:
    """Every reader sees it, and only the first end counts."""
    inbox: Inbox[str] = Inbox(10, 10)
    inbox.put("a", 1)
    inbox.end(ConnectionError("lost"))
    inbox.end()
    inbox.put("late", 1)
    assert await inbox.get() == "a"
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await inbox.get()


async def test_room_is_given_in_order() -> None:
    """A large item is not overtaken by small ones for ever."""
    room = Room(max_items=10, max_bytes=10)
    await room.take(8)
    done: list[str] = []

    async def take(name: str, size: int) -> None:
        await room.take(size)
        done.append(name)

    tasks = [asyncio.create_task(take("large", 9)), asyncio.create_task(take("small", 1))]
    await asyncio.sleep(0)
    assert done == []
    room.give(8)
    await asyncio.wait(tasks)
    assert done == ["large", "small"]


async def test_a_cancelled_wait_takes_no_room() -> None:
    """Neither before nor at the moment its turn comes."""
    room = Room(max_items=1, max_bytes=10)
    await room.take(1)
    early, late = (asyncio.create_task(room.take(1)) for _ in range(2))
    await asyncio.sleep(0)
    early.cancel()
    room.give(1)
    late.cancel()
    await asyncio.wait([early, late])
    async with asyncio.timeout(10):
        await room.take(1)
