"""docs/tutorial.md is true: every command of it is run, in order, as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh( serve)?\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
SECONDS_MAX = 120.0

PRELUDE = """
set -euo pipefail
# 3 is what the page says of a plan with differences, and no failure of it.
trimtab() { local code=0; command trimtab "$@" || code=$?; [ "$1 $code" = "plan 3" ] || return "$code"; }
"""


@pytest.fixture
def home() -> Iterator[Path]:
    # Not tmp_path: a socket's path may have 107 characters, and somebody's home is shorter than that.
    with tempfile.TemporaryDirectory(prefix="home-") as name:
        folder = Path(name)
        yield folder
        down = [*_environment(folder), "trimtab", "down", "--data", str(_data(folder))]
        subprocess.run(down, check=False, capture_output=True)


def _data(home: Path) -> Path:
    return home / ".local" / "state" / "trimtab"


def _environment(home: Path) -> list[str]:
    return ["env", f"HOME={home}", f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}"]


def script(port: int) -> str:
    """The page as one script; the block of the second terminal in the background."""
    parts = [PRELUDE]
    for other_terminal, block in BLOCKS:
        if other_terminal:
            block = f"{{ {block.strip()} >server.out 2>server.err & }}\nuntil grep -q '^trimtab ready' server.out; do sleep 0.02; done\n"
        parts.append(block.replace("8080", str(port)).replace("|| echo", "&& exit 9 || echo"))
    return "\n".join(parts)


def test_the_tutorial_does_what_it_says(home: Path, free_port: int) -> None:
    began = time.monotonic()
    result = subprocess.run(
        [*_environment(home), "bash", "-c", script(free_port)],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for expected in (
        "+ create Process/web",
        "not healthy, says the exit code",
        "no.such.module",
        "held, says the exit code",
        "trimtab app approve web sha256:",
        "Notes (trimtab):",
    ):
        assert expected in result.stdout, result.stdout + result.stderr
    assert time.monotonic() - began < SECONDS_MAX


def test_every_block_of_the_page_is_run() -> None:
    assert len(BLOCKS) == len(re.findall(r"^```\w", PAGE, flags=re.MULTILINE))
    assert sum(bool(other_terminal) for other_terminal, _ in BLOCKS) == 1
