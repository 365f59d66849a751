"""Durations and times: floats and aware datetimes here, protobuf's messages on the wire."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

_NANOSECONDS = 1_000_000_000


def to_duration(seconds: float | None) -> Duration | None:
    """The duration of so many seconds; None stays absent."""
    if seconds is None:
        return None
    duration = Duration()
    duration.FromNanoseconds(round(seconds * _NANOSECONDS))
    return duration


def to_seconds(duration: Duration) -> float:
    """The seconds of a duration."""
    return duration.ToNanoseconds() / _NANOSECONDS


def to_timestamp(time: datetime | None) -> Timestamp | None:
    """The timestamp of an aware datetime; None stays absent.

    Raises:
        ValueError: the datetime has no time zone.
    """
    if time is None:
        return None
    if time.tzinfo is None:
        raise ValueError("a datetime without a time zone")
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp


def to_datetime(timestamp: Timestamp) -> datetime:
    """The time in UTC, to the microsecond."""
    return timestamp.ToDatetime(UTC)
