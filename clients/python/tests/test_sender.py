"""Batches over SendStream, against a fake control port."""

from __future__ import annotations

import asyncio

import pytest

import holdfast
from batches import GONE, Batches
from holdfast import Client, ConnectionNotFound, HoldfastError, SendFailures
from holdfast._outcome import MAX_UNREPORTED


async def test_sends_travel_in_batches_and_in_order(batches: Batches, fake_client: Client) -> None:
    """A plain loop shares batches; the end of the block waits for all answers."""
    async with fake_client.sender() as sender:
        outcomes = [await sender.send(f"c{i % 3}", str(i)) for i in range(1000)]
    assert batches.texts == [str(i) for i in range(1000)]
    assert len(batches.requests) < 20
    assert all(outcome.done() for outcome in outcomes)


async def test_large_messages_make_small_batches(batches: Batches, fake_client: Client) -> None:
    """A batch stays far below the 8 MiB that the broker reads."""
    async with fake_client.sender() as sender:
        for _ in range(8):
            await sender.send("c", b"x" * 700_000)
    assert [len(batch.sends) for batch in batches.requests] == [1] * 8


async def test_an_awaited_outcome_raises_its_own_error(
    batches: Batches, fake_client: Client
) -> None:
    """And then nobody else has to be told."""
    async with fake_client.sender() as sender:
        good = await sender.send("c", "x")
        bad = await sender.send(GONE, "x")
        await good
        with pytest.raises(ConnectionNotFound) as caught:
            await bad
    assert caught.value.connection_id == GONE
    assert caught.value.reason == "CONNECTION_NOT_FOUND"


async def test_unasked_failures_are_raised_at_the_end(
    batches: Batches, fake_client: Client
) -> None:
    """Every one of them, and only those."""
    with pytest.raises(SendFailures) as caught:
        async with fake_client.sender() as sender:
            for connection_id in ("a", GONE, "b", GONE):
                await sender.send(connection_id, "x")
    assert [type(error) for error in caught.value.failures] == [ConnectionNotFound] * 2


async def test_flush_raises_what_failed_so_far(batches: Batches, fake_client: Client) -> None:
    """What was raised once is not raised again."""
    async with fake_client.sender() as sender:
        await sender.send(GONE, "x")
        with pytest.raises(SendFailures):
            await sender.flush()
        await sender.send("a", "x")
        await sender.flush()


async def test_flush_times_out_without_losing_anything(
    batches: Batches, fake_client: Client
) -> None:
    """The sends stay under way."""
    batches.may_answer.clear()
    async with fake_client.sender() as sender:
        outcome = await sender.send("a", "x")
        with pytest.raises(holdfast.DeadlineExceeded):
            await sender.flush(timeout=0.05)
        batches.may_answer.set()
        await outcome


async def test_on_failure_hears_of_failures(batches: Batches, fake_client: Client) -> None:
    """They are then not raised; a callback that fails itself does no harm."""
    heard: list[str] = []

    def on_failure(error: HoldfastError) -> None:
        heard.append(error.connection_id)
        raise KeyError("a mistake")

    async with fake_client.sender(on_failure=on_failure) as sender:
        await sender.send(GONE, "x")
        await sender.send("a", "x")
        await sender.send(GONE, "x")
    assert heard == [GONE, GONE]


async def test_failures_do_not_gather_for_ever(batches: Batches, fake_client: Client) -> None:
    """A long-lived sender that nobody asks raises them from `send`, which then sends nothing."""
    async with fake_client.sender() as sender:
        for _ in range(MAX_UNREPORTED):
            outcome = await sender.send(GONE, "x")
        await asyncio.wait([outcome.future])
        with pytest.raises(SendFailures) as caught:
            await sender.send("a", "refused")
        await (await sender.send("a", "taken"))
    assert len(caught.value.failures) == MAX_UNREPORTED
    assert batches.texts[-1] == "taken"


async def test_send_waits_when_too_much_is_under_way(batches: Batches, fake_client: Client) -> None:
    """That is the back-pressure; a timeout gives up without sending."""
    batches.may_answer.clear()
    async with fake_client.sender(max_pending=3) as sender:
        for i in range(3):
            await sender.send("a", str(i))
        with pytest.raises(holdfast.DeadlineExceeded, match="not taken"):
            await sender.send("a", "refused", timeout=0.05)
        waiting = asyncio.create_task(sender.send("a", "3"))
        await batches.read.wait()
        assert not waiting.done()
        batches.may_answer.set()
        await waiting
    assert batches.texts == ["0", "1", "2", "3"]


async def test_bytes_are_bounded_too(batches: Batches, fake_client: Client) -> None:
    """A message larger than the bound is sent alone."""
    batches.may_answer.clear()
    async with fake_client.sender(max_pending_bytes=1000) as sender:
        await sender.send("a", b"x" * 5000)
        with pytest.raises(holdfast.DeadlineExceeded):
            await sender.send("a", b"y", timeout=0.05)
        batches.may_answer.set()
        await sender.send("a", b"z")
