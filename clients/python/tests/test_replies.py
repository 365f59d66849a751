"""Replies over a real NATS server, to a broker that the test plays."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.msg import Msg

import holdfast
from holdfast import Client, MessageEvent
from publisher import Publisher

REPLY = "holdfast-in.default.reply.k5w2j4qzta.c1.t"


async def test_a_reply_goes_to_the_reply_subject(
    events_client: Client, publisher: Publisher
) -> None:
    """Its header says what it is."""
    replies: asyncio.Queue[Msg] = asyncio.Queue()
    await publisher.nats.subscribe(REPLY, cb=replies.put)
    await publisher.flush()
    async with events_client.events(kinds=MessageEvent) as events:
        await publisher.message("c1", 2, "hi", reply=REPLY)
        event = await anext(events)
        await event.reply("grüße")
        await event.reply(b"\x00\xff")
    text, binary = await replies.get(), await replies.get()
    assert (text.data, text.headers) == ("grüße".encode(), {"Holdfast-Opcode": "text"})
    assert (binary.data, binary.headers) == (b"\x00\xff", {"Holdfast-Opcode": "binary"})


async def test_a_reply_that_is_larger_than_nats_takes(
    events_client: Client, publisher: Publisher
) -> None:
    """It is refused here: the server would end the connection, and the events with it."""
    async with events_client.events(kinds=MessageEvent) as events:
        await publisher.message("c1", 2, "hi", reply=REPLY)
        event = await anext(events)
        for confirm in (False, True):
            with pytest.raises(holdfast.InvalidArgument) as refused:
                await event.reply(b"x" * publisher.nats.max_payload, confirm=confirm)
            assert refused.value.reason == holdfast.Reason.MESSAGE_TOO_LARGE
        await publisher.message("c1", 3)
        assert (await anext(events)).seq == 3


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
    await publisher.flush()
    async with events_client.events(kinds=MessageEvent) as events:
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
    async with events_client.events(kinds=MessageEvent) as events:
        await publisher.message("c1", 2, "hi", reply=REPLY)
        event = await anext(events)
        with pytest.raises(holdfast.Unavailable):
            await event.reply("hi", confirm=True)
        await publisher.nats.subscribe(REPLY, cb=ignore)
        await publisher.flush()
        with pytest.raises(holdfast.DeadlineExceeded):
            await event.reply("hi", confirm=True, timeout=0.05)


async def ignore(message: Msg) -> None:
    """Answers nothing."""
