"""State in, happening in, state and act out: the lifecycle of a Change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trimtab.core.lifecycle.change import opened, step
from trimtab.core.lifecycle.review import (
    Approved,
    Closed,
    Drafted,
    Edited,
    Happening,
    Landed,
    Look,
    Looked,
    Merge,
    MergeAsked,
    Merged,
    MergeTakenBack,
    Moved,
    NotMerged,
    Pushed,
    Reopened,
    Rest,
    Review,
    Stumbled,
    Unapproved,
)
from trimtab.core.lifecycle.unmet import missing
from trimtab.core.model.change import (
    Candidate,
    Change,
    Check,
    EnvironmentPlan,
    PatchSet,
    Planned,
    Requirement,
    Stage,
    Verdict,
    approvers,
)
from trimtab.core.model.names import Revision

NOW = datetime(2030, 1, 1, tzinfo=UTC)
HEAD, MAIN = Revision("a" * 40), Revision("b" * 40)
SRE = Requirement("production", "the group sre", 1, frozenset({"rob", "sue"}))


def change(**fields: object) -> Change:
    made = Change(7, "shop", "main", "more", "Three replicas", "ada", (PatchSet(1, HEAD, "ada", NOW),), NOW)
    return msgspec.structs.replace(made, **fields)


def plan(content: str = "one", environment: str = "production", **fields: object) -> EnvironmentPlan:
    made = EnvironmentPlan(environment, (Planned("shop", f"digest {content}", f"hash {content}"),), updates=1)
    return msgspec.structs.replace(made, **fields)


def looked(head: Revision = HEAD, **fields: object) -> Looked:
    made = Looked(Candidate(MAIN, head, "tree"), (plan(),), (Check("render", Verdict.PASSED),), (SRE,))
    return msgspec.structs.replace(made, **fields)


def after(*happenings: Happening, review: Review | None = None) -> Review:
    review = review or opened(change(), NOW).review
    for one in happenings:
        review = step(review, one, NOW).review
    return review


APPROVED = Approved("sue", "production", plan().hash)


def test_a_change_is_looked_at_when_it_is_opened() -> None:
    decision = opened(change(), NOW)
    assert decision.act == Look()
    assert [event.kind for event in decision.events] == ["change.opened"]
    assert missing(decision.review) == ("its newest push has not been looked at yet",)


def test_a_wish_alone_merges_nothing_while_an_approval_is_missing() -> None:
    decision = step(after(MergeAsked("ada")), looked(), NOW)
    assert isinstance(decision.act, Rest)
    assert missing(decision.review) == ("production asks for 1 more approval by the group sre",)


def test_the_candidate_that_was_looked_at_is_merged_when_nothing_is_missing() -> None:
    decision = step(after(looked(), APPROVED, MergeAsked("ada")), looked(), NOW)
    assert isinstance(decision.act, Merge)
    assert decision.act.candidate == looked().candidate
    assert decision.act.clears == (plan(),)
    assert [one.who for one in decision.act.approvals] == ["sue"]
    assert decision.review.merging == looked().candidate


def test_asking_for_a_merge_looks_first() -> None:
    assert step(after(looked(), APPROVED), MergeAsked("ada"), NOW).act == Look()


def test_an_approval_of_another_plan_than_the_one_shown_is_refused() -> None:
    decision = step(after(looked()), Approved("sue", "production", "sha256:old"), NOW)
    assert decision.refused.startswith("the plan for production is sha256:")
    assert decision.review.approvals == ()


def test_an_approval_of_what_was_shown_before_a_push_is_refused() -> None:
    decision = step(after(looked(), Pushed(Revision("c" * 40), "ada")), APPROVED, NOW)
    assert decision.refused == "there is no plan for production to approve now"


def test_a_plan_that_moved_withdraws_its_approvals_and_says_so() -> None:
    decision = step(after(looked(), APPROVED), looked(plans=(plan("two"),)), NOW)
    assert decision.review.approvals == ()
    assert [(one.who, one.hash) for one in decision.review.withdrawn] == [("sue", plan().hash)]
    assert [event.kind for event in decision.events] == ["change.approval-withdrawn"]
    assert decision.events[0].data["plan"] == plan("two").hash


def test_a_push_that_leaves_the_plan_as_it_was_keeps_its_approvals() -> None:
    head = Revision("c" * 40)
    review = after(looked(), APPROVED, Pushed(head, "ada"), looked(head))
    assert missing(review) == ()
    assert [one.patch_set for one in review.approvals] == [1]


def test_an_environment_that_the_change_does_not_touch_any_more_loses_its_approvals() -> None:
    review = after(looked(), APPROVED, looked(plans=(), requirements=()))
    assert review.approvals == ()
    assert missing(review) == ()


def test_the_content_can_be_approved_and_a_push_makes_it_another() -> None:
    content = Requirement("", "somebody who may review it", 1, frozenset({"sue"}))
    found = looked(requirements=(content,))
    review = after(found)
    assert missing(review) == ("the content asks for 1 more approval by somebody who may review it",)
    review = after(Approved("sue", "", review.hashes[""]), found, review=review)
    assert missing(review) == ()
    head = Revision("c" * 40)
    review = after(Pushed(head, "ada"), looked(head, requirements=(content,)), review=review)
    assert [one.environment for one in review.withdrawn] == [""]
    assert missing(review) != ()


def test_a_push_ends_the_wish_to_merge() -> None:
    review = after(looked(), MergeAsked("ada"), Pushed(Revision("c" * 40), "eve"))
    assert review.wish is None
    assert review.change.last_pusher == "eve"


def test_a_look_at_an_older_push_counts_for_nothing() -> None:
    decision = step(after(Pushed(Revision("c" * 40), "ada")), looked(), NOW)
    assert decision.act == Look()
    assert decision.review.plans == ()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (looked(candidate=Candidate(MAIN, HEAD, "", ("web.yaml",))), "it conflicts with main in web.yaml"),
        (looked(checks=(Check("policy/size", Verdict.FAILED, "too many"),)), "check policy/size: too many"),
        (looked(checks=(Check("external/conftest", Verdict.PENDING),)), "check external/conftest: pending"),
        (looked(plans=(plan(blocked=("it belongs to nobody",)),)), "production: it belongs to nobody"),
        (looked(blockers=("change 6 has to be merged first",)), "change 6 has to be merged first"),
        (
            looked(requirements=(Requirement("production", "owners of db/", 1, frozenset()),)),
            "production asks for 1 more approval by owners of db/; nobody can give it",
        ),
    ],
)
def test_what_stands_in_the_way_is_said(found: Looked, said: str) -> None:
    review = after(looked(), APPROVED, MergeAsked("ada"), found)
    assert said in missing(review)
    assert isinstance(step(review, found, NOW).act, Rest)


def test_a_draft_is_not_merged_until_it_is_ready() -> None:
    review = after(looked(), APPROVED, Drafted(True, "ada"), MergeAsked("ada"), looked())
    assert missing(review) == ("it is a draft",)
    assert isinstance(step(after(Drafted(False, "ada"), review=review), looked(), NOW).act, Merge)


def test_warnings_do_not_stop_a_merge() -> None:
    review = after(looked(), APPROVED, looked(checks=(Check("policy/latest", Verdict.WARNED, "pin it"),)))
    assert missing(review) == ()


def test_a_merge_whose_target_has_moved_is_looked_at_again_and_goes_on() -> None:
    review = after(looked(), APPROVED, MergeAsked("ada"), looked())
    decision = step(review, NotMerged("main has moved", moved=True), NOW)
    assert decision.act == Look()
    assert decision.review.wish is not None


def test_a_merge_that_is_refused_ends_the_wish_and_says_why() -> None:
    decision = step(after(looked(), APPROVED, MergeAsked("ada"), looked()), NotMerged("the disk is full"), NOW)
    assert decision.review.wish is None
    assert decision.review.message == "the disk is full"
    assert [event.kind for event in decision.events] == ["change.merge-failed"]


def test_merged_is_the_end() -> None:
    review = after(looked(), APPROVED, MergeAsked("ada"), looked(), Merged(Revision("d" * 40)))
    assert review.change.stage == Stage.MERGED
    assert review.change.ended_by == "ada"
    assert step(review, Pushed(Revision("e" * 40), "ada"), NOW).refused == "the change is merged"
    assert step(review, Moved(), NOW).act == Rest()


def test_what_the_target_got_by_another_way_is_merged() -> None:
    assert after(looked(), Landed(MAIN)).change.merged == MAIN


def test_a_closed_change_reopens_without_approvals() -> None:
    review = after(looked(), APPROVED, Closed("ada", "not now"), Reopened("ada"))
    assert review.change.stage == Stage.OPEN
    assert review.approvals == ()


def test_nobody_can_close_what_may_be_merged_already() -> None:
    """The answer of the repository was lost: a Change that was forgotten here would be merged once more when it is opened again."""
    review = after(looked(), APPROVED, MergeAsked("ada"), looked(), Stumbled("no connection"))
    decision = step(review, Closed("ada"), NOW)
    assert decision.refused == "it is being merged, and whether it has been shows in a moment"
    assert decision.act == Look()


def test_a_change_that_was_closed_while_it_was_being_merged_is_merged_if_git_says_so() -> None:
    review = after(looked(), APPROVED, MergeAsked("ada"), looked(), Closed("ada"), Merged(MAIN))
    assert review.change.stage == Stage.MERGED


def test_taking_back_what_was_never_given_is_refused() -> None:
    assert step(after(looked()), Unapproved("sue"), NOW).refused == "sue has approved nothing of it that counts"
    assert after(looked(), APPROVED, Unapproved("sue")).approvals == ()


def test_a_look_that_fails_is_tried_again_later_and_later() -> None:
    first = step(after(), Stumbled("the target does not answer"), NOW)
    second = step(first.review, Stumbled("the target does not answer"), NOW)
    assert (first.act, second.act) == (Rest(NOW + timedelta(seconds=1)), Rest(NOW + timedelta(seconds=2)))
    assert missing(second.review) == ("the target does not answer",)


people = st.sampled_from(["ada", "rob", "sue", "eve"])
heads = st.sampled_from([HEAD, Revision("c" * 40), Revision("d" * 40)])
contents = st.sampled_from(["one", "two"])


class Walk(RuleBasedStateMachine):
    """Whatever happens in whatever order, a merge is sent only for what was looked at, approved as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.review = opened(change(), NOW).review
        self.sent: Merge | None = None

    def take(self, happening: Happening) -> None:
        decision = step(self.review, happening, NOW)
        if decision.refused:
            assert decision.review == self.review
        self.review = decision.review
        self.sent = decision.act if isinstance(decision.act, Merge) else None

    @rule(head=heads, who=people)
    def push(self, head: Revision, who: str) -> None:
        self.take(Pushed(head, who))

    @rule(head=heads, content=contents, count=st.integers(0, 2), failed=st.booleans(), there=st.booleans())
    def look(self, head: Revision, content: str, count: int, failed: bool, there: bool) -> None:
        verdict = Verdict.FAILED if failed else Verdict.PASSED
        requirement = msgspec.structs.replace(SRE, count=count)
        plans = (plan(content),) if there else ()
        self.take(Looked(Candidate(MAIN, head, "tree"), plans, (Check("policy", verdict),), (requirement,) if there else ()))

    @rule(who=people, content=contents)
    def approve(self, who: str, content: str) -> None:
        self.take(Approved(who, "production", plan(content).hash))

    @rule(who=people)
    def unapprove(self, who: str) -> None:
        self.take(Unapproved(who))

    @rule(
        happening=st.sampled_from(
            [
                MergeAsked("ada"),
                MergeTakenBack("ada"),
                Moved(),
                Merged(MAIN),
                NotMerged("moved", moved=True),
                NotMerged("no"),
                Closed("ada"),
                Reopened("ada"),
                Stumbled("away"),
                Drafted(True, "ada"),
                Drafted(False, "ada"),
                Edited("Title", "Text"),
            ]
        )
    )
    def happen(self, happening: Happening) -> None:
        self.take(happening)

    @invariant()
    def a_merge_is_sent_only_when_nothing_is_missing(self) -> None:
        if self.sent is None:
            return
        review = self.review
        assert missing(review) == ()
        assert self.sent.candidate.head == review.change.head
        assert not any(check.verdict == Verdict.FAILED for check in review.checks)
        for requirement in review.requirements:
            assert len(approvers(requirement, self.sent.approvals, review.hashes)) >= requirement.count

    @invariant()
    def an_approval_is_of_the_plan_that_was_found_last(self) -> None:
        assert all(
            review_hash == one.hash for one in self.review.approvals for review_hash in [self.review.hashes[one.environment]]
        )

    @invariant()
    def nobody_approves_twice(self) -> None:
        places = [(one.who, one.environment) for one in self.review.approvals]
        assert len(places) == len(set(places))


TestWalk = Walk.TestCase
