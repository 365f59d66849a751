"""The client: where everything begins and ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ._connecting import DEFAULT_TARGET, Connecting, Options
from ._feeds import Feeds
from ._many import Many
from ._rpc import DEFAULT_TIMEOUT, Metadata

if TYPE_CHECKING:
    import grpc


class Client(Many, Feeds):
    """Talks to a broker; made by `Client.connect`.

    One client serves a whole program: calls may be made from any task of the event loop that
    connected it, but not from other loops, threads or forked processes. Leaving `async with client`
    closes it.
    """

    @classmethod
    def connect(
        cls,
        target: str = DEFAULT_TARGET,
        *,
        # Events
        nats: str | Sequence[str] | None = None,
        nats_options: Mapping[str, Any] | None = None,
        subject_prefix: str = "holdfast",
        # Control
        credentials: grpc.ChannelCredentials | None = None,
        metadata: Metadata | None = None,
        channel_options: Sequence[tuple[str, Any]] = (),
        # Timeouts
        timeout: float = DEFAULT_TIMEOUT,
        connect_timeout: float = DEFAULT_TIMEOUT,
        lazy: bool = False,
    ) -> Connecting[Self]:
        """Connects to a broker: `await` it, or enter it with `async with`, which closes it too.

        Args:
            target: the broker's control port, a gRPC target such as "127.0.0.1:7400".
            nats: URLs of the NATS servers that carry events; None: `events` cannot be used.
            nats_options: passed on to `nats.connect` of nats-py: user, token, tls, ….
            subject_prefix: first token of the event subjects, as configured at the broker.
            credentials: `grpc.ssl_channel_credentials(…)` for TLS; None: plain text.
            metadata: sent with every call, for example {"authorization": "Bearer …"}; or a function
                that is asked at every call, for tokens that change.
            channel_options: further gRPC channel arguments, which win over this package's.
            timeout: seconds that a call may take when it does not say otherwise. Default 5.
            connect_timeout: seconds to wait for the broker and for NATS. Default 5.
            lazy: connect at the first use instead of now. Default False.

        Raises:
            Unavailable: the broker or NATS could not be reached in time.
        """
        options = Options(
            target=target,
            nats=nats,
            nats_options=dict(nats_options or {}),
            subject_prefix=subject_prefix,
            credentials=credentials,
            metadata=metadata or {},
            channel_options=channel_options,
            timeout=timeout,
            connect_timeout=connect_timeout,
            lazy=lazy,
        )
        return Connecting(cls, options)

    async def __aenter__(self) -> Self:
        """Returns itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the client."""
        await self.close()

    async def close(self) -> None:
        """Ends subscriptions and watches, sends buffered replies, and disconnects. Idempotent."""
        for stream in tuple(self._streams):
            await stream.aclose()
        if self._bus is not None:
            await self._bus.close()
        await self._rpc.close()
