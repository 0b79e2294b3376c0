"""Generators: Elements and a template in, Applications out.

Nothing is taken away by mistake. While anything of a Generator is in doubt (a repository that cannot be read, a file that cannot be
understood, an element that the template does not fit, an entry that comes to nothing), all that it made before and does not make
now stays as it was. Where it is not in doubt, an Application whose element is gone is no longer declared; when too many go at
once, or since then, nothing of them is removed until somebody approves the very plan.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from trimtab.core.model.config import Application, Configuration, Environment
from trimtab.core.model.errors import Problem
from trimtab.core.model.generator import ApplicationBudget, Elements, Generated, Generator, Leaving

from . import strict
from .elements import Element, Found, elements, wrong_entries
from .positions import Path
from .selection import ENVIRONMENT_PARAMETERS
from .strict import Finding
from .substitution import fill, is_filled

TEMPLATE: Final[Path] = ("spec", "template")
FINDINGS_MAX = 20
"""What is reported of one Generator; the rest is the same mistake again."""

Made = Application | tuple[Finding, ...]
"""What the template comes to for one element: an Application, or what is wrong."""


@dataclass
class Memory:
    """What was made before of which elements, so that a commit that touches one makes one. Forgetting it costs time only."""

    made: dict[str, tuple[dict[str, Any], dict[bytes, Made]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Expansion:
    """Of one Generator: the Applications by name, which element each comes from, what is wrong, and whether anything is in doubt."""

    applications: dict[str, Application] = field(default_factory=dict)
    origins: dict[str, Generated] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    problems: tuple[Problem, ...] = ()
    complete: bool = True


def wrong(generator: Generator) -> list[Finding]:
    """What is wrong in the document itself, whatever elements there will be."""
    _, findings = strict.check(generator.spec.template, Application)
    template = (
        Finding(one.message, (*TEMPLATE, *one.path), one.remedy)
        for one in findings
        if not is_filled(_at(generator.spec.template, one.path))
    )
    return [*wrong_entries(generator), *template, *_chosen_project(generator)]


def _chosen_project(generator: Generator) -> Iterator[Finding]:
    """Whoever writes to another repository than that of the configuration would choose the limits that hold for them."""
    spec = generator.spec.template.get("spec", {})
    project = spec.get("project", "") if isinstance(spec, dict) else spec
    if is_filled(project) and any(_is_foreign(one) for each in generator.spec.generate for one in (each, *(each.matrix or ()))):
        path = (*TEMPLATE, "spec", "project") if isinstance(spec, dict) else (*TEMPLATE, "spec")
        yield Finding("another repository cannot choose the Project of what is made", path, "Write the name of the Project here")


def _is_foreign(source: Elements) -> bool:
    return any(globs is not None and globs.repository for globs in (source.directories, source.files))


def expand(
    generator: Generator,
    found: Found,
    environments: Mapping[str, Environment],
    before: Mapping[str, Generated],
    taken: Mapping[str, str],
    memory: Memory,
) -> Expansion:
    """``before`` says which element every generated Application came from; ``taken`` which names somebody else has, and who that is."""
    name = generator.metadata.name
    gathered = elements(generator, found, environments)
    findings: dict[Finding, None] = dict.fromkeys(gathered.findings)
    complete = gathered.complete
    by_name: dict[str, list[tuple[Element, Application]]] = {}
    for element, made in _made(generator, gathered.elements, memory):
        if isinstance(made, Application):
            by_name.setdefault(made.name, []).append((element, made))
        else:
            complete = False
            findings |= dict.fromkeys(one._replace(message=f"{element.name}: {one.message}") for one in made)
    applications, origins = {}, {}
    for called, candidates in by_name.items():
        if called in taken:
            complete = False
            text = f"{candidates[0][0].name}: the name {called} is that of {taken[called]}"
            findings[Finding(text, (*TEMPLATE, "metadata", "name"), "Make names that nobody else has")] = None
            continue
        element, application = _first(candidates, before.get(called))
        if len(candidates) > 1:
            complete = False
            others = ", ".join(other.name for other, _ in candidates[:5])
            text = f"{others} would all be the application {called}; it is that of {element.name}"
            findings[Finding(text, (*TEMPLATE, "metadata", "name"), "Let the name tell them apart")] = None
        applications[called], origins[called] = application, Generated(name, element.name)
    return Expansion(applications, origins, _bounded(list(findings)), gathered.problems[:FINDINGS_MAX], complete)


def _made(generator: Generator, every: tuple[Element, ...], memory: Memory) -> list[tuple[Element, Made]]:
    template = generator.spec.template
    known_template, known = memory.made.get(generator.metadata.name, ({}, {}))
    if known_template != template:
        known = {}
    kept: dict[bytes, Made] = {}
    result = []
    for element in every:
        key = msgspec.json.encode(element.parameters)
        made = known[key] if key in known else _application(template, element)
        kept[key] = made
        result.append((element, made))
    memory.made[generator.metadata.name] = (template, kept)
    return result


def _application(template: Mapping[str, Any], element: Element) -> Made:
    filled, findings = fill(dict(template), element.parameters, keep=_is_of_the_entry)
    if not findings:
        clean, findings = strict.check(filled, Application)
    if findings:
        return tuple(Finding(one.message, (*TEMPLATE, *one.path), one.remedy) for one in findings)
    return msgspec.convert(clean, Application)


def _is_of_the_entry(path: Path, name: str) -> bool:
    """In these fields of an entry of `environments`, `${environment.…}` is the Environment of that entry, which is not known yet."""
    filled_later = path[3:4] in (("path",), ("revision",)) or path[3:5] == ("helm", "valueFiles")
    return path[:2] == ("spec", "environments") and filled_later and name.startswith(ENVIRONMENT_PARAMETERS)


def _first(candidates: list[tuple[Element, Application]], before: Generated | None) -> tuple[Element, Application]:
    """Of several elements with one name the one that had it before; so a new one never takes the place of what runs."""
    mine = [one for one in candidates if before is not None and one[0].name == before.element]
    return (mine or candidates)[0]


def _bounded(findings: list[Finding]) -> tuple[Finding, ...]:
    if len(findings) <= FINDINGS_MAX:
        return tuple(findings)
    more = Finding(f"{len(findings) - FINDINGS_MAX} more mistakes like these", TEMPLATE, "Mend those first")
    return (*findings[:FINDINGS_MAX], more)


def _at(value: Any, path: Path) -> Any:
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value


# --- what goes -----------------------------------------------------------------------------------------------------------------


def leaving(
    before: Configuration, generators: Mapping[str, Generator], declared: Container[str], alive: Container[str]
) -> dict[str, Leaving]:
    """What was made by a Generator and is declared no more, as long as something of it is left. ``generators`` are those of now."""
    made = {name: one.generator for name, one in before.generated.items()}
    earlier = {name: one.generator for name, one in before.leaving.items() if name in alive}
    by_generator: dict[str, set[str]] = {}
    for name, generator in {**earlier, **made}.items():
        by_generator.setdefault(generator, set()).add(name)
    found: dict[str, Leaving] = {}
    for generator, names in sorted(by_generator.items()):
        gone = {name for name in names if name not in declared}
        declaring = generators.get(generator) or before.generators.get(generator)
        if declaring is not None:
            held = _held(generator, declaring.spec.removal, len(gone), len(names))
            found |= {name: Leaving(generator, held) for name in sorted(gone)}
        else:
            found |= {name: before.leaving[name] for name in sorted(gone) if name in before.leaving}
    return found


def _held(generator: str, budget: ApplicationBudget, gone: int, total: int) -> str:
    if gone <= budget.applications or gone * 100 <= total * budget.percent:
        return ""
    limit = f"{budget.percent} % (and {budget.applications})"
    return f"{gone} of {total} applications of the generator {generator} would go, more than its budget of {limit}"
