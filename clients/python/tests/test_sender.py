"""Batches over SendStream, against a fake control port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from control import FakeControl, failing

import holdfast
from holdfast import Client, Code, ConnectionNotFound, HoldfastError, SendFailures
from holdfast._gen.holdfast.v1 import connection_service_pb2 as pb
from holdfast._gen.holdfast.v1 import error_reason_pb2
from holdfast._outcome import MAX_UNREPORTED

GONE = "gone"


class Peer:
    """Answers batches like a broker: sends to "gone" fail, everything else succeeds."""

    def __init__(self, control: FakeControl) -> None:
        """Answers the batches of a fake control port."""
        self.batches: list[pb.SendStreamRequest] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.read = asyncio.Event()
        control.batches = self.answer

    async def answer(
        self, requests: AsyncIterator[pb.SendStreamRequest], context: Any
    ) -> AsyncIterator[pb.SendStreamResponse]:
        """Answers one batch after the other."""
        async for request in requests:
            self.batches.append(request)
            self.read.set()
            await self.may_answer.wait()
            response = pb.SendStreamResponse(batch_id=request.batch_id)
            for index, send in enumerate(request.sends):
                if send.connection_id == GONE:
                    response.failures.add(
                        index=index,
                        code=grpc.StatusCode.NOT_FOUND.value[0],
                        reason=error_reason_pb2.CONNECTION_NOT_FOUND,
                        message="ended",
                    )
            yield response

    @property
    def texts(self) -> list[str]:
        """Everything that was sent, in order."""
        return [send.message.text for batch in self.batches for send in batch.sends]


@pytest.fixture
def peer(control: FakeControl) -> Peer:
    """A control port that answers batches."""
    return Peer(control)


async def test_sends_travel_in_batches_and_in_order(peer: Peer, fake_client: Client) -> None:
    """A plain loop shares batches; the end of the block waits for all answers."""
    async with fake_client.sender() as sender:
        outcomes = [await sender.send(f"c{i % 3}", str(i)) for i in range(1000)]
    assert peer.texts == [str(i) for i in range(1000)]
    assert len(peer.batches) < 20
    assert all(outcome.done() for outcome in outcomes)


async def test_large_messages_make_small_batches(peer: Peer, fake_client: Client) -> None:
    """A batch stays far below the 8 MiB that the broker reads."""
    async with fake_client.sender() as sender:
        for _ in range(8):
            await sender.send("c", b"x" * 700_000)
    assert [len(batch.sends) for batch in peer.batches] == [1] * 8


async def test_an_awaited_outcome_raises_its_own_error(peer: Peer, fake_client: Client) -> None:
    """And then nobody else has to be told."""
    async with fake_client.sender() as sender:
        good = await sender.send("c", "x")
        bad = await sender.send(GONE, "x")
        await good
        with pytest.raises(ConnectionNotFound) as caught:
            await bad
    assert caught.value.connection_id == GONE
    assert caught.value.reason == "CONNECTION_NOT_FOUND"


async def test_unasked_failures_are_raised_at_the_end(peer: Peer, fake_client: Client) -> None:
    """Every one of them, and only those."""
    with pytest.raises(SendFailures) as caught:
        async with fake_client.sender() as sender:
            for connection_id in ("a", GONE, "b", GONE):
                await sender.send(connection_id, "x")
    assert [type(error) for error in caught.value.exceptions] == [ConnectionNotFound] * 2


async def test_flush_raises_what_failed_so_far(peer: Peer, fake_client: Client) -> None:
    """What was raised once is not raised again."""
    async with fake_client.sender() as sender:
        await sender.send(GONE, "x")
        with pytest.raises(SendFailures):
            await sender.flush()
        await sender.send("a", "x")
        await sender.flush()


async def test_flush_times_out_without_losing_anything(peer: Peer, fake_client: Client) -> None:
    """The sends stay under way."""
    peer.may_answer.clear()
    async with fake_client.sender() as sender:
        outcome = await sender.send("a", "x")
        with pytest.raises(holdfast.DeadlineExceeded):
            await sender.flush(timeout=0.05)
        peer.may_answer.set()
        await outcome


async def test_on_failure_hears_of_failures(peer: Peer, fake_client: Client) -> None:
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


async def test_failures_do_not_gather_for_ever(peer: Peer, fake_client: Client) -> None:
    """A long-lived sender that nobody asks raises them from `send`, which then sends nothing."""
    async with fake_client.sender() as sender:
        for _ in range(MAX_UNREPORTED):
            outcome = await sender.send(GONE, "x")
        await asyncio.wait([outcome.future])
        with pytest.raises(SendFailures) as caught:
            await sender.send("a", "refused")
        await (await sender.send("a", "taken"))
    assert len(caught.value.exceptions) == MAX_UNREPORTED
    assert peer.texts[-1] == "taken"


async def test_send_waits_when_too_much_is_under_way(peer: Peer, fake_client: Client) -> None:
    """That is the back-pressure; a timeout gives up without sending."""
    peer.may_answer.clear()
    async with fake_client.sender(max_pending=3) as sender:
        for i in range(3):
            await sender.send("a", str(i))
        with pytest.raises(holdfast.DeadlineExceeded, match="not taken"):
            await sender.send("a", "refused", timeout=0.05)
        waiting = asyncio.create_task(sender.send("a", "3"))
        await peer.read.wait()
        assert not waiting.done()
        peer.may_answer.set()
        await waiting
    assert peer.texts == ["0", "1", "2", "3"]


async def test_bytes_are_bounded_too(peer: Peer, fake_client: Client) -> None:
    """A message larger than the bound is sent alone."""
    peer.may_answer.clear()
    async with fake_client.sender(max_pending_bytes=1000) as sender:
        await sender.send("a", b"x" * 5000)
        with pytest.raises(holdfast.DeadlineExceeded):
            await sender.send("a", b"y", timeout=0.05)
        peer.may_answer.set()
        await sender.send("a", b"z")


async def test_a_broken_stream_fails_what_is_unanswered(
    control: FakeControl, fake_client: Client
) -> None:
    """Their outcome is unknown, later sends are refused, nothing is sent twice."""
    batches: list[pb.SendStreamRequest] = []

    async def answer(requests: Any, context: Any) -> AsyncIterator[pb.SendStreamResponse]:
        async for request in requests:
            batches.append(request)
            if len(batches) == 2:
                await failing(grpc.StatusCode.UNAVAILABLE, "NODE_STOPPING")(request, context)
            yield pb.SendStreamResponse(batch_id=request.batch_id)

    control.batches = answer
    with pytest.raises(SendFailures) as caught:
        async with fake_client.sender() as sender:
            await (await sender.send("a", "0"))
            outcome = await sender.send("b", "1")
            with pytest.raises(holdfast.Unavailable, match="NODE_STOPPING"):
                await outcome
            with pytest.raises(holdfast.Unavailable) as refused:
                await sender.send("a", "2")
            assert refused.value.connection_id == "a"
            raise SendFailures("from inside", [refused.value])
    assert caught.value.message == "from inside"
    assert len(batches) == 2


async def test_a_stream_that_cannot_begin(control: FakeControl) -> None:
    """It shows in the outcome."""
    client = await Client.connect(control.address)
    async with client:
        control.batches = _refuse
        with pytest.raises(SendFailures) as caught:
            async with client.sender() as sender:
                await sender.send("a", "x")
    assert isinstance(caught.value.exceptions[0], holdfast.PermissionDenied)


async def _refuse(requests: Any, context: Any) -> AsyncIterator[Any]:
    await failing(grpc.StatusCode.UNAUTHENTICATED)(None, context)
    yield


async def test_the_end_does_not_wait_for_ever(peer: Peer, fake_client: Client) -> None:
    """What is not answered by then is reported as unknown."""
    peer.may_answer.clear()
    with pytest.raises(SendFailures) as caught:
        async with fake_client.sender(timeout=0.05) as sender:
            await sender.send("a", "x")
    assert [error.code for error in caught.value.exceptions] == [Code.UNAVAILABLE]


async def test_a_cancelled_task_does_not_wait(peer: Peer, fake_client: Client) -> None:
    """Cancellation ends the stream at once, and the outcomes say so."""
    peer.may_answer.clear()
    outcomes: list[holdfast.Outcome] = []

    async def work() -> None:
        async with fake_client.sender() as sender:
            outcomes.append(await sender.send("a", "x"))
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await peer.read.wait()
    task.cancel()
    async with asyncio.timeout(1):
        with pytest.raises(asyncio.CancelledError):
            await task
    with pytest.raises(holdfast.Unavailable, match="cancelled"):
        await outcomes[0]


async def test_an_exception_in_the_block_comes_first(
    peer: Peer, fake_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Failures that could not be raised are logged."""
    with pytest.raises(KeyError):
        async with fake_client.sender() as sender:
            await sender.send(GONE, "x")
            raise KeyError("mine")
    assert "1 sends failed, unreported" in caplog.text


async def test_a_cancelled_wait_leaves_the_outcome_alone(peer: Peer, fake_client: Client) -> None:
    """Several tasks may await it, and one that gives up disturbs nobody."""
    peer.may_answer.clear()
    async with fake_client.sender() as sender:
        outcome = await sender.send("a", "x")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await outcome
        peer.may_answer.set()
        await outcome


async def test_a_sender_lives_in_its_block(peer: Peer, fake_client: Client) -> None:
    """Before and after, it refuses to send."""
    sender = fake_client.sender()
    with pytest.raises(RuntimeError):
        await sender.send("a", "x")
    async with sender:
        pass
    with pytest.raises((RuntimeError, holdfast.Unavailable)):
        await sender.send("a", "x")
