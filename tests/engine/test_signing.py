"""Signatures and Changes on a whole engine with fakes: what reaches an Environment that requires signatures by a Change is signed by whom
its rule accepts, all of it; the merge is signed by the server, and such a merge alone opens the gate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from trimtab.core.decide.signatures import SERVER
from trimtab.core.lifecycle.review import Happening, Merge, MergeAsked, Merged, NotMerged, Review
from trimtab.core.lifecycle.unmet import missing
from trimtab.core.model.change import Check, Verdict
from trimtab.core.model.change import Stage as ChangeStage
from trimtab.core.model.config import Document, Placement, Signatures, Source
from trimtab.core.model.kind import Metadata
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Key
from trimtab.core.model.people import Grant, GrantSpec, Group, GroupSpec, User, UserSpec
from trimtab.core.model.protection import Protection, ProtectionSpec
from trimtab.core.model.rights import Principal
from trimtab.engine.changes.messages import signed_for
from trimtab.engine.changes.office import Office
from trimtab.engine.commands import Commands
from trimtab.engine.queries import Queries
from trimtab.ports.hosting import Person, RefUpdate
from trimtab.testing.factories import app, environment, files, manifest
from trimtab.testing.hosting import NOBODY, Pushed
from trimtab.testing.stage import Stage, on_stage

from .test_vouching import key

USERS = (
    User(Metadata("ada"), UserSpec(ssh_keys=[key(1)])),
    User(Metadata("bob"), UserSpec(ssh_keys=[key(2)])),
)
RIGHTS = (
    Group(Metadata("release"), GroupSpec(users=["ada"])),
    Grant(Metadata("all"), GrantSpec("admin", users=["ada", "bob"], emergency=True)),
)
GUARDED = environment("production", signatures=Signatures(required=True, by=["release"]))
PLACES = (environment("staging"), GUARDED)
SHOP, LAB = app("shop", "staging", Placement(name="production")), app("lab", "staging")
DOCUMENTS: tuple[Document, ...] = (*PLACES, SHOP, LAB, *USERS, *RIGHTS)
LABELLED: tuple[Document, ...] = (environment("staging", labels={"a": "b"}), *DOCUMENTS[1:])
WEB, DB, JOB = manifest("Process", "web"), manifest("Process", "db"), manifest("Process", "job")
ADA = Principal("ada")


class Shop:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.engine, self.task = stage.start()

    @property
    def office(self) -> Office:
        office = self.engine.current().office
        assert office is not None
        return office

    async def restart(self) -> None:
        await self.stage.stop(self.task)
        self.engine, self.task = self.stage.start()
        await asyncio.sleep(20)

    async def main(self) -> str:
        return (await self.stage.hosting.refs("shop"))["refs/heads/main"]

    async def write(
        self,
        *shop: Manifest,
        by: str = "",
        lab: Sequence[Manifest] = (),
        documents: Sequence[Document] = DOCUMENTS,
        on: str = "",
        message: str = "change",
        author: Person = NOBODY,
    ) -> str:
        files = self.stage.files(*documents, shop=list(shop), lab=list(lab))
        made = self.stage.hosting.write("shop", files, on or await self.main(), message=message, author=author)
        if by:
            self.stage.remotes.signed[made] = by
        return made

    async def push(self, revision: str, branch: str = "more", *options: str) -> Pushed:
        wanted = options or ("change",)
        return await self.stage.hosting.push(
            "shop", {f"refs/heads/{branch}": revision}, self.office.gate, who=ADA, options=wanted
        )

    async def merge(self, number: int = 1) -> Review:
        await self.office.desk.ask(number, MergeAsked("ada"))
        await asyncio.sleep(20)
        return self.review(number)

    def review(self, number: int = 1) -> Review:
        return self.office.desk.reviews[number]

    def check(self, number: int = 1) -> Check | None:
        return next((one for one in self.review(number).checks if one.name == "signatures"), None)

    def pending(self) -> str:
        found = self.engine.current().world.states[Key("production", "shop")].pending
        return found.message if found is not None else ""


def tell(story: Callable[[Shop], Coroutine[Any, Any, None]], *more: Document) -> None:
    """Production runs WEB, from a first commit that ada has signed."""

    async def on(stage: Stage) -> None:
        await stage.hosting.create("shop")
        stage.remotes.signed[stage.commit(*DOCUMENTS, *more, shop=[WEB], lab=[])] = "ada"
        shop = Shop(stage)
        await asyncio.sleep(30)
        assert stage.there("production").keys() == {"web"}
        await story(shop)
        await stage.stop(shop.task)

    on_stage(on, hosted="shop")


def test_a_signed_change_is_merged_signed_by_the_server_and_runs() -> None:
    """Each commit is ada's, so the merge says that it is signed for production, and the gate opens to it, after a restart too."""

    async def story(shop: Shop) -> None:
        one = await shop.write(WEB, DB, by="ada")
        await shop.push(await shop.write(WEB, DB, JOB, by="ada", on=one))
        assert shop.check() == Check("signatures", Verdict.PASSED)
        review = await shop.merge()
        assert review.change.stage == ChangeStage.MERGED
        merge = shop.stage.hosting.history("shop").commit(await shop.main())
        assert signed_for(merge.message) == {"production"}
        assert shop.stage.remotes.signed[merge.revision] == SERVER
        assert shop.stage.there("production").keys() == {"web", "db", "job"}
        await shop.restart()
        await shop.push(await shop.write(WEB, DB, by="ada"), "less")
        assert shop.check(2) == Check("signatures", Verdict.PASSED), "what it lands on is vouched for by the merge"
        assert (await shop.merge(2)).change.stage == ChangeStage.MERGED
        assert shop.engine.current().world.states[Key("production", "shop")].pending is None or "sign" not in shop.pending()

    tell(story)


