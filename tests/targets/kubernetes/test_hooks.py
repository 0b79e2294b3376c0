"""What the annotations of Argo CD and Helm mean, and ours: as their documentation says it."""

from __future__ import annotations

from typing import Any

import pytest

from trimtab.core.model.hook import Deletion, Hook, HookPhase
from trimtab.targets.kubernetes.hooks import hook, problems
from trimtab.testing.factories import manifest

PRE, MAIN, POST, FAILED, BEFORE_END, AFTER_END = HookPhase
BEFORE, SUCCEEDED, AFTER_FAILURE = Deletion
ARGO, HELM = "argocd.argoproj.io/hook", "helm.sh/hook"


def read(kind: str = "Job", **notes: str) -> Hook | None:
    version = "batch/v1" if kind == "Job" else "v1"
    return hook(manifest(kind, "a", api_version=version, annotations=notes))


@pytest.mark.parametrize(
    ("said", "phases"),
    [
        ("PreSync", (PRE,)),
        ("Sync", (MAIN,)),
        ("PostSync", (POST,)),
        ("SyncFail", (FAILED,)),
        ("PostSync, PreSync", (PRE, POST)),
        ("Skip", ()),
        ("PreSync,Skip", ()),
    ],
)
def test_hooks_of_argo_cd(said: str, phases: tuple[HookPhase, ...]) -> None:
    """The same for every Deployment; what is skipped is never applied."""
    assert read(**{ARGO: said}) == Hook(phases, phases, phases, turn=1)


@pytest.mark.parametrize(
    ("said", "first", "later", "back"),
    [
        ("pre-install", (PRE,), (), ()),
        ("post-upgrade", (), (POST,), ()),
        ("pre-install,pre-upgrade", (PRE,), (PRE,), ()),
        ("post-install, pre-upgrade", (POST,), (PRE,), ()),
        ("test", (), (), ()),
        ("pre-rollback,post-rollback", (), (), (PRE, POST)),
        ("post-upgrade,post-rollback", (), (POST,), (POST,)),
    ],
)
def test_hooks_of_helm(said: str, first: Any, later: Any, back: Any) -> None:
    """Installing is the first Deployment, rolling back one that goes back, and upgrading every other."""
    assert read(**{HELM: said}) == Hook(first, later, back, turn=1)


@pytest.mark.parametrize(
    ("name", "said", "phases", "ending"),
    [
        (ARGO, "PreDelete", (), (BEFORE_END,)),
        (ARGO, "PostDelete,PreSync", (PRE,), (AFTER_END,)),
        (ARGO, "PreDelete,Skip", (), ()),
        (HELM, "pre-delete", (), (BEFORE_END,)),
        (HELM, "post-delete, pre-delete", (), (BEFORE_END, AFTER_END)),
        ("trimtab.dev/hook", "pre-removal,post-removal", (), (BEFORE_END, AFTER_END)),
    ],
)
def test_hooks_of_the_end_of_an_application(name: str, said: str, phases: Any, ending: Any) -> None:
    """In none of the three spellings do they run at a Deployment."""
    assert read(**{name: said}) == Hook(phases, phases, phases, turn=1, ending=ending)


def test_a_definition_that_helm_2_installed_by_a_hook_is_an_object_like_any_other() -> None:
    assert read(**{HELM: "crd-install"}) is None
    assert read() is None


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("argocd.argoproj.io/hook-delete-policy", "", {BEFORE}),
        ("argocd.argoproj.io/hook-delete-policy", "HookSucceeded", {SUCCEEDED}),
        ("argocd.argoproj.io/hook-delete-policy", "HookFailed,BeforeHookCreation", {AFTER_FAILURE, BEFORE}),
        ("helm.sh/hook-delete-policy", "", {BEFORE}),
        ("helm.sh/hook-delete-policy", "before-hook-creation,hook-succeeded", {BEFORE, SUCCEEDED}),
        ("helm.sh/hook-delete-policy", "hook-failed", {AFTER_FAILURE}),
    ],
)
def test_when_an_object_goes(name: str, said: str, expected: set[Deletion]) -> None:
    """Without a word about it, when the next one takes its place: with both."""
    found = read(
        **{ARGO if name.startswith("argocd") else HELM: "PreSync" if name.startswith("argocd") else "pre-install", name: said}
    )
    assert found is not None
    assert found.delete == expected


def test_weights_and_waves_order_and_what_a_job_uses_comes_before_it() -> None:
    """A weight is the wave of a Helm hook, unless a wave is annotated as well."""
    weighed = read(**{HELM: "pre-install", "helm.sh/hook-weight": "-5"})
    both = read(**{HELM: "pre-install", "helm.sh/hook-weight": "-5", "argocd.argoproj.io/sync-wave": "2"})
    waved = read(**{ARGO: "Sync", "argocd.argoproj.io/sync-wave": "3", "helm.sh/hook-weight": "9"})
    assert [found.wave for found in (weighed, both, waved) if found is not None] == [-5, 2, 3]
    account = read("ServiceAccount", **{HELM: "pre-install"})
    assert account is not None
    assert account.turn == 0


def test_of_several_spellings_ours_comes_first_then_argo_cds() -> None:
    """As with Argo CD, which leaves Helm's alone where it finds its own."""
    assert read(**{"trimtab.dev/hook": "post", ARGO: "PreSync", HELM: "test"}) == Hook((POST,), (POST,), (POST,), turn=1)
    assert read(**{ARGO: "PreSync", HELM: "post-install"}) == Hook((PRE,), (PRE,), (PRE,), turn=1)


@pytest.mark.parametrize(
    ("notes", "words"),
    [
        ({ARGO: "PreSink"}, '"presink" is not known'),
        ({ARGO: "PreSync", "argocd.argoproj.io/hook-delete-policy": "Never"}, '"never" is not known'),
        ({HELM: "before-install"}, '"before-install" is not known'),
        ({HELM: "pre-install", "helm.sh/hook-weight": "heavy"}, "a whole number"),
    ],
)
def test_a_word_that_means_nothing_is_an_error(notes: dict[str, str], words: str) -> None:
    """With its field; else a hook would silently never run."""
    (problem,) = problems(manifest("Job", "a", annotations=notes))
    assert words in problem.message
    assert problem.field.startswith("metadata.annotations.")
    assert problem.remedy
