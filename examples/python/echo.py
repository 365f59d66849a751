"""Echoes every message to the connection it came from.

Start several: the queue group "echo" gives each message to one of them. Stop and restart them as
you like: no client loses its connection.

    python echo.py --control 127.0.0.1:7400 --nats nats://127.0.0.1:4222 --namespace default
"""

from __future__ import annotations

import asyncio

from holdfast import Client, MessageEvent
from settings import settings, stop_with


async def main() -> None:
    """Answers until it is stopped."""
    options = settings()
    async with (
        Client.connect(options.control, nats=options.nats) as client,
        client.events(kinds=MessageEvent, namespace=options.namespace, queue="echo") as messages,
    ):
        print("echoing the namespace", options.namespace, flush=True)
        stop_with(messages.aclose)
        async for message in messages:
            await message.reply(message.data)


asyncio.run(main())
