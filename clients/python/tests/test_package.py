"""What the package is made of: public names, documentation, versions."""

from __future__ import annotations

import inspect
import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest

import holdfast
from holdfast import errors

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PUBLIC = [getattr(holdfast, name) for name in holdfast.__all__]
CLASSES = [item for item in PUBLIC if inspect.isclass(item)]


def test_every_name_is_there_once() -> None:
    """`__all__` is sorted as ruff sorts it, and everything in it exists."""
    assert len(set(holdfast.__all__)) == len(holdfast.__all__)
    assert all(hasattr(holdfast, name) for name in holdfast.__all__)


@pytest.mark.parametrize("item", CLASSES, ids=lambda item: item.__name__)
def test_everything_public_is_documented(item: type) -> None:
    """Every class and every public method of it."""
    assert item.__doc__
    for name, member in vars(item).items():
        if not name.startswith("_") and callable(member) and not inspect.isclass(member):
            assert inspect.getdoc(member), f"{item.__name__}.{name}"


def test_the_tree_of_errors_is_complete() -> None:
    """Every error stands in the drawing at the head of errors.py."""
    drawn = set(re.findall(r"(?:[├└]── |^    )(\w+)", errors.__doc__ or "", re.MULTILINE))
    defined = {name for name in errors.__all__ if issubclass(getattr(errors, name), Exception)}
    assert defined <= drawn


def test_the_package_is_typed() -> None:
    """Type checkers look for this file."""
    assert resources.files("holdfast").joinpath("py.typed").is_file()


def test_the_lower_bounds_are_those_of_the_generated_code() -> None:
    """Generated code refuses older runtimes, so pip must not install them."""
    generated = ROOT / "src" / "holdfast" / "_gen" / "holdfast" / "v1"
    messages = (generated / "message_pb2.py").read_text()
    stubs = (generated / "connection_service_pb2_grpc.py").read_text()
    protobuf = re.search(r"Protobuf Python Version: (\S+)", messages)
    grpcio = re.search(r"GRPC_GENERATED_VERSION = '(\S+)'", stubs)
    assert protobuf is not None
    assert grpcio is not None
    assert f"protobuf>={protobuf[1]},<8" in PROJECT["dependencies"]
    assert f"grpcio>={grpcio[1]},<2" in PROJECT["dependencies"]


@pytest.mark.parametrize("path", sorted((ROOT / "src" / "holdfast").glob("*.py")), ids=str)
def test_files_stay_small(path: Path) -> None:
    """One concern per file."""
    assert len(path.read_text().splitlines()) <= 250
