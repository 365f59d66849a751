"""Sends four messages to an echo with `websockets`: python_websockets.py URL deflate|plain [SOCKET]."""

import asyncio
import random
import ssl
import sys

from websockets.asyncio.client import connect, unix_connect

MIB = 1 << 20
MESSAGES: list[str | bytes] = [
    "Hello, κόσμε",
    bytes([0, 1, 128, 255]),
    "€" * ((MIB - 1) // 3) + "x",
    random.Random(1).randbytes(MIB),
]


async def main(url: str, compression: str, path: str = "") -> None:
    options = {"compression": "deflate" if compression == "deflate" else None, "proxy": None}
    if url.startswith("wss:"):
        options["ssl"] = ssl._create_unverified_context()  # the certificate is not what is tested
    opening = unix_connect(path, uri=url, **options) if path else connect(url, **options)
    async with opening as socket:
        for message in MESSAGES:
            await socket.send(message)
            if await socket.recv() != message:
                raise SystemExit(f"{len(message)} came back otherwise")
    if socket.close_code != 1000:
        raise SystemExit(f"closed with {socket.close_code}")


asyncio.run(main(*sys.argv[1:]))
