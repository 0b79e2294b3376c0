"""Small stories of Changes on a whole engine with fakes: proposed, previewed, judged, approved, merged, deployed as approved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from trimtab.core.lifecycle.review import Approved, Closed, MergeAsked, Review
from trimtab.core.lifecycle.unmet import missing
from trimtab.core.model.change import Stage as ChangeStage
from trimtab.core.model.config import Document, Placement
from trimtab.core.model.errors import Refused, TransientError
from trimtab.core.model.kind import Metadata
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Key
from trimtab.core.model.people import Grant, GrantSpec, User, UserSpec
from trimtab.core.model.policy import Policy, PolicySpec
from trimtab.core.model.protection import EnvironmentApprovals, Protection, ProtectionSpec
from trimtab.core.model.rights import Principal
from trimtab.engine.changes.office import Office
from trimtab.engine.commands import Commands
from trimtab.ports.hosting import Push, RefUpdate
from trimtab.testing.factories import app, environment, manifest
from trimtab.testing.faults import Fault
from trimtab.testing.hosting import Pushed
from trimtab.testing.stage import Stage, on_stage
from trimtab.testing.targets import WHEN

PEOPLE: tuple[Document, ...] = (
    *(User(Metadata(name), UserSpec(name=name.title(), emails=[f"{name}@example.org"])) for name in ("ada", "rob", "sue", "eve")),
    Grant(Metadata("authors"), GrantSpec("author", users=["ada", "rob", "eve"])),
    Grant(Metadata("reviewers"), GrantSpec("reviewer", users=["ada", "sue"])),
    Grant(Metadata("fire"), GrantSpec("reader", users=["rob"], emergency=True)),
)
STAGING = environment("staging", objects=0, percent=0)
SHOP = app("shop", "staging", Placement(name="production", after=["staging"]))
WEB, DB = manifest("Process", "web", replicas=2), manifest("Process", "db")
ADA, ROB, EVE = Principal("ada"), Principal("rob"), Principal("eve")
HEAD = "refs/heads/more"


class Shop:
    """A hosted repository with two environments and people, a running engine, and what developers do."""

    def __init__(self, stage: Stage, *documents: Document) -> None:
        self.stage, self.documents = stage, documents
        self.engine, self.task = stage.start()

    async def restart(self) -> None:
        """The process ends at once, and another one begins."""
        await self.stage.stop(self.task)
        self.engine, self.task = self.stage.start()
        await asyncio.sleep(20)

    @property
    def office(self) -> Office:
        office = self.engine.current().office
        assert office is not None
        return office

    def dies_at(self, point: str) -> asyncio.Event:
        """The process gets to ``point``, once, and no further: what is waited for has happened then."""
        there, pass_on = asyncio.Event(), self.stage.faults.point

        async def stop(name: str, detail: str = "") -> None:
            if name == point and not there.is_set():
                there.set()
                await asyncio.Event().wait()
            await pass_on(name, detail)

        self.stage.faults.point = stop  # type: ignore[method-assign]
        return there

    async def propose(
        self,
        *manifests: Manifest,
        who: Principal = ADA,
        options: Sequence[str] = ("change",),
        ref: str = HEAD,
        documents: Sequence[Document] | None = None,
        on: str = "",
        message: str = "Three replicas",
    ) -> Pushed:
        """Commit all that there is on top of ``on`` ("" = main) and push it to ``ref``."""
        main = (await self.stage.hosting.refs("shop"))["refs/heads/main"]
        files = self.stage.files(*(self.documents if documents is None else documents), shop=list(manifests))
        revision = self.stage.hosting.write("shop", files, on or main, message=message)
        return await self.stage.hosting.push("shop", {ref: revision}, self.office.gate, who=who, options=options)

    def review(self, number: int = 1) -> Review:
        return self.office.desk.reviews[number]

    async def approve(self, who: str, number: int = 1, environment: str = "production") -> Review:
        hash_ = self.review(number).hashes[environment]
        return await self.office.desk.ask(number, Approved(who, environment, hash_))

    async def merge(self, who: str = "ada", number: int = 1) -> Review:
        await self.office.desk.ask(number, MergeAsked(who))
        await asyncio.sleep(20)
        return self.review(number)

    def replicas(self, environment: str) -> int:
        things = self.stage.targets.get(environment).objects.there.values()
        return next((thing.body["spec"]["replicas"] for thing in things if thing.ref.name == "web"), 0)


def tell(
    story: Callable[[Shop], Coroutine[Any, Any, None]],
    *more: Document,
    production: EnvironmentApprovals = EnvironmentApprovals(required=1),  # noqa: B008 - frozen
    **options: Any,
) -> None:
    documents = (STAGING, environment("production", approvals=production), SHOP, *PEOPLE, *more)

    async def on(stage: Stage) -> None:
        await stage.hosting.create("shop")
        stage.commit(*documents, shop=[WEB, DB])
        shop = Shop(stage, *documents)
        engine = shop.engine
        await asyncio.sleep(30)
        # The first content of a protected Environment is approved like any other.
        live = engine.current().world.live[Key("production", "shop")]
        assert live.plan is not None
        assert shop.replicas("production") == 0, "nobody has approved it yet"
        await Commands(engine).approve("shop", "production", live.plan.hash, "operator")
        await asyncio.sleep(60)
        assert (shop.replicas("staging"), shop.replicas("production")) == (2, 2)
        await story(shop)
        await stage.stop(shop.task)

    on_stage(on, hosted="shop", **options)


THREE = manifest("Process", "web", replicas=3)


def test_a_push_opens_a_change_and_its_terminal_shows_the_plan_and_what_is_missing() -> None:
    async def story(shop: Shop) -> None:
        pushed = await shop.propose(THREE, DB)
        assert pushed.refused == {}
        assert pushed.lines[0] == "change 1: Three replicas"
        text = "\n".join(pushed.lines)
        assert "staging: 1 updated" in text
        assert "production: 1 updated" in text
        assert "production asks for 1 more approval by somebody who may review it" in text
        assert shop.replicas("production") == 2

    tell(story)


def test_what_was_approved_is_merged_and_is_what_happens() -> None:
    async def story(shop: Shop) -> None:
        await shop.propose(THREE, DB)
        await shop.approve("sue")
        merged = await shop.merge()
        assert merged.change.stage == ChangeStage.MERGED
        await asyncio.sleep(60)
        assert (shop.replicas("staging"), shop.replicas("production")) == (3, 3)
        commit = shop.stage.hosting.history("shop").commit(merged.change.merged or "")
        assert commit.message.startswith("Merge change 1: Three replicas\n")
        assert "Change: 1\nApproved-by: Sue <sue@example.org>\nPlan-production: sha256:" in commit.message
        assert commit.author.name == "Ada"
        cleared = [event for event in shop.stage.events if event.kind == "plan.cleared" and event.environment == "production"]
        assert cleared[0].data["approvers"] == ["sue"]

    tell(story)


def test_nothing_is_merged_while_an_approval_is_missing_whoever_asks() -> None:
    async def story(shop: Shop) -> None:
        await shop.propose(THREE, DB)
        review = await shop.merge("sue")
        assert review.change.stage == ChangeStage.OPEN
        await shop.approve("sue")
        await asyncio.sleep(20)
        assert shop.review().change.stage == ChangeStage.MERGED, "the wish was remembered"

    tell(story)


def test_the_authors_own_approval_does_not_count() -> None:
    async def story(shop: Shop) -> None:
        await shop.propose(THREE, DB)
        await shop.approve("ada")
        assert (await shop.merge()).change.stage == ChangeStage.OPEN

    tell(story)


def test_an_approval_is_withdrawn_when_the_world_makes_another_plan_of_it() -> None:
    async def story(shop: Shop) -> None:
        await shop.propose(THREE, DB)
        await shop.approve("sue")
        before = shop.review().hashes["production"]
        await asyncio.sleep(5)
        # Somebody merges something else that touches the same object.
        main = (await shop.stage.hosting.refs("shop"))["refs/heads/main"]
        await shop.propose(manifest("Process", "web", replicas=2, note="other"), DB, on=main, ref="refs/heads/other")
        await shop.office.desk.ask(1, Closed("ada"))
        review = shop.review(2)
        assert review.hashes["production"] != before
        with pytest.raises(Refused, match="it has changed since you looked"):
            await shop.office.desk.ask(2, Approved("sue", "production", before))

    tell(story)


def test_a_new_push_withdraws_what_it_alters_and_keeps_what_it_leaves() -> None:
    async def story(shop: Shop) -> None:
        await shop.propose(THREE, DB)
        await shop.approve("sue")
        head = shop.review().change.head
        await shop.propose(THREE, DB, on=head, message="Only words")
        assert [one.who for one in shop.review().approvals] == ["sue"], "the plan is the same"
        head = shop.review().change.head
        await shop.propose(manifest("Process", "web", replicas=4), DB, on=head, message="Four")
        assert shop.review().approvals == ()
        assert len(shop.review().change.patch_sets) == 3
        assert "change.approval-withdrawn" in shop.stage.kinds()

    tell(story)


def moves_meanwhile(shop: Shop) -> Coroutine[Any, Any, None]:
    """Merge; and while staging takes its time, somebody deletes what runs in production, so that it is made again: another object."""

    async def happen() -> None:
        await shop.propose(THREE, DB)
        await shop.approve("sue")
        await shop.office.desk.ask(1, MergeAsked("ada"))
        await asyncio.sleep(3)
        assert shop.review().change.stage == ChangeStage.MERGED
        assert shop.replicas("production") == 2, "staging is still on its way"
        shop.stage.targets.get("production").delete(WEB.identity)
        await asyncio.sleep(60)

    return happen()


def test_what_moved_between_the_merge_and_its_turn_is_held_until_somebody_approves_it_as_it_is() -> None:
    async def story(shop: Shop) -> None:
        await moves_meanwhile(shop)
        key = Key("production", "shop")
        state, live = shop.engine.current().world.states[key], shop.engine.current().world.live[key]
        assert state.current is not None
        assert (state.current.phase, shop.replicas("production")) == ("held", 2)
        assert state.current.message.startswith("the plan is not the one any more that change 1 was approved with")
        assert live.plan is not None
        await Commands(shop.engine).approve("shop", "production", live.plan.hash, "sue")
        await asyncio.sleep(30)
        assert shop.replicas("production") == 3

    tell(story, ready_seconds=(10, 10))


def test_what_is_held_is_let_in_by_as_many_as_the_rule_asks_for_and_by_those_whom_it_counts() -> None:
    """Nobody passes by the rule of two by approving what has moved; the same person twice is one person."""

    async def story(shop: Shop) -> None:
        await shop.propose(THREE, DB)
        for who in ("sue", "joe"):
            await shop.approve(who)
        await shop.office.desk.ask(1, MergeAsked("ada"))
        await asyncio.sleep(3)
        shop.stage.targets.get("production").delete(WEB.identity)
        await asyncio.sleep(60)
        plan = shop.engine.current().world.live[Key("production", "shop")].plan
        assert plan is not None
        commands = Commands(shop.engine)
        with pytest.raises(Refused, match="eve may not review"):
            await commands.approve("shop", "production", plan.hash, "eve")
        for _ in range(2):
            assert "1 more approval" in (await commands.approve("shop", "production", plan.hash, "sue")).message
        await asyncio.sleep(30)
        assert shop.replicas("production") == 2
        await commands.approve("shop", "production", plan.hash, "joe")
        await asyncio.sleep(30)
        assert shop.replicas("production") == 3

    more = (User(Metadata("joe"), UserSpec()), Grant(Metadata("joes"), GrantSpec("reviewer", users=["joe"])))
    tell(story, *more, production=EnvironmentApprovals(required=2), ready_seconds=(10, 10))


def test_an_environment_may_let_go_on_what_has_moved() -> None:
    async def story(shop: Shop) -> None:
        await moves_meanwhile(shop)
        assert shop.replicas("production") == 3

    tell(story, production=EnvironmentApprovals(required=1, moved="go"), ready_seconds=(10, 10))


def test_a_direct_push_to_a_protected_branch_is_refused_with_the_command_that_works() -> None:
    async def story(shop: Shop) -> None:
        pushed = await shop.propose(THREE, DB, ref="refs/heads/main", options=())
        assert pushed.refused == {"refs/heads/main": "main is protected: propose a change instead"}
        assert "    git push origin HEAD:refs/for/main" in pushed.lines
        assert shop.replicas("staging") == 2

    tell(story)


def test_only_the_default_branch_of_a_new_repository_is_protected_by_itself() -> None:
    async def story(shop: Shop) -> None:
        hosting, operator = shop.stage.hosting, Principal("operator", operator=True)
        await hosting.create("notes")
        for number, branch in enumerate(("draft", "draft", "main"), start=1):
            above = [(await hosting.refs("notes"))["refs/heads/draft"]] if number > 1 else []
            revision = hosting.write("notes", {"text": str(number).encode()}, *above)
            pushed = await hosting.push("notes", {f"refs/heads/{branch}": revision}, shop.office.gate, who=operator)
            assert pushed.refused == {}
        revision = hosting.write("notes", {"text": b"4"}, revision)
        pushed = await hosting.push("notes", {"refs/heads/main": revision}, shop.office.gate, who=operator)
        assert pushed.refused == {"refs/heads/main": "main is protected: propose a change instead"}

    tell(story)


def test_refs_for_main_opens_a_change_without_a_branch() -> None:
    async def story(shop: Shop) -> None:
        pushed = await shop.propose(THREE, DB, ref="refs/for/main", options=())
        assert pushed.lines[0] == "change 1: Three replicas"
        refs = await shop.stage.hosting.refs("shop")
        assert refs["refs/changes/1/1"] == shop.review().change.head
        assert "refs/for/main" not in refs
        await shop.propose(
            manifest("Process", "web", replicas=4), DB, ref="refs/for/main", options=(), on=refs["refs/changes/1/1"]
        )
        assert len(shop.review().change.patch_sets) == 2

    tell(story)


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        (RefUpdate("refs/heads/main", "x", ""), "main is protected and cannot be deleted"),
        (
            RefUpdate("refs/tags/v1", "x", "y"),
            "a tag is never moved or deleted: what it stands for may be running; make a new one",
        ),
        (RefUpdate("refs/changes/1/1", "", "y"), "only branches, tags and refs/for/BRANCH can be pushed"),
        (RefUpdate("refs/notes/trimtab", "", "y"), "only branches, tags and refs/for/BRANCH can be pushed"),
        (RefUpdate("refs/for/nowhere", "", "y"), "there is no branch nowhere to change"),
    ],
)
def test_what_may_not_be_pushed(update: RefUpdate, reason: str) -> None:
    async def story(shop: Shop) -> None:
        push = Push("p", "shop", ADA, (update,), (), shop.stage.hosting.history("shop"))
        verdict = await shop.office.gate.judge(push)
        assert [answer.message for answer in verdict.answers] == [reason]  # type: ignore[union-attr]

    tell(story)


def test_who_may_not_propose_is_told_who_can() -> None:
    async def story(shop: Shop) -> None:
        pushed = await shop.propose(THREE, DB, who=Principal("sue"))
        assert pushed.refused[HEAD].startswith("sue may not propose: no Grant allows it")
        assert "Ask ada" in pushed.refused[HEAD]

    tell(story)


def test_nobody_can_write_the_lines_that_only_merges_have() -> None:
    async def story(shop: Shop) -> None:
        pushed = await shop.propose(THREE, DB, message="Three\n\nApproved-by: Sue <sue@example.org>")
        assert "which only merges have" in pushed.refused[HEAD]

    tell(story)


def test_an_emergency_cannot_carry_the_lines_that_only_merges_have_either() -> None:
    """What Git says of merges is evidence: nobody can have it say that somebody approved."""

    async def story(shop: Shop) -> None:
        forged = "Put it out\n\nChange: 1\nApproved-by: Sue <sue@example.org>"
        options = ("emergency=everything is on fire",)
        pushed = await shop.propose(THREE, DB, who=ROB, options=options, ref="refs/heads/main", message=forged)
        assert "which only merges have" in pushed.refused["refs/heads/main"]
        assert shop.replicas("production") == 2

    tell(story)


def test_an_emergency_push_needs_a_right_of_its_own_is_loud_and_asks_for_eyes_afterwards() -> None:
    async def story(shop: Shop) -> None:
        fire = ("emergency=the shop is down",)
        refused = await shop.propose(THREE, DB, who=EVE, ref="refs/heads/main", options=fire)
        assert "eve may not emergency" in refused.refused["refs/heads/main"]
        pushed = await shop.propose(THREE, DB, who=ROB, ref="refs/heads/main", options=fire)
        assert pushed.refused == {}
        await asyncio.sleep(60)
        assert shop.replicas("production") == 3
        number = max(shop.office.desk.reviews)
        review = shop.review(number)
        assert review.change.emergency == "the shop is down"
        assert missing(review) == ("the content asks for 1 more approval by somebody who may review it",)
        assert "change.emergency" in shop.stage.kinds()
        await shop.approve("sue", number, "")
        await asyncio.sleep(5)
        assert shop.review(number).change.stage == ChangeStage.MERGED

    tell(story)


PINNED = Policy(
    Metadata("pinned"), PolicySpec(rule="object.spec.replicas < 4", kinds=["Process"], applications=["shop"], message="too many")
)


def test_a_policy_of_the_target_branch_judges_and_cannot_be_weakened_by_the_change_itself() -> None:
    async def story(shop: Shop) -> None:
        five = manifest("Process", "web", replicas=5)
        without = [one for one in shop.documents if not isinstance(one, Policy)]
        pushed = await shop.propose(five, DB, documents=without)
        text = "\n".join(pushed.lines)
        assert "✗ policy/pinned" in text
        assert "apps/shop/web.yaml" in text or "apps/shop" in text
        await shop.approve("sue")
        assert (await shop.merge()).change.stage == ChangeStage.OPEN

    tell(story, PINNED)


def test_a_change_of_the_environments_rules_asks_for_the_approval_that_they_ask_for_today() -> None:
    async def story(shop: Shop) -> None:
        weaker = [one for one in shop.documents if one.metadata.name != "production"] + [environment("production")]
        await shop.propose(WEB, DB, documents=weaker)
        assert [plan.environment for plan in shop.review().plans] == ["production"]
        assert "production asks for 1 more approval by somebody who may review it" in missing(shop.review())

    tell(story)


def test_a_change_of_people_needs_an_administrator() -> None:
    async def story(shop: Shop) -> None:
        more = [*shop.documents, Grant(Metadata("mine"), GrantSpec("admin", users=["ada"]))]
        await shop.propose(WEB, DB, documents=more)
        assert any("an administrator, since people change; nobody can give it" in one for one in missing(shop.review()))

    tell(story)


def test_a_conflict_is_told_at_once() -> None:
    async def story(shop: Shop) -> None:
        await shop.propose(THREE, DB)
        main = (await shop.stage.hosting.refs("shop"))["refs/heads/main"]
        await shop.propose(manifest("Process", "web", replicas=4), DB, ref="refs/heads/other", on=main)
        await shop.approve("sue", 2)
        await shop.merge(number=2)
        await asyncio.sleep(5)
        assert any(one.startswith("it conflicts with main in apps/shop") for one in missing(shop.review(1)))

    tell(story)


def test_a_stacked_change_waits_for_the_one_below() -> None:
    async def story(shop: Shop) -> None:
        await shop.propose(THREE, DB)
        below = shop.review().change.head
        await shop.propose(manifest("Process", "web", replicas=4), DB, ref="refs/heads/top", on=below, message="Four")
        assert "it is built on change 1, which has to be merged first" in missing(shop.review(2))
        await shop.approve("sue", 1)
        await shop.merge(number=1)
        await asyncio.sleep(60)
        assert "it is built on change 1, which has to be merged first" not in missing(shop.review(2))

    tell(story)


def test_the_removal_budget_is_lifted_by_the_approval_of_the_plan_that_removes() -> None:
    async def story(shop: Shop) -> None:
        pushed = await shop.propose(WEB)
        text = "\n".join(pushed.lines)
        assert "1 removed" in text
        await shop.approve("sue")
        assert missing(shop.review()) == (
            "staging asks for 1 more approval by somebody who may review it, since it is held without",
        )
        await shop.approve("sue", environment="staging")
        await shop.merge()
        await asyncio.sleep(60)
        assert "db" not in shop.stage.there("production")
        assert "db" not in shop.stage.there("staging")

    tell(story)


def test_a_change_that_touches_no_environment_says_so() -> None:
    async def story(shop: Shop) -> None:
        main = (await shop.stage.hosting.refs("shop"))["refs/heads/main"]
        files = {**shop.stage.files(*shop.documents, shop=[WEB, DB]), "README.md": b"words"}
        revision = shop.stage.hosting.write("shop", files, main, message="Words")
        pushed = await shop.stage.hosting.push("shop", {HEAD: revision}, shop.office.gate, who=ADA, options=("change",))
        assert "  touches no environment" in pushed.lines
        assert (await shop.merge()).change.stage == ChangeStage.MERGED

    tell(story)


@pytest.mark.parametrize("point", ["hosting.update_refs:before", "hosting.update_refs:after"])
def test_a_server_that_dies_around_the_merge_loses_and_doubles_nothing(point: str) -> None:
    """When it moves the branch, or right after: the next one finds out from Git, and clears what was approved."""

    async def story(shop: Shop) -> None:
        await shop.propose(THREE, DB)
        await shop.approve("sue")
        died = shop.dies_at(point)
        await shop.office.desk.ask(1, MergeAsked("ada"))
        await died.wait()
        await shop.restart()
        await asyncio.sleep(90)
        assert shop.review().change.stage == ChangeStage.MERGED
        assert (shop.replicas("staging"), shop.replicas("production")) == (3, 3)
        main = (await shop.stage.hosting.refs("shop"))["refs/heads/main"]
        merges = [one for one in await shop.stage.hosting.history("shop").log(main) if one.message.startswith("Merge change 1:")]
        assert len(merges) == 1

    tell(story)


def test_a_push_that_nobody_came_back_to_is_made_good_while_the_server_runs() -> None:
    """Its refs have moved, and then the connection broke."""

    async def story(shop: Shop) -> None:
        shop.stage.faults.plan("hosting.push:moved", Fault.LOST)
        with pytest.raises(TransientError):
            await shop.propose(THREE, DB)
        await asyncio.sleep(30)
        assert shop.review().change.title == "Three replicas"
        assert shop.review().looked_at_head

    tell(story)


def test_a_change_is_opened_once_although_the_answer_of_the_store_was_lost() -> None:
    async def story(shop: Shop) -> None:
        shop.stage.faults.plan("store.write:after", Fault.LOST, skip=1)  # the intent goes well
        with pytest.raises(TransientError):
            await shop.propose(THREE, DB)
        await asyncio.sleep(30)
        told = await shop.stage.store.events(kind="change.opened")
        assert (len(told), shop.review().looked_at_head) == (1, True)

    tell(story)


def test_a_merge_is_told_once_although_the_answer_of_the_store_was_lost() -> None:
    async def story(shop: Shop) -> None:
        await shop.propose(THREE, DB)
        await shop.approve("sue")
        moved = shop.dies_at("hosting.update_refs:after")
        asking = asyncio.create_task(shop.merge())
        await moved.wait()
        await shop.restart()
        shop.stage.faults.plan("store.write:after", Fault.LOST)
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.sleep(30)
        assert len(await shop.stage.store.events(kind="change.merged")) == 1

    tell(story)


def test_a_change_of_what_could_not_be_rendered_since_the_start_is_planned_all_the_same() -> None:
    """Nobody knows which files it reads, so any file may be one: it is not taken for a Change that touches nothing."""

    async def story(shop: Shop) -> None:
        await shop.stage.stop(shop.task)
        for _ in range(8):
            shop.stage.faults.plan("render:before", Fault.FAILED)
        shop.engine, shop.task = shop.stage.start()
        await asyncio.sleep(0.01)
        pushed = await shop.propose(THREE, DB)
        assert "  touches no environment" not in pushed.lines
        assert missing(shop.review()) != ()
        await asyncio.sleep(60)
        assert [plan.environment for plan in shop.review().plans] == ["production", "staging"]

    tell(story)


@pytest.mark.parametrize("moved", [False, True])
def test_a_push_whose_server_dies_before_the_change_is_recorded_is_made_good(moved: bool) -> None:
    """Where its refs moved, the Change is opened at the next start; where they did not, nothing is."""

    async def story(shop: Shop) -> None:
        died = shop.dies_at("hosting.push:moved")
        pushing = asyncio.create_task(shop.propose(THREE, DB))
        await died.wait()
        pushing.cancel()
        if not moved:
            refs = await shop.stage.hosting.refs("shop", "refs/")
            back = [RefUpdate(ref, refs[ref], "") for ref in (HEAD, "refs/changes/1/1")]
            assert await shop.stage.hosting.update_refs("shop", back)
        await shop.restart()
        await asyncio.sleep(30)
        assert list(shop.office.desk.reviews) == ([1] if moved else [])

    tell(story)


def blog(number: int) -> Document:
    return app(f"blog-{number}", "staging")


async def three_ready(shop: Shop, contents: Sequence[dict[str, list[Manifest]]]) -> None:
    """Changes 1 to 3 are looked at and lack nothing but a wish; the merge of change 4 holds the branch meanwhile."""
    main = (await shop.stage.hosting.refs("shop"))["refs/heads/main"]
    for number, content in enumerate(contents, start=1):
        files = shop.stage.files(*shop.documents, **{"shop": [WEB, DB], **content})
        revision = shop.stage.hosting.write("shop", files, main, message=f"Number {number}")
        await shop.stage.hosting.push("shop", {f"refs/heads/n{number}": revision}, shop.office.gate, who=ADA, options=("change",))
        assert missing(shop.review(number)) == ()
    gate, pass_on = asyncio.Event(), shop.stage.faults.point

    async def slowly(name: str, detail: str = "") -> None:
        if name == "hosting.update_refs:before" and not gate.is_set():
            await gate.wait()
        await pass_on(name, detail)

    shop.stage.faults.point = slowly  # type: ignore[method-assign]
    for number in range(1, len(contents) + 1):
        await shop.office.desk.ask(number, MergeAsked("ada"))
        await asyncio.sleep(2)
    gate.set()
    await asyncio.sleep(60)


@pytest.mark.parametrize("way", ["merge", "squash"])
def test_a_server_that_dies_after_several_were_merged_together_records_each_of_them(way: Any) -> None:
    async def story(shop: Shop) -> None:
        moves, pass_on = [0], shop.stage.faults.point

        async def die_at_the_second(name: str, detail: str = "") -> None:
            moves[0] += name == "hosting.update_refs:after"
            if name == "hosting.update_refs:after" and moves[0] == 2:
                await asyncio.Event().wait()
            await pass_on(name, detail)

        shop.stage.faults.point = die_at_the_second  # type: ignore[method-assign]
        await three_ready(shop, [{f"blog-{number}": one(f"b{number}", replicas=1)} for number in (1, 2, 3)])
        await shop.restart()
        await asyncio.sleep(60)
        main = (await shop.stage.hosting.refs("shop"))["refs/heads/main"]
        log = await shop.stage.hosting.history("shop").log(main)
        merges = {number: [c.revision for c in log if f"\nChange: {number}\n" in c.message] for number in (1, 2, 3)}
        events = await shop.stage.store.events(kind="change.merged")
        assert {event.data["change"]: [event.revision] for event in events} == merges

    tell(story, *BLOGS, Protection(Metadata("main"), ProtectionSpec(merge=[way])))


BLOGS = [blog(1), blog(2), blog(3)]


def one(name: str, **spec: Any) -> list[Manifest]:
    return [manifest("Process", name, **spec)]


def test_changes_that_wait_are_merged_together_when_they_hold_together() -> None:
    async def story(shop: Shop) -> None:
        contents = [{f"blog-{number}": one(f"b{number}", replicas=1)} for number in (1, 2, 3)]
        await three_ready(shop, contents)
        assert [shop.review(number).change.stage for number in (1, 2, 3)] == [ChangeStage.MERGED] * 3
        main = (await shop.stage.hosting.refs("shop"))["refs/heads/main"]
        log = await shop.stage.hosting.history("shop").log(main)
        assert [commit.subject for commit in log if commit.subject.startswith("Merge change")] == [
            "Merge change 3: Number 3",
            "Merge change 2: Number 2",
            "Merge change 1: Number 1",
        ]
        await asyncio.sleep(60)
        assert {"b1", "b2", "b3"} <= shop.stage.there("staging").keys()

    tell(story, *BLOGS)


def test_of_changes_that_do_not_hold_together_the_culprit_is_left() -> None:
    """Two Applications want the same object: each is fine by itself, both are not."""

    async def story(shop: Shop) -> None:
        contents = [
            {"blog-1": one("b1", replicas=1)},
            {"blog-2": one("same", replicas=1)},
            {"blog-3": one("same", replicas=2)},
        ]
        await three_ready(shop, contents)
        assert [shop.review(number).change.stage for number in (1, 2, 3)] == ["merged", "merged", "open"]
        assert any("application blog-2 declares it too" in reason for reason in missing(shop.review(3)))

    tell(story, *BLOGS)


def test_a_rollback_on_a_protected_branch_is_proposed_and_needs_what_every_change_needs() -> None:
    async def story(shop: Shop) -> None:
        await shop.propose(THREE, DB)
        await shop.approve("sue")
        await shop.merge()
        await asyncio.sleep(60)
        assert shop.replicas("production") == 3
        said = await Commands(shop.engine).rollback("shop", "staging", "", "ada")
        assert said.message.startswith("change 2 takes apps/shop back to ")
        await asyncio.sleep(10)
        assert shop.replicas("staging") == 3, "nothing has happened yet"
        assert missing(shop.review(2)) == ("production asks for 1 more approval by somebody who may review it",)
        again = await Commands(shop.engine).rollback("shop", "staging", "", "ada")
        assert again.message.startswith("change 2 takes")
        await shop.approve("sue", 2)
        await shop.merge(number=2)
        await asyncio.sleep(60)
        assert (shop.replicas("staging"), shop.replicas("production")) == (2, 2)

    tell(story)


def test_the_plan_of_a_change_that_goes_back_has_the_hooks_for_that() -> None:
    """And what was approved is what happens: content that was healthy before comes back with them, and without those of an upgrade."""

    def hooks(*more: Manifest) -> tuple[Manifest, ...]:
        notes = {"trimtab.dev/hook": "pre"}
        undo, upgrade = (
            manifest("Task", name, annotations={**notes, WHEN: when}) for name, when in (("undo", "back"), ("upgrade", "later"))
        )
        return (undo, upgrade, DB, *more)

    async def deployed(shop: Shop, number: int) -> list[str]:
        """The hooks in the plan of the Change, once it is merged and has run as approved."""
        shown = shop.office.looker.shown[number].plans
        planned = [step.ref.name for plan in shown.values() for step in plan.steps if step.hook]
        await shop.approve("sue", number)
        await shop.merge(number=number)
        await asyncio.sleep(60)
        assert {shop.stage.phase(shop.engine, "shop", name) for name in ("staging", "production")} == {"healthy"}
        return planned

    async def story(shop: Shop) -> None:
        await shop.propose(*hooks(WEB))
        assert await deployed(shop, 1) == ["upgrade", "upgrade"]
        await shop.propose(*hooks(THREE), ref="refs/heads/three")
        assert await deployed(shop, 2) == ["upgrade", "upgrade"]
        await shop.propose(*hooks(WEB), ref="refs/heads/back")
        assert await deployed(shop, 3) == ["undo", "undo"]
        ran = [
            one.ref.name for one in shop.stage.targets.world.journal if one.action == "run" and one.environment == "production"
        ]
        assert ran == ["upgrade", "upgrade", "undo"]

    tell(story)
