"""When the Deployments of a commit have come to rest."""

from __future__ import annotations

import pytest

from trimtab.core.model.deployment import Phase, moving


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        ([], False),
        ([Phase.HEALTHY, Phase.SUPERSEDED, Phase.REVERTED], False),
        ([Phase.HEALTHY, Phase.PENDING], True),
        ([Phase.FAILED, Phase.APPLYING], True),
        ([Phase.FAILED, Phase.PENDING], False),
        ([Phase.HELD, Phase.PENDING], False),
    ],
)
def test_what_waits_for_something_that_failed_or_is_held_does_not_move(phases: list[Phase], expected: bool) -> None:
    assert moving(phases) is expected
