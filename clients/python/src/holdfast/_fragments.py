"""One message in fragments."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from ._message import Confirmation, Data, SendResult, to_message, to_send_request, to_send_result
from ._rpc import Rpc


class MessageWriter:
    """Writes one message in fragments; leaving the `async with` block ends the message.

    The first fragment decides whether it is a text or a binary message; the others have to be of
    that kind. While it is unfinished, other messages to the connection wait behind it. Without a
    next fragment within 10 s the broker closes the connection with 1011: the same happens when the
    block is left by an exception, because half a message must not look like a whole one. A block in
    which nothing was written sends nothing.

    Attributes:
        result: the answer to the end of the message; None before it.
    """

    def __init__(
        self,
        rpc: Rpc,
        connection_id: str,
        *,
        confirmation: Confirmation | None,
        expire_after: float | None,
        compress: bool | None,
        timeout: float | None,
    ) -> None:
        """Made by `Connection.message`."""
        self.result: SendResult | None = None
        self._rpc = rpc
        self._connection_id = connection_id
        self._confirmation = confirmation
        self._expire_after = expire_after
        self._compress = compress
        self._timeout = timeout
        self._one_at_a_time = asyncio.Lock()
        self._fragment_id = ""
        self._empty: Data | None = None

    async def __aenter__(self) -> Self:
        """Returns itself; nothing is sent."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the message, unless an exception is under way or it has ended."""
        if error is None and self.result is None and self._empty is not None:
            await self.end(self._empty)

    async def write(self, data: Data) -> None:
        """Sends a fragment and announces more.

        Args:
            data: `str` for a text message, anything else for a binary one; at most 1 MiB.

        Raises:
            QueueFull: this fragment was not taken; it may be written again.
            RuntimeError: the message has ended.
            HoldfastError: as `Connection.send`.
        """
        await self._send(data, more=True)

    async def end(self, data: Data) -> SendResult:
        """Sends the last fragment. It saves the empty one that the end of the block would send.

        Args:
            data: as in `write`.

        Raises:
            HoldfastError: as `Connection.send`.
        """
        return await self._send(data, more=False)

    async def _send(self, data: Data, *, more: bool) -> SendResult:
        async with self._one_at_a_time:
            if self.result is not None:
                raise RuntimeError("the message has ended")
            message = to_message(
                data, compress=self._compress, more=more, fragment_id=self._fragment_id
            )
            request = to_send_request(
                self._connection_id,
                message,
                confirmation=None if more else self._confirmation,
                expire_after=self._expire_after,
                request_id="",
            )
            response = await self._rpc.send(request, self._timeout)
            result = to_send_result(response)
            if more:
                self._fragment_id = response.fragment_id
                self._empty = "" if isinstance(data, str) else b""
            else:
                self.result = result
            return result
