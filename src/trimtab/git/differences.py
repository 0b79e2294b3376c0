"""Which files differ between two commits: subtrees with equal ids are skipped, so the cost is that of what changed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from .objects import Child, Objects


def changed_paths(objects: Objects, old_tree: str, new_tree: str, *, paths_max: int) -> frozenset[str] | None:
    """Paths of files, links and submodules that are new, gone or different; None when there are more than ``paths_max``."""
    found = frozenset(islice(_between(objects, "", old_tree, new_tree), paths_max + 1))
    return found if len(found) <= paths_max else None


def _between(objects: Objects, base: str, old_id: str | None, new_id: str | None) -> Iterator[str]:
    if old_id == new_id:
        return
    old = objects.tree(old_id) if old_id else {}
    new = objects.tree(new_id) if new_id else {}
    for name in old.keys() | new.keys():
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        path = f"{base}/{name}" if base else name
        if _leaf(before) or _leaf(after):
            yield path
        yield from _between(objects, path, _tree_id(before), _tree_id(after))


def _leaf(child: Child | None) -> bool:
    return child is not None and not child.is_tree


def _tree_id(child: Child | None) -> str | None:
    return child.id if child is not None and child.is_tree else None