@pytest.mark.parametrize(
    ("signer", "words"),
    [
        ("", "is not signed"),
        ("eve", "signed with a key that Git does not declare"),
        ("bob", "signed by bob, who is in none of release"),
    ],
)
def test_one_commit_that_is_not_signed_as_the_rule_asks_fails_the_check(signer: str, words: str) -> None:
    """The terminal names the commit, what is wrong with it, who can sign and how; it is merged once it is signed."""

    async def story(shop: Shop) -> None:
        one = await shop.write(WEB, JOB, by=signer)
        two = await shop.write(WEB, DB, by="ada", on=one)
        pushed = await shop.push(two)
        said = "\n".join(pushed.lines)
        assert f"for production: commit {one[:12]} {'is ' if signer else ''}{words}" in said
        assert "To be signed by a member of release: git rebase --exec 'git commit --amend --no-edit -S' origin/main" in said
        assert two[:12] not in said.partition("✗ signatures")[2].partition("still missing")[0]
        assert (await shop.merge()).change.stage == ChangeStage.OPEN
        assert shop.stage.there("production").keys() == {"web"}
        alone = await shop.write(WEB, DB, by="ada")
        assert "nothing is missing" in "\n".join((await shop.push(alone)).lines)
        assert (await shop.merge()).change.stage == ChangeStage.MERGED
        assert shop.stage.there("production").keys() == {"web", "db"}

    tell(story)


def test_a_key_that_the_change_declares_itself_signs_nothing() -> None:
    """Neither a User that it adds, nor a key or a seat in the Group, nor a rule that it takes away, judges the Change that brings it."""

    async def story(shop: Shop) -> None:
        eve = User(Metadata("eve"), UserSpec(ssh_keys=[key(3)]))
        mine = User(Metadata("ada"), UserSpec(ssh_keys=[key(1), key(3)]))
        seat = Group(Metadata("release"), GroupSpec(users=["ada", "bob"]))
        hers = Group(Metadata("release"), GroupSpec(users=["ada", "eve"]))
        attacks: dict[str, tuple[str, Sequence[Document]]] = {
            "a-user": ("eve", (*PLACES, SHOP, LAB, *USERS, eve, hers, RIGHTS[1])),
            "a-key": ("eve", (*PLACES, SHOP, LAB, mine, USERS[1], *RIGHTS)),
            "a-seat": ("bob", (*PLACES, SHOP, LAB, *USERS, seat, RIGHTS[1])),
            "no-rule": ("bob", (environment("staging"), environment("production"), SHOP, LAB, *USERS, *RIGHTS)),
        }
        for number, (branch, (signer, documents)) in enumerate(attacks.items(), 1):
            await shop.push(await shop.write(WEB, DB, by=signer, documents=documents), branch)
            check = shop.check(number)
            assert check is not None, branch
            assert check.verdict == Verdict.FAILED, branch
        # People alone, and nothing that runs: what is trusted would be other, so it has to be signed all the same.
        await shop.push(await shop.write(WEB, by="bob", documents=attacks["a-seat"][1]), "people")
        assert "who is in none of release" in "\n".join(missing(shop.review(5)))
        await shop.push(await shop.write(WEB, by="ada", documents=attacks["a-seat"][1]), "people")
        assert (await shop.merge(5)).change.stage == ChangeStage.MERGED
        await shop.push(await shop.write(WEB, DB, by="bob", documents=attacks["a-seat"][1]), "bobs")
        assert (await shop.merge(6)).change.stage == ChangeStage.MERGED, "the merge has brought the seat into force"
        assert shop.stage.there("production").keys() == {"web", "db"}

    tell(story)


