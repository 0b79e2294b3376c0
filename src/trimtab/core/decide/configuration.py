"""Trimtab's own configuration: the files below `.trimtab` and what was declared before in, a Configuration out.

A bad document never stops the good ones, and never counts as a removal: what it declared before stays and is listed as
doubtful. Where not even its kind and name can be told, the Configuration is not complete, and everything that was declared before
and is not seen now stays. Every mistake is reported where it stands, with a remedy; all of them at once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

import msgspec

from trimtab.core.model.config import (
    API_VERSION,
    DEFAULT_ENVIRONMENT,
    DEFAULT_PROJECT,
    DEFAULT_TARGET,
    KINDS,
    NAME_PATTERN,
    Application,
    ApplicationSpec,
    Configuration,
    Environment,
    Metadata,
    Origin,
    Project,
    Source,
)
from trimtab.core.model.config import Document as Kind
from trimtab.core.model.errors import Problem
from trimtab.core.model.generator import Generated, Generator
from trimtab.core.model.limits import DEFAULT, Limits
from trimtab.core.model.people import Grant, Group, User
from trimtab.core.model.policy import Policy, PolicySpec
from trimtab.core.model.protection import Protection
from trimtab.core.model.text import escaped, is_safe_line

from . import documents, generating, people, policy, references, strict
from .documents import Document
from .elements import Found
from .generators import FINDINGS_MAX, TEMPLATE, Memory, leaving
from .generators import wrong as wrong_generator
from .positions import Path, dotted, line_of
from .reading import Adapters as Adapters
from .reading import Reading

_ALWAYS: Final = frozenset({f"Environment/{DEFAULT_ENVIRONMENT}", f"Project/{DEFAULT_PROJECT}"})
ENDINGS: Final = (".yaml", ".yml", ".json")
_K = TypeVar("_K", Environment, Application, Project, User, Group, Grant, Policy, Protection, Generator)


def read(
    files: Mapping[str, bytes], before: Configuration, *, adapters: Adapters | None = None, limits: Limits = DEFAULT
) -> Configuration:
    """What the files declare, with ``before`` standing in for what is wrong. Never raises, whatever the files hold.

    ``adapters`` has the type of each target's settings by its kind; None leaves ``spec.target`` unchecked.
    """
    return configured(parse(files, adapters=adapters, limits=limits), before)


def parse(files: Mapping[str, bytes], *, adapters: Adapters | None = None, limits: Limits = DEFAULT) -> Reading:
    """The documents, each by itself."""
    reading = Reading(files, limits, adapters)
    for file in sorted(files):
        if file.endswith(ENDINGS):
            _read_file(reading, escaped(file), files[file])
    for key in reading.doubtful:
        reading.good.pop(key, None)
    return reading


def configured(
    reading: Reading,
    before: Configuration,
    *,
    found: Found = MappingProxyType({}),
    alive: Container[str] = frozenset(),
    memory: Memory | None = None,
) -> Configuration:
    """What the documents come to together. ``found`` answers what `Reading.asks` asks; ``alive`` are Applications of which something is
    left. ``reading`` stays as it is.
    """
    reading = reading.copy()
    _keep_from_before(reading, before)
    generated = generating.generate(reading, before, found, memory or Memory())
    safe = people.narrowed(_declared(before), reading.said, at=before.origins, hidden=reading.broken)
    checked = references.check(reading.good, before=safe, doubtful=reading.doubtful, fleets_before=before.fleets)
    _report(reading, checked.wrong, generated)
    made = _configuration(reading, checked, generated)
    return msgspec.structs.replace(made, leaving=leaving(before, made.generators, made.applications, alive))


def _report(reading: Reading, found: Iterable[references.Wrong], generated: Mapping[str, Generated]) -> None:
    """Of what a Generator made only the first mistakes: the others are the same, and it may have made thousands."""
    told: Counter[str] = Counter()
    for wrong in found:
        name = wrong.document.removeprefix("Application/")
        if wrong.document == f"Application/{name}" and name in generated:
            told[generated[name].generator] += 1
            if told[generated[name].generator] <= FINDINGS_MAX:
                reading.wrong(wrong.document, f"application {name}: {wrong.message}", (*TEMPLATE, *wrong.path), wrong.remedy)
        else:
            reading.wrong(wrong.document, wrong.message, wrong.path, wrong.remedy)


def zero_configuration(folders: Iterable[str]) -> Configuration:
    """For a repository without `.trimtab`: each top folder is an Application of its name, in the Environment `host`. "" is the root.

    Of two folders whose names come to the same, the one that has exactly that name wins, else the first; the other is a Problem.
    """
    taken: dict[str, str] = {}
    problems: list[Problem] = []
    for folder in sorted(folders, key=lambda folder: (_name_of(folder) != folder, folder)):
        name = _name_of(folder)
        if name in taken:
            text = f"the folders {escaped(taken[name])} and {escaped(folder)} would both be the Application {name}"
            problems.append(Problem(text, escaped(folder), remedy="Rename one of the two, or declare Applications in .trimtab/"))
        elif not is_safe_line(folder):
            problems.append(Problem("the folder's name has control characters", escaped(folder), remedy="Rename the folder"))
        else:
            taken[name] = folder
    applications = {
        name: Application(Metadata(name), ApplicationSpec(source=Source(path=taken[name] or "."))) for name in sorted(taken)
    }
    return Configuration(
        _with_default({}, Environment, DEFAULT_ENVIRONMENT),
        applications,
        _with_default({}, Project, DEFAULT_PROJECT),
        problems=tuple(problems),
    )


def _read_file(reading: Reading, file: str, data: bytes) -> None:
    read = documents.read(data, file, limits=reading.limits)
    if read.problems:
        reading.broken.add(file)
        reading.problems += read.problems
    for document in read.documents:
        _read_document(reading, file, data, document)


def _read_document(reading: Reading, file: str, data: bytes, document: Document) -> None:
    def wrong(message: str, path: Path, remedy: str) -> None:
        line = line_of(data, file, document.line, path)
        reading.problems.append(Problem(message, file, line, dotted(path), remedy))

    value = document.value
    if not isinstance(value, dict):
        reading.broken.add(file)
        wrong(
            f"an object with apiVersion and kind is wanted here, not {strict.shown(value)}",
            (),
            "See `trimtab schema Application`",
        )
        return
    header = list(_wrong_header(value))
    for finding in header:
        wrong(*finding)
    key = _key(value)
    kind = KINDS.get(value["kind"]) if isinstance(value.get("kind"), str) else None
    findings: list[strict.Finding] = []
    if kind is not None:
        clean, findings = strict.check({name: value[name] for name in value if name not in ("apiVersion", "kind")}, kind)
        if kind is Environment and reading.adapters is not None:
            findings += _wrong_target(clean, reading.adapters)
        if kind is Policy and not findings:
            said = msgspec.convert(clean.get("spec", {}), PolicySpec)
            findings += [strict.Finding(message, path, remedy) for path, message, remedy in policy.wrong(said)]
        if kind is Generator and not findings:
            findings += wrong_generator(msgspec.convert(clean, Generator))
        for finding in findings[: reading.limits.problems]:
            wrong(*finding)
    if key is not None and people.is_one(key):
        reading.said.append((key, value))
    if key is None:
        reading.broken.add(file)
    elif key in reading.origins:
        first = reading.origins[key]
        wrong(
            f"{key} is declared twice, first in {first.file}:{first.line}",
            ("metadata", "name"),
            "Rename or remove one of the two",
        )
        reading.doubtful.add(key)
    else:
        reading.origins[key] = Origin(file, document.line)
        if header or findings or kind is None:
            reading.doubtful.add(key)
        else:
            reading.good[key] = msgspec.convert(clean, kind)


def _wrong_header(value: dict[str, Any]) -> Iterable[strict.Finding]:
    api_version, kind = value.get("apiVersion"), value.get("kind")
    if api_version != API_VERSION:
        what = "apiVersion is missing" if api_version is None else f"{strict.shown(api_version)} is not known here"
        yield strict.Finding(what, ("apiVersion",), f"Write apiVersion: {API_VERSION}; manifests belong outside .trimtab/")
    if not isinstance(kind, str) or kind not in KINDS:
        what = "kind is missing" if kind is None else f"there is no kind {strict.shown(kind)}"
        yield strict.Finding(what, ("kind",), strict.nearest(kind, KINDS))


def _wrong_target(document: Any, adapters: Adapters) -> Iterable[strict.Finding]:
    """What is wrong with ``spec.target``: which fields it takes depends on its kind."""
    spec = document.get("spec") if isinstance(document, dict) else None
    target = spec.get("target") if isinstance(spec, dict) else None
    if not isinstance(target, dict):
        return
    kind = target.get("kind", DEFAULT_TARGET)
    if not isinstance(kind, str) or kind not in adapters:
        what = f"there is no target {strict.shown(kind)}"
        yield strict.Finding(what, ("spec", "target", "kind"), strict.nearest(kind, adapters))
        return
    _, findings = strict.check({name: value for name, value in target.items() if name != "kind"}, adapters[kind])
    for finding in findings:
        yield strict.Finding(finding.message, ("spec", "target", *finding.path), finding.remedy)


def _key(value: dict[str, Any]) -> str | None:
    """``Kind/name``, as far as the document tells both."""
    kind, metadata = value.get("kind"), value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(kind, str) or kind not in KINDS or not isinstance(name, str):
        return None
    return f"{kind}/{name}" if re.fullmatch(NAME_PATTERN, name) and "\n" not in name else None


def _keep_from_before(reading: Reading, before: Configuration) -> None:
    """While any file hides what it declares, nothing is gone: a document may just have moved into that file."""
    for key in _declared(before) if reading.broken else ():
        generated = key.removeprefix("Application/") in before.generated
        if key not in reading.origins and key not in _ALWAYS and not generated:
            reading.doubtful.add(key)
            if key in before.origins:
                reading.origins[key] = before.origins[key]
    for key in reading.doubtful:
        reading.good.pop(key, None)


def _declared(configuration: Configuration) -> dict[str, Kind]:
    return {
        **{f"Environment/{name}": one for name, one in configuration.environments.items()},
        **{f"Application/{name}": one for name, one in configuration.applications.items()},
        **{f"Project/{name}": one for name, one in configuration.projects.items()},
        **{f"User/{name}": one for name, one in configuration.users.items()},
        **{f"Group/{name}": one for name, one in configuration.groups.items()},
        **{f"Grant/{name}": one for name, one in configuration.grants.items()},
        **{f"Policy/{name}": one for name, one in configuration.policies.items()},
        **{f"Protection/{name}": one for name, one in configuration.protections.items()},
        **{f"Generator/{name}": one for name, one in configuration.generators.items()},
    }


def _configuration(reading: Reading, checked: references.Checked, generated: dict[str, Generated]) -> Configuration:
    effective = checked.effective
    return Configuration(
        environments=_with_default(_of(effective, Environment), Environment, DEFAULT_ENVIRONMENT),
        applications=_of(effective, Application),
        projects=_with_default(_of(effective, Project), Project, DEFAULT_PROJECT),
        users=_of(effective, User),
        groups=_of(effective, Group),
        grants=_of(effective, Grant),
        policies=_of(effective, Policy),
        protections=_of(effective, Protection),
        generators=_of(effective, Generator),
        generated={name: one for name, one in sorted(generated.items()) if f"Application/{name}" in effective},
        fleets=dict(sorted(checked.fleets.items())),
        origins={key: reading.origins[key] for key in sorted(effective) if key in reading.origins},
        problems=tuple(sorted(reading.problems, key=lambda problem: (problem.file, problem.line))),
        doubtful=tuple(sorted(checked.doubtful)),
        complete=not reading.broken,
    )


def _of(effective: Mapping[str, Kind], kind: type[_K]) -> dict[str, _K]:
    return {one.metadata.name: one for _, one in sorted(effective.items()) if isinstance(one, kind)}


def _with_default(found: dict[str, _K], kind: Callable[[Metadata], _K], name: str) -> dict[str, _K]:
    return found if name in found else {**found, name: kind(Metadata(name))}


def _name_of(folder: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")[:63].strip("-") or "root"
