"""Listings, counts and bulk sends, against a fake control port."""

from __future__ import annotations

from typing import Any

import pytest

import holdfast
from control import FakeControl
from holdfast import Client, PartialAnswer
from holdfast._gen.holdfast.v1 import connection_pb2, error_reason_pb2
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
