"""What is planned, for every relation between what Git wants, what is there, and what is ours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.abroad import Abroad
from trimtab.core.decide.plan import Elsewhere, Situation, forgotten, given_back, plan
from trimtab.core.model.config import RemovalBudget
from trimtab.core.model.leaving import Leave, Left
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Key
from trimtab.core.model.observed import Fixed, Observed
from trimtab.core.model.plan import Action, LeftField, Plan
from trimtab.testing.factories import INSTALLATION, entry, inventory, manifest, observed, seen

WEB, DB, OLD = manifest("Process", "web", replicas=2), manifest("Process", "db"), manifest("Process", "old")
FREE = RemovalBudget(percent=100, objects=100, empty_render="allow")


def situation(*desired: Manifest, there: tuple[Observed, ...] = (), owned: Any = (), **options: Any) -> Situation:
    """The application `shop` in `host`; what is there is seen, what is owned stands in the inventory."""
    return Situation(
        key=Key("host", "shop"),
        installation=INSTALLATION,
        desired=desired,
        predicted={wanted.identity: wanted.body for wanted in desired},
        observed=seen(*there),
        inventory=inventory(*owned),
        **options,
    )


def acts(made: Plan) -> list[tuple[str, str]]:
    return [(step.action.value, step.ref.name) for step in made.steps]


def held(made: Plan) -> list[tuple[str, str]]:
    return [(hold.object.name if hold.object else "", hold.reason) for hold in made.holds]


# --- what Git wants ---------------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_created() -> None:
    """Its step presupposes that it is absent."""
    (step,) = plan(situation(WEB)).steps
    assert (step.action, step.uid, step.presupposes, step.manifest) == (Action.CREATE, "", "absent", WEB)


def test_what_is_as_git_says_needs_nothing() -> None:
    """No step and no hold: the plan is empty."""
    assert plan(situation(WEB, there=(observed(WEB),), owned=[entry(WEB)])).empty


def test_what_differs_is_updated_with_the_fields_that_differ() -> None:
    """The step names each field, and the uid that it was planned for."""
    (step,) = plan(situation(WEB, there=(observed(WEB, uid="u7", replicas=9),), owned=[entry(WEB)])).steps
    assert (step.action, step.uid) == (Action.UPDATE, "u7")
    assert [(change.path, change.from_, change.to) for change in step.changes] == [("/spec/replicas", 9, 2)]


def test_what_cannot_be_changed_in_place_is_held_and_made_anew_only_where_git_says_so() -> None:
    """The Hold names the field, and no approval lifts it; a replacement shows what it changes, and on which object."""
    there: dict[str, Any] = {
        "there": (observed(WEB, uid="u7", replicas=9), observed(DB)),
        "owned": [entry(WEB, uid="u7"), entry(DB)],
    }
    (hold,) = plan(situation(WEB, DB, **there, fixed={WEB.identity: Fixed(("spec.replicas",))})).holds
    assert (hold.object, hold.reason, hold.approvable) == (WEB.ref, "spec.replicas cannot be changed in place", False)
    assert 'trimtab.dev/replace: "true"' in hold.lifted_by
    (step,) = plan(situation(WEB, DB, **there, fixed={WEB.identity: Fixed(("spec.replicas",), replaces=True)})).steps
    assert (step.action, step.uid, [change.path for change in step.changes]) == (Action.REPLACE, "u7", ["/spec/replicas"])


def test_what_is_somebody_elses_is_not_said_to_be_fixed() -> None:
    """First it has to be ours to be; what is to be adopted or handed over is held like what we have."""
    fixed = {WEB.identity: Fixed(("spec.replicas",))}
    foreign = situation(WEB, there=(observed(WEB, application=None, replicas=9),), fixed=fixed)
    assert held(plan(foreign)) == [("web", "it is there already and belongs to nobody")]
    assert held(plan(replace(foreign, adopt=True))) == [("web", "spec.replicas cannot be changed in place")]
    other = situation(WEB, there=(observed(WEB, application="cart", replicas=9),), fixed=fixed)
    assert held(plan(other)) == [("web", "spec.replicas cannot be changed in place")]


def test_ours_by_the_target_and_unknown_to_the_inventory_is_taken_in() -> None:
    """After a lost store an equal object gets a step without changes, so that it is recorded again."""
    assert acts(plan(situation(WEB, there=(observed(WEB),)))) == [("update", "web")]


def test_what_lost_its_owner_mark_is_ours_only_by_its_uid() -> None:
    """The inventory's word counts for the very object that it has seen, not for a namesake, and not for one still to be adopted."""
    there = (observed(WEB, application=None, uid="u1", replicas=9),)
    assert acts(plan(situation(WEB, there=there, owned=[entry(WEB, uid="u1")]))) == [("update", "web")]
    assert (
        held(plan(situation(WEB, there=there, owned=[entry(WEB, uid="u2")])))[0][1] == "it is there already and belongs to nobody"
    )
    assert held(plan(situation(WEB, there=there, owned=[entry(WEB, uid="", state="intended")])))


