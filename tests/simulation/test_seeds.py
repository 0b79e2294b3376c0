"""The laws hold for the first 200 seeds; `make simulate` runs more."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from trimtab.testing.changes import simulation as changes
from trimtab.testing.simulation import main, simulate

SEEDS = 200
BEYOND = (454, 746, 825)
"""Later seeds that have found something once."""
CHUNK = 25
CHANGES_CHUNK = 100


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_law_holds_for_every_seed(first: int) -> None:
    """Whatever fails in a story, no law is broken, and when the faults stop the world converges and stays quiet."""
    results = [simulate(seed) for seed in range(first, first + CHUNK)]
    assert [result.line() for result in results if result.violations] == []


def test_every_law_holds_for_seeds_that_have_found_something() -> None:
    """What was mended once stays so."""
    assert [result.line() for seed in BEYOND if (result := simulate(seed)).violations] == []


@pytest.mark.parametrize("first", range(0, SEEDS, CHANGES_CHUNK))
def test_every_law_of_changes_holds_for_every_seed(first: int) -> None:
    """Whatever fails, nothing reaches a protected Environment unapproved, and no push, approval or merge is lost or doubled."""
    results = [changes.simulate(seed) for seed in range(first, first + CHANGES_CHUNK)]
    assert [result.line() for result in results if result.violations] == []


def test_a_seed_is_the_same_run_in_every_process() -> None:
    """Nothing depends on the hash seed of the process, on memory addresses or on real time."""
    program = (
        "import hashlib\nfrom trimtab.testing.simulation import simulate\n"
        "print([hashlib.sha256('\\n'.join(simulate(seed).trace).encode()).hexdigest() for seed in (3, 4, 9)])"
    )
    traces = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    here = [hashlib.sha256("\n".join(simulate(seed).trace).encode()).hexdigest() for seed in (3, 4, 9)]
    assert traces == {f"{here}\n"}


def test_a_seed_of_changes_is_the_same_run_in_every_process() -> None:
    """Nor does anything there depend on the process."""
    program = (
        "import hashlib\nfrom trimtab.testing.changes.simulation import simulate\n"
        "print([hashlib.sha256('\\n'.join(simulate(seed).trace).encode()).hexdigest() for seed in (3, 4, 9)])"
    )
    traces = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(traces) == 1


def test_the_command_tells_how_many_seeds_held(capsys: pytest.CaptureFixture[str]) -> None:
    """One seed with its trace shows what happened; the last line sums up, and the exit code is 0 when all laws held."""
    assert main(["--seed", "3", "--trace"]) == 0
    printed = capsys.readouterr().out
    assert "STORY" in printed
    assert "EVENT deployment.healthy" in printed
    assert printed.splitlines()[-1].startswith("1 seeds, 0 failed")
