"""Who may connect, decided by a handler."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import websockets
from nats.aio.msg import Msg

from holdfast import Accept, Client, HandshakeRequest, OpenEvent, Refuse, _doorkeeper
from peer import DEADLINE
from processes import Broker
from publisher import Publisher


async def test_accept(broker: Broker, client: Client) -> None:
    """The handler sees the handshake, and the open event what it says."""
    seen: list[HandshakeRequest] = []
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)

    async def who(handshake: HandshakeRequest) -> Accept:
        seen.append(handshake)
        return Accept(
            user="ann",
            attributes={"tenant": "t1"},
            groups=["b", "a"],
            subprotocol="chat.v2",
            headers=[("Set-Cookie", "x=1"), ("Set-Cookie", "y=2")],
            expire_time=expires,
        )

    async with (
        client.admit(who, namespace="door"),
        client.events(kinds=OpenEvent, namespace="door") as opens,
        websockets.connect(
            f"{broker.listen}/door/lobby?x=1",
            additional_headers={"Authorization": "Bearer hunter2"},
            subprotocols=[websockets.Subprotocol("chat.v1"), websockets.Subprotocol("chat.v2")],
        ) as socket,
    ):
        assert socket.subprotocol == "chat.v2"
        assert socket.response is not None
        assert socket.response.headers.get_all("Set-Cookie") == ["x=1", "y=2"]
        snapshot = (await asyncio.wait_for(anext(opens), DEADLINE)).snapshot
        assert (snapshot.user, snapshot.groups) == ("ann", ("a", "b"))
        assert snapshot.attributes == {"tenant": "t1"}
        assert snapshot.expire_time == expires
        (handshake,) = seen
        assert handshake.connection_id == snapshot.id
        assert handshake.path_values == {"room": "lobby"}
        assert handshake.url == "/door/lobby?x=1"
        assert handshake.headers["Authorization"] == "Bearer hunter2"
        assert handshake.subprotocols == ("chat.v1", "chat.v2")
        assert handshake.tls is None


async def test_send_before_the_answer(broker: Broker, client: Client) -> None:
    """What is sent to a pending connection is its first message."""

    async def who(handshake: HandshakeRequest) -> Accept:
        sends.append(asyncio.create_task(client.connection(handshake.connection_id).send("hello")))
        return Accept()

    sends: list[asyncio.Task[object]] = []
    async with (
        client.admit(who, namespace="door"),
        websockets.connect(f"{broker.listen}/door/lobby") as socket,
    ):
        assert await asyncio.wait_for(socket.recv(), DEADLINE) == "hello"
        await sends[0]


async def test_refuse(broker: Broker, client: Client) -> None:
    """Status, headers and body are the handler's."""

    async def who(_: HandshakeRequest) -> Refuse:
        return Refuse(401, "who are you?", {"WWW-Authenticate": "Bearer"})

    async with client.admit(who, namespace="door"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(f"{broker.listen}/door/lobby")
    response = refused.value.response
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.body == b"who are you?"


@pytest.mark.parametrize("answer", [None, Accept(user=7)], ids=["nothing", "another type"])  # type: ignore[arg-type]
async def test_a_handler_that_fails(broker: Broker, client: Client, answer: object) -> None:
    """Its client is refused, and the next one is asked about."""

    async def who(_: HandshakeRequest) -> Accept:
        return answer  # type: ignore[return-value]

    async with client.admit(who, namespace="door"):
        for _ in range(2):
            with pytest.raises(websockets.InvalidStatus, match="500"):
                await websockets.connect(f"{broker.listen}/door/lobby")


async def test_shared_work(broker: Broker, client: Client) -> None:
    """In a queue group each client is asked about once, and all doorkeepers can be busy."""
    asked: list[str] = []
    crowd = 20
    everybody = asyncio.Event()

    async def who(handshake: HandshakeRequest) -> Accept:
        asked.append(handshake.connection_id)
        if len(asked) == crowd:
            everybody.set()
        await everybody.wait()
        return Accept()

    async with client.admit(who, namespace="door"), client.admit(who, namespace="door"):
        url = f"{broker.listen}/door/lobby"
        sockets = await asyncio.gather(*(websockets.connect(url) for _ in range(crowd)))
        for socket in sockets:
            await socket.close()
    assert len(set(asked)) == len(asked) == crowd


def ask(publisher: Publisher) -> asyncio.Task[Msg]:
    """Asks as a broker does."""
    subject = "holdfast-in.default.handshake"
    return asyncio.create_task(
        publisher.nats.request(subject, b'{"connection_id": "c"}', timeout=DEADLINE)
    )


class Busy:
    """A handler that refuses everybody, when it may go on."""

    def __init__(self) -> None:
        """Made before the first is asked about."""
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, _: HandshakeRequest) -> Refuse:
        self.asked.set()
        await self.go_on.wait()
        return Refuse(401)


async def test_nobody_is_left_waiting(events_client: Client, publisher: Publisher) -> None:
    """A doorkeeper that ends answers everybody whom NATS had sent to it, however busy it is."""
    busy = Busy()
    async with events_client.admit(busy, concurrency=1) as doorkeeper:
        asks = [ask(publisher) for _ in range(10)]
        await asyncio.wait_for(busy.asked.wait(), DEADLINE)
        await publisher.flush()
        ending = asyncio.create_task(doorkeeper.aclose())
        await publisher.flush()
        busy.go_on.set()
        await asyncio.wait_for(ending, DEADLINE)
    answers = await asyncio.gather(*asks)
    assert all(b"401" in answer.data for answer in answers)


async def test_few_are_taken_at_a_time(
    events_client: Client, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others wait in the subscription, which is bounded; they are answered, too."""
    monkeypatch.setattr(_doorkeeper, "MAX_WAITING", 2)
    busy = Busy()
    async with events_client.admit(busy, concurrency=1) as doorkeeper:
        asks = [ask(publisher) for _ in range(10)]
        await asyncio.wait_for(busy.asked.wait(), DEADLINE)
        await publisher.flush()
        await doorkeeper._bus.settle(DEADLINE)  # all have come
        assert len(doorkeeper._tasks) == 3
        busy.go_on.set()
        answers = await asyncio.gather(*asks)
    assert all(b"401" in answer.data for answer in answers)


async def test_the_end(broker: Broker, client: Client) -> None:
    """`wait` ends with `aclose`; then nobody answers."""

    async def who(_: HandshakeRequest) -> Accept:
        return Accept()

    doorkeeper = client.admit(who, namespace="door")
    waiting = asyncio.create_task(doorkeeper.wait())
    async with doorkeeper:
        pass
    await asyncio.wait_for(waiting, DEADLINE)
    with pytest.raises(websockets.InvalidStatus, match="503"):
        await websockets.connect(f"{broker.listen}/door/lobby")
