"""The stream under a Sender: batches out, answers in, each send settled exactly once."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpc.aio import AioRpcError

from ._codes import Code
from ._gen.holdfast.v1 import connection_service_pb2 as pb
from ._outcome import Outcome
from ._rpc import Rpc
from ._status import from_failure, from_rpc_error, make_error
from .errors import HoldfastError, Unavailable

if TYPE_CHECKING:
    from grpc.aio import StreamStreamCall

MAX_BATCH_SENDS = 256
MAX_BATCH_BYTES = 1024 * 1024
MAX_OPEN_BATCHES = 64
"""As many as the broker reads before it has answered one."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A send that is not answered."""

    request: pb.SendRequest
    size: int
    outcome: Outcome


class SendStream:
    """One SendStream call, from `open` to `close`."""

    def __init__(self, settled: Callable[[Pending, HoldfastError | None], None]) -> None:
        """`settled` is called for every send, exactly once, when its outcome is known."""
        self.error: HoldfastError | None = None
        """Why nothing more will be answered; None while the stream lives."""
        self._settled = settled
        self._waiting: deque[Pending] = deque()
        self._written: dict[int, Sequence[Pending]] = {}
        self._wake_writer = asyncio.Event()
        self._is_finishing = False
        self._reader: asyncio.Task[None] | None = None

    async def open(self, rpc: Rpc) -> None:
        """Begins the call. A broker that cannot be reached shows as the stream's error."""
        self._reader = asyncio.create_task(self._read(await rpc.send_stream(self._batches())))

    @property
    def is_open(self) -> bool:
        """True from `open` to `close`."""
        return self._reader is not None and not self._is_finishing

    def put(self, pending: Pending) -> None:
        """Takes a send, which goes out with the next batch."""
        self._waiting.append(pending)
        self._wake_writer.set()

    def unanswered(self) -> list[Outcome]:
        """The outcomes that are not known yet."""
        written = (pending for batch in self._written.values() for pending in batch)
        return [pending.outcome for pending in itertools.chain(written, self._waiting)]

    async def close(self, timeout: float | None) -> None:
        """Waits until everything is answered, but no longer than `timeout` seconds, and ends."""
        self._is_finishing = True
        self._wake_writer.set()
        if self._reader is None:
            return
        try:
            if self.error is None:
                await asyncio.wait([self._reader], timeout=timeout)
        finally:
            self.end(unavailable("the sender was closed before the answer came"))
            self._reader.cancel()
        await asyncio.wait([self._reader])

    def end(self, error: HoldfastError) -> None:
        """Settles everything that is not answered with an error. Only the first call counts."""
        if self.error is not None:
            return
        self.error = error
        unanswered = [pending for batch in self._written.values() for pending in batch]
        unanswered.extend(self._waiting)
        self._written.clear()
        self._waiting.clear()
        for pending in unanswered:
            self._settled(pending, for_connection(error, pending.request.connection_id))
        self._wake_writer.set()

    async def _batches(self) -> AsyncIterator[pb.SendStreamRequest]:
        """What gRPC writes: whatever waits, as soon as the call takes it."""
        for batch_id in itertools.count(1):
            while not self._waiting or len(self._written) >= MAX_OPEN_BATCHES:
                if self.error is not None or (self._is_finishing and not self._waiting):
                    return
                self._wake_writer.clear()
                await self._wake_writer.wait()
            batch = self._next_batch()
            self._written[batch_id] = batch
            sends = [pending.request for pending in batch]
            yield pb.SendStreamRequest(batch_id=batch_id, sends=sends)

    def _next_batch(self) -> Sequence[Pending]:
        """At least one send, and as many more as are there and fit."""
        batch = [self._waiting.popleft()]
        size = batch[0].size
        while self._waiting and len(batch) < MAX_BATCH_SENDS:
            size += self._waiting[0].size
            if size > MAX_BATCH_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _read(
        self, call: StreamStreamCall[pb.SendStreamRequest, pb.SendStreamResponse]
    ) -> None:
        error = unavailable("the broker ended the stream")
        try:
            async for response in call:
                self._answer(response)
        except AioRpcError as rpc_error:
            error = from_rpc_error(rpc_error)
        finally:
            self.end(error)
            call.cancel()

    def _answer(self, response: pb.SendStreamResponse) -> None:
        failures = {failure.index: failure for failure in response.failures}
        for index, pending in enumerate(self._written.pop(response.batch_id, ())):
            failure = failures.get(index)
            self._settled(pending, _to_error(failure, pending) if failure else None)
        self._wake_writer.set()


def unavailable(text: str) -> HoldfastError:
    """An error for a stream that is no more."""
    return Unavailable(text, code=Code.UNAVAILABLE)


def for_connection(error: HoldfastError, connection_id: str) -> HoldfastError:
    """The stream's error as that of one send."""
    metadata = {**error.metadata, "connection_id": connection_id}
    return make_error(error.code, error.reason, error.message, metadata)


def _to_error(failure: pb.SendFailure, pending: Pending) -> HoldfastError:
    connection_id = pending.request.connection_id
    return from_failure(failure.code, failure.reason, failure.message, connection_id)
