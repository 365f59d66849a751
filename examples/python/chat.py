"""Chat: what one client writes, every open connection of the namespace reads.

Run one of it; when it is restarted it asks the broker who is there, and no client loses its
connection.

    python chat.py --control 127.0.0.1:7400 --nats nats://127.0.0.1:4222 --namespace default
"""

from __future__ import annotations

import asyncio

from holdfast import Client, CloseEvent, Everyone, HoldfastError, MessageEvent, OpenEvent
from settings import settings, stop_with


async def main() -> None:
    """Passes messages on until it is stopped."""
    options = settings()
    async with (
        Client.connect(options.control, nats=options.nats) as client,
        # First listen, then look, so that nobody who comes in between is overlooked.
        client.events(namespace=options.namespace) as events,
    ):
        everyone = client.everyone(options.namespace)
        here = {member.id async for member in client.list(namespace=options.namespace)}
        print(f"chatting in the namespace {options.namespace}, {len(here)} there", flush=True)
        stop_with(events.aclose)
        async for event in events:
            guest = f"guest-{event.connection_id[-4:]}"
            match event:
                case OpenEvent():
                    here.add(event.connection_id)
                    await say(everyone, f"* {guest} has joined")
                case MessageEvent(data=data):
                    text = data if isinstance(data, str) else data.decode(errors="replace")
                    await say(everyone, f"{guest}: {text}")
                case CloseEvent() if event.connection_id in here:
                    here.remove(event.connection_id)
                    await say(everyone, f"* {guest} has left")


async def say(everyone: Everyone, line: str) -> None:
    """Sends a line to everyone, in one call. Who reads too slowly misses it; nobody waits."""
    try:
        await everyone.publish(line)
    except HoldfastError as error:  # the broker is away, or restarts: go on when it is back
        print(f"not sent: {error}", flush=True)


asyncio.run(main())
