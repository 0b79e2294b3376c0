"""Programs run within bounds and leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from trimtab.plumbing.processes import Finished, NotStarted, TimedOut, TooMuchOutput, clean_environment, run

ENVIRONMENT = clean_environment("/nonexistent")


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def _gone(pid: int) -> bool:
    for _ in range(200):
        if not _alive(pid):
            return True
        await asyncio.sleep(0.01)
    return False


async def _shell(script: str, *, timeout_seconds: float = 10, output_bytes_max: int = 1_000_000, stdin: bytes = b"") -> Finished:
    return await run(
        ["sh", "-c", script],
        environment=ENVIRONMENT,
        timeout_seconds=timeout_seconds,
        output_bytes_max=output_bytes_max,
        stdin=stdin,
    )


async def test_exit_code_and_both_outputs_come_back():
    """A non-zero exit is a result."""
    assert await _shell("echo out; echo err >&2; exit 3") == Finished(3, b"out\n", b"err\n")


async def test_death_by_signal_is_a_negative_code():
    """The code of a killed program is minus the signal's number."""
    assert (await _shell("kill -TERM $$")).code == -15


async def test_standard_input_is_fed_whole():
    """More input than a pipe holds arrives complete."""
    data = b"x" * 1_000_000
    assert (await _shell("wc -c", stdin=data)).stdout.strip() == b"1000000"


async def test_a_program_that_does_not_read_its_input_is_no_error():
    """A closed standard input does not break the call."""
    assert (await _shell("exit 0", stdin=b"x" * 1_000_000)).code == 0


async def test_time_out_kills_the_whole_group(tmp_path: Path):
    """At the time-out helpers of the program die too."""
    pid_file = tmp_path / "pid"
    with pytest.raises(TimedOut, match=r"killed after 0\.3 s") as caught:
        await _shell(f"echo waiting >&2; sleep 60 & echo $! > {pid_file}; wait", timeout_seconds=0.3)
    assert caught.value.stderr == b"waiting\n"
    assert await _gone(int(pid_file.read_text()))


async def test_cancellation_kills_the_whole_group(tmp_path: Path):
    """A cancelled call leaves no process."""
    pid_file = tmp_path / "pid"
    task = asyncio.create_task(_shell(f"sleep 60 & echo $! > {pid_file}.new; mv {pid_file}.new {pid_file}; wait"))
    while not pid_file.exists():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await _gone(int(pid_file.read_text()))


async def test_too_much_output_is_refused_and_killed():
    """An endless writer is stopped at the bound."""
    with pytest.raises(TooMuchOutput, match="more than 1000 bytes"):
        await _shell("while :; do echo yyyyyyyyyyyyyyyyyyyy; done", output_bytes_max=1000)


async def test_of_standard_error_the_end_is_kept():
    """The last line of a long complaint is there."""
    result = await run(
        ["sh", "-c", "i=0; while [ $i -lt 500 ]; do echo line $i >&2; i=$((i+1)); done"],
        environment=ENVIRONMENT,
        timeout_seconds=10,
        output_bytes_max=10,
        error_bytes_max=100,
    )
    assert len(result.stderr) == 100
    assert result.stderr.endswith(b"line 499\n")


async def test_a_helper_that_keeps_the_pipe_open_does_not_hang_the_call(tmp_path: Path):
    """The call ends soon after the program, and takes the helper with it."""
    pid_file = tmp_path / "pid"
    started = time.monotonic()
    result = await _shell(f"sleep 60 & echo $! > {pid_file}; echo done")
    assert result.stdout == b"done\n"
    assert time.monotonic() - started < 5
    assert await _gone(int(pid_file.read_text()))


async def test_a_missing_program_is_named():
    """The error names the program and the reason."""
    with pytest.raises(NotStarted, match="no-such-program: No such file"):
        await run(["no-such-program"], environment=ENVIRONMENT, timeout_seconds=1, output_bytes_max=1)


async def test_a_nul_in_an_argument_is_an_error_of_ours():
    """What cannot be an argument is refused before anything runs."""
    with pytest.raises(NotStarted, match="null byte"):
        await run(["echo", "a\0b"], environment=ENVIRONMENT, timeout_seconds=1, output_bytes_max=1)


async def test_nothing_of_our_environment_leaks(monkeypatch: pytest.MonkeyPatch):
    """Only named variables are handed on."""
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    monkeypatch.setenv("WANTED", "yes")
    environment = clean_environment("/home/nobody", keep=["WANTED"], EXTRA="1")
    result = await run(["env"], environment=environment, timeout_seconds=5, output_bytes_max=10_000)
    variables = dict(line.split("=", 1) for line in result.stdout.decode().splitlines())
    assert variables["HOME"] == "/home/nobody"
    assert variables["LC_ALL"] == "C"
    assert variables["WANTED"] == "yes"
    assert variables["EXTRA"] == "1"
    assert variables["PATH"] == os.environ["PATH"]
    assert "SECRET_TOKEN" not in variables


async def test_the_program_has_no_terminal():
    """It runs in a session of its own, so it cannot ask anybody."""
    result = await _shell("ps -o sid= -p $$ 2>/dev/null || cut -d' ' -f6 /proc/$$/stat; echo $$")
    session, pid = result.stdout.split()
    assert session == pid
