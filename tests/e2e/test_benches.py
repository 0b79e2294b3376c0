"""The scripts in bench/ that state a promise, in short: they run, and what they promise of safety holds. Speed is measured there only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench"


def bench(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCH / name), *arguments], capture_output=True, text=True, check=False, timeout=170
    )


def test_a_server_that_is_killed_at_random_moments_of_releases_loses_repeats_and_drops_nothing() -> None:
    done = bench("kill9.py", "--times", "5", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing was lost, repeated or dropped" in done.stdout


def test_a_server_that_is_killed_between_the_wish_for_a_merge_and_its_record_loses_and_doubles_none() -> None:
    done = bench("kill9_changes.py", "--times", "3", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no merge was lost, none was doubled" in done.stdout


def test_the_bench_of_the_host_measures_everything_that_it_promises() -> None:
    done = bench("host.py", "--times", "1")
    assert done.stderr == ""
    assert [line[:4] in ("ok  ", "MISS") for line in done.stdout.splitlines()[1:]] == [True] * 4, done.stdout


def test_the_bench_of_changes_measures_everything_that_it_promises() -> None:
    done = bench("changes.py", "--applications", "5", "--open", "10", "--listed", "500", "--times", "3", "--cluster", "0")
    assert [line[:4] in ("ok  ", "MISS") for line in done.stdout.splitlines()] == [True] * 4, done.stdout + done.stderr
