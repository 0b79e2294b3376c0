"""Where the applications of an environment meet: claims, and the budget that they share."""

from __future__ import annotations

from datetime import UTC, datetime

from trimtab.core.decide.plan import Elsewhere
from trimtab.core.lifecycle.state import Reconciliation, Suspension
from trimtab.core.model.deployment import Deployment, Phase
from trimtab.core.model.health import HealthStatus
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Key
from trimtab.engine.world import GONE, Content, World
from trimtab.testing.factories import entry, manifest

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SHOP, CART = Key("host", "shop"), Key("host", "cart")
WEB, DB = manifest("Process", "web"), manifest("Process", "db")
MANY = [manifest("Process", f"p{i}") for i in range(4)]


def deployment(key: Key, digest: str, sequence: int) -> Deployment:
    return Deployment(
        key.application, key.environment, f"r{sequence}", sequence, Phase.HEALTHY, HealthStatus.HEALTHY, NOW, NOW, digest=digest
    )


def running(world: World, key: Key, digest: str, *manifests: Manifest, sequence: int = 1) -> None:
    world.offer(key, Content(digest, manifests), sequence)
    world.states[key] = Reconciliation(current=deployment(key, digest, sequence))


def test_what_runs_what_waits_and_what_is_on_its_way_is_claimed() -> None:
    """So an object that moves is wanted by somebody at every moment."""
    world = World("test")
    running(world, SHOP, "d1", WEB)
    released = world.offer(SHOP, Content("d2", (DB,)), 2)
    assert released == {WEB.identity}
    claims = world.claims(CART, [WEB.identity, DB.identity])
    assert claims == {WEB.identity: frozenset({"shop"}), DB.identity: frozenset({"shop"})}


def test_the_application_itself_claims_what_its_newest_content_wants() -> None:
    """Not what its current content wants: that is known to whoever asks."""
    world = World("test")
    running(world, SHOP, "d1", WEB)
    world.offer(SHOP, Content("d2", (DB,)), 2)
    assert world.claims(SHOP, [WEB.identity, DB.identity]) == {WEB.identity: frozenset(), DB.identity: frozenset({"shop"})}


def test_who_lets_it_go_at_its_newest_is_no_contender() -> None:
    """Of two that claim it, only the one that goes on wanting it."""
    world = World("test")
    running(world, SHOP, "d1", WEB)
    running(world, CART, "e1", WEB)
    world.offer(SHOP, GONE, 2)
    assert world.contenders(CART, world.claims(CART, [WEB.identity])) == {WEB.identity: frozenset({"cart"})}


def test_contents_that_nobody_uses_are_dropped_and_their_objects_released() -> None:
    """After a deployment has started, what ran before is claimed no more."""
    world = World("test")
    running(world, SHOP, "d1", WEB)
    running(world, SHOP, "d2", DB, sequence=2)
    assert world.settle_contents(SHOP) == {WEB.identity}
    assert world.content(SHOP, "d1") is None
    assert world.content(SHOP, GONE.digest) == GONE


def test_a_key_that_ends_while_it_is_declared_again_keeps_the_new_content() -> None:
    """Else the new declaration would find nothing to apply."""
    world = World("test")
    running(world, SHOP, GONE.digest)
    world.offer(SHOP, Content("d2", (DB,)), 2)
    world.forget(SHOP)
    assert SHOP not in world.states
    assert world.content(SHOP, "d2") is not None


def test_what_others_remove_counts_before_it_is_done_and_after() -> None:
    """At one revision; what was approved, and what another application wants, does not count."""
    world = World("test")
    for number, one in enumerate(MANY):
        world.inventories["host"].put(entry(one, application="cart", uid=f"u{number}"))
    running(world, CART, "e1", *MANY)
    world.offer(CART, Content("e2", ()), 7)
    assert world.removed_elsewhere(SHOP, 7) == Elsewhere(removals=4, gone=0)
    assert world.removed_elsewhere(SHOP, 8) == Elsewhere()
    running(world, SHOP, "d1", MANY[0])
    world.inventories["host"].drop(MANY[1].identity)
    world.states[CART] = Reconciliation(
        current=deployment(CART, "e2", 7), removed=frozenset({MANY[1].identity}), granted=frozenset({"u2"})
    )
    assert world.removed_elsewhere(SHOP, 7) == Elsewhere(removals=2, gone=1)


def test_suspension_is_told_for_those_that_are_asked_about() -> None:
    """Applications that are not there are not suspended."""
    world = World("test")
    world.states[CART] = Reconciliation(suspension=Suspension("wait", "ada"))
    world.states[SHOP] = Reconciliation()
    assert world.suspended("host", ["cart", "shop", "nobody"]) == {"cart"}


def test_after_a_lost_store_what_is_on_offer_counts_and_so_does_who_has_ended() -> None:
    """Nobody has a state yet; and an application that removed its last object is gone, but its removals are not forgotten."""
    world = World("test")
    for one in MANY:
        world.inventories["host"].put(entry(one, application="cart"))
    world.offer(CART, GONE, 1)
    assert world.removed_elsewhere(SHOP, 1) == Elsewhere(removals=4, gone=0)
    for one in MANY:
        world.inventories["host"].drop(one.identity)
    world.states[CART] = Reconciliation(
        current=deployment(CART, GONE.digest, 1), removed=frozenset(one.identity for one in MANY), undeclared=True
    )
    world.forget(CART)
    assert world.removed_elsewhere(SHOP, 1) == Elsewhere(removals=4, gone=4)