def test_what_is_nobodys_is_adopted_only_when_git_says_so() -> None:
    """By the application or by an annotation on the object; else it is held, with both ways out."""
    there = (observed(WEB, application=None),)
    hold = plan(situation(WEB, there=there)).holds[0]
    assert not hold.approvable
    assert "trimtab.dev/adopt" in hold.lifted_by
    assert acts(plan(situation(WEB, there=there, adopt=True))) == [("adopt", "web")]
    annotated = manifest("Process", "web", annotations={"trimtab.dev/adopt": "true"})
    assert acts(plan(situation(annotated, there=there))) == [("adopt", "web")]


def test_what_another_environment_of_the_place_lets_go_is_handed_over() -> None:
    """In its place: the step is for the very object that is there."""
    there = {"there": (observed(WEB, uid="u7", environment="staging", replicas=9),)}
    (step,) = plan(situation(WEB, **there, abroad={WEB.identity: Abroad(stance="lets-go")})).steps
    assert (step.action, step.uid, [change.path for change in step.changes]) == (Action.HANDOVER, "u7", ["/spec/replicas"])


def test_what_another_environment_does_not_let_go_is_held() -> None:
    """With what lifts it; where nobody knows, somebody may say so, and from then on that is granted."""
    there = {"there": (observed(WEB, uid="u7", environment="staging"),)}
    for stance, reason in (("wants", "where application shop declares it"), ("suspended", "which is suspended there")):
        made = plan(situation(WEB, **there, abroad={WEB.identity: Abroad(stance=stance)}))
        assert (made.steps, made.holds[0].approvable) == ((), False)
        assert reason in made.holds[0].reason
    unknown = {"abroad": {WEB.identity: Abroad(stance="unknown", why="it fails to render")}}
    made = plan(situation(WEB, **there, **unknown))
    assert (made.steps, made.holds[0].approvable) == ((), True)
    assert made.holds[0].reason.endswith("whether that lets it go: it fails to render")
    for lifted in (
        plan(situation(WEB, **there, **unknown, approved=frozenset({made.hash}))),
        plan(situation(WEB, **there, **unknown, granted=frozenset({"u7"}))),
    ):
        assert (acts(lifted), lifted.holds) == ([("handover", "web")], ())
    assert plan(situation(WEB, **there, **unknown, approved=frozenset({made.hash}))).hash == made.hash


