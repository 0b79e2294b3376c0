"""The message of a merge: what people read in `git log`, and trailers from which the record can be made again.

Merge change 12: Three replicas

Two were not enough on Mondays.

Change: 12
Approved-by: Sue Smith <sue@example.org>
Plan-production: sha256:…
Signed-for: production
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from trimtab.core.decide.rights import Directory
from trimtab.core.model.change import (
    TRAILER_APPROVED,
    TRAILER_CHANGE,
    TRAILER_PLAN,
    TRAILER_SIGNED,
    Approval,
    Change,
    EnvironmentPlan,
)
from trimtab.core.model.text import one_line, printable

TITLE_CHARACTERS_MAX = 200
DESCRIPTION_CHARACTERS_MAX = 20_000
# As git reads trailers: in any case, with blanks before the colon. But `change: …` is how people begin a subject, and nothing of ours.
_RESERVED = re.compile(
    rf"^(?:{TRAILER_CHANGE}|(?i:{TRAILER_APPROVED}|{TRAILER_SIGNED}|{TRAILER_PLAN}[a-z0-9-]+))[ \t]*:", re.MULTILINE
)
_SIGNED = re.compile(rf"^{TRAILER_SIGNED}: ([a-z0-9-]{{1,63}})$", re.MULTILINE)


def merge_message(
    change: Change,
    way: str,
    plans: Iterable[EnvironmentPlan],
    approvals: Iterable[Approval],
    people: Directory,
    signed: Iterable[str] = (),
) -> str:
    """``way`` is merge, squash or rebase. ``signed`` are Environments that the merge is signed for."""
    title = one_line(change.title, characters_max=TITLE_CHARACTERS_MAX)
    subject = f"Merge change {change.number}: {title}" if way == "merge" else title
    body = without_trailers(change.description).strip()
    trailers = "\n".join(
        [*_trailers(change, plans, approvals, people), *(f"{TRAILER_SIGNED}: {name}" for name in sorted(signed))]
    )
    return "\n\n".join(part for part in (subject, body, trailers) if part) + "\n"


def signed_for(message: str) -> frozenset[str]:
    """The Environments that a merge of the server's says it is signed for. Worth as much as the signature on it."""
    return frozenset(_SIGNED.findall(message.rstrip().rpartition("\n\n")[2]))


def reserved_in(message: str) -> bool:
    """True when a message has a line that only merges have: nobody else may write one."""
    return _RESERVED.search(message) is not None


def proposed(messages: Iterable[str]) -> tuple[str, str]:
    """Title and description of a Change from its commits, oldest first: one says it all, of several the first one names it."""
    texts = [printable(message).strip() for message in messages]
    if not texts:
        return "", ""
    subject, _, body = texts[0].partition("\n")
    if len(texts) > 1:
        body = "\n".join(f"- {text.partition(chr(10))[0]}" for text in texts[:100])
    return one_line(subject, characters_max=TITLE_CHARACTERS_MAX), body.strip()[:DESCRIPTION_CHARACTERS_MAX]


def without_trailers(text: str) -> str:
    """A description, without lines that would be taken for ours."""
    return "\n".join(
        line for line in printable(text, characters_max=DESCRIPTION_CHARACTERS_MAX).split("\n") if not reserved_in(line)
    )


def _trailers(
    change: Change, plans: Iterable[EnvironmentPlan], approvals: Iterable[Approval], people: Directory
) -> Iterator[str]:
    yield f"{TRAILER_CHANGE}: {change.number}"
    for who in sorted({one.who for one in approvals}):
        yield f"{TRAILER_APPROVED}: {named(who, people)}"
    for plan in plans:
        yield f"{TRAILER_PLAN}{plan.environment}: {plan.hash}"


def named(login: str, people: Directory) -> str:
    """``Sue Smith <sue@example.org>``, as far as Git declares it."""
    return f"{full_name(login, people)} <{address(login, people)}>"


def full_name(login: str, people: Directory) -> str:
    user = people.users.get(login)
    return _plain(one_line(user.spec.name, characters_max=100) if user is not None and user.spec.name else login)


def address(login: str, people: Directory) -> str:
    user = people.users.get(login)
    found = user.spec.emails[0] if user is not None and user.spec.emails else login
    return _plain(found)


def _plain(text: str) -> str:
    return re.sub(r"[<>\n\0]", "", text).strip() or "nobody"
