"""Which annotations make a hook of an object of a cluster: Trimtab's own, Argo CD's, Helm's; the first of them that is there. Pure.

https://argo-cd.readthedocs.io/en/stable/user-guide/sync-waves/ and https://helm.sh/docs/topics/charts_hooks/. Argo CD does not
tell one Deployment from another; Helm tells the first, later ones, and those that go back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from trimtab.core.model.errors import Problem
from trimtab.core.model.hook import Deletion, Hook, HookPhase, annotated, deletions, words
from trimtab.core.model.manifest import HOOK_ANNOTATION, Manifest

from .order import wave
from .refusals import problem

ARGO, ARGO_DELETE = "argocd.argoproj.io/hook", "argocd.argoproj.io/hook-delete-policy"
HELM, HELM_DELETE, HELM_WEIGHT = "helm.sh/hook", "helm.sh/hook-delete-policy", "helm.sh/hook-weight"

_ARGO_PHASES = {
    "presync": HookPhase.PRE,
    "sync": HookPhase.MAIN,
    "postsync": HookPhase.POST,
    "syncfail": HookPhase.FAILED,
}
_ARGO_ENDING = {"predelete": HookPhase.PRE_REMOVAL, "postdelete": HookPhase.POST_REMOVAL}
_ARGO_NOT_RUN = "skip"
_ARGO_DELETIONS = {
    "beforehookcreation": Deletion.BEFORE,
    "hooksucceeded": Deletion.SUCCEEDED,
    "hookfailed": Deletion.FAILED,
}
_HELM_FIRST = {"pre-install": HookPhase.PRE, "post-install": HookPhase.POST}
_HELM_LATER = {"pre-upgrade": HookPhase.PRE, "post-upgrade": HookPhase.POST}
_HELM_BACK = {"pre-rollback": HookPhase.PRE, "post-rollback": HookPhase.POST}
_HELM_ENDING = {"pre-delete": HookPhase.PRE_REMOVAL, "post-delete": HookPhase.POST_REMOVAL}
_HELM_PHASES = (_HELM_FIRST, _HELM_LATER, _HELM_BACK, _HELM_ENDING)
_HELM_NOT_RUN = frozenset({"test", "test-success", "test-failure"})
_CRD_INSTALL = "crd-install"
_HELM_DELETIONS = {
    "before-hook-creation": Deletion.BEFORE,
    "hook-succeeded": Deletion.SUCCEEDED,
    "hook-failed": Deletion.FAILED,
}
_FOREIGN = frozenset({ARGO, ARGO_DELETE, HELM, HELM_DELETE})
_WEIGHT = re.compile(r"[-+]?[0-9]{1,9}", re.ASCII)
_ENDING = frozenset(
    {("", "Pod"), ("batch", "Job"), ("argoproj.io", "Workflow"), ("tekton.dev", "PipelineRun"), ("tekton.dev", "TaskRun")}
)
"""Kinds that run to an end. What they use (an account, a ConfigMap) comes first within a wave, as Helm has it."""


def hook(manifest: Manifest) -> Hook | None:
    """The Hook that its annotations make of a Manifest; None for an object that is kept as Git says."""
    notes = manifest.annotations
    if not notes:
        return None
    turn = int((manifest.ref.group, manifest.ref.kind) in _ENDING)
    if HOOK_ANNOTATION in notes:
        own = annotated(manifest)
        assert own is not None, "its annotation is there"
        return msgspec.structs.replace(own, wave=wave(manifest), turn=turn)
    if ARGO in notes:
        said = [] if _ARGO_NOT_RUN in (named := words(notes[ARGO])) else named
        phases, ending = _in_order(_ARGO_PHASES, said), _in_order(_ARGO_ENDING, said)
        delete = _deletions(notes.get(ARGO_DELETE, ""), _ARGO_DELETIONS)
        return Hook(phases, phases, phases, wave(manifest), turn, delete, ending)
    if HELM in notes and _CRD_INSTALL not in (said := words(notes[HELM])):
        first, later, back, ending = (_in_order(table, said) for table in _HELM_PHASES)
        delete = _deletions(notes.get(HELM_DELETE, ""), _HELM_DELETIONS)
        return Hook(first, later, back, _weight(manifest), turn, delete, ending)
    return None


def problems(manifest: Manifest) -> list[Problem]:
    """Words of the annotations that mean nothing. The renderer has checked our own."""
    notes = manifest.annotations
    if _FOREIGN.isdisjoint(notes):
        return []
    known = (
        (ARGO, {*_ARGO_PHASES, *_ARGO_ENDING, _ARGO_NOT_RUN}),
        (ARGO_DELETE, _ARGO_DELETIONS),
        (HELM, {*(word for table in _HELM_PHASES for word in table), *_HELM_NOT_RUN, _CRD_INSTALL}),
        (HELM_DELETE, _HELM_DELETIONS),
    )
    found = [
        _unknown(manifest, name, word, sorted(right))
        for name, right in known
        for word in words(notes.get(name, ""))
        if word not in right
    ]
    if HELM in notes and not _WEIGHT.fullmatch(notes.get(HELM_WEIGHT, "0")):
        message = "the weight of a hook is a whole number"
        found.append(problem(manifest, f"metadata.annotations.{HELM_WEIGHT}", message, 'Write one in quotes, such as "-5"'))
    return found


def _unknown(manifest: Manifest, name: str, word: str, right: list[str]) -> Problem:
    return problem(manifest, f"metadata.annotations.{name}", f'"{word[:40]}" is not known', f"Use one of: {', '.join(right)}")


def _in_order(table: Mapping[str, HookPhase], said: Iterable[str]) -> tuple[HookPhase, ...]:
    found = {table[word] for word in said if word in table}
    return tuple(phase for phase in HookPhase if phase in found)


def _deletions(text: str, table: Mapping[str, Deletion]) -> frozenset[Deletion]:
    return deletions(table[word] for word in words(text) if word in table)


def _weight(manifest: Manifest) -> int:
    """A wave that is annotated as such counts more, as with Argo CD."""
    text = manifest.annotations.get(HELM_WEIGHT, "")
    weighs = manifest.annotated_wave is None and _WEIGHT.fullmatch(text) is not None
    return int(text) if weighs else wave(manifest)
