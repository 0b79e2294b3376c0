"""What the words of a merge say for themselves: which Change, who approved, which plan. The other half of `engine/changes/messages.py`.

Only merges have these lines: a push with one of them is refused. They stand in the last paragraph.
"""

from __future__ import annotations

import re

from trimtab.core.model.change import TRAILER_APPROVED, TRAILER_CHANGE, TRAILER_PLAN

_CHANGE = re.compile(rf"^{TRAILER_CHANGE}: ([0-9]{{1,9}})$", re.MULTILINE)
_APPROVED = re.compile(rf"^{TRAILER_APPROVED}: (.+)$", re.MULTILINE)
_PLAN = re.compile(rf"^{TRAILER_PLAN}([a-z0-9-]+): (sha256:[0-9a-f]{{64}})$", re.MULTILINE)


def merge_of(message: str) -> int | None:
    """The number of the Change that a commit on a protected branch merges; None when it merges none."""
    found = _CHANGE.search(_last(message))
    return int(found[1]) if found else None


def approvers_of(message: str) -> list[str]:
    """``Sue Smith <sue@example.org>``, as the merge names them."""
    return _APPROVED.findall(_last(message))


def plans_of(message: str) -> dict[str, str]:
    """The hash of the approved plan, by Environment."""
    return dict(_PLAN.findall(_last(message)))


def _last(message: str) -> str:
    return message.rstrip().rpartition("\n\n")[2]