def test_what_another_environment_of_the_place_wants_is_not_removed() -> None:
    """That one takes it over; once it has, the entry is forgotten. No budget speaks of it."""
    tight: dict[str, Any] = {"budget": RemovalBudget(percent=0, objects=0, empty_render="hold")}
    wanted = {"abroad": {OLD.identity: Abroad(wanted=(Key("staging", "cart"),))}}
    before = situation(there=(observed(OLD),), owned=[entry(OLD)], **wanted, **tight)
    assert (plan(before).empty, forgotten(before)) == (True, ())
    after = situation(there=(observed(OLD, environment="staging"),), owned=[entry(OLD)], **wanted, **tight)
    assert (plan(after).empty, forgotten(after)) == (True, (OLD.ref,))


def test_what_may_be_wanted_in_another_environment_is_removed_by_approval_only() -> None:
    """Of one that does not answer, or that fails to render; the Hold says which, and the rest goes."""
    cart = (Key("staging", "cart"),)
    for found, words in (
        (Abroad(perhaps=cart), "may be what cart@staging wants"),
        (Abroad(unread=cart), "moved to cart@staging"),
    ):
        perhaps = {"abroad": {OLD.identity: found}, "budget": FREE}
        made = plan(situation(there=(observed(OLD), observed(WEB)), owned=[entry(OLD), entry(WEB)], **perhaps))
        assert acts(made) == [("remove", "web")]
        assert (made.holds[0].approvable, words in made.holds[0].reason) == (True, True)


def test_an_object_whose_owner_elsewhere_was_not_asked_is_left_alone() -> None:
    """Nobody may approve what nobody looked into."""
    made = plan(situation(WEB, there=(observed(WEB, environment="staging"),)))
    assert (made.steps, made.holds[0].approvable) == ((), False)


def test_what_belongs_to_others_is_left_alone_even_when_adoption_is_declared() -> None:
    """Another installation, or another environment on the same place."""
    for other in (observed(WEB, installation="another"), observed(WEB, environment="staging")):
        made = plan(situation(WEB, there=(other,), adopt=True))
        assert made.steps == ()
        assert not made.holds[0].approvable


def test_an_ignored_field_is_no_difference_and_is_written_as_it_is() -> None:
    """What somebody else sets stays theirs, also when another field has to be written."""
    leave = {WEB.identity: Leave(("/spec/replicas",))}
    there = (observed(WEB, replicas=9),)
    assert plan(situation(WEB, there=there, owned=[entry(WEB)], leave=leave)).empty
    changed = manifest("Process", "web", replicas=2, image="v2")
    (step,) = plan(situation(changed, there=there, owned=[entry(WEB)], leave=leave)).steps
    assert [change.path for change in step.changes] == ["/spec/image"]
    assert step.manifest is not None
    assert step.manifest.body["spec"] == {"replicas": 9, "image": "v2"}
    assert step.manifest.digest == changed.digest  # what Git says is what was applied, whatever others have set


def test_what_is_left_to_others_is_no_part_of_the_hash_and_is_told() -> None:
    """A plan that was approved holds while others go on setting their fields; it names each field of Git that is theirs."""
    changed = manifest("Process", "web", replicas=2, image="v2")
    left = {WEB.identity: (Left("/spec/replicas", "the autoscaler"),)}
    made = [plan(situation(changed, there=(observed(WEB, replicas=count),), owned=[entry(WEB)], left=left)) for count in (5, 9)]
    assert made[0].hash == made[1].hash
    assert made[0].left == (LeftField(WEB.ref, "/spec/replicas", "the autoscaler"),)
    assert made[0].steps[0].left == ("/spec/replicas",)


# --- several applications ---------------------------------------------------------------------------------------------------


def test_what_another_application_lets_go_is_handed_over() -> None:
    """It is neither removed nor created again."""
    theirs = observed(WEB, application="old-shop")
    made = plan(situation(WEB, there=(theirs,), owned=[entry(WEB, application="old-shop")]))
    assert acts(made) == [("handover", "web")]


