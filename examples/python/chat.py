"""Chat: what one client writes, every open connection of the namespace reads.

Run one of it; when it is restarted it asks the broker who is there, and no client loses its
connection.

    python chat.py --control 127.0.0.1:7400 --nats nats://127.0.0.1:4222 --namespace default
"""

from __future__ import annotations

import asyncio

from holdfast import Client, CloseEvent, MessageEvent, OpenEvent, Sender
from settings import settings, stop_with


async def main() -> None:
    """Passes messages on until it is stopped."""
    options = settings()
    async with (
        Client.connect(options.control, nats=options.nats) as client,
        # First listen, then look, so that nobody who comes in between is overlooked.
        client.events(namespace=options.namespace) as events,
        # Lines travel in batches and keep their order for each reader. Who has left meanwhile is
        # no news: the close event follows. Who reads too slowly misses lines; nobody waits.
        client.sender(on_failure=lambda error: None) as sender,
    ):
        here = {member.id async for member in client.list(namespace=options.namespace)}
        print(f"chatting in the namespace {options.namespace}, {len(here)} there", flush=True)
        stop_with(events.aclose)
        async for event in events:
            guest = f"guest-{event.connection_id[-4:]}"
            match event:
                case OpenEvent():
                    here.add(event.connection_id)
                    await say(sender, here, f"* {guest} has joined")
                case MessageEvent(data=data):
                    text = data if isinstance(data, str) else data.decode(errors="replace")
                    await say(sender, here, f"{guest}: {text}")
                case CloseEvent() if event.connection_id in here:
                    here.remove(event.connection_id)
                    await say(sender, here, f"* {guest} has left")


async def say(sender: Sender, here: set[str], line: str) -> None:
    """Sends a line to everyone."""
    for connection_id in here:
        await sender.send(connection_id, line)


asyncio.run(main())
