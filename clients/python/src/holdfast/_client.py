"""The client: where everything begins and ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ._attempts import MAX_ATTEMPTS
from ._cluster import Cluster
from ._connecting import DEFAULT_TARGET, Connecting, Options
from ._feeds import Feeds
from ._links import to_addresses
from ._many import Many
from ._rpc import DEFAULT_TIMEOUT, Metadata

if TYPE_CHECKING:
    import grpc


class Client(Many, Cluster, Feeds):
    """Talks to a broker; made by `Client.connect`.

    One client serves a whole program: calls may be made from any task of the event loop that
    connected it, but not from other loops, threads or forked processes. Leaving `async with client`
    closes it.
    """

    @classmethod
    def connect(
        cls,
        target: str | Sequence[str] = DEFAULT_TARGET,
        *,
        # Events
        nats: str | Sequence[str] | None = None,
        nats_options: Mapping[str, Any] | None = None,
        subject_prefix: str = "holdfast",
        # Control
        credentials: grpc.ChannelCredentials | None = None,
        metadata: Metadata | None = None,
        channel_options: Sequence[tuple[str, Any]] = (),
        # Timeouts and repeats
        timeout: float = DEFAULT_TIMEOUT,
        connect_timeout: float = DEFAULT_TIMEOUT,
        max_attempts: int = MAX_ATTEMPTS,
        lazy: bool = False,
    ) -> Connecting[Self]:
        """Connects to a broker: `await` it, or enter it with `async with`, which closes it too.

        Args:
            target: the broker's control port, a gRPC target such as "127.0.0.1:7400"; or those of
                several nodes, as a sequence or with commas, "a:7400,b:7400". Calls take them in
                turn, and leave out those that are not connected; a stream stays with one.
            nats: URLs of the NATS servers that carry events; None: `events` cannot be used.
            nats_options: passed on to `nats.connect` of nats-py: user, token, tls, ….
            subject_prefix: first token of the event subjects, as configured at the broker; with
                "-in" behind it, that of the subjects of groups.
            credentials: `grpc.ssl_channel_credentials(…)` for TLS; None: plain text.
            metadata: sent with every call, for example {"authorization": "Bearer …"}; or a function
                that is asked at every call, for tokens that change.
            channel_options: further gRPC channel arguments, which win over this package's.
            timeout: seconds that a call may take when it does not say otherwise. Default 5.
            connect_timeout: seconds to wait for the broker and for NATS. Default 5.
            max_attempts: with several addresses, how often a call is made at most, within its
                timeout: again when nothing was done, and when it is safe to repeat also when the
                outcome is unknown. 1: once. With one address every call is made once. Default 5.
            lazy: connect at the first use instead of now. Default False.

        Raises:
            Unavailable: no broker, or no NATS server, could be reached in time.
            PermissionDenied: NATS refuses the credentials.
            ValueError: there is no address in `target`, or `max_attempts` is below 1.
        """
        if max_attempts < 1:
            raise ValueError(f"max_attempts is at least 1, not {max_attempts}")
        options = Options(
            addresses=to_addresses(target),
            nats=nats,
            nats_options=dict(nats_options or {}),
            subject_prefix=subject_prefix,
            credentials=credentials,
            metadata=metadata or {},
            channel_options=channel_options,
            timeout=timeout,
            max_attempts=max_attempts,
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
        await asyncio.gather(*(stream.aclose() for stream in tuple(self._streams)))
        if self._bus is not None:
            await self._bus.close()
        await self._rpc.close()
