"""Deadlines, cancellation, metadata and the life of a client, against a fake control port."""

from __future__ import annotations

import asyncio
import math
import socket
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

import holdfast
from control import FakeControl, failing, hanging
from holdfast import Client, Confirmation
from holdfast._gen.holdfast.v1 import connection_pb2
from holdfast._gen.holdfast.v1 import connection_service_pb2 as pb

ID = "k5w2j4qzta-7m3c5z6q2n4x6p7a"


def unused_address() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def test_a_handle_needs_no_io() -> None:
    """A handle can be made, compared and shown without a broker, and for any ID."""
    async with Client.connect(unused_address(), lazy=True) as client:
        handle = client.connection("not an id")
        assert handle.id == "not an id"
        assert handle == client.connection("not an id")
        assert repr(handle) == "Connection(id='not an id')"


async def test_connect_can_be_awaited_or_entered(control: FakeControl) -> None:
    """Both forms give a working client; the second closes it."""
    client = await Client.connect(control.address)
    async with client:
        await client.connection(ID).get()
    async with Client.connect(control.address) as other:
        await other.connection(ID).get()
    with pytest.raises(RuntimeError, match="closed"):
        await other.connection(ID).get()
    await other.close()


async def test_connect_fails_when_nobody_listens() -> None:
    """Without a broker, connect says so in time."""
    with pytest.raises(holdfast.Unavailable, match="no broker"):
        await Client.connect(unused_address(), connect_timeout=0.2)


async def test_connect_fails_when_nats_is_away(control: FakeControl) -> None:
    """Without NATS, connect says so in time."""
    with pytest.raises(holdfast.Unavailable, match="no NATS server"):
        await Client.connect(
            control.address, nats=f"nats://{unused_address()}", connect_timeout=0.2
        )


async def test_a_lazy_client_fails_at_the_first_call() -> None:
    """The call itself is Unavailable: it does not wait for a broker to appear."""
    async with Client.connect(unused_address(), lazy=True) as client:
        with pytest.raises(holdfast.Unavailable):
            await client.connection(ID).get(timeout=5)


async def test_a_timeout_ends_the_call(control: FakeControl, fake_client: Client) -> None:
    """The timeout of the call is its deadline, and the broker sees it."""
    remaining: list[float] = []

    async def answer(request: Any, context: Any) -> Any:
        remaining.append(context.time_remaining())
        await hanging(request, context)

    control.answers["Get"] = answer
    with pytest.raises(holdfast.DeadlineExceeded) as caught:
        await fake_client.connection(ID).get(timeout=2)
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert 0 < remaining[0] < 2.5


async def test_a_deadline_that_the_broker_saw_first(
    control: FakeControl, fake_client: Client
) -> None:
    """It resets the stream, which looks like CANCELLED; long before the deadline, that it is."""

    async def answer(request: Any, context: Any) -> Any:
        await asyncio.sleep(0.19)
        await context.abort(grpc.StatusCode.CANCELLED, "RST_STREAM")

    control.answers["Get"] = answer
    with pytest.raises(holdfast.DeadlineExceeded):
        await fake_client.connection(ID).get(timeout=0.2)
    with pytest.raises(holdfast.HoldfastError) as caught:
        await fake_client.connection(ID).get(timeout=5)
    assert caught.value.code == "CANCELLED"


async def test_the_clients_timeout_is_the_default(control: FakeControl) -> None:
    """A call that says nothing takes the client's timeout; infinity means none."""
    remaining: list[float | None] = []

    async def answer(request: Any, context: Any) -> Any:
        remaining.append(context.time_remaining())
        return pb.GetResponse()

    control.answers["Get"] = answer
    async with Client.connect(control.address, timeout=30) as client:
        await client.connection(ID).get()
        await client.connection(ID).get(timeout=math.inf)
    assert remaining[0] == pytest.approx(30, abs=5)
    assert remaining[1] is None or remaining[1] > 1_000_000


async def test_cancelling_the_task_cancels_the_call(
    control: FakeControl, fake_client: Client
) -> None:
    """The broker sees that nobody waits any more."""
    control.answers["Close"] = hanging
    task = asyncio.create_task(fake_client.connection(ID).close())
    async with asyncio.timeout(20):
        await control.called.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await control.cancelled.wait()


async def test_closing_the_client_fails_calls_under_way(control: FakeControl) -> None:
    """They are Unavailable, not cancelled: their own task was not."""
    control.answers["Get"] = hanging
    client = await Client.connect(control.address)
    task = asyncio.create_task(client.connection(ID).get())
    async with asyncio.timeout(20):
        await control.called.wait()
        await client.close()
        with pytest.raises(holdfast.Unavailable, match="closed during the call"):
            await task


