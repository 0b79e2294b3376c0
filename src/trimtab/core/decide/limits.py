"""What a Project forbids of what an Application wants. Asked before anything of the commit is applied.

Two questions, because the second needs the target's word: which kinds may be rendered (`outside_of`), and where objects may be
(`misplaced`). What is in no namespace is denied as soon as namespaces are limited, unless its kind is named: an object of the cluster
reaches into every namespace, and a process on a machine has none to be confined to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote

from trimtab.core.model.config import Application, Environment, Project
from trimtab.core.model.errors import Problem
from trimtab.core.model.fetched import Fetched
from trimtab.core.model.mandate import Location, Mandate
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Identity
from trimtab.core.model.text import one_line, without_credentials

from .selection import selects


def mandate(application: Application | None, project: Project | None) -> Mandate:
    account = project.spec.account if project is not None else ""
    return Mandate(account, application.spec.conflicts if application is not None else "")


def denied_as_declared(project: Project | None, application: Application, environment: Environment) -> list[Problem]:
    """What the Project has against the declaration itself: one that stands in for a wrong document is of before, and so may be denied by now."""
    if project is None:
        return []
    name, spec = project.metadata.name, project.spec
    problems = []
    named = [one for source in application.sources for one in (source.repository, source.chart.repository)]
    if not all(allows_repository(project, one) for one in named):
        message = f"the Project {name} does not allow a repository of application {application.name}"
        problems.append(Problem(message, remedy=f"Allowed: {', '.join(spec.repositories)}"))
    if not allows_environment(project, environment):
        message = f"the Project {name} does not allow the environment {environment.metadata.name}"
        problems.append(Problem(message, remedy=environments_of(project)))
    return problems


def outside_of(project: Project | None, manifests: Iterable[Manifest]) -> list[Problem]:
    """A Problem for each Manifest whose kind is not among ``spec.kinds`` of the Project (empty: all kinds are)."""
    if project is None or not project.spec.kinds:
        return []
    allowed = project.spec.kinds
    return [_denied(project, one, "kind", "this kind", allowed) for one in manifests if not _among(allowed, one)]


def sourced_elsewhere(project: Project, fetched: Iterable[Fetched]) -> list[Problem]:
    """A Problem for each chart repository that the Project does not allow, as what a chart depends on may come from, and for each archive
    elsewhere: a lock, or the index of a repository, can name any address. What lies below its chart repository is allowed with it.
    """
    allowed = f"Allowed: {', '.join(project.spec.repositories)}"
    return [
        Problem(
            f"the Project {project.metadata.name} does not allow the {'archive' if one.within else 'chart repository'} "
            f"{one_line(without_credentials(one.address))}",
            one.file,
            one.line,
            one.field,
            allowed,
        )
        for one in fetched
        if not _lies_below(one.address, one.within) and not allows_repository(project, one.address)
    ]


def _lies_below(address: str, repository: str) -> bool:
    return bool(repository) and address.startswith(f"{repository.rstrip('/')}/") and not _climbs(address)


def confines(project: Project | None) -> bool:
    """True when the Project limits where objects may be, so that the target has to be asked where they are."""
    return project is not None and bool(project.spec.namespaces or project.spec.cluster_kinds)


def misplaced(project: Project, manifests: Iterable[Manifest], locations: Mapping[Identity, Location]) -> list[Problem]:
    """A Problem for each Manifest in a namespace that the Project does not allow, or in none although its kind may not be."""
    return [problem for one in manifests for problem in _misplaced(project, one, locations.get(one.identity))]


def _misplaced(project: Project, manifest: Manifest, location: Location | None) -> Iterator[Problem]:
    spec = project.spec
    if location is None:
        yield _denied(project, manifest, "kind", "a kind that the target does not know", spec.cluster_kinds)
    elif location.wide and not _among(spec.cluster_kinds, manifest):
        yield _denied(project, manifest, "kind", "a kind outside of every namespace", spec.cluster_kinds)
    elif spec.namespaces and location.namespace and not any(glob(pattern, location.namespace) for pattern in spec.namespaces):
        field = "metadata.name" if location.wide else "metadata.namespace"
        yield _denied(project, manifest, field, f"the namespace {location.namespace}", spec.namespaces)


def _denied(project: Project, manifest: Manifest, field: str, what: str, allowed: list[str]) -> Problem:
    message = f"{manifest.ref}: project {project.metadata.name} does not allow {what}"
    return Problem(message, manifest.file, manifest.line, field, f"Allowed: {', '.join(allowed) or 'none'}")


def _among(patterns: Iterable[str], manifest: Manifest) -> bool:
    return any(_matches(pattern, manifest) for pattern in patterns)


def _matches(pattern: str, manifest: Manifest) -> bool:
    named = f"{manifest.ref.group}/{manifest.ref.kind}" if "/" in pattern else manifest.ref.kind
    return glob(pattern, named)


def allows_repository(project: Project, repository: str) -> bool:
    """ "" is the configuration repository, which is always allowed. One whose address climbs (``..``) is matched by nothing."""
    allowed = project.spec.repositories
    if not repository or not allowed:
        return True
    return not _climbs(repository) and any(glob(pattern, repository) for pattern in allowed)


def _climbs(address: str) -> bool:
    return not {".", ".."}.isdisjoint(re.split(r"[/:\\]", unquote(unquote(address))))


def allows_environment(project: Project, environment: Environment) -> bool:
    spec, metadata = project.spec, environment.metadata
    named = not spec.environments or any(glob(pattern, metadata.name) for pattern in spec.environments)
    return named and (spec.environment_selector is None or selects(spec.environment_selector, metadata.labels))


def environments_of(project: Project) -> str:
    """Which Environments it allows, as a remedy."""
    spec = project.spec
    labelled = "" if spec.environment_selector is None else " with the labels of environmentSelector"
    return f"Allowed: {', '.join(spec.environments) or 'those'}{labelled}"


def glob(pattern: str, text: str) -> bool:
    """Shell-style: ``*`` is any run of characters, ``?`` is one; everything else is itself."""
    expression = "".join(".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None
