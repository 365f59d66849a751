"""What a subscription is about, and what it has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ._events import KINDS, Event


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStats:
    """What a subscription has seen. All of it counts from the moment it was ready."""

    delivered: int
    """Events that the iterator has yielded."""
    repeats: int
    """Events left out: seen before, or later than the close of their connection."""
    dropped: int
    """Events lost because this program was slow; each loss was raised as a SlowConsumer."""
    undecodable: int
    """Messages on the event subjects that are no events; each was logged."""
    interruptions: int
    """How often the connection to NATS was lost and made again; events between are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interest:
    """Which events a subscription is about, and how many of them may wait."""

    namespace: str
    kinds: Sequence[type[Event]]
    queue: str
    max_pending: int
    max_pending_bytes: int
    remember: int

    def subjects(self, prefix: str) -> list[str]:
        """One subject for all kinds, else one for each."""
        wanted = [name for name, kind in KINDS.items() if kind in self.kinds]
        tokens = wanted if len(wanted) < len(KINDS) else ["*"]
        return [f"{prefix}.{self.namespace}.{token}.*" for token in tokens]
