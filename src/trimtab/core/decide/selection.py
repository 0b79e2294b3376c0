"""In which Environments an Application runs: the entries that it has in Git become one entry for each Environment.

An entry names an Environment, or selects all that have certain labels. A name that is written out wins over what a selector says of
it. A selector that selects nothing is a mistake, and takes nothing away: what an earlier selection brought about stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from trimtab.core.model.config import Application, Environment, Fleet, Placement, Rollout, Share
from trimtab.core.model.selector import Requirement, Selector

from .positions import Path
from .strict import Finding, nearest
from .substitution import Parameters, fill, is_filled

ENVIRONMENT_PARAMETERS = "environment."
"""What the names begin with that stand for the Environment of an entry."""


@dataclass(frozen=True)
class Expanded:
    """``application`` has one entry for each Environment; ``entries`` says for each of those which one it was in Git, and ``after_at``
    where a name in its ``after`` stands there. ``kept`` are Environments that nothing selects now. ``wrong`` is what makes the document
    wrong, ``empty`` what is to be told of entries that select nothing.
    """

    application: Application
    fleets: tuple[Fleet, ...] = ()
    entries: tuple[int, ...] = ()
    after_at: Mapping[tuple[str, str], int] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()
    wrong: tuple[Finding, ...] = ()
    empty: tuple[Finding, ...] = ()


def expand(
    application: Application,
    environments: Mapping[str, Environment],
    *,
    before: Application | None = None,
    fleets_before: Sequence[Fleet] = (),
) -> Expanded:
    """``before`` is what it came to until now; ``environments`` are those that are declared."""
    return _Expansion(application, environments, before, fleets_before).made()


def environment_parameters(environment: Environment) -> Parameters:
    """What `${environment.…}` can stand for."""
    return {"environment.name": environment.metadata.name, "environment.labels": environment.metadata.labels}


def selects(selector: Selector, labels: Mapping[str, str]) -> bool:
    """As Kubernetes has it: everything that is said must hold, and `NotIn` holds for a label that is not there."""
    named = all(labels.get(name) == value for name, value in selector.match_labels.items())
    return named and all(_holds(one, labels) for one in selector.match_expressions)


def _holds(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None


class _Expansion:
    def __init__(
        self,
        application: Application,
        environments: Mapping[str, Environment],
        before: Application | None,
        fleets_before: Sequence[Fleet],
    ) -> None:
        self._application = application
        self._written = application.spec.environments
        self._environments = environments
        self._before = before
        self._fleets_before = fleets_before
        self._wrong: list[Finding] = []
        self._empty: list[Finding] = []
        self._kept: frozenset[str] = frozenset()
        self._members: dict[int, tuple[str, ...]] = {}
        self._named = {entry.name for entry in self._written if entry.selector is None}
        self._fleets: dict[int, Fleet] = {}

    def made(self) -> Expanded:
        if all(entry.selector is None and not _is_special(entry) for entry in self._written):
            return self._plain()
        for index, entry in enumerate(self._written):
            self._wrong += _wrong_entry(entry, ("spec", "environments", index))
        if not self._wrong:
            self._select()
        if self._wrong:
            return self._given_up()
        placements, entries, after_at = self._placements()
        if self._wrong or not placements:
            return self._given_up()
        spec = msgspec.structs.replace(self._application.spec, environments=placements)
        made = msgspec.structs.replace(self._application, spec=spec)
        return Expanded(made, tuple(self._fleets.values()), entries, after_at, self._kept, empty=tuple(self._empty))

    def _given_up(self) -> Expanded:
        """It is wrong; the entries that name an Environment are still there to be checked."""
        named = [(index, entry) for index, entry in enumerate(self._written) if entry.selector is None and entry.name]
        spec = msgspec.structs.replace(self._application.spec, environments=[entry for _, entry in named])
        made = msgspec.structs.replace(self._application, spec=spec)
        after_at = {(entry.name, name): at for _, entry in named for at, name in enumerate(entry.after)}
        entries = tuple(index for index, _ in named)
        return Expanded(made, entries=entries, after_at=after_at, wrong=(*self._wrong, *self._empty))

    def _plain(self) -> Expanded:
        """Nothing is selected and nothing to be filled in, as in most documents."""
        after_at = {(entry.name, name): at for entry in self._written for at, name in enumerate(entry.after)}
        placed = [entry.name for entry in self._written]
        wrong = [finding for index in range(len(placed)) for finding in self._wrong_after(index, placed, {})]
        return Expanded(self._application, (), tuple(range(len(placed))), after_at, wrong=tuple(wrong))

    # --- which ----------------------------------------------------------------------------------------------------------

    def _select(self) -> None:
        selected: dict[str, int] = {}
        for index, entry in enumerate(self._written):
            if entry.selector is None:
                self._members[index] = (entry.name,)
                continue
            found = [
                name
                for name, one in sorted(self._environments.items())
                if name not in self._named and selects(entry.selector, one.metadata.labels)
            ]
            for at, name in enumerate(entry.rollout.order if entry.rollout else ()):
                if name not in self._environments:
                    path: Path = ("spec", "environments", index, "rollout", "order", at)
                    self._wrong.append(Finding(f"there is no Environment {name}", path, nearest(name, self._environments)))
            for name in found:
                if name in selected:
                    text = f"the environment {name} is selected twice, also by entry {selected[name] + 1}"
                    remedy = "Write selectors that have no environment in common, or name it in an entry of its own"
                    self._wrong.append(Finding(text, ("spec", "environments", index, "selector"), remedy))
                selected[name] = index
            self._members[index] = tuple(_ordered(found, entry.rollout or Rollout(), self._environments))
        if not self._wrong:
            self._keep(set(selected))
        for index, entry in enumerate(self._written):
            if entry.selector is not None and self._members[index]:
                self._fleets[index] = _fleet(entry, self._members[index])

    def _keep(self, selected: set[str]) -> None:
        """Where an entry selects nothing, what was selected until now and is not placed otherwise stays."""
        kept = [name for fleet in self._fleets_before for name in fleet.members if name not in selected | self._named]
        for index, entry in enumerate(self._written):
            if entry.selector is None or self._members[index]:
                continue
            mine, kept = kept, []
            self._members[index] = tuple(mine)
            self._kept |= frozenset(mine)
            stays = f"; what runs in {', '.join(mine)} stays" if mine else ""
            remedy = "Correct the labels, here or in the environments; to end it, remove this entry"
            path: Path = ("spec", "environments", index, "selector")
            self._empty.append(Finding(f"no environment has these labels{stays}", path, remedy))

    # --- what ------------------------------------------------------------------------------------------------------------

    def _placements(self) -> tuple[list[Placement], tuple[int, ...], dict[tuple[str, str], int]]:
        placements: list[Placement] = []
        entries: list[int] = []
        after_at: dict[tuple[str, str], int] = {}
        placed = [name for members in self._members.values() for name in members]
        fleets = {fleet.name: fleet.members for fleet in self._fleets.values() if fleet.name}
        for index, entry in enumerate(self._written):
            self._wrong += self._wrong_after(index, placed, fleets)
            after = {name: at for at, called in enumerate(entry.after) for name in fleets.get(called, (called,))}
            for name in self._members[index]:
                placements.append(self._placement(index, name, [one for one in after if one in placed]))
                entries.append(index)
                after_at |= {(name, other): at for other, at in after.items()}
        return placements, tuple(entries), after_at

    def _placement(self, index: int, name: str, after: list[str]) -> Placement:
        entry = self._written[index]
        before = self._before.spec.environments if self._before is not None else []
        if name in self._kept:
            as_it_was = next(one for one in before if one.name == name)
            return msgspec.structs.replace(as_it_was, after=after)
        environment = self._environments.get(name)
        parameters = environment_parameters(environment) if environment is not None else {"environment.name": name}
        texts = {"path": entry.path, "revision": entry.revision, "helm": {"valueFiles": entry.helm.value_files}}
        filled, findings = fill(texts, parameters)
        self._wrong += [
            Finding(f"{finding.message} (environment {name})", ("spec", "environments", index, *finding.path), finding.remedy)
            for finding in findings
        ]
        helm = msgspec.structs.replace(entry.helm, value_files=filled["helm"]["valueFiles"])
        texts = {"path": filled["path"], "revision": filled["revision"]}
        return msgspec.structs.replace(entry, name=name, selector=None, rollout=None, after=after, helm=helm, **texts)

    def _wrong_after(self, index: int, placed: Sequence[str], fleets: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
        entry = self._written[index]
        known = [*placed, *fleets]
        for at, name in enumerate(entry.after):
            path: Path = ("spec", "environments", index, "after", at)
            own = {entry.name} if entry.selector is None else {entry.fleet, *self._members[index]}
            if name in own:
                yield Finding(f"{name} cannot come after itself", path, "Remove it")
            elif name not in known:
                text = f"the Application does not run in {name}, so nothing can come after it"
                yield Finding(text, path, nearest(name, [one for one in known if one not in own] or known))
        others = [one.fleet for one in self._written[:index] if one.fleet]
        if entry.fleet and (entry.fleet in placed or entry.fleet in others):
            text = f"{entry.fleet} is already the name of another entry"
            yield Finding(text, ("spec", "environments", index, "fleet"), "Give the fleet a name of its own")


def _is_special(entry: Placement) -> bool:
    filled = any(is_filled(text) for text in (entry.path, entry.revision, *entry.helm.value_files))
    return not entry.name or bool(entry.fleet) or entry.rollout is not None or filled


def _wrong_entry(entry: Placement, path: Path) -> Iterator[Finding]:
    if entry.selector is None:
        if not entry.name:
            yield Finding('the field "name" is missing', (*path, "name"), 'Add "name", or a "selector"')
        for name, said in (("fleet", entry.fleet), ("rollout", entry.rollout)):
            if said:
                yield Finding(f"{name} is for entries with a selector", (*path, name), "Remove it, or write a selector")
        return
    if entry.name:
        yield Finding("an entry has a name or a selector, not both", (*path, "selector"), "Make two entries of it")
    for at, one in enumerate(entry.selector.match_expressions):
        if bool(one.values) != (one.operator in ("In", "NotIn")):
            text = f"{one.operator} {'takes no' if one.values else 'needs'} values"
            yield Finding(
                text, (*path, "selector", "matchExpressions", at, "values"), "In and NotIn have values, the others none"
            )


# --- in which order ------------------------------------------------------------------------------------------------------------


def _ordered(names: Sequence[str], rollout: Rollout, environments: Mapping[str, Environment]) -> list[str]:
    places = {name: at for at, name in reversed(list(enumerate(rollout.order)))}
    label = rollout.order_by_label

    def by(name: str) -> tuple[int, tuple[int, int, str], str]:
        value = environments[name].metadata.labels.get(label) if label else None
        return places.get(name, len(places)), _rank(value), name

    return sorted(names, key=by)


def _rank(value: str | None) -> tuple[int, int, str]:
    """Numbers by size, then words, then what has no label."""
    if value is None:
        return 2, 0, ""
    return (0, int(value), "") if value.isdecimal() and value.isascii() and len(value) <= 18 else (1, 0, value)


def _fleet(entry: Placement, members: tuple[str, ...]) -> Fleet:
    rollout = entry.rollout or Rollout()
    total, steps = len(members), list[int]()
    for one in rollout.steps:
        count = _count(one, total, up=True)
        if count < total and count > (steps[-1] if steps else 0):
            steps.append(count)
    return Fleet(members, entry.fleet, _count(rollout.max_unavailable, total, up=False), tuple(steps), rollout.pause_seconds)


def _count(share: Share, total: int, *, up: bool) -> int:
    """At least one: a share of a few would else be nobody, for ever."""
    if isinstance(share, int):
        return share
    hundredths = total * int(share.removesuffix("%"))
    return max(1, -(-hundredths // 100) if up else hundredths // 100)
