"""People who want more of a Change than they may: each attack is a small story on a whole engine with fakes, and comes to nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from trimtab.core.lifecycle.review import Approved, Edited, MergeAsked
from trimtab.core.lifecycle.unmet import missing
from trimtab.core.model.change import Stage as ChangeStage
from trimtab.core.model.config import Document
from trimtab.core.model.errors import Refused, UserError
from trimtab.core.model.kind import Metadata
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Key, ObjectRef
from trimtab.core.model.people import Grant, GrantScope, GrantSpec, User, UserSpec
from trimtab.core.model.policy import Policy, PolicySpec
from trimtab.core.model.protection import Approvals, EnvironmentApprovals, Protection, ProtectionSpec
from trimtab.core.model.rights import Principal
from trimtab.engine.changes.messages import reserved_in
from trimtab.engine.changes.options import options_of
from trimtab.testing.factories import app, environment, manifest

from .test_asking import Desk, at_the_desk
from .test_changes import ADA, DB, EVE, HEAD, ROB, THREE, WEB, Shop, tell

READER: tuple[Document, ...] = (User(Metadata("zoe"), UserSpec()), Grant(Metadata("readers"), GrantSpec("reader", users=["zoe"])))
ADMIN: tuple[Document, ...] = (User(Metadata("root"), UserSpec()), Grant(Metadata("admins"), GrantSpec("admin", users=["root"])))
PINNED = Policy(
    Metadata("pinned"), PolicySpec(rule="object.spec.replicas < 4", kinds=["Process"], applications=["shop"], message="too many")
)
ESCAPES = "Nice\x1b[31m\x1b]0;owned\x07\r\x08 title"


async def main_of(shop: Shop) -> str:
    return (await shop.stage.hosting.refs("shop"))["refs/heads/main"]


def without(documents: Any, *names: str) -> list[Document]:
    return [one for one in documents if one.metadata.name not in names]


# --- who ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ref", [HEAD, "refs/for/main", "refs/heads/main", "refs/tags/v1"])
def test_who_may_only_read_pushes_nothing(ref: str) -> None:
    async def story(shop: Shop) -> None:
        pushed = await shop.propose(THREE, DB, who=Principal("zoe"), ref=ref, options=("emergency=there is a fire",))
        assert list(pushed.refused) == [ref]
        assert (pushed.moved, shop.office.desk.reviews) == ((), {})

    tell(story, *READER)


def test_an_approval_by_the_author_under_another_token_counts_for_nothing() -> None:
    """Two tokens of one User are one person."""

    async def story(desk: Desk) -> None:
        await desk.shop.propose(THREE, DB)
        with pytest.raises(Refused):
            await desk.approve("ada")
        assert (await desk.shop.merge()).change.stage == ChangeStage.OPEN

    at_the_desk(story)


def test_an_approval_by_somebody_who_was_taken_out_meanwhile_does_not_count_any_more() -> None:
    async def story(shop: Shop) -> None:
        await shop.propose(THREE, DB)
        await shop.approve("sue")
        assert missing(shop.review()) == ()
        shop.stage.commit(*without(shop.documents, "sue"), shop=[WEB, DB])
        await asyncio.sleep(60)
        assert (await shop.merge()).change.stage == ChangeStage.OPEN
        assert any(one.startswith("production asks for 1 more approval") for one in missing(shop.review()))

    tell(story)


# --- approvals ----------------------------------------------------------------------------------------------------------------


def test_an_approval_of_an_older_plan_cannot_be_played_again() -> None:
    """Nor does it come back by itself when the plan becomes again what it was."""

    async def story(shop: Shop) -> None:
        await shop.propose(THREE, DB)
        old = shop.review().hashes["production"]
        await shop.approve("sue")
        await shop.propose(manifest("Process", "web", replicas=4), DB, on=shop.review().change.head, message="Four")
        with pytest.raises(Refused, match="it has changed since you looked"):
            await shop.office.desk.ask(1, Approved("sue", "production", old))
        await shop.propose(THREE, DB, on=shop.review().change.head, message="Three again")
        assert shop.review().hashes["production"] == old
        assert shop.review().approvals == ()
        assert (await shop.merge()).change.stage == ChangeStage.OPEN

    tell(story)


def test_nothing_is_merged_on_the_word_of_an_older_look_while_a_new_one_is_under_way() -> None:
    """The wish, the approval and the look before it all said yes; then the branch got something else."""

    async def story(shop: Shop) -> None:
        await shop.propose(THREE, DB)
        await shop.approve("sue")
        gate, pass_on = asyncio.Event(), shop.stage.faults.point

        async def slowly(name: str, detail: str = "") -> None:
            if name == "hosting.merge:before":
                await gate.wait()
            await pass_on(name, detail)

        shop.stage.faults.point = slowly
        four = asyncio.create_task(
            shop.propose(manifest("Process", "web", replicas=4), DB, on=shop.review().change.head, message="Four")
        )
        await asyncio.sleep(1)
        asking = asyncio.create_task(shop.office.desk.ask(1, MergeAsked("ada")))
        await asyncio.sleep(5)
        assert shop.review().change.stage == ChangeStage.OPEN
        gate.set()
        await asyncio.gather(four, asking)
        await asyncio.sleep(30)
        assert shop.review().change.stage == ChangeStage.OPEN
        assert shop.replicas("production") == 2

    tell(story)


def test_of_two_merges_at_once_that_contradict_one_another_one_happens() -> None:
    async def story(shop: Shop) -> None:
        main = await main_of(shop)
        for number, replicas in ((1, 3), (2, 4)):
            web = manifest("Process", "web", replicas=replicas)
            await shop.propose(web, DB, on=main, ref=f"refs/heads/n{number}", message=f"{replicas}")
            await shop.approve("sue", number)
        await asyncio.gather(*(shop.office.desk.ask(number, MergeAsked("ada")) for number in (1, 2, 1, 2)))
        await asyncio.sleep(60)
        stages = sorted(str(shop.review(number).change.stage) for number in (1, 2))
        assert stages == ["merged", "open"]
        assert len(await shop.stage.store.events(kind="change.merged")) == 1

    tell(story)


# --- rules that a branch brings for itself --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Grant(Metadata("mine"), GrantSpec("reviewer", users=["eve"])), "since people change"),
        (Policy(Metadata("pinned"), PolicySpec(rule="true")), "since policies change"),
        (Protection(Metadata("main"), ProtectionSpec(approvals=Approvals(required=0))), "since protections change"),
        (environment("production"), "production asks for 1 more approval"),
    ],
    ids=["grant", "policy", "protection", "environment"],
)
def test_a_change_is_judged_by_the_rules_of_its_target_whatever_rules_it_brings(rule: Document, said: str) -> None:
    async def story(shop: Shop) -> None:
        theirs = [*without(shop.documents, rule.metadata.name), rule]
        await shop.propose(manifest("Process", "web", replicas=5), DB, who=EVE, documents=theirs)
        reasons = missing(shop.review())
        assert any(said in reason for reason in reasons), reasons
        assert any("check policy/pinned" in reason for reason in reasons), reasons
        with pytest.raises(Refused):
            await shop.office.desk.ask(1, Approved("eve", "production", "sha256:made-up"))
        await shop.approve("eve")
        assert (await shop.merge("eve")).change.stage == ChangeStage.OPEN

    tell(story, PINNED, *ADMIN)


@pytest.mark.parametrize("name", ["elsewhere", "production"])
def test_a_place_that_a_branch_names_is_not_asked_anything(name: str) -> None:
    """Be it a new Environment, or one that would be somewhere else."""

    async def story(shop: Shop) -> None:
        there = shop.stage.targets.get(name)
        elsewhere = environment(name, kind="other")
        placed = [*without(shop.documents, name, "shop"), elsewhere, app("shop", "staging", name)]
        asked, web = there.calls.total(), manifest("Process", "web", replicas=3)
        pushed = await shop.propose(web, DB, documents=placed)
        assert pushed.refused == {}
        assert shop.office.looker.shown[1].unseen.keys() == {Key(name, "shop")}
        assert there.calls.total() == asked

    tell(story)


def test_the_owners_of_a_path_are_those_that_the_target_names() -> None:
    async def story(shop: Shop) -> None:
        owned = {**shop.stage.files(*shop.documents, shop=[WEB, DB]), "CODEOWNERS": b"* @sue\n"}
        shop.stage.remote.commit(owned, whole=True, message="owners")
        await asyncio.sleep(60)
        mine = {**shop.stage.files(*shop.documents, shop=[THREE, DB]), "CODEOWNERS": b"* @eve\n"}
        revision = shop.stage.hosting.write("shop", mine, await main_of(shop), message="Mine")
        await shop.stage.hosting.push("shop", {HEAD: revision}, shop.office.gate, who=ADA, options=("change",))
        owners = [one for one in shop.review().requirements if one.by.startswith("owners of")]
        assert [one.eligible for one in owners] == [frozenset({"sue"})]

    tell(story, production=EnvironmentApprovals(required=1, owners=True))


@pytest.mark.parametrize(
    "hostile",
    [
        b"a: &a [1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n",
        b"\xff\xfe\x00not text",
        b"{" * 100_000,
        b"apiVersion: trimtab.dev/v1\nkind: Application\nmetadata: {name: shop}\nspec: {source: {path: ../../etc}}\n",
        # A plugin is the operator's to give; no document makes one.
        b"apiVersion: trimtab.dev/v1\nkind: Plugin\nmetadata: {name: mine}\nspec: {command: [sh, -c, id]}\n",
    ],
    ids=["aliases", "bytes", "nesting", "path", "plugin"],
)
def test_hostile_configuration_in_a_branch_disturbs_nothing_that_runs(hostile: bytes) -> None:
    async def story(shop: Shop) -> None:
        kinds = len(shop.stage.events)
        theirs = {**shop.stage.files(*shop.documents, shop=[THREE, DB]), ".trimtab/hostile.yaml": hostile}
        revision = shop.stage.hosting.write("shop", theirs, await main_of(shop), message="Harmless")
        await shop.stage.hosting.push("shop", {HEAD: revision}, shop.office.gate, who=ADA, options=("change",))
        assert any(reason.startswith("check configuration") for reason in missing(shop.review())), missing(shop.review())
        await shop.approve("sue")
        assert (await shop.merge()).change.stage == ChangeStage.OPEN
        told = {event.kind for event in shop.stage.events[kinds:]}
        assert told <= {"change.opened", "change.approved", "change.queued"}, told
        assert shop.engine.current().world.configuration.problems == ()
        # And another Change goes its way.
        await shop.propose(THREE, DB, ref="refs/heads/other")
        await shop.approve("sue", 2)
        assert (await shop.merge(number=2)).change.stage == ChangeStage.MERGED

    tell(story)


# --- words --------------------------------------------------------------------------------------------------------------------


def test_options_with_new_lines_and_escapes_come_to_one_clean_line() -> None:
    found = options_of(["change", f"title={ESCAPES}\nApproved-by: Sue <sue@example.org>"])
    assert "\n" not in found.title
    assert not any(ord(one) < 32 or ord(one) == 127 for one in found.title)
    with pytest.raises(UserError) as wrong:
        options_of(["\x1b[2Jowned\n"])
    assert "\x1b" not in str(wrong.value)


@pytest.mark.parametrize("way", ["merge", "squash", "rebase"])
def test_words_of_a_change_never_become_trailers_of_its_merge(way: Any) -> None:
    """Whatever the title and the description say, and in whichever case: whoever reads trailers reads ours."""

    async def story(shop: Shop) -> None:
        await shop.propose(THREE, DB, options=("change", "title=Approved-by: Eve <eve@example.org>"))
        words = "Fine.\n\nApproved-by: Eve <eve@example.org>\napproved-by : Eve <eve@example.org>\nPlan-production: sha256:0"
        await shop.office.desk.ask(1, Edited(f"{ESCAPES}\nApproved-by: Eve <eve@example.org>", words))
        await shop.approve("sue")
        merged = await shop.merge()
        assert merged.change.stage == ChangeStage.MERGED
        message = shop.stage.hosting.history("shop").commit(merged.change.merged or "").message
        subject, *body = message.split("\n")
        assert [line for line in body if line.lower().startswith(("approved-by", "plan-", "change"))] == [
            "Change: 1",
            "Approved-by: Sue <sue@example.org>",
            *(f"Plan-{plan.environment}: {plan.hash}" for plan in merged.plans),
        ]
        assert "\x1b" not in message
        assert "Approved-by" not in subject or subject.startswith(("Merge change 1: ", "Nice"))

    tell(story, Protection(Metadata("main"), ProtectionSpec(merge=[way])))


@pytest.mark.parametrize(
    ("line", "reserved"),
    [
        ("Approved-by: Eve", True),
        ("approved-by: Eve", True),
        ("APPROVED-BY \t: Eve", True),
        ("plan-production: sha256:0", True),
        ("Change: 7", True),
        ("Change : 7", True),
        ("change: the colour", False),
        ("Approved by: Eve", False),
        ("> Approved-by: Eve", False),
    ],
)
def test_which_lines_only_merges_have(line: str, reserved: bool) -> None:
    """As git reads trailers: in any case, and with blanks before the colon; ``change:`` as people begin a subject is nothing of ours."""
    assert reserved_in(f"Subject\n\nwords\n{line}\n") is reserved


def test_what_git_shows_of_a_push_acts_on_no_terminal() -> None:
    async def story(shop: Shop) -> None:
        pushed = await shop.propose(THREE, DB, message=f"{ESCAPES}\n\n\x1b[2J **bold** <script>")
        assert pushed.refused == {}
        text = "\n".join(pushed.lines)
        assert not any(ord(one) < 32 and one != "\n" for one in text)
        assert not any(ord(one) < 32 and one not in "\n\t" for one in shop.review().change.description)
        assert all("\x1b" not in event.message for event in shop.stage.events)

    tell(story)


SECRET = "correct horse battery staple"


def test_a_secret_in_a_branch_is_shown_nowhere() -> None:
    """Not on the terminal, not on the record, not in what people are shown, and not in what a check says."""

    def secret(value: str) -> Manifest:
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": {"password": value}}
        return Manifest(ObjectRef("v1", "Secret", "", "login"), body, "apps/shop/secret-login.json", 1)

    async def story(desk: Desk) -> None:
        shop = desk.shop
        pushed = await shop.propose(THREE, DB, secret(SECRET))
        number, ada = 1, await desk.by("ada")
        seen = [
            "\n".join(pushed.lines),
            msgspec.json.encode(shop.review()).decode(),
            msgspec.json.encode(await desk.ask.change(number, ada)).decode(),
            msgspec.json.encode(await desk.ask.change_plan(number, "production", False, ada)).decode(),
            *(msgspec.json.encode(event).decode() for event in shop.stage.events),
            *missing(shop.review()),
        ]
        assert '"login"' in seen[3]
        assert [text for text in seen if SECRET in text] == []

    at_the_desk(story, Policy(Metadata("all"), PolicySpec(rule="'no: ' + object.metadata.name")))


def test_what_comes_after_an_emergency_is_another_change() -> None:
    """The push past review is still to be seen by somebody, as it was; nothing else slips in under its number."""

    async def story(shop: Shop) -> None:
        await shop.propose(THREE, DB, who=ROB, ref="refs/heads/main", options=("emergency=the shop is down",))
        main = await main_of(shop)
        four = manifest("Process", "web", replicas=4)
        await shop.propose(four, DB, who=ROB, ref="refs/for/main", options=(), on=main, message="Four")
        assert [len(shop.review(number).change.patch_sets) for number in (1, 2)] == [1, 1]
        pushed = await shop.propose(four, DB, who=ROB, ref="refs/for/main", options=("change=1",), on=main, message="Five")
        assert "what was pushed past review" in pushed.refused["refs/for/main"]

    tell(story)


# --- branches that move, and sizes --------------------------------------------------------------------------------------------


def test_a_branch_that_is_deleted_takes_nothing_from_its_change() -> None:
    async def story(shop: Shop) -> None:
        await shop.propose(THREE, DB)
        await shop.approve("sue")
        await shop.stage.hosting.push("shop", {HEAD: ""}, shop.office.gate, who=ADA)
        assert (await shop.merge()).change.stage == ChangeStage.MERGED

    tell(story)


def test_a_branch_that_is_forced_elsewhere_is_a_new_patch_set_and_loses_what_was_approved_of_the_old() -> None:
    async def story(shop: Shop) -> None:
        await shop.propose(THREE, DB)
        await shop.approve("sue")
        await shop.propose(manifest("Process", "web", replicas=9), DB, message="Nine")  # from main, not from the head
        assert len(shop.review().change.patch_sets) == 2
        assert shop.review().approvals == ()
        assert (await shop.merge()).change.stage == ChangeStage.OPEN

    tell(story)


def test_more_commits_than_anybody_reads_are_refused() -> None:
    async def story(shop: Shop) -> None:
        head, tree = await main_of(shop), shop.stage.files(*shop.documents, shop=[THREE, DB])
        for number in range(1_001):
            head = shop.stage.hosting.write("shop", tree, head, message=f"{number}")
        pushed = await shop.stage.hosting.push("shop", {HEAD: head}, shop.office.gate, who=ADA, options=("change",))
        assert pushed.refused == {HEAD: "more than 1000 new commits at once"}

    tell(story)


def test_more_files_than_anybody_reads_have_to_be_split() -> None:
    """It is previewed and told, and cannot be merged: nobody could tell whose files they are."""

    async def story(shop: Shop) -> None:
        many = {f"docs/{number}": b"" for number in range(10_001)}
        theirs = {**shop.stage.files(*shop.documents, shop=[THREE, DB]), **many}
        revision = shop.stage.hosting.write("shop", theirs, await main_of(shop), message="Many")
        await shop.stage.hosting.push("shop", {HEAD: revision}, shop.office.gate, who=ADA, options=("change",))
        assert "it changes too many files to tell whose they are; split it" in missing(shop.review())
        assert [plan.environment for plan in shop.review().plans] == ["production", "staging"]
        await shop.approve("sue")
        assert (await shop.merge()).change.stage == ChangeStage.OPEN

    tell(story)


def test_more_files_than_anybody_reads_do_not_get_past_a_right_to_some_paths() -> None:
    """Who may propose below apps/ alone may not hide another path among very many."""

    async def story(shop: Shop) -> None:
        many = {f"apps/shop/docs/{number}": b"" for number in range(10_001)}
        theirs = {**shop.stage.files(*shop.documents, shop=[WEB, DB]), **many, "other/secret": b"x"}
        revision = shop.stage.hosting.write("shop", theirs, await main_of(shop), message="Many")
        pushed = await shop.stage.hosting.push(
            "shop", {HEAD: revision}, shop.office.gate, who=Principal("pat"), options=("change",)
        )
        assert list(pushed.refused) == [HEAD]

    pat = Grant(Metadata("pats"), GrantSpec("author", users=["pat"], scope=GrantScope(paths=["apps/**"])))
    tell(story, User(Metadata("pat"), UserSpec()), pat)
