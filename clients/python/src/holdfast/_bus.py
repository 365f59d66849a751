"""The connection to NATS, over which events come and replies go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import nats.aio.client
import nats.errors

from ._codes import Code
from ._leaving import round_trip
from ._message import Data
from ._publishing import check_size, encode, judge, translated
from .errors import HoldfastError, PermissionDenied, Unavailable

logger = logging.getLogger("holdfast")

RECONNECT_WAIT = 0.25
"""Seconds between two attempts to reach the same server again."""


@dataclass(frozen=True, slots=True)
class _Interest:
    """What somebody has subscribed to, and where."""

    client: nats.aio.client.Client | None
    subjects: Sequence[str]


class Bus:
    """A connection to NATS, made when it is first needed, kept and repaired until `close`.

    A server that refuses its credentials meanwhile ends it, and the next use makes it anew.
    """

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
        self._reconnects = 0  # those of connections that have ended, and their ends
        self._listeners: dict[Callable[[HoldfastError], None], _Interest] = {}

    @property
    def reconnects(self) -> int:
        """How often the connection was lost and made again."""
        return self._reconnects + (self._client.stats["reconnects"] if self._client else 0)

    async def connect(self) -> nats.aio.client.Client:
        """The connection, made now when there is none yet.

        Raises:
            Unavailable: no server can be reached within the timeout.
            PermissionDenied: the servers refuse the credentials.
            RuntimeError: the client is closed.
        """
        async with self._connecting:
            if self._is_closed:
                raise RuntimeError("the client is closed")
            if self._client is not None and self._client.is_closed:
                self._reconnects = self.reconnects + 1
                self._client = None
            if self._client is None:
                self._client = await self._dial()
            return self._client

    async def settle(self, timeout: float) -> None:
        """Returns when the server has seen everything that was subscribed to before.

        Raises:
            Unavailable: the server did not answer in time.
        """
        client = await self.connect()
        try:
            async with asyncio.timeout(timeout):
                await round_trip(client)
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

    def on_end(
        self, subjects: Sequence[str], callback: Callable[[HoldfastError], None]
    ) -> Callable[[], None]:
        """Calls back when nothing more comes on these subjects. Returns what undoes it.

        That is so when the connection has ended for good, and when the server refuses a subject.
        """
        self._listeners[callback] = _Interest(self._client, subjects)

        def forget() -> None:
            self._listeners.pop(callback, None)

        return forget

    async def reply(self, subject: str, data: Data) -> None:
        """Publishes a reply; nothing tells whether it arrived.

        Raises:
            Unavailable: NATS is away and its buffer is full, or the connection is closed.
            InvalidArgument: it is larger than NATS takes.
        """
        await self.publish(subject, data, {})

    async def publish(self, subject: str, data: Data, headers: Mapping[str, str]) -> None:
        """Publishes a message for clients, with its opcode and further headers.

        Raises:
            Unavailable: NATS is away and its buffer is full, or the connection is closed.
            InvalidArgument: it is larger than NATS takes.
        """
        client = await self.connect()
        opcode, payload = encode(data)
        headers = {**opcode, **headers}
        check_size(client, headers, payload)
        async with translated():
            await client.publish(subject, payload, headers=headers)

    async def request(self, subject: str, data: Data, timeout: float) -> None:
        """Publishes a reply and waits for the broker's verdict.

        Raises:
            HoldfastError: the broker refused the message.
            DeadlineExceeded: no verdict within `timeout` seconds; the outcome is unknown.
            Unavailable: nobody listens on the subject: the broker that sent the event is away.
        """
        client = await self.connect()
        headers, payload = encode(data)
        check_size(client, headers, payload)
        async with translated():
            answer = await client.request(subject, payload, timeout=timeout, headers=headers)
        judge(answer.data, {"connection_id": subject.split(".")[-2]})

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
        users_error_cb = options.pop("error_cb")

        async def closed_cb() -> None:
            error = Unavailable("the NATS connection is closed", code=Code.UNAVAILABLE)
            for callback, interest in tuple(self._listeners.items()):
                if interest.client is client:
                    callback(error)
            if users_closed_cb is not None:
                await users_closed_cb()

        async def error_cb(error: Exception) -> None:
            for callback, interest in tuple(self._listeners.items()):
                if _is_refusal(error, interest.subjects):
                    callback(PermissionDenied(f"{error}", code=Code.PERMISSION_DENIED))
            await users_error_cb(error)

        try:
            async with asyncio.timeout(self._connect_timeout):
                await client.connect(
                    self._servers, closed_cb=closed_cb, error_cb=error_cb, **options
                )
        except (OSError, nats.errors.Error, TimeoutError) as error:
            last = client.last_error or error
            await client.close()
            if "authorization violation" in str(last).lower():
                text = f"NATS at {self._places()} refuses the credentials"
                raise PermissionDenied(text, code=Code.UNAUTHENTICATED) from error
            text = f"no NATS server at {self._places()}: {last!r}"
            raise Unavailable(text, code=Code.UNAVAILABLE) from error
        return client

    def _places(self) -> str:
        """Where the servers are, for messages; their URLs may hold a password."""
        servers = [self._servers] if isinstance(self._servers, str) else self._servers
        return ", ".join(server.rpartition("@")[2] for server in servers)


def _is_refusal(error: Exception, subjects: Sequence[str]) -> bool:
    """True when the server does not let this user subscribe to one of the subjects."""
    text = str(error).lower()  # nats-py has lowered it, too
    return any(f'violation for subscription to "{subject.lower()}"' in text for subject in subjects)


async def _log_error(error: Exception) -> None:
    logger.info("nats: %r", error)  # it reconnects by itself; what fails for good is raised
