"""In which wave an object of a cluster goes."""

from __future__ import annotations

import pytest
from tests.kubernetes.targets import manifest

from trimtab.targets.kubernetes.order import FIRST, wave


@pytest.mark.parametrize(
    ("version", "kind", "expected"),
    [
        ("v1", "Namespace", FIRST),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", FIRST),
        ("scheduling.k8s.io/v1", "PriorityClass", FIRST),
        ("v1", "ConfigMap", 0),
        ("example.org/v1", "Namespace", 0),
    ],
)
def test_what_others_cannot_do_without_goes_first(version: str, kind: str, expected: int) -> None:
    """Definitions and namespaces before every wave; a custom kind of the same name is none of these."""
    assert wave(manifest({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}})) == expected


def test_an_annotated_wave_holds_for_everything() -> None:
    """By our annotation or by the one that people know."""
    for name in ("trimtab.dev/wave", "argocd.argoproj.io/sync-wave"):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x", "annotations": {name: "-3"}}}
        assert wave(manifest(body)) == -3
