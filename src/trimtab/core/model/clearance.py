"""A clearance: content that the merge of an approved Change lets into a protected Environment, by the plan that was approved."""

from __future__ import annotations

import msgspec


class Clearance(msgspec.Struct, frozen=True, rename="camel"):
    """``hash`` is that of the Application's plan as it was approved with ``change``, by ``approvers``."""

    change: int
    hash: str
    approvers: tuple[str, ...] = ()
