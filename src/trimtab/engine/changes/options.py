"""The options of `git push -o`, as far as Changes know them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from trimtab.core.model.errors import UserError
from trimtab.core.model.text import escaped, one_line

KNOWN = {
    "change": "`change`, `change=12`: open a Change, or go on with that one",
    "target": "`target=main`: the branch to be changed",
    "new": "`new`: open another Change, although this one descends from one of yours",
    "title": "`title=…`: what the Change is called",
    "description": "`description=…`: what there is to say of it",
    "draft": "`draft`: not to be merged yet",
    "emergency": "`emergency=REASON`: past review, with a right of its own",
}
REASON_CHARACTERS_MIN = 8


class Options(msgspec.Struct, frozen=True):
    change: bool = False
    number: int = 0
    target: str = ""
    new: bool = False
    title: str = ""
    description: str = ""
    draft: bool = False
    emergency: str = ""


def options_of(given: Iterable[str]) -> Options:
    """Raises UserError for one that is not known, or whose value cannot be meant."""
    found = Options()
    for option in given:
        name, equals, value = option.partition("=")
        value = one_line(value, characters_max=2_000)
        match name:
            case "change" if not equals or (value.isascii() and value.isdigit() and len(value) < 10):
                found = msgspec.structs.replace(found, change=True, number=int(value) if equals else 0)
            case "new" | "draft" if not equals:
                found = msgspec.structs.replace(found, **{name: True})
            case "title" | "description" | "target" if value:
                found = msgspec.structs.replace(found, **{name: value})
            case "emergency" if len(value) >= REASON_CHARACTERS_MIN:
                found = msgspec.structs.replace(found, emergency=value)
            case "emergency":
                raise UserError("push: an emergency needs a reason", remedy='git push -o emergency="what is on fire"')
            case _:
                known = ", ".join(KNOWN)
                raise UserError(
                    f"push: there is no option {escaped(option, characters_max=60)} of that form", remedy=f"Options: {known}"
                )
    return found
