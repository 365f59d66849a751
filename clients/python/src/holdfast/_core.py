"""What all parts of a client share."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from ._bus import Bus
from ._connection import Connection
from ._doorkeeper import Doorkeeper
from ._rpc import Rpc
from ._subscription import Subscription
from ._watch import Watch


class Core:
    """The channel, the bus, and what was opened on them."""

    def __init__(self, rpc: Rpc, bus: Bus | None) -> None:
        """Made by `Client.connect`."""
        self._rpc = rpc
        self._bus = bus
        self._streams: WeakSet[Subscription[Any] | Watch[Any] | Doorkeeper] = WeakSet()

    def connection(self, connection_id: str, *, namespace: str = "default") -> Connection:
        """The handle to a connection. No I/O: it does not say that the connection exists.

        Args:
            connection_id: from an event, a listing or a watch.
            namespace: of the connection; only `join` and `leave` need it. `event.connection` knows
                its own.
        """
        return Connection(connection_id, self._rpc, namespace)

    def _connect(self, connection_id: str, namespace: str) -> Connection:
        """For events, which know both."""
        return Connection(connection_id, self._rpc, namespace)
