"""What people do with stock git against the server: clone, fetch, push, and what it tells them."""

from __future__ import annotations

from trimtab.ports.hosting import RefUpdate

from .conftest import Served


async def test_a_new_repository_is_cloned_pushed_to_and_cloned_again(served: Served):
    """Empty at first; what was pushed comes out again, the same."""
    await served.hosting.create("team/shop")
    ann = await served.clone("team/shop", "ann")
    commit = await ann.commit("first", a="1\n")
    await ann.git("push", "--quiet", "origin", "main")
    rae = await served.clone("team/shop", "rae", who="rae")
    assert await rae.head() == commit
    assert served.engine.moved == [RefUpdate("refs/heads/main", "", commit)]
    assert served.left_over == []
