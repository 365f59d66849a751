"""Two real brokers that are nodes of one, and a client of both."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from holdfast import Cause, Client, CloseEvent, Node, NodeNotFound, NodeState
from peer import DEADLINE, Peer, next_event, open_peer
from processes import Broker, start_broker, start_nats_server


@contextmanager
def node(directory: Path, nats: str) -> Iterator[Broker]:
    """One broker at a NATS server."""
    directory.mkdir()
    with start_broker(directory, None, "--drain-timeout=2s", nats=nats) as broker:
        yield broker


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Broker]]:
    """Two brokers at one NATS server."""
    with ExitStack() as stack:
        store = ("-js", "-sd", str(tmp_path / "jetstream"))
        server = stack.enter_context(start_nats_server(tmp_path, *store))
        brokers = []
        for name in ("a", "b"):
            brokers.append(stack.enter_context(node(tmp_path / name, server.url)))
        yield brokers


@pytest.fixture
async def client(nodes: list[Broker]) -> AsyncIterator[Client]:
    """A client of both, which know of each other."""
    addresses = ",".join(broker.control for broker in nodes)
    async with Client.connect(addresses, nats=nodes[0].nats) as client:
        async with asyncio.timeout(DEADLINE):
            # Both are asked in turn, and each has heard of the other.
            while not all([len(await client.nodes()) == 2 for _ in range(4)]):
                continue
        yield client


async def test_every_address_is_good_for_every_connection(
    nodes: list[Broker], client: Client, events: Any
) -> None:
    """Calls take the addresses in turn, so that half of them go to the wrong node."""
    async with open_peer(nodes[0].listen, events) as ann, open_peer(nodes[1].listen, events) as bob:
        assert ann.opened.snapshot.node != bob.opened.snapshot.node
        for peer in (ann, bob):
            for number in range(4):
                await peer.connection.send(str(number))
            assert [await peer.receive() for _ in range(4)] == list("0123")
            assert (await peer.connection.get()).id == peer.id
            assert (await peer.connection.get()).id == peer.id
        ids = sorted((ann.id, bob.id))
        assert sorted([snapshot.id async for snapshot in client.list(page_size=1)]) == ids
        assert await client.count() == 2
        assert (await client.everyone().publish("all")).succeeded == 2
        group = client.group("both")
        assert (await group.add(ann.id, bob.id)).succeeded == 2
        for text in ("one", "two"):
            result = await group.publish(text)
            assert (result.succeeded, result.complete) == (2, True)
        for peer in (ann, bob):
            assert [await peer.receive() for _ in range(3)] == ["all", "one", "two"]
        assert sorted([name async for name in group.members()]) == ids
        assert [item.members async for item in client.groups()] == [2]


async def test_a_node_that_is_killed(nodes: list[Broker], client: Client, events: Any) -> None:
    """Sends to a connection of the other go on, none fails, and each arrives once."""
    async with open_peer(nodes[0].listen, events) as peer:
        sending = asyncio.create_task(send_all(peer, 500))
        assert await peer.receive() == "0"
        nodes[1].process.send_signal(signal.SIGKILL)
        await sending  # first: a send that failed explains what would be missing
        received = [await peer.receive() for _ in range(1, 500)]
    assert received == [str(number) for number in range(1, 500)]


async def test_a_node_that_is_drained(nodes: list[Broker], client: Client, events: Any) -> None:
    """By a call through any node; sends to a connection of the other go on."""
    async with open_peer(nodes[0].listen, events) as peer:
        async with open_peer(nodes[1].listen, events) as other:
            node = client.node(other.opened.snapshot.node)
            sending = asyncio.create_task(send_all(peer, 500))
            assert await peer.receive() == "0"
            await node.drain()
            async with asyncio.timeout(DEADLINE):
                await no_longer_ready(node)
            assert (await other.closed())[0] == 1012
            assert (await next_event(events, other, CloseEvent)).cause is Cause.NODE_DRAIN
        assert await asyncio.to_thread(nodes[1].process.wait, 2 * DEADLINE) == 0
        await sending  # first: a send that failed explains what would be missing
        received = [await peer.receive() for _ in range(1, 500)]
    assert received == [str(number) for number in range(1, 500)]


async def no_longer_ready(node: Node) -> None:
    """Waits until whoever answers has heard of the drain, or that the node has ended."""
    with suppress(NodeNotFound):
        while (await node.get()).state is NodeState.READY:
            continue


async def send_all(peer: Peer, count: int) -> None:
    """Sends the numbers below `count`, each when the one before has an answer."""
    for number in range(count):
        await peer.connection.send(str(number))
