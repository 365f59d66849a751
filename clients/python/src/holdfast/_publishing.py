"""What is published over NATS: its opcode, its size, and how a failure or refusal shows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import nats.errors
from google.protobuf import json_format

from ._codes import Code, Reason
from ._decode import OPCODE_HEADER
from ._gen.holdfast.v1 import event_pb2
from ._message import Data, to_message
from ._status import make_error, reason_name
from .errors import DeadlineExceeded, HoldfastError, InvalidArgument, Unavailable

if TYPE_CHECKING:
    from nats.aio.client import Client


def encode(data: Data) -> tuple[dict[str, str], bytes]:
    """The headers and the payload of a message for clients."""
    message = to_message(data)
    if message.HasField("text"):
        return {OPCODE_HEADER: "text"}, message.text.encode()
    return {OPCODE_HEADER: "binary"}, message.binary


def check_size(client: Client, headers: Mapping[str, str], payload: bytes) -> None:
    """Refuses what the server would: it ends the connection, and nats-py does not count headers."""
    lines = ("NATS/1.0", *(f"{name}: {value}" for name, value in headers.items()), "")
    size = sum(len(line.encode()) + 2 for line in lines) + len(payload)
    if size > client.max_payload:
        raise InvalidArgument(
            f"{size} bytes with headers are more than NATS takes",
            code=Code.INVALID_ARGUMENT,
            reason=Reason.MESSAGE_TOO_LARGE,
            metadata={"field": "message", "allowed": f"at most {client.max_payload} bytes"},
        )


def judge(payload: bytes, metadata: Mapping[str, str]) -> None:
    """Raises the refusal in the broker's verdict on a reply, if it is one."""
    try:
        verdict = json_format.Parse(payload, event_pb2.ReplyVerdict(), ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise HoldfastError(f"not a verdict: {payload[:64]!r}") from error
    if verdict.code != "OK":
        raise make_error(
            Code.__members__.get(verdict.code, Code.UNKNOWN),
            reason_name(verdict.reason),
            verdict.message,
            metadata,
        )


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turns errors of nats-py into ours."""
    try:
        yield
    except nats.errors.NoRespondersError as error:
        raise Unavailable("nobody listens on the reply subject", code=Code.UNAVAILABLE) from error
    except nats.errors.TimeoutError as error:
        raise DeadlineExceeded("no answer over NATS", code=Code.DEADLINE_EXCEEDED) from error
    except nats.errors.Error as error:
        raise Unavailable(f"{error!r}", code=Code.UNAVAILABLE) from error
