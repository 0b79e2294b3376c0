"""What is said to happen next; and the chain from an object that is not well down to what is to blame."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.model.health import HealthStatus
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Key, ObjectRef
from trimtab.core.model.plan import Plan
from trimtab.core.model.tree import NO_TREE, Child, Tree
from trimtab.core.model.views import Reason
from trimtab.engine.engine import Engine
from trimtab.engine.queries.applications import ApplicationQueries
from trimtab.engine.queries.explaining import MENDS, chain
from trimtab.testing.factories import app, environment, manifest
from trimtab.testing.faults import Fault
from trimtab.testing.stage import Stage, on_stage

WELL, ILL = HealthStatus.HEALTHY, HealthStatus.DEGRADED


def child(name: str, health: HealthStatus = ILL, *below: Child) -> Child:
    return Child(ObjectRef("v1", "Part", "", name), health, children=below)


def names(tree: Tree, to: str = "") -> list[str]:
    return [one.object.name for one in chain(tree, ObjectRef("v1", "Part", "", to) if to else None)]


def test_it_leads_to_what_is_to_blame_past_others_that_are_not_well() -> None:
    tree = Tree((child("a", ILL, child("b")), child("c", ILL, child("d"), child("e"))))
    assert names(tree, "e") == ["c", "e"]


def test_where_nothing_is_to_blame_it_leads_to_the_first_that_is_not_well() -> None:
    tree = Tree((child("a", ILL, child("b", ILL, child("c", WELL))),))
    assert names(tree) == names(tree, "elsewhere") == ["a", "b"]
    assert names(Tree((child("a", WELL),))) == names(NO_TREE) == []


parts = st.recursive(
    st.builds(child, st.text("abcd", min_size=1, max_size=3), st.sampled_from([WELL, ILL])),
    lambda below: st.builds(
        lambda name, health, more: child(name, health, *more),
        st.text("abcd", min_size=1),
        st.sampled_from([WELL, ILL]),
        st.lists(below, max_size=3),
    ),
    max_leaves=12,
)


@given(st.lists(parts, max_size=4), st.text("abcd", min_size=1, max_size=3))
def test_each_link_is_a_child_of_the_one_before(children: list[Child], to: str) -> None:
    """And it ends at what is to blame, or has only links that are not well."""
    links = chain(Tree(tuple(children)), ObjectRef("v1", "Part", "", to))
    level: tuple[Child, ...] = tuple(children)
    for link in links:
        assert link in level
        level = link.children
    assert not links or links[-1].object.name == to or all(link.health == ILL for link in links)


def web(version: int = 1, **spec: object) -> Manifest:
    return manifest("Process", "web", version=version, **spec)


async def reasons(stage: Stage, engine: Engine, *manifests: Manifest) -> dict[str, Reason]:
    """What is explained a while after they were committed, by its state and its subject."""
    stage.commit(environment(), app("shop"), shop=list(manifests))
    await asyncio.sleep(10)
    (view,) = await ApplicationQueries(engine).explain("shop")
    return {f"{reason.state} {reason.subject}": reason for reason in view.reasons}


def test_a_refusal_that_no_other_try_mends_is_not_told_as_one_that_passes() -> None:
    """Of content as a whole, which is rendered all right, and of one Step; what stands behind it waits for it."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        assert await reasons(stage, engine, web()) == {}
        (whole,) = (await reasons(stage, engine, web(2, invalid="unknown field"))).values()
        assert (whole.state, whole.next) == ("refused", f"what runs stays; {MENDS}")
        (shown,) = (await ApplicationQueries(engine).application("shop")).applications
        assert [one.sync for one in shown.objects] == ["unknown"], "what was refused was compared with nothing"
        said = await reasons(stage, engine, web(3, refuses="no such account"), manifest("Process", "job", wave=1))
        assert said["to update Process/web"].next == MENDS
        assert said["to create Process/job"].reason.startswith("it waits for the next try: Process/web failed ")
        assert said["to create Process/job"].next.startswith("the next look is in ")
        await stage.stop(task)

    on_stage(story)


def test_what_may_pass_by_itself_is_told_with_the_next_look() -> None:
    """A call that failed on its way is made again."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        for _ in range(20):
            stage.faults.plan("target.apply:before", Fault.FAILED)
        said = await reasons(stage, engine, web())
        assert said["to create Process/web"].next.startswith("the next look is in ")
        await stage.stop(task)

    on_stage(story)


def test_what_has_no_effect_on_a_target_is_noted_and_holds_nothing() -> None:
    """In the plan and in the explanation, with its place; it changes no hash, so that no approval depends on it."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        said = await reasons(stage, engine, web(vain="this does nothing here"))
        assert said["without effect shop@host"].reason == "apps/shop/process-web.json: Process/web: this does nothing here"
        assert stage.phase(engine, "shop") == "healthy"
        shown = await ApplicationQueries(engine).plan("shop")
        assert [(note.file, note.message) for note in shown.notes] == [
            ("apps/shop/process-web.json", "Process/web: this does nothing here")
        ]
        made = engine.current().world.live[Key("host", "shop")].plan
        assert made is not None
        assert made.hash == Plan(made.application, made.environment, made.steps, made.holds).hash
        await stage.stop(task)

    on_stage(story)
