"""Answers that come page by page, as async iterators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from .errors import PartialAnswer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One answer."""

    items: Iterable[T]
    next_token: str
    """Asks for the next page; "": this was the last."""
    unreachable_nodes: Sequence[str]


class Pages(ABC, Generic[T]):
    """Everything on all pages: an async iterator that asks for the next page when it is needed."""

    def __init__(self, allow_partial: bool) -> None:
        """No I/O until it is iterated over."""
        self._allow_partial = allow_partial
        self._page: deque[T] = deque()
        self._token = ""
        self._is_last = False
        self._count = 0
        self._unreachable: dict[str, None] = {}

    @property
    def unreachable_nodes(self) -> tuple[str, ...]:
        """The nodes that did not answer so far; what they have is missing."""
        return tuple(self._unreachable)

    def __aiter__(self) -> Self:
        """Returns itself."""
        return self

    async def __anext__(self) -> T:
        """The next one; asks for the next page when needed.

        Raises:
            PartialAnswer: at the end, when nodes did not answer and `allow_partial` is False.
            InvalidArgument: the broker refuses what is asked for.
            Unavailable: the broker cannot be reached.
            DeadlineExceeded: no page within the timeout.
        """
        while not self._page:
            if self._is_last:
                self._finish()
            await self._turn()
        self._count += 1
        return self._page.popleft()

    @abstractmethod
    async def _fetch(self, token: str) -> Page[T]:
        """Asks for a page; "": the first."""

    async def _turn(self) -> None:
        page = await self._fetch(self._token)
        self._page.extend(page.items)
        self._unreachable.update(dict.fromkeys(page.unreachable_nodes))
        self._token = page.next_token
        self._is_last = not page.next_token

    def _finish(self) -> None:
        if self._unreachable and not self._allow_partial:
            raise PartialAnswer(self.unreachable_nodes, self._count)
        raise StopAsyncIteration