def test_what_another_application_still_wants_is_held() -> None:
    """Of two that declare it, the owner keeps it; of two that have nothing yet, the first by name gets it, from both sides."""
    both = {WEB.identity: frozenset({"cart", "shop"})}
    theirs = observed(WEB, application="cart")
    made = plan(situation(WEB, there=(theirs,), owned=[entry(WEB, application="cart")], claims=both, contenders=both))
    assert held(made) == [("web", "application cart declares it too")]
    new = situation(WEB, claims=both, contenders=both)
    assert held(plan(new)) == [("web", "application cart declares it too")]
    assert acts(plan(replace(new, key=Key("host", "cart")))) == [("create", "web")]


def test_who_lets_it_go_at_its_newest_revision_is_not_in_the_way() -> None:
    """Even while the older content, which wants it, runs on behind a gate: it could wait for us, and we for it, for ever."""
    both = {WEB.identity: frozenset({"cart", "shop"})}
    newest = {WEB.identity: frozenset({"shop"})}
    theirs = observed(WEB, application="cart")
    ours = situation(WEB, there=(theirs,), owned=[entry(WEB, application="cart")], claims=both, contenders=newest)
    assert acts(plan(ours)) == [("handover", "web")]
    after = replace(ours, key=Key("host", "cart"), inventory=inventory(entry(WEB, application="shop")))
    assert held(plan(after)) == [("web", "application shop declares it too")]


def test_nothing_is_taken_from_a_suspended_application() -> None:
    """Whoever suspended it is who can lift that."""
    theirs = observed(WEB, application="cart")
    made = plan(situation(WEB, there=(theirs,), owned=[entry(WEB, application="cart")], suspended=frozenset({"cart"})))
    assert (acts(made), made.holds[0].lifted_by) == ([], "resuming cart")


def test_a_hand_over_that_is_not_wanted_any_more_is_given_back() -> None:
    """The inventory said that it would be ours; the target says whose it is to this day."""
    theirs = observed(OLD, application="cart", uid="u3")
    found = situation(there=(theirs,), owned=[entry(OLD, state="intended")])
    assert plan(found).empty
    assert forgotten(found) == ()
    assert [(one.application, one.uid, one.state) for one in given_back(found)] == [("cart", "u3", "applied")]


# --- what Git no longer wants -----------------------------------------------------------------------------------------------


def test_what_git_no_longer_wants_is_removed_by_its_uid() -> None:
    """After everything that Git wants."""
    made = plan(situation(WEB, there=(observed(OLD, uid="u9"),), owned=[entry(OLD, uid="u9")], budget=FREE))
    assert acts(made) == [("create", "web"), ("remove", "old")]
    assert made.steps[1].uid == "u9"


def test_what_another_application_wants_is_not_removed() -> None:
    """That one's plan hands it over; this one does nothing."""
    found = situation(there=(observed(OLD),), owned=[entry(OLD)], budget=FREE, claims={OLD.identity: frozenset({"cart"})})
    assert plan(found).empty
    assert forgotten(found) == ()


def test_what_is_not_ours_any_more_is_forgotten_and_not_removed() -> None:
    """Gone, or a namesake of somebody else: the inventory was wrong, the world is left alone."""
    gone = situation(owned=[entry(OLD)], budget=FREE)
    foreign = situation(there=(observed(OLD, installation="another"),), owned=[entry(OLD)], budget=FREE)
    nobodys = situation(there=(observed(OLD, application=None, uid="other"),), owned=[entry(OLD)], budget=FREE)
    for found in (gone, foreign, nobodys):
        assert plan(found).empty
        assert [ref.name for ref in forgotten(found)] == ["old"]


def test_what_is_annotated_to_be_kept_stays() -> None:
    """Trimtab's annotation and that of Flux."""
    for name in ("trimtab.dev/prune", "kustomize.toolkit.fluxcd.io/prune"):
        kept = manifest("Process", "old", annotations={name: "disabled"})
        assert plan(situation(there=(observed(kept),), owned=[entry(kept)], budget=FREE)).empty


