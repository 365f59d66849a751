"""Fixtures: a fake control port and a NATS server for the units, a real broker for the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import nats
import pytest

from batches import Batches
from control import FakeControl, serve
from holdfast import Client, Subscription
from pair import Pair, serve_pair
from processes import Broker, NatsServer, start_broker, start_nats_server
from publisher import Publisher


@pytest.fixture
async def control() -> AsyncIterator[FakeControl]:
    """A fake control port."""
    async with serve() as fake:
        yield fake


@pytest.fixture
async def fake_client(control: FakeControl) -> AsyncIterator[Client]:
    """A client of the fake control port."""
    async with Client.connect(control.address) as client:
        yield client


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """Two fake control ports, for a client of several addresses."""
    async with serve_pair() as both:
        yield both


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A NATS server that no broker uses."""
    with start_nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real broker, with the endpoints of `broker.yaml`."""
    config = Path(__file__).with_name("broker.yaml")
    with start_broker(tmp_path_factory.mktemp("broker"), config) as broker:
        yield broker


@pytest.fixture
async def client(broker: Broker) -> AsyncIterator[Client]:
    """A client of the real broker."""
    async with Client.connect(broker.control, nats=broker.nats) as client:
        yield client


@pytest.fixture
async def publisher(nats_server: NatsServer) -> AsyncIterator[Publisher]:
    """A broker that only publishes."""
    client = await nats.connect(nats_server.url, reconnect_time_wait=1)
    yield Publisher(client)
    await client.close()


@pytest.fixture
async def events_client(control: FakeControl, nats_server: NatsServer) -> AsyncIterator[Client]:
    """A client of the fake control port and the NATS server."""
    async with Client.connect(control.address, nats=nats_server.url) as client:
        yield client


@pytest.fixture
async def events(client: Client) -> AsyncIterator[Subscription[Any]]:
    """All events of the real broker's default namespace."""
    async with client.events() as stream:
        yield stream


@pytest.fixture
def batches(control: FakeControl) -> Batches:
    """What a fake control port answers to batches."""
    return Batches(control)
