"""Deciding who may connect, where an endpoint's admission is `backend`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from google.protobuf import json_format

from ._gen.holdfast.v1 import admission_pb2
from ._snapshot import Tls, to_tls

Headers = Mapping[str, str] | Iterable[tuple[str, str]]
"""Headers of an answer; pairs, where one comes several times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeRequest:
    """A client that wants to connect, with its credentials: let them go no further."""

    connection_id: str
    """The ID that the connection will have. What is sent to it meanwhile waits."""
    namespace: str
    """The endpoint's namespace."""
    endpoint: str
    """The configured path, "/ws/{room}"."""
    path_values: Mapping[str, str]
    """What stands in the place of its wildcards, {"room": "lobby"}."""
    url: str
    """Path and query as the client wrote them."""
    host: str
    """The Host header."""
    headers: Mapping[str, str]
    """All others, by canonical name: "Authorization", "Cookie", "User-Agent"."""
    subprotocols: tuple[str, ...]
    """What the client offers, in its order; "bearer." entries among them."""
    remote_address: str
    """The client's, "192.0.2.7:51022"; "" on a Unix socket. Behind a trusted proxy it is what the
    proxy says, which may be without a port: "192.0.2.7"."""
    local_address: str
    """What the client connected to."""
    tls: Tls | None
    """None on a plain connection."""


@dataclass(frozen=True, slots=True)
class Accept:
    """Lets the client in; the open event has all that it says."""

    user: str = ""
    """At most 256 bytes without control characters; "": unknown."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """At most 8 KiB."""
    groups: Iterable[str] = ()
    """What the connection is a member of from the beginning."""
    subprotocol: str | None = None
    """One of those offered; "" for none; None: as the endpoint's settings say."""
    headers: Headers = ()
    """Further ones of the answer 101, such as Set-Cookie."""
    expire_time: datetime | None = None
    """When the broker closes the connection (4401); aware, or taken as UTC. None: never."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Keeps the client out."""

    status: int = 403
    """400 to 599, or a redirect with a Location header, which browsers do not follow."""
    body: str = ""
    """Plain text, unless `headers` has a Content-Type."""
    headers: Headers = ()
    """Further ones of the answer, such as WWW-Authenticate."""


Handler = Callable[[HandshakeRequest], Awaitable[Accept | Refuse]]
"""Decides about one client."""


def to_request(payload: bytes) -> HandshakeRequest:
    """Reads what the broker asks.

    Raises:
        json_format.ParseError: it is no handshake.
    """
    handshake = json_format.Parse(payload, admission_pb2.Handshake(), ignore_unknown_fields=True)
    return HandshakeRequest(
        connection_id=handshake.connection_id,
        namespace=handshake.namespace,
        endpoint=handshake.endpoint,
        path_values=dict(handshake.path_values),
        url=handshake.url,
        host=handshake.host,
        headers=dict(handshake.headers),
        subprotocols=tuple(handshake.subprotocols),
        remote_address=handshake.remote_address,
        local_address=handshake.local_address,
        tls=to_tls(handshake.tls) if handshake.HasField("tls") else None,
    )


def to_payload(answer: Accept | Refuse) -> bytes:
    """Writes an answer.

    Raises:
        TypeError: it is neither Accept nor Refuse, or has values of other types.
    """
    message = admission_pb2.HandshakeAnswer()
    match answer:
        case Accept():
            _accept(message.accept, answer)
        case Refuse():
            message.refuse.SetInParent()
            message.refuse.status = answer.status
            message.refuse.body = answer.body
            message.refuse.headers.extend(_fields(answer.headers))
        case _:
            raise TypeError(f"a handler answers Accept or Refuse, not {answer!r}")
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, indent=None
    ).encode()


def _accept(message: admission_pb2.HandshakeAnswer.Accept, answer: Accept) -> None:
    message.SetInParent()
    message.user = answer.user
    message.attributes.update(answer.attributes)
    message.groups.extend(answer.groups)
    if answer.subprotocol is not None:
        message.subprotocol = answer.subprotocol
    message.headers.extend(_fields(answer.headers))
    if (at := answer.expire_time) is not None:
        message.expire_time.FromDatetime(at if at.tzinfo else at.replace(tzinfo=UTC))


def _fields(headers: Headers) -> list[admission_pb2.HandshakeAnswer.Field]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [admission_pb2.HandshakeAnswer.Field(name=name, value=value) for name, value in pairs]
