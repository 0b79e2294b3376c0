"""Which ignore rules speak of an object, and what they leave of it to others: pure.

A rule with a `when` counts where its expression is true of the object as it stands in Git: so nobody can opt out of Git by an edit on
the target. Expressions are run elsewhere (`ports.judge`); their answers come in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from trimtab.core.model.config import Configuration, Ignore
from trimtab.core.model.errors import Problem
from trimtab.core.model.leaving import Leave
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import ObjectRef


def speaks_of(rule: Ignore, ref: ObjectRef) -> bool:
    """Whether a rule is about ``ref``, as far as its group, kind and name say."""
    return rule.group in ("", ref.group) and rule.kind in ("", ref.kind) and rule.name in ("", ref.name)


def expressions(rules: Iterable[Ignore], ref: ObjectRef) -> tuple[str, ...]:
    """Those that have to be asked about ``ref``."""
    return tuple(rule.when for rule in rules if rule.when and speaks_of(rule, ref))


def leave(rules: Iterable[Ignore], manifest: Manifest, holds: Callable[[str], bool]) -> Leave:
    """What all rules together leave of an object to others. ``holds`` tells whether an expression is true of it."""
    chosen = [rule for rule in rules if speaks_of(rule, manifest.ref) and (not rule.when or holds(rule.when))]
    pointers = dict.fromkeys(pointer for rule in chosen for pointer in rule.pointers)
    writers = dict.fromkeys(writer for rule in chosen for writer in rule.writers)
    return Leave(tuple(pointers), tuple(writers))


def as_before(
    configuration: Configuration, before: Configuration, wrong: Collection[str], problems: Sequence[Problem]
) -> Configuration:
    """``configuration`` with ``problems``, in which the documents that are ``wrong`` (``Kind/name``) say what they said ``before``."""
    applications, environments = dict(configuration.applications), dict(configuration.environments)
    policies = dict(configuration.policies)
    for document in wrong:
        kind, _, name = document.partition("/")
        if kind == "Application" and name in before.applications:
            applications[name] = before.applications[name]
        elif kind == "Environment" and name in before.environments:
            environments[name] = before.environments[name]
        elif kind == "Policy" and name in before.policies:
            policies[name] = before.policies[name]
    return msgspec.structs.replace(
        configuration,
        applications=applications,
        environments=environments,
        policies=policies,
        problems=(*configuration.problems, *problems),
        doubtful=tuple(sorted({*configuration.doubtful, *(document for document in wrong if document)})),
    )
