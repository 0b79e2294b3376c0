"""The contract of a target, on this machine: processes, and files."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contract.target import *  # noqa: F403
from tests.contract.target import Factory
from tests.targets.host.conftest import World, manifest, sleeper

from trimtab.core.model.config import Environment, Metadata
from trimtab.core.model.errors import UserError
from trimtab.core.model.mandate import Mandate
from trimtab.core.model.manifest import Manifest
from trimtab.ports.target import Target


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[Target]:
    world = World(tmp_path / "data")
    yield await world.start()
    await world.targets.down()
    shutil.rmtree(tmp_path, ignore_errors=True)


def process(name: str, change: str = "a") -> Manifest:
    return sleeper(name, environment={"CHANGE": change})


def file(name: str, change: str = "a") -> Manifest:
    return manifest("File", name, {"path": name, "content": change})


@pytest.fixture(params=[process, file], ids=["process", "file"])
def factory(request: pytest.FixtureRequest) -> Factory:
    return request.param


async def test_this_machine_knows_one_account_only(tmp_path: Path) -> None:
    """A Project with an account of its own is refused rather than run with all of Trimtab's rights."""
    world = World(tmp_path / "data")
    await world.start()
    with pytest.raises(UserError, match="act as deployer in environment host"):
        world.targets.get("host", Environment(Metadata("host")), Mandate("deployer"))
    await world.targets.down()
