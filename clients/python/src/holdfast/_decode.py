"""From NATS messages and Watch responses to events. Pure: bytes and headers in, events out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from google.protobuf import json_format

from . import _events
from ._events import AnyEvent, Cause, Connector, Fault, Replier
from ._gen.holdfast.v1 import connection_pb2, event_pb2
from ._snapshot import to_snapshot, to_traffic
from ._times import to_datetime

if TYPE_CHECKING:
    pass

SEQ_HEADER = "Holdfast-Seq"
OPCODE_HEADER = "Holdfast-Opcode"
USER_HEADER = "Holdfast-User"
ATTRIBUTE_HEADER = "Holdfast-Attr-"


class Undecodable(ValueError):
    """Something on an event subject that is not an event."""


@dataclass(frozen=True, slots=True)
class Links:
    """What an event needs to act: how to get a handle, and how to reply."""

    connect: Connector
    reply: Replier | None = None


def from_nats(
    subject: str, headers: Mapping[str, str], payload: bytes, links: Links
) -> AnyEvent | None:
    """Reads an event of NATS; None for a kind that this package does not know.

    Raises:
        Undecodable: the message is no event of a broker.
    """
    tokens = subject.rsplit(".", 3)
    if len(tokens) != 4:
        raise Undecodable(f"subject {subject!r}")
    _, namespace, kind, connection_id = tokens
    if kind not in _events.KINDS:
        return None
    common: dict[str, Any] = {
        "connection_id": connection_id,
        "namespace": namespace,
        "seq": _to_seq(headers.get(SEQ_HEADER)),
        "_connect": links.connect,
    }
    try:
        return _read(kind, common, headers, payload, links)
    except (UnicodeDecodeError, json_format.ParseError, KeyError) as error:
        raise Undecodable(f"{kind} of {connection_id}: {error}") from error


def _read(
    kind: str, common: dict[str, Any], headers: Mapping[str, str], payload: bytes, links: Links
) -> AnyEvent:
    user = unquote(headers.get(USER_HEADER, ""), errors="strict")
    match kind:
        case "open":
            connection = json_format.Parse(
                payload, connection_pb2.Connection(), ignore_unknown_fields=True
            )
            return _to_open(common, connection)
        case "close":
            closed = json_format.Parse(payload, event_pb2.Closed(), ignore_unknown_fields=True)
            return _to_close(common, closed)
        case "message":
            is_text = headers[OPCODE_HEADER] == "text"
            return _events.MessageEvent(
                **common,
                user=user,
                data=payload.decode() if is_text else payload,
                attributes=_to_attributes(headers),
                _reply=links.reply,
            )
        case "ping":
            return _events.PingEvent(**common, user=user, payload=payload)
        case "pong":
            return _events.PongEvent(**common, user=user, payload=payload)
        case _:
            event = json_format.Parse(payload, event_pb2.Event(), ignore_unknown_fields=True)
            return _events.WritableEvent(**common, user=user, buffered_amount=event.buffered_amount)


def from_watch(event: event_pb2.Event, links: Links) -> AnyEvent | None:
    """Reads an event of a Watch; None for a kind that this package does not know."""
    common: dict[str, Any] = {
        "connection_id": event.connection_id,
        "namespace": event.namespace,
        "seq": event.seq,
        "_connect": links.connect,
    }
    match event.kind:
        case event_pb2.Event.OPEN:
            return _to_open(common, event.connection)
        case event_pb2.Event.CLOSE:
            return _to_close(common, event.closed)
        case event_pb2.Event.MESSAGE:
            is_text = event.opcode == event_pb2.TEXT
            return _events.MessageEvent(
                **common,
                user=event.user,
                data=event.payload.decode() if is_text else event.payload,
                attributes=dict(event.attributes),
                _reply=links.reply,
            )
        case event_pb2.Event.PING:
            return _events.PingEvent(**common, user=event.user, payload=event.payload)
        case event_pb2.Event.PONG:
            return _events.PongEvent(**common, user=event.user, payload=event.payload)
        case event_pb2.Event.WRITABLE:
            return _events.WritableEvent(
                **common, user=event.user, buffered_amount=event.buffered_amount
            )
        case _:
            return None


def _to_open(common: dict[str, Any], connection: connection_pb2.Connection) -> _events.OpenEvent:
    return _events.OpenEvent(**common, user=connection.user, snapshot=to_snapshot(connection))


def _to_close(common: dict[str, Any], closed: event_pb2.Closed) -> _events.CloseEvent:
    cause = event_pb2.Closed.Cause.DESCRIPTOR.values_by_number.get(closed.cause)
    fault = event_pb2.Closed.Fault.DESCRIPTOR.values_by_number.get(closed.fault)
    return _events.CloseEvent(
        **common,
        user=closed.user,
        code=closed.code,
        reason=closed.reason,
        was_clean=closed.was_clean,
        cause=Cause.named(cause.name if cause else ""),
        fault=Fault.named(fault.name if fault else ""),
        detail=closed.detail,
        sent_code=closed.sent_code,
        sent_reason=closed.sent_reason,
        node=closed.node,
        endpoint=closed.endpoint,
        attributes=dict(closed.attributes),
        open_time=to_datetime(closed.open_time),
        close_time=to_datetime(closed.close_time),
        traffic=to_traffic(closed),
    )


def _to_seq(value: str | None) -> int:
    """The sequence number; 0 for the close event of a connection whose node died."""
    if value is None:
        return 0
    if not value.isdecimal():
        raise Undecodable(f"sequence number {value!r}")
    return int(value)


def _to_attributes(headers: Mapping[str, str]) -> dict[str, str]:
    """The attributes among the headers; values are percent-encoded UTF-8, names are as they are."""
    return {
        name.removeprefix(ATTRIBUTE_HEADER): unquote(value, errors="strict")
        for name, value in headers.items()
        if name.startswith(ATTRIBUTE_HEADER)
    }