def test_what_nobody_signed_below_is_not_let_in_by_a_merge_on_top() -> None:
    """An unsigned Change that reaches no guarded Environment is merged, unsigned. A signed one that lands on it has to be put on top of
    it first: then its signature is for all of that."""

    async def story(shop: Shop) -> None:
        before = await shop.main()
        await shop.push(await shop.write(WEB, lab=[JOB]), "lab")
        assert shop.check() is None, "it does not reach production"
        assert (await shop.merge()).change.stage == ChangeStage.MERGED
        below = await shop.main()
        assert below not in shop.stage.remotes.signed
        pushed = await shop.push(await shop.write(WEB, DB, by="ada", on=before), "more")
        said = "\n".join(pushed.lines)
        assert f"what it lands on is not vouched for: commit {below[:12]} is not signed" in said
        assert "--force-rebase" in said
        await shop.push(await shop.write(WEB, DB, by="ada", lab=[JOB]), "more")
        assert (await shop.merge(2)).change.stage == ChangeStage.MERGED
        assert shop.stage.there("production").keys() == {"web", "db"}

    tell(story)


def test_an_unsigned_emergency_push_stays_outside_whatever_is_merged_on_it() -> None:
    """It waits at the gate, and a Change beside it does not carry it in."""

    async def story(shop: Shop) -> None:
        before = await shop.main()
        await shop.push(await shop.write(WEB, JOB), "main", "emergency=the shop is down")
        await asyncio.sleep(10)
        assert "is not signed" in shop.pending()
        await shop.push(await shop.write(WEB, by="ada", on=before, lab=[DB]), "lab")
        await shop.merge(2)
        assert "is not signed" in shop.pending()
        assert shop.stage.there("production").keys() == {"web"}
        await shop.push(await shop.write(WEB, JOB, DB, by="ada"), "more")
        assert (await shop.merge(3)).change.stage == ChangeStage.MERGED
        assert shop.stage.there("production").keys() == {"web", "job", "db"}

    tell(story)


@pytest.mark.parametrize("signer", ["", "bob", "eve"])
def test_the_servers_name_and_trailers_without_its_signature_are_worth_nothing(signer: str) -> None:
    """Neither pushed past review nor written into the repository in any other way."""

    async def story(shop: Shop) -> None:
        message = "Merge change 9: mine\n\nChange: 9\nSigned-for: production"
        forged = await shop.write(WEB, DB, by=signer, message=message, author=Person("Trimtab", "trimtab@test", NOBODY.at))
        refused = await shop.push(forged, "main", "emergency=the shop is down")
        assert "which only merges have" in refused.refused["refs/heads/main"]
        await shop.stage.hosting.update_refs("shop", [RefUpdate("refs/heads/main", await shop.main(), forged)])
        await asyncio.sleep(10)
        assert f"commit {forged[:12]}" in shop.pending()
        assert shop.stage.there("production").keys() == {"web"}
        again = await shop.write(WEB, DB, by="ada", message=message)
        refused = await shop.push(again, "more")
        assert "which only merges have" in refused.refused["refs/heads/more"]

    tell(story)


def test_the_servers_own_signature_counts_only_for_what_it_says() -> None:
    """A commit that it signed for nothing, or for another Environment, opens no gate."""

    async def story(shop: Shop) -> None:
        for number, trailer in enumerate(["", "\n\nChange: 9\nSigned-for: staging", "\n\nSigned-for: production\n\nmore words"]):
            made = await shop.write(WEB, DB, by=SERVER, message=f"one {number}{trailer}", lab=[JOB] * (number == 1))
            shop.stage.remote.refs["refs/heads/main"] = shop.stage.hosting.history("shop").find(made)
            shop.stage.remote.wakes.send(None)
            await asyncio.sleep(80)
            assert "is a merge that is not signed for production" in shop.pending()
            assert shop.stage.there("production").keys() == {"web"}

    tell(story)


