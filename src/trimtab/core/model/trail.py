"""The trail: facts that must stay provable, one chain for each Change and each Environment. Never pruned, never changed.

A link's hash covers what it says and the hash of the link before it, so that nothing can be altered, taken out or slipped in without
every later hash being another. `core/decide/trail.py` makes and verifies them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


class Link(msgspec.Struct, frozen=True, rename="camel"):
    """``trail`` is ``change/12`` or ``environment/production``; ``number`` counts from 1 without gaps. ``before`` is the hash of the link
    before ("" for the first); ``hash`` is this one's.
    """

    trail: str
    number: int
    time: datetime
    kind: str
    message: str
    application: str = ""
    environment: str = ""
    revision: str = ""
    data: dict[str, Any] = {}
    before: str = ""
    hash: str = ""
