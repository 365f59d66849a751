"""Echoes every message with nothing but nats-py: the broker's events are plain NATS messages.

Any NATS client in any language can do this: respond to the message, and the bytes go to its socket.

    python echo_plain_nats.py --nats nats://127.0.0.1:4222 --namespace default
"""

from __future__ import annotations

import asyncio

import nats
from nats.aio.msg import Msg

from settings import settings, stop_with


async def echo(message: Msg) -> None:
    """Responds with the bytes of the message; text stays text, and binary stays binary."""
    await message.respond(message.data)


async def main() -> None:
    """Answers until it is stopped."""
    options = settings()
    stopped = asyncio.Event()

    async def stop() -> None:
        stopped.set()

    connection = await nats.connect(options.nats)
    subject = f"holdfast.{options.namespace}.message.*"
    await connection.subscribe(subject, queue="echo", cb=echo)
    for _ in range(2):  # nats-py writes the first ping ahead of the subscription, the second behind
        await connection.flush()
    print("echoing the namespace", options.namespace, flush=True)
    stop_with(stop)
    await stopped.wait()
    await connection.drain()


asyncio.run(main())
