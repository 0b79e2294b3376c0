"""Which files differ between two commits: subtrees with equal ids are skipped, so the cost is that of what changed."""

from __future__ import annotations

from collections.abc import Iterator

from .objects import Child, Objects

TREES_MAX = 200_000


def changed_paths(objects: Objects, old_tree: str, new_tree: str, *, paths_max: int) -> frozenset[str] | None:
    """Paths of files, links and submodules that are new, gone or different; None when there are more than ``paths_max``, or when
    more than `TREES_MAX` directories differ.
    """
    found: set[str] = set()
    todo: list[tuple[str, str | None, str | None]] = [("", old_tree, new_tree)]
    for _ in range(TREES_MAX):
        if not todo:
            return frozenset(found)
        base, old_id, new_id = todo.pop()
        for path, before, after in _differing(objects, base, old_id, new_id):
            if _leaf(before) or _leaf(after):
                found.add(path)
            if _tree_id(before) != _tree_id(after):
                todo.append((path, _tree_id(before), _tree_id(after)))
        if len(found) > paths_max:
            return None
    return None


def _differing(
    objects: Objects, base: str, old_id: str | None, new_id: str | None
) -> Iterator[tuple[str, Child | None, Child | None]]:
    old = objects.tree(old_id) if old_id else {}
    new = objects.tree(new_id) if new_id else {}
    for name in old.keys() | new.keys():
        before, after = old.get(name), new.get(name)
        if before != after:
            yield (f"{base}/{name}" if base else name), before, after


def _leaf(child: Child | None) -> bool:
    return child is not None and not child.is_tree


def _tree_id(child: Child | None) -> str | None:
    return child.id if child is not None and child.is_tree else None
