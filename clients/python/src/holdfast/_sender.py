"""Many sends over one stream, in batches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ._codes import Code
from ._message import Confirmation, Data, to_message, to_send_request
from ._outcome import FailureLog, Outcome
from ._room import Room
from ._rpc import Rpc
from ._send_stream import Pending, SendStream, for_connection, unavailable
from .errors import DeadlineExceeded, HoldfastError

logger = logging.getLogger("holdfast")


class Sender:
    """Sends to many connections over one stream; what is sent close together travels together.

    `send` returns as soon as the message has a place among those that are under way, and waits when
    there is none: that is the back-pressure. Messages of one task to one connection are written in
    the order of its calls.

    No failure is lost. Await the `Outcome` that `send` returns, or give `on_failure`; a failure
    that nobody asked for is raised as SendFailures by `flush`, by the end of the `async with`
    block, and by `send` itself once 1,000 of them have gathered.

    When the stream breaks, everything unanswered fails with Unavailable (its outcome is unknown)
    and so does every later `send`: nothing is sent twice on its own account.
    """

    def __init__(
        self,
        rpc: Rpc,
        *,
        max_pending: int,
        max_pending_bytes: int,
        on_failure: Callable[[HoldfastError], None] | None,
        timeout: float | None,
    ) -> None:
        """Made by `Client.sender`."""
        self._rpc = rpc
        self._timeout = timeout
        self._room = Room(max_pending, max_pending_bytes)
        self._failures = FailureLog(on_failure)
        self._stream = SendStream(self._settle)

    async def __aenter__(self) -> Self:
        """Opens the stream. A broker that cannot be reached shows in the outcomes.

        Raises:
            Unavailable: there are several addresses, and none accepts connections.
            DeadlineExceeded: none did within the client's timeout.
        """
        await self._stream.open(self._rpc)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Waits for the answers to everything sent; a cancelled task does not wait.

        Raises:
            SendFailures: sends failed and nobody had asked; only logged when another exception is
                under way.
        """
        if isinstance(error, asyncio.CancelledError):
            self._stream.end(unavailable("the task was cancelled before the answer came"))
        await self._stream.close(self._rpc.deadline(self._timeout))
        failures = self._failures.take()
        if failures is None:
            return
        if error is None:
            raise failures
        logger.warning("%d sends failed, unreported because of %r", len(failures.failures), error)

    async def send(
        self,
        connection_id: str,
        data: Data,
        *,
        confirmation: Confirmation | None = None,
        expire_after: float | None = None,
        request_id: str = "",
        compress: bool | None = None,
        timeout: float | None = None,
    ) -> Outcome:
        """Takes one whole message for the stream; arguments as in `Connection.send`.

        Args:
            connection_id: whom to send to.
            data: `str` is sent as text, anything else as binary; at most 1 MiB.
            confirmation: what the outcome waits for; None: QUEUED.
            expire_after: seconds in the queue after which it is dropped; None: never.
            request_id: protects against sending twice; "": no protection.
            compress: None: as the endpoint says.
            timeout: seconds to wait for room; None: the client's default.

        Returns:
            What becomes of it; awaiting it is optional.

        Raises:
            SendFailures: 1,000 earlier failures that nobody asked for; this message was not taken.
            DeadlineExceeded: there was no room in time; this message was not taken.
            Unavailable: the stream is broken; this message was not taken.
            RuntimeError: outside of the `async with` block.
        """
        self._check_is_usable(connection_id)
        if self._failures.is_full and (failures := self._failures.take()):
            raise failures
        request = to_send_request(
            connection_id,
            to_message(data, compress=compress),
            confirmation=confirmation,
            expire_after=expire_after,
            request_id=request_id,
        )
        pending = Pending(request, request.ByteSize(), Outcome(connection_id))
        await self._take_room(pending.size, timeout)
        try:
            self._check_is_usable(connection_id)
        except BaseException:
            self._room.give(pending.size)
            raise
        self._stream.put(pending)
        return pending.outcome

    async def flush(self, *, timeout: float | None = None) -> None:
        """Waits until everything sent so far is answered.

        Args:
            timeout: seconds; None: the client's default.

        Raises:
            SendFailures: sends failed and nobody had asked.
            DeadlineExceeded: some are not answered yet; they stay under way.
        """
        futures = [outcome.future for outcome in self._stream.unanswered()]
        if futures:
            _, unanswered = await asyncio.wait(futures, timeout=self._rpc.deadline(timeout))
            if unanswered:
                text = f"{len(unanswered)} sends are not answered"
                raise DeadlineExceeded(text, code=Code.DEADLINE_EXCEEDED)
        if failures := self._failures.take():
            raise failures

    def _check_is_usable(self, connection_id: str) -> None:
        if not self._stream.is_open:
            raise RuntimeError("a sender is used inside of its `async with` block")
        if self._stream.error is not None:
            raise for_connection(self._stream.error, connection_id)

    async def _take_room(self, size: int, timeout: float | None) -> None:
        try:
            async with asyncio.timeout(self._rpc.deadline(timeout)):
                await self._room.take(size)
        except TimeoutError as error:
            text = "too many sends are unanswered; this one was not taken"
            raise DeadlineExceeded(text, code=Code.DEADLINE_EXCEEDED) from error

    def _settle(self, pending: Pending, error: HoldfastError | None) -> None:
        pending.outcome.future.set_result(error)
        self._room.give(pending.size)
        if error is not None:
            self._failures.add(pending.outcome, error)
