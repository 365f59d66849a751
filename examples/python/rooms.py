"""Chat in rooms: /join cats, /leave cats; everything else goes to the rooms that one is in.

It keeps nothing: the broker knows who is in which room. Start several, restart them as you like:
the queue group "rooms" gives each message to one of them, and no client loses its connection or its
rooms.

    python rooms.py --control 127.0.0.1:7400 --nats nats://127.0.0.1:4222 --namespace default
"""

from __future__ import annotations

import asyncio

from holdfast import Client, HoldfastError, MessageEvent
from settings import settings, stop_with


async def main() -> None:
    """Passes messages on until it is stopped."""
    options = settings()
    async with (
        Client.connect(options.control, nats=options.nats) as client,
        client.events(kinds=MessageEvent, namespace=options.namespace, queue="rooms") as messages,
    ):
        print("rooms in the namespace", options.namespace, flush=True)
        stop_with(messages.aclose)
        async for message in messages:
            try:
                await handle(client, message)
            except HoldfastError as error:  # a name that is none, or the client has left
                await message.reply(f"! {error.message}")


async def handle(client: Client, message: MessageEvent) -> None:
    """Does what a message asks for."""
    text = message.data if isinstance(message.data, str) else message.data.decode(errors="replace")
    guest = f"guest-{message.connection_id[-4:]}"
    match text.split(maxsplit=1):
        case ["/join", room]:
            await message.connection.join(room)
            await say(client, message, room, f"* {guest} has joined")
        case ["/leave", room]:
            await say(client, message, room, f"* {guest} has left")
            await message.connection.leave(room)
        case _:
            rooms = (await message.connection.get()).groups
            for room in rooms:
                await say(client, message, room, f"{guest}: {text}")
            if not rooms:
                await message.reply("! you are in no room: /join one")


async def say(client: Client, message: MessageEvent, room: str, line: str) -> None:
    """Sends a line to everyone in a room. Who reads too slowly misses it; nobody waits."""
    await client.group(room, namespace=message.namespace).publish(f"{room}: {line}")


asyncio.run(main())
