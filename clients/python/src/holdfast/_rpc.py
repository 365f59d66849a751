"""The gRPC channel: deadlines, metadata, cancellation and errors of every call, in one place."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

from ._codes import Code
from ._gen.holdfast.v1 import connection_service_pb2 as pb
from ._gen.holdfast.v1.connection_service_pb2_grpc import ConnectionServiceStub
from ._status import from_rpc_error
from .errors import DeadlineExceeded, Unavailable

if TYPE_CHECKING:
    from grpc.aio import StreamStreamCall, UnaryStreamCall, UnaryUnaryMultiCallable

Request = TypeVar("Request")
Response = TypeVar("Response")

Metadata = Mapping[str, str] | Callable[[], Mapping[str, str]]

DEFAULT_TIMEOUT = 5.0
"""Seconds a call may take when it says nothing else."""

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of the largest answer that is read. A page of 1,000 connections can be above 4 MiB."""

CHANNEL_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.max_receive_message_length", MAX_ANSWER),
    ("grpc.max_send_message_length", -1),  # the broker's limit decides
    ("grpc.enable_retries", 0),  # a send is never repeated behind the caller's back
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcOptions:
    """How to reach the broker's control port, and how long to wait for it."""

    target: str
    timeout: float
    credentials: grpc.ChannelCredentials | None
    metadata: Metadata
    channel_options: Sequence[tuple[str, Any]]


class Rpc:
    """The calls of ConnectionService, with this package's errors."""

    def __init__(self, options: RpcOptions) -> None:
        """Creates the channel; no I/O until the first call."""
        self.timeout = options.timeout
        self._target = options.target
        self._metadata = options.metadata
        arguments = [*CHANNEL_OPTIONS, *options.channel_options]
        if options.credentials is None:
            self._channel = grpc.aio.insecure_channel(options.target, arguments)
        else:
            self._channel = grpc.aio.secure_channel(options.target, options.credentials, arguments)
        self._closed = False
        self.stub = ConnectionServiceStub(self._channel)

    async def connect(self, timeout: float) -> None:
        """Waits until the broker accepts calls.

        Raises:
            Unavailable: it did not within `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._channel.channel_ready()
        except TimeoutError as error:
            text = f"no broker at {self._target} within {timeout:g} s"
            raise Unavailable(text, code=Code.UNAVAILABLE) from error

    async def close(self) -> None:
        """Ends the channel; calls that are under way fail with Unavailable. Idempotent."""
        self._closed = True
        await self._channel.close()

    async def call(
        self,
        method: UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        timeout: float | None,
    ) -> Response:
        """Makes one call, once. Cancelling the task cancels the call.

        Args:
            method: of `stub`.
            request: what to ask.
            timeout: seconds; None: the client's default; `math.inf`: no limit.
        """
        deadline = self.deadline(timeout)
        started = asyncio.get_running_loop().time()
        async with self.translated():
            try:
                return await method(request, timeout=deadline, metadata=self._headers())
            except grpc.aio.AioRpcError as error:
                elapsed = asyncio.get_running_loop().time() - started
                if _is_late(error, deadline, elapsed):
                    text = f"no answer within {deadline:g} s"
                    raise DeadlineExceeded(text, code=Code.DEADLINE_EXCEEDED) from error
                raise

    async def watch(
        self, request: pb.WatchRequest
    ) -> UnaryStreamCall[pb.WatchRequest, pb.WatchResponse]:
        """Begins a watch, without a deadline."""
        async with self.translated():
            return self.stub.Watch(request, metadata=self._headers())

    async def send_stream(
        self, batches: AsyncIterator[pb.SendStreamRequest]
    ) -> StreamStreamCall[pb.SendStreamRequest, pb.SendStreamResponse]:
        """Begins a stream of batches, without a deadline."""
        async with self.translated():
            return self.stub.SendStream(batches, metadata=self._headers())

    @asynccontextmanager
    async def translated(self) -> AsyncIterator[None]:
        """Turns gRPC's errors into ours."""
        if self._closed:
            raise RuntimeError("the client is closed")
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if self._closed and not (task and task.cancelling()):
                # Closing the channel looks to gRPC as if the caller had given up.
                text = "the client was closed during the call"
                raise Unavailable(text, code=Code.UNAVAILABLE) from error
            raise

    def deadline(self, timeout: float | None) -> float | None:
        """Seconds that a call may take, with the client's default; None: no limit."""
        seconds = self.timeout if timeout is None else timeout
        return None if math.isinf(seconds) else seconds

    def _headers(self) -> grpc.aio.Metadata:
        values = self._metadata() if callable(self._metadata) else self._metadata
        return grpc.aio.Metadata(*values.items())


def _is_late(error: grpc.aio.AioRpcError, deadline: float | None, elapsed: float) -> bool:
    """True when the broker's side of the deadline passed first: it resets the stream then."""
    is_reset = error.code() is grpc.StatusCode.CANCELLED
    return is_reset and deadline is not None and elapsed >= 0.9 * deadline
