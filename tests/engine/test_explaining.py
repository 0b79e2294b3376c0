"""The chain from an object that is not well down to what is to blame."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.model.health import HealthStatus
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.tree import NO_TREE, Child, Tree
from trimtab.engine.queries.explaining import chain

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
