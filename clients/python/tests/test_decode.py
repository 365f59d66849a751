"""NATS messages as events."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from holdfast import (
    Cause,
    CloseEvent,
    Fault,
    MessageEvent,
    OpenEvent,
    PingEvent,
    PongEvent,
    State,
    WritableEvent,
)
from holdfast._connection import Connection
from holdfast._decode import Links, Undecodable, from_nats, from_watch
from holdfast._events import AnyEvent
from holdfast._gen.holdfast.v1 import event_pb2

ID = "k5w2j4qzta-7m3c5z6q2n4x6p7a"

OPEN = b"""{
  "id": "k5w2j4qzta-7m3c5z6q2n4x6p7a", "node": "k5w2j4qzta", "namespace": "default",
  "endpoint": "/", "state": "OPEN", "url": "/?room=7", "host": "example.org",
  "remote_address": "192.0.2.7:51022", "headers": {"User-Agent": "curl"}, "user": "ann",
  "attributes": {"a": "1"}, "open_time": "2026-01-02T03:04:05.678Z", "rtt": "0.002s",
  "buffered_amount": "12", "messages_in": "3", "seq": "1",
  "tls": {"version": "TLS 1.3", "client_certificate": {"subject": "CN=a"}},
  "a_field_of_tomorrow": [1, 2]
}"""

CLOSE = b"""{
  "id": "k5w2j4qzta-7m3c5z6q2n4x6p7a", "node": "k5w2j4qzta", "namespace": "default",
  "endpoint": "/", "user": "ann", "code": 1002, "sent_code": 1002, "cause": "PROTOCOL_FAULT",
  "fault": "EXPECTED_MASK", "detail": "unmasked", "bytes_in": "18446744073709551615",
  "open_time": "2026-01-02T03:04:05Z", "close_time": "2026-01-02T03:04:06Z"
}"""


def connect(connection_id: str, namespace: str) -> Connection:
    """Events here are only looked at."""
    raise AssertionError(connection_id)


def decode(
    kind: str, payload: bytes, namespace: str = "default", **headers: str
) -> AnyEvent | None:
    """Decodes an event with these `Holdfast-` headers."""
    named = {f"Holdfast-{name.replace('_', '-')}": value for name, value in headers.items()}
    return from_nats(f"holdfast.{namespace}.{kind}.{ID}", named, payload, Links(connect))


def test_open() -> None:
    """The whole connection comes with it; fields of a newer broker do no harm."""
    event = decode("open", OPEN, Seq="1")
    assert isinstance(event, OpenEvent)
    assert (event.connection_id, event.namespace, event.seq, event.user) == (
        ID,
        "default",
        1,
        "ann",
    )
    snapshot = event.snapshot
    assert snapshot.id == ID
    assert snapshot.state is State.OPEN
    assert snapshot.handshake.headers == {"User-Agent": "curl"}
    assert snapshot.handshake.tls is not None
    assert snapshot.handshake.tls.client_certificate is not None
    assert snapshot.handshake.tls.client_certificate.subject == "CN=a"
    assert snapshot.open_time == datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    assert snapshot.expire_time is None
    assert snapshot.rtt == pytest.approx(0.002)
    assert snapshot.traffic.messages_in == 3


def test_close() -> None:
    """Enums are members, 64-bit integers are numbers."""
    event = decode("close", CLOSE, Seq="9")
    assert isinstance(event, CloseEvent)
    assert (event.code, event.sent_code, event.was_clean) == (1002, 1002, False)
    assert event.cause is Cause.PROTOCOL_FAULT
    assert event.fault is Fault.EXPECTED_MASK
    assert event.traffic.bytes_in == 2**64 - 1
    assert event.close_time == datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)


def test_a_close_without_a_number() -> None:
    """The connection's node died; and a cause of tomorrow is no reason to lose the event."""
    event = decode("close", b'{"code": 1006, "cause": "SOLAR_FLARE"}')
    assert isinstance(event, CloseEvent)
    assert (event.seq, event.cause, event.fault) == (0, Cause.UNSPECIFIED, Fault.UNSPECIFIED)


@pytest.mark.parametrize("text", ["", "hello", "grüße 🐘"])
def test_text_message(text: str) -> None:
    """A text message is `str`."""
    event = decode("message", text.encode(), Seq="2", Opcode="text")
    assert isinstance(event, MessageEvent)
    assert (event.data, event.seq, event.user) == (text, 2, "")


def test_binary_message() -> None:
    """A binary message is `bytes`, also when it looks like text."""
    event = decode("message", b"abc", Seq="2", Opcode="binary")
    assert isinstance(event, MessageEvent)
    assert event.data == b"abc"


def test_user_and_attributes_are_percent_decoded() -> None:
    """Headers are ASCII, users and the values of attributes are UTF-8."""
    headers = {"Attr-100%": "a%2Fb+c%20", "Attr-Room": "7"}
    event = decode("message", b"", Seq="2", Opcode="text", User="%C3%A4nn%25", **headers)
    assert isinstance(event, MessageEvent)
    assert event.user == "änn%"
    assert event.attributes == {"100%": "a/b+c ", "Room": "7"}


def test_control_events() -> None:
    """Ping, pong and writable carry the number of the event before them."""
    assert decode("ping", b"p", Seq="4") == PingEvent(
        connection_id=ID, namespace="default", seq=4, user="", payload=b"p"
    )
    assert decode("pong", b"", Seq="4") == PongEvent(
        connection_id=ID, namespace="default", seq=4, user="", payload=b""
    )
    for payload in (b'{"buffered_amount":0}', b'{"buffered_amount":"0"}', b"{}"):
        assert decode("writable", payload, Seq="4") == WritableEvent(
            connection_id=ID, namespace="default", seq=4, user="", buffered_amount=0
        )


def test_unknown_kinds_are_left_aside() -> None:
    """A newer broker may publish more kinds."""
    assert decode("applause", b"", Seq="1") is None
    assert from_watch(event_pb2.Event(), Links(connect)) is None


def test_the_prefix_may_have_several_tokens() -> None:
    """A subject is read from its end."""
    event = from_nats(
        f"acme.holdfast.chat.message.{ID}",
        {"Holdfast-Opcode": "text", "Holdfast-Seq": "2"},
        b"x",
        Links(connect),
    )
    assert isinstance(event, MessageEvent)
    assert event.namespace == "chat"


@pytest.mark.parametrize(
    ("kind", "payload", "headers"),
    [
        ("open", b"not json", {}),
        ("open", b'{"seq": "one"}', {}),
        ("close", b"\xff", {}),
        ("message", b"\xff", {"Opcode": "text"}),
        ("message", b"no opcode", {}),
        ("message", b"", {"Opcode": "text", "User": "%FF"}),
        ("message", b"", {"Opcode": "text", "Seq": "-1"}),
        ("writable", b"{", {}),
    ],
)
def test_what_is_no_event(kind: str, payload: bytes, headers: dict[str, str]) -> None:
    """Anybody can publish on an event subject; it must not end a subscription in a surprise."""
    with pytest.raises(Undecodable):
        decode(kind, payload, **headers)


def test_events_of_nobody_cannot_act() -> None:
    """An event that a test made has no client behind it."""
    event = MessageEvent(connection_id=ID, namespace="default", seq=1, user="", data="x")
    with pytest.raises(RuntimeError):
        _ = event.connection
