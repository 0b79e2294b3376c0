"""What people ask for about Changes, on a whole engine with fakes: looking, talking, approving, merging, and what is refused to whom."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from trimtab.core.model.changeviews import ChangeView
from trimtab.core.model.config import Document
from trimtab.core.model.errors import Forbidden, NotFound, Refused, UserError
from trimtab.core.model.kind import Metadata
from trimtab.core.model.people import Grant, GrantScope, GrantSpec, User, UserSpec
from trimtab.core.model.protection import EnvironmentApprovals, Protection
from trimtab.core.model.rights import OPERATOR, Principal, TokenScope
from trimtab.engine.access import Access
from trimtab.engine.commands import Commands
from trimtab.engine.queries import Queries
from trimtab.ports.people import Asker
from trimtab.testing.factories import manifest

from .test_changes import ADA, DB, EVE, ROB, THREE, Shop, tell

MORE: tuple[Document, ...] = (
    User(Metadata("joe"), UserSpec()),
    User(Metadata("max"), UserSpec()),
    User(Metadata("ned"), UserSpec()),
    Grant(Metadata("joes"), GrantSpec("reviewer", users=["joe"])),
    Grant(
        Metadata("neds"),
        GrantSpec("reader", users=["ned"], scope=GrantScope(repositories=["hosted:shop"], environments=["*"])),
    ),
)
ONE_BY_SUE = EnvironmentApprovals(required=1, by=["sue", "ada"])


@dataclass
class Desk:
    """The shop with everybody who may ask, by name."""

    shop: Shop
    access: Access

    @classmethod
    async def of(cls, shop: Shop) -> Desk:
        return cls(shop, Access(shop.engine, operator_token="let-me-in"))

    async def by(self, name: str, **scope: Any) -> Asker:
        operator = Principal(OPERATOR, operator=True)
        if name == OPERATOR:
            return Asker(operator, self.access)
        made = await self.access.create_token(operator, user=name, days=1, description="", scope=TokenScope(**scope))
        return Asker(Principal(name, made.token.id, TokenScope(**scope)), self.access)

    @property
    def ask(self) -> Queries:
        return Queries(self.shop.engine)

    @property
    def act(self) -> Commands:
        return Commands(self.shop.engine)

    async def approve(self, name: str, number: int = 1, environment: str = "production") -> ChangeView:
        asker = await self.by(name)
        seen = await self.ask.change(number, asker)
        [hash_] = [one.hash for one in seen.environments if one.environment == environment]
        return await self.act.approve_change(number, environment, hash_, asker)


def at_the_desk(story: Any, *more: Document, **options: Any) -> None:
    async def on(shop: Shop) -> None:
        await story(await Desk.of(shop))

    tell(on, *MORE, *more, **options)


def test_a_change_is_listed_and_shown_with_what_it_would_do_and_what_is_missing() -> None:
    async def story(desk: Desk) -> None:
        await desk.shop.propose(THREE, DB)
        sue = await desk.by("sue")
        [row] = (await desk.ask.changes("shop", "open", "", 0, 100, sue)).changes
        assert (row.number, row.title, row.author, row.environments) == (1, "Three replicas", "ada", ["production", "staging"])
        assert row.missing == ["production asks for 1 more approval by somebody who may review it"]
        shown = await desk.ask.change(1, sue)
        assert (shown.ref, shown.path, shown.source) == ("refs/changes/1/1", "/git/shop.git", "more")
        assert [(one.environment, one.updates) for one in shown.environments] == [("production", 1), ("staging", 1)]
        plan = await desk.ask.change_plan(1, "production", False, sue)
        [one] = plan.environments
        [step] = one.plan.steps
        assert (step.action, step.object.name, [(c.path, c.from_, c.to) for c in step.changes]) == (
            "update",
            "web",
            [("/spec/replicas", 2, 3)],
        )
        assert one.hash == shown.environments[0].hash == one.plan.hash

    at_the_desk(story)


def test_pages_of_changes_are_newest_first_and_lead_to_each_other() -> None:
    async def story(desk: Desk) -> None:
        for number in range(5):
            await desk.shop.propose(manifest("Process", "web", replicas=3 + number), DB, ref=f"refs/heads/b{number}")
        ada = await desk.by("ada")
        first = await desk.ask.changes("", "", "", 0, 2, ada)
        second = await desk.ask.changes("", "", "", first.next, 2, ada)
        last = await desk.ask.changes("", "", "", second.next, 2, ada)
        assert [[row.number for row in page.changes] for page in (first, second, last)] == [[5, 4], [3, 2], [1]]
        assert last.next == 0
        assert (await desk.ask.changes("", "", "rob", 0, 2, ada)).changes == []

    at_the_desk(story)


def test_who_may_not_read_the_repository_finds_no_change_there() -> None:
    async def story(desk: Desk) -> None:
        await desk.shop.propose(THREE, DB)
        stranger = await desk.by("max")
        assert (await desk.ask.changes("", "", "", 0, 10, stranger)).changes == []
        for asked in (
            desk.ask.change(1, stranger),
            desk.ask.change_plan(1, "", False, stranger),
            desk.ask.change_diff(1, 0, "", stranger),
            desk.act.merge_change(1, stranger),
            desk.act.close_change(1, "", stranger),
            desk.act.approve_change(1, "production", "sha256:0", stranger),
            desk.ask.change(99, await desk.by("sue")),
        ):
            with pytest.raises(NotFound, match="there is no change"):
                await asked
        with pytest.raises(NotFound, match="no such repository"):
            await desk.act.create_change("shop", "more", "", "", "", False, stranger)

    at_the_desk(story)


def test_the_diff_of_a_patch_set_names_every_file_and_shows_what_is_text() -> None:
    async def story(desk: Desk) -> None:
        await desk.shop.propose(THREE, DB)
        found = await desk.ask.change_diff(1, 0, "apps", await desk.by("sue"))
        changed = {one.path: one for one in found.files}
        [file] = changed.values()
        assert file.status == "changed"
        assert f"--- a/{file.path}\n+++ b/{file.path}\n" in file.diff
        assert "replicas" in file.diff
        with pytest.raises(NotFound, match="no patch set 7"):
            await desk.ask.change_diff(1, 7, "", await desk.by("sue"))

    at_the_desk(story)


def test_a_thread_stands_in_the_way_of_the_merge_until_it_is_resolved() -> None:
    async def story(desk: Desk) -> None:
        await desk.shop.propose(THREE, DB)
        sue, ada, rob = await desk.by("sue"), await desk.by("ada"), await desk.by("rob")
        await desk.approve("sue")
        file = (await desk.ask.change_diff(1, 0, "apps", sue)).files[0].path
        said = await desk.act.comment(1, "Is three enough?\x1b[31m", 0, file, 3, "", "", sue)
        assert [(one.number, one.thread, one.text, one.file, one.line) for one in said.comments] == [
            (1, 1, "Is three enough?", file, 3)
        ]
        waiting = await desk.act.merge_change(1, sue)
        assert (waiting.stage, waiting.missing, waiting.wanted_by) == ("open", ["1 thread is not resolved"], "sue")
        answered = await desk.act.comment(1, "Yes", 1, "", 0, "", "", ada)
        assert [(one.number, one.thread, one.who) for one in answered.comments] == [(1, 1, "sue"), (2, 1, "ada")]
        await desk.act.resolve_thread(1, 2, True, rob)
        await asyncio.sleep(20)
        assert (await desk.ask.change(1, sue)).stage == "merged", "the wish was remembered, and resolving caused a look"
        links = await desk.shop.stage.store.trail("change/1")
        assert [link.kind for link in links if link.kind in ("change.commented", "change.resolved")] == [
            "change.commented",
            "change.commented",
            "change.resolved",
        ]

    at_the_desk(story)


def test_a_branch_may_let_threads_stand() -> None:
    async def story(desk: Desk) -> None:
        await desk.shop.propose(THREE, DB)
        await desk.act.comment(1, "By the way", 0, "", 0, "", "", await desk.by("sue"))
        await asyncio.sleep(1)
        assert not any("thread" in one for one in (await desk.ask.change(1, await desk.by("sue"))).missing)

    from trimtab.core.model.protection import ProtectionSpec

    at_the_desk(story, Protection(Metadata("main"), ProtectionSpec(resolved=False)))


def test_a_comment_stands_at_a_step_or_a_file_that_is_there() -> None:
    async def story(desk: Desk) -> None:
        await desk.shop.propose(THREE, DB)
        sue = await desk.by("sue")
        step = str((await desk.ask.change_plan(1, "production", False, sue)).environments[0].plan.steps[0].object)
        said = await desk.act.comment(1, "Why?", 0, "", 0, "production", step, sue)
        assert (said.comments[0].environment, said.comments[0].object) == ("production", step)
        for place in (("no/such.yaml", 1, "", ""), ("", 0, "production", "Process/none"), ("", 0, "nowhere", "")):
            with pytest.raises(NotFound):
                await desk.act.comment(1, "Why?", 0, *place, sue)
        with pytest.raises(NotFound, match="no comment 9"):
            await desk.act.comment(1, "Why?", 9, "", 0, "", "", sue)
        with pytest.raises(UserError, match="there is no text"):
            await desk.act.comment(1, " \x1b[2J ", 0, "", 0, "", "", sue)
        with pytest.raises(Forbidden, match="ned may not review"):
            await desk.act.comment(1, "Hello", 0, "", 0, "", "", await desk.by("ned"))

    at_the_desk(story)


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ("ada", "you have proposed it"),
        ("joe", "what is asked for is one by sue, ada"),
        (OPERATOR, "the key of the machine is nobody"),
    ],
)
def test_an_approval_that_would_not_count_is_refused_with_the_reason_and_whom_to_ask(who: str, reason: str) -> None:
    async def story(desk: Desk) -> None:
        await desk.shop.propose(THREE, DB)
        with pytest.raises(Refused, match=reason) as refused:
            await desk.approve(who)
        assert refused.value.remedy == "Ask sue"
        assert desk.shop.review().approvals == ()

    at_the_desk(story, production=ONE_BY_SUE)


def test_whoever_pushed_last_cannot_approve_what_they_pushed() -> None:
    async def story(desk: Desk) -> None:
        await desk.shop.propose(THREE, DB, who=ROB)
        head = desk.shop.review().change.head
        await desk.shop.propose(manifest("Process", "web", replicas=5), DB, who=ADA, on=head)
        with pytest.raises(Refused, match="you have pushed to it last"):
            await desk.approve("ada")

    at_the_desk(story)


def test_the_author_under_a_second_token_is_the_author_still() -> None:
    async def story(desk: Desk) -> None:
        await desk.shop.propose(THREE, DB)
        seen = await desk.ask.change(1, await desk.by("ada"))
        for scope in ({}, {"environments": ("production",)}):
            again = await desk.by("ada", **scope)
            with pytest.raises(Refused):
                await desk.act.approve_change(1, "production", seen.environments[0].hash, again)
        assert desk.shop.review().approvals == ()

    at_the_desk(story)


def test_who_reviews_for_one_environment_sees_the_change_and_not_the_files() -> None:
    async def story(desk: Desk) -> None:
        await desk.shop.propose(THREE, DB)
        mia = await desk.by("mia")
        assert [row.number for row in (await desk.ask.changes("", "", "", 0, 10, mia)).changes] == [1]
        plans = await desk.ask.change_plan(1, "", False, mia)
        assert [plan.environment for plan in plans.environments] == ["production"], "staging is not for her eyes"
        with pytest.raises(Forbidden, match="mia may not read"):
            await desk.ask.change_diff(1, 0, "", mia)
        assert (await desk.approve("mia")).missing == []
        assert (await desk.act.comment(1, "Fine", 0, "", 0, "", "", mia)).comments[0].who == "mia"

    mia = Grant(Metadata("mias"), GrantSpec("reviewer", users=["mia"], scope=GrantScope(environments=["production"])))
    at_the_desk(story, User(Metadata("mia"), UserSpec()), mia)


def test_who_may_not_review_cannot_approve_and_is_told_who_can() -> None:
    async def story(desk: Desk) -> None:
        await desk.shop.propose(THREE, DB)
        with pytest.raises(Forbidden, match="rob may not review"):
            await desk.approve("rob")
        narrowed = await desk.by("sue", actions=("read",))
        with pytest.raises(Forbidden, match="its scope is narrower"):
            await desk.act.approve_change(1, "production", "sha256:0", narrowed)
        with pytest.raises(Forbidden, match="eve may not merge"):
            await desk.act.merge_change(1, await desk.by("eve"))

    at_the_desk(story)


def test_an_approval_of_an_older_hash_is_refused_when_it_is_replayed() -> None:
    async def story(desk: Desk) -> None:
        await desk.shop.propose(THREE, DB)
        sue = await desk.by("sue")
        old = (await desk.ask.change(1, sue)).environments[0].hash
        await desk.shop.propose(manifest("Process", "web", replicas=4), DB, on=desk.shop.review().change.head)
        with pytest.raises(Refused, match="it has changed since you looked"):
            await desk.act.approve_change(1, "production", old, sue)

    at_the_desk(story)


def test_after_an_approval_is_withdrawn_only_the_difference_is_shown() -> None:
    async def story(desk: Desk) -> None:
        other = manifest("Process", "db", note="other")
        await desk.shop.propose(THREE, other)
        approved = (await desk.approve("sue")).approvals[0].hash
        head = desk.shop.review().change.head
        await desk.shop.propose(THREE, manifest("Process", "db", note="another"), on=head)
        sue = await desk.by("sue")
        seen = await desk.ask.change(1, sue)
        assert [(one.who, one.hash) for one in seen.withdrawn] == [("sue", approved)]
        [whole] = (await desk.ask.change_plan(1, "production", False, sue)).environments
        [since] = (await desk.ask.change_plan(1, "production", True, sue)).environments
        assert ([step.object.name for step in whole.plan.steps], whole.since) == (["db", "web"], "")
        assert ([step.object.name for step in since.plan.steps], since.since) == (["db"], approved)
        assert since.hash == whole.hash
        [everything] = (await desk.ask.change_plan(1, "production", True, await desk.by("joe"))).environments
        assert everything.since == "", "joe has approved nothing"
        await desk.shop.restart()
        desk.access = (await Desk.of(desk.shop)).access
        [still] = (await desk.ask.change_plan(1, "production", True, await desk.by("sue"))).environments
        assert [step.object.name for step in still.plan.steps] == ["db"], "it outlives the process"

    at_the_desk(story)


def test_what_was_kept_of_an_approval_goes_once_its_change_has_ended() -> None:
    async def story(desk: Desk) -> None:
        await desk.shop.propose(THREE, DB)
        await desk.approve("sue")
        await desk.act.merge_change(1, await desk.by("sue"))
        await desk.shop.propose(manifest("Process", "web", replicas=5), DB, ref="refs/heads/next")
        await desk.approve("sue", 2)
        names = [name for name in (await desk.shop.stage.store.load()).documents if name.startswith("approved/")]
        assert names == ["approved/2/production/sue"]

    at_the_desk(story)


def test_merging_answers_once_it_is_merged() -> None:
    async def story(desk: Desk) -> None:
        await desk.shop.propose(THREE, DB)
        await desk.approve("sue")
        merged = await desk.act.merge_change(1, await desk.by("sue"))
        assert (merged.stage, merged.missing) == ("merged", [])
        with pytest.raises(Refused, match="the change is merged"):
            await desk.act.close_change(1, "", await desk.by("sue"))

    at_the_desk(story)


def test_a_wish_is_taken_back_by_who_had_it_or_by_who_may_merge() -> None:
    async def story(desk: Desk) -> None:
        await desk.shop.propose(THREE, DB)
        sue, joe, rob = await desk.by("sue"), await desk.by("joe"), await desk.by("rob")
        await desk.act.merge_change(1, sue)
        with pytest.raises(Forbidden, match="rob may not merge"):
            await desk.act.unmerge_change(1, rob)
        assert (await desk.act.unmerge_change(1, joe)).wanted_by == ""
        with pytest.raises(UserError, match="nobody has asked"):
            await desk.act.unmerge_change(1, sue)
        await desk.approve("sue")
        await asyncio.sleep(20)
        assert (await desk.ask.change(1, sue)).stage == "open"

    at_the_desk(story)


def test_the_author_closes_reopens_edits_and_drafts_and_others_need_the_right_to_merge() -> None:
    async def story(desk: Desk) -> None:
        await desk.shop.propose(THREE, DB, who=ROB)
        rob, eve, sue = await desk.by("rob"), await desk.by("eve"), await desk.by("sue")
        for asked in (
            desk.act.close_change(1, "", eve),
            desk.act.edit_change(1, "Mine", None, None, eve),
            desk.act.close_change(1, "", await desk.by("rob", actions=("read",))),
        ):
            with pytest.raises(Forbidden, match="may not merge"):
                await asked
        edited = await desk.act.edit_change(1, "Four\nlines", "Why\nChange: 7\nand how", True, rob)
        assert (edited.title, edited.description, edited.draft) == ("Four lines", "Why\nand how", True)
        assert edited.missing[0] == "it is a draft"
        assert not (await desk.act.edit_change(1, "", None, False, rob)).draft
        assert (await desk.act.close_change(1, "later", sue)).stage == "closed"
        await desk.shop.restart()
        desk.access = (await Desk.of(desk.shop)).access
        again = await desk.act.reopen_change(1, await desk.by("rob"))
        assert (again.stage, again.approvals) == ("open", [])
        with pytest.raises(UserError, match="nothing to change"):
            await desk.act.edit_change(1, "", None, None, await desk.by("rob"))

    at_the_desk(story)


def test_a_change_is_made_from_a_branch_that_is_there_and_is_judged_like_its_push() -> None:
    async def story(desk: Desk) -> None:
        rob, eve, sue = await desk.by("rob"), await desk.by("eve"), await desk.by("sue")
        await desk.shop.propose(THREE, DB, who=ROB, options=())
        assert (await desk.ask.changes("", "", "", 0, 10, rob)).changes == []
        with pytest.raises(Forbidden, match="sue may not propose"):
            await desk.act.create_change("shop", "more", "", "", "", False, sue)
        made = await desk.act.create_change("hosted:shop", "more", "", "Three of them", "Two\nlines", True, eve)
        assert (made.number, made.author, made.title, made.description, made.draft, made.source) == (
            1,
            "eve",
            "Three of them",
            "Two\nlines",
            True,
            "more",
        )
        assert (await desk.shop.stage.hosting.refs("shop"))["refs/changes/1/1"] == made.head
        with pytest.raises(Refused, match="change 1 comes from it"):
            await desk.act.create_change("shop", "more", "", "", "", False, rob)
        with pytest.raises(NotFound, match="no such branch"):
            await desk.act.create_change("shop", "nothing", "", "", "", False, rob)
        with pytest.raises(Refused):
            await desk.act.create_change("shop", "main", "", "", "", False, rob)

    at_the_desk(story)


def test_the_record_of_changes_and_trails_is_for_those_who_may_read_what_they_are_about() -> None:
    async def story(desk: Desk) -> None:
        await desk.shop.propose(THREE, DB, who=EVE)
        sue, stranger = await desk.by("sue"), await desk.by("max")
        rows = {row.trail: row for row in (await desk.ask.trails(sue)).trails}
        assert rows.keys() == {"change/1", "environment/production", "environment/staging"}
        page = await desk.ask.trail("change/1", 0, 1000, sue)
        assert (page.links[-1].hash, len(page.links), page.next) == (rows["change/1"].hash, rows["change/1"].links, 0)
        assert (await desk.ask.trails(stranger)).trails == []
        with pytest.raises(NotFound, match="no trail"):
            await desk.ask.trail("change/1", 0, 10, stranger)

    at_the_desk(story)
