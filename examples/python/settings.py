"""What the examples share: where the broker is, and when to stop."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any


def settings() -> argparse.Namespace:
    """The flags --control, --nats and --namespace, else the environment, else this machine."""
    env = os.environ
    parser = argparse.ArgumentParser()
    parser.add_argument("--control", default=env.get("HOLDFAST_CONTROL", "127.0.0.1:7400"))
    parser.add_argument("--nats", default=env.get("HOLDFAST_NATS", "nats://127.0.0.1:4222"))
    parser.add_argument("--namespace", default=env.get("HOLDFAST_NAMESPACE", "default"))
    return parser.parse_args()


def stop_with(close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs `close` once, when the process is asked to end."""
    loop = asyncio.get_running_loop()
    closing: list[asyncio.Task[None]] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: closing.append(loop.create_task(close())))
