"""What stands behind an object on its target: replica sets and pods, instances of a process. Read when somebody looks, never watched."""

from __future__ import annotations

from datetime import datetime

import msgspec

from .health import HealthStatus
from .names import ObjectRef

CHILDREN_MAX = 50
"""More than this many children of one object are counted, not listed."""


class Child(msgspec.Struct, frozen=True, rename="camel"):
    """``ready`` is "2/3", or "" where that means nothing. ``more`` children are not listed because they are too many, ``folded`` ones
    because they are over and hold nothing (an old replica set).
    """

    object: ObjectRef
    health: HealthStatus
    message: str = ""
    ready: str = ""
    restarts: int = 0
    since: datetime | None = None
    children: tuple[Child, ...] = ()
    more: int = 0
    folded: int = 0


class Tree(msgspec.Struct, frozen=True):
    """The children of one object; nothing where it has none or none can have any."""

    children: tuple[Child, ...] = ()
    more: int = 0
    folded: int = 0


NO_TREE = Tree()