def test_a_doubt_holds_removals_and_nothing_else() -> None:
    """What Git surely wants is done; what it may want is kept."""
    made = plan(
        situation(WEB, there=(observed(OLD),), owned=[entry(OLD)], budget=FREE, doubts=("application cart fails to render",))
    )
    assert acts(made) == [("create", "web")]
    assert "cart fails to render" in held(made)[0][1]
    assert made.holds[0].approvable


# --- budget and approval ----------------------------------------------------------------------------------------------------

MANY = [manifest("Process", f"p{i}") for i in range(6)]
THERE = tuple(observed(one, uid=f"u{i}") for i, one in enumerate(MANY))
OWNED = [entry(one, uid=f"u{i}") for i, one in enumerate(MANY)]


def test_renaming_everything_is_removing_everything() -> None:
    """What the revision adds makes a removal no smaller, before and after it is there."""
    new = [manifest("Process", f"n{i}") for i in range(6)]
    before = plan(situation(*new, there=THERE, owned=OWNED))
    there, owned = (*THERE, *(observed(one) for one in new)), [*OWNED, *(entry(one) for one in new)]
    after = replace(situation(*new, there=there, owned=owned), owned=6)
    assert len(before.holds) == len(plan(after).holds) == 6


def test_what_was_removed_before_counts() -> None:
    """A removal in small steps is held like one at once."""
    removed = frozenset(one.identity for one in MANY[:4])
    left = replace(situation(MANY[5], there=THERE[4:], owned=OWNED[4:]), owned=6, removed=removed)
    assert len(plan(left).holds) == 1


def test_others_at_the_same_revision_count() -> None:
    """Two of six is little; with eight of others it is more than half of the environment."""
    found = situation(*MANY[:4], there=THERE, owned=OWNED)
    assert plan(found).holds == ()
    assert len(plan(replace(found, elsewhere=Elsewhere(removals=8, gone=8))).holds) == 2


def test_an_approval_lifts_the_holds_of_that_very_plan() -> None:
    """The hash stays the same; with anything else in the plan it is another one, and nothing is lifted."""
    found = situation(there=THERE, owned=OWNED)
    made = plan(found)
    lifted = plan(replace(found, approved=frozenset({made.hash})))
    assert (len(made.holds), made.steps) == (6, ())
    assert (lifted.holds, len(lifted.steps), lifted.hash) == ((), 6, made.hash)
    changed = plan(replace(found, approved=frozenset({made.hash}), observed=seen(*THERE[:4], observed(MANY[4], uid="new"))))
    assert len(changed.holds) == 5


def test_what_was_approved_goes_on_when_part_of_it_is_done() -> None:
    """By uid: an object that took the name since then is not covered."""
    granted = frozenset(f"u{i}" for i in range(6))
    rest = replace(situation(there=THERE[2:], owned=OWNED[2:]), granted=granted)
    assert (len(plan(rest).steps), plan(rest).holds) == (4, ())
    renewed = replace(rest, observed=seen(*THERE[3:], observed(MANY[2], uid="new")), granted=granted)
    assert [hold.object.name for hold in plan(renewed).holds if hold.object] == ["p2"]


# --- laws -------------------------------------------------------------------------------------------------------------------

NAMES = ["a", "b", "c", "d"]
OWNERS = st.sampled_from(["shop", "cart", None, "another"])


def _there(name: str, owner: str | None) -> Observed:
    wanted = manifest("Process", name, version=1)
    return observed(wanted, application=owner, uid=f"uid-{name}", installation="another" if owner == "another" else INSTALLATION)


SITUATIONS = st.builds(
    lambda desired, there, owned, doubts, adopt: situation(
        *(manifest("Process", name, version=version) for name, version in desired.items()),
        there=tuple(_there(name, owner) for name, owner in there.items()),
        owned=[entry(manifest("Process", name), application=who, uid=f"uid-{name}") for name, who in owned.items()],
        doubts=doubts,
        adopt=adopt,
    ),
    st.dictionaries(st.sampled_from(NAMES), st.integers(1, 2)),
    st.dictionaries(st.sampled_from(NAMES), OWNERS),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["shop", "cart"])),
    st.sampled_from([(), ("doubt",)]),
    st.booleans(),
)


