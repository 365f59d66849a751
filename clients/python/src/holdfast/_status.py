"""From gRPC statuses and failures inside answers to this package's errors."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode
from grpc.aio import AioRpcError

from . import errors
from ._codes import Code, Reason
from ._gen.holdfast.v1 import error_reason_pb2

DOMAIN = "holdfast"
DETAILS_KEY = "grpc-status-details-bin"

_BY_REASON: Mapping[str, type[errors.HoldfastError]] = {
    Reason.CONNECTION_NOT_FOUND: errors.ConnectionNotFound,
    Reason.CONNECTION_GONE: errors.ConnectionNotFound,
    Reason.CONNECTION_CLOSING: errors.ConnectionClosing,
    Reason.CONNECTION_PAUSED: errors.ConnectionPaused,
    Reason.MESSAGE_EXPIRED: errors.MessageExpired,
    Reason.SEND_QUEUE_FULL: errors.QueueFull,
    Reason.RATE_LIMITED: errors.RateLimited,
    Reason.WATCH_LAGGED: errors.SlowConsumer,
    Reason.SKIPPED_AFTER_FAILURE: errors.SkippedAfterFailure,
    Reason.NOT_CONFIRMED: errors.NotConfirmed,
    Reason.NODE_NOT_FOUND: errors.NodeNotFound,
    Reason.TOO_MANY_GROUPS: errors.TooManyGroups,
}

# For reasons that are not above: those of an argument, and those of a newer broker.
_BY_CODE: Mapping[Code, type[errors.HoldfastError]] = {
    Code.INVALID_ARGUMENT: errors.InvalidArgument,
    Code.UNAUTHENTICATED: errors.PermissionDenied,
    Code.PERMISSION_DENIED: errors.PermissionDenied,
    Code.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    Code.UNAVAILABLE: errors.Unavailable,
    Code.INTERNAL: errors.InternalError,
}

_CODE_BY_NUMBER: Mapping[int, Code] = {
    status.value[0]: Code[status.name] for status in StatusCode if status is not StatusCode.OK
}


def make_error(
    code: Code, reason: str, message: str, metadata: Mapping[str, str]
) -> errors.HoldfastError:
    """Chooses the class by reason, then by code."""
    kind = _BY_REASON.get(reason) or _BY_CODE.get(code, errors.HoldfastError)
    return kind(message, code=code, reason=reason, metadata=metadata)


def from_rpc_error(error: AioRpcError) -> errors.HoldfastError:
    """Translates a failed call."""
    code = _CODE_BY_NUMBER.get(error.code().value[0], Code.UNKNOWN)
    info = _error_info(error)
    return make_error(code, info.reason, error.details() or "", info.metadata)


def from_failure(
    code: int, reason: error_reason_pb2.ErrorReason.ValueType, message: str, connection_id: str
) -> errors.HoldfastError:
    """Translates a failure that is part of an answer."""
    return make_error(
        _CODE_BY_NUMBER.get(code, Code.UNKNOWN),
        reason_name(reason),
        message,
        {"connection_id": connection_id},
    )


def reason_name(reason: error_reason_pb2.ErrorReason.ValueType) -> str:
    """The name of a reason: "" for none, the number for one that this package does not know."""
    if not reason:
        return ""
    known = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_number.get(reason)
    return known.name if known else str(reason)


def _error_info(error: AioRpcError) -> error_details_pb2.ErrorInfo:
    """The ErrorInfo of our domain in the trailers; an empty one when there is none."""
    info = error_details_pb2.ErrorInfo()
    for key, value in error.trailing_metadata() or ():
        if key != DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            details = status_pb2.Status.FromString(value).details
        except DecodeError:
            continue
        for detail in details:
            if detail.Unpack(info) and info.domain == DOMAIN:
                return info
    return error_details_pb2.ErrorInfo()
