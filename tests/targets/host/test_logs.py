"""Logs of all instances, across restarts and turning over, safe to print."""

from __future__ import annotations

import asyncio
from pathlib import Path

from trimtab.ports.target import LogWish
from trimtab.targets.host.logs import lines_of
from trimtab.targets.host.rotate import turn_over_one

from .conftest import World, manifest


def put(root: Path, instance: str, text: str) -> Path:
    path = root / "instances" / instance / "log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text)
    return path


async def test_the_last_lines_over_all_instances(tmp_path: Path) -> None:
    """Escapes are taken out; the number holds for all together."""
    put(tmp_path, "host~~web~1", "one\ntwo\n")
    put(tmp_path, "host~~web~2", "th\x1b[31mree\n\x1b]0;title\x07four\n")
    found = [line async for line in lines_of(tmp_path, lambda: ["host~~web~1", "host~~web~2"], lines=3, follow=False)]
    assert [(line.source, line.text) for line in found] == [("web/1", "two"), ("web/2", "three"), ("web/2", "four")]


async def test_following_goes_on_across_a_turning_over_and_a_new_instance(tmp_path: Path) -> None:
    """Nothing is said twice, and whoever starts later is heard."""
    first = put(tmp_path, "host~~web~1", "old\n" * 2_000)
    names = ["host~~web~1"]
    lines = lines_of(tmp_path, lambda: names, lines=1, follow=True)
    assert (await anext(lines)).text == "old"
    put(tmp_path, "host~~web~1", "next\n")
    assert (await anext(lines)).text == "next"
    turn_over_one(first, 1)
    put(tmp_path, "host~~web~1", "after\n")
    assert (await asyncio.wait_for(anext(lines), 2)).text == "after"
    put(tmp_path, "host~~web~2", "hello\n")
    names.append("host~~web~2")
    heard = await asyncio.wait_for(anext(lines), 2)
    assert (heard.source, heard.text) == ("web/2", "hello")
    await lines.aclose()


async def test_a_process_is_followed(world: World) -> None:
    """Through the port, with the name of the instance."""
    talker = manifest("Process", "talker", {"command": ["sh", "-c", "echo first; sleep 0.3; echo second; exec sleep 1000"]})
    await world.run(talker)
    lines = world.target.logs(talker.ref, LogWish(10, follow=True))
    heard = [(await asyncio.wait_for(anext(lines), 3)).text for _ in range(2)]
    assert heard == ["first", "second"]
    await lines.aclose()
