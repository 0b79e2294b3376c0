"""The ground that the tests stand on holds what it promises."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def ground(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    return pytester


def test_a_connection_beyond_this_machine_is_refused_before_it_is_made() -> None:
    with socket.socket() as outside, pytest.raises(AssertionError, match="stay on this machine"):
        outside.connect(("192.0.2.1", 80))


def test_a_connection_on_this_machine_is_let_through(free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)), socket.create_connection(("localhost", free_port)):
        pass


def test_a_test_that_leaves_a_process_behind_fails_and_the_process_ends(ground: pytest.Pytester) -> None:
    child, daemon = f"sleep 3{os.getpid()}", f"sleep 4{os.getpid()}"
    ground.makepyfile(
        f"""
        import subprocess

        def test_leaves_a_child():
            subprocess.Popen("{child}".split())

        def test_leaves_a_daemon():
            subprocess.run(["sh", "-c", "setsid {daemon} >/dev/null 2>&1 &"], check=True)
        """
    )
    result = ground.runpytest_subprocess("-p", "no:cacheprovider", "-o", "filterwarnings=ignore")
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines([f"*left running: *{child}*", f"*left running: *{daemon}*"])
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert child not in running
    assert daemon not in running


def test_slow_kinds_of_tests_run_last(ground: pytest.Pytester) -> None:
    for folder in ("e2e", "contract", "alpha", "zeta"):
        ground.mkdir(folder).joinpath(f"test_{folder}.py").write_text("def test_it(): pass\n")
    result = ground.runpytest_subprocess("-v", "-p", "no:cacheprovider")
    order = [line.partition("/")[0] for line in result.stdout.lines if "PASSED" in line]
    assert order == ["alpha", "zeta", "contract", "e2e"]
