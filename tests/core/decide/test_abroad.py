"""Whether the owner of an object in another Environment lets it go, and the law of what is seen by several Environments."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.abroad import Abroad, Owning, stance
from trimtab.core.decide.plan import Situation, forgotten, plan
from trimtab.core.model.config import RemovalBudget
from trimtab.core.model.inventory import Inventory
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Identity, Key
from trimtab.core.model.observed import Observed, Owner
from trimtab.core.model.plan import Action
from trimtab.testing.factories import INSTALLATION, entry, manifest, observed, seen

LETTING = Owning(suspended=False, doubts=(), newest=False, running=False, here=True)
OBJECTS = [manifest("Wide", f"w{number}") for number in range(3)]
KEYS = [Key(environment, application) for environment in ("east", "west") for application in ("cart", "shop")]


def test_who_wants_it_no_more_lets_it_go() -> None:
    """Also while what runs there still has it, where it is newly wanted here: that only waits for its turn."""
    assert stance(LETTING) == ("lets-go", "")
    assert stance(replace(LETTING, running=True)) == ("lets-go", "")
    assert stance(replace(LETTING, running=None)) == ("lets-go", "")


def test_who_goes_on_wanting_it_does_not() -> None:
    """At its newest; and where nobody wants it at the newest, what runs there is no worse than what runs here."""
    assert stance(replace(LETTING, newest=True))[0] == "wants"
    assert stance(replace(LETTING, running=True, here=False))[0] == "wants"


def test_a_suspension_comes_before_everything() -> None:
    """What somebody has stopped is not asked what it wants."""
    assert stance(replace(LETTING, suspended=True, newest=True, doubts=("x",)))[0] == "suspended"


def test_what_is_not_known_is_no_letting_go() -> None:
    """With the reason; what is known to be wanted is wanted, whatever else is in doubt."""
    assert stance(replace(LETTING, doubts=("it fails to render",))) == ("unknown", "it fails to render")
    assert stance(replace(LETTING, newest=None)) == ("unknown", "it is not known what its application wants there")
    assert stance(replace(LETTING, running=None, here=False))[0] == "unknown"
    assert stance(replace(LETTING, newest=True, doubts=("x",)))[0] == "wants"


# --- the law ----------------------------------------------------------------------------------------------------------------

Wishes = dict[Key, frozenset[Identity]]
wishes = st.fixed_dictionaries({key: st.frozensets(st.sampled_from([one.identity for one in OBJECTS])) for key in KEYS})


def _situation(key: Key, wanted: Wishes, there: dict[Identity, Observed], inventory: Inventory) -> Situation:
    """As an engine makes it: all four Applications see the same objects, and all is known."""
    desired = tuple(one for one in OBJECTS if one.identity in wanted[key])
    claims = {
        one.identity: frozenset(
            other.application for other in KEYS if other.environment == key.environment and one.identity in wanted[other]
        )
        - {key.application}
        for one in OBJECTS
    }
    abroad = {one.identity: _abroad(key, wanted, one, there.get(one.identity)) for one in OBJECTS}
    return Situation(
        key=key,
        installation=INSTALLATION,
        desired=desired,
        predicted={one.identity: one.body for one in desired},
        observed=there,
        inventory=inventory,
        claims=claims,
        contenders={
            identity: names | (frozenset((key.application,)) if identity in wanted[key] else frozenset())
            for identity, names in claims.items()
            if names
        },
        abroad={identity: one for identity, one in abroad.items() if one.wanted or there.get(identity)},
        budget=RemovalBudget(percent=100, objects=100, empty_render="allow"),
    )


def _abroad(key: Key, wanted: Wishes, one: Manifest, there: Observed | None) -> Abroad:
    others = tuple(other for other in KEYS if other.environment != key.environment and one.identity in wanted[other])
    owner = Key(there.owner.environment, there.owner.application) if there is not None and there.owner is not None else key
    return Abroad(wanted=others, stance="wants" if one.identity in wanted[owner] else "lets-go")


@given(before=wishes, after=wishes, order=st.permutations(KEYS))
def test_nothing_is_removed_that_any_environment_of_the_place_wants(before: Wishes, after: Wishes, order: list[Key]) -> None:
    """Whoever is looked at first, and when all have been looked at, each object is its one owner's, who wants it, and nothing was made anew."""
    owners = {one.identity: key for one in OBJECTS for key in reversed(KEYS) if one.identity in before[key]}
    there = seen(
        *(
            observed(
                one,
                uid=f"uid-{one.ref.name}",
                environment=owners[one.identity].environment,
                application=owners[one.identity].application,
            )
            for one in OBJECTS
            if one.identity in owners
        )
    )
    inventories = {name: Inventory() for name in ("east", "west")}
    for one in OBJECTS:
        if one.identity in owners:
            key = owners[one.identity]
            inventories[key.environment].put(
                entry(one, environment=key.environment, application=key.application, uid=f"uid-{one.ref.name}")
            )
    for key in [*order, *order]:
        situation = _situation(key, after, there, inventories[key.environment])
        for ref in forgotten(situation):
            inventories[key.environment].drop(ref.identity)
        for step in plan(situation).steps:
            assert step.action != Action.REMOVE or not any(step.ref.identity in after[other] for other in KEYS)
            assert step.action != Action.CREATE or step.ref.identity not in owners
            _act(key, step.action, step.ref.identity, there, inventories[key.environment])
    for one in OBJECTS:
        wanting = [key for key in KEYS if one.identity in after[key]]
        found = there.get(one.identity)
        assert (found is not None) == bool(wanting)
        having = {name for name, inventory in inventories.items() if inventory.get(one.identity)}
        if found is not None and found.owner is not None:
            assert Key(found.owner.environment, found.owner.application) in wanting
            assert {found.owner.environment} <= having <= {key.environment for key in wanting}


def _act(key: Key, action: Action, identity: Identity, there: dict[Identity, Observed], inventory: Inventory) -> None:
    if action == Action.REMOVE:
        del there[identity]
        inventory.drop(identity)
        return
    one = next(one for one in OBJECTS if one.identity == identity)
    uid = there[identity].uid if identity in there else f"new-{one.ref.name}"
    made = observed(one, uid=uid, environment=key.environment, application=key.application)
    assert made.owner == Owner(INSTALLATION, key.environment, key.application)
    there[identity] = made
    inventory.put(entry(one, environment=key.environment, application=key.application, uid=uid))
