"""Lets in who shows a token: for an endpoint with `admission: {mode: backend}`.

Start several: they share the work. Clients send `Authorization: Bearer ann-secret`, or from a
browser the subprotocol "bearer.ann-secret" beside one that the endpoint speaks.

    python door.py --control 127.0.0.1:7400 --nats nats://127.0.0.1:4222 --namespace default
"""

from __future__ import annotations

import asyncio

from holdfast import Accept, Client, HandshakeRequest, Refuse
from settings import settings, stop_with

TOKENS = {"ann-secret": "ann", "bob-secret": "bob"}


async def who(handshake: HandshakeRequest) -> Accept | Refuse:
    """Knows a client by its token."""
    shown = [handshake.headers.get("Authorization", "").removeprefix("Bearer ")]
    shown += [p.removeprefix("bearer.") for p in handshake.subprotocols if p.startswith("bearer.")]
    for token in shown:
        if user := TOKENS.get(token):
            return Accept(user=user, groups=["members"])
    return Refuse(401, "who are you?", {"WWW-Authenticate": "Bearer"})


async def main() -> None:
    """Answers until it is stopped."""
    options = settings()
    async with (
        Client.connect(options.control, nats=options.nats) as client,
        client.admit(who, namespace=options.namespace) as doorkeeper,
    ):
        print("deciding who enters the namespace", options.namespace, flush=True)
        stop_with(doorkeeper.aclose)
        await doorkeeper.wait()


asyncio.run(main())
