"""The README's snippets, run against a real broker."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from holdfast import Client
from peer import DEADLINE, Peer, open_peer
from processes import Broker

README = (Path(__file__).parents[1] / "README.md").read_text()
PROGRAMS = re.findall(r"^```python program\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def first_words(snippet: str) -> str:
    """A name for the test's report."""
    lines = [line for line in snippet.splitlines() if line and "import" not in line]
    return lines[0][:40]


@pytest.fixture
async def peer(broker: Broker, client: Client) -> AsyncIterator[Peer]:
    """A client that talks all the time."""
    async with client.events() as events, open_peer(broker.listen, events) as peer:
        talking = asyncio.create_task(talk(peer))
        yield peer
        talking.cancel()
        with suppress(asyncio.CancelledError):
            await talking


async def talk(peer: Peer) -> None:
    """Says hello until the connection ends."""
    with suppress(ConnectionClosed):
        while True:
            await peer.socket.send("hello")
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=first_words)
async def test_snippet(
    snippet: str, broker: Broker, client: Client, peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each runs through, with a client that is there."""
    snippet = at(broker, snippet)
    code = compile(snippet, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert code.co_flags & inspect.CO_COROUTINE
    names = {"client": client, "connection_id": peer.id}
    async with asyncio.timeout(DEADLINE):
        await eval(code, names)
    printed = capsys.readouterr().out
    assert "ended" not in printed
    assert "nobody knows" not in printed


@pytest.mark.parametrize("program", PROGRAMS, ids=first_words)
async def test_program(program: str, broker: Broker, client: Client) -> None:
    """Run as it stands; it answers."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", at(broker, program))
    try:
        async with client.events() as events, open_peer(broker.listen, events) as peer:
            talking = asyncio.create_task(talk(peer))
            assert await peer.receive() == "you said: 'hello'"
            talking.cancel()
    finally:
        process.kill()
        await process.wait()


def test_there_are_snippets() -> None:
    """A README without code would pass everything above."""
    assert len(PROGRAMS) == 1
    assert len(SNIPPETS) >= 11


def at(broker: Broker, source: str) -> str:
    """The same for the broker of the tests."""
    return source.replace("127.0.0.1:7400", broker.control).replace(
        "nats://127.0.0.1:4222", broker.nats
    )
