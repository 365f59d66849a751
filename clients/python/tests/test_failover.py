"""Several control addresses: what is repeated at another one, and what never is."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

import holdfast
from control import FakeControl, failing, hanging
from holdfast import Client
from holdfast._gen.holdfast.v1 import connection_service_pb2 as pb
from pair import ID, ONCE, REPEATABLE, Call, Pair

ALL = {**REPEATABLE, **ONCE}

UNREACHABLE = failing(grpc.StatusCode.UNAVAILABLE, "NODE_UNREACHABLE", connection_id=ID)
STOPPING = failing(grpc.StatusCode.UNAVAILABLE, "NODE_STOPPING")
NO_BUS = failing(grpc.StatusCode.UNAVAILABLE, "BUS_UNAVAILABLE")


def test_every_call_is_tried() -> None:
    """The tables below leave none of the schema's unary calls out."""
    names = {name for name in vars(FakeControl) if name[0].isupper()}
    names = (names - {"SendStream", "Watch"}) | {"CloseTarget", "Publish", "DrainNode"}
    names |= {"AddMembers", "RemoveMembers", "ListMembers", "ListGroups", "ListNodes", "GetNode"}
    assert set(ALL) == names


@pytest.mark.parametrize("name", REPEATABLE)
async def test_what_is_safe_is_repeated_when_a_broker_dies(pair: Pair, name: str) -> None:
    """The connection breaks in the middle of the call, and the other address answers."""
    async with pair.client() as client:
        pair.die_once(name)
        await ALL[name](client)
    assert sorted(pair.counts) == [1, 1]


@pytest.mark.parametrize("name", ONCE)
async def test_what_is_not_safe_is_not(pair: Pair, name: str) -> None:
    """It may have been carried out: only the caller can decide."""
    async with pair.client() as client:
        pair.die_once(name)
        with pytest.raises(holdfast.Unavailable):
            await ALL[name](client)
        pair.once(name, UNREACHABLE)
        with pytest.raises(holdfast.Unavailable, match="NODE_UNREACHABLE"):
            await ALL[name](client)
    assert sum(pair.counts) == 2


@pytest.mark.parametrize("name", REPEATABLE)
async def test_what_is_safe_is_repeated_when_a_node_does_not_answer(pair: Pair, name: str) -> None:
    """Another node may reach it."""
    async with pair.client() as client:
        pair.once(name, UNREACHABLE)
        await ALL[name](client)
    assert sorted(pair.counts) == [1, 1]


@pytest.mark.parametrize("answer", [STOPPING, NO_BUS], ids=["stopping", "no-bus"])
@pytest.mark.parametrize("name", ALL)
async def test_what_was_not_done_is_always_repeated(pair: Pair, name: str, answer: Any) -> None:
    """The broker says so."""
    async with pair.client() as client:
        pair.once(name, answer)
        await ALL[name](client)
    assert sorted(pair.counts) == [1, 1]


@pytest.mark.parametrize("name", ["Get", "Send"])
async def test_a_broker_that_hangs_gets_half_of_the_time(pair: Pair, name: str) -> None:
    """Then the other one is asked, and has the rest."""
    remaining: list[float] = []

    async def answer(request: Any, context: Any) -> Any:
        remaining.append(context.time_remaining())
        if len(remaining) == 1:
            await hanging(request, context)

    async with pair.client(timeout=6) as client:
        pair.always(name, answer)
        await ALL[name](client)
    assert sorted(pair.counts) == [1, 1]
    assert remaining == [pytest.approx(3, abs=2), pytest.approx(3, abs=2)]


@pytest.mark.parametrize("name", ONCE)
async def test_a_broker_that_hangs_over_what_is_not_safe(pair: Pair, name: str) -> None:
    """It has all of the time, and then the outcome is unknown."""
    async with pair.client(timeout=1.5) as client:
        pair.once(name, hanging)
        with pytest.raises(holdfast.DeadlineExceeded):
            await ALL[name](client)
    assert sum(pair.counts) == 1


FINAL: dict[str, tuple[Call, Any]] = {
    "gone": (REPEATABLE["Get"], failing(grpc.StatusCode.NOT_FOUND, "CONNECTION_GONE")),
    "full": (REPEATABLE["Send"], failing(grpc.StatusCode.RESOURCE_EXHAUSTED, "SEND_QUEUE_FULL")),
    "no-pong": (REPEATABLE["Send"], failing(grpc.StatusCode.DEADLINE_EXCEEDED, "NOT_CONFIRMED")),
    "defect": (REPEATABLE["Get"], failing(grpc.StatusCode.INTERNAL, "INTERNAL_ERROR")),
    "refused": (REPEATABLE["Get"], failing(grpc.StatusCode.PERMISSION_DENIED)),
}


