"""The connection to NATS, over which events come and replies go."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import nats.aio.client
import nats.errors
from google.protobuf import json_format

from ._codes import Code
from ._decode import OPCODE_HEADER
from ._gen.holdfast.v1 import event_pb2
from ._message import Data, to_message
from ._status import make_error, reason_name
from .errors import DeadlineExceeded, HoldfastError, Unavailable

logger = logging.getLogger("holdfast")

RECONNECT_WAIT = 0.25
"""Seconds between two attempts to reach the same server again."""


class Bus:
    """One connection to NATS, made when it is first needed, kept and repaired until `close`."""

    def __init__(
        self,
        servers: str | Sequence[str],
        options: Mapping[str, Any],
        connect_timeout: float,
        subject_prefix: str,
    ) -> None:
        """Remembers how to connect; no I/O."""
        self.subject_prefix = subject_prefix
        self._servers = servers if isinstance(servers, str) else list(servers)
        self._options = dict(options)
        self._connect_timeout = connect_timeout
        self._connecting = asyncio.Lock()
        self._client: nats.aio.client.Client | None = None
        self._is_closed = False
        self._closed_callbacks: set[Callable[[], None]] = set()

    @property
    def reconnects(self) -> int:
        """How often the connection was lost and made again."""
        return self._client.stats["reconnects"] if self._client else 0

    async def connect(self) -> nats.aio.client.Client:
        """The connection, made now when there is none yet.

        Raises:
            Unavailable: no server can be reached within the timeout.
            RuntimeError: the client is closed.
        """
        async with self._connecting:
            if self._is_closed:
                raise RuntimeError("the client is closed")
            if self._client is None:
                self._client = await self._dial()
            return self._client

    async def settle(self, timeout: float) -> None:
        """Returns when the server has seen everything that was subscribed to before.

        Twice, because nats-py writes the ping of a flush past the commands that it still holds
        back: the first round trip gets these out, the second one is behind them.

        Raises:
            Unavailable: the server did not answer in time.
        """
        client = await self.connect()
        try:
            async with asyncio.timeout(timeout):
                for _ in range(2):
                    await client.flush(timeout=math.ceil(timeout) + 1)
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"flush: {error!r}", code=Code.UNAVAILABLE) from error

    async def close(self) -> None:
        """Sends what is buffered and ends the connection. Idempotent."""
        async with self._connecting:
            self._is_closed = True
        client, self._client = self._client, None
        if client is None or client.is_closed:
            return
        if client.is_connected:
            with suppress(nats.errors.Error):  # a server that does not answer must not hold us up
                await client.flush(timeout=1)
        await client.close()

    def on_closed(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls back when the connection has ended for good. Returns what undoes it."""
        self._closed_callbacks.add(callback)
        return lambda: self._closed_callbacks.discard(callback)

    async def reply(self, subject: str, data: Data) -> None:
        """Publishes a reply; nothing tells whether it arrived.

        Raises:
            Unavailable: NATS is away and its buffer is full, or the connection is closed.
        """
        await self.publish(subject, data, {})

    async def publish(self, subject: str, data: Data, headers: Mapping[str, str]) -> None:
        """Publishes a message for clients, with its opcode and further headers.

        Raises:
            Unavailable: NATS is away and its buffer is full, or the connection is closed.
        """
        client = await self.connect()
        opcode, payload = _encode(data)
        async with _translated():
            await client.publish(subject, payload, headers={**opcode, **headers})

    async def request(self, subject: str, data: Data, timeout: float) -> None:
        """Publishes a reply and waits for the broker's verdict.

        Raises:
            HoldfastError: the broker refused the message.
            DeadlineExceeded: no verdict within `timeout` seconds; the outcome is unknown.
            Unavailable: nobody listens on the subject: the broker that sent the event is away.
        """
        client = await self.connect()
        headers, payload = _encode(data)
        async with _translated():
            answer = await client.request(subject, payload, timeout=timeout, headers=headers)
        try:
            verdict = json_format.Parse(
                answer.data, event_pb2.ReplyVerdict(), ignore_unknown_fields=True
            )
        except json_format.ParseError as error:
            raise HoldfastError(f"not a verdict: {answer.data[:64]!r}") from error
        if verdict.code != "OK":
            raise make_error(
                Code.__members__.get(verdict.code, Code.UNKNOWN),
                reason_name(verdict.reason),
                verdict.message,
                {"connection_id": subject.split(".")[-2]},
            )

    async def _dial(self) -> nats.aio.client.Client:
        client = nats.aio.client.Client()
        options: dict[str, Any] = {
            "name": "holdfast-python",
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": RECONNECT_WAIT,
            "error_cb": _log_error,
            **self._options,
        }
        users_closed_cb = options.pop("closed_cb", None)

        async def closed_cb() -> None:
            for callback in tuple(self._closed_callbacks):
                callback()
            if users_closed_cb is not None:
                await users_closed_cb()

        try:
            async with asyncio.timeout(self._connect_timeout):
                await client.connect(self._servers, closed_cb=closed_cb, **options)
        except (OSError, nats.errors.Error, TimeoutError) as error:
            await client.close()
            text = f"no NATS server at {self._servers}: {error!r}"
            raise Unavailable(text, code=Code.UNAVAILABLE) from error
        return client


def _encode(data: Data) -> tuple[dict[str, str], bytes]:
    message = to_message(data)
    if message.HasField("text"):
        return {OPCODE_HEADER: "text"}, message.text.encode()
    return {OPCODE_HEADER: "binary"}, message.binary


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """Turns errors of nats-py into ours."""
    try:
        yield
    except nats.errors.NoRespondersError as error:
        raise Unavailable("nobody listens on the reply subject", code=Code.UNAVAILABLE) from error
    except nats.errors.TimeoutError as error:
        raise DeadlineExceeded("no answer over NATS", code=Code.DEADLINE_EXCEEDED) from error
    except nats.errors.Error as error:
        raise Unavailable(f"{error!r}", code=Code.UNAVAILABLE) from error


async def _log_error(error: Exception) -> None:
    logger.info("nats: %r", error)  # it reconnects by itself; what fails for good is raised
