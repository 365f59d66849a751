"""The example backends, run as programs against a real broker."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import websockets

from holdfast import Client, Subscription
from peer import DEADLINE, Peer, open_peer
from processes import REPOSITORY, Broker
from relay import relay_to

EXAMPLES = REPOSITORY / "examples" / "python"


@pytest.fixture
async def events(client: Client) -> AsyncIterator[Subscription[Any]]:
    """All events of the default namespace."""
    async with client.events() as stream:
        yield stream


@asynccontextmanager
async def running(script: str, broker: Broker, namespace: str = "default") -> AsyncIterator[str]:
    """Runs an example until the block ends; the line that says it is ready."""
    arguments = [f"--nats={broker.nats}", f"--control={broker.control}", f"--namespace={namespace}"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLES / script, *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE):
            ready = (await process.stdout.readline()).decode()
        assert f"the namespace {namespace}" in ready
        yield ready
    finally:
        process.terminate()
        async with asyncio.timeout(DEADLINE):
            await process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize("script", ["echo.py", "echo_plain_nats.py"])
async def test_echo(broker: Broker, events: Any, script: str) -> None:
    """Text comes back as text, bytes as bytes."""
    async with running(script, broker), open_peer(broker.listen, events) as peer:
        for payload in ("hello", "grüße", "", b"\x00\xff", b""):
            await peer.socket.send(payload)
            assert await peer.receive() == payload


async def test_chat(broker: Broker, events: Any) -> None:
    """Everybody hears everybody, and who comes and goes."""
    async with running("chat.py", broker), open_peer(broker.listen, events) as ann:
        assert await ann.receive() == f"* {guest(ann)} has joined"
        async with open_peer(broker.listen, events) as bob:
            joined = f"* {guest(bob)} has joined"
            assert await ann.receive() == await bob.receive() == joined
            await bob.socket.send("hi ann")
            assert await ann.receive() == await bob.receive() == f"{guest(bob)}: hi ann"
            await ann.socket.send(b"\xff!")
            assert await ann.receive() == await bob.receive() == f"{guest(ann)}: \ufffd!"
        assert await ann.receive() == f"* {guest(bob)} has left"


async def test_chat_restarts(broker: Broker, events: Any) -> None:
    """A new process asks the broker who is there."""
    async with open_peer(broker.listen, events) as ann, open_peer(broker.listen, events) as bob:
        for text in ("first", "second"):
            async with running("chat.py", broker) as ready:
                assert int(ready.split()[-2]) >= 2
                await ann.socket.send(text)
                assert await ann.receive() == await bob.receive() == f"{guest(ann)}: {text}"


async def test_chat_outlives_its_broker(broker: Broker, events: Any) -> None:
    """A line is lost while the control port is away, and the program goes on."""
    async with (
        relay_to(broker.control) as relay,
        running("chat.py", replace(broker, control=relay.address)),
        open_peer(broker.listen, events) as ann,
    ):
        assert await ann.receive() == f"* {guest(ann)} has joined"
        await relay.refuse()
        await ann.socket.send("lost")
        await relay.listen()
        heard = asyncio.ensure_future(ann.receive())
        while not heard.done():
            await ann.socket.send("back")
            await asyncio.wait([heard], timeout=0.05)
        assert heard.result() in (f"{guest(ann)}: back", f"{guest(ann)}: lost")


async def test_door(broker: Broker) -> None:
    """Who shows a token gets in, from a program and from a browser."""
    async with running("door.py", broker, "door"):
        url = f"{broker.listen}/door/lobby"
        token = {"Authorization": "Bearer ann-secret"}
        async with websockets.connect(url, additional_headers=token):
            pass
        offers = [websockets.Subprotocol("chat.v1"), websockets.Subprotocol("bearer.bob-secret")]
        async with websockets.connect(url, subprotocols=offers) as bob:
            assert bob.subprotocol == "chat.v1"
        with pytest.raises(websockets.InvalidStatus, match="401"):
            await websockets.connect(url)


async def test_rooms(broker: Broker, events: Any) -> None:
    """Who is in a room hears what is said there, also after the program was restarted."""
    async with AsyncExitStack() as stack:
        opening = [open_peer(broker.listen, events) for _ in range(3)]
        ann, bob, eve = [await stack.enter_async_context(peer) for peer in opening]
        async with running("rooms.py", broker):
            for peer in (ann, bob):
                await peer.socket.send("/join cats")
                assert await peer.receive() == f"cats: * {guest(peer)} has joined"
            assert await ann.receive() == f"cats: * {guest(bob)} has joined"
            await eve.socket.send("/join cats and dogs")
            assert str(await eve.receive()).startswith("! ")
            await eve.socket.send("hello?")
            assert await eve.receive() == "! you are in no room: /join one"
        async with running("rooms.py", broker):
            await ann.socket.send("miau")
            assert await ann.receive() == await bob.receive() == f"cats: {guest(ann)}: miau"
            await bob.socket.send("/leave cats")
            left = f"cats: * {guest(bob)} has left"
            assert await ann.receive() == await bob.receive() == left
            await ann.socket.send("alone")
            assert await ann.receive() == f"cats: {guest(ann)}: alone"
            await bob.connection.send("the last")
            assert await bob.receive() == "the last"


def guest(peer: Peer) -> str:
    """The name of a peer in the chat."""
    return f"guest-{peer.id[-4:]}"
