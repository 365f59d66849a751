"""The broker's refusals as this package's errors."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

import holdfast
from control import FakeControl, failing
from holdfast import Client, Code, Reason
from holdfast._gen.holdfast.v1 import error_reason_pb2

ID = "k5w2j4qzta-7m3c5z6q2n4x6p7a"
NAMES = set(error_reason_pb2.ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED"}

CASES = [
    ("NOT_FOUND", "CONNECTION_NOT_FOUND", holdfast.ConnectionNotFound),
    ("NOT_FOUND", "CONNECTION_GONE", holdfast.ConnectionNotFound),
    ("FAILED_PRECONDITION", "CONNECTION_CLOSING", holdfast.ConnectionClosing),
    ("FAILED_PRECONDITION", "CONNECTION_PAUSED", holdfast.ConnectionPaused),
    ("FAILED_PRECONDITION", "MESSAGE_EXPIRED", holdfast.MessageExpired),
    ("RESOURCE_EXHAUSTED", "SEND_QUEUE_FULL", holdfast.QueueFull),
    ("RESOURCE_EXHAUSTED", "RATE_LIMITED", holdfast.RateLimited),
    ("RESOURCE_EXHAUSTED", "WATCH_LAGGED", holdfast.SlowConsumer),
    ("RESOURCE_EXHAUSTED", "TOO_MANY_GROUPS", holdfast.TooManyGroups),
    ("NOT_FOUND", "NODE_NOT_FOUND", holdfast.NodeNotFound),
    ("ABORTED", "SKIPPED_AFTER_FAILURE", holdfast.SkippedAfterFailure),
    ("UNAVAILABLE", "NODE_UNREACHABLE", holdfast.Unavailable),
    ("UNAVAILABLE", "BUS_UNAVAILABLE", holdfast.Unavailable),
    ("UNAVAILABLE", "NODE_STOPPING", holdfast.Unavailable),
    ("UNAVAILABLE", "KEYS_UNAVAILABLE", holdfast.Unavailable),
    ("DEADLINE_EXCEEDED", "NOT_CONFIRMED", holdfast.NotConfirmed),
    ("INTERNAL", "INTERNAL_ERROR", holdfast.InternalError),
]
CASES += [
    ("INVALID_ARGUMENT", name, holdfast.InvalidArgument)
    for name in sorted(NAMES - {reason for _, reason, _ in CASES})
]


def test_reasons_are_those_of_the_schema() -> None:
    """Every reason of the schema has a member, and no other."""
    assert {*Reason} == NAMES


def test_codes_are_those_of_grpc() -> None:
    """Every status but OK has a member."""
    assert {*Code} == {status.name for status in grpc.StatusCode} - {"OK"}


@pytest.mark.parametrize(("code", "reason", "kind"), CASES, ids=[reason for _, reason, _ in CASES])
async def test_each_reason_has_its_class(
    control: FakeControl, fake_client: Client, code: str, reason: str, kind: type[Exception]
) -> None:
    """A refusal is raised as the class that is drawn in errors.py."""
    control.answers["Get"] = failing(grpc.StatusCode[code], reason, connection_id=ID)
    with pytest.raises(holdfast.HoldfastError) as caught:
        await fake_client.connection(ID).get()
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.reason == reason
    assert caught.value.connection_id == ID
    assert str(caught.value) == f"{code}/{reason}: no"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("UNAUTHENTICATED", holdfast.PermissionDenied),
        ("PERMISSION_DENIED", holdfast.PermissionDenied),
        ("DEADLINE_EXCEEDED", holdfast.DeadlineExceeded),
        ("UNIMPLEMENTED", holdfast.HoldfastError),
        ("NOT_FOUND", holdfast.HoldfastError),
    ],
)
async def test_a_status_without_details_goes_by_its_code(
    control: FakeControl, fake_client: Client, code: str, kind: type[Exception]
) -> None:
    """A proxy or an older broker sends no ErrorInfo."""
    control.answers["Get"] = failing(grpc.StatusCode[code])
    with pytest.raises(holdfast.HoldfastError) as caught:
        await fake_client.connection(ID).get()
    assert type(caught.value) is kind
    assert caught.value.reason == ""


async def test_an_unknown_reason_goes_by_its_code(
    control: FakeControl, fake_client: Client
) -> None:
    """A newer broker may have reasons of its own."""
    control.answers["Get"] = failing(grpc.StatusCode.INVALID_ARGUMENT, "TOO_PURPLE")
    with pytest.raises(holdfast.InvalidArgument) as caught:
        await fake_client.connection(ID).get()
    assert caught.value.reason == "TOO_PURPLE"


async def test_broken_details_are_left_aside(control: FakeControl, fake_client: Client) -> None:
    """What cannot be read must not hide the status."""

    async def answer(request: Any, context: Any) -> Any:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff"),))
        await context.abort(grpc.StatusCode.NOT_FOUND, "gone")

    control.answers["Get"] = answer
    with pytest.raises(holdfast.HoldfastError, match="NOT_FOUND: gone"):
        await fake_client.connection(ID).get()


def test_errors_can_be_caught_by_builtin_classes() -> None:
    """Two of ours are also what Python calls them."""
    assert issubclass(holdfast.InvalidArgument, ValueError)
    assert issubclass(holdfast.DeadlineExceeded, TimeoutError)


def test_send_failures_can_be_split() -> None:
    """`except*` takes the kinds it names and leaves the others."""
    gone = holdfast.ConnectionNotFound("gone", code=Code.NOT_FOUND)
    full = holdfast.QueueFull("full", code=Code.RESOURCE_EXHAUSTED)
    left: list[Exception] = []
    try:
        try:
            raise holdfast.SendFailures("sends failed", [gone, full])
        except* holdfast.ConnectionNotFound:
            pass
    except holdfast.SendFailures as failures:
        left.extend(failures.exceptions)
    assert left == [full]
