"""A broker that only publishes, played by a test over a real NATS server."""

from __future__ import annotations

import nats
import nats.aio.client


class Publisher:
    """Publishes events as a broker would."""

    def __init__(self, client: nats.aio.client.Client) -> None:
        """Publishes over a NATS connection of its own."""
        self.nats = client

    async def flush(self) -> None:
        """Returns when the server has everything; see `round_trip` of the client for why twice."""
        await self.nats.flush()
        await self.nats.flush()

    async def open(self, connection_id: str) -> None:
        """An open event, seq 1."""
        await self._publish("open", connection_id, 1, b'{"id": "%s"}' % connection_id.encode())

    async def message(self, connection_id: str, seq: int, text: str = "", reply: str = "") -> None:
        """A text message event."""
        await self._publish("message", connection_id, seq, text.encode(), reply)

    async def close(self, connection_id: str, seq: int) -> None:
        """A close event."""
        await self._publish("close", connection_id, seq, b'{"code": 1000}')

    async def _publish(
        self, kind: str, connection_id: str, seq: int, payload: bytes, reply: str = ""
    ) -> None:
        headers = {"Holdfast-Seq": str(seq), "Holdfast-Opcode": "text"}
        subject = f"holdfast.default.{kind}.{connection_id}"
        await self.nats.publish(subject, payload, reply=reply, headers=headers)
