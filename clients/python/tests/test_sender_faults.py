"""What goes wrong with a sender, and that nothing of it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

import holdfast
from batches import GONE, Batches
from control import FakeControl, failing
from holdfast import Client, Code, SendFailures
from holdfast._gen.holdfast.v1 import connection_service_pb2 as pb


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
    assert isinstance(caught.value.failures[0], holdfast.PermissionDenied)


async def _refuse(requests: Any, context: Any) -> AsyncIterator[Any]:
    await failing(grpc.StatusCode.UNAUTHENTICATED)(None, context)
    yield


async def test_the_end_does_not_wait_for_ever(batches: Batches, fake_client: Client) -> None:
    """What is not answered by then is reported as unknown."""
    batches.may_answer.clear()
    with pytest.raises(SendFailures) as caught:
        async with fake_client.sender(timeout=0.05) as sender:
            await sender.send("a", "x")
    assert [error.code for error in caught.value.failures] == [Code.UNAVAILABLE]


async def test_a_cancelled_task_does_not_wait(batches: Batches, fake_client: Client) -> None:
    """Cancellation ends the stream at once, and the outcomes say so."""
    batches.may_answer.clear()
    outcomes: list[holdfast.Outcome] = []

    async def work() -> None:
        async with fake_client.sender() as sender:
            outcomes.append(await sender.send("a", "x"))
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await batches.read.wait()
    task.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await task
    with pytest.raises(holdfast.Unavailable, match="cancelled"):
        await outcomes[0]


async def test_an_exception_in_the_block_comes_first(
    batches: Batches, fake_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Failures that could not be raised are logged."""
    with pytest.raises(KeyError):
        async with fake_client.sender() as sender:
            await sender.send(GONE, "x")
            raise KeyError("mine")
    assert "1 sends failed, unreported" in caplog.text


async def test_a_cancelled_wait_leaves_the_outcome_alone(
    batches: Batches, fake_client: Client
) -> None:
    """Several tasks may await it, and one that gives up disturbs nobody."""
    batches.may_answer.clear()
    async with fake_client.sender() as sender:
        outcome = await sender.send("a", "x")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await outcome
        batches.may_answer.set()
        await outcome


async def test_a_sender_lives_in_its_block(batches: Batches, fake_client: Client) -> None:
    """Before and after, it refuses to send."""
    sender = fake_client.sender()
    with pytest.raises(RuntimeError):
        await sender.send("a", "x")
    async with sender:
        pass
    with pytest.raises(RuntimeError):
        await sender.send("a", "x")
