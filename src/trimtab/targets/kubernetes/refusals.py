"""What a server's no means for a commit: Problems that stand in a file before anything is done, Failed outcomes after a Step. Pure."""

from __future__ import annotations

from trimtab.core.model.errors import Awaited, Problem, Refused, TrimtabError
from trimtab.core.model.manifest import REPLACE_ANNOTATION, Manifest
from trimtab.core.model.plan import Failed, Step
from trimtab.core.model.text import one_line

from .errors import ApiError, Conflict, Forbidden, Invalid

FIELDS_SHOWN_MAX = 10
PROBLEMS_MAX = 20
NO_DRY_RUN = "does not support dry run"
_TOO_LARGE = "request is too large"
_REPLACE = f'Put it back, or annotate the object with {REPLACE_ANNOTATION}: "true", so that it is made anew'


def problems(manifest: Manifest, error: Invalid | Forbidden) -> list[Problem]:
    """One for each field that the server names, else one for the object."""
    if isinstance(error, Invalid):
        named = [problem(manifest, cause.field, cause.message, error.remedy) for cause in error.causes if cause.field]
        if named:
            return named[:PROBLEMS_MAX]
    if isinstance(error, Forbidden) and error.terminating:
        return [problem(manifest, "metadata.namespace", one_line(error.message), "Wait until the namespace is gone")]
    return [problem(manifest, "", one_line(error.message), error.remedy)]


def problem(manifest: Manifest, field: str, message: str, remedy: str) -> Problem:
    return Problem(f"{manifest.ref}: {message}", manifest.file, manifest.line, field, remedy)


def awaited(manifest: Manifest, field: str, message: str, remedy: str) -> Awaited:
    """As `problem`, of what another Application may be about to bring."""
    return Awaited(f"{manifest.ref}: {message}", manifest.file, manifest.line, field, remedy)


def failed(step: Step, error: TrimtabError) -> Failed:
    """The outcome of a Step that met ``error``."""
    doing = f"{step.action} {step.ref}"
    if isinstance(error, Conflict) and error.fields:
        others = ", ".join(
            sorted({f"{one.manager or 'another manager'}: {one.field}" for one in error.fields})[:FIELDS_SHOWN_MAX]
        )
        remedy = "Leave the fields out in Git, take them from the other manager, or say conflicts: force of the application"
        return Failed(step.ref, f"{doing}: other managers own fields of it: {one_line(others)}", remedy, transient=False)
    if isinstance(error, Invalid) and error.immutable:
        names = ", ".join(error.immutable[:FIELDS_SHOWN_MAX])
        return Failed(step.ref, f"{doing}: {names} cannot be changed in place", _REPLACE, transient=False)
    if isinstance(error, ApiError) and _TOO_LARGE in error.message:
        remedy = "Make it smaller or divide it: a server stores objects of up to about 1.5 MiB"
        return Failed(step.ref, f"{doing}: it is too large for the server to store", remedy, transient=False)
    going = isinstance(error, Forbidden) and error.terminating
    lasting = isinstance(error, Invalid | Refused) and not going
    return Failed(step.ref, one_line(error.message), error.remedy, transient=not lasting)
