"""The nodes of a real broker."""

from __future__ import annotations

import asyncio
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Cause, Client, CloseEvent, InvalidArgument, NodeState
from peer import DEADLINE, next_event, open_peer
from processes import Broker, start_broker

NO_NODE = "aaaaaaaaaa"


async def test_a_node(broker: Broker, client: Client, events: Any) -> None:
    """One broker is one node, which knows itself."""
    async with open_peer(broker.listen, events) as peer:
        node = await client.node(peer.opened.snapshot.node).get()
        assert [item.id for item in await client.nodes()] == [node.id]
        assert (await client.node().get()).id == node.id
    assert peer.id.startswith(f"{node.id}-")
    assert node.state is NodeState.READY
    assert (node.listen, node.control) == ((broker.listen,), broker.control)
    assert node.ops.startswith("http://127.0.0.1:")
    assert node.version
    assert node.server_name
    now = datetime.now(UTC)
    assert now - timedelta(hours=1) < node.start_time <= node.seen_time <= now


async def test_nodes_that_are_none(client: Client) -> None:
    """Unknown is not found; what is no ID is an argument that is refused."""
    for call in (lambda: client.node(NO_NODE).get(), lambda: client.node(NO_NODE).drain()):
        with pytest.raises(holdfast.NodeNotFound) as caught:
            await call()
        assert (caught.value.code, caught.value.reason) == ("NOT_FOUND", "NODE_NOT_FOUND")
        assert caught.value.metadata["node"] == NO_NODE
    for call in (
        lambda: client.node("x").get(),
        lambda: client.node("x").drain(),
        lambda: client.node().drain(),
    ):
        with pytest.raises(InvalidArgument, match="INVALID_NODE_ID"):
            await call()


async def test_drain(tmp_path: Path) -> None:
    """Clients are told with 1012, events say why, and the process ends well."""
    with start_broker(tmp_path, None, "--drain-timeout=1s") as broker:
        async with Client.connect(broker.control, nats=broker.nats) as client:
            async with client.events() as events, open_peer(broker.listen, events) as peer:
                node = client.node(peer.opened.snapshot.node)
                assert await node.drain() == 1
                assert (await peer.closed())[0] == 1012
                closed = await next_event(events, peer, CloseEvent)
                assert closed.cause is Cause.NODE_DRAIN
        assert await asyncio.to_thread(ended, broker.process) == 0


def ended(process: subprocess.Popen[str]) -> int:
    """Waits for a process that ends by itself."""
    return process.wait(DEADLINE)
