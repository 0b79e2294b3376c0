"""What documents of the configuration say of each other: Environments and Applications that are named must be there, no circles,
and the limits of Projects hold.

In come the documents that are right in themselves and those of before; out come the documents that hold together. One that
refers to what is not there gives way to what it declared before, or to nothing; since that can break others in turn, it is done
until nothing moves. Each round takes at least one new document out, so it ends.

Selectors are expanded first: what is checked, and what comes out, has one entry for each Environment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import NamedTuple

from trimtab.core.model.config import (
    DEFAULT_ENVIRONMENT,
    DEFAULT_PROJECT,
    Application,
    Chart,
    Document,
    Environment,
    Fleet,
    Metadata,
    Placement,
    Project,
    Source,
)
from trimtab.core.model.names import Key
from trimtab.core.model.people import Grant, Group, User
from trimtab.core.model.text import is_safe_line

from . import people
from .limits import allows_environment, allows_repository, environments_of
from .positions import Path
from .selection import Expanded, expand
from .strict import nearest

_CHART_SCHEMES = ("https://", "http://", "oci://")


class Wrong(NamedTuple):
    """A Problem without its place: ``document`` is ``Kind/name``, ``path`` the field."""

    document: str
    path: Path
    message: str
    remedy: str


New = Expanded | Environment | User | Group | Grant
"""What can be wrong by what it refers to."""


@dataclass(frozen=True)
class Checked:
    """``effective`` holds together; ``doubtful`` are those that are wrong in Git now, whether something stands in for them or not.
    ``fleets`` are by Application.
    """

    effective: dict[str, Document]
    doubtful: frozenset[str]
    wrong: tuple[Wrong, ...]
    fleets: dict[str, tuple[Fleet, ...]] = field(default_factory=dict)


def check(
    good: Mapping[str, Document],
    *,
    before: Mapping[str, Document],
    doubtful: set[str],
    fleets_before: Mapping[str, tuple[Fleet, ...]] | None = None,
) -> Checked:
    """``doubtful`` documents are wrong in themselves, and not among the ``good``."""
    effective = {**{key: before[key] for key in doubtful if key in before}, **good}
    fleets_before = fleets_before or {}
    expanded = _expanded(good, effective, before, fleets_before)
    effective |= {key: one.application for key, one in expanded.items()}
    new: dict[str, New] = {
        **expanded,
        **{key: one for key, one in good.items() if isinstance(one, Environment | User | Group | Grant)},
    }
    found = [Wrong(key, one.path, one.message, one.remedy) for key, each in expanded.items() for one in each.empty]
    kept = doubtful | {one.document for one in found}
    while wrong := list(_all(new, effective, good.keys() | kept)):
        found += wrong
        for key in {one.document for one in wrong}:
            del new[key]
            del effective[key]
            kept.add(key)
            if key in before:
                effective[key] = before[key]
    told = {(one.document, one.path): one for one in reversed(found)}
    distinct = tuple(one for one in found if told[one.document, one.path] is one)
    return Checked(effective, frozenset(kept), distinct, _fleets(effective, new, fleets_before))


def _expanded(
    good: Mapping[str, Document],
    effective: Mapping[str, Document],
    before: Mapping[str, Document],
    fleets_before: Mapping[str, tuple[Fleet, ...]],
) -> dict[str, Expanded]:
    environments = {one.metadata.name: one for one in effective.values() if isinstance(one, Environment)}
    expanded = {}
    for key, one in good.items():
        if isinstance(one, Application):
            was = before.get(key)
            earlier = was if isinstance(was, Application) else None
            expanded[key] = expand(one, environments, before=earlier, fleets_before=fleets_before.get(one.name, ()))
    return expanded


def _fleets(
    effective: Mapping[str, Document], new: Mapping[str, New], before: Mapping[str, tuple[Fleet, ...]]
) -> dict[str, tuple[Fleet, ...]]:
    fleets = {}
    for key, one in effective.items():
        if isinstance(one, Application):
            made = new.get(key)
            found = made.fleets if isinstance(made, Expanded) else before.get(one.name, ())
            if found:
                fleets[one.name] = found
    return fleets


def _all(new: Mapping[str, New], effective: Mapping[str, Document], known: set[str]) -> Iterator[Wrong]:
    for key, one in new.items():
        found = _of_one(one, effective, known) if isinstance(one, Expanded) else people.wrong(one, effective)
        for path, message, remedy in found:
            yield Wrong(key, path, message, remedy)
    yield from _circles(new, effective)


def _of_one(one: Expanded, effective: Mapping[str, Document], known: set[str]) -> Iterator[tuple[Path, str, str]]:
    yield from ((finding.path, finding.message, finding.remedy) for finding in one.wrong)
    yield from _sources(one.application)
    yield from _paths(one)
    yield from _placements(one, effective, known)
    yield from _depends(one, effective, known)
    yield from _project(one, effective, known)


def _placed(application: Application) -> list[tuple[Path, Source]]:
    """The sources with the fields that they stand in."""
    if not application.spec.sources:
        return [(("spec", "source"), application.spec.source)]
    return [(("spec", "sources", index), source) for index, source in enumerate(application.spec.sources)]


def _sources(application: Application) -> Iterator[tuple[Path, str, str]]:
    """Sources that cannot be meant: two ways to say where they are, a name twice, half a chart, a plugin without a name."""
    if application.spec.sources and application.spec.source != Source():
        yield ("spec", "sources"), "there are both source and sources", "Keep one of the two"
    names: set[str] = set()
    for path, source in _placed(application):
        if source.name and source.name in names:
            yield (*path, "name"), f"the source {source.name} is there twice", "Give each its own name"
        names.add(source.name)
        chart = source.chart
        if chart != Chart():
            for field in ("repository", "name", "version"):
                if not getattr(chart, field):
                    yield (*path, "chart", field), "this is missing", "A chart has a repository, a name and a version"
            if chart.repository and not chart.repository.startswith(_CHART_SCHEMES):
                yield (*path, "chart", "repository"), "this is no address of charts", f"Begin with {', '.join(_CHART_SCHEMES)}"
            if "@" in chart.repository:
                yield (*path, "chart", "repository"), "no credentials in Git", "Keep them in the server's netrc"
            if source.repository:
                remedy = "Leave it out; files of values of another repository are those of a source with a name"
                yield (*path, "repository"), "a chart of a chart repository stands in no Git repository", remedy
            if source.renderer not in ("", "helm"):
                yield (*path, "renderer"), f"a chart is not rendered by {source.renderer}", "Remove renderer or chart"
        if source.renderer == "plugin" and not source.plugin.name:
            yield (*path, "plugin", "name"), "no plugin is named", "Name one of those that the server was started with"
    if all(source.renderer == "none" for _, source in _placed(application)):
        yield _placed(application)[0][0], "no source is rendered", "Leave renderer out in one of them"


def _paths(one: Expanded) -> Iterator[tuple[Path, str, str]]:
    """Paths and addresses that cannot be meant: they leave the repository or hold what no path has."""
    placed, places = _placed(one.application), list(zip(one.entries, one.application.spec.environments, strict=True))
    texts: list[tuple[Path, str]] = [((*path, "path"), source.path) for path, source in placed]
    texts += [(("spec", "environments", index, "path"), place.path) for index, place in places]
    for path, text in texts:
        if ".." in text.split("/"):
            yield path, "the path leaves the repository", "Write it from the root of the repository, without .."
        elif "\\" in text:
            yield path, "the path has a backslash", "Write forward slashes"
    for path, source in placed:
        texts += [((*path, "repository"), source.repository), ((*path, "revision"), source.revision)]
        texts += [((*path, "chart", "name"), source.chart.name), ((*path, "chart", "repository"), source.chart.repository)]
    texts += [(("spec", "environments", index, "revision"), place.revision) for index, place in places]
    for path, text in texts:
        if not is_safe_line(text) or text.startswith("-"):
            yield path, "this begins with a dash or has control characters", "Write it on one line, without them"


def _placements(one: Expanded, effective: Mapping[str, Document], known: set[str]) -> Iterator[tuple[Path, str, str]]:
    placed = [place.name for place in one.application.spec.environments]
    for at, name in enumerate(placed):
        path: Path = ("spec", "environments", one.entries[at], "name")
        if name in placed[:at]:
            yield path, f"the environment {name} is there twice", "Keep one of the two"
        if name != DEFAULT_ENVIRONMENT and name not in one.kept and f"Environment/{name}" not in effective:
            declared = {each.metadata.name for each in effective.values() if isinstance(each, Environment)} | {
                DEFAULT_ENVIRONMENT
            }
            yield path, *_not_there("Environment", name, declared, known)


def _depends(one: Expanded, effective: Mapping[str, Document], known: set[str]) -> Iterator[tuple[Path, str, str]]:
    own = one.application.name
    for path, said, places in _dependencies(one):
        name, _, elsewhere = said.partition("@")
        other = effective.get(f"Application/{name}")
        there = {place.name for place in other.spec.environments} if isinstance(other, Application) else set()
        if name == own:
            yield path, f"{name} cannot depend on itself", "Remove it; `after` is what one Environment waits for another with"
        elif not isinstance(other, Application):
            names = {each.name for each in effective.values() if isinstance(each, Application)} - {own}
            yield path, *_not_there("Application", name, names, known)
        elif elsewhere and elsewhere not in there:
            yield path, f"{name} does not run in the environment {elsewhere}", f"It runs in {', '.join(sorted(there))}"
        elif not elsewhere and places.isdisjoint(there):
            text = f"{name} runs in no environment that {own} runs in"
            yield (
                path,
                text,
                f'Say which one is meant, such as "{name}@{min(there)}", place both in one, or remove the dependency',
            )


def _dependencies(one: Expanded) -> Iterator[tuple[Path, str, set[str]]]:
    """Each with its field and with the Environments that it is for."""
    spec = one.application.spec
    for at, said in enumerate(spec.depends_on):
        yield ("spec", "dependsOn", at), said, {place.name for place in spec.environments}
    entries: dict[int, list[Placement]] = {}
    for entry, place in zip(one.entries, spec.environments, strict=True):
        entries.setdefault(entry, []).append(place)
    for entry, places in entries.items():
        for at, said in enumerate(places[0].depends_on):
            yield ("spec", "environments", entry, "dependsOn", at), said, {place.name for place in places}


def _project(one: Expanded, effective: Mapping[str, Document], known: set[str]) -> Iterator[tuple[Path, str, str]]:
    application = one.application
    name = application.spec.project
    project = effective.get(f"Project/{name}")
    if not isinstance(project, Project):
        # A Project that is declared and cannot be read is no leave to do everything.
        if name != DEFAULT_PROJECT or f"Project/{name}" in known:
            names = {each.metadata.name for each in effective.values() if isinstance(each, Project)} | {DEFAULT_PROJECT}
            yield ("spec", "project"), *_not_there("Project", name, names, known)
        return
    for source_path, source in _placed(application):
        for path, repository in (
            ((*source_path, "repository"), source.repository),
            ((*source_path, "chart", "repository"), source.chart.repository),
        ):
            if not allows_repository(project, repository):
                allowed = ", ".join(project.spec.repositories)
                yield path, f"the Project {name} does not allow this repository", f"Allowed: {allowed}"
    for index, placement in zip(one.entries, application.spec.environments, strict=True):
        found = effective.get(f"Environment/{placement.name}")
        environment = found if isinstance(found, Environment) else Environment(Metadata(placement.name))
        # The labels of one that is kept, though nobody declares it, are not known here; they are judged when it is looked at.
        if placement.name not in one.kept and not allows_environment(project, environment):
            text = f"the Project {name} does not allow the environment {placement.name}"
            yield ("spec", "environments", index, "name"), text, environments_of(project)


def _not_there(kind: str, name: str, names: set[str], known: set[str]) -> tuple[str, str]:
    if f"{kind}/{name}" in known:
        return f"the {kind} {name} is declared, but wrong", "Correct it where it is declared"
    return f"there is no {kind} {name}", nearest(name, names) if names else f"Declare the {kind} {name}"


def _circles(new: Mapping[str, New], effective: Mapping[str, Document]) -> Iterator[Wrong]:
    """Circles of `dependsOn` and `after` together: none of their Applications could ever begin."""
    graph = _graph(new, [one for one in effective.values() if isinstance(one, Application)])
    while circle := _circle(graph):
        words = " needs ".join(f"{application}@{environment}" for environment, application in circle)
        told = set()
        for node, following in pairwise(circle):
            key = f"Application/{node[1]}"
            if key in new and key not in told:
                told.add(key)
                yield Wrong(key, graph[node][following], f"a circle that could never begin: {words}", "Remove one of these")
        for node in circle:
            graph.pop(node, None)


_Node = tuple[str, str]
_Graph = dict[_Node, dict[_Node, Path]]


def _graph(new: Mapping[str, New], every: list[Application]) -> _Graph:
    """For each (environment, application), what it waits for and the field that says so."""
    graph: _Graph = {(one.name, application.name): {} for application in every for one in application.spec.environments}
    for application in every:
        made = new.get(f"Application/{application.name}")
        for index, placement in enumerate(application.spec.environments):
            waits = graph[placement.name, application.name]
            for at, name in enumerate(placement.after):
                place: Path = (index, "after", at)
                if isinstance(made, Expanded):
                    place = (made.entries[index], "after", made.after_at[placement.name, name])
                waits.setdefault((name, application.name), ("spec", "environments", *place))
            entry = made.entries[index] if isinstance(made, Expanded) else index
            for field_, said in (
                (("spec", "dependsOn"), application.spec.depends_on),
                (("spec", "environments", entry, "dependsOn"), placement.depends_on),
            ):
                for at, text in enumerate(said):
                    waits.setdefault(_node(Key.said(text, placement.name)), (*field_, at))
            waits.pop((placement.name, application.name), None)
    return graph


def _node(key: Key) -> _Node:
    return key.environment, key.application


def _circle(graph: _Graph) -> list[_Node]:
    """One circle, each node waiting for the next, the first again at the end; empty when there is none."""
    sorter = TopologicalSorter({node: [other for other in waits if other in graph] for node, waits in graph.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []
