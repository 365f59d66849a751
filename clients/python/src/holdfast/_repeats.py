"""Which events were seen before: the broker publishes at least once, this makes it once."""

from __future__ import annotations

from collections import OrderedDict

from ._events import AnyEvent, CloseEvent, MessageEvent, OpenEvent

_CLOSED = -1


class RepeatFilter:
    """Remembers the last sequence number of the connections heard of last.

    A broker that reconnects to NATS publishes again, in order and with the same sequence numbers,
    what the server had not confirmed. So an open or message event whose number is not above the
    last one of its connection is a repeat.

    The close of a connection may be repeated by another broker, or by the next start of this one,
    and that of a dead broker's connection has no number. So the first close is news, whatever its
    number and whether or not the open was seen, and behind it nothing of that connection is.

    Ping, pong and writable events carry no number of their own: their repeats are not recognised.
    """

    def __init__(self, capacity: int) -> None:
        """Remembers `capacity` connections; beyond that, those silent for longest are forgotten."""
        self._capacity = capacity
        self._last: OrderedDict[str, int] = OrderedDict()

    def admit(self, event: AnyEvent) -> bool:
        """True when the event is new, which is then remembered."""
        last = self._last.get(event.connection_id, 0)
        if last == _CLOSED:
            return False
        if isinstance(event, OpenEvent | MessageEvent) and 0 < event.seq <= last:
            return False
        self._remember(
            event.connection_id, _CLOSED if isinstance(event, CloseEvent) else max(last, event.seq)
        )
        return True

    def _remember(self, connection_id: str, seq: int) -> None:
        self._last[connection_id] = seq
        self._last.move_to_end(connection_id)
        if len(self._last) > self._capacity:
            self._last.popitem(last=False)
