"""Version ranges: which of these tags is the newest that the range admits?

Tags come in as strings, the best one goes out. Pure. Versions are those of https://semver.org (2.0.0), a leading "v" allowed and
missing parts not; ranges are the comparators that npm, Cargo and Helm agree on:

    ^1.2          compatible: >=1.2.0 <2.0.0; the leftmost part that is not zero stays (^0.3 is <0.4.0)
    ~1.2          patches: >=1.2.0 <1.3.0
    1.x, 1.2.*    any part there; "*" is every version
    >=1.2 <2      all that stand side by side (spaces or commas) must hold
    1.2 || ^3     one side must hold
    1.2.3, =1.2.3 exactly this one

A pre-release is chosen only when the range itself names a pre-release of the same major.minor.patch (">=2.0.0-rc.1").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import total_ordering
from typing import Literal

RANGE_CHARACTERS_MAX = 200

_NUMBER = r"(?:0|[1-9][0-9]{0,17})"
_LABEL = r"(?:0|[1-9][0-9]{0,17}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_TAIL = rf"(?:-(?P<pre>{_LABEL}(?:\.{_LABEL})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
_VERSION = re.compile(rf"v?(?P<major>{_NUMBER})\.(?P<minor>{_NUMBER})\.(?P<patch>{_NUMBER}){_TAIL}", re.ASCII)
_ANY = rf"(?:{_NUMBER}|[xX*])"
_PARTIAL = re.compile(rf"v?(?P<major>{_ANY})(?:\.(?P<minor>{_ANY})(?:\.(?P<patch>{_ANY}){_TAIL})?)?", re.ASCII)
_COMPARATOR = re.compile(r"(?P<op>\^|~|>=|<=|>|<|=|)\s*(?P<version>[0-9A-Za-z.*+-]+)", re.ASCII)
_OPERATOR_SPACE = re.compile(r"(\^|~|>=|<=|>|<|=)\s+")


@total_ordering
@dataclass(frozen=True)
class Version:
    """Build metadata is left out: it has no place in precedence (semver.org, 10)."""

    major: int
    minor: int
    patch: int
    pre: tuple[str, ...] = ()

    @property
    def core(self) -> tuple[int, int, int]:
        return (self.major, self.minor, self.patch)

    def __lt__(self, other: Version) -> bool:
        return self._rank() < other._rank()

    def _rank(self) -> tuple[tuple[int, int, int], bool, tuple[tuple[bool, int, str], ...]]:
        """semver.org, 11: a pre-release comes before the release; numbers before words, a shorter list before its extension."""
        return (
            self.core,
            not self.pre,
            tuple((not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in self.pre),
        )


@dataclass(frozen=True)
class Bound:
    """One comparison. ``version`` is on the right-hand side."""

    op: Literal[">=", ">", "<", "<=", "="]
    version: Version

    def admits(self, version: Version) -> bool:
        match self.op:
            case ">=":
                return version >= self.version
            case ">":
                return version > self.version
            case "<":
                return version < self.version
            case "<=":
                return version <= self.version
            case "=":
                return version == self.version


@dataclass(frozen=True)
class Range:
    """``sides`` are alternatives; within one all Bounds must hold. ``named`` are the pre-releases that the text itself names."""

    sides: tuple[tuple[Bound, ...], ...]
    named: tuple[tuple[Version, ...], ...]

    def admits(self, version: Version) -> bool:
        return any(
            all(bound.admits(version) for bound in bounds) and (not version.pre or any(version.core == pre.core for pre in named))
            for bounds, named in zip(self.sides, self.named, strict=True)
        )


def version(text: str) -> Version | None:
    """The version that a tag names; None when it names none. A path before the version ("web/v1.2.0") is no version."""
    found = _VERSION.fullmatch(text)
    return _full(found) if found else None


def parse_range(text: str) -> Range | None:
    """The range that the text means; None when it is not a range at all."""
    if len(text) > RANGE_CHARACTERS_MAX:
        return None
    sides = [_side(side) for side in text.split("||")]
    complete = [side for side in sides if side is not None]
    if len(complete) != len(sides):
        return None
    return Range(tuple(bounds for bounds, _ in complete), tuple(named for _, named in complete))


def best(tags: Iterable[str], wanted: Range) -> str | None:
    """The tag of the highest version that ``wanted`` admits. Of two for one version (``v1.0.0``, ``1.0.0``) the one with the v."""
    candidates = [(found, tag) for tag in tags if (found := version(tag)) is not None and wanted.admits(found)]
    return max(candidates, key=lambda pair: (pair[0]._rank(), pair[1]))[1] if candidates else None


def _side(text: str) -> tuple[tuple[Bound, ...], tuple[Version, ...]] | None:
    words = [word for word in re.split(r"[\s,]+", _OPERATOR_SPACE.sub(r"\1", text.strip())) if word]
    bounds: list[Bound] = []
    named: list[Version] = []
    for word in words:
        found = _COMPARATOR.fullmatch(word)
        partial = _PARTIAL.fullmatch(found.group("version")) if found else None
        if found is None or partial is None:
            return None
        parts = _parts(partial)
        bounds += _bounds(found.group("op"), parts, _pre(partial))
        if partial.group("pre") and len(parts) == 3:
            named.append(Version(parts[0], parts[1], parts[2], _pre(partial)))
    return (tuple(bounds), tuple(named)) if words else None


def _bounds(op: str, parts: list[int], pre: tuple[str, ...]) -> list[Bound]:
    """Every comparator as plain Bounds. ``parts`` holds what is given: "1.x" is [1]. An upper end leaves its pre-releases out."""
    if not parts:
        return [Bound("<", Version(0, 0, 0, ("0",)))] if op in ("<", ">") else []
    exact = len(parts) == 3
    major, minor, patch = [*parts, 0, 0][:3]
    low = Version(major, minor, patch, pre)
    match op:
        case "^":
            return [Bound(">=", low), Bound("<", _after(parts, _caret(parts)))]
        case "~":
            return [Bound(">=", low), Bound("<", _after(parts, min(2, len(parts))))]
        case ">=":
            return [Bound(">=", low)]
        case ">":
            return [Bound(">", low) if exact else Bound(">=", _next(parts, len(parts)))]
        case "<":
            return [Bound("<", low if exact else _floor(low))]
        case "<=":
            return [Bound("<=", low) if exact else Bound("<", _after(parts, len(parts)))]
        case _:
            return [Bound("=", low)] if exact else [Bound(">=", low), Bound("<", _after(parts, len(parts)))]


def _caret(parts: list[int]) -> int:
    """How many parts stay: up to and with the first that is not zero, of those given."""
    return next((index + 1 for index, part in enumerate(parts) if part), len(parts))


def _next(parts: list[int], kept: int) -> Version:
    raised = [*parts[: kept - 1], parts[kept - 1] + 1, 0, 0]
    return Version(raised[0], raised[1], raised[2])


def _after(parts: list[int], kept: int) -> Version:
    """The end of what begins with the first ``kept`` parts: the next version's very first pre-release."""
    return _floor(_next(parts, kept))


def _floor(version: Version) -> Version:
    return Version(version.major, version.minor, version.patch, ("0",)) if not version.pre else version


def _parts(found: re.Match[str]) -> list[int]:
    """The numbers up to the first that is missing or a wildcard."""
    parts: list[int] = []
    for name in ("major", "minor", "patch"):
        text = found.group(name)
        if text is None or not text.isdigit():
            break
        parts.append(int(text))
    return parts


def _pre(found: re.Match[str]) -> tuple[str, ...]:
    pre = found.group("pre")
    return tuple(pre.split(".")) if pre else ()


def _full(found: re.Match[str]) -> Version:
    return Version(int(found["major"]), int(found["minor"]), int(found["patch"]), _pre(found))
