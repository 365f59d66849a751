"""Answers to SendStream, for the fake control port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from control import FakeControl
from holdfast._gen.holdfast.v1 import connection_service_pb2 as pb
from holdfast._gen.holdfast.v1 import error_reason_pb2

GONE = "gone"


class Batches:
    """Answers batches like a broker: sends to "gone" fail, everything else succeeds."""

    def __init__(self, control: FakeControl) -> None:
        """Answers the batches of a fake control port."""
        self.requests: list[pb.SendStreamRequest] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.read = asyncio.Event()
        control.batches = self.answer

    async def answer(
        self, requests: AsyncIterator[pb.SendStreamRequest], context: Any
    ) -> AsyncIterator[pb.SendStreamResponse]:
        """Answers one batch after the other."""
        async for request in requests:
            self.requests.append(request)
            self.read.set()
            await self.may_answer.wait()
            response = pb.SendStreamResponse(batch_id=request.batch_id)
            for index, send in enumerate(request.sends):
                if send.connection_id == GONE:
                    response.failures.add(
                        index=index,
                        code=grpc.StatusCode.NOT_FOUND.value[0],
                        reason=error_reason_pb2.CONNECTION_NOT_FOUND,
                        message="ended",
                    )
            yield response

    @property
    def texts(self) -> list[str]:
        """Everything that was sent, in order."""
        return [send.message.text for batch in self.requests for send in batch.sends]
