"""Messages in fragments, against a fake control port."""

from __future__ import annotations

from typing import Any

import pytest

import holdfast
from control import FakeControl
from holdfast import Client
from holdfast._gen.holdfast.v1 import connection_service_pb2 as pb

ID = "k5w2j4qzta-7m3c5z6q2n4x6p7a"


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
