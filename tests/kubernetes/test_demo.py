"""`make demo-kubernetes`, for real: what it shows is true, it says so when it is not, and it leaves nothing behind."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kubernetes.demo import Story, main, play


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where its directories are made; short, as a socket's path is bounded."""
    with tempfile.TemporaryDirectory(prefix="d-") as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)


def test_the_demo_shows_the_loop_on_a_cluster_and_leaves_nothing_behind(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    shown = capsys.readouterr().out
    for words in ("└─ ReplicaSet/greeter-", "last log line: panic: no such table", "it is held", "the Service is back"):
        assert words in shown
    assert list(place.iterdir()) == []


def test_a_demo_that_is_not_true_says_what_was_seen_instead(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody suspends the application, so that the next commit does not go live."""

    def meddle(moment: str, story: Story) -> None:
        story.served.cli("app", "suspend", "greeter", "--reason", "a test", "--for", "1h")

    checks = play(meddle=meddle, patience_seconds=3.0)
    assert [(check.claim, check.ok) for check in checks.done][-1] == ("production has four", False)
    assert "NOT TRUE: production has four" in capsys.readouterr().out
    assert list(place.iterdir()) == []
