"""A control port in this process: answers what a test tells it to, and notes what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from holdfast._gen.holdfast.v1 import connection_service_pb2 as pb
from holdfast._gen.holdfast.v1 import group_service_pb2, node_service_pb2
from holdfast._gen.holdfast.v1.connection_service_pb2_grpc import (
    ConnectionServiceServicer,
    add_ConnectionServiceServicer_to_server,
)
from holdfast._gen.holdfast.v1.group_service_pb2_grpc import (
    GroupServiceServicer,
    add_GroupServiceServicer_to_server,
)
from holdfast._gen.holdfast.v1.node_service_pb2_grpc import (
    NodeServiceServicer,
    add_NodeServiceServicer_to_server,
)

Answer = Callable[[Any, Any], Awaitable[Any]]


class FakeControl(ConnectionServiceServicer):
    """Every call is noted in `requests` and answered by `answers`, else with an empty response."""

    def __init__(self) -> None:
        """Answers nothing in particular yet."""
        self.address = ""
        self.requests: list[Any] = []
        self.metadata: list[Mapping[str, str]] = []
        self.cancelled = asyncio.Event()
        self.called = asyncio.Event()
        self.answers: dict[str, Answer] = {}
        self.batches: Callable[[AsyncIterator[pb.SendStreamRequest], Any], AsyncIterator[Any]]
        self.events: Callable[[pb.WatchRequest, Any], AsyncIterator[pb.WatchResponse]]

    async def unary(self, name: str, request: Any, context: Any, empty: Any) -> Any:
        seen = type(request)()
        seen.CopyFrom(request)
        self.requests.append(seen)
        self.metadata.append(dict(context.invocation_metadata()))
        self.called.set()
        try:
            answer = self.answers.get(name)
            response = None if answer is None else await answer(request, context)
            return empty if response is None else response
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def Send(self, request: Any, context: Any) -> Any:
        return await self.unary("Send", request, context, pb.SendResponse())

    async def SendMany(self, request: Any, context: Any) -> Any:
        return await self.unary("SendMany", request, context, pb.SendManyResponse())

    async def Close(self, request: Any, context: Any) -> Any:
        return await self.unary("Close", request, context, pb.CloseResponse())

    async def Terminate(self, request: Any, context: Any) -> Any:
        return await self.unary("Terminate", request, context, pb.TerminateResponse())

    async def Pause(self, request: Any, context: Any) -> Any:
        return await self.unary("Pause", request, context, pb.PauseResponse())

    async def Resume(self, request: Any, context: Any) -> Any:
        return await self.unary("Resume", request, context, pb.ResumeResponse())

    async def Ping(self, request: Any, context: Any) -> Any:
        return await self.unary("Ping", request, context, pb.PingResponse())

    async def Pong(self, request: Any, context: Any) -> Any:
        return await self.unary("Pong", request, context, pb.PongResponse())

    async def Get(self, request: Any, context: Any) -> Any:
        return await self.unary("Get", request, context, pb.GetResponse())

    async def List(self, request: Any, context: Any) -> Any:
        return await self.unary("List", request, context, pb.ListResponse())

    async def Count(self, request: Any, context: Any) -> Any:
        return await self.unary("Count", request, context, pb.CountResponse())

    async def Update(self, request: Any, context: Any) -> Any:
        return await self.unary("Update", request, context, pb.UpdateResponse())

    async def SendStream(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:
        self.called.set()
        async for response in self.batches(request_iterator, context):
            yield response

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.requests.append(request)
        try:
            async for response in self.events(request, context):
                yield response
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


class FakeGroups(GroupServiceServicer):
    """The same for GroupService; its Close is answered as "CloseTarget"."""

    def __init__(self, fake: FakeControl) -> None:
        """Answers what `fake` answers."""
        self._fake = fake

    async def AddMembers(self, request: Any, context: Any) -> Any:
        empty = group_service_pb2.AddMembersResponse()
        return await self._fake.unary("AddMembers", request, context, empty)

    async def RemoveMembers(self, request: Any, context: Any) -> Any:
        empty = group_service_pb2.RemoveMembersResponse()
        return await self._fake.unary("RemoveMembers", request, context, empty)

    async def ListMembers(self, request: Any, context: Any) -> Any:
        empty = group_service_pb2.ListMembersResponse()
        return await self._fake.unary("ListMembers", request, context, empty)

    async def ListGroups(self, request: Any, context: Any) -> Any:
        empty = group_service_pb2.ListGroupsResponse()
        return await self._fake.unary("ListGroups", request, context, empty)

    async def Publish(self, request: Any, context: Any) -> Any:
        empty = group_service_pb2.PublishResponse()
        return await self._fake.unary("Publish", request, context, empty)

    async def Close(self, request: Any, context: Any) -> Any:
        empty = group_service_pb2.GroupServiceCloseResponse()
        return await self._fake.unary("CloseTarget", request, context, empty)


class FakeNodes(NodeServiceServicer):
    """The same for NodeService."""

    def __init__(self, fake: FakeControl) -> None:
        """Answers what `fake` answers."""
        self._fake = fake

    async def ListNodes(self, request: Any, context: Any) -> Any:
        empty = node_service_pb2.ListNodesResponse()
        return await self._fake.unary("ListNodes", request, context, empty)

    async def GetNode(self, request: Any, context: Any) -> Any:
        empty = node_service_pb2.GetNodeResponse()
        return await self._fake.unary("GetNode", request, context, empty)

    async def DrainNode(self, request: Any, context: Any) -> Any:
        empty = node_service_pb2.DrainNodeResponse()
        return await self._fake.unary("DrainNode", request, context, empty)


@asynccontextmanager
async def serve() -> AsyncIterator[FakeControl]:
    """Runs a fake control port on a port of its own."""
    fake = FakeControl()
    server = grpc.aio.server(options=[("grpc.http2.max_ping_strikes", 0)])
    add_ConnectionServiceServicer_to_server(fake, server)
    add_GroupServiceServicer_to_server(FakeGroups(fake), server)
    add_NodeServiceServicer_to_server(FakeNodes(fake), server)
    fake.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield fake
    finally:
        await server.stop(None)


def status_details(
    code: grpc.StatusCode, reason: str, message: str, metadata: Mapping[str, str]
) -> bytes:
    """What the broker puts into the `grpc-status-details-bin` trailer."""
    detail = any_pb2.Any()
    detail.Pack(
        error_details_pb2.ErrorInfo(domain="holdfast", reason=reason, metadata=dict(metadata))
    )
    number = code_pb2.Code.Value(code.name)
    status = status_pb2.Status(code=number, message=message, details=[detail])
    return bytes(status.SerializeToString())


def failing(
    code: grpc.StatusCode, reason: str = "", message: str = "no", **metadata: str
) -> Answer:
    """An answer that refuses, as the broker does."""

    async def answer(request: Any, context: Any) -> Any:
        if reason:
            details = status_details(code, reason, message, metadata)
            context.set_trailing_metadata((("grpc-status-details-bin", details),))
        await context.abort(code, message)

    return answer


async def hanging(request: Any, context: Any) -> Any:
    """An answer that never comes."""
    await asyncio.Event().wait()
