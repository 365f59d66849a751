"""What the broker knows of a connection, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ._codes import NamedEnum, auto
from ._gen.holdfast.v1 import connection_pb2, event_pb2
from ._times import to_datetime, to_seconds


class State(NamedEnum):
    """State of a WebSocket, RFC 6455 section 7."""

    UNSPECIFIED = auto()
    """A state that this package does not know yet."""
    OPEN = auto()
    """Messages can be sent."""
    CLOSING = auto()
    """A close frame was sent or received; only the closing handshake is still under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What passed through a connection. Bytes are those of payloads."""

    messages_in: int
    bytes_in: int
    messages_out: int
    bytes_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """Facts of a verified client certificate."""

    subject: str
    """Distinguished name, RFC 2253."""
    issuer: str
    """Distinguished name, RFC 2253."""
    serial_number: str
    """Decimal."""
    dns_names: tuple[str, ...]
    """Subject alternative names that are host names."""
    sha256: str
    """Fingerprint: 64 hexadecimal digits in lower case."""
    not_after: datetime
    """When the certificate ends, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Facts of a connection's TLS session."""

    version: str
    """"TLS 1.2" or "TLS 1.3"."""
    cipher_suite: str
    """The IANA name."""
    server_name: str
    """What the client asked for (SNI); "" when it did not."""
    client_certificate: ClientCertificate | None
    """The verified leaf that the client presented."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """Facts of the handshake that opened a connection."""

    url: str
    """Path and query, "/chat?room=7"."""
    host: str
    """The Host header."""
    remote_address: str
    """The client's, "192.0.2.7:51022"; "" on a Unix socket. Behind a trusted proxy it is what the
    proxy says, which may be without a port: "192.0.2.7"."""
    headers: Mapping[str, str]
    """The headers that the endpoint's `keep_headers` names, by canonical name."""
    subprotocol: str
    """The one that was chosen; "" when none was."""
    extensions: str
    """The agreed Sec-WebSocket-Extensions; "" when none were."""
    tls: Tls | None
    """None on a plain connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSnapshot:
    """A connection at the moment of the answer. To act on it: `client.connection(snapshot.id)`."""

    id: str
    """Opaque; never reused."""
    node: str
    """The broker process that holds the socket."""
    namespace: str
    """The family of connections that the endpoint put it in."""
    endpoint: str
    """The configured path that accepted it, for example "/ws/{room}"."""
    state: State
    """OPEN or CLOSING. A connection that has ended is not found."""
    paused: bool
    """True while a backend's pause, or the endpoint's `start_paused`, keeps it from being read."""
    user: str
    """Who admission or a backend's update says the client is; "" when nobody has."""
    attributes: Mapping[str, str]
    """What admission, and backends by `update`, attached."""
    groups: tuple[str, ...]
    """The groups it is a member of, sorted."""
    handshake: Handshake
    """How it was opened."""
    open_time: datetime
    """When the handshake was accepted, UTC."""
    expire_time: datetime | None
    """When the broker will close it (4401), UTC; None: never."""
    rtt: float | None
    """Seconds of the last answered ping's round trip; None before the first."""
    buffered_amount: int
    """Payload bytes accepted for sending and not yet taken by the kernel."""
    traffic: Traffic
    """What passed through it so far."""
    seq: int
    """The last published sequence number: the events that this already reflects. At least 1."""


def to_snapshot(message: connection_pb2.Connection) -> ConnectionSnapshot:
    """Reads the schema's message."""
    state = connection_pb2.Connection.State.DESCRIPTOR.values_by_number.get(message.state)
    return ConnectionSnapshot(
        id=message.id,
        node=message.node,
        namespace=message.namespace,
        endpoint=message.endpoint,
        state=State.named(state.name if state else ""),
        paused=message.paused,
        user=message.user,
        attributes=dict(message.attributes),
        groups=tuple(message.groups),
        handshake=_to_handshake(message),
        open_time=to_datetime(message.open_time),
        expire_time=to_datetime(message.expire_time) if message.HasField("expire_time") else None,
        rtt=to_seconds(message.rtt) if message.HasField("rtt") else None,
        buffered_amount=message.buffered_amount,
        traffic=to_traffic(message),
        seq=message.seq,
    )


def to_traffic(message: connection_pb2.Connection | event_pb2.Closed) -> Traffic:
    """Reads the counters that both messages have."""
    return Traffic(
        messages_in=message.messages_in,
        bytes_in=message.bytes_in,
        messages_out=message.messages_out,
        bytes_out=message.bytes_out,
    )


def _to_handshake(message: connection_pb2.Connection) -> Handshake:
    return Handshake(
        url=message.url,
        host=message.host,
        remote_address=message.remote_address,
        headers=dict(message.headers),
        subprotocol=message.subprotocol,
        extensions=message.extensions,
        tls=to_tls(message.tls) if message.HasField("tls") else None,
    )


def to_tls(message: connection_pb2.Tls) -> Tls:
    """Reads the schema's message."""
    certificate = message.client_certificate
    return Tls(
        version=message.version,
        cipher_suite=message.cipher_suite,
        server_name=message.server_name,
        client_certificate=_to_certificate(certificate)
        if message.HasField("client_certificate")
        else None,
    )


def _to_certificate(message: connection_pb2.ClientCertificate) -> ClientCertificate:
    return ClientCertificate(
        subject=message.subject,
        issuer=message.issuer,
        serial_number=message.serial_number,
        dns_names=tuple(message.dns_names),
        sha256=message.sha256,
        not_after=to_datetime(message.not_after),
    )
