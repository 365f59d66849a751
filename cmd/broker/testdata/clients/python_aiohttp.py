"""Sends four messages to an echo with `aiohttp`: python_aiohttp.py URL deflate|plain [SOCKET]."""

import asyncio
import random
import sys

import aiohttp

MIB = 1 << 20
MESSAGES: list[str | bytes] = [
    "Hello, κόσμε",
    bytes([0, 1, 128, 255]),
    "€" * ((MIB - 1) // 3) + "x",
    random.Random(1).randbytes(MIB),
]


async def main(url: str, compression: str, path: str = "") -> None:
    connector = aiohttp.UnixConnector(path) if path else aiohttp.TCPConnector(ssl=False)
    window = 15 if compression == "deflate" else 0
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect(url, compress=window, max_msg_size=2 * MIB) as socket,
    ):
        for message in MESSAGES:
            await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))
            answer = await socket.receive()
            if answer.data != message:
                raise SystemExit(f"{len(message)} came back as {answer.type}")
        await socket.close(code=1000)
    if socket.close_code != 1000:
        raise SystemExit(f"closed with {socket.close_code}")


asyncio.run(main(*sys.argv[1:]))
