"""The verbs of a handle that act on the socket: close, terminate, pause, resume, ping, pong."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from . import _methods
from ._gen.holdfast.v1 import connection_service_pb2 as pb
from ._message import Confirmation, to_confirmation
from ._rpc import Rpc
from ._times import to_datetime, to_duration, to_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseResult:
    """How the client answered a close."""

    code: int
    """The code of its close frame; 1005 when it had none, 1006 when none came. 0 when the call did
    not wait for the end."""
    reason: str
    """The reason of its close frame."""
    was_clean: bool
    """True when close frames went both ways."""


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What `Connection` does to the socket; see there for what every method has in common."""

    id: str
    """The connection's ID, from an event, a listing or a watch."""
    _rpc: Rpc = field(repr=False, compare=False)
    _namespace: str = field(default="default", repr=False, compare=False)

    async def close(
        self,
        code: int = 1000,
        reason: str = "",
        *,
        confirmation: Confirmation | None = None,
        timeout: float | None = None,
    ) -> CloseResult:
        """Sends what is queued, then closes the connection.

        Args:
            code: 1000 to 1003, 1007 to 1014, or 3000 to 4999.
            reason: at most 123 bytes of UTF-8.
            confirmation: what to wait for; None: RECEIVED, until the connection has ended, which a
                silent client delays up to the endpoint's closing timeout of 30 s. QUEUED and
                WRITTEN do not wait for the client.
            timeout: see `Connection`. When it passes the closing goes on.

        Raises:
            InvalidArgument: the code or the reason must not be sent.
            NotConfirmed: the connection has not ended in time.
        """
        response = await self._rpc.call(
            _methods.CLOSE,
            pb.CloseRequest(
                connection_id=self.id,
                code=code,
                reason=reason,
                confirmation=to_confirmation(confirmation),
            ),
            timeout,
        )
        return CloseResult(code=response.code, reason=response.reason, was_clean=response.was_clean)

    async def terminate(self, *, timeout: float | None = None) -> None:
        """Ends the TCP connection at once; the client sees 1006. What was queued is lost."""
        request = pb.TerminateRequest(connection_id=self.id)
        await self._rpc.call(_methods.TERMINATE, request, timeout)

    async def pause(
        self, *, resume_after: float | None = None, timeout: float | None = None
    ) -> datetime:
        """Stops reading from the client; when it returns, no event follows until it is read again.

        Args:
            resume_after: seconds after which the broker resumes by itself; above 0 and at most the
                endpoint's `max_pause`. None: `max_pause` (10 min by default).
            timeout: see `Connection`.

        Returns:
            When the broker will resume by itself, UTC.

        Raises:
            ConnectionClosing: the closing handshake has begun.
            InvalidArgument: `resume_after` is out of its range.
        """
        request = pb.PauseRequest(connection_id=self.id, resume_after=to_duration(resume_after))
        response = await self._rpc.call(_methods.PAUSE, request, timeout)
        return to_datetime(response.resume_time)

    async def resume(self, *, timeout: float | None = None) -> None:
        """Reads from the client again; does nothing when it is not paused.

        Raises:
            ConnectionClosing: the closing handshake has begun.
        """
        await self._rpc.call(_methods.RESUME, pb.ResumeRequest(connection_id=self.id), timeout)

    async def ping(self, payload: bytes = b"", *, timeout: float | None = None) -> float:
        """Sends a ping and waits for its pong.

        Args:
            payload: at most 125 bytes.
            timeout: see `Connection`.

        Returns:
            The round trip in seconds.

        Raises:
            NotConfirmed: no pong came in time.
            ConnectionPaused: the connection is not read, so no pong could be seen.
            ConnectionClosing: the closing handshake has begun.
            QueueFull: the send queue has no room.
            RateLimited: too many pings are unanswered.
            InvalidArgument: the payload is too long.
        """
        request = pb.PingRequest(connection_id=self.id, payload=payload)
        response = await self._rpc.call(_methods.PING, request, timeout)
        return to_seconds(response.rtt)

    async def pong(
        self,
        payload: bytes = b"",
        *,
        confirmation: Confirmation | None = None,
        timeout: float | None = None,
    ) -> None:
        """Sends an unsolicited pong, which no client answers.

        Args:
            payload: at most 125 bytes.
            confirmation: QUEUED (None) or WRITTEN.
            timeout: see `Connection`.

        Raises:
            ConnectionClosing: the closing handshake has begun.
            QueueFull: the send queue has no room.
            InvalidArgument: the payload is too long, or RECEIVED was asked for.
        """
        request = pb.PongRequest(
            connection_id=self.id, payload=payload, confirmation=to_confirmation(confirmation)
        )
        await self._rpc.call(_methods.PONG, request, timeout)
