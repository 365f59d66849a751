"""Two control ports, each behind a relay, and a client of both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from control import Answer, FakeControl, serve
from holdfast import Client
from relay import Relay, relay_to

ID = "k5w2j4qzta-7m3c5z6q2n4x6p7a"

Call = Callable[[Client], Awaitable[object]]

REPEATABLE: dict[str, Call] = {
    "Get": lambda client: client.connection(ID).get(),
    "List": lambda client: anext(aiter(client.list()), None),
    "Count": lambda client: client.count(),
    "ListMembers": lambda client: anext(aiter(client.group("a").members()), None),
    "ListGroups": lambda client: anext(aiter(client.groups()), None),
    "ListNodes": lambda client: client.nodes(),
    "GetNode": lambda client: client.node("k5w2j4qzta").get(),
    "Pause": lambda client: client.connection(ID).pause(),
    "Resume": lambda client: client.connection(ID).resume(),
    "Update": lambda client: client.connection(ID).update(user="ann"),
    "AddMembers": lambda client: client.group("a").add(ID),
    "RemoveMembers": lambda client: client.group("a").remove(ID),
    "Close": lambda client: client.connection(ID).close(),
    "Terminate": lambda client: client.connection(ID).terminate(),
    "DrainNode": lambda client: client.node("k5w2j4qzta").drain(),
    "Send": lambda client: client.connection(ID).send("x"),
}
"""By name: every call that may be made twice when its outcome is unknown."""

ONCE: dict[str, Call] = {
    "SendMany": lambda client: client.send_many([ID], "x"),
    "Ping": lambda client: client.connection(ID).ping(),
    "Pong": lambda client: client.connection(ID).pong(),
    "Publish": lambda client: client.group("a").publish("x"),
    "CloseTarget": lambda client: client.user("ann").close(),
}
"""Every other."""


class Pair:
    """Two brokers, as far as a client can tell."""

    def __init__(self, controls: list[FakeControl], relays: list[Relay]) -> None:
        """Neither has been asked yet."""
        self.controls = controls
        self.relays = relays

    @property
    def addresses(self) -> list[str]:
        """Where a client reaches them."""
        return [relay.address for relay in self.relays]

    @property
    def counts(self) -> list[int]:
        """How often each was asked."""
        return [len(control.requests) for control in self.controls]

    @property
    def requests(self) -> list[Any]:
        """What they were asked."""
        return [request for control in self.controls for request in control.requests]

    def clear(self) -> None:
        """Forgets what they were asked."""
        for control in self.controls:
            control.requests.clear()

    def always(self, name: str, answer: Answer) -> None:
        """Both answer so."""
        for control in self.controls:
            control.answers[name] = answer

    def once(self, name: str, answer: Answer) -> None:
        """Whoever is asked first answers so, and later calls are answered as always."""
        self._first(name, lambda relay: answer)

    def die_once(self, name: str) -> None:
        """Whoever is asked first dies over it, and is back at once."""

        def dying(relay: Relay) -> Answer:
            async def answer(request: Any, context: Any) -> Any:
                relay.cut()
                await asyncio.Event().wait()

            return answer

        self._first(name, dying)

    def _first(self, name: str, answer_of: Callable[[Relay], Answer]) -> None:
        asked: list[str] = []
        for control, relay in zip(self.controls, self.relays, strict=True):

            async def answer(request: Any, context: Any, relay: Relay = relay) -> Any:
                if asked:
                    return None
                asked.append(name)
                return await answer_of(relay)(request, context)

            control.answers[name] = answer

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[Client]:
        """A client that is connected to both; they have forgotten that."""
        async with Client.connect(self.addresses, **options) as client:
            await reached(client, *self.controls)
            self.clear()
            yield client


async def reached(client: Client, *controls: FakeControl) -> None:
    """Calls until each has been asked."""
    async with asyncio.timeout(30):
        while not all(control.requests for control in controls):
            await client.count()


@asynccontextmanager
async def serve_pair() -> AsyncIterator[Pair]:
    """Runs two control ports until the block ends."""
    async with serve() as a, serve() as b:
        async with relay_to(a.address) as relay_a, relay_to(b.address) as relay_b:
            yield Pair([a, b], [relay_a, relay_b])