async def test_a_failed_send_is_not_repeated(control: FakeControl, fake_client: Client) -> None:
    """Whether to send again is the caller's decision."""
    control.answers["Send"] = failing(grpc.StatusCode.UNAVAILABLE, "NODE_UNREACHABLE")
    with pytest.raises(holdfast.Unavailable):
        await fake_client.connection(ID).send("once")
    assert len(control.requests) == 1


async def test_metadata_as_it_is_in_http(control: FakeControl) -> None:
    """Names are in any case; a value that no header may have is refused, and not shown."""
    async with Client.connect(control.address, metadata={"Authorization": "Bearer t"}) as client:
        await client.connection(ID).terminate()
    assert control.metadata[0]["authorization"] == "Bearer t"
    async with Client.connect(control.address, metadata={"authorization": "secret\n"}) as client:
        with pytest.raises(holdfast.InvalidArgument, match="authorization") as refused:
            await client.connection(ID).terminate()
        assert "secret" not in str(refused.value)


async def test_metadata_goes_with_every_call(control: FakeControl) -> None:
    """Fixed metadata, or what a function says at that moment."""
    tokens = iter(["first", "second"])
    async with Client.connect(
        control.address, metadata=lambda: {"authorization": f"Bearer {next(tokens)}"}
    ) as client:
        await client.connection(ID).get()
        await client.connection(ID).get()
    async with Client.connect(control.address, metadata={"tenant": "blue"}) as client:
        await client.count()
    assert [seen.get("authorization") for seen in control.metadata[:2]] == [
        "Bearer first",
        "Bearer second",
    ]
    assert control.metadata[2]["tenant"] == "blue"


async def test_tls_credentials_are_used(control: FakeControl) -> None:
    """A TLS client does not talk to a plain-text port."""
    with pytest.raises(holdfast.Unavailable):
        await Client.connect(
            control.address, credentials=grpc.ssl_channel_credentials(), connect_timeout=0.3
        )


async def test_channel_options_win(control: FakeControl) -> None:
    """Also over what this package sets itself."""

    async def answer(request: Any, context: Any) -> Any:
        return pb.GetResponse(connection=connection_pb2.Connection(id="x" * 100))

    control.answers["Get"] = answer
    options = [("grpc.max_receive_message_length", 10)]
    async with Client.connect(control.address, channel_options=options) as client:
        with pytest.raises(holdfast.HoldfastError, match="RESOURCE_EXHAUSTED"):
            await client.connection(ID).get()


async def test_requests_carry_the_arguments(control: FakeControl, fake_client: Client) -> None:
    """Every argument of send, close and update has its place in the request."""
    handle = fake_client.connection(ID)
    await handle.send(
        b"x",
        confirmation=Confirmation.RECEIVED,
        expire_after=1.5,
        request_id="once",
        compress=False,
    )
    await handle.close(4000, "bye", confirmation=Confirmation.WRITTEN)
    when = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    await handle.update(
        set_attributes={"a": "1"}, remove_attributes=["b"], user="", expire_time=when
    )
    send, close, update = control.requests
    assert (send.connection_id, send.message.binary, send.request_id) == (ID, b"x", "once")
    assert send.confirmation == 3
    assert send.expire_after.ToMilliseconds() == 1500
    assert send.message.HasField("compress")
    assert not send.message.compress
    assert (close.code, close.reason, close.confirmation) == (4000, "bye", 2)
    assert dict(update.set_attributes) == {"a": "1"}
    assert list(update.remove_attributes) == ["b"]
    assert update.HasField("user")
    assert update.user == ""
    assert update.expire_time.ToDatetime(UTC) == when


async def test_absent_arguments_stay_absent(control: FakeControl, fake_client: Client) -> None:
    """What the caller does not say is left to the broker."""
    handle = fake_client.connection(ID)
    await handle.send("")
    await handle.update()
    send, update = control.requests
    assert send.message.HasField("text")
    assert not send.HasField("expire_after")
    assert not send.message.HasField("compress")
    assert send.confirmation == 0
    assert not update.HasField("user")
    assert not update.HasField("expire_time")


async def test_a_time_without_zone_is_refused(fake_client: Client) -> None:
    """Nobody can know which moment it means."""
    with pytest.raises(ValueError, match="time zone"):
        await fake_client.connection(ID).update(expire_time=datetime(2030, 1, 1))


async def test_hanging_calls_do_not_hold_up_others(
    control: FakeControl, fake_client: Client
) -> None:
    """Calls of one client run side by side."""
    control.answers["Close"] = hanging
    task = asyncio.create_task(fake_client.connection(ID).close())
    await control.called.wait()
    await fake_client.connection(ID).get()
    task.cancel()
