"""Who owns which paths: files named CODEOWNERS, read as GitHub and as GitLab read them.

Text goes in, an :class:`Ownership` comes out; `Ownership.of` answers for one path. Of the lines of a section the last one that matches
counts. Where the two differ, the dialect says which holds:

                                GitHub                             GitLab
    a path with an inner slash  counts from the root               counts from anywhere, unless it begins with a slash
    ``[Section]``               is an error                        its lines count beside those of other sections
    ``^[Section][2] @a``        is an error                        optional; so many approvals; the owners of lines without any
    ``!path``                   is an error                        takes a path out of its section

https://docs.github.com/en/repositories/managing-your-repositorys-settings-and-features/customizing-your-repository/about-code-owners
https://docs.gitlab.com/user/project/codeowners/reference/
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from trimtab.core.model.errors import Problem
from trimtab.core.model.text import escaped

LINES_MAX = 20_000
BYTES_MAX = 3 << 20
"""As GitHub has it: a larger file is not read."""
STARS_MAX = 10
"""In one pattern: each star more multiplies what matching may cost."""


class Dialect(StrEnum):
    GITHUB = "github"
    GITLAB = "gitlab"


PLACES: tuple[tuple[str, Dialect | None], ...] = (
    (".github/CODEOWNERS", Dialect.GITHUB),
    (".gitlab/CODEOWNERS", Dialect.GITLAB),
    ("CODEOWNERS", None),
    ("docs/CODEOWNERS", None),
)
"""Where the file may stand; the first that is there is the one. None: what is in it tells the dialect (`dialect_of`)."""


@dataclass(frozen=True)
class Rule:
    """One line. ``owners`` as they are written: ``@ada``, ``@org/team``, ``ada@example.org``; none: nobody owns it."""

    pattern: str
    owners: tuple[str, ...]
    line: int
    matches: re.Pattern[str]
    excludes: bool = False


@dataclass
class Section:
    """``name`` "" holds the lines before any header. ``count`` is how many approvals of its owners a path needs."""

    name: str = ""
    count: int = 1
    optional: bool = False
    owners: tuple[str, ...] = ()
    rules: list[Rule] = field(default_factory=list)


@dataclass(frozen=True)
class Owned:
    """Whose approval a path needs: ``count`` of ``owners``. ``line`` is the line that says so."""

    section: str
    owners: tuple[str, ...]
    count: int
    optional: bool
    line: int


@dataclass(frozen=True)
class Ownership:
    """A CODEOWNERS file. ``problems`` are lines that are wrong; they count for nothing, as with the forges."""

    sections: tuple[Section, ...] = ()
    problems: tuple[Problem, ...] = ()

    def of(self, path: str) -> tuple[Owned, ...]:
        """What holds for ``path`` (from the root, without a leading slash); at most one for each section."""
        found = (_in_section(section, path) for section in self.sections)
        return tuple(one for one in found if one is not None)

    def asked(self, paths: Iterable[str]) -> dict[Owned, tuple[str, ...]]:
        """Everything that is asked for ``paths`` together, with the paths that ask for it. What is optional is left out."""
        asked: dict[Owned, list[str]] = {}
        for path in paths:
            for owned in self.of(path):
                if owned.owners and not owned.optional:
                    asked.setdefault(owned, []).append(path)
        return {owned: tuple(found) for owned, found in asked.items()}


def dialect_of(text: str) -> Dialect:
    """GitLab's when there is a section or an exclusion in it, which GitHub does not know; else GitHub's."""
    lines = (line.strip() for line in text.splitlines())
    return Dialect.GITLAB if any(_HEADER.match(line) or line.startswith("!") for line in lines) else Dialect.GITHUB


def parse(text: str, file: str = "CODEOWNERS", dialect: Dialect | None = None) -> Ownership:
    """Never fails: a line that cannot be read is a Problem and nothing else."""
    dialect = dialect or dialect_of(text)
    sections: dict[str, Section] = {"": Section()}
    problems: list[Problem] = []
    section = sections[""]
    for number, raw in enumerate(text.splitlines()[:LINES_MAX], start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        header = _HEADER.match(line) if dialect == Dialect.GITLAB else None
        if header is not None:
            section = _section(sections, header)
            continue
        rule = _rule(line, number, dialect, section)
        if isinstance(rule, str):
            problems.append(Problem(rule, file, number, remedy="Correct this line; until then it counts for nothing"))
        else:
            section.rules.append(rule)
    return Ownership(tuple(one for one in sections.values() if one.rules), tuple(problems))


_HEADER = re.compile(r"(?P<optional>\^)?\[(?P<name>[^\[\]]+)\](?:\[(?P<count>[0-9]{1,3})\])?(?:\s+(?P<owners>.*))?$")
_OWNER = re.compile(r"@{1,2}[A-Za-z0-9][A-Za-z0-9._/-]*|[^\s@]+@[^\s@]+\.[^\s@]+")


def _section(sections: dict[str, Section], header: re.Match[str]) -> Section:
    """Sections of one name, whatever its case, are one."""
    name = header["name"].strip()
    section = sections.setdefault(name.casefold(), Section(name, max(1, int(header["count"] or 1)), bool(header["optional"])))
    owners = _owners((header["owners"] or "").split())
    section.owners = owners or section.owners
    return section


def _rule(line: str, number: int, dialect: Dialect, section: Section) -> Rule | str:
    """The Rule of a line, or what is wrong with it."""
    pattern, *rest = _words(line)
    excludes = pattern.startswith("!")
    if dialect == Dialect.GITHUB and (excludes or "[" in pattern):
        return f"{escaped(pattern)}: GitHub knows no exclusions, sections or character ranges"
    if pattern.count("*") > STARS_MAX:
        return f"{escaped(pattern)}: more than {STARS_MAX} stars"
    owners = _owners(rest)
    unknown = [word for word in rest if word not in owners]
    if unknown:
        return f"{escaped(unknown[0])} is no owner: write @name, @organisation/team or an address"
    if not owners and dialect == Dialect.GITLAB:
        owners = section.owners
    return Rule(pattern, owners, number, _compiled(pattern.removeprefix("!"), dialect), excludes)


def _words(line: str) -> list[str]:
    """Split at blanks that are not escaped; what follows a free-standing # is a comment."""
    words = [word.replace("\\ ", " ") for word in re.findall(r"(?:\\.|[^\s\\]|\\)+", line)]
    comment = next((at for at, word in enumerate(words) if at and word.startswith("#")), len(words))
    return words[:comment]