@pytest.mark.parametrize("way", ["squash", "rebase"])
def test_squashed_and_rebased_merges_are_signed_too(way: Any) -> None:
    """Every commit that the server writes is, and the last one says for what."""

    async def story(shop: Shop) -> None:
        before = await shop.main()
        one = await shop.write(WEB, DB, by="ada")
        await shop.push(await shop.write(WEB, DB, JOB, by="ada", on=one))
        assert (await shop.merge()).change.stage == ChangeStage.MERGED
        log = await shop.stage.hosting.history("shop").log(await shop.main(), without=(before,))
        assert len(log) == {"squash": 1, "rebase": 2}[way]
        assert {shop.stage.remotes.signed.get(commit.revision) for commit in log} == {SERVER}
        assert [signed_for(commit.message) for commit in log[:1]] == [{"production"}]
        assert shop.stage.there("production").keys() == {"web", "db", "job"}

    tell(story, Protection(Metadata("main"), ProtectionSpec(branches=["main"], merge=[way])))


def test_a_server_that_cannot_sign_says_so_and_merges_the_others() -> None:
    """What reaches a guarded Environment waits with the remedy; what reaches none is merged without a signature."""

    async def story(shop: Shop) -> None:
        shop.stage.hosting.unsigning = "ssh-keygen cannot be run; install it"
        pushed = await shop.push(await shop.write(WEB, DB, by="ada"))
        assert "this server cannot sign what it merges: ssh-keygen cannot be run; install it" in "\n".join(pushed.lines)
        assert (await shop.merge()).change.stage == ChangeStage.OPEN
        await shop.push(await shop.write(WEB, lab=[JOB]), "lab")
        assert (await shop.merge(2)).change.stage == ChangeStage.MERGED
        assert await shop.main() not in shop.stage.remotes.signed

    tell(story)


def test_behind_an_unsigned_change_that_waits_with_it_a_signed_one_is_not_merged() -> None:
    """Together they would hold; but the unsigned one would be below it then, so it is told to go on top of that first."""

    async def story(shop: Shop) -> None:
        base = await shop.main()
        await shop.push(await shop.write(WEB, on=base, documents=LABELLED), "one")
        await shop.push(await shop.write(WEB, DB, by="ada", on=base), "two")
        await shop.push(await shop.write(WEB, by="ada", on=base, lab=[JOB]), "three")
        for number in (1, 2, 3):
            await shop.office.desk.ask(number, MergeAsked("ada"))
        await asyncio.sleep(60)
        assert shop.review(1).change.stage == ChangeStage.MERGED
        assert shop.review(2).change.stage == ChangeStage.OPEN
        assert "what it lands on is not vouched for" in "\n".join(missing(shop.review(2)))
        assert shop.review(3).change.stage == ChangeStage.MERGED, "it reaches no guarded environment"
        assert await shop.main() not in shop.stage.remotes.signed
        assert shop.stage.there("production").keys() == {"web"}

    tell(story)


async def together(shop: Shop, *numbers: int) -> list[Happening]:
    """These Changes, asked of the queue at one moment."""
    queue, acts = shop.office.queue, []
    for number in numbers:
        review = shop.review(number)
        assert review.candidate is not None
        acts.append((review, Merge(review.candidate, "ada", review.plans, ())))
    return list(await asyncio.gather(*(queue.merge(review, act) for review, act in acts)))


def test_a_train_of_signed_changes_goes_whole_and_each_merge_is_signed() -> None:
    async def story(shop: Shop) -> None:
        base = await shop.main()
        await shop.push(await shop.write(WEB, DB, by="ada", on=base), "one")
        await shop.push(await shop.write(WEB, by="ada", on=base, lab=[JOB]), "two")
        happened = await together(shop, 1, 2)
        assert all(isinstance(one, Merged) for one in happened)
        log = await shop.stage.hosting.history("shop").log(await shop.main(), without=(base,))
        merges = [commit for commit in log if len(commit.parents) == 2]
        assert [signed_for(commit.message) for commit in merges] == [{"production"}] * 2
        assert [shop.stage.remotes.signed[commit.revision] for commit in merges] == [SERVER] * 2

    tell(story)


