"""The laws of Changes, each a function whose first line is the law in one sentence. None asks the engine; see `witness.py`.

Laws of merges are asked when the protected branch moves, laws of acts at every mutation of the protected Environment, laws of the end
when the faults have stopped and people have approved what there was to approve.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from trimtab.core.decide.trail import broken
from trimtab.core.lifecycle.unmet import missing
from trimtab.core.model.change import Stage
from trimtab.testing.objects import Mutation

from . import worlds
from .witness import PROTECTED, ChangesWitness, Landing

if TYPE_CHECKING:
    from .simulation import ChangesPlay

MERGES: dict[str, Callable[[ChangesWitness, Landing], Iterator[str]]] = {}
ACTS: dict[str, Callable[[ChangesWitness, Mutation], Iterator[str]]] = {}
ENDS: dict[str, Callable[[ChangesPlay], Iterator[str]]] = {}

F = TypeVar("F", bound=Callable[..., Iterator[str]])


def law(book: dict[str, F]) -> Callable[[F], F]:
    def enter(check: F) -> F:
        book[check.__name__.replace("_", "-")] = check
        return check

    return enter


SAID = {
    "main-moves-by-changes-alone": "The protected branch moves by merges of Changes alone, and by emergencies of those who may.",
    "nothing-of-ours-breaks": "No error in Trimtab itself, and no question without an answer, whatever fails around it.",
}
"""Those that are asked on the way."""


def sentences() -> dict[str, str]:
    """Every law by name, with its sentence."""
    found = {name: (check.__doc__ or "").splitlines()[0] for book in (MERGES, ACTS, ENDS) for name, check in book.items()}
    return {**SAID, **found}


# --- when the branch moves --------------------------------------------------------------------------------------------------


@law(MERGES)
def a_change_is_merged_once(witness: ChangesWitness, landing: Landing) -> Iterator[str]:
    """A Change is merged once, and never again."""
    if landing.change in witness.merged:
        yield f"it has been merged as {witness.merged[landing.change][:7]}"


@law(MERGES)
def merges_are_of_what_was_looked_at(witness: ChangesWitness, landing: Landing) -> Iterator[str]:
    """What is merged is the newest patch set of a Change that is open and wanted, from the very commit that it was looked at on."""
    review = witness.reviews.get(landing.change)
    if review is None or review.change.stage != Stage.OPEN or review.merging is None or review.wish is None:
        yield "nobody has asked for it, or it is not open"
        return
    if review.change.draft:
        yield "it is a draft"
    if review.merging.head != review.change.head or (
        landing.commit.merged and landing.commit.merged[0].revision != review.change.head
    ):
        yield "it is not its newest patch set"
    if review.merging.base != landing.start.revision:
        yield f"it was looked at on {review.merging.base[:7]}, and the branch was at {landing.start.revision[:7]}"
    elif landing.onto is landing.start and witness.tree_id(landing.commit) != review.merging.tree:
        yield "its files are not those that were looked at"


@law(MERGES)
def merges_have_their_approvals(witness: ChangesWitness, landing: Landing) -> Iterator[str]:
    """What would alter a protected Environment is merged with the approvals that its rule asks for, of the plan that the merge names."""
    pairs = worlds.differing(landing.onto.files, landing.commit.files, PROTECTED)
    # What goes from Git may not run yet, or not any more: its removal is judged when it is carried out.
    pairs = frozenset(pair for pair in pairs if pair[1])
    rules = worlds.required(landing.onto.files) != worlds.required(landing.commit.files)
    if not pairs and not rules and PROTECTED not in landing.hashes:
        return
    said, asked = witness.approved(landing, PROTECTED), worlds.required(landing.start.files)
    if len(said) < asked:
        yield f"{len(said)} of {asked} people have approved {landing.hashes.get(PROTECTED, 'it')[:14]}"
        return
    shown = {(identity, digest) for _, identity, digest in said[0].acts}
    yield from (f"nobody was shown what becomes of {one[3]}" for one, digest in sorted(pairs) if (one, digest) not in shown)


@law(MERGES)
def the_merge_names_who_approved(witness: ChangesWitness, landing: Landing) -> Iterator[str]:
    """Whom a merge names as approvers has approved one of the plans that it names, or the content."""
    for who in sorted(landing.approvers):
        if not any(one.who == who and one.change == landing.change for one in witness.said):
            yield f"{who} has approved nothing of it"


@law(MERGES)
def what_is_broken_is_not_merged(witness: ChangesWitness, landing: Landing) -> Iterator[str]:
    """What cannot be rendered is not merged."""
    broken_now = {path for path, node in landing.commit.files.items() if node == b"{"}
    yield from (f"{path} cannot be read" for path in sorted(broken_now) if landing.onto.files.get(path) != b"{")


# --- when something happens in the protected Environment --------------------------------------------------------------------


@law(ACTS)
def the_protected_takes_what_was_approved(witness: ChangesWitness, mutation: Mutation) -> Iterator[str]:
    """Nothing reaches a protected Environment without the approvals its rule asks for, of the plan that is carried out; emergencies excepted."""
    identity, digest = mutation.ref.identity, mutation.digest
    if digest == witness.standing[identity] or (identity, digest) in witness.free:
        return
    if (mutation.action, identity, digest) in witness.cleared:
        return
    begun = witness.deployment(mutation) in witness.begun
    if begun and any((one, what) == (identity, digest) for _, one, what in witness.cleared):
        return
    yield "nobody has approved it"


# --- at the end -------------------------------------------------------------------------------------------------------------


@law(ENDS)
def no_push_is_lost(play: ChangesPlay) -> Iterator[str]:
    """Every patch set whose ref is in the repository stands in its Change, if that had not ended before."""
    for ref in play.remote.refs:
        if ref.startswith("refs/changes/"):
            number, patch_set = (int(part) for part in ref.split("/")[2:])
            review = play.witness.reviews.get(number)
            ended = review is not None and review.change.stage != Stage.OPEN and patch_set > 1
            if review is None or (not ended and not any(one.number == patch_set for one in review.change.patch_sets)):
                yield f"{ref} is in no change"


@law(ENDS)
def merges_are_recorded_once(play: ChangesPlay) -> Iterator[str]:
    """What is merged in Git is merged on the record, as that very commit, once; and the other way round."""
    witness = play.witness
    for number, revision in witness.merged.items():
        change = witness.reviews[number].change
        if (change.stage, change.merged) != (Stage.MERGED, revision):
            yield f"change {number} is merged as {revision[:7]}, and {change.stage} as {str(change.merged)[:7]} on the record"
    for number, review in witness.reviews.items():
        times = witness.told["change.merged", number]
        if times != (review.change.stage == Stage.MERGED):
            yield f"change {number} is {review.change.stage}, and its merge was told {times} times"


@law(ENDS)
def trails_hold(play: ChangesPlay) -> Iterator[str]:
    """The trail of every Change and of every Environment is unbroken."""
    for links in play.trails:
        yield from broken(links)


@law(ENDS)
def wanted_changes_get_merged(play: ChangesPlay) -> Iterator[str]:
    """Once faults stop, a Change that is wanted and lacks nothing is merged; of every other one it is told why it is not."""
    for number, review in sorted(play.witness.reviews.items()):
        if review.change.stage != Stage.OPEN:
            continue
        reasons = missing(review)
        if review.wish is not None and not reasons:
            yield f"change {number} lacks nothing, and is not merged"
        if play.left_alone:
            continue
        if number in play.wished and review.wish is None and not review.message:
            yield f"change {number}: its wish was forgotten"
        if not all(_told(reason) for reason in reasons):
            yield f"change {number} has what it needs, and still: {reasons}"


@law(ENDS)
def it_converges(play: ChangesPlay) -> Iterator[str]:
    """Once the faults stop and people have approved, what runs is what Git says."""
    for environment in () if play.left_alone else ("staging", PROTECTED):
        there = play.targets.get(environment).objects.there
        runs = {identity: thing.digest for identity, thing in there.items()}
        wanted = worlds.wanted(play.remote.refs["refs/heads/main"].files, environment)
        yield from (
            f"{one[3]} in {environment} is not as Git says" for one in runs.keys() | wanted if runs.get(one) != wanted.get(one)
        )


@law(ENDS)
def it_stays_quiet(play: ChangesPlay) -> Iterator[str]:
    """When nothing happens, nothing is recorded of a Change, however often it is looked at."""
    if play.quiet_writes and not play.left_alone:
        yield f"{play.quiet_writes} writes in {play.quiet_seconds:.0f} quiet seconds"


def _told(reason: str) -> bool:
    """What approvals and waiting do not cure."""
    return (
        reason.startswith(("it conflicts", "check ", "it is built on", "it comes to", "look at"))
        or "nobody can give it" in reason
    )
