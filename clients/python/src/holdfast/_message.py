"""What can be sent: text or bytes, and how much a sender wants to know of its fate."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from ._codes import Code, Reason
from ._gen.holdfast.v1 import connection_service_pb2 as pb
from ._gen.holdfast.v1 import message_pb2
from ._times import to_duration, to_seconds
from .errors import InvalidArgument

Data = str | bytes | bytearray | memoryview
"""A message's payload: `str` is sent as a text message, anything else as a binary one."""


class Confirmation(IntEnum):
    """What has to be known before a call returns."""

    QUEUED = message_pb2.QUEUED
    """The message is in the connection's send queue. Nothing is known of the network yet."""
    WRITTEN = message_pb2.WRITTEN
    """The operating system's kernel has taken the last byte. Nothing is known of the peer yet."""
    RECEIVED = message_pb2.RECEIVED
    """The peer answered a ping that was sent behind the message. It does not prove that code of the
    page ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendResult:
    """The answer to a send."""

    buffered_amount: int
    """Payload bytes in the connection's send queue after this message; 0 when all are written."""
    rtt: float | None
    """Seconds from the ping behind the message to its pong; None unless RECEIVED was asked for."""


def to_message(
    data: Data, *, compress: bool | None = None, more: bool = False, fragment_id: str = ""
) -> message_pb2.Message:
    """Builds the message for a payload.

    Raises:
        InvalidArgument: text that UTF-8 cannot express.
        TypeError: data is neither text nor bytes.
    """
    message = message_pb2.Message(more=more, fragment_id=fragment_id)
    if compress is not None:
        message.compress = compress
    if isinstance(data, str):
        try:
            message.text = data
        except UnicodeEncodeError as error:
            raise InvalidArgument(
                f"text is not UTF-8: {error.reason} at {error.start}",
                code=Code.INVALID_ARGUMENT,
                reason=Reason.INVALID_MESSAGE,
                metadata={"field": "message.text"},
            ) from error
    elif isinstance(data, bytes | bytearray | memoryview):
        message.binary = bytes(data)
    else:
        raise TypeError(f"a message is str or bytes, not {type(data).__name__}")
    return message


def to_send_request(
    connection_id: str,
    message: message_pb2.Message,
    *,
    confirmation: Confirmation | None,
    expire_after: float | None,
    request_id: str,
) -> pb.SendRequest:
    """Builds the request that sends a message to one connection."""
    return pb.SendRequest(
        connection_id=connection_id,
        message=message,
        confirmation=to_confirmation(confirmation),
        expire_after=to_duration(expire_after),
        request_id=request_id,
    )


def to_confirmation(confirmation: Confirmation | None) -> message_pb2.Confirmation.ValueType:
    """The enum of the schema; None is the call's own default."""
    return message_pb2.Confirmation.ValueType(confirmation or 0)


def to_send_result(response: pb.SendResponse) -> SendResult:
    """The answer without what only fragments need."""
    return SendResult(
        buffered_amount=response.buffered_amount,
        rtt=to_seconds(response.rtt) if response.HasField("rtt") else None,
    )