def _owners(words: list[str]) -> tuple[str, ...]:
    return tuple(word for word in words if _OWNER.fullmatch(word))


def _compiled(pattern: str, dialect: Dialect) -> re.Pattern[str]:
    inner = pattern.rstrip("/")
    anchored = pattern.startswith("/") or ("/" in inner.lstrip("/") and dialect == Dialect.GITHUB)
    inner = inner.lstrip("/")
    expression = "" if anchored else "(?:.*/)?"
    at = 0
    while at < len(inner):
        if inner.startswith("**/**/", at):
            at += 3
        elif inner.startswith("**/", at):
            expression, at = expression + "(?:.*/)?", at + 3
        elif inner.startswith("**", at):
            expression, at = expression + ".*", at + 2
        elif inner[at] == "*":
            expression, at = expression + "[^/]*", at + 1
        elif inner[at] == "?":
            expression, at = expression + "[^/]", at + 1
        elif inner[at] == "\\" and at + 1 < len(inner):
            expression, at = expression + re.escape(inner[at + 1]), at + 2
        else:
            expression, at = expression + re.escape(inner[at]), at + 1
    # A name stands for a directory's content too, but a path that ends in a star does not reach below it.
    below = "/.*" if pattern.endswith("/") else "" if inner.endswith("/*") else "(?:/.*)?"
    return re.compile(expression + below, re.DOTALL)


def _in_section(section: Section, path: str) -> Owned | None:
    if any(rule.excludes and rule.matches.fullmatch(path) for rule in section.rules):
        return None
    for rule in reversed(section.rules):
        if not rule.excludes and rule.matches.fullmatch(path):
            return Owned(section.name, rule.owners, section.count, section.optional, rule.line)
    return None
