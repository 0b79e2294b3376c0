"""What people keep in Git, made by a seed: environments with budgets, applications with placements, and the objects that they want.

A `Content` is all that one commit says. It is written out as files for the engine to read, and kept by Revision as the oracle of the
laws: what was wanted where is asked of it, never of the engine. What is broken on purpose is "unknown", which is not "nothing".
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal
from zlib import crc32

import msgspec

from trimtab.core.model.manifest import (
    ADOPT_ANNOTATION,
    HOOK_ANNOTATION,
    HOOK_DELETE_ANNOTATION,
    KEEP_ANNOTATIONS,
    REPLACE_ANNOTATION,
    Manifest,
    digest,
)
from trimtab.core.model.names import Identity

from .factories import manifest
from .objects import WIDE
from .targets import WHEN

ENVIRONMENTS = ("dev", "staging", "production", "edge")
APPLICATIONS = ("api", "auth", "cart", "db", "mail", "search", "shop", "web")
SELECTING = APPLICATIONS[::2]
REACHING = APPLICATIONS[1::3]
"""Those that depend on others where these come last, not beside themselves."""
"""Those that select their Environments by labels, where each stands for itself."""
KINDS = ("Process", "File")
NEIGHBOURS = {"dev": "apps/here", "staging": "apps/there"}
"""Environments at one place, where a world has such, and the directory of each whose objects are seen by both."""
RELEASE = "release"
"""The branch that some applications follow; all others follow the default branch."""


ENDING = frozenset({"pre-removal", "post-removal"})
WHENS = ("", "", "back", "first,later", "later,back")
"""The Deployments that hooks are for."""


@dataclass(frozen=True)
class Wanted:
    """One object as Git wants it. ``trouble`` is "" or what makes it never get healthy. ``hook`` are the phases in which it is run, if
    it is one, ``delete`` when its object goes, and ``when`` the Deployments that it is for, if not all. ``fixed`` can only be set when the object is made, and made anew it may be only when
    it says so (``replaces``).
    """

    kind: str
    name: str
    version: int = 1
    wave: int = 0
    adopt: bool = False
    keep: bool = False
    trouble: Literal["", "never", "fails", "refuses", "invalid"] = ""
    hook: str = ""
    delete: str = ""
    when: str = ""
    fixed: int = 0
    replaces: bool = False

    @property
    def phases(self) -> frozenset[str]:
        return frozenset(self.hook.split(",")) if self.hook else frozenset()

    def phases_at(self, occasion: str) -> frozenset[str]:
        """Those of such a Deployment, and those of the end."""
        return self.phases if not self.when or occasion in self.when.split(",") else self.phases & ENDING

    @property
    def ends(self) -> bool:
        """True for a hook of the end of an application. None of them fails: nobody could mend it when Git has it no more."""
        return bool(self.phases & ENDING)

    @property
    def manifest(self) -> Manifest:
        return _manifest(self)

    @property
    def identity(self) -> Identity:
        return self.manifest.identity


@lru_cache(maxsize=4096)
def _manifest(wanted: Wanted) -> Manifest:
    hooks = {HOOK_ANNOTATION: wanted.hook, HOOK_DELETE_ANNOTATION: wanted.delete} if wanted.hook else {}
    hooks |= {WHEN: wanted.when} if wanted.when else {}
    hooks |= {REPLACE_ANNOTATION: "true"} if wanted.replaces else {}
    notes = {**hooks, **({ADOPT_ANNOTATION: "true"} if wanted.adopt else {}), **(_KEEP if wanted.keep else {})}
    spec: dict[str, Any] = {"version": wanted.version, **({"fixed": wanted.fixed} if wanted.fixed else {})}
    if wanted.trouble:
        spec[wanted.trouble] = "ready" if wanted.trouble == "never" else "somebody made it so"
    return manifest(wanted.kind, wanted.name, wave=wanted.wave or None, annotations=notes or None, **spec)


_KEEP = dict([next(iter(KEEP_ANNOTATIONS.items()))])


@dataclass(frozen=True)
class Budget:
    """The removal budget of an Environment."""

    percent: int
    objects: int
    empty_render: Literal["hold", "allow"]


@dataclass(frozen=True)
class Place:
    environment: str
    after: tuple[str, ...] = ()
    path: str = ""


@dataclass(frozen=True)
class App:
    name: str
    path: str
    places: tuple[Place, ...]
    depends_on: tuple[str, ...] = ()
    """Names, or `name@environment`."""
    adopt: bool = False
    revision: str = ""
    deadline_seconds: int = 600

    @property
    def selects(self) -> bool:
        """True when its Environments have a label for it, in place of a name in its document: then they are a fleet."""
        return self.name in SELECTING and not any(place.after or place.path for place in self.places)

    def runs_in(self, environment: str) -> bool:
        return any(place.environment == environment for place in self.places)

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(place.path or self.path for place in self.places))


@dataclass
class Content:
    """All that one commit says. ``broken`` maps files to how: ``garbled`` (no document can be read) or ``typo`` (a wrong field).
    A directory has a README beside its objects, so that it stays when it is emptied, unless it is among the ``bare``.
    """

    environments: dict[str, Budget] = field(default_factory=dict)
    applications: dict[str, App] = field(default_factory=dict)
    directories: dict[str, dict[str, Wanted]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    bare: frozenset[str] = frozenset()

    def copy(self) -> Content:
        directories = {path: dict(objects) for path, objects in self.directories.items()}
        return Content(dict(self.environments), dict(self.applications), directories, dict(self.broken), self.bare)

    def files(self) -> dict[str, bytes]:
        """As they stand in the repository. JSON is YAML, and quicker to write."""
        found = {".trimtab/environments.yaml": b"\n---\n".join(self._environments())}
        found |= {document(app.name): _application(app) for app in self.applications.values()}
        found |= {f"{path}/README.md": b"What runs here" for path in self.directories if path not in self.bare}
        for path, objects in self.directories.items():
            found |= {_file(path, wanted): _body(wanted) for wanted in objects.values()}
        for file, how in self.broken.items():
            if file in found:
                found[file] = b"{" if how == "garbled" else found[file].replace(b'"spec":{', b'"spec":{"colour":"red",', 1)
        return found

    def _environments(self) -> Iterator[bytes]:
        for name, budget in sorted(self.environments.items()):
            selecting = (app.name for app in self.applications.values() if app.selects and app.runs_in(name))
            yield _environment(name, budget, tuple(sorted(selecting)))

    @property
    def garbled(self) -> bool:
        """True when some configuration file does not even tell what it declares."""
        return any(self.broken.get(document(name)) == "garbled" for name in self.applications)

    def doubtful(self, application: str) -> bool:
        return application in self.applications and document(application) in self.broken

    def rendered(self, path: str) -> dict[Identity, Wanted] | None:
        """What a directory wants; None when it cannot be told."""
        objects = self.directories.get(path, {}).values()
        if any(_file(path, wanted) in self.broken for wanted in objects):
            return None
        return {wanted.identity: wanted for wanted in objects}


@dataclass(frozen=True)
class View:
    """Git as the engine has seen it at a moment: the content at each followed revision expression ("" = the default branch)."""

    contents: Mapping[str, Content]

    @property
    def home(self) -> Content | None:
        return self.contents.get("")

    def place(self, application: str, environment: str) -> tuple[App, Place] | None:
        app = self.home.applications.get(application) if self.home else None
        return next(((app, place) for place in app.places if place.environment == environment), None) if app else None

    def fleet(self, application: str) -> frozenset[str]:
        """The Environments that take turns for an application; empty where they do not, or where that cannot be told."""
        app = self.home.applications.get(application) if self.home else None
        if app is None or not app.selects or self.home is None or self.home.garbled or self.home.doubtful(application):
            return frozenset()
        return frozenset(place.environment for place in app.places)

    def wants(self, application: str, environment: str) -> dict[Identity, Wanted] | None:
        """The objects of an application in an Environment; {} when it is not declared there, None when that cannot be told."""
        home = self.home
        if home is None or home.doubtful(application):
            return None
        found = self.place(application, environment)
        if found is None:
            return None if home.garbled else {}
        app, place = found
        content = self.contents.get(app.revision)
        return content.rendered(place.path or app.path) if content is not None else None

    def written(self, application: str, environment: str) -> frozenset[Identity]:
        """The names of what is in the directory of an application, readable or not."""
        found = self.place(application, environment)
        content = self.contents.get(found[0].revision) if found is not None else None
        if found is None or content is None:
            return frozenset()
        return frozenset(one.identity for one in content.directories.get(found[1].path or found[0].path, {}).values())

    def applications(self, environment: str) -> Iterator[tuple[str, dict[Identity, Wanted] | None]]:
        """Each application that is, or may be, declared in an Environment, and what it wants there."""
        for name in self.home.applications if self.home else ():
            found = self.wants(name, environment)
            if found is None or self.place(name, environment) is not None:
                yield name, found

    def known(self) -> bool:
        return self.home is not None and not self.home.garbled

    def digest(self, application: str, environment: str) -> str:
        """Of the content, as the renderer makes it; "" when it cannot be told."""
        found = self.wants(application, environment)
        if found is None:
            return ""
        return digest(sorted([*wanted.identity, wanted.manifest.digest] for wanted in found.values()))


def document(application: str) -> str:
    return f".trimtab/applications/{application}.yaml"


def object_file(path: str, wanted: Wanted) -> str:
    return _file(path, wanted)


def _file(path: str, wanted: Wanted) -> str:
    return f"{path}/{wanted.kind.lower()}-{wanted.name}.json"


@lru_cache(maxsize=4096)
def _body(wanted: Wanted) -> bytes:
    return msgspec.json.encode(wanted.manifest.body)


@lru_cache(maxsize=1024)
def _environment(name: str, budget: Budget, selecting: tuple[str, ...]) -> bytes:
    removal = {"percent": budget.percent, "objects": budget.objects, "emptyRender": budget.empty_render}
    labels = {f"runs-{one}": "yes" for one in selecting}
    return _document("Environment", name, {"target": {"kind": "memory"}, "removal": removal}, labels)


@lru_cache(maxsize=1024)
def _application(app: App) -> bytes:
    places: list[dict[str, Any]] = [
        {"name": place.environment, "after": list(place.after), "path": place.path} for place in app.places
    ]
    if app.selects:
        places = [{"selector": {"matchLabels": {f"runs-{app.name}": "yes"}}}]
    source = {"path": app.path, "revision": app.revision}
    rest: dict[str, Any] = {"dependsOn": list(app.depends_on), "adopt": app.adopt}
    return _document(
        "Application",
        app.name,
        {"source": source, "environments": places, "progressDeadlineSeconds": app.deadline_seconds, **rest},
    )


def _document(kind: str, name: str, spec: dict[str, Any], labels: Mapping[str, str] = MappingProxyType({})) -> bytes:
    metadata = {"name": name, "labels": dict(labels)}
    return msgspec.json.encode({"apiVersion": "trimtab.dev/v1", "kind": kind, "metadata": metadata, "spec": spec})


# --- by a seed --------------------------------------------------------------------------------------------------------------


def first_content(chance: random.Random) -> Content:
    """Two to four Environments, two to eight applications, mostly small."""
    content = Content()
    for name in ENVIRONMENTS[: chance.choice((2, 2, 2, 3, 3, 4))]:
        content.environments[name] = _budget(chance)
    for name in chance.sample(APPLICATIONS, chance.choice((2, 3, 3, 4, 4, 5, 6, 8))):
        add_application(content, name, chance)
    return content


def add_neighbours(content: Content, chance: random.Random) -> None:
    """Two Environments at one place, each with a directory that is rendered in it alone: of two applications, or of one in either order."""
    paths = dict(NEIGHBOURS)
    names = list(paths)
    for path in paths.values():
        content.directories[path] = {}
    content.directories[paths[names[0]]] = {one.name: one for one in (Wanted(WIDE, f"wide-{number}") for number in range(3))}
    if chance.random() < 0.4:
        for name in names:
            content.applications[f"in-{name}"] = App(f"in-{name}", paths[name], (Place(name),))
        return
    first, second = chance.choice((names, names[::-1]))
    places = (Place(first, (), paths[first]), Place(second, (first,), paths[second]))
    content.applications["in-both"] = App("in-both", paths[first], places)


def _budget(chance: random.Random) -> Budget:
    return Budget(chance.choice((25, 50, 50, 100)), chance.choice((0, 1, 1, 3)), chance.choice(("hold", "hold", "allow")))


def add_application(content: Content, name: str, chance: random.Random) -> None:
    """A new application with objects of its own, that may depend on one that is there already."""
    path = f"apps/{name}"
    names = list(content.environments)[: chance.choice((1, 2, 2, 2, 3, 4))]
    chain = chance.random() < 0.7
    places = [Place(one, (names[index - 1],) if chain and index else ()) for index, one in enumerate(names)]
    if len(places) > 1 and chance.random() < 0.3:
        places[-1] = replace(places[-1], path=f"overlays/{name}")
        content.directories[places[-1].path] = first_objects(name, chance)
    hosts = [app.name for app in content.applications.values() if {one.environment for one in app.places} >= set(names)]
    depends_on: tuple[str, ...] = (chance.choice(hosts),) if hosts and chance.random() < 0.35 else ()
    if name in REACHING:
        depends_on = tuple(f"{host}@{content.applications[host].places[-1].environment}" for host in depends_on)
    app = App(name, path, tuple(places), depends_on, chance.random() < 0.15, RELEASE if chance.random() < 0.1 else "")
    content.applications[name] = replace(app, deadline_seconds=chance.choice((30, 600)))
    content.directories[path] = first_objects(name, chance)


def a_hook(name: str, chance: random.Random) -> Wanted:
    of_an_end = ("pre-removal", "post-removal", "pre,pre-removal", "pre-removal,post-removal")
    phase = chance.choice(("pre", "pre", "main", "post", "post", "failed", "pre,post", *of_an_end))
    delete = chance.choice(("", "", "before", "succeeded", "failed", "succeeded,failed", "before,succeeded"))
    when = WHENS[crc32(name.encode()) % len(WHENS)]
    return Wanted(chance.choice(KINDS), name, wave=chance.choice((0, 0, 1, -1)), hook=phase, delete=delete, when=when)


def first_objects(name: str, chance: random.Random) -> dict[str, Wanted]:
    waves = chance.random() < 0.3
    objects = [
        Wanted(
            chance.choice(KINDS),
            f"{name}-{number}",
            wave=chance.choice((0, 0, 1, 2)) if waves else 0,
            keep=chance.random() < 0.05,
        )
        for number in range(chance.choice((1, 2, 2, 3, 4, 6)))
    ]
    if chance.random() < 0.3:
        objects += [a_hook(f"{name}-hook-{number}", chance) for number in range(chance.choice((1, 1, 2)))]
    return {wanted.name: wanted for wanted in objects}
