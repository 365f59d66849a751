"""The real programs that tests talk to, as child processes on ports of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import IO

REPOSITORY = Path(__file__).resolve().parents[3]
START_TIMEOUT = 30.0
STOP_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a running broker listens."""

    listen: str
    control: str
    nats: str
    process: subprocess.Popen[str]


@dataclass(slots=True)
class NatsServer:
    """A NATS server that can be stopped and started again at the same address."""

    url: str
    process: subprocess.Popen[str]
    options: Sequence[str] = ()

    def restart(self) -> None:
        """Ends it, and returns when it is up again."""
        stop(self.process)
        self.process = _run_nats_server(self.url.rsplit(":", 1)[1], self.options)
        _read_port(self.process)

    def freeze(self) -> None:
        """Stops the process, and returns when it stands still: a signal takes a moment."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        """Ends that."""
        self.process.send_signal(signal.SIGCONT)

    def reload(self) -> None:
        """Has it read its configuration again, and returns when that is in force."""
        self.process.send_signal(signal.SIGHUP)
        log = _stream(self.process.stderr)
        while line := _read_line(self.process, log, "reloaded"):
            if "Reloaded server configuration" in line:
                return
        raise RuntimeError("the NATS server has ended")


@contextmanager
def start_broker(
    directory: Path, config: Path | None = None, *options: str, nats: str = ""
) -> Iterator[Broker]:
    """Runs a broker until the block ends; its log goes to broker.log in the directory.

    With the URL of a NATS server it is a node of the brokers there; else it is alone.
    """
    command = [
        str(_program("HOLDFAST_BROKER", "broker", "./cmd/broker", directory)),
        *(f"--{name}=127.0.0.1:0" for name in ("listen", "control-listen", "ops-listen")),
        f"--nats-url={nats}" if nats else "--nats-listen=127.0.0.1:0",
        f"--data-dir={directory / 'data'}",
        *options,
    ]
    if config is not None:
        command.append(f"--config={config}")
    log_path = directory / "broker.log"
    with log_path.open("w") as log, _process(command, stdout=subprocess.PIPE, stderr=log) as broker:
        line = _read_line(broker, _stream(broker.stdout), "ready")
        if not line:
            raise RuntimeError(f"the broker did not start:\n{log_path.read_text()}")
        ready = json.loads(line)
        yield Broker(ready["listen"][0], ready["control"], ready["nats"], broker)


@contextmanager
def start_nats_server(directory: Path, *options: str) -> Iterator[NatsServer]:
    """Runs a NATS server until the block ends."""
    global _nats_program
    package = "github.com/nats-io/nats-server/v2"
    _nats_program = _program("HOLDFAST_NATS_SERVER", "nats-server", package, directory)
    process = _run_nats_server("-1", options)
    server = NatsServer("", process, options)
    try:
        server.url = f"nats://127.0.0.1:{_read_port(process)}"
        yield server
    finally:
        stop(server.process)


_nats_program = Path()


def _run_nats_server(port: str, options: Sequence[str]) -> subprocess.Popen[str]:
    command = [str(_nats_program), "-a", "127.0.0.1", "-p", port, *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def _read_port(process: subprocess.Popen[str]) -> int:
    """Reads the log up to the line that says the server is ready."""
    log = _stream(process.stderr)
    port = 0
    while line := _read_line(process, log, "listening"):
        if "Listening for client connections on" in line:
            port = int(line.rsplit(":", 1)[1])
        if "Server is ready" in line:
            return port
    raise RuntimeError("the NATS server did not start")


def _program(variable: str, name: str, package: str, directory: Path) -> Path:
    """What the environment names, else what `make build` made, else built now."""
    if path := os.environ.get(variable):
        return Path(path)
    built = REPOSITORY / "bin" / name
    if not built.exists():
        built = directory / name
        subprocess.run(["go", "build", "-o", built, package], cwd=REPOSITORY, check=True)
    return built


@contextmanager
def _process(
    command: Sequence[str], *, stdout: int | IO[str], stderr: int | IO[str]
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=stdout, stderr=stderr, text=True)
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[str]) -> int:
    """Asks a process to end with SIGTERM; one that does not is killed. Returns the exit status."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
    finally:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _read_line(process: subprocess.Popen[str], stream: IO[str], what: str) -> str:
    """The next line; "" when the process ended, or was killed because it kept us waiting."""
    timer = Timer(START_TIMEOUT, process.kill)
    timer.start()
    try:
        return stream.readline()
    finally:
        timer.cancel()


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
