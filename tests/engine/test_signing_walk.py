"""A random walk of pushes, merges, emergencies and restarts with several signers, for the law of signatures: what runs in an Environment
that requires them stood in the tree of a commit that somebody signed whom its rule accepts.
"""

from __future__ import annotations

import asyncio
import random

from trimtab.core.lifecycle.review import MergeAsked
from trimtab.core.model.change import Stage as ChangeStage
from trimtab.core.model.config import Document
from trimtab.core.model.errors import TrimtabError
from trimtab.core.model.kind import Metadata
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.protection import Protection, ProtectionSpec
from trimtab.ports.hosting import Way
from trimtab.testing.factories import manifest
from trimtab.testing.stage import Stage, on_stage

from .test_signing import DOCUMENTS, WEB, Shop

SEEDS = (0, 5, 9, 14)
"""Of the first two dozen; without a look at what a merge lands on, the last of these breaks the law."""
STEPS = 24
WAYS: tuple[Way, ...] = ("merge", "squash", "rebase")
SIGNERS = (*("ada",) * 5, "bob", "eve", "")


class Walk:
    """Each commit adds one object to the shop, or to the lab; ``vouched`` are those of trees that ada has signed."""

    def __init__(self, shop: Shop, documents: tuple[Document, ...], chance: random.Random) -> None:
        self.shop, self.documents, self.chance = shop, documents, chance
        self.trees: dict[str, tuple[tuple[Manifest, ...], tuple[Manifest, ...]]] = {}
        self.vouched = {"web"}
        self.made = 0

    async def write(self, on: str) -> str:
        shop, lab = await self.at(on)
        self.made += 1
        more = (manifest("Process", f"p{self.made}"),)
        shop, lab = (shop + more, lab) if self.chance.random() < 0.6 else (shop, lab + more)
        signer = self.chance.choice(SIGNERS)
        revision = await self.shop.write(*shop, lab=lab, documents=self.documents, on=on, by=signer)
        self.trees[revision] = shop, lab
        if signer == "ada":
            self.vouched |= {one.ref.name for one in (*shop, *lab)}
        return revision

    async def at(self, revision: str) -> tuple[tuple[Manifest, ...], tuple[Manifest, ...]]:
        """What a commit holds; of a merge, which the server made, what its files say."""
        if revision not in self.trees:
            history = self.shop.stage.hosting.history("shop")
            known = history.find(revision).files
            places = [[one for one in self.all() if f"apps/{name}/{self.file(one)}" in known] for name in ("shop", "lab")]
            self.trees[revision] = tuple(places[0]), tuple(places[1])
        return self.trees[revision]

    def all(self) -> list[Manifest]:
        return [WEB, *(manifest("Process", f"p{number}") for number in range(1, self.made + 1))]

    def file(self, one: Manifest) -> str:
        return next(iter(self.shop.stage.files(x=[one]).keys() - {"apps/x/README"})).removeprefix("apps/x/")

    async def step(self) -> None:
        main = await self.shop.main()
        match self.chance.choice((*("propose",) * 4, *("merge",) * 4, "emergency", "restart")):
            case "propose":
                history = await self.shop.stage.hosting.history("shop").log(main, commits_max=4)
                head = await self.write(main if self.chance.random() < 0.5 else self.chance.choice(history).revision)
                if self.chance.random() < 0.3:
                    head = await self.write(head)
                await self.shop.push(head, f"b{self.made}")
            case "merge":
                for number in [
                    one for one, review in self.shop.office.desk.reviews.items() if review.change.stage == ChangeStage.OPEN
                ]:
                    try:
                        await self.shop.office.desk.ask(number, MergeAsked("ada"))
                    except TrimtabError:
                        continue
            case "emergency":
                await self.shop.push(await self.write(main), "main", "emergency=the shop is down")
            case "restart":
                await self.shop.restart()
        await asyncio.sleep(self.chance.choice((1, 20, 40)))


def walked(seed: int) -> int:
    """How many objects ran. Fails where the law is broken."""
    chance = random.Random(seed)
    protection = Protection(Metadata("main"), ProtectionSpec(branches=["main"], merge=[chance.choice(WAYS)]))
    documents = (*DOCUMENTS, protection)
    ran: set[str] = set()

    async def on(stage: Stage) -> None:
        await stage.hosting.create("shop")
        stage.remotes.signed[stage.commit(*documents, shop=[WEB], lab=[])] = "ada"
        walk = Walk(Shop(stage), documents, chance)
        await asyncio.sleep(30)
        for _ in range(STEPS):
            await walk.step()
            ran.update(stage.there("production"))
            assert ran <= walk.vouched, f"seed {seed}"
        await stage.stop(walk.shop.task)

    on_stage(on, hosted="shop")
    return len(ran)


def test_law_what_runs_where_signatures_are_required_was_signed() -> None:
    """Whatever is merged in whichever order, together or not, past review, and across restarts; and the walks do get somewhere."""
    assert sum(walked(seed) for seed in SEEDS) > 3 * len(SEEDS)