def test_in_a_train_nothing_that_is_signed_rides_on_what_is_not() -> None:
    """The unsigned one goes; those behind it would lose what they could be signed for, so they are looked at again on what is there then."""

    async def story(shop: Shop) -> None:
        base = await shop.main()
        await shop.push(await shop.write(WEB, on=base, documents=LABELLED), "one")
        await shop.push(await shop.write(WEB, DB, by="ada", on=base), "two")
        first, second = await together(shop, 1, 2)
        assert isinstance(first, Merged)
        assert isinstance(second, NotMerged)
        assert second.moved
        assert await shop.main() not in shop.stage.remotes.signed

    tell(story)


def test_changes_that_are_merged_together_are_signed_one_by_one() -> None:
    """The signed ones for the Environment, what is unsigned behind them for none."""

    async def story(shop: Shop) -> None:
        base = await shop.main()
        await shop.push(await shop.write(WEB, DB, by="ada", on=base), "one")
        await shop.push(await shop.write(WEB, by="ada", on=base, lab=[JOB]), "two")
        await shop.push(await shop.write(WEB, on=base, documents=LABELLED), "three")
        for number in (1, 2, 3):
            await shop.office.desk.ask(number, MergeAsked("ada"))
        await asyncio.sleep(60)
        assert [shop.review(number).change.stage for number in (1, 2, 3)] == [ChangeStage.MERGED] * 3
        log = await shop.stage.hosting.history("shop").log(await shop.main(), without=(base,))
        merges = {commit.message.partition(":")[0]: signed_for(commit.message) for commit in log if len(commit.parents) == 2}
        assert merges["Merge change 1"] == {"production"}
        assert merges["Merge change 3"] == set()
        assert shop.stage.there("production").keys() == {"web", "db"}

    tell(story)


def test_doctor_tells_of_a_server_that_cannot_sign_where_that_matters() -> None:
    async def story(shop: Shop) -> None:
        async def told() -> list[str]:
            found = (await Queries(shop.engine).doctor()).findings
            return [f"{one.state}: {one.message}" for one in found if one.check == "signing"]

        assert await told() == []
        shop.stage.hosting.unsigning = "ssh-keygen cannot be run; install it"
        assert await told() == ["failed: merges cannot be signed: ssh-keygen cannot be run; install it"]

    tell(story)


def test_content_of_a_second_repository_needs_a_commit_of_each() -> None:
    """A merge that is signed in the one runs with what the other holds, as long as that is signed for the Environment too."""

    async def story(shop: Shop) -> None:
        hosting, remotes = shop.stage.hosting, shop.stage.remotes
        await hosting.create("prices")
        prices = shop.stage.remotes.get("hosted:prices")
        remotes.signed[prices.commit(files("all", DB), whole=True)] = "ada"
        elsewhere = app("prices", "production", source=Source(repository="hosted:prices", path="all"))
        remotes.signed[shop.stage.commit(*DOCUMENTS, elsewhere, shop=[WEB], lab=[])] = "ada"
        await asyncio.sleep(30)
        assert shop.stage.there("production").keys() == {"web", "db"}
        base = (await hosting.refs("prices"))["refs/heads/main"]
        for number, signer in enumerate(("", "ada"), 1):
            more = hosting.write("prices", files("all", DB, manifest("Process", f"by-{signer or 'nobody'}")), base)
            remotes.signed[more] = signer
            await hosting.push("prices", {f"refs/heads/n{number}": more}, shop.office.gate, who=ADA, options=("change",))
            await shop.merge(number)
        assert [shop.review(number).change.stage for number in (1, 2)] == [ChangeStage.OPEN, ChangeStage.MERGED]
        assert "by-ada" in shop.stage.there("production")
        assert "by-nobody" not in shop.stage.there("production")

    tell(story)


def test_a_rollback_that_nobody_signed_waits_for_a_signature_like_any_change() -> None:
    """The server signs no commit of its own making for a guarded Environment; whoever may signs it, and it is merged."""

    async def story(shop: Shop) -> None:
        await shop.push(await shop.write(WEB, DB, by="ada"))
        await shop.merge()
        await Commands(shop.engine).rollback("shop", "production", "", "ada")
        await asyncio.sleep(10)
        review = shop.review(2)
        assert f"commit {review.change.head[:12]} is not signed" in "\n".join(missing(review))
        assert review.change.head not in shop.stage.remotes.signed
        await shop.push(await shop.write(WEB, by="ada"), "back", "change=2")
        assert shop.check(2) == Check("signatures", Verdict.PASSED)

    tell(story)
