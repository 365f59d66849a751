"""Nodes, against a fake control port."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

import holdfast
from control import FakeControl, failing
from holdfast import Client, NodeLife, NodeSnapshot, NodeState
from holdfast._gen.holdfast.v1 import node_service_pb2 as pb

NODE = "k5w2j4qzta"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def node(state: int = 1) -> pb.Node:
    """A node with every fact."""
    message = pb.Node(
        id=NODE,
        server_name="s1",
        version="1.2.3",
        state=pb.Node.State.ValueType(state),
        listen=["ws://127.0.0.1:8080"],
        control="127.0.0.1:7400",
        ops="http://127.0.0.1:7401",
        connections=7,
    )
    message.life.waiting, message.life.freezes = 1, 2
    message.life.claims, message.life.lost, message.life.repeated_closes = 3, 4, 5
    message.life.lease_left.FromMilliseconds(7_500)
    message.start_time.FromDatetime(START)
    message.seen_time.FromDatetime(START)
    return message


SNAPSHOT = NodeSnapshot(
    id=NODE,
    server_name="s1",
    version="1.2.3",
    state=NodeState.READY,
    listen=("ws://127.0.0.1:8080",),
    control="127.0.0.1:7400",
    ops="http://127.0.0.1:7401",
    start_time=START,
    connections=7,
    seen_time=START,
    life=NodeLife(lease_left=7.5, waiting=1, freezes=2, claims=3, lost=4, repeated_closes=5),
)


def test_states_are_those_of_the_schema() -> None:
    """Every state of the schema has a member, and no other."""
    names = {name.removeprefix("STATE_") for name in pb.Node.State.keys()}  # noqa: SIM118
    assert {*NodeState} == names


async def test_a_node_without_a_life_record(control: FakeControl, fake_client: Client) -> None:
    """NATS without JetStream."""
    assert (await fake_client.node().get()).life is None


async def test_nodes(control: FakeControl, fake_client: Client) -> None:
    """Every fact of every node."""

    async def answer(request: Any, context: Any) -> Any:
        return pb.ListNodesResponse(nodes=[node(), node(99)], node=NODE)

    control.answers["ListNodes"] = answer
    first, second = await fake_client.nodes()
    assert first == SNAPSHOT
    assert second.state is NodeState.UNSPECIFIED


async def test_one_node(control: FakeControl, fake_client: Client) -> None:
    """By ID, or the one that answers."""

    async def answer(request: Any, context: Any) -> Any:
        return pb.GetNodeResponse(node=node())

    control.answers["GetNode"] = answer
    assert await fake_client.node(NODE).get() == SNAPSHOT
    assert await fake_client.node().get() == SNAPSHOT
    assert [request.node for request in control.requests] == [NODE, ""]
    assert repr(fake_client.node(NODE)) == f"Node(id='{NODE}')"


async def test_drain(control: FakeControl, fake_client: Client) -> None:
    """Answers with how many connections there were."""

    async def answer(request: Any, context: Any) -> Any:
        return pb.DrainNodeResponse(connections=7)

    control.answers["DrainNode"] = answer
    assert await fake_client.node(NODE).drain() == 7
    assert control.requests[0].node == NODE


async def test_a_node_that_is_no_more(control: FakeControl, fake_client: Client) -> None:
    """Has an error of its own."""
    control.answers["GetNode"] = failing(grpc.StatusCode.NOT_FOUND, "NODE_NOT_FOUND", node=NODE)
    with pytest.raises(holdfast.NodeNotFound) as caught:
        await fake_client.node(NODE).get()
    assert caught.value.metadata["node"] == NODE
