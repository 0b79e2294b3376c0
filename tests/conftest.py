"""The ground that every test stands on: no network beyond this machine, its own directories and home, no process left
behind, order from quick to slow, and the Hypothesis profiles.
"""

from __future__ import annotations

import gc
import ipaddress
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Large JSON and YAML documents spend most of their time in the cyclic collector otherwise; the server does the same.
gc.set_threshold(50_000, 20, 100)

settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

LATER = ("bench", "contract", "simulation", "e2e", "kubernetes")
"""Folders whose tests run after all others, in this order: a broken unit shows first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        top = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        return LATER.index(top) + 1 if top in LATER else 0

    items.sort(key=rank)


# Network


class OutsideConnectionError(AssertionError):
    """A test tried to reach something beyond this machine."""


def _is_local(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a unix socket's path
    host = str(address[0]).partition("%")[0]
    if host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _guarded(real: Any) -> Any:
    def connect(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address):
            raise OutsideConnectionError(f"a test tried to connect to {address!r}; tests stay on this machine")
        return real(self, address)

    return connect


@pytest.fixture(autouse=True, scope="session")
def _only_loopback() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _guarded(socket.socket.connect))
        patch.setattr(socket.socket, "connect_ex", _guarded(socket.socket.connect_ex))
        yield


# Surroundings


@pytest.fixture(autouse=True, scope="session")
def _own_surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither the settings of the person who runs the tests nor those of a server on this machine reach a test."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [*os.environ]:
            if name.startswith(("GIT_", "TRIMTAB_", "XDG_", "SUPERVISOR_")) or name.lower().endswith("_proxy"):
                patch.delenv(name)
        for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(home))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        patch.setenv("GIT_AUTHOR_NAME", "Ada")
        patch.setenv("GIT_AUTHOR_EMAIL", "ada@example.org")
        patch.setenv("GIT_COMMITTER_NAME", "Ada")
        patch.setenv("GIT_COMMITTER_EMAIL", "ada@example.org")
        patch.setenv("LC_ALL", "C.UTF-8")
        (home / "gitconfig").write_text("[init]\n\tdefaultBranch = main\n[gc]\n\tauto = 0\n")
        yield


# Processes

_MARK = f"STARTED_BY_TEST_RUN={os.getpid()}-{time.monotonic_ns()}"
GRACE_SECONDS = 2.0
"""How long a process that was told to end may take before the test that started it fails."""


@pytest.fixture(autouse=True, scope="session")
def _marked() -> Iterator[None]:
    """A mark in the environment of every descendant finds also those that have become daemons."""
    name, _, value = _MARK.partition("=")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, value)
        yield


_strangers: set[int] = set()
"""Processes that are known to be none of ours, so that each is looked at only once."""


def _descendants() -> dict[int, str]:
    """Processes that carry our mark (daemons) or have us as their parent, with their command lines."""
    if sys.platform != "linux":
        return {}
    pids = {int(name) for name in os.listdir("/proc") if name.isdigit()} - _strangers - {os.getpid()}  # noqa: PTH208 - every test pays
    found: dict[int, str] = {}
    for pid in pids:
        entry = Path("/proc", str(pid))
        try:
            stat = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            ours = stat[1] == str(os.getpid()) or _MARK.encode() in (entry / "environ").read_bytes().split(b"\0")
            if ours and stat[0] != "Z":  # a zombie has ended; its parent is about to fetch the result
                found[pid] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            elif not ours:
                _strangers.add(pid)
        except PermissionError:
            _strangers.add(pid)
        except OSError:
            continue  # it ended while we looked
    return found


@pytest.fixture(autouse=True)
def _no_process_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test after which a process that it started still runs. Fixtures of wider scope keep theirs."""
    before = _descendants()
    yield
    deadline = time.monotonic() + GRACE_SECONDS
    while left := {pid: command for pid, command in _descendants().items() if pid not in before}:
        if time.monotonic() > deadline:
            for pid in left:
                _kill(pid)
            pytest.fail(f"left running: {left}")
        time.sleep(0.02)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return


# Free ports


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
