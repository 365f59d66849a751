"""Enums by name, and those that errors speak: gRPC's status codes and the broker's reasons."""

from __future__ import annotations

from enum import StrEnum, auto
from typing import Self

__all__ = ["Code", "NamedEnum", "Reason", "auto"]


class NamedEnum(StrEnum):
    """An enum whose values are the names of its members, as the schema's enums are in JSON."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[str]) -> str:
        return name

    @classmethod
    def named(cls, name: str) -> Self:
        """The member of that name, else UNSPECIFIED: a newer broker may send others."""
        return cls.__members__.get(name) or cls["UNSPECIFIED"]


class Code(NamedEnum):
    """The class of a failure: gRPC's status codes, by name."""

    CANCELLED = auto()
    UNKNOWN = auto()
    INVALID_ARGUMENT = auto()
    DEADLINE_EXCEEDED = auto()
    NOT_FOUND = auto()
    ALREADY_EXISTS = auto()
    PERMISSION_DENIED = auto()
    RESOURCE_EXHAUSTED = auto()
    FAILED_PRECONDITION = auto()
    ABORTED = auto()
    OUT_OF_RANGE = auto()
    UNIMPLEMENTED = auto()
    INTERNAL = auto()
    UNAVAILABLE = auto()
    DATA_LOSS = auto()
    UNAUTHENTICATED = auto()


class Reason(NamedEnum):
    """Why the broker refused, `ErrorReason` of the schema, by name.

    A newer broker may send a reason that is not listed here. `HoldfastError.reason` is therefore a
    plain string, which compares equal to the members of this enum.
    """

    CONNECTION_NOT_FOUND = auto()
    CONNECTION_GONE = auto()
    CONNECTION_CLOSING = auto()
    CONNECTION_PAUSED = auto()
    MESSAGE_EXPIRED = auto()
    SEND_QUEUE_FULL = auto()
    RATE_LIMITED = auto()
    WATCH_LAGGED = auto()
    INVALID_CONNECTION_ID = auto()
    INVALID_CLOSE_CODE = auto()
    REASON_TOO_LONG = auto()
    CONTROL_PAYLOAD_TOO_LONG = auto()
    MESSAGE_TOO_LARGE = auto()
    INVALID_GROUP = auto()
    INVALID_NAMESPACE = auto()
    INVALID_PAGE_TOKEN = auto()
    INVALID_FRAGMENT = auto()
    INVALID_MESSAGE = auto()
    INVALID_CONFIRMATION = auto()
    INVALID_DURATION = auto()
    INVALID_REQUEST_ID = auto()
    INVALID_ATTRIBUTES = auto()
    INVALID_USER = auto()
    INVALID_FILTER = auto()
    INVALID_EXPIRE_TIME = auto()
    INVALID_BATCH = auto()
    SKIPPED_AFTER_FAILURE = auto()
    NODE_UNREACHABLE = auto()
    BUS_UNAVAILABLE = auto()
    NOT_CONFIRMED = auto()
    NODE_STOPPING = auto()
    INTERNAL_ERROR = auto()
    INVALID_TARGET = auto()
    INVALID_NODE_ID = auto()
    NODE_NOT_FOUND = auto()
    TOO_MANY_GROUPS = auto()
    UNAUTHENTICATED = auto()
    PERMISSION_DENIED = auto()
    KEYS_UNAVAILABLE = auto()
