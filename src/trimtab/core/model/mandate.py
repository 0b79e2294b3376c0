"""What an Application does at a target in somebody's name, and where an object is there. The words are the target's; core compares them."""

from __future__ import annotations

from typing import Literal

import msgspec


class Mandate(msgspec.Struct, frozen=True):
    """Under which what an Application wants is previewed, applied and removed.

    ``account`` is whose rights are used ("": Trimtab's own), a name that only the target understands. ``conflicts`` is what happens when
    somebody else has set a field that Git sets ("": the target's own rule).
    """

    account: str = ""
    conflicts: Literal["", "force", "fail"] = ""


OWN = Mandate()
"""What Trimtab does in its own name."""


class Location(msgspec.Struct, frozen=True):
    """The namespace that an object lives in, or that it is; ``wide``: it lives in none, so what it says may reach into all of them."""

    namespace: str = ""
    wide: bool = True
