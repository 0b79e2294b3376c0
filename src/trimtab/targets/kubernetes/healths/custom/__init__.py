"""Custom kinds that break the conditions convention, or whose words it does not know; those that keep it need no entry here.

Each module holds the kinds of one trade and names, above its table, where each project documents its status. `FAMILIES` holds the
rules for all groups under a domain, such as every service of a cloud.
"""

from __future__ import annotations

from collections.abc import Mapping

from trimtab.targets.kubernetes.healths.reading import Rule, Table, merged

from . import (
    certificates,
    clusters,
    compute,
    databases,
    delivery,
    integration,
    meshes,
    messaging,
    monitoring,
    operators,
    rules,
    storage,
)

TABLE: Table = merged(
    certificates.TABLE,
    clusters.TABLE,
    compute.TABLE,
    databases.TABLE,
    delivery.TABLE,
    integration.TABLE,
    meshes.TABLE,
    messaging.TABLE,
    monitoring.TABLE,
    operators.TABLE,
    rules.TABLE,
    storage.TABLE,
)
FAMILIES: Mapping[str, Rule] = clusters.FAMILIES