@given(SITUATIONS)
def test_nothing_outside_the_inventory_is_removed(found: Situation) -> None:
    """And only what the target still shows as ours, and Git does not want."""
    wanted = {one.identity for one in found.desired}
    for step in plan(found).steps:
        if step.action == Action.REMOVE:
            assert step.ref.identity in found.inventory.of("shop")
            assert step.ref.identity not in wanted
            there = found.observed[step.ref.identity]
            assert there.uid == step.uid
            assert there.owner in (found.owner, None)


@given(SITUATIONS)
def test_every_object_has_one_fate(found: Situation) -> None:
    """At most one step or hold for each; every wanted object that is not as it should be has one."""
    made = plan(found)
    fates = [step.ref.identity for step in made.steps] + [hold.object.identity for hold in made.holds if hold.object]
    assert len(fates) == len(set(fates))
    missing = {one.identity for one in found.desired} - found.observed.keys()
    assert missing <= set(fates)


@given(SITUATIONS)
def test_a_plan_follows_from_its_situation_alone(found: Situation) -> None:
    """The order in which things are listed makes no difference to the plan or its hash."""
    turned = replace(found, desired=tuple(reversed(found.desired)), observed=dict(reversed(list(found.observed.items()))))
    assert plan(turned) == plan(found)
    assert plan(turned).hash == plan(found).hash


@given(SITUATIONS)
def test_when_a_plan_was_carried_out_nothing_is_left_of_it(found: Situation) -> None:
    """Once all steps are taken there are only the holds; so whatever was done is not done again."""
    there = dict(found.observed)
    entries = dict(found.inventory.of("shop").items())
    others = [
        one for one in found.inventory.of("cart").values() if one.ref.identity not in {s.ref.identity for s in plan(found).steps}
    ]
    for step in plan(found).steps:
        if step.manifest is None:
            del there[step.ref.identity], entries[step.ref.identity]
        else:
            there[step.ref.identity] = observed(step.manifest, uid=step.uid or "new")
            entries[step.ref.identity] = entry(step.manifest, uid=step.uid or "new")
    after = replace(found, observed=there, inventory=inventory(*entries.values(), *others))
    assert plan(after).steps == ()


def test_an_object_may_ask_for_a_yes_to_its_removal() -> None:
    """Within the budget, too; an approval of that plan is the yes. What is annotated for the end of the application is free before."""
    asks = manifest("Process", "old", annotations={"trimtab.dev/prune": "confirm"})
    world: dict[str, Any] = {"there": (observed(asks, uid="u1"), observed(WEB)), "owned": [entry(asks, uid="u1"), entry(WEB)]}
    made = plan(situation(WEB, **world, budget=FREE))
    assert held(made) == [("old", "it is annotated to be removed only when somebody approves it")]
    assert acts(plan(situation(WEB, **world, budget=FREE, approved=frozenset((made.hash,))))) == [("remove", "old")]
    assert acts(plan(situation(WEB, **world, budget=FREE, granted=frozenset(("u1",))))) == [("remove", "old")]


def test_an_object_may_outlive_its_application() -> None:
    """Or ask before it goes with it; taken out of Git by itself, it goes."""
    for value, expected in (("disabled", ([], [])), ("confirm", ([], ["old"]))):
        last = manifest("Process", "old", annotations={"trimtab.dev/end": value})
        world: dict[str, Any] = {"there": (observed(last),), "owned": [entry(last)], "budget": FREE}
        made = plan(situation(**world, ending=True))
        assert (acts(made), [name for name, _ in held(made)]) == expected
        assert acts(plan(situation(**world))) == [("remove", "old")]
