"""Lines of several containers: in the order of their time, and one that cannot be read takes nothing from the others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from trimtab.core.model.errors import TransientError
from trimtab.ports.target import LogWish
from trimtab.targets.kubernetes.client import Client
from trimtab.targets.kubernetes.podlogs import Source, lines_of

BROKEN = TransientError("read the log of p2: the node does not answer")


class Logs:
    """What the API server has of each Pod: lines, then perhaps an error."""

    def __init__(self, **pods: tuple[list[str], Exception | None]) -> None:
        self.pods = pods

    async def logs(self, namespace: str, pod: str, **_: Any) -> AsyncIterator[bytes]:
        lines, error = self.pods[pod]
        for line in lines:
            yield line.encode()
        if error is not None:
            raise error


async def read(wish: LogWish, **pods: tuple[list[str], Exception | None]) -> list[str]:
    found = [Source("shop", pod, "main", pod) for pod in pods]
    return [f"{line.source} {line.text}" async for line in lines_of(cast("Client", Logs(**pods)), found, wish)]


def stamped(second: int, text: str) -> str:
    return f"2030-01-01T00:00:{second:02}Z {text}"


async def test_the_last_lines_of_all_come_in_the_order_of_their_time() -> None:
    """As many as are wished of all together."""
    pods = {"p1": ([stamped(1, "a"), stamped(4, "d")], None), "p2": ([stamped(2, "b"), stamped(3, "c")], None)}
    assert await read(LogWish(3), **pods) == ["p2 b", "p2 c", "p1 d"]


@pytest.mark.parametrize("follow", [False, True])
async def test_what_can_be_read_is_read(follow: bool) -> None:
    """A Pod on a node that does not answer keeps nothing of the others from being seen; what it gave before counts."""
    pods = {"p1": ([stamped(1, "a")], None), "p2": ([stamped(2, "b")], BROKEN)}
    assert sorted(await read(LogWish(follow=follow), **pods)) == ["p1 a", "p2 b"]


@pytest.mark.parametrize("follow", [False, True])
async def test_where_nothing_can_be_read_the_reason_is_told(follow: bool) -> None:
    """No lines would look like a program that says nothing."""
    with pytest.raises(TransientError, match="the node does not answer"):
        await read(LogWish(follow=follow), p1=([], BROKEN), p2=([], BROKEN))


async def test_a_defect_of_ours_is_not_taken_for_a_log_that_has_ended() -> None:
    """It comes up where it is read, also while the others are followed."""
    with pytest.raises(KeyError):
        await read(LogWish(follow=True), p1=([], KeyError("a defect")))
