"""The control addresses: a channel for each, and which of them a call goes to.

gRPC could balance by itself, but not do what is needed here (tried with grpcio 1.85):

- A channel to several addresses takes IP addresses only ("ipv4:10.0.0.1:7400,10.0.0.2:7400"), and
  checks all their certificates against one name.
- Its `retryPolicy` knows methods and status codes, but neither requests (a Send with a request ID
  is safe to repeat) nor our reasons (NODE_STOPPING, which says that nothing was done, is as
  UNAVAILABLE as NODE_UNREACHABLE).
- Of a call that failed nobody can tell whether it had left.

So gRPC does what it does well, which is to connect, to reconnect with backoff and to find dead
connections; and a call is given to a channel only when that is connected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from ._gen.holdfast.v1 import connection_service_pb2 as pb
from ._methods import Stubs

if TYPE_CHECKING:
    from grpc import ChannelConnectivity

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of the largest answer that is read. A page of 1,000 connections can be above 4 MiB."""

CHANNEL_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.max_receive_message_length", MAX_ANSWER),
    ("grpc.max_send_message_length", -1),  # the broker's limit decides
    ("grpc.enable_retries", 0),  # a send is never repeated behind the caller's back
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


def _keepalive(seconds: int, timeout: int) -> Sequence[tuple[str, Any]]:
    """Pings, so that a broker is noticed whose machine is gone, or whose process hangs.

    Without them a watch, which has no deadline, would wait for it for ever. The broker allows pings
    every 5 s.
    """
    return (
        ("grpc.keepalive_time_ms", seconds * 1_000),
        ("grpc.keepalive_timeout_ms", timeout * 1_000),
        # What ends the connection in grpcio 1.85; default 60 s.
        ("grpc.http2.ping_timeout_ms", timeout * 1_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    )


KEEPALIVE_OPTIONS = _keepalive(10, 5)
"""With somewhere else to go it pays to know soon."""

LONE_KEEPALIVE_OPTIONS = _keepalive(20, 10)
"""With nowhere else to go a broker that is slow is waited for."""

WHY_TIMEOUT = 0.1
"""Seconds for a call that shall fail, to learn what keeps a channel from being connected."""

_READY = grpc.ChannelConnectivity.READY
_REFUSED = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)


def to_addresses(target: str | Sequence[str]) -> Sequence[str]:
    """The addresses in a string with commas, or in a sequence, each once.

    Raises:
        ValueError: there is none.
    """
    parts = target.split(",") if isinstance(target, str) else target
    addresses = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not addresses:
        raise ValueError(f"no control address: {target!r}")
    return addresses


class Link:
    """The channel to one address."""

    def __init__(
        self,
        address: str,
        credentials: grpc.ChannelCredentials | None,
        options: Sequence[tuple[str, Any]],
    ) -> None:
        """No I/O until it is used."""
        self.address = address
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(address, options)
        else:
            self.channel = grpc.aio.secure_channel(address, credentials, options)
        self.stubs = Stubs(self.channel)

    def state(self) -> ChannelConnectivity:
        """Whether it is connected; it begins to connect when it has not."""
        return self.channel.get_state(try_to_connect=True)


class Links:
    """The channels to all addresses. Calls take them in turn."""

    def __init__(
        self,
        addresses: Sequence[str],
        credentials: grpc.ChannelCredentials | None,
        options: Sequence[tuple[str, Any]],
    ) -> None:
        """No I/O until they are used. `options` win over this package's."""
        keepalive = KEEPALIVE_OPTIONS if len(addresses) > 1 else LONE_KEEPALIVE_OPTIONS
        # Of two arguments of the same name gRPC takes the first.
        arguments = {**dict(CHANNEL_OPTIONS), **dict(keepalive), **dict(options)}
        self._links = [Link(address, credentials, [*arguments.items()]) for address in addresses]
        self.only = self._links[0] if len(addresses) == 1 else None
        """The channel when there is nowhere else to go."""
        self._turn = 0

    def __str__(self) -> str:
        """The addresses, for messages."""
        return ", ".join(link.address for link in self._links)

    async def connect(self) -> None:
        """Connects to all addresses, and waits until one accepts calls."""
        if self.only is not None:
            await self.only.channel.channel_ready()
            return
        while _READY not in (states := self._states()):
            await self._change(states)

    async def why_not(self) -> str:
        """Why the first address is not connected, in gRPC's words; "" where it does not say."""
        call = self._links[0].stubs.connections.Count
        try:
            await call(pb.CountRequest(), timeout=WHY_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                return error.details() or ""
        return ""

    async def close(self) -> None:
        """Ends all channels."""
        await asyncio.gather(*(link.channel.close() for link in self._links))

    async def take(self, last: Link | None) -> Link | None:
        """As `ready`, but waits while some are connecting. None: nobody accepts connections."""
        while (link := self._next(states := self._states(), last)) is None:
            if all(state in _REFUSED for state in states):
                return None
            await self._change(states)
        return link

    def ready(self, last: Link | None) -> Link | None:
        """The next connected one, if possible other than `last`; None: there is none now.

        The only one is taken as it is: gRPC itself then waits while it connects, and fails the call
        when it cannot.
        """
        return self.only or self._next(self._states(), last)

    def has_other(self, link: Link) -> bool:
        """True when another one is connected."""
        return any(other is not link and other.state() is _READY for other in self._links)

    def _states(self) -> Sequence[ChannelConnectivity]:
        return [link.state() for link in self._links]

    def _next(self, states: Sequence[ChannelConnectivity], last: Link | None) -> Link | None:
        count = len(self._links)
        turns = ((self._turn + step) % count for step in range(count))
        ready = [index for index in turns if states[index] is _READY]
        for index in ready:
            if self._links[index] is not last:
                self._turn = index + 1
                return self._links[index]
        return last if ready else None

    async def _change(self, states: Sequence[ChannelConnectivity]) -> None:
        """Waits until some channel is no longer in its state."""
        changes = [
            asyncio.ensure_future(link.channel.wait_for_state_change(state))
            for link, state in zip(self._links, states, strict=True)
        ]
        try:
            await asyncio.wait(changes, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for change in changes:
                change.cancel()
            # A channel that is closed meanwhile lets them fail, which its state shows as well.
            await asyncio.gather(*changes, return_exceptions=True)
