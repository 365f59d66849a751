"""Connecting: what `Client.connect` returns, to be awaited or entered."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._bus import Bus
from ._rpc import Metadata, Rpc, RpcOptions

if TYPE_CHECKING:
    import grpc

    from ._client import Client

C = TypeVar("C", bound="Client")

DEFAULT_TARGET = "127.0.0.1:7400"
"""Where a broker on the same machine listens for control calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The arguments of `Client.connect`, which documents them."""

    addresses: Sequence[str]
    nats: str | Sequence[str] | None
    nats_options: Mapping[str, Any]
    subject_prefix: str
    credentials: grpc.ChannelCredentials | None
    metadata: Metadata
    channel_options: Sequence[tuple[str, Any]]
    timeout: float
    max_attempts: int
    connect_timeout: float
    lazy: bool


class Connecting(Generic[C]):
    """A client that is about to be connected.

    `client = await Client.connect(...)`, or `async with Client.connect(...) as client:`.
    """

    def __init__(self, kind: type[C], options: Options) -> None:
        """Made by `Client.connect`; nothing happens yet."""
        self._kind = kind
        self._options = options
        self._client: C | None = None

    def __await__(self) -> Generator[Any, None, C]:
        """Connects."""
        return self._connect().__await__()

    async def __aenter__(self) -> C:
        """Connects."""
        self._client = await self._connect()
        return self._client

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the client."""
        if self._client is not None:
            await self._client.close()

    async def _connect(self) -> C:
        options = self._options
        rpc = Rpc(
            RpcOptions(
                addresses=options.addresses,
                timeout=options.timeout,
                max_attempts=options.max_attempts,
                credentials=options.credentials,
                metadata=options.metadata,
                channel_options=options.channel_options,
            )
        )
        bus = None
        if options.nats is not None:
            bus = Bus(
                options.nats, options.nats_options, options.connect_timeout, options.subject_prefix
            )
        client = self._kind(rpc, bus)
        if not options.lazy:
            try:
                await rpc.connect(options.connect_timeout)
                if bus is not None:
                    await bus.connect()
            except BaseException:
                await client.close()
                raise
        return client