@pytest.mark.parametrize(("call", "answer"), FINAL.values(), ids=FINAL)
async def test_an_answer_is_an_answer(pair: Pair, call: Call, answer: Any) -> None:
    """Only what may go better elsewhere is repeated."""
    async with pair.client() as client:
        for name in ("Get", "Send"):
            pair.always(name, answer)
        with pytest.raises(holdfast.HoldfastError):
            await call(client)
    assert sum(pair.counts) == 1


async def test_attempts_are_bounded(pair: Pair) -> None:
    """By number, and by the call's time."""
    pair.always("Get", STOPPING)
    async with pair.client() as client:
        with pytest.raises(holdfast.Unavailable, match="NODE_STOPPING"):
            await client.connection(ID).get()
        assert sum(pair.counts) == 5
        assert min(pair.counts) >= 2
    pair.clear()
    async with pair.client(max_attempts=1000) as client:
        with pytest.raises(holdfast.Unavailable, match="NODE_STOPPING"):
            await client.connection(ID).get(timeout=2)
    assert 1 < sum(pair.counts) < 100


async def test_repeating_can_be_turned_off(pair: Pair) -> None:
    """Then every call is made once, and sends have no request ID that nobody asked for."""
    async with pair.client(max_attempts=1) as client:
        pair.always("Send", STOPPING)
        with pytest.raises(holdfast.Unavailable):
            await client.connection(ID).send("x")
    assert [request.request_id for request in pair.requests] == [""]


async def test_with_one_address_nothing_is_repeated(
    control: FakeControl, fake_client: Client
) -> None:
    """Nor do sends have a request ID that nobody asked for."""
    for name, call in ALL.items():
        control.answers[name] = STOPPING
        control.requests.clear()
        with pytest.raises(holdfast.Unavailable):
            await call(fake_client)
        assert len(control.requests) == 1
        assert getattr(control.requests[0], "request_id", "") == ""


async def test_a_repeated_send_has_the_same_request_id(pair: Pair) -> None:
    """The caller's own, or one that is made for each send."""
    async with pair.client() as client:
        for request_id in ("", "mine"):
            pair.die_once("Send")
            await client.connection(ID).send("x", request_id=request_id)
        async with client.connection(ID).message() as message:
            pair.die_once("Send")
            await message.write("x")
    ids = [[request.request_id for request in control.requests] for control in pair.controls]
    assert "mine" in ids[0]
    assert "mine" in ids[1]
    made = [*ids[0], *ids[1]]
    assert sorted(made.count(name) for name in set(made)) == [1, 2, 2, 2]
    assert all(0 < len(name) <= 64 for name in made)


async def test_a_send_that_the_broker_may_have_forgotten_is_not_repeated(pair: Pair) -> None:
    """It remembers 16 of a connection: of more at once, only the last may be repeated."""
    came = asyncio.Event()

    async def answer(request: pb.SendRequest, context: Any) -> Any:
        if sum(pair.counts) == 20:
            came.set()
        await came.wait()
        await UNREACHABLE(request, context)

    pair.always("Send", answer)
    async with pair.client(max_attempts=2) as client:
        handle = client.connection(ID)
        sends = (handle.send(str(i)) for i in range(20))
        async with asyncio.timeout(30):
            results = await asyncio.gather(*sends, return_exceptions=True)
    assert all(isinstance(result, holdfast.Unavailable) for result in results)
    assert sum(pair.counts) == 20


async def test_sixteen_sends_at_once_are_all_repeated(pair: Pair) -> None:
    """The broker remembers every one of them."""
    failed: set[str] = set()

    async def answer(request: pb.SendRequest, context: Any) -> Any:
        if request.request_id not in failed:
            failed.add(request.request_id)
            await UNREACHABLE(request, context)

    pair.always("Send", answer)
    async with pair.client() as client:
        handle = client.connection(ID)
        await asyncio.gather(*(handle.send(str(i)) for i in range(16)))
    assert sum(pair.counts) == 32


async def test_an_unknown_outcome_is_not_forgotten(pair: Pair) -> None:
    """When the repeat was refused, the first attempt may still have been carried out."""
    asked: list[Any] = []

    async def answer(request: Any, context: Any) -> Any:
        asked.append(request)
        await (UNREACHABLE if len(asked) == 1 else STOPPING)(request, context)

    pair.always("Send", answer)
    async with pair.client(max_attempts=3) as client:
        with pytest.raises(holdfast.Unavailable) as caught:
            await client.connection(ID).send("x")
    assert len(asked) == 3
    assert caught.value.reason == "NODE_UNREACHABLE"
    assert caught.value.__cause__ is not None
