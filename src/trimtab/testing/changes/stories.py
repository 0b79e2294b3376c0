"""What happens in a play with Changes: developers, reviewers, operators, and the world.

Each operation is a function of the play, with a weight; it says what it did, for the trace ("" when there was nothing to do).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from trimtab.core.lifecycle.review import Closed, Drafted, MergeAsked, MergeTakenBack, Reopened, Review, Unapproved
from trimtab.core.model.change import Stage

from . import worlds
from .witness import PROTECTED

if TYPE_CHECKING:
    from .simulation import ChangesPlay

Operation = Callable[["ChangesPlay"], Awaitable[str]]
OPERATIONS: dict[Operation, int] = {}
HEADS = "refs/heads/"


def operation(weight: int) -> Callable[[Operation], Operation]:
    def enter(made: Operation) -> Operation:
        OPERATIONS[made] = weight
        return made

    return enter


def some(play: ChangesPlay) -> Review | None:
    found = play.open()
    return play.chance.choice(found) if found else None


# --- developers -------------------------------------------------------------------------------------------------------------


@operation(8)
async def propose(play: ChangesPlay) -> str:
    """Somebody pushes a branch with `-o change`, or a draft of one."""
    revision, why = play.commit()
    play.branches += 1
    draft = "draft" if play.chance.random() < 0.1 else ""
    await play.push({f"{HEADS}b{play.branches}": revision}, play.chance.choice(worlds.AUTHORS), "change", draft)
    return f"propose from b{play.branches}: {why}"


@operation(5)
async def propose_without_a_branch(play: ChangesPlay) -> str:
    """Somebody pushes to refs/for/main."""
    revision, why = play.commit()
    await play.push({"refs/for/main": revision}, play.chance.choice(worlds.AUTHORS))
    return f"propose for main: {why}"


@operation(3)
async def stack(play: ChangesPlay) -> str:
    """Somebody builds on a Change that is open."""
    below = some(play)
    if below is None:
        return ""
    revision, why = play.commit(below.change.head)
    play.branches += 1
    await play.push({f"{HEADS}b{play.branches}": revision}, play.chance.choice(worlds.AUTHORS), "change")
    return f"propose on change {below.change.number}: {why}"


@operation(5)
async def push_again(play: ChangesPlay) -> str:
    """A new patch set, on top of the one before or in its place."""
    review = some(play)
    if review is None:
        return ""
    change = review.change
    revision, why = play.commit(change.head) if play.chance.random() < 0.5 else play.commit()
    ref = f"{HEADS}{change.source}" if change.source else "refs/for/main"
    option = "" if change.source else f"change={change.number}"
    await play.push({ref: revision}, play.chance.choice((change.author, "rob")), option)
    return f"push change {change.number} again: {why}"


@operation(2)
async def delete_a_branch(play: ChangesPlay) -> str:
    """The branch that a Change came from is deleted."""
    review = some(play)
    if review is None or not review.change.source:
        return ""
    await play.push({f"{HEADS}{review.change.source}": ""}, review.change.author)
    return f"delete {review.change.source}"


@operation(2)
async def push_directly(play: ChangesPlay) -> str:
    """Somebody pushes to the protected branch itself, forward, sideways, or away."""
    refs = play.remote.refs
    below = play.chance.choice([one.revision for one in (refs[f"{HEADS}main"], *refs[f"{HEADS}main"].parents)])
    revision = play.chance.choice((play.commit(below)[0], ""))
    await play.push({f"{HEADS}main": revision}, play.chance.choice(worlds.AUTHORS), play.chance.choice(("", "new")))
    return f"push {revision[:7]} to main"


@operation(2)
async def fire(play: ChangesPlay) -> str:
    """An emergency push, by somebody who may or by somebody who may not."""
    revision, why = play.commit(sound=True)
    who = play.chance.choice((*worlds.FIREMEN, *worlds.AUTHORS))
    if who in worlds.FIREMEN:
        play.witness.emergency = revision
    await play.push({f"{HEADS}main": revision}, who, "emergency=something is on fire")
    return f"emergency push by {who}: {why}"


# --- people who decide ------------------------------------------------------------------------------------------------------


@operation(12)
async def approve(play: ChangesPlay) -> str:
    """A few people approve what they are shown; authors and those who may not among them."""
    review = some(play)
    if review is None:
        return ""
    shown = play.plans(review.change.number)
    for who in play.chance.sample((*worlds.REVIEWERS, *worlds.REVIEWERS, "eve"), 3):
        await play.approve(who, play.chance.choice(shown[1:] or shown))
    return f"approve change {review.change.number}"


@operation(4)
async def approve_what_was_shown_once(play: ChangesPlay) -> str:
    """Somebody approves what they were shown long ago."""
    if not play.shown:
        return ""
    shown = play.chance.choice(play.shown)
    await play.approve(play.chance.choice(worlds.REVIEWERS), shown)
    return f"approve {shown.hash[:14]} of change {shown.change}"


@operation(2)
async def take_an_approval_back(play: ChangesPlay) -> str:
    """Somebody takes an approval back."""
    review = some(play)
    if review is None or not review.approvals:
        return ""
    who, number = play.chance.choice(review.approvals).who, review.change.number
    await play.say(number, Unapproved(who))
    return f"{who} takes back what they approved of change {number}"


@operation(10)
async def ask_for_a_merge(play: ChangesPlay) -> str:
    """Somebody wants a Change merged, ready or not."""
    review = some(play)
    if review is None:
        return ""
    await play.say(review.change.number, MergeAsked(play.chance.choice(worlds.AUTHORS)))
    return f"ask for the merge of change {review.change.number}"


@operation(5)
async def ask_for_all_at_once(play: ChangesPlay) -> str:
    """Several people want several Changes approved and merged at the same moment."""
    numbers = [one.change.number for one in play.open()]
    for number in numbers:
        for shown in play.plans(number)[1:]:
            await asyncio.gather(*(play.approve(who, shown) for who in worlds.REVIEWERS))
    await asyncio.gather(*(play.say(number, MergeAsked("ada")) for number in numbers))
    return f"approve {numbers} and ask for their merges" if numbers else ""


@operation(1)
async def think_better_of_it(play: ChangesPlay) -> str:
    """Somebody does not want a merge any more."""
    review = some(play)
    if review is None:
        return ""
    await play.say(review.change.number, MergeTakenBack("ada"))
    return f"take the wish for change {review.change.number} back"


@operation(2)
async def close(play: ChangesPlay) -> str:
    """Somebody closes a Change, perhaps while it is being merged."""
    review = some(play)
    if review is None:
        return ""
    number = review.change.number
    first = [play.say(number, MergeAsked("ada"))] if play.chance.random() < 0.5 else []
    await asyncio.gather(*first, play.say(number, Closed("ada")))
    return f"close change {number}"


@operation(1)
async def reopen(play: ChangesPlay) -> str:
    """Somebody opens a Change again."""
    closed = [number for number, one in sorted(play.witness.reviews.items()) if one.change.stage == Stage.CLOSED]
    if not closed:
        return ""
    number = play.chance.choice(closed)
    await play.say(number, Reopened("ada"))
    return f"reopen change {number}"


@operation(1)
async def mark_as_a_draft(play: ChangesPlay) -> str:
    """Somebody marks a Change as a draft, or as ready."""
    review = some(play)
    if review is None:
        return ""
    await play.say(review.change.number, Drafted(draft=not review.change.draft, who="ada"))
    return f"change {review.change.number} is a draft or not"


@operation(3)
async def let_in_what_is_held(play: ChangesPlay) -> str:
    """Somebody approves what is held in the protected Environment."""
    return await play.let_in()


# --- the world --------------------------------------------------------------------------------------------------------------


@operation(4)
async def alter_by_hand(play: ChangesPlay) -> str:
    """Somebody edits or deletes what runs."""
    target = play.targets.get(play.chance.choice(("staging", PROTECTED, PROTECTED)))
    if not target.objects.there:
        return ""
    identity = play.chance.choice(sorted(target.objects.there))
    if play.chance.random() < 0.5:
        target.delete(identity)
    else:
        target.drift(identity, {**target.objects.there[identity].body, "spec": {"version": "by hand"}})
    return f"alter {identity[3]} in {target.environment} by hand"


@operation(1)
async def a_target_is_away(play: ChangesPlay) -> str:
    """A target does not answer for a while."""
    target = play.targets.get(play.chance.choice(("staging", PROTECTED)))
    target.down = not target.down
    return f"{target.environment} is {'down' if target.down else 'up'}"


@operation(3)
async def kill(play: ChangesPlay) -> str:
    """A server is killed, at no particular line."""
    replica = play.chance.choice(play.replicas)
    play.faults.crash(replica.process)
    return f"kill {replica.process}"
