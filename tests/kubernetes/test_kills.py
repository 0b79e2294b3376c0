"""`kill -9` of the server at random moments, in short; bench/kill9_kubernetes.py does it a hundred times."""

from __future__ import annotations

import random
from pathlib import Path

from bench.clusters.kills import Company, shoot
from tests.kubernetes.cluster import Cluster


def test_the_cluster_equals_git_after_every_kill(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """Whatever was being installed, upgraded, pruned or moved; what stays is the very same object, and strangers are untouched."""
    company = Company(cluster, tmp_path, namespace)
    try:
        shoot(company, 8, random.Random(3))
    finally:
        company.served.down()
    assert company.wrong == []
