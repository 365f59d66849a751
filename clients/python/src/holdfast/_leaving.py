"""Ending subscriptions to NATS, and knowing what the server has seen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import nats.errors

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.subscription import Subscription

logger = logging.getLogger("holdfast")

LEAVE_TIMEOUT = 5.0
"""Seconds that unsubscribing waits at most for what the server had sent."""


async def leave(subscriptions: Sequence[Subscription]) -> None:
    """Unsubscribes. What the server had sent before still comes, unless NATS is away.

    In a queue group that is what nobody else will get. It is done by hand because `drain` of
    nats-py does not wait until its UNSUB was sent, see `round_trip`, and because a drain that
    fails leaves the subscription to come back with the connection.
    """
    client = subscriptions[0]._conn if subscriptions else None
    try:
        if client is not None and client.is_connected:
            async with asyncio.timeout(LEAVE_TIMEOUT):
                for subscription in subscriptions:
                    await client._send_unsubscribe(subscription._id)
                await round_trip(client)
                for subscription in subscriptions:
                    await subscription._pending_queue.join()
    except (nats.errors.Error, TimeoutError) as error:
        logger.info("nats: unsubscribe: %r", error)
    finally:
        await drop(subscriptions)


async def drop(subscriptions: Sequence[Subscription]) -> None:
    """Unsubscribes at once. What the server had sent is lost."""
    for subscription in subscriptions:
        with suppress(nats.errors.Error):  # the connection may be gone already
            await subscription.unsubscribe()


async def round_trip(client: Client) -> None:
    """Returns when the server has seen every command so far, and what it sent before has arrived.

    Twice, because nats-py writes a ping past the commands that it still holds back: the first round
    trip gets these out, the second one is behind them. Its `flush` will not do: when that is given
    up, by its timeout or by a cancelled task, and the pong comes after all, nats-py stops reading,
    and no subscription of this connection hears anything until it takes the server for stale.
    """
    for _ in range(2):
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        await client._send_ping(pong)
        await asyncio.shield(pong)
