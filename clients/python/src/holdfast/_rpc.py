"""The calls of the control API: deadlines, metadata, errors and repeats, in one place."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

from . import _methods
from ._attempts import Attempts
from ._codes import Code
from ._gen.holdfast.v1 import connection_service_pb2 as pb
from ._links import Link, Links
from ._methods import Method
from ._sends import Sends
from ._status import from_rpc_error
from .errors import DeadlineExceeded, HoldfastError, InvalidArgument, Unavailable

if TYPE_CHECKING:
    from grpc.aio import StreamStreamCall, UnaryStreamCall

Request = TypeVar("Request")
Response = TypeVar("Response")

Metadata = Mapping[str, str] | Callable[[], Mapping[str, str]]

_HEADER_VALUE = re.compile(r"[ -~]*")

DEFAULT_TIMEOUT = 5.0
"""Seconds a call may take when it says nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcOptions:
    """How to reach the broker's control ports, and how long to wait for them."""

    addresses: Sequence[str]
    timeout: float
    max_attempts: int
    credentials: grpc.ChannelCredentials | None
    metadata: Metadata
    channel_options: Sequence[tuple[str, Any]]


class Rpc:
    """The calls of the control API, with this package's errors."""

    def __init__(self, options: RpcOptions) -> None:
        """Creates the channels; no I/O until the first call."""
        self.timeout = options.timeout
        self._max_attempts = options.max_attempts
        self._metadata = options.metadata
        self._links = Links(options.addresses, options.credentials, options.channel_options)
        self._sends = Sends()
        self._closed = False

    async def connect(self, timeout: float) -> None:
        """Waits until a broker accepts calls.

        Raises:
            Unavailable: none did within `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._links.connect()
        except TimeoutError as error:
            text = f"no broker at {self._links} within {timeout:g} s"
            if why := await self._links.why_not():
                text += f": {why}"
            raise Unavailable(text, code=Code.UNAVAILABLE) from error

    async def close(self) -> None:
        """Ends the channels; calls that are under way fail with Unavailable. Idempotent."""
        self._closed = True
        await self._links.close()

    async def call(
        self,
        method: Method[Request, Response],
        request: Request,
        timeout: float | None,
        *,
        is_repeatable: Callable[[], bool] | None = None,
    ) -> Response:
        """Makes one call. Cancelling the task cancels the call.

        With one address it is made once; for several see `Attempts`.

        Args:
            method: which call.
            request: what to ask.
            timeout: seconds; None: the client's default; `math.inf`: no limit.
            is_repeatable: whether it is safe to repeat at that moment; None: as the method says.
        """
        only = self._links.only
        if only is not None:
            async with self.translated():
                return await self._attempt(only, method, request, self.deadline(timeout))
        attempts = self.attempts(timeout)
        may_repeat = is_repeatable or (lambda: method.is_repeatable)
        while True:
            try:
                async with self.translated():
                    link = await attempts.link()
                    patience = attempts.patience(may_repeat())
                    return await self._attempt(link, method, request, patience)
            except HoldfastError as error:
                if self._closed or not await attempts.again(error, may_repeat()) or self._closed:
                    final = attempts.final(error)
                    if final is error:
                        raise
                    raise final from error

    async def send(self, request: pb.SendRequest, timeout: float | None) -> pb.SendResponse:
        """Makes a Send. Where calls are repeated it gets a request ID, which makes that safe."""
        if self._links.only is not None or self._max_attempts == 1:
            return await self.call(_methods.SEND, request, timeout)
        request.request_id = request.request_id or self._sends.new_id()
        with self._sends.under_way(request.connection_id) as is_remembered:
            return await self.call(_methods.SEND, request, timeout, is_repeatable=is_remembered)

    def attempts(self, timeout: float | None) -> Attempts:
        """The attempts of one call that begins now.

        Raises:
            RuntimeError: the client is closed.
        """
        self._check_is_open()
        return Attempts(self._links, self.deadline(timeout), self._max_attempts)

    async def watch(
        self, link: Link, request: pb.WatchRequest
    ) -> UnaryStreamCall[pb.WatchRequest, pb.WatchResponse]:
        """Begins a watch, without a deadline."""
        async with self.translated():
            return link.stubs.connections.Watch(request, metadata=self._headers())

    async def send_stream(
        self, batches: AsyncIterator[pb.SendStreamRequest]
    ) -> StreamStreamCall[pb.SendStreamRequest, pb.SendStreamResponse]:
        """Begins a stream of batches at one address, without a deadline.

        Raises:
            Unavailable: there are several addresses, and none accepts connections.
            DeadlineExceeded: none did within the client's timeout.
        """
        attempts = self.attempts(None)
        async with self.translated():
            while True:
                try:
                    link = await attempts.link()
                    break
                except HoldfastError as error:
                    if not await attempts.again(error, False):
                        raise
            return link.stubs.connections.SendStream(batches, metadata=self._headers())

    @asynccontextmanager
    async def translated(self) -> AsyncIterator[None]:
        """Turns gRPC's errors into ours."""
        self._check_is_open()
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

    async def _attempt(
        self,
        link: Link,
        method: Method[Request, Response],
        request: Request,
        deadline: float | None,
    ) -> Response:
        call = method.of(link.stubs)
        started = asyncio.get_running_loop().time()
        try:
            return await call(request, timeout=deadline, metadata=self._headers())
        except grpc.aio.AioRpcError as error:
            elapsed = asyncio.get_running_loop().time() - started
            if _is_late(error, deadline, elapsed):
                text = f"no answer within {deadline:g} s"
                raise DeadlineExceeded(text, code=Code.DEADLINE_EXCEEDED) from error
            raise

    def _check_is_open(self) -> None:
        if self._closed:
            raise RuntimeError("the client is closed")

    def _headers(self) -> grpc.aio.Metadata:
        values = self._metadata() if callable(self._metadata) else self._metadata
        for name, value in values.items():
            if not _HEADER_VALUE.fullmatch(value):  # the value may be a secret
                raise InvalidArgument(
                    f"the metadata {name!r} has a character that a header must not have",
                    code=Code.INVALID_ARGUMENT,
                    metadata={"field": "metadata", "allowed": "printable ASCII"},
                )
        return grpc.aio.Metadata(*((name.lower(), value) for name, value in values.items()))


def _is_late(error: grpc.aio.AioRpcError, deadline: float | None, elapsed: float) -> bool:
    """True when the broker's side of the deadline passed first: it resets the stream then."""
    is_reset = error.code() is grpc.StatusCode.CANCELLED
    return is_reset and deadline is not None and elapsed >= 0.9 * deadline
