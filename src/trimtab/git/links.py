"""Does a symbolic link leave the tree that it is in? Pure; answered on names, before anything is on disk.

A link's target is walked component by component as the kernel would, through the tree's other links, because ``a/../b`` means
something else when ``a`` is a link.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

HOPS_MAX = 40  # as the kernel's own limit: path_resolution(7)


def leaves(links: Mapping[str, str], path: str) -> bool:
    """True when following the link at ``path`` could get outside, or never ends. ``links`` is every link of the tree: path to target.

    >>> leaves({"a/up": ".."}, "a/up"), leaves({"a/up": "../.."}, "a/up"), leaves({"a": "/etc"}, "a")
    (False, True, True)
    """
    at = path.split("/")[:-1]
    todo = deque(_parts(links[path]))
    hops = 0
    if links[path].startswith("/"):
        return True
    while todo:
        part = todo.popleft()
        if part == "..":
            if not at:
                return True
            at.pop()
            continue
        at.append(part)
        target = links.get("/".join(at))
        if target is None:
            continue
        hops += 1
        if target.startswith("/") or hops > HOPS_MAX:
            return True
        at.pop()
        todo.extendleft(reversed(_parts(target)))
    return False


def _parts(target: str) -> list[str]:
    return [part for part in target.split("/") if part not in ("", ".")]
