"""Payloads on their way into a request."""

from __future__ import annotations

import pytest

from holdfast import InvalidArgument
from holdfast._message import to_message


@pytest.mark.parametrize("text", ["", "hello", "grüße 🐘", "a\x00b", "￿"])
def test_text_is_sent_as_text(text: str) -> None:
    """`str` becomes the text field, empty ones included."""
    message = to_message(text)
    assert message.WhichOneof("payload") == "text"
    assert message.text == text


@pytest.mark.parametrize("data", [b"", b"\xff\x00", bytearray(b"ab"), memoryview(b"abc")[1:]])
def test_bytes_are_sent_as_binary(data: bytes | bytearray | memoryview) -> None:
    """Everything like bytes becomes the binary field."""
    message = to_message(data)
    assert message.WhichOneof("payload") == "binary"
    assert message.binary == bytes(data)


def test_text_that_is_not_utf8_is_refused() -> None:
    """A lone surrogate cannot be written as UTF-8."""
    with pytest.raises(InvalidArgument) as caught:
        to_message("a\ud800")
    assert caught.value.metadata["field"] == "message.text"


def test_other_types_are_refused() -> None:
    """A number or None is a mistake of the program."""
    with pytest.raises(TypeError, match="not int"):
        to_message(5)  # type: ignore[arg-type]
